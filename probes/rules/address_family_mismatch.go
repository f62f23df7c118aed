package rules

import (
	"fmt"

	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "address-family-mismatch",
	Title: "a destination is of another address family than its service",
	Stage: lvs.SynForwarded,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS},
	Explain: probes.Explain{
		Breaks: `Direct routing hands the packet on as it is: an IPv6 packet needs a neighbour found by IPv6. So ip_vs takes a destination of the other family with a tunnel only, and refuses it otherwise; older tools then leave the
service without that destination.`,
		ByHand: `    ipvsadm -Ln`,
		Cure:   `Give the real server an address of the service's family and use that, or reach it through a tunnel (ipvsadm -e … -i).`,
		Source: "net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_genl_set_cmd: a mixed destination has to be IP_VS_CONN_F_TUNNEL.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var out []probes.Finding
		for _, v := range services(c) {
			for _, d := range v.Destinations {
				six := v.IPv6 || v.Address.Is6() && !v.Address.Is4In6()
				if d.Forward == lvs.IPIP || six == (d.Address.Is6() && !d.Address.Is4In6()) {
					continue
				}
				f := c.Finding(probes.Degraded, probes.Strong, v.Name()+" to "+ipvsadmDestination(d))
				f.VIP = v.Address
				f.Title = fmt.Sprintf("%s and its destination %s are of different families", v.Name(), d.Address)
				f.Why = fmt.Sprintf("A packet for %s is handed on unchanged, and %s is of the other address family: it can not be reached that way without a tunnel.", v.Name(), d.Address)
				f.Evidence = append(f.Evidence, probes.Evidence{Fact: "destination of " + v.Name(), Got: fmt.Sprintf("%s by %s", ipvsadmDestination(d), d.Forward), Want: "an address of the same family, or ipip", Command: "ipvsadm -Ln " + ipvsadmService(v)})
				advise(&f, c.Name(), "use the real server's address of the service's family", fmt.Sprintf("ipvsadm -e %s -r %s -i", ipvsadmService(v), ipvsadmDestination(d)))
				out = append(out, f)
			}
		}
		return out
	},
})
