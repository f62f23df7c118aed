package lvs

import "net/netip"

// Link is a network interface.
type Link struct {
	Index int    `json:"index"`
	Name  string `json:"name"`
	Kind  string `json:"kind,omitempty"` // rtnl kind: "veth", "bridge", "bond", "vlan", "dummy", "macvlan", …; "" for a plain device
	// Type is the ARPHRD name: "ether", "loopback", "ipip", "none", …
	Type string `json:"type,omitempty"`
	MAC  string `json:"mac,omitempty"` // lower case, colons
	// PermMAC is the hardware's own address when it differs from MAC (bond slaves, VRRP virtual MACs).
	PermMAC string `json:"perm_mac,omitempty"`
	MTU     int    `json:"mtu"`
	Up      bool   `json:"up"`      // IFF_UP
	Running bool   `json:"running"` // carrier: IFF_LOWER_UP
	NoARP   bool   `json:"no_arp"`  // IFF_NOARP
	Parent  string `json:"parent,omitempty"`
	Master  string `json:"master,omitempty"`
	VLAN    int    `json:"vlan,omitempty"`
	XDP     bool   `json:"xdp,omitempty"` // an XDP program is attached: frames may never reach a capture
	// Mode is the mode of a bond ("balance-alb", "802.3ad") or of a macvlan ("bridge", "private").
	Mode string `json:"mode,omitempty"`
	// ParentElsewhere is the index of a parent that lives in another network namespace, as a container's macvlan has it; 0 when there is none.
	ParentElsewhere int `json:"parent_elsewhere,omitempty"`
	// Features are the receive offloads that are on: "lro", "gro". nil when the driver was not asked or did not say.
	Features []string `json:"features,omitzero"`
	Driver   string   `json:"driver,omitempty"` // "virtio_net", "vmxnet3"
	// Ingress are the traffic control filters that see packets before netfilter does: "bpf cil_from_netdev", "flower", "tcx".
	// nil when they were not read.
	Ingress []string `json:"ingress,omitzero"`
}

// Loopback says that the link is lo.
func (l Link) Loopback() bool { return l.Type == "loopback" }

// OnWire says that the link can carry frames to another host with an ARP of its own: up, Ethernet, ARP on,
// and neither loopback nor dummy, on which VIPs are parked.
func (l Link) OnWire() bool {
	return l.Up && !l.NoARP && !l.Loopback() && l.Type == "ether" && l.Kind != "dummy"
}

// Address is an address configured on a link (RTM_GETADDR).
type Address struct {
	Device string `json:"device"`
	// Prefix is the address with its own prefix length: 172.16.0.8/24.
	Prefix     netip.Prefix `json:"prefix"`
	Scope      string       `json:"scope"` // "global", "link", "host", "site"
	Label      string       `json:"label,omitempty"`
	Secondary  bool         `json:"secondary,omitempty"`
	Tentative  bool         `json:"tentative,omitempty"`
	DADFailed  bool         `json:"dad_failed,omitempty"`
	Deprecated bool         `json:"deprecated,omitempty"`
	Peer       netip.Prefix `json:"peer,omitzero"`
	Broadcast  netip.Addr   `json:"broadcast,omitzero"` // only when configured (IFA_BROADCAST)
	// NoPrefixRoute says the kernel adds no connected route for it (IFA_F_NOPREFIXROUTE): NetworkManager adds its own.
	NoPrefixRoute bool `json:"no_prefix_route,omitempty"`
	Proto         int  `json:"proto,omitempty"` // IFA_PROTO, kernel 5.18 on
	// Dynamic says the address has a lifetime (DHCP, RA).
	Dynamic bool `json:"dynamic,omitempty"`
}

// Neighbour is an entry of the neighbour table (RTM_GETNEIGH).
type Neighbour struct {
	Address netip.Addr `json:"address"`
	Device  string     `json:"device"`
	MAC     string     `json:"mac,omitempty"`
	// State is the NUD state: "reachable", "stale", "delay", "probe", "incomplete", "failed", "permanent", "noarp".
	State string `json:"state"`
	Proxy bool   `json:"proxy,omitempty"`
}

// Dead says that layer 2 gave no answer. Stale is healthy.
func (n Neighbour) Dead() bool { return n.State == "failed" || n.State == "incomplete" }

