package fixes

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"lvstui/lvs"
)

// place is where a director has its VIP.
type place struct {
	device string
	prefix netip.Prefix
	// wire says that the device can be asked for the VIP. Else it is lo or a dummy, and the router routes the VIP to the director.
	wire bool
}

// placeVIP decides where the VIP goes, or finds out why it can not.
func placeVIP(spec Spec, s *lvs.Snapshot) (place, []Problem) {
	vip := spec.VIP.Addr()
	at := place{device: cmp.Or(spec.Interface, deviceOf(s, vip), deviceOf(s, spec.RealServers[0].Address)), prefix: spec.VIP}
	for _, a := range s.AddressesOf(vip) {
		l, _ := s.Link(a.Device)
		if spec.Interface == a.Device {
			continue
		}
		if !l.OnWire() {
			return at, []Problem{{fmt.Sprintf("%s is on %s, as on a real server: nobody would be asked for it there", vip, a.Device),
				fmt.Sprintf("ip addr del %s dev %s, if this host is to be a director only; or --interface %s, if the router routes the VIP to this host",
					a.Prefix, shellWord(a.Device), shellWord(a.Device))}}
		}
		if spec.Interface != "" {
			return at, []Problem{{fmt.Sprintf("%s is on %s already", vip, a.Device), "leave out --interface, or take it off there first"}}
		}
		at.device = a.Device
	}
	if at.device == "" {
		return at, []Problem{{fmt.Sprintf("no interface of %s is on a segment with %s or a real server", s.Host, vip), "name the one for the VIP: --interface eth0"}}
	}
	link, ok := s.Link(at.device)
	at.wire = link.OnWire()
	if !ok || !link.Up || !at.wire && !parks(link) {
		return at, []Problem{{fmt.Sprintf("%q is no interface on which %s could be asked for", at.device, vip), "name one that is up: --interface eth0; or lo, if the router routes the VIP to this host"}}
	}
	if !at.wire {
		at.prefix = netip.PrefixFrom(vip, vip.BitLen()) // a prefix would make a whole subnet local
	}
	if p := vipInUse(s, vip); p != nil {
		return at, p
	}
	return at, nil
}

// parks says that addresses are put on the link for nobody to ask for.
func parks(l lvs.Link) bool { return l.Loopback() || l.Kind == "dummy" }

// vipInUse is about somebody else who has the VIP: known as a neighbour, or heard when it was asked for.
func vipInUse(s *lvs.Snapshot, vip netip.Addr) []Problem {
	if len(s.AddressesOf(vip)) > 0 {
		return nil
	}
	inUse := func(mac, device string) []Problem {
		return []Problem{{fmt.Sprintf("%s is in use: %s answers for it on %s", vip, mac, device),
			fmt.Sprintf("find that host (arping -I %s -c 3 %s); a real server has to be quiet (lvstui fix rs-answers-arp there)", shellWord(device), vip)}}
	}
	for _, n := range s.Neighbours {
		if n.Address == vip && n.MAC != "" && !n.Dead() && !n.Proxy {
			return inUse(n.MAC, n.Device)
		}
	}
	if s.Probed != nil {
		for _, p := range s.Probed.ARP {
			if p.Address == vip && !p.Holds && len(p.Answers) > 0 {
				return inUse(p.Answers[0].MAC, p.Device)
			}
		}
	}
	return nil
}

// dip is the director's own address that the router can send clients of a routed VIP to.
func (at place) dip(spec Spec, s *lvs.Snapshot) netip.Addr {
	to := spec.RealServers[0].Address
	if spec.Gateway.IsValid() {
		to = spec.Gateway
	}
	if a := s.Lookup(lvs.RouteQuery{Dst: to}); a.Source.IsValid() && !a.Gateway.IsValid() {
		return a.Source
	}
	for _, a := range s.Addresses {
		if a.Device == deviceOf(s, to) && a.Scope == "global" && a.Prefix.Contains(to) && a.Prefix.Addr() != spec.VIP.Addr() {
			return a.Prefix.Addr()
		}
	}
	return netip.Addr{}
}

