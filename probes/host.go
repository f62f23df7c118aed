package probes

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"lvstui/capture"
	"lvstui/internal/arrange"
	"lvstui/lvs"
	"lvstui/probes/filter"
)

// Observation is what is brought before Diagnose of one host: its facts, and the flows seen on it.
type Observation struct {
	Snapshot *lvs.Snapshot
	// Flows are the flows seen there, nil when nobody listened.
	Flows []capture.Flow
	// ARP is who asked for which address and who answered, as seen there.
	ARP []capture.ARPSighting
	// Listened is for how long; 0 when nobody did.
	Listened time.Duration
}

// Host is an observed host with what follows from its facts alone and from the cluster's.
type Host struct {
	Observation
	Roles []lvs.Role

	// A director may have thousands of these.
	addresses map[netip.Addr][]lvs.Address
	subnets   []Subnet // of wire links
	ipv4      map[string]bool
	flows     map[netip.Addr][]capture.Flow
	services  map[netip.Addr][]lvs.Service
	named     []DestinationRef // destinations of anybody's table that are this host
	parked    map[netip.Addr]bool
	latest    time.Time // when the last packet was seen
	routing   *lvs.Routing
	asked     map[lvs.RouteQuery]lvs.RouteAnswer // several rules ask the same
	rules     *filter.Rules
}

func newHost(o Observation) *Host {
	h := &Host{Observation: o, addresses: make(map[netip.Addr][]lvs.Address, len(o.Snapshot.Addresses)), flows: map[netip.Addr][]capture.Flow{},
		routing: lvs.NewRouting(o.Snapshot), asked: map[lvs.RouteQuery]lvs.RouteAnswer{}, rules: filter.Compile(o.Snapshot.Netfilter)}
	if o.Snapshot.IPVS != nil {
		h.services = make(map[netip.Addr][]lvs.Service, len(o.Snapshot.IPVS.Services))
		for _, v := range o.Snapshot.IPVS.Services {
			h.services[v.Address] = append(h.services[v.Address], v)
		}
	}
	for _, a := range o.Snapshot.Addresses {
		h.addresses[a.Prefix.Addr()] = append(h.addresses[a.Prefix.Addr()], a)
	}
	h.parked = map[netip.Addr]bool{}
	for _, ip := range Parked(o.Snapshot) {
		h.parked[ip] = true
	}
	wire := map[string]bool{}
	h.ipv4 = map[string]bool{}
	for _, l := range o.Snapshot.Links {
		wire[l.Name] = l.OnWire()
	}
	for _, a := range o.Snapshot.Addresses {
		h.ipv4[a.Device] = h.ipv4[a.Device] || a.Prefix.Addr().Is4()
		if wire[a.Device] && !a.Prefix.IsSingleIP() {
			h.subnets = append(h.subnets, Subnet{a.Device, a.Prefix.Masked()})
		}
	}
	for _, f := range o.Flows {
		if o.Snapshot.Probed.Sent(f.Client) {
			continue // our own test is no client
		}
		vip := f.Virtual.Addr()
		h.flows[vip] = append(h.flows[vip], f)
		if f.LastSeen.After(h.latest) {
			h.latest = f.LastSeen
		}
	}
	return h
}

// Filter is the host's packet filter, ready to be asked. It must not be asked when Snapshot.Netfilter is nil.
func (h *Host) Filter() *filter.Rules { return h.rules }

// Has tells whether the address is configured on any device of the host.
func (h *Host) Has(ip netip.Addr) bool { return len(h.addresses[ip]) > 0 }

// AddressesOf returns where an address is configured: one entry per device.
func (h *Host) AddressesOf(ip netip.Addr) []lvs.Address { return h.addresses[ip] }

// ServicesOf are the virtual services of an address in this host's own table.
func (h *Host) ServicesOf(vip netip.Addr) []lvs.Service { return h.services[vip] }

// Named are the destinations, of any director's table at hand, that are this host.
func (h *Host) Named() []DestinationRef { return h.named }

// Is tells whether the host has the role.
func (h *Host) Is(r lvs.Role) bool { return slices.Contains(h.Roles, r) }

// Name is the host's name.
func (h *Host) Name() string { return h.Snapshot.Host }

// WireLinks are the links on which this host meets others: up, Ethernet with ARP, not loopback or dummy, and not enslaved
// to a bridge or bond, whose master speaks for them.
func (h *Host) WireLinks() []lvs.Link {
	var out []lvs.Link
	for _, l := range h.Snapshot.Links {
		if l.OnWire() && l.Master == "" {
			out = append(out, l)
		}
	}
	return out
}

// Subnet is a network that a wire link is in.
type Subnet struct {
	Device string
	Prefix netip.Prefix // masked
}

// Subnets are the networks that the wire links are in, in the order of the addresses; single addresses are in none.
func (h *Host) Subnets() []Subnet { return h.subnets }

// HasIPv4 tells whether a link has an IPv4 address.
func (h *Host) HasIPv4(device string) bool { return h.ipv4[device] }

// OnLinkDevices are the wire links that have an address whose prefix contains ip, ip itself and /32s not counted: ARP
// for ip is asked there.
func (h *Host) OnLinkDevices(ip netip.Addr) []string {
	var out []string
	for _, s := range h.subnets {
		if s.Prefix.Contains(ip) && !slices.Contains(out, s.Device) {
			out = append(out, s.Device)
		}
	}
	return out
}

