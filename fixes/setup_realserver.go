package fixes

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/lvs"
)

// SetUpRealServer plans what makes the host of s a real server for spec: the ARP sysctls first and then the VIP on lo, so that it is never
// answered for. The route back to clients and the listeners are looked at, and not changed. The plan is empty when nothing is
// left to do. With problems there is no plan.
func SetUpRealServer(spec Spec, s *lvs.Snapshot) (Plan, []Problem) {
	problems := append(spec.check(), readable(s, lvs.SourceLinks, lvs.SourceAddresses, lvs.SourceRoutes, lvs.SourceRules, lvs.SourceSysctls)...)
	if len(problems) > 0 {
		return Plan{}, problems
	}
	vip := spec.VIP.Addr()
	if problems = slices.Concat(gatewayProblems(spec, s), cardProblems(s, vip), arpProblems(s, vip)); len(problems) > 0 {
		return Plan{}, problems
	}
	device, problems := parkAt(spec, s)
	if len(problems) > 0 {
		return Plan{}, problems
	}
	back, hints, problems := wayBack(spec, s)
	if len(problems) > 0 {
		return Plan{}, problems
	}
	p := holdVIP(s, vip, device)
	p.ID, p.Title = SetUpRealServerID, fmt.Sprintf("serve clients of %s without answering ARP for it", vip)
	p.Steps = append(back, p.Steps...)
	if problems = possible(p, s); len(problems) > 0 {
		return Plan{}, problems
	}
	after, err := p.After(s)
	if err != nil {
		return Plan{}, []Problem{{err.Error(), "look at the host with lvstui check"}}
	}
	if local, known := after.IsLocal(vip); known && !local {
		return Plan{}, []Problem{{fmt.Sprintf("%s would still not take packets for %s", s.Host, vip), "look at ip rule and ip route show table local"}}
	}
	if problems = lostOnTheWay(spec, after); len(problems) > 0 {
		return Plan{}, problems
	}
	p.NextBoot = NextBoot(p, s)
	p.Elsewhere = append(hints, listenerWords(spec, s)...)
	p.Elsewhere = append(p.Elsewhere, fmt.Sprintf("the director: lvstui setup director --vip %s %s --real-server %s", spec.VIP, ports(spec.Services), ownRIP(spec, s)),
		"the router: must not drop the VIP as a source on the leg this host is on (rp_filter, uRPF, source guard)")
	return p, nil
}

// cardProblems: on a network card the VIP is answered for whatever arp_ignore says.
func cardProblems(s *lvs.Snapshot, vip netip.Addr) []Problem {
	for _, a := range s.AddressesOf(vip) {
		if l, _ := s.Link(a.Device); l.OnWire() {
			return []Problem{{fmt.Sprintf("%s is on the network card %s, as on a director", vip, a.Device), "lvstui fix vip-on-rs-nic --role real-server, if this host is to be a real server"}}
		}
	}
	return nil
}

// arpProblems: what could not be read can neither be left alone nor put back.
func arpProblems(s *lvs.Snapshot, vip netip.Addr) []Problem {
	var out []Problem
	for _, l := range s.Links {
		for _, key := range []string{"arp_ignore", "arp_announce"} {
			if vip.Is4() && l.OnWire() && !s.Effective(l.Name, key).Known {
				out = append(out, Problem{fmt.Sprintf("%s of %s could not be read", key, l.Name), "sysctl " + lvs.SysctlName(lvs.ConfPath(l.Name, key))})
			}
		}
	}
	return out
}

// parkAt is the link for the VIP: lo, or a dummy that was named.
func parkAt(spec Spec, s *lvs.Snapshot) (string, []Problem) {
	if spec.Interface == "" {
		return loopback(s), nil
	}
	if l, ok := s.Link(spec.Interface); !ok || !l.Up || !parks(l) {
		return "", []Problem{{fmt.Sprintf("%q is neither lo nor a dummy that is up", spec.Interface), "leave out --interface, or: ip link add dummy0 type dummy && ip link set dummy0 up"}}
	}
	return spec.Interface, nil
}

