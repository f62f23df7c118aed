package capture

import (
	"encoding/json"
	"math"
	"net/netip"
	"time"

	"lvstui/lvs"
)

// Outcome is how a connection went, as far as its vantage shows.
type Outcome string

const (
	Established Outcome = "established" // the handshake is complete
	Closed      Outcome = "closed"      // and the connection ended in order
	Reset       Outcome = "reset"       // a RST ended it after the SYN was answered
	Refused     Outcome = "refused"     // a RST or an ICMP error answered the SYN
	Stalled     Outcome = "stalled"     // a packet that was due did not come
	Pending     Outcome = "pending"     // still within its time
)

// Flow is one client connection seen from one vantage. It is plain data, so that tests of other packages
// can write one down. Its JSON is a contract: fields may be added, never renamed.
//
// When the flow is stalled or refused, the fault lies behind Reached and not behind StalledAt. Stages
// between the two are unobservable from this vantage.
type Flow struct {
	ID        uint64         `json:"id"` // unique within one Tracker and rising; identifies the flow when its ports are used again
	Client    netip.AddrPort `json:"client"`
	Virtual   netip.AddrPort `json:"virtual"`
	Protocol  lvs.Protocol   `json:"protocol"`
	Vantage   lvs.Vantage    `json:"vantage"`
	Vantages  []lvs.Vantage  `json:"vantages,omitempty"` // of a flow that Merge joined: every host that saw it, along the path
	Outcome   Outcome        `json:"outcome"`
	Reached   lvs.Stage      `json:"reached"`    // the last stage seen or implied
	StalledAt lvs.Stage      `json:"stalled_at"` // the first missing stage; "" is null in JSON
	Suspects  []string       `json:"suspects"`   // ids of the failure catalogue, most likely first

	Packets           int           `json:"packets"`          // of the connection: a forwarded packet counts once
	Frames            int           `json:"frames"`           // on the interfaces: a forwarded packet counts twice
	BytesToVirtual    uint64        `json:"bytes_to_virtual"` // TCP payload, each byte once
	BytesToClient     uint64        `json:"bytes_to_client"`
	SynRetransmits    int           `json:"syn_retransmits"`
	SynAckRetransmits int           `json:"syn_ack_retransmits"`
	DataRetransmits   int           `json:"data_retransmits"` // payload and FIN, both directions
	Handshake         time.Duration `json:"-"`                // SYN to the client's ACK here; 0 if not complete. In JSON handshake_ms

	Stages []StageSight `json:"stages"` // all of lvs.Stages, in order

	FirstSeen     time.Time      `json:"first_seen,omitzero"`
	LastSeen      time.Time      `json:"last_seen,omitzero"`
	MidStream     bool           `json:"mid_stream,omitempty"` // the capture began after the client's SYN
	RealServerMAC MAC            `json:"real_server_mac,omitzero"`
	SynFrom       MAC            `json:"syn_from_mac,omitzero"`   // source MAC of the first SYN as it came to (or left) this host
	SynAckTo      MAC            `json:"syn_ack_to_mac,omitzero"` // destination MAC of the first SYN-ACK
	AnsweredFrom  netip.AddrPort `json:"answered_from,omitzero"`  // who sent a SYN-ACK for this SYN although it was not asked: a RIP
	Forward       string         `json:"forward,omitempty"`       // "ipip" when the SYN was seen inside a tunnel, "masq" when it left with a new destination
	RealServer    netip.AddrPort `json:"real_server,omitzero"`    // with a Forward, or behind a router that rewrites: where the SYN went from here
	ISN           uint32         `json:"isn"`                     // the client's initial sequence number: names the flow on every host it passes
	RST           *Reject        `json:"rst,omitempty"`           // the first RST
	ICMP          *Reject        `json:"icmp,omitempty"`          // the last ICMP error that quotes the flow

	Events        []Event `json:"events,omitempty"` // the first ones, in order; only where asked for
	EventsDropped int     `json:"events_dropped,omitempty"`
}

// StageSight is what the flow tells about one stage. Everything behind State describes the frame that
// proved it and is set only when State is seen.
type StageSight struct {
	Stage     lvs.Stage      `json:"stage"`
	State     lvs.StageState `json:"state"`
	Time      time.Time      `json:"time,omitzero"`
	Interface string         `json:"interface,omitempty"`
	Direction Direction      `json:"direction,omitzero"`
	SrcMAC    MAC            `json:"src_mac,omitzero"`
	DstMAC    MAC            `json:"dst_mac,omitzero"`
	Vantage   lvs.Vantage    `json:"vantage,omitempty"` // of a joined flow: the host whose frame it is, by whose clock Time is
}