// letClientsIn completes the plan where source validation would drop what comes in for the VIP: packets of clients, and the router's ARP
// requests, which are validated in the same way (net/ipv4/arp.c). Where some way back exists, loose validation on the card lets them
// in; where none does, the gateway's route is added behind the VIP, in whose subnet it may be.
func letClientsIn(spec Spec, s *lvs.Snapshot, at place, p Plan) (Plan, []Problem) {
	vip := spec.VIP.Addr()
	in := at.device
	if !at.wire {
		if in = deviceOf(s, spec.RealServers[0].Address); spec.Gateway.IsValid() {
			in = cmp.Or(deviceOf(s, spec.Gateway), in)
		}
	}
	if !vip.Is4() || in == "" {
		return p, nil
	}
	if at.wire && spec.VIP.IsSingleIP() && !inSubnet(s, in, vip) {
		if e := s.Effective(in, "arp_ignore"); e.Known && e.Value == 2 {
			return p, []Problem{{fmt.Sprintf("arp_ignore is 2 on %s: the router's requests for %s would not be answered, because the VIP shares no subnet with its address", in, vip),
				fmt.Sprintf("give the VIP the prefix length of its subnet: --vip %s/24", vip)}}
		}
	}
	for _, who := range senders(spec, s) {
		after, err := p.After(s)
		if err != nil {
			return p, []Problem{{err.Error(), "look at the host with lvstui check"}}
		}
		if after.Lookup(lvs.RouteQuery{Dst: vip, Src: who.Address, Iif: in}).Outcome != lvs.OutRejected {
			continue
		}
		next, problem := admit(spec, s, after, in, who, p)
		if problem != nil {
			return p, []Problem{*problem}
		}
		p = next
	}
	return p, nil
}

// senders are those whose packets have to get in: the router, when it was named, and the clients.
func senders(spec Spec, s *lvs.Snapshot) []lvs.Client {
	var out []lvs.Client
	if spec.Gateway.Is4() {
		out = append(out, lvs.Client{Address: spec.Gateway, Virtual: spec.VIP.Addr(), Origin: "operator"})
	}
	for _, c := range s.Clients {
		if c.Address.Is4() && len(s.AddressesOf(c.Address)) == 0 && (!c.Virtual.IsValid() || c.Virtual == spec.VIP.Addr()) {
			out = append(out, c)
		}
	}
	return out
}

// admit adds what lets one sender in. after is the host s after the plan so far.
func admit(spec Spec, s, after *lvs.Snapshot, in string, who lvs.Client, p Plan) (Plan, *Problem) {
	vip := spec.VIP.Addr()
	var steps []Step
	if after.Lookup(lvs.RouteQuery{Dst: who.Address}).Outcome == lvs.OutUnicast {
		// In front of everything: before the VIP is there nobody comes for it.
		steps = append([]Step{SetSysctl{lvs.ConfPath(in, "rp_filter"), "2"}}, p.Steps...)
	} else if dev := deviceOf(after, spec.Gateway); spec.Gateway.IsValid() && dev != "" {
		steps = append(slices.Clone(p.Steps), DefaultRoute(lvs.TableMain, spec.Gateway, dev))
	}
	if steps != nil {
		next := p
		next.Steps = steps
		if to, err := next.After(s); err == nil && to.Lookup(lvs.RouteQuery{Dst: vip, Src: who.Address, Iif: in}).Outcome == lvs.OutLocal {
			return next, nil
		}
	}
	if who.Assumed() && !spec.Gateway.IsValid() {
		return p, nil // there may be no clients beyond the networks of this host
	}
	return p, &Problem{fmt.Sprintf("what comes in on %s from %s for %s would be dropped as forged (rp_filter), because no route leads back there", in, who.Address, vip),
		"name the router that clients come by: --gateway ADDRESS, or give the VIP the prefix length of its subnet"}
}
