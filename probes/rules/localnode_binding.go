package rules

import (
	"fmt"
	"slices"
	"strings"

	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "localnode-binding",
	Title: "a director that serves too listens on its own address only",
	Stage: lvs.SynAccepted,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS, lvs.SourceSockets, lvs.SourceAddresses},
	Explain: probes.Explain{
		Breaks: `A destination that is the director's own address gets the packet as it came, with the VIP as destination: it goes to the director's own socket. A program that is bound to the RIP does not take it, and the client is refused by
the director. ipvsadm shows such a destination as "Local", whatever it was configured as.`,
		ByHand: `    ipvsadm -Ln | grep Local
    ss -ltnp`,
		Cure:   `Bind the program to the VIP, or to all addresses, and start it again.`,
		Source: "net/netfilter/ipvs/ip_vs_xmit.c, __ip_vs_get_out_rt: a local route gives NF_ACCEPT, without changing the packet.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var out []probes.Finding
		for _, v := range services(c) {
			if v.Protocol != lvs.TCP || !v.Address.IsValid() || v.Port == 0 {
				continue
			}
			for _, d := range v.Destinations {
				n := needed{vip: v.Address, protocol: v.Protocol, port: v.Port, weight: d.Weight}
				if !c.Has(d.Address) || d.Weight <= 0 || d.Forward != lvs.Gate && d.Forward != lvs.Local || listens(c, n) {
					continue
				}
				turned := redirects(c, n)
				if !boundElsewhere(c, n) || turned == matchYes {
					continue // that nothing listens at all is another rule's business
				}
				bound := strings.TrimPrefix(sameService(c.Snapshot.Sockets, n), "only ")
				severity, certainty := probes.Degraded, probes.Certain
				switch local, known := vipLocal(c, v.Address); {
				case known && !local || asStandby(c) && len(c.HoldsOnWire(v.Address)) == 0:
					severity = probes.Hazard // clients come to another director
				case len(v.Destinations) == 1:
					severity = probes.Outage
				}
				if turned != matchNo {
					certainty = probes.Strong
				}
				f := c.Finding(severity, certainty, fmt.Sprintf("%s at %s", v.Name(), d.Address))
				f.VIP = v.Address
				f.Title = fmt.Sprintf("%s serves %s itself, and listens on %s only", c.Name(), v.Name(), bound)
				f.Why = fmt.Sprintf("Connections to %s that are scheduled to this host itself come to its sockets with %s as destination. What listens on port %d is bound to %s, so they are refused.", v.Name(), v.Address, v.Port, bound)
				f.Evidence = append(f.Evidence, probes.Evidence{Fact: fmt.Sprintf("what listens on port %d", v.Port), Got: bound, Want: v.Name() + ", or all addresses", Command: "ss -ltnp"})
				advise(&f, c.Name(), "bind the program to the VIP or to all addresses, and start it again")
				out = append(out, f)
			}
		}
		return out
	},
})

// boundElsewhere says that some program has the port, and on addresses only that packets for the VIP do not have.
func boundElsewhere(c *probes.Case, n needed) bool {
	return !listens(c, n) && slices.ContainsFunc(c.Snapshot.Sockets, func(s lvs.Socket) bool { return s.Protocol == n.protocol && s.Port == n.port })
}
