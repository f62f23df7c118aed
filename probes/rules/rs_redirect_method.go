package rules

import (
	"fmt"

	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "rs-redirect-method",
	Title: "a real server takes the VIP by a redirect rule, without having it",
	Stage: lvs.SynAccepted,
	Roles: []lvs.Role{lvs.RoleRealServer},
	Needs: []lvs.Source{lvs.SourceNetfilter, lvs.SourceLinks, lvs.SourceAddresses},
	Explain: probes.Explain{
		Breaks: `Nothing is broken. Instead of having the VIP a real server may turn packets for it to itself with a REDIRECT rule; Red Hat's handbook calls it the iptables method. Then no ARP sysctl is needed. It stops working when
connection tracking is switched off for these packets (notrack), or when the program does not listen on the first address of the card that they come in on.`,
		ByHand: `    nft list ruleset | grep -n redirect
    iptables -t nat -vnL PREROUTING`,
		Cure:   `Nothing is to be cured.`,
		Source: "net/netfilter/nf_nat_redirect.c, nf_nat_redirect_ipv4: the first address of the incoming device.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var out []probes.Finding
		for _, n := range sentHere(c) {
			if local, known := vipLocal(c, n.vip); !known || local || redirects(c, n) != matchYes {
				continue
			}
			f := c.Finding(probes.Note, probes.Certain, fmt.Sprintf("%s port %d", n.vip, n.port))
			f.VIP = n.vip
			f.Title = fmt.Sprintf("%s takes %s by a redirect rule", c.Name(), n.vip)
			f.Why = fmt.Sprintf("This host does not have %s, and a rule turns packets for it to the host's own address: that does as well. Neither ARP sysctls nor an address on lo are needed.", n.vip)
			f.Evidence = append(f.Evidence, n.how, probes.Evidence{Fact: "what becomes of packets for " + n.vip.String(), Got: "redirected", Want: "that, or the VIP on lo", Command: "nft list ruleset | grep redirect"})
			out = append(out, f)
		}
		return out
	},
})
