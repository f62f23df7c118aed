package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "forward-method-not-dr",
	Title: "a destination is not set to direct routing",
	Stage: lvs.SynForwarded,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS, lvs.SourceAddresses, lvs.SourceOwners},
	Explain: probes.Explain{
		Breaks: `A destination with the method masq gets packets that are addressed to the RIP instead of the VIP, and expects its answers to come back through
the director. A real server that is set up for direct routing sends them straight to the client, with the RIP as source. The client has never
talked to that address and answers with a RST. A destination with ipip gets the packets in a tunnel; without tunl0 it says
"protocol unreachable".`,
		ByHand: `On the director look at the column Forward. With direct routing it says Route:

    ipvsadm -Ln

keepalived uses NAT when lvs_method is not given, and ipvsadm -m means masq.`,
		Cure: `Change the destination, with its weight, which would become 1 otherwise:

    ipvsadm -e -t 172.16.0.8:80 -r 192.168.10.11:80 -g -w 1

In keepalived.conf write "lvs_method DR" into the virtual_server. Some versions change a running destination only on restart, so look again.`,
		Source: "include/uapi/linux/ip_vs.h, IP_VS_CONN_F_FWD_MASK; net/netfilter/ipvs/ip_vs_xmit.c, ip_vs_nat_xmit and ip_vs_tunnel_xmit.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		if _, ok := owner(c.Snapshot, clusterOwners...); ok {
			return nil // container clusters use masq on purpose
		}
		var out []probes.Finding
		for _, v := range services(c) {
			if f, ok := wrongMethod(c, v); ok {
				out = append(out, f)
			}
		}
		return out
	},
})

// wrongMethod judges one service. That masq is used proves nothing: LVS with NAT is as good as any. It is wrong where something shows that
// the real server was meant for direct routing, or where its answers can not pass the director.
func wrongMethod(c *probes.Case, v lvs.Service) (probes.Finding, bool) {
	var wrong []lvs.Destination
	var rips []netip.Addr
	var reasons []string
	evidence := []probes.Evidence{}
	certainty, active := probes.Certain, 0
	for _, d := range v.Destinations {
		if d.Weight <= 0 {
			continue
		}
		active++
		reason, sure, e := misplaced(c, v, d)
		if reason == "" {
			continue
		}
		wrong, rips = append(wrong, d), append(rips, d.Address)
		if !slices.Contains(reasons, reason) {
			reasons = append(reasons, reason)
			evidence = append(evidence, e...)
		}
		if !sure {
			certainty = probes.Strong
		}
	}
	if len(wrong) == 0 || len(wrong) == active && v.Address.IsValid() && c.Served(v.Address) {
		return probes.Finding{}, false
	}
	severity := probes.Degraded
	if len(wrong) == active {
		severity = probes.Outage
	}
	f := c.Finding(severity, certainty, v.Key())
	f.VIP = v.Address
	f.Title = fmt.Sprintf("%s sends to %s by %s, not by direct routing", v.Name(), list(rips), wrong[0].Forward)
	f.Why = fmt.Sprintf("%s: %s. ", v.Name(), listWords(reasons))
	if wrong[0].Forward == lvs.IPIP {
		f.Why += "The real server has nothing that would take the packet out of the tunnel, so the SYN ends there."
	} else {
		f.Why += "With masq the SYN gets the RIP as destination, and the answer comes from the RIP: unless it passes this director, the client gets it from an address it never asked."
	}
	f.Evidence = append(f.Evidence, probes.Evidence{Fact: "forwarding method of " + list(rips), Got: string(wrong[0].Forward), Want: string(lvs.Gate),
		Command: "ipvsadm -Ln " + ipvsadmService(v)})
	f.Evidence = append(f.Evidence, evidence...)
	var commands []string
	for _, d := range wrong[:min(len(wrong), 4)] {
		commands = append(commands, fmt.Sprintf("ipvsadm -e %s -r %s -g -w %d", ipvsadmService(v), ipvsadmDestination(d), d.Weight))
	}
	words := "change the method to gate, also where the table comes from"
	if o, ok := owner(c.Snapshot, "keepalived"); ok {
		words = fmt.Sprintf("write lvs_method DR into the virtual_server in %s and reload; NAT is what keepalived uses when nothing is written", o.File)
	}
	advise(&f, c.Name(), words, commands...)
	unready := func(d lvs.Destination) bool { return !readyForDirectRouting(c, v, d) }
	if !tableOwned(c.Snapshot) && !slices.ContainsFunc(wrong, unready) {
		var plan fixes.Plan
		for _, d := range wrong {
			plan.Steps = append(plan.Steps, fixes.EditDestination{Service: fixes.NameOf(v), Address: d.Address, Port: d.Port, Forward: lvs.Gate,
				Weight: d.Weight, UpperThreshold: d.UpperThreshold, LowerThreshold: d.LowerThreshold})
		}
		plan.Title = fmt.Sprintf("send %s to %s by direct routing", v.Name(), list(rips))
		cureIfPossible(&f, c.Snapshot, plan)
	}
	return f, true
}

