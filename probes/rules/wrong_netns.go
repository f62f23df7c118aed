package rules

import (
	"fmt"

	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "wrong-netns",
	Title: "the virtual services are in another network namespace",
	Stage: lvs.SynScheduled,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS, lvs.SourceOwners},
	Explain: probes.Explain{
		Breaks: `Every network namespace has an ip_vs table of its own. keepalived or another controller that runs in a container fills the table of that container: here it is empty, and what comes here is not balanced.`,
		ByHand: `    lsns -t net
    nsenter -t PID-OF-KEEPALIVED -n ipvsadm -Ln`,
		Cure: `Look there: run lvstui in that namespace,

    nsenter -t PID -n lvstui

or run the controller in the host's namespace (hostNetwork, --network host), whichever is meant.`,
		Source: "net/netfilter/ipvs/ip_vs_core.c, __ip_vs_init: one struct netns_ipvs for each namespace.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		if len(services(c)) > 0 || len(c.Snapshot.Elsewhere) == 0 {
			return nil
		}
		o := c.Snapshot.Elsewhere[0]
		f := c.Finding(probes.Outage, probes.Strong, o.Evidence)
		f.Title = fmt.Sprintf("%s keeps its virtual services in another network namespace", o.Name)
		f.Why = fmt.Sprintf("The ip_vs table of this network namespace is empty. %s runs on this machine in another one, and fills the table there.", o.Name)
		f.Evidence = append(f.Evidence, probes.Evidence{Fact: "who keeps ip_vs tables elsewhere", Got: o.Evidence, Want: "in this namespace, " + c.Snapshot.NetNS, Command: "lsns -t net"})
		advise(&f, c.Name(), "look there, or run it in this namespace, whichever is meant", "nsenter -t PID -n lvstui")
		return []probes.Finding{f}
	},
})
