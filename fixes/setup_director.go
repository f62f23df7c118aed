package fixes

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"lvstui/lvs"
)

// SetUpDirector plans what makes the host of s a director for spec: the module, the table of ip_vs, and the VIP last, so that no client
// comes before there is somebody to send it to; then the segment is told. The plan is empty when nothing is left to do. With
// problems there is no plan.
//
// A director with direct routing forwards nothing by routing and needs no sysctl for it. Source validation is the one that matters:
// where it would drop clients that come in for the VIP, it is made loose on that card, or the way to them is added.
func SetUpDirector(spec Spec, s *lvs.Snapshot) (Plan, []Problem) {
	problems := append(spec.check(), readable(s, lvs.SourceLinks, lvs.SourceAddresses, lvs.SourceRoutes, lvs.SourceRules, lvs.SourceIPVS)...)
	if len(spec.RealServers) == 0 {
		problems = append(problems, Problem{"no real server was named", "say who serves the clients: --real-server 192.168.10.11"})
	}
	if len(problems) > 0 {
		return Plan{}, problems
	}
	problems = slices.Concat(gatewayProblems(spec, s), tableProblems(s), ripProblems(spec, s), portProblems(spec, s))
	at, more := placeVIP(spec, s)
	if problems = append(problems, more...); len(problems) > 0 {
		return Plan{}, problems
	}
	vip := spec.VIP.Addr()
	p := Plan{ID: SetUpDirectorID, Host: s.Host, Title: fmt.Sprintf("direct clients of %s to %d real servers", vip, len(spec.RealServers))}
	if load := (LoadModule{moduleIPVS}); !load.Done(s) {
		p.Steps = append(p.Steps, load)
	}
	for _, port := range spec.Services {
		p.Steps = append(p.Steps, tableSteps(spec, port, s)...)
	}
	if len(onDevice(s, at.device, vip)) == 0 {
		p.Steps = append(p.Steps, AddAddress{Device: at.device, Prefix: at.prefix})
		if at.wire {
			p.Steps = append(p.Steps, Announce{at.device, vip})
		}
	}
	if p, problems = letClientsIn(spec, s, at, p); len(problems) > 0 {
		return Plan{}, problems
	}
	if problems = possible(p, s); len(problems) > 0 {
		return Plan{}, problems
	}
	p.NextBoot = NextBoot(p, s)
	p.Elsewhere = forOthers(spec, s, at)
	return p, nil
}

// tableProblems are about who may write the table of ip_vs.
func tableProblems(s *lvs.Snapshot) []Problem {
	if err := writableTable(s); err != nil && s.IPVS.Loaded {
		return []Problem{{err.Error(), "run it as root: sudo lvstui setup director …"}}
	}
	for _, o := range s.Owners {
		if slices.Contains(o.Owns, "ipvs") && !strings.HasPrefix(o.Name, "ipvsadm") {
			return []Problem{{fmt.Sprintf("%s keeps the ip_vs table of this host (%s) and would not know of what lvstui adds", o.Name, o.Evidence),
				"write the virtual services into " + cmp.Or(o.File, "its configuration")}}
		}
	}
	return nil
}

// ripProblems: direct routing changes the MAC only, so each real server has to be on a segment of the director.
func ripProblems(spec Spec, s *lvs.Snapshot) []Problem {
	var out []Problem
	for _, rs := range spec.RealServers {
		a := s.Lookup(lvs.RouteQuery{Dst: rs.Address})
		switch {
		case a.Outcome == lvs.OutLocal:
			out = append(out, Problem{fmt.Sprintf("%s is an address of this host itself", rs.Address), "give the RIP of another host"})
		case a.Outcome == lvs.OutUnicast && a.Gateway.IsValid():
			out = append(out, Problem{fmt.Sprintf("the real server %s is behind %s: direct routing reaches only hosts on a segment of the director", rs.Address, a.Gateway),
				"put the director on the real servers' segment, or use ipip or masq instead of direct routing"})
		case a.Outcome != lvs.OutUnicast:
			out = append(out, Problem{fmt.Sprintf("this host has no route to the real server %s (%s)", rs.Address, a.Outcome), "ip route get " + rs.Address.String()})
		}
	}
	return out
}