// wayBack are the steps by which answers from the VIP leave for the gateway that was named, where they would not: a default route on a host
// without one, else a rule and a table for the VIP alone. Without a gateway it is a problem when clients that were seen can not be answered, and
// a hint when nobody knows whether there are any beyond the networks of this host.
func wayBack(spec Spec, s *lvs.Snapshot) (steps []Step, hints []string, problems []Problem) {
	vip, gateway := spec.VIP.Addr(), spec.Gateway
	on := ""
	if gateway.IsValid() {
		if on = deviceOf(s, gateway); on == "" {
			return nil, nil, []Problem{{fmt.Sprintf("the gateway %s is not on a segment of %s", gateway, s.Host), "name the router's address in a subnet of this host: --gateway ADDRESS"}}
		}
	}
	lost := fmt.Sprintf("%s has no route to clients such as %%s, so no answer would leave", s.Host)
	for _, c := range clientsOf(spec, s) {
		// From the VIP, as rules may look at it; where it is not here yet no such packet could be sent, and rules for it have no part.
		back := s.Lookup(lvs.RouteQuery{Dst: c.Address, Src: vip})
		if len(s.AddressesOf(vip)) == 0 {
			back = s.Lookup(lvs.RouteQuery{Dst: c.Address})
		}
		nowhere := back.Outcome == lvs.OutUnreachable || back.Outcome == lvs.OutRejected
		astray := gateway.IsValid() && back.Outcome == lvs.OutUnicast && back.Gateway.IsValid() && back.Gateway != gateway
		switch {
		case !nowhere && !astray || len(steps) > 0:
		case nowhere && gateway.IsValid():
			steps = []Step{DefaultRoute(lvs.TableMain, gateway, on)}
		case astray:
			steps = AnswersBy(s, vip, gateway, on)
		case c.Assumed():
			hints = append(hints, "here: "+fmt.Sprintf(lost, c.Address)+"; if clients come from beyond the networks of this host, name the router: --gateway ADDRESS")
		default:
			return nil, nil, []Problem{{fmt.Sprintf(lost, c.Address), "name the router: --gateway ADDRESS, and a default route is part of the plan"}}
		}
	}
	return steps, hints, nil
}

// clientsOf are those that talk to the VIP, or may.
func clientsOf(spec Spec, s *lvs.Snapshot) []lvs.Client {
	var out []lvs.Client
	for _, c := range s.Clients {
		if c.Address.Is6() == spec.VIP.Addr().Is6() && len(s.AddressesOf(c.Address)) == 0 && (!c.Virtual.IsValid() || c.Virtual == spec.VIP.Addr()) {
			out = append(out, c)
		}
	}
	return out
}

// lostOnTheWay judges the host as it will be, when it was said by which gateway answers are to go.
func lostOnTheWay(spec Spec, s *lvs.Snapshot) []Problem {
	vip := spec.VIP.Addr()
	for _, c := range clientsOf(spec, s) {
		back := s.Lookup(lvs.RouteQuery{Dst: c.Address, Src: vip})
		if spec.Gateway.IsValid() && back.Outcome == lvs.OutUnicast && back.Gateway.IsValid() && back.Gateway != spec.Gateway {
			return []Problem{{fmt.Sprintf("answers from %s to clients such as %s would go via %s, not via %s", vip, c.Address, back.Gateway, spec.Gateway),
				"see which policy rule or route comes first: ip rule show; " + fmt.Sprintf("ip route get %s from %s", c.Address, vip)}}
		}
	}
	return nil
}

// ownRIP is the address by which a director would know this host.
func ownRIP(spec Spec, s *lvs.Snapshot) string {
	to := spec.Gateway
	if !to.IsValid() {
		if clients := clientsOf(spec, s); len(clients) > 0 {
			to = clients[0].Address
		}
	}
	if a := s.Lookup(lvs.RouteQuery{Dst: to}); a.Source.IsValid() && a.Outcome == lvs.OutUnicast {
		return a.Source.String()
	}
	return "RIP-OF-" + s.Host
}

// listenerWords says for which services nobody listens yet. That is no reason to stop: a server that binds the VIP can start only
// when the VIP is there.
func listenerWords(spec Spec, s *lvs.Snapshot) []string {
	var out []string
	vip := spec.VIP.Addr()
	for _, p := range spec.Services {
		if s.Sockets == nil || listens(s, p, vip) {
			continue
		}
		out = append(out, fmt.Sprintf("here: nothing listens on %s for %s; direct routing changes no port, so the server has to listen on port %d of 0.0.0.0 or of %s",
			p, vip, p.Port, vip))
	}
	return out
}

func listens(s *lvs.Snapshot, p Port, vip netip.Addr) bool {
	for _, k := range s.Sockets {
		any6 := k.Address.Is6() && k.Address.IsUnspecified() && (vip.Is6() || !k.V6Only)
		any4 := k.Address.Is4() && k.Address.IsUnspecified() && vip.Is4()
		if k.Protocol == p.Protocol && k.Port == p.Port && (k.Address == vip || any4 || any6) {
			return true
		}
	}
	return false
}