// Reject is a RST or an ICMP error, and who sent it: by TTL and MAC one can tell the director's own stack
// from a real server or a firewall on the way.
type Reject struct {
	Time       time.Time  `json:"time"`
	FromClient bool       `json:"from_client,omitempty"` // of a RST: the client sent it
	AboutReply bool       `json:"about_reply,omitempty"` // of an ICMP error: it quotes a packet of the VIP
	From       netip.Addr `json:"from"`                  // source address of the packet
	SrcMAC     MAC        `json:"src_mac,omitzero"`
	DstMAC     MAC        `json:"dst_mac,omitzero"`
	Interface  string     `json:"interface,omitempty"`
	Direction  Direction  `json:"direction,omitzero"`
	TTL        uint8      `json:"ttl,omitempty"`
	Type       uint8      `json:"icmp_type,omitempty"`
	Code       uint8      `json:"icmp_code,omitempty"`
}

// EventKind names a frame of a flow on the ladder.
type EventKind string

const (
	EventSYN    EventKind = "SYN"
	EventSYNACK EventKind = "SYN-ACK"
	EventACK    EventKind = "ACK"
	EventDATA   EventKind = "DATA"
	EventFIN    EventKind = "FIN"
	EventRST    EventKind = "RST"
	EventICMP   EventKind = "ICMP"
)

// Event is one frame of a flow.
type Event struct {
	Time           time.Time `json:"time"`
	Kind           EventKind `json:"kind"`
	ToVirtual      bool      `json:"to_virtual"` // from the client to the VIP; else the other way
	Direction      Direction `json:"direction,omitzero"`
	Interface      string    `json:"interface,omitempty"`
	SrcMAC         MAC       `json:"src_mac,omitzero"`
	DstMAC         MAC       `json:"dst_mac,omitzero"`
	Flags          TCPFlags  `json:"flags,omitempty"`
	Seq            uint32    `json:"seq"`
	Ack            uint32    `json:"ack,omitempty"`
	Length         int       `json:"length"` // TCP payload in bytes
	TTL            uint8     `json:"ttl,omitempty"`
	IPID           uint16    `json:"ip_id,omitempty"`
	Type           uint8     `json:"icmp_type,omitempty"`
	Code           uint8     `json:"icmp_code,omitempty"`
	Retransmission bool      `json:"retransmission,omitempty"`
	Forwarded      bool      `json:"forwarded,omitempty"` // the same packet again on its way out: forwarded, not resent

	Vantage lvs.Vantage `json:"vantage,omitempty"` // of a joined flow: the host that saw it, by whose clock Time is
}

// Stage returns what the flow tells about stage s.
func (f *Flow) Stage(s lvs.Stage) StageSight {
	if i := s.Index(); i >= 0 && i < len(f.Stages) && f.Stages[i].Stage == s {
		return f.Stages[i]
	}
	for _, x := range f.Stages { // a flow written by hand may list only some
		if x.Stage == s {
			return x
		}
	}
	return StageSight{Stage: s, State: lvs.Unobservable}
}

type flowJSON Flow // without methods, to stop the recursion

// MarshalJSON writes the contract's fields: stalled_at and handshake_ms are null when there is none.
func (f Flow) MarshalJSON() ([]byte, error) {
	if f.Suspects == nil {
		f.Suspects = []string{}
	}
	if f.Stages == nil {
		f.Stages = []StageSight{}
	}
	x := struct {
		*flowJSON
		StalledAt   *lvs.Stage `json:"stalled_at"`
		HandshakeMS *float64   `json:"handshake_ms"`
	}{flowJSON: (*flowJSON)(&f)}
	if f.StalledAt != "" {
		x.StalledAt = &f.StalledAt
	}
	if f.Handshake > 0 {
		ms := math.Round(float64(f.Handshake)/1e3) / 1e3
		x.HandshakeMS = &ms
	}
	return json.Marshal(x)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (f *Flow) UnmarshalJSON(b []byte) error {
	x := struct {
		*flowJSON
		HandshakeMS *float64 `json:"handshake_ms"`
	}{flowJSON: (*flowJSON)(f)}
	if err := json.Unmarshal(b, &x); err != nil {
		return err
	}
	if x.HandshakeMS != nil {
		f.Handshake = time.Duration(math.Round(*x.HandshakeMS*1e3)) * time.Microsecond
	}
	return nil
}
