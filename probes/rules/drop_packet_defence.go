package rules

import (
	"fmt"

	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "drop-packet-defence",
	Title: "ip_vs drops packets in defence",
	Stage: lvs.SynScheduled,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS, lvs.SourceSysctls},
	Explain: probes.Explain{
		Breaks: `Against floods ip_vs can drop a share of the packets that come for virtual services. With net.ipv4.vs.drop_packet=3 it always does: of the packets that would open a connection one in am_droprate
is lost, and with am_droprate=1 all are. With 1 it starts by itself, and shows 2, when memory runs short. A client whose SYN is lost sends it again a second later: connections are slow to open now and then.
Connections that are open already lose nothing.`,
		ByHand: `On the director; 2 and 3 mean that packets are dropped now:

    sysctl net.ipv4.vs.drop_packet net.ipv4.vs.am_droprate net.ipv4.vs.amemthresh
    free`,
		Cure: `Switch it off, and take it out of the file below /etc/sysctl.d:

    sysctl -w net.ipv4.vs.drop_packet=0

When it is 2, memory is short: find out why.`,
		Source: "Documentation/networking/ipvs-sysctl.rst; net/netfilter/ipvs/ip_vs_ctl.c, update_defense_level.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		value, known := c.Snapshot.Sysctl("net/ipv4/vs/drop_packet")
		if !known && len(services(c)) > 0 {
			c.CannotTell(lvs.SourceSysctls)
		}
		if len(services(c)) == 0 || value != 2 && value != 3 {
			return nil
		}
		severity, certainty := probes.Degraded, probes.Certain
		rate, known := c.Snapshot.Sysctl("net/ipv4/vs/am_droprate")
		if value == 2 || !known {
			certainty = probes.Strong // ip_vs set it, and takes it back within a second of when there is memory again
		} else if rate == 1 {
			severity = probes.Outage
		}
		f := c.Finding(severity, certainty, "net.ipv4.vs.drop_packet")
		f.Title = fmt.Sprintf("ip_vs on %s drops some packets on purpose", c.Name())
		share := "some are"
		if known && rate > 0 && value == 3 {
			share = fmt.Sprintf("one in %d is", rate)
		}
		f.Why = fmt.Sprintf("drop_packet is %d: of the packets that would open a connection to a virtual service %s dropped. A client whose SYN is among them tries again after a second.", value, share)
		f.Evidence = append(f.Evidence, probes.Evidence{Fact: "net.ipv4.vs.drop_packet", Got: fmt.Sprint(value), Want: "0, or 1 as long as there is memory", Command: "sysctl net.ipv4.vs.drop_packet"})
		cure(&f, c.Snapshot, fixes.Plan{Title: "drop no packets in defence", Steps: []fixes.Step{fixes.SetSysctl{Path: "net/ipv4/vs/drop_packet", Value: "0"}}})
		return []probes.Finding{f}
	},
})
