package wizard

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"lvstui/fixes"
	"lvstui/lvs"
)

// Offer is an answer that the host suggests, and where it was seen.
type Offer struct{ Text, From string }

// found is the answer that the host leaves no doubt about, or the one nearly everybody gives.
func (s *Sheet) found(q ID) Answer {
	offers := s.offers(q)
	switch q {
	case Services, RealServers: // those in ip_vs belong together; neighbours and listeners may be anybody's
		var all []string
		for _, o := range offers {
			if o.From == inTable {
				all = append(all, o.Text)
			}
		}
		if len(all) > 0 {
			return Answer{Text: strings.Join(all, " "), From: inTable}
		}
		if q == RealServers {
			return Answer{}
		}
	case Scheduler:
		return Answer{Text: offers[0].Text, From: offers[0].From}
	}
	if len(offers) == 1 {
		return Answer{Text: offers[0].Text, From: offers[0].From}
	}
	return Answer{}
}

// Offers are the answers that a person can choose from, the likeliest first.
func (s *Sheet) Offers(q ID) []Offer {
	if s.facts.Snapshot == nil {
		return nil
	}
	return s.offers(q)
}

func (s *Sheet) offers(q ID) []Offer {
	switch q {
	case Role:
		return s.roles()
	case VIP:
		return s.vips()
	case Services:
		return s.services()
	case RealServers:
		return s.realServers()
	case Scheduler:
		return s.schedulers()
	case Interface:
		return s.interfaces()
	case Gateway:
		return s.gateways()
	}
	return nil
}

// Other tells whether an answer may be typed that is not among the offers.
func Other(q ID) bool { return q == VIP || q == Services || q == RealServers || q == Gateway }

func (s *Sheet) roles() []Offer {
	var out []Offer
	for _, r := range []lvs.Role{lvs.RoleDirector, lvs.RoleRealServer} {
		if slices.Contains(s.facts.Roles, r) {
			out = append(out, Offer{string(r), "it is one already"})
		}
	}
	if len(out) == 1 {
		return out
	}
	return []Offer{{string(lvs.RoleDirector), "clients come to it; it sends them on"},
		{string(lvs.RoleRealServer), "it serves clients and answers them itself"}}
}

// Roles are both roles, for who wants another one than is found.
func (s *Sheet) Roles() []Offer {
	known := map[string]string{}
	for _, o := range s.roles() {
		known[o.Text] = o.From
	}
	out := []Offer{{string(lvs.RoleDirector), "clients come to it; it sends them on"},
		{string(lvs.RoleRealServer), "it serves clients and answers them itself"}}
	for i := range out {
		if len(known) == 1 && known[out[i].Text] != "" {
			out[i].From += " (" + known[out[i].Text] + ")"
		}
	}
	return out
}

// vips are the virtual addresses that are known here: told, in the table of ip_vs, or where clients were seen to go.
func (s *Sheet) vips() []Offer {
	var out []Offer
	add := func(ip netip.Addr, from string) {
		if !ip.IsValid() || len(out) >= maxOffers || slices.ContainsFunc(out, func(o Offer) bool { p, _ := fixes.ParseVIP(o.Text); return p.Addr() == ip }) {
			return
		}
		out = append(out, Offer{s.vipText(ip), from})
	}
	snap := s.facts.Snapshot
	for _, ip := range s.facts.VIPs {
		add(ip, "named when lvstui was started")
	}
	if snap.IPVS != nil {
		for _, v := range snap.IPVS.Services {
			add(v.Address, inTable)
		}
	}
	for _, a := range snap.Addresses { // a VIP is parked on lo or a dummy
		if l, ok := snap.Link(a.Device); ok && !l.OnWire() && a.Prefix.IsSingleIP() && a.Prefix.Addr().IsGlobalUnicast() && (l.Loopback() || l.Kind == "dummy") {
			add(a.Prefix.Addr(), "parked on "+a.Device)
		}
	}
	for _, ap := range s.facts.Virtuals {
		add(ap.Addr(), "clients were seen to go there")
	}
	return out
}

// vipText is the VIP as it is to be on this host: a director has it with the prefix that it has already.
func (s *Sheet) vipText(ip netip.Addr) string {
	for _, a := range s.facts.Snapshot.AddressesOf(ip) {
		if l, _ := s.facts.Snapshot.Link(a.Device); l.OnWire() && s.RoleGiven() == lvs.RoleDirector && !a.Prefix.IsSingleIP() {
			return a.Prefix.String()
		}
	}
	return ip.String()
}

// maxOffers bounds every list: a neighbour table may hold thousands.
const maxOffers = 40

const inTable = "in the table of ip_vs"

func (s *Sheet) services() []Offer {
	var out []Offer
	add := func(p fixes.Port, from string) {
		if p.Port != 0 && len(out) < maxOffers && !slices.ContainsFunc(out, func(o Offer) bool { return o.Text == p.String() }) {
			out = append(out, Offer{p.String(), from})
		}
	}
	vip, _ := fixes.ParseVIP(s.Answer(VIP).Text)
	snap := s.facts.Snapshot
	if snap.IPVS != nil {
		for _, v := range snap.IPVS.Services {
			if v.Address.IsValid() && v.Address == vip.Addr() {
				add(fixes.Port{Protocol: v.Protocol, Port: v.Port}, inTable)
			}
		}
	}
	for _, ap := range s.facts.Virtuals {
		if ap.Addr() == vip.Addr() {
			add(fixes.Port{Protocol: lvs.TCP, Port: ap.Port()}, "clients were seen to ask for it")
		}
	}
	if s.RoleGiven() == lvs.RoleRealServer {
		for _, k := range snap.Sockets {
			if k.Port != 22 && (k.Address.IsUnspecified() || k.Address == vip.Addr()) && k.Protocol == lvs.TCP {
				add(fixes.Port{Protocol: k.Protocol, Port: k.Port}, "listens here")
			}
		}
	}
	return out
}