// Route is an entry of the routing tables. A Snapshot holds an excerpt: the local table, and of the other
// tables the connected, static, DHCP and default routes, bounded; routing daemons' full tables stay in the kernel.
type Route struct {
	Table    int          `json:"table"`            // 254 main, 255 local
	Type     string       `json:"type"`             // "unicast", "local", "blackhole", "unreachable", "prohibit", "throw"
	Dst      netip.Prefix `json:"dst"`              // 0.0.0.0/0 for a default route
	Gateway  netip.Addr   `json:"gateway,omitzero"` // invalid when on-link
	Device   string       `json:"device,omitempty"`
	Source   netip.Addr   `json:"source,omitzero"` // preferred source
	Scope    string       `json:"scope,omitempty"` // "global", "link", "host"
	Protocol string       `json:"protocol,omitempty"`
	Metric   int          `json:"metric,omitempty"`
	OnLink   bool         `json:"onlink,omitempty"`
}

// The kernel's table numbers (include/uapi/linux/rtnetlink.h).
const (
	TableDefault = 253
	TableMain    = 254
	TableLocal   = 255
)

// PolicyRule is an entry of the policy database (RTM_GETRULE).
type PolicyRule struct {
	Priority int          `json:"priority"`
	From     netip.Prefix `json:"from,omitzero"`
	To       netip.Prefix `json:"to,omitzero"`
	Iif      string       `json:"iif,omitempty"`
	Oif      string       `json:"oif,omitempty"`
	Mark     uint32       `json:"mark,omitempty"`
	Mask     uint32       `json:"mask,omitempty"`
	Table    int          `json:"table,omitempty"`
	Action   string       `json:"action"` // "table", "blackhole", "unreachable", "prohibit", "goto", "nop"
	Family   int          `json:"family"` // 4 or 6
	Invert   bool         `json:"invert,omitempty"`
	// Other says the rule matches on something more (ports, protocol, tos, uid, l3mdev).
	Other bool `json:"other,omitempty"`
}

// RouteQuery is a question to the kernel's routing: `ip route get DST from SRC iif IIF mark MARK`.
// With Iif the kernel answers as for a received packet, including the validation of its source.
type RouteQuery struct {
	Dst  netip.Addr `json:"dst"`
	Src  netip.Addr `json:"src,omitzero"`
	Iif  string     `json:"iif,omitempty"`
	Mark uint32     `json:"mark,omitempty"`
}

// Outcome is what the routing would do with a packet.
type Outcome string

const (
	OutLocal       Outcome = "local"       // delivered to this host
	OutUnicast     Outcome = "unicast"     // sent on
	OutUnreachable Outcome = "unreachable" // no route (EHOSTUNREACH, ENETUNREACH)
	OutRejected    Outcome = "rejected"    // source validation or a prohibiting route (EINVAL, EXDEV, EACCES)
	OutOther       Outcome = "other"       // broadcast, multicast, blackhole …
	OutUnknown     Outcome = "unknown"     // could not be asked or predicted
)

// RouteAnswer is the answer to a RouteQuery.
type RouteAnswer struct {
	RouteQuery
	Outcome Outcome    `json:"outcome"`
	Device  string     `json:"device,omitempty"`
	Gateway netip.Addr `json:"gateway,omitzero"`
	Source  netip.Addr `json:"source,omitzero"` // preferred source the kernel would use
	Table   int        `json:"table,omitempty"`
	// Redirected says that a router's ICMP redirect changed the way (RTCF_REDIRECTED); MTU is what a router said fits, 0 when none did.
	Redirected bool   `json:"redirected,omitempty"`
	MTU        int    `json:"mtu,omitempty"`
	Error      string `json:"error,omitempty"` // the errno's name; differs between kernels, so never judge by it
}

// Socket is a socket that can receive for a virtual service: TCP LISTEN, or UDP bound and unconnected.
type Socket struct {
	Protocol Protocol `json:"protocol"`
	// Address is the bound address: 0.0.0.0 or :: for any.
	Address netip.Addr `json:"address"`
	Port    uint16     `json:"port"`
	V6Only  bool       `json:"v6only,omitempty"`
	Device  string     `json:"device,omitempty"` // SO_BINDTODEVICE
	// Queue and Backlog are idiag_rqueue and idiag_wqueue of a listener: connections waiting, and how many may.
	Queue   uint32 `json:"queue,omitempty"`
	Backlog uint32 `json:"backlog,omitempty"`
	Process string `json:"process,omitempty"`
}