// portProblems: a destination with another port than its service has is from other methods, and direct routing would not change the port.
func portProblems(spec Spec, s *lvs.Snapshot) []Problem {
	var out []Problem
	for _, port := range spec.Services {
		name := VirtualService{Protocol: port.Protocol, Address: spec.VIP.Addr(), Port: port.Port}
		v, _ := name.in(s)
		for _, d := range v.Destinations {
			named := slices.ContainsFunc(spec.RealServers, func(rs RealServer) bool { return rs.Address == d.Address })
			if named && d.Port != port.Port {
				out = append(out, Problem{fmt.Sprintf("%s has %s with port %d already (%s): direct routing changes no port", name, d.Address, d.Port, d.Forward),
					fmt.Sprintf("have %s listen on port %d, and take the other one out: %s", d.Address, port.Port, DelDestination{name, d.Address, d.Port}.Command())})
			}
		}
	}
	return out
}

// tableSteps bring one virtual service and its destinations to what spec says. What else is there stays: persistence, other destinations.
func tableSteps(spec Spec, port Port, s *lvs.Snapshot) []Step {
	name := VirtualService{Protocol: port.Protocol, Address: spec.VIP.Addr(), Port: port.Port}
	var steps []Step
	v, there := name.in(s)
	switch {
	case !there:
		steps = append(steps, AddService{Service: name, Scheduler: spec.Scheduler})
	case v.Scheduler != spec.Scheduler:
		st := serviceStep(v)
		st.Scheduler = spec.Scheduler
		steps = append(steps, EditService(st))
	}
	for _, rs := range spec.RealServers {
		st := AddDestination{Service: name, Address: rs.Address, Port: port.Port, Forward: lvs.Gate, Weight: rs.Weight}
		d, there := destinationIn(s, name, rs.Address, port.Port)
		if st.UpperThreshold, st.LowerThreshold = d.UpperThreshold, d.LowerThreshold; there && !st.Done(s) {
			steps = append(steps, EditDestination(st))
		} else if !there {
			steps = append(steps, st)
		}
	}
	return steps
}

// forOthers says what the router and the real servers need.
func forOthers(spec Spec, s *lvs.Snapshot, at place) []string {
	vip := spec.VIP.Addr()
	single := netip.PrefixFrom(vip, vip.BitLen())
	router := "the router"
	if spec.Gateway.IsValid() {
		router += " " + spec.Gateway.String()
	}
	ip, conf := "ip", "net.ipv4.conf"
	if vip.Is6() {
		ip = "ip -6"
	}
	rip := s.Lookup(lvs.RouteQuery{Dst: spec.RealServers[0].Address})
	var out []string
	switch dip := at.dip(spec, s); {
	case !at.wire && dip.IsValid():
		out = append(out, fmt.Sprintf("%s: %s route add %s via %s, so that it sends clients here; nobody asks for the VIP by ARP then", router, ip, single, dip))
	case !at.wire:
		out = append(out, fmt.Sprintf("%s: %s route add %s via an address of %s on its segment, so that it sends clients here", router, ip, single, s.Host))
	case inSubnet(s, at.device, vip):
		out = append(out, fmt.Sprintf("%s: needs no route, %s is in the subnet of its leg", router, vip))
	default:
		out = append(out, fmt.Sprintf("%s: %s has to be on-link on its leg to %s of %s: %s route add %s dev LEG, or an address of %s on LEG",
			router, vip, at.device, s.Host, ip, single, spec.VIP.Masked()))
	}
	if at.wire && rip.Device != at.device && vip.Is4() {
		out = append(out, fmt.Sprintf("%s: answers from %s come in on its leg to the real servers, not on that of the VIP, and it must not drop them as forged: sysctl -w %s.LEG.rp_filter=2 on a Linux router, where LEG is its interface in the subnet of %s; loose uRPF and a permit for %s elsewhere",
			router, vip, conf, spec.RealServers[0].Address, vip))
	}
	for _, rs := range spec.RealServers {
		gateway := ""
		if sameSubnet(s, spec.Gateway, rs.Address) {
			gateway = " --gateway " + spec.Gateway.String()
		}
		out = append(out, fmt.Sprintf("the real server %s: lvstui setup real-server --vip %s %s%s", rs.Address, vip, ports(spec.Services), gateway))
	}
	return out
}

// sameSubnet tells whether an address of this host has both in its subnet.
func sameSubnet(s *lvs.Snapshot, a, b netip.Addr) bool {
	return slices.ContainsFunc(s.Addresses, func(own lvs.Address) bool { return own.Prefix.Contains(a) && own.Prefix.Contains(b) })
}

// inSubnet tells whether an address of the device other than ip itself has ip in its subnet.
func inSubnet(s *lvs.Snapshot, device string, ip netip.Addr) bool {
	return slices.ContainsFunc(s.Addresses, func(a lvs.Address) bool {
		return a.Device == device && a.Prefix.Addr() != ip && a.Prefix.Contains(ip)
	})
}