// realServers are the destinations that ip_vs has for the VIP, and the hosts that were seen on the director's segments.
func (s *Sheet) realServers() []Offer {
	var out []Offer
	add := func(rs fixes.RealServer, from string) {
		if len(out) < maxOffers && !slices.ContainsFunc(out, func(o Offer) bool {
			known, _ := fixes.ParseRealServer(o.Text)
			return known.Address == rs.Address
		}) {
			out = append(out, Offer{rs.String(), from})
		}
	}
	vip, _ := fixes.ParseVIP(s.Answer(VIP).Text)
	snap := s.facts.Snapshot
	if snap.IPVS != nil {
		for _, v := range snap.IPVS.Services {
			if v.Address != vip.Addr() {
				continue
			}
			for _, d := range v.Destinations {
				add(fixes.RealServer{Address: d.Address, Weight: int(d.Weight)}, inTable)
			}
		}
	}
	for _, n := range snap.Neighbours {
		if len(out) >= maxOffers {
			break
		}
		l, _ := snap.Link(n.Device)
		if n.MAC == "" || n.Dead() || n.Proxy || !l.OnWire() || !n.Address.IsGlobalUnicast() || n.Address == vip.Addr() ||
			vip.IsValid() && n.Address.Is6() != vip.Addr().Is6() || s.isGateway(n.Address) {
			continue
		}
		add(fixes.RealServer{Address: n.Address, Weight: 1}, "seen on "+n.Device)
	}
	return out
}

func (s *Sheet) isGateway(ip netip.Addr) bool {
	return slices.ContainsFunc(s.facts.Snapshot.Routes, func(r lvs.Route) bool { return r.Gateway == ip })
}

// schedulers are the ones people use; what a service has already comes first.
func (s *Sheet) schedulers() []Offer {
	out := []Offer{{"rr", "one after the other, the usual"}, {"wrr", "one after the other, by weight"}, {"lc", "fewest connections"},
		{"wlc", "fewest connections, by weight"}, {"sh", "by the client's address"}, {"mh", "by the client's address, steady when real servers change"}}
	vip, _ := fixes.ParseVIP(s.Answer(VIP).Text)
	if snap := s.facts.Snapshot; snap.IPVS != nil {
		for _, v := range snap.IPVS.Services {
			if v.Address.IsValid() && v.Address == vip.Addr() && v.Scheduler != "" {
				out = slices.DeleteFunc(out, func(o Offer) bool { return o.Text == v.Scheduler })
				return append([]Offer{{v.Scheduler, inTable}}, out...)
			}
		}
	}
	return out
}

// interfaces are those on which the VIP could be asked for: the one that has its subnet, or else the one that has the real servers,
// or else all.
func (s *Sheet) interfaces() []Offer {
	snap := s.facts.Snapshot
	vip, _ := fixes.ParseVIP(s.Answer(VIP).Text)
	for _, a := range snap.AddressesOf(vip.Addr()) {
		if l, _ := snap.Link(a.Device); l.OnWire() {
			return []Offer{{a.Device, "the VIP is there"}}
		}
	}
	if d := onLink(snap, vip.Addr()); d != "" {
		return []Offer{{d, "the VIP's subnet is there"}}
	}
	if rips, err := list(s.Answer(RealServers).Text, fixes.ParseRealServer); err == nil && len(rips) > 0 && vip.IsSingleIP() {
		if d := onLink(snap, rips[0].Address); d != "" {
			return []Offer{{d, "the real servers are there"}}
		}
	}
	var out []Offer
	for _, l := range snap.Links {
		if l.OnWire() && len(out) < maxOffers {
			out = append(out, Offer{l.Name, strings.Join(addressesOn(snap, l.Name), ", ")})
		}
	}
	return out
}

func addressesOn(snap *lvs.Snapshot, device string) []string {
	var out []string
	for _, a := range snap.Addresses {
		if a.Device == device && !a.Prefix.Addr().IsLinkLocalUnicast() && len(out) < 4 {
			out = append(out, a.Prefix.String())
		}
	}
	if len(out) == 0 {
		return []string{"no address"}
	}
	return out
}

// onLink is the interface by which an address is reached without a router, "" when there is none.
func onLink(snap *lvs.Snapshot, ip netip.Addr) string {
	if !ip.IsValid() {
		return ""
	}
	a := snap.Lookup(lvs.RouteQuery{Dst: ip})
	if l, ok := snap.Link(a.Device); ok && a.Outcome == lvs.OutUnicast && !a.Gateway.IsValid() && l.OnWire() {
		return a.Device
	}
	return ""
}

func (s *Sheet) gateways() []Offer {
	vip, _ := fixes.ParseVIP(s.Answer(VIP).Text)
	var out []Offer
	for _, r := range s.facts.Snapshot.Routes {
		if r.Gateway.IsValid() && r.Dst.Bits() == 0 && (!vip.IsValid() || r.Gateway.Is6() == vip.Addr().Is6()) &&
			!slices.ContainsFunc(out, func(o Offer) bool { return o.Text == r.Gateway.String() }) {
			out = append(out, Offer{r.Gateway.String(), fmt.Sprintf("the default route, on %s", r.Device)})
		}
	}
	return out[:min(len(out), maxOffers)]
}
