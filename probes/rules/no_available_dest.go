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
	ID:    "no-available-dest",
	Title: "a virtual service has no destination to choose",
	Stage: lvs.SynScheduled,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS},
	Explain: probes.Explain{
		Breaks: `A destination with weight 0 takes no new connection, and a service whose destinations all have weight 0, or that has none, has nowhere to
send a SYN. The director answers it with the ICMP message "port unreachable". The client says "connection refused", as if the real server had
refused, although no real server was asked and no RST is on the wire. Connections that exist go on.`,
		ByHand: `On the director look at the column Weight:

    ipvsadm -Ln

and watch what goes back to the client (the answer comes from the director itself):

    tcpdump -ni any 'icmp[icmptype] == icmp-unreach'

keepalived and ldirectord set weights to 0, or take destinations out, when their health checks fail: their log says which and why.`,
		Cure: `Find out why the health checks fail, and cure that. To send clients to a real server in spite of it:

    ipvsadm -e -t 172.16.0.8:80 -r 192.168.10.11:80 -g -w 1

A health checker will set it back at its next look.`,
		Source: "net/netfilter/ipvs/ip_vs_core.c, ip_vs_leave: no destination, so ICMP_PORT_UNREACH.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var out []probes.Finding
		var idle []lvs.Service
		for _, v := range services(c) {
			if slices.ContainsFunc(v.Destinations, func(d lvs.Destination) bool { return d.Weight > 0 }) {
				continue
			}
			if _, ok := owner(c.Snapshot, clusterOwners...); ok {
				idle = append(idle, v)
				continue
			}
			out = append(out, nowhereToSend(c, v))
		}
		if len(idle) > 0 {
			out = append(out, idleServices(c, idle))
		}
		return out
	},
})

func nowhereToSend(c *probes.Case, v lvs.Service) probes.Finding {
	severity, certainty := probes.Outage, probes.Certain
	holds, known := holdsVIP(c, v.Address)
	switch {
	case v.Address.IsValid() && known && !holds:
		severity = probes.Hazard // nobody comes here now: it will hurt when this director takes over
	case v.Address.IsValid() && !known || !c.Snapshot.Has(lvs.SourceOwners):
		certainty = probes.Strong // it may be a standby, or a container cluster's
	}
	f := c.Finding(severity, certainty, v.Key())
	f.VIP = v.Address
	state := "no destination at all"
	if n := len(v.Destinations); n > 0 {
		state = fmt.Sprintf("%d %s, all of weight 0", n, plural(n, "destination", "destinations"))
	}
	f.Title = fmt.Sprintf("%s has %s", v.Name(), state)
	f.Why = fmt.Sprintf("A SYN for %s reaches ip_vs, which has nobody to send it to (%s) and answers with ICMP port unreachable. Clients see \"connection refused\", "+
		"and no real server hears of them.", v.Name(), state)
	f.Evidence = append(f.Evidence, probes.Evidence{Fact: "destinations of " + v.Name(), Got: weights(v), Want: "at least one of weight above 0",
		Command: "ipvsadm -Ln " + ipvsadmService(v)})
	words := "find out who set the weights to 0, and why"
	if len(v.Destinations) == 0 {
		words = "add the real servers"
	}
	if o, ok := owner(c.Snapshot, "keepalived", "ldirectord", "pacemaker", "pacemakerd"); ok {
		words = fmt.Sprintf("%s checks the real servers and sets weights by what it finds (%s): its log says which check fails. What is set by hand it sets back.", o.Name, o.Evidence)
	}
	var commands []string
	for _, d := range v.Destinations[:min(len(v.Destinations), 4)] {
		commands = append(commands, fmt.Sprintf("ipvsadm -e %s -r %s %s -w 1", ipvsadmService(v), ipvsadmDestination(d), methodFlag(d.Forward)))
	}
	if len(v.Destinations) == 0 {
		commands = append(commands, fmt.Sprintf("ipvsadm -a %s -r REAL-SERVER -g -w 1", ipvsadmService(v)))
	}
	advise(&f, c.Name(), words, commands...)
	if len(v.Destinations) > 0 && c.Snapshot.Has(lvs.SourceOwners) && !tableOwned(c.Snapshot) {
		plan := fixes.Plan{Title: fmt.Sprintf("let %s choose its destinations again", v.Name())}
		for _, d := range v.Destinations {
			plan.Steps = append(plan.Steps, fixes.EditDestination{Service: fixes.NameOf(v), Address: d.Address, Port: d.Port, Forward: d.Forward,
				Weight: 1, UpperThreshold: d.UpperThreshold, LowerThreshold: d.LowerThreshold})
		}
		cureIfPossible(&f, c.Snapshot, plan)
	}
	return f
}

// idleServices notes the services without destinations that a container cluster keeps: a Service without endpoints is nothing unusual.
func idleServices(c *probes.Case, idle []lvs.Service) probes.Finding {
	o, _ := owner(c.Snapshot, clusterOwners...)
	names := make([]string, 0, len(idle))
	var vips []netip.Addr
	for _, v := range idle {
		names = append(names, v.Name())
		if v.Address.IsValid() && !slices.Contains(vips, v.Address) {
			vips = append(vips, v.Address)
		}
	}
	f := c.Finding(probes.Note, probes.Certain, listWords(names))
	about(&f, vips)
	f.Title = fmt.Sprintf("%d %s of %s without destinations", len(idle), plural(len(idle), "service", "services"), o.Name)
	f.Why = fmt.Sprintf("%s have no destination of weight above 0, so clients are refused. %s keeps these services (%s), and one whose Service has no ready endpoint looks like this.",
		listWords(names), o.Name, o.Evidence)
	f.Evidence = append(f.Evidence, probes.Evidence{Fact: "services without destinations", Got: listWords(names), Want: "as many as have no endpoints", Command: "ipvsadm -Ln"})
	return f
}

func weights(v lvs.Service) string {
	if len(v.Destinations) == 0 {
		return "none"
	}
	var all []string
	for _, d := range v.Destinations {
		all = append(all, fmt.Sprintf("%s weight %d", ipvsadmDestination(d), d.Weight))
	}
	return listWords(all)
}

// methodFlag is ipvsadm's option for a forwarding method.
func methodFlag(m lvs.Forward) string {
	switch m {
	case lvs.Masq:
		return "-m"
	case lvs.IPIP:
		return "-i"
	}
	return "-g"
}
