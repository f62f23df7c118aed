package fixes

import (
	"fmt"
	"net/netip"

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
	if problems = append(cardProblems(s, vip), arpProblems(s, vip)...); len(problems) > 0 {
		return Plan{}, problems
	}
	p := HoldVIP(s, vip)
	p.ID, p.Title = SetUpRealServerID, fmt.Sprintf("serve clients of %s without answering ARP for it", vip)
	if problems = possible(p, s); len(problems) > 0 {
		return Plan{}, problems
	}
	after, err := p.After(s)
	if err != nil {
		return Plan{}, []Problem{{err.Error(), "look at the host with lvstui check"}}
	}
	if local, known := after.IsLocal(vip); !known || !local {
		return Plan{}, []Problem{{fmt.Sprintf("%s would still not take packets for %s", s.Host, vip), "look at ip rule and ip route show table local"}}
	}
	if problems = wayBackProblems(spec, after); len(problems) > 0 {
		return Plan{}, problems
	}
	p.NextBoot = NextBoot(p, s)
	p.Elsewhere = listenerWords(spec, s)
	p.Elsewhere = append(p.Elsewhere, fmt.Sprintf("the director: lvstui setup director --vip %s %s --real-server RIP-OF-%s", spec.VIP, ports(spec.Services), s.Host),
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

// wayBackProblems judges the host as it will be: the SYN has to be accepted, and the answer with the VIP as source has to find the router.
func wayBackProblems(spec Spec, s *lvs.Snapshot) []Problem {
	vip := spec.VIP.Addr()
	var out []Problem
	for _, c := range s.Clients {
		if c.Address.Is6() != vip.Is6() || c.Virtual.IsValid() && c.Virtual != vip {
			continue
		}
		back := s.Lookup(lvs.RouteQuery{Dst: c.Address, Src: vip})
		switch {
		case back.Outcome == lvs.OutUnreachable || back.Outcome == lvs.OutRejected:
			next := "ip route add default via ROUTER"
			if spec.Gateway.IsValid() {
				next = "ip route add default via " + spec.Gateway.String()
			}
			return append(out, Problem{fmt.Sprintf("%s has no route to clients such as %s, so no answer would leave", s.Host, c.Address), next})
		case back.Outcome == lvs.OutUnicast && spec.Gateway.IsValid() && back.Gateway != spec.Gateway && back.Gateway.IsValid():
			return append(out, Problem{fmt.Sprintf("answers from %s to clients such as %s go via %s, not via %s", vip, c.Address, back.Gateway, spec.Gateway),
				fmt.Sprintf("ip route replace default via %s dev %s", spec.Gateway, shellWord(back.Device))})
		}
	}
	return out
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