// HoldsOnWire returns the devices on a wire that carry the address.
func (h *Host) HoldsOnWire(ip netip.Addr) []lvs.Address {
	var out []lvs.Address
	for _, a := range h.AddressesOf(ip) {
		if l, ok := h.Snapshot.Link(a.Device); ok && l.OnWire() {
			out = append(out, a)
		}
	}
	return out
}

// Parked are the IPv4 and IPv6 addresses on devices that are on no wire (lo, dummy, kube-ipvs0, a tunnel), and so look
// like VIPs: global scope, or host scope outside 127/8 and ::1.
func Parked(s *lvs.Snapshot) []netip.Addr {
	var out []netip.Addr
	seen := map[netip.Addr]bool{} // there may be thousands
	add := func(ip netip.Addr, device string) {
		l, ok := s.Link(device)
		if !ok || seen[ip] || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsMulticast() || !parking(l) {
			return
		}
		seen[ip] = true
		out = append(out, ip)
	}
	for _, a := range s.Addresses {
		add(a.Prefix.Addr(), a.Device)
	}
	// `ip route add local VIP dev lo` does the same without an address (AnyIP).
	for _, r := range s.Routes {
		if r.Type == "local" && r.Dst.IsSingleIP() {
			add(r.Dst.Addr(), r.Device)
		}
	}
	return out
}

// IsParked tells whether an address is one of Parked.
func (h *Host) IsParked(ip netip.Addr) bool { return h.parked[ip] }

func parking(l lvs.Link) bool {
	return l.Loopback() || l.Kind == "dummy" || l.Type == "ipip" || strings.HasPrefix(l.Name, "kube-ipvs")
}

// RoutedLocal tells whether the host accepts packets for ip as its own: by an address, a local route or a prefix on lo.
func (h *Host) RoutedLocal(ip netip.Addr) (local, known bool) { return h.routing.IsLocal(ip) }

// FlowsTo returns the flows to a VIP that count as evidence: seen here, and not started by this host itself, because a
// client on the director or on a real server never takes the path (catalogue: client-on-director).
func (h *Host) FlowsTo(vip netip.Addr) []capture.Flow {
	var out []capture.Flow
	for _, f := range h.flows[vip] {
		if !h.ownsClient(f) || h.Is(lvs.RoleClient) {
			out = append(out, f)
		}
	}
	return out
}

// RecentFlowsTo are the flows to a VIP that count as evidence and began within FlowWindow of the latest packet seen here, met from
// their beginning, oldest first: what was cured a minute ago says nothing of now.
func (h *Host) RecentFlowsTo(vip netip.Addr) []capture.Flow {
	recent := slices.DeleteFunc(h.FlowsTo(vip), func(f capture.Flow) bool {
		return f.MidStream || h.latest.Sub(f.FirstSeen) > FlowWindow
	})
	arrange.By(recent, byStart)
	return recent
}

func byStart(a, b capture.Flow) int { return a.FirstSeen.Compare(b.FirstSeen) }

func (h *Host) ownsClient(f capture.Flow) bool { return h.Has(f.Client.Addr()) }

// SeenClients are the clients of a VIP that somebody saw, in flows, connections or sockets; assumed ones are left out.
func (h *Host) SeenClients(vip netip.Addr) []netip.Addr {
	var out []netip.Addr
	add := func(ip netip.Addr) {
		if ip.IsValid() && !slices.Contains(out, ip) && !h.Has(ip) {
			out = append(out, ip)
		}
	}
	for _, f := range h.flows[vip] {
		add(f.Client.Addr())
	}
	for _, c := range h.Snapshot.Clients {
		if !c.Assumed() && (c.Virtual == vip || !c.Virtual.IsValid()) {
			add(c.Address)
		}
	}
	return out
}

// ClientsOf are the clients to judge a VIP by: the seen ones, else the assumed one with assumed = true.
func (h *Host) ClientsOf(vip netip.Addr) (clients []netip.Addr, assumed bool) {
	if seen := h.SeenClients(vip); len(seen) > 0 {
		return seen, false
	}
	for _, c := range h.Snapshot.Clients {
		if c.Assumed() && c.Address.Is4() == vip.Is4() {
			clients = append(clients, c.Address)
		}
	}
	return clients, true
}

// Served tells whether some client's handshake with the VIP was seen to complete here.
func (h *Host) Served(vip netip.Addr) bool {
	return slices.ContainsFunc(h.FlowsTo(vip), func(f capture.Flow) bool {
		return f.Outcome == capture.Established || f.Outcome == capture.Closed
	})
}

// Asked is the kernel's answer to a routing question, or, when it was not asked, the prediction from the routes.
func (h *Host) Asked(q lvs.RouteQuery) lvs.RouteAnswer {
	a, ok := h.asked[q]
	if ok {
		return a
	}
	if a, ok = h.routing.Answer(q); !ok {
		a = h.routing.Lookup(q)
	}
	h.asked[q] = a
	return a
}

// Answer is the kernel's answer to exactly this question, when it was asked.
func (h *Host) Answer(q lvs.RouteQuery) (lvs.RouteAnswer, bool) { return h.routing.Answer(q) }

// Counter is a counter's value since boot; 0 also when it could not be read.
func (h *Host) Counter(name string) uint64 { return h.Snapshot.Counters[name] }
