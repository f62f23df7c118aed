package rules

import (
	"fmt"

	"lvstui/lvs"
	"lvstui/probes"
)

// few is how many connections are too few to speak of balance, and share how much of them one destination has when it is none.
const (
	fewConnections = 20
	largeShare     = 80 // percent
)

var _ = register(probes.Rule{
	ID:    "persistence-imbalance",
	Title: "persistence keeps most clients on one destination",
	Stage: lvs.SynScheduled,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS},
	Explain: probes.Explain{
		Breaks: `Nothing breaks. In a persistent service a client stays with the real server that it got first, and all that come from one address, behind a NAT or a proxy, are one client. So one real server may have
nearly all connections although the scheduler takes turns.`,
		ByHand: `On the director look for "persistent" behind the service, and for where the templates lead:

    ipvsadm -Ln
    ipvsadm -Ln --persistent-conn
    ipvsadm -Lnc`,
		Cure: `Where clients need not stay with a real server, leave persistence out (ipvsadm -p, persistence_timeout in keepalived.conf). Where they do, a shorter time helps. That a change has come into effect, look at
ipvsadm -Ln: some versions of keepalived do not apply it on reload.`,
		Source: "net/netfilter/ipvs/ip_vs_core.c, ip_vs_sched_persist.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var out []probes.Finding
		for _, v := range services(c) {
			if !v.Persistent || len(out) >= 16 {
				continue
			}
			var most lvs.Destination
			var all, active uint64
			even := true
			for _, d := range v.Destinations {
				if d.Weight <= 0 {
					continue
				}
				active++
				n := conns(d)
				all += n
				even = even && (most.Weight == 0 || d.Weight == most.Weight)
				if most.Weight == 0 || n > conns(most) {
					most = d
				}
			}
			if active >= 2 && even && all >= fewConnections && conns(most)*100 >= all*largeShare {
				out = append(out, imbalance(c, v, most, all))
			}
		}
		return out
	},
})

func conns(d lvs.Destination) uint64 { return uint64(d.ActiveConns) + uint64(d.InactiveConns) }

func imbalance(c *probes.Case, v lvs.Service, most lvs.Destination, all uint64) probes.Finding {
	f := c.Finding(probes.Note, probes.Strong, v.Key())
	f.VIP = v.Address
	f.Title = fmt.Sprintf("%s has %d of %d connections of %s, which is persistent", most.Address, conns(most), all, v.Name())
	f.Why = fmt.Sprintf("%s is persistent for %d seconds: a client stays with its real server, and all behind one address are one client. So the load is uneven although all weights are equal.", v.Name(), v.Timeout)
	f.Evidence = append(f.Evidence, probes.Evidence{Fact: "connections of " + ipvsadmDestination(most), Got: fmt.Sprintf("%d of %d", conns(most), all), Want: "whatever suits", Command: "ipvsadm -Ln " + ipvsadmService(v)})
	return f
}
