package rules

import (
	"fmt"
	"net/netip"

	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "overload-threshold",
	Title: "destinations have as many connections as they may",
	Stage: lvs.SynScheduled,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS},
	Explain: probes.Explain{
		Breaks: `A destination may have an upper threshold of connections (ipvsadm -x). When it is reached it takes no new ones until they are fewer than the lower threshold, or three quarters. When all
destinations of a service are so far, clients are answered with ICMP port unreachable, as if there were none. Connections that ended count for some time more, and with direct routing the director does not
see when the real server ends one.`,
		ByHand: `On the director compare the columns:

    ipvsadm -Ln --thresholds
    ipvsadm -Ln`,
		Cure: `Raise the threshold, take it away, or add real servers:

    ipvsadm -e -t 172.16.0.8:80 -r 192.168.10.11:80 -g -x 0 -y 0`,
		Source: "net/netfilter/ipvs/ip_vs_conn.c, ip_vs_bind_dest; ip_vs_ctl.c, __ip_vs_update_dest.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		if len(services(c)) > 0 && c.Snapshot.IPVS.Via == "proc" { // which has no thresholds
			c.CannotTell(lvs.SourceIPVS)
			return nil
		}
		var out []probes.Finding
		for _, v := range services(c) {
			var full []string
			active := 0
			for _, d := range v.Destinations {
				if d.Weight <= 0 {
					continue
				}
				active++
				if n := d.ActiveConns + d.InactiveConns; d.UpperThreshold > 0 && n >= d.UpperThreshold {
					full = append(full, fmt.Sprintf("%s %d of %d", ipvsadmDestination(d), n, d.UpperThreshold))
				}
			}
			if len(full) > 0 && len(out) < 16 {
				out = append(out, overloaded(c, v, full, active))
			}
		}
		return out
	},
})

func overloaded(c *probes.Case, v lvs.Service, full []string, active int) probes.Finding {
	severity := probes.Note // the others take the rest, as is meant
	if len(full) == active {
		severity = probes.Degraded
	}
	f := c.Finding(severity, probes.Certain, v.Key())
	f.VIP = v.Address
	f.Title = fmt.Sprintf("%d of %d destinations of %s are full", len(full), active, v.Name())
	f.Why = fmt.Sprintf("%d of the %d destinations of %s have as many connections as their upper threshold allows, and get no new ones. ", len(full), active, v.Name())
	if len(full) == active {
		f.Why += "There is nobody to send a SYN to, so new clients are refused with ICMP port unreachable."
	} else {
		f.Why += "The others take what comes."
	}
	f.Evidence = append(f.Evidence, probes.Evidence{Fact: "connections of " + v.Name(), Got: listWords(full), Want: "fewer than the threshold", Command: "ipvsadm -Ln --thresholds"})
	commands := make([]string, 0, 4)
	for _, d := range v.Destinations {
		if d.UpperThreshold > 0 && len(commands) < 4 {
			commands = append(commands, fmt.Sprintf("ipvsadm -e %s -r %s %s -w %d -x 0 -y 0", ipvsadmService(v), netip.AddrPortFrom(d.Address, d.Port), methodFlag(d.Forward), d.Weight))
		}
	}
	advise(&f, c.Name(), "raise the thresholds or take them away, where they are configured too; or add real servers", commands...)
	return f
}
