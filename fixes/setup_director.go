package fixes

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"lvstui/lvs"
)

// SetUpDirector plans what makes the host of s a director for spec: the table of ip_vs first and the VIP last, so that no client comes
// before there is somebody to send it to. The plan is empty when nothing is left to do. With problems there is no plan.
//
// A director with direct routing needs no sysctl: it forwards nothing by routing, and its VIP is on the card that is asked for it.
func SetUpDirector(spec Spec, s *lvs.Snapshot) (Plan, []Problem) {
	problems := append(spec.check(), readable(s, lvs.SourceLinks, lvs.SourceAddresses, lvs.SourceRoutes, lvs.SourceRules, lvs.SourceIPVS)...)
	if len(spec.RealServers) == 0 {
		problems = append(problems, Problem{"no real server was named", "say who serves the clients: --real-server 192.168.10.11"})
	}
	if len(problems) > 0 {
		return Plan{}, problems
	}
	problems = append(tableProblems(s), ripProblems(spec, s)...)
	device, more := vipDevice(spec, s)
	if problems = append(problems, more...); len(problems) > 0 {
		return Plan{}, problems
	}
	vip := spec.VIP.Addr()
	p := Plan{ID: SetUpDirectorID, Host: s.Host, Title: fmt.Sprintf("direct clients of %s to %d real servers", vip, len(spec.RealServers))}
	for _, port := range spec.Services {
		p.Steps = append(p.Steps, tableSteps(spec, port, s)...)
	}
	if len(onDevice(s, device, vip)) == 0 {
		p.Steps = append(p.Steps, AddAddress{Device: device, Prefix: spec.VIP})
	}
	if problems = possible(p, s); len(problems) > 0 {
		return Plan{}, problems
	}
	p.NextBoot = NextBoot(p, s)
	p.Elsewhere = forOthers(spec, s, device)
	return p, nil
}

// tableProblems are about who may write the table of ip_vs.
func tableProblems(s *lvs.Snapshot) []Problem {
	if !s.IPVS.Loaded {
		return []Problem{{"ip_vs is not loaded", "modprobe ip_vs, and once more; write ip_vs into /etc/modules-load.d/ for the next boot"}}
	}
	if err := writableTable(s); err != nil {
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

// vipDevice decides where the VIP goes, or finds out why it can not.
func vipDevice(spec Spec, s *lvs.Snapshot) (string, []Problem) {
	vip := spec.VIP.Addr()
	device := cmp.Or(spec.Interface, deviceOf(s, vip), deviceOf(s, spec.RealServers[0].Address))
	for _, a := range s.AddressesOf(vip) {
		if l, _ := s.Link(a.Device); !l.OnWire() {
			return "", []Problem{{fmt.Sprintf("%s is on %s, as on a real server: nobody would be asked for it there", vip, a.Device),
				fmt.Sprintf("ip addr del %s dev %s, if this host is to be a director only", a.Prefix, shellWord(a.Device))}}
		}
		if spec.Interface != "" && a.Device != spec.Interface {
			return "", []Problem{{fmt.Sprintf("%s is on %s already", vip, a.Device), "leave out --interface, or take it off there first"}}
		}
		device = a.Device
	}
	if device == "" {
		return "", []Problem{{fmt.Sprintf("no interface of %s is on a segment with %s or a real server", s.Host, vip), "name the one for the VIP: --interface eth0"}}
	}
	link, ok := s.Link(device)
	if !ok || !link.OnWire() {
		return "", []Problem{{fmt.Sprintf("%q is no interface on which %s could be asked for", device, vip), "name one that is up: --interface eth0"}}
	}
	for _, n := range s.Neighbours {
		if n.Address == vip && n.MAC != "" && !n.Dead() && !n.Proxy && len(s.AddressesOf(vip)) == 0 {
			return "", []Problem{{fmt.Sprintf("%s is in use: %s answers for it on %s", vip, n.MAC, n.Device),
				fmt.Sprintf("find that host (arping -I %s -c 3 %s); a real server has to be quiet (lvstui fix rs-answers-arp there)", shellWord(n.Device), vip)}}
		}
	}
	return device, nil
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
func forOthers(spec Spec, s *lvs.Snapshot, device string) []string {
	vip := spec.VIP.Addr()
	out := []string{fmt.Sprintf("here, when %s was somebody else's before: arping -U -I %s -c 3 %s, so that the router learns this host's MAC", vip, shellWord(device), vip)}
	router := "the router"
	if spec.Gateway.IsValid() {
		router += " " + spec.Gateway.String()
	}
	if inSubnet(s, device, vip) {
		out = append(out, fmt.Sprintf("%s: needs nothing, %s is in the subnet of its leg", router, vip))
	} else {
		out = append(out, fmt.Sprintf("%s: %s has to be on-link on the leg to %s's segment: ip route add %s dev LEG, or an address of %s there; and it must not drop the VIP as a source on that leg",
			router, vip, s.Host, netip.PrefixFrom(vip, vip.BitLen()), spec.VIP.Masked()))
	}
	for _, rs := range spec.RealServers {
		out = append(out, fmt.Sprintf("the real server %s: lvstui setup real-server --vip %s %s", rs.Address, vip, ports(spec.Services)))
	}
	return out
}

// inSubnet tells whether an address of the device other than ip itself has ip in its subnet.
func inSubnet(s *lvs.Snapshot, device string, ip netip.Addr) bool {
	return slices.ContainsFunc(s.Addresses, func(a lvs.Address) bool {
		return a.Device == device && a.Prefix.Addr() != ip && a.Prefix.Contains(ip)
	})
}
