package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/capture"
	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "rs-not-on-link",
	Title: "a real server is not on a segment of the director",
	Stage: lvs.SynForwarded,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS},
	Explain: probes.Explain{
		Breaks: `With direct routing the director leaves the IP header alone and only addresses the frame to the real server. When the real server is behind
a router, the frame is addressed to that router instead. The router reads the destination, which is the VIP, and sends the packet back to the
director, which schedules it again: the SYN circles until its TTL is used up, or the router drops it. The client gets nothing, or "no route to host".`,
		ByHand: `On the director ask for the way to the real server. The answer must not contain "via":

    ip route get 192.168.20.11

On the wire the SYN leaves with the MAC address of the gateway, and may come in again with a smaller TTL:

    tcpdump -eni any 'tcp[tcpflags] & tcp-syn != 0 and dst host 172.16.0.8'`,
		Cure: `Give the director an interface on the segment of the real server (a VLAN will do). Where that cannot be had use a tunnel: change the
destination to ipip, and give the real server tunl0 with the VIP on it:

    ipvsadm -e -t 172.16.0.8:80 -r 192.168.20.11:80 -i -w 1

Until then it gets no clients with weight 0, which lvstui fix gives it where others are left, and lvstui undo takes back.`,
		Source: "net/netfilter/ipvs/ip_vs_xmit.c, ip_vs_dr_xmit: the route is looked up for the RIP, and its next hop gets the packet.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		undecided := false
		answers := map[string]lvs.RouteAnswer{}
		asked := map[netip.Addr]lvs.RouteAnswer{} // a real server may be in thousands of services
		keys, bad := collectBad(c, func(_ lvs.Service, d lvs.Destination) (string, probes.Evidence) {
			if d.Forward != lvs.Gate || c.Has(d.Address) {
				return "", probes.Evidence{}
			}
			a, ok := asked[d.Address]
			if !ok {
				a = c.Asked(lvs.RouteQuery{Dst: d.Address})
				asked[d.Address] = a
			}
			undecided = undecided || a.Outcome == lvs.OutUnknown
			key := ""
			switch {
			case a.Outcome == lvs.OutUnreachable || a.Outcome == lvs.OutRejected:
				key = "no route"
			case a.Outcome == lvs.OutUnicast && a.Gateway.IsValid() && ether(c, a.Device) && !isItself(c, a.Gateway, d.Address):
				key = fmt.Sprintf("via %s on %s", a.Gateway, a.Device)
			}
			answers[key] = a
			return key, routeEvidence("the way to "+d.Address.String(), a, "directly on an interface")
		})
		if undecided {
			c.CannotTell(lvs.SourceAnswers)
		}
		var out []probes.Finding
		for _, key := range keys {
			out = append(out, notOnLink(c, key, answers[key], bad[key]))
		}
		return out
	},
})

// ether: on a tunnel or a point-to-point link there is nobody to address a frame to, and the other end gets it either way.
func ether(c *probes.Case, device string) bool {
	l, ok := c.Snapshot.Link(device)
	return ok && l.Type == "ether"
}

// isItself says that the gateway is the real server itself, under the address of its interface: its RIP is then on its lo or routed to it.
func isItself(c *probes.Case, gateway, rip netip.Addr) bool {
	if holder := c.Cluster.Holder(rip); holder != nil && holder.Has(gateway) {
		return true
	}
	var macs []string
	for _, n := range c.Snapshot.Neighbours {
		if n.Address == gateway && n.MAC != "" {
			macs = append(macs, n.MAC)
		}
	}
	return slices.ContainsFunc(c.Flows, func(f capture.Flow) bool {
		past, _ := got(f, lvs.Established)
		return past && slices.Contains(macs, f.RealServerMAC.String())
	})
}

func notOnLink(c *probes.Case, key string, a lvs.RouteAnswer, b *badDestinations) probes.Finding {
	f := c.Finding(b.severity(), probes.Certain, fmt.Sprintf("%s %s", list(b.rips), key))
	about(&f, b.vips)
	f.Evidence = append(f.Evidence, b.evidence...)
	if !a.Gateway.IsValid() {
		f.Title = fmt.Sprintf("there is no route to %s", list(b.rips))
		f.Why = fmt.Sprintf("%s sends part of the clients of %s to %s, and has no route there: the SYN is not forwarded and its client is told that the host is unreachable.",
			c.Name(), listWords(b.services), list(b.rips))
		advise(&f, c.Name(), fmt.Sprintf("give %s an address in the subnet of %s, or take the destination out", c.Name(), list(b.rips)))
		return f
	}
	// A gateway that only this one real server is behind may be its own NIC, for all that can be seen from here.
	if !leadsElsewhere(c, a.Gateway, b) {
		f.Certainty = probes.Strong
	}
	f.Title = fmt.Sprintf("%s is behind the router %s", list(b.rips), a.Gateway)
	if len(b.rips) > 1 {
		f.Title = fmt.Sprintf("%s are behind the router %s", list(b.rips), a.Gateway)
	}
	f.Why = fmt.Sprintf("Direct routing only changes the frame's destination MAC. The way to %s leads over %s, so the SYN for the VIP goes to that router's MAC, "+
		"and the router sends a packet for the VIP back to the director or drops it. No real server gets it.", list(b.rips), a.Gateway)
	advise(&f, c.Name(), fmt.Sprintf("give %s an interface on the segment of %s; or change to ipip, with tunl0 and the VIP on the real server", c.Name(), list(b.rips)),
		tunnelCommands(c, b)...)
	if plan, _ := drain(c, b); f.Certainty == probes.Certain {
		plan.Elsewhere = append(plan.Elsewhere, f.Fix.Words, "here: once it can be reached on a segment, lvstui undo gives it its weight back")
		cureIfPossible(&f, c.Snapshot, plan)
	}
	return f
}

func leadsElsewhere(c *probes.Case, gateway netip.Addr, b *badDestinations) bool {
	if len(b.rips) > 1 {
		return true
	}
	if holder := c.Cluster.Holder(b.rips[0]); holder != nil {
		return true // and it does not have the gateway's address: isItself
	}
	return slices.ContainsFunc(c.Snapshot.Routes, func(r lvs.Route) bool { return r.Gateway == gateway && r.Dst.Bits() == 0 })
}

func tunnelCommands(c *probes.Case, b *badDestinations) []string {
	var out []string
	for _, v := range services(c) {
		for _, d := range v.Destinations {
			if slices.Contains(b.rips, d.Address) && d.Forward == lvs.Gate && len(out) < 4 {
				out = append(out, fmt.Sprintf("ipvsadm -e %s -r %s -i -w %d", ipvsadmService(v), ipvsadmDestination(d), d.Weight))
			}
		}
	}
	return out
}
