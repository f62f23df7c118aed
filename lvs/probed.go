package lvs

import (
	"net/netip"
	"slices"
	"time"
)

// Probed is what active tests found: frames that lvstui sent because the operator asked for the test by name. A test that was
// not asked for is nil; one that was and met nothing is empty.
type Probed struct {
	At  time.Time  `json:"at"`
	ARP []ARPProbe `json:"arp"` // who answers for a VIP on a segment
	DSR []DSRProbe `json:"dsr"` // whether a real server takes a VIP's connections
	// Left says what was not tried and why: bounds, a device without a MAC, a VIP without a wire.
	Left []string `json:"left,omitempty"`
}

// Sent tells whether the active tests used that address and port as their own.
func (p *Probed) Sent(from netip.AddrPort) bool {
	return p != nil && slices.ContainsFunc(p.DSR, func(d DSRProbe) bool { return d.Source == from })
}

// ARPProbe is one VIP asked for on one device: who has it? IPv6 asks by neighbour solicitation.
type ARPProbe struct {
	Address netip.Addr `json:"address"`
	Device  string     `json:"device"`
	// Holds says that this host has the address on that device itself: it does not hear its own answer.
	Holds bool `json:"holds,omitempty"`
	// Sender is the address the ordinary requests gave, invalid when the device has none and only the DAD form was sent.
	Sender   netip.Addr  `json:"sender,omitzero"`
	Sent     int         `json:"sent"`    // requests of both forms
	Answers  []ARPAnswer `json:"answers"` // by MAC
	Error    string      `json:"error,omitempty"`
	Duration int64       `json:"listened_ms"`
}

// ARPAnswer is one station that answered. The kernel treats the two forms of the request differently (net/ipv4/arp.c,
// arp_process): only an ordinary one is checked against the routes, as a router's is.
type ARPAnswer struct {
	MAC     string `json:"mac"`                // lower case, colons: the hardware address the answer gives
	FromMAC string `json:"from_mac,omitempty"` // the frame's source, where it is another one
	// Station is the real server or router that has the same MAC, by the neighbour table or because it was asked as well.
	Station  netip.Addr `json:"station,omitzero"`
	Ordinary int        `json:"ordinary"` // answers to requests with an address of ours as sender
	DAD      int        `json:"dad"`      // answers to requests with sender 0.0.0.0 (IPv4 only)
}

// DSRResult is what came of a SYN for the VIP that was sent to a real server's MAC.
type DSRResult string

const (
	DSRAccepts     DSRResult = "accepts"     // SYN-ACK from the VIP
	DSRRefuses     DSRResult = "refuses"     // RST from the VIP: it has the VIP, and nothing listens
	DSRForwards    DSRResult = "forwards"    // our own SYN came back with a lower TTL: it does not have the VIP
	DSRProhibits   DSRResult = "prohibits"   // an ICMP error quotes the SYN
	DSRSilent      DSRResult = "silent"      // nothing came back
	DSRUnreachable DSRResult = "unreachable" // its MAC is not to be had, or it is not on-link
)

// DSRProbe is one virtual service tried on one real server, past the director's table: the frame goes to the real server's MAC, the
// packet in it to the VIP.
type DSRProbe struct {
	Virtual    netip.AddrPort `json:"virtual"`
	RealServer netip.Addr     `json:"real_server"`
	Device     string         `json:"device,omitempty"`
	MAC        string         `json:"mac,omitempty"`
	Source     netip.AddrPort `json:"source,omitzero"` // ours
	Sent       int            `json:"sent"`            // SYNs
	Result     DSRResult      `json:"result"`
	// Direct is the result of the same SYN for the RIP instead of the VIP: a real server that answers it and not the other is up and
	// reachable. Empty when it was not needed.
	Direct DSRResult `json:"direct,omitempty"`
	From   string    `json:"from_mac,omitempty"` // source MAC of what came back
	TTL    int       `json:"ttl,omitempty"`      // of what came back
	Type   int       `json:"icmp_type,omitempty"`
	Code   int       `json:"icmp_code,omitempty"`
	RTT    float64   `json:"rtt_ms,omitempty"`
	Error  string    `json:"error,omitempty"`
}
