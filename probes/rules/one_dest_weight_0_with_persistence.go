package rules

import (
	"fmt"

	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "one-dest-weight-0-with-persistence",
	Title: "persistent clients go on to a destination of weight 0",
	Stage: lvs.SynScheduled,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS, lvs.SourceSysctls},
	Explain: probes.Explain{
		Breaks: `Weight 0 keeps new clients away. In a persistent service a client that was sent to this destination before stays with it, new connections included, as long as its template lives, and each
connection renews it. That is meant for draining. When the weight is 0 because the real server is dead, these clients are sent to a dead host, again and again.`,
		ByHand: `On the director look for templates (client port 0) that lead to a destination of weight 0:

    ipvsadm -Ln --persistent-conn
    ipvsadm -Lnc | grep -w NONE
    sysctl net.ipv4.vs.expire_quiescent_template`,
		Cure: `Let templates end when their destination has weight 0, also in a file below /etc/sysctl.d:

    sysctl -w net.ipv4.vs.expire_quiescent_template=1`,
		Source: "net/netfilter/ipvs/ip_vs_conn.c, ip_vs_check_template; Documentation/networking/ipvs-sysctl.rst.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		expire, known := c.Snapshot.Sysctl("net/ipv4/vs/expire_quiescent_template")
		var out []probes.Finding
		for _, v := range services(c) {
			if !v.Persistent {
				continue
			}
			for _, d := range v.Destinations {
				if d.Weight != 0 || d.PersistConns == 0 || len(out) >= 16 {
					continue
				}
				if !known {
					c.CannotTell(lvs.SourceSysctls)
				} else if expire == 0 {
					out = append(out, stickToDrained(c, v, d))
				}
			}
		}
		return out
	},
})

func stickToDrained(c *probes.Case, v lvs.Service, d lvs.Destination) probes.Finding {
	severity := probes.Note
	n, dead := deadNeighbour(c, d)
	if dead {
		severity = probes.Degraded
	}
	f := c.Finding(severity, probes.Certain, v.Key()+" to "+ipvsadmDestination(d))
	f.VIP = v.Address
	f.Title = fmt.Sprintf("clients of %s stay with %s, which has weight 0", v.Name(), d.Address)
	f.Why = fmt.Sprintf("%s is persistent, and %d clients belong to %s. With expire_quiescent_template=0 they are sent there in spite of its weight 0. ", v.Name(), d.PersistConns, d.Address)
	if dead {
		f.Why += "It does not answer ARP, so they reach nobody."
	} else {
		f.Why += "That is right while it is drained, and wrong when it is out of order."
	}
	f.Evidence = append(f.Evidence,
		probes.Evidence{Fact: "templates of " + ipvsadmDestination(d), Got: fmt.Sprint(d.PersistConns), Want: "0 when it is out of order", Command: "ipvsadm -Ln --persistent-conn"},
		probes.Evidence{Fact: "net.ipv4.vs.expire_quiescent_template", Got: "0", Want: "1", Command: "sysctl net.ipv4.vs.expire_quiescent_template"})
	if dead {
		f.Evidence = append(f.Evidence, probes.Evidence{Fact: "neighbour " + d.Address.String(), Got: n.State, Want: "reachable or stale", Command: "ip neigh show to " + d.Address.String()})
	}
	cure(&f, c.Snapshot, fixes.Plan{Title: "end templates of destinations with weight 0", Steps: []fixes.Step{fixes.SetSysctl{Path: "net/ipv4/vs/expire_quiescent_template", Value: "1"}}})
	return f
}
