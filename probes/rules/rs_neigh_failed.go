package rules

import (
	"fmt"
	"slices"

	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:        "rs-neigh-failed",
	Title:     "a real server does not answer ARP",
	Stage:     lvs.SynForwarded,
	Roles:     []lvs.Role{lvs.RoleDirector},
	Needs:     []lvs.Source{lvs.SourceIPVS, lvs.SourceNeighbours},
	DependsOn: []string{"vip-prefix-on-lo", "director-arps-with-vip-source", "macvlan-host-child-isolation"},
	Explain: probes.Explain{
		Breaks: `To hand a SYN to a real server the director needs its MAC address. When the real server does not answer the ARP request (it is down, in
another VLAN, behind port isolation, or it ignores the asker), the SYN waits in the director. After about three seconds the client is told
"no route to host". Clients that are scheduled to another real server are served.`,
		ByHand: `On the director:

    ip neigh show 192.168.10.11

FAILED and INCOMPLETE mean that nobody answered; STALE and no entry at all are nothing to worry about. Ask again, and watch:

    ip neigh flush to 192.168.10.11; ping -c 1 192.168.10.11
    tcpdump -eni eth0 arp and host 192.168.10.11

Look at the asker in "who-has 192.168.10.11 tell …": a real server that has the VIP on lo does not answer a request that comes from the VIP.`,
		Cure: `Check power, cable, VLAN and port isolation of the real server. Until it is back send it no clients; lvstui fix does so when a SYN has just
waited for it in vain and others are left, and lvstui undo gives it its weight back:

    ipvsadm -e -t 172.16.0.8:80 -r 192.168.10.11:80 -g -w 0

When the director asks in the name of the VIP give it an address of its own in the real servers' subnet. A health checker (keepalived,
ldirectord) takes dead real servers out by itself.`,
		Source: "net/ipv4/arp.c, arp_error_report, and net/core/neighbour.c: after mcast_solicit requests the entry fails and the queue is dropped.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		undecided, asks := false, map[string]lvs.RouteAnswer{}
		keys, bad := collectBad(c, func(_ lvs.Service, d lvs.Destination) (string, probes.Evidence) {
			if d.Forward != lvs.Gate || c.Has(d.Address) {
				return "", probes.Evidence{}
			}
			n, ok := deadNeighbour(c, d)
			if !ok {
				return "", probes.Evidence{}
			}
			a := c.Asked(lvs.RouteQuery{Dst: d.Address})
			switch {
			case a.Outcome == lvs.OutUnknown:
				undecided = true
				return "", probes.Evidence{}
			case a.Outcome != lvs.OutUnicast || a.Gateway.IsValid() || a.Device != n.Device:
				return "", probes.Evidence{} // an entry of a way that is not taken
			}
			asks[n.Device] = a
			return n.Device, probes.Evidence{Fact: "neighbour " + d.Address.String(), Got: n.State + " on " + n.Device, Want: "reachable or stale",
				Command: "ip neigh show " + d.Address.String()}
		})
		if undecided {
			c.CannotTell(lvs.SourceAnswers)
		}
		var out []probes.Finding
		for _, device := range keys {
			out = append(out, silentRealServers(c, device, asks[device], bad[device]))
		}
		return out
	},
})

// deadNeighbour is the entry of a real server that gave no answer. One that answers on some device is not dead.
func deadNeighbour(c *probes.Case, d lvs.Destination) (dead lvs.Neighbour, ok bool) {
	for _, n := range c.Snapshot.Neighbours {
		if n.Address != d.Address || n.Proxy {
			continue
		}
		if !n.Dead() {
			return lvs.Neighbour{}, false
		}
		dead, ok = n, true
	}
	return dead, ok
}

func silentRealServers(c *probes.Case, device string, ask lvs.RouteAnswer, b *badDestinations) probes.Finding {
	f := c.Finding(b.severity(), probes.Strong, fmt.Sprintf("%s on %s", list(b.rips), device))
	about(&f, b.vips)
	// An entry may be older than the cure where nobody has asked since. A SYN that waited for it just now proves it.
	if unforwarded(c, b) {
		f.Certainty = probes.Certain
	}
	f.Title = fmt.Sprintf("%s %s not answer ARP on %s", list(b.rips), plural(len(b.rips), "does", "do"), device)
	f.Why = fmt.Sprintf("%s schedules clients of %s to %s and gets no answer to its ARP request on %s. The SYN can not be addressed; after about three seconds the "+
		"client is told that the host is unreachable.", c.Name(), listWords(b.services), list(b.rips), device)
	f.Evidence = append(f.Evidence, b.evidence...)
	if ask.Source.IsValid() && slices.Contains(c.Cluster.VIPs, ask.Source) {
		f.Why += fmt.Sprintf(" It asks in the name of %s, the VIP: a real server that has the VIP takes such a request for its own and keeps silent.", ask.Source)
		f.Evidence = append(f.Evidence, probes.Evidence{Fact: "address the director asks with", Got: ask.Source.String(), Want: "an address of its own on " + device,
			Command: routeCommand(ask.RouteQuery)})
		advise(&f, c.Name(), fmt.Sprintf("give %s an address of its own in the subnet of %s on %s", c.Name(), list(b.rips), device))
		return f
	}
	plan, commands := drain(c, b)
	advise(&f, c.Name(), fmt.Sprintf("check power, cable and VLAN of %s; until it answers give it weight 0", list(b.rips)), commands...)
	// What is not certain may be an entry from before it came back, and who is drained then stays away.
	if f.Certainty == probes.Certain {
		plan.Elsewhere = append(plan.Elsewhere, fmt.Sprintf("check power, cable and VLAN of %s", list(b.rips)),
			"here: once it answers again, lvstui undo gives it its weight back")
		cureIfPossible(&f, c.Snapshot, plan)
	}
	return f
}

// unforwarded says that flows to these VIPs were seen to come in and not to go out.
func unforwarded(c *probes.Case, b *badDestinations) bool {
	for _, vip := range b.vips {
		for _, f := range c.RecentFlowsTo(vip) {
			if past, due := got(f, lvs.SynForwarded); due && !past {
				return true
			}
		}
	}
	return false
}