// readyForDirectRouting says that nothing is known which would stop the real server from answering packets for the VIP itself: then changing
// the method alone would cut off what works, or cure nothing.
func readyForDirectRouting(c *probes.Case, v lvs.Service, d lvs.Destination) bool {
	if v.Port != 0 && d.Port != v.Port {
		return false // direct routing changes no port
	}
	rs := c.Cluster.Holder(d.Address)
	if rs == nil {
		return true // not looked at: what this director shows has to do
	}
	if local, known := rs.Snapshot.IsLocal(v.Address); !v.Address.IsValid() || !known || !local {
		return false
	}
	past, _, _ := masqSeenFromRealServer(c, v, d, rs)
	return past != ""
}

// misplaced finds out why a destination should be gate and is not. sure says that it can not work as it is.
func misplaced(c *probes.Case, v lvs.Service, d lvs.Destination) (reason string, sure bool, e []probes.Evidence) {
	switch d.Forward {
	case lvs.Masq:
		return misplacedMasq(c, v, d)
	case lvs.IPIP:
		holder := c.Cluster.Holder(d.Address)
		if holder == nil || holder == c.Host || holder.Snapshot.Links == nil || slices.ContainsFunc(holder.Snapshot.Links, func(l lvs.Link) bool {
			return l.Up && (l.Type != "ether" && !l.Loopback() || l.Kind == "ipip" || l.Kind == "fou" || l.Kind == "gre")
		}) {
			return "", false, nil
		}
		return fmt.Sprintf("%s has no tunnel device that is up", holder.Name()), true,
			[]probes.Evidence{{Fact: "tunnel devices on " + holder.Name(), Got: "none up", Want: "tunl0 up with the VIP, or the method gate", Command: "ip -d link show type ipip"}}
	}
	return "", false, nil
}

func misplacedMasq(c *probes.Case, v lvs.Service, d lvs.Destination) (reason string, sure bool, e []probes.Evidence) {
	if c.Has(d.Address) {
		return "", false, nil
	}
	holder := c.Cluster.Holder(d.Address)
	if holder != nil {
		if reason, sure, e = masqSeenFromRealServer(c, v, d, holder); reason != "" {
			return reason, sure, e
		}
	}
	a := c.Asked(lvs.RouteQuery{Dst: d.Address})
	if forwarding := c.Snapshot.Effective(a.Device, "forwarding"); d.Address.Is4() && a.Outcome == lvs.OutUnicast && forwarding.Known && forwarding.Value == 0 {
		return fmt.Sprintf("answers from %s that come in on %s are not forwarded", d.Address, a.Device), true,
			[]probes.Evidence{{Fact: "forwarding on " + a.Device, Got: "0", Want: "1 for masq; gate needs none", Command: "sysctl " + lvs.SysctlName(lvs.ConfPath(a.Device, "forwarding"))}}
	}
	if holder != nil {
		return "", false, nil // it knows better than our guess from other services
	}
	for _, other := range services(c) {
		for _, o := range other.Destinations {
			if o.Forward != lvs.Gate || other.Key() != v.Key() && o.Address != d.Address {
				continue
			}
			if other.Key() == v.Key() {
				return fmt.Sprintf("%s of the same service is gate", o.Address), false,
					[]probes.Evidence{{Fact: "forwarding method of " + ipvsadmDestination(o), Got: string(o.Forward), Want: "the same for all", Command: "ipvsadm -Ln " + ipvsadmService(v)}}
			}
			return fmt.Sprintf("%s is gate in %s", d.Address, other.Name()), false,
				[]probes.Evidence{{Fact: "forwarding method in " + other.Name(), Got: string(o.Forward), Want: "the same for all services of a real server", Command: "ipvsadm -Ln " + ipvsadmService(other)}}
		}
	}
	return "", false, nil
}

// masqSeenFromRealServer asks the real server itself whether its answers go back through the director.
func masqSeenFromRealServer(c *probes.Case, v lvs.Service, d lvs.Destination, rs *probes.Host) (reason string, sure bool, e []probes.Evidence) {
	if holds, known := holdsVIP(c, v.Address); v.Address.IsValid() && known && !holds {
		return "", false, nil // a standby: answers rightly pass the other director
	}
	clients, _ := c.ClientsOf(v.Address)
	for _, client := range clients {
		a := rs.Asked(lvs.RouteQuery{Dst: client, Src: d.Address})
		if a.Outcome != lvs.OutUnicast {
			a = rs.Asked(lvs.RouteQuery{Dst: client})
		}
		if a.Outcome != lvs.OutUnicast || a.Gateway.IsValid() && throughDirector(c, a.Gateway) {
			return "", false, nil // back through a director, as masq wants it; or nobody knows
		}
		reason = fmt.Sprintf("%s answers past the director (%s)", rs.Name(), routeWords(a))
		e = []probes.Evidence{routeEvidence(fmt.Sprintf("the way of %s's answers", rs.Name()), a, "via the director for masq")}
	}
	return reason, reason != "", e
}

func throughDirector(c *probes.Case, gateway netip.Addr) bool {
	return slices.ContainsFunc(c.Cluster.With(lvs.RoleDirector), func(h *probes.Host) bool { return h.Has(gateway) })
}
