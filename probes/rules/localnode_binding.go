package rules

import (
	"fmt"
	"net/netip"
	"slices"

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
				only := slices.ContainsFunc(c.Snapshot.Sockets, func(s lvs.Socket) bool {
					return s.Protocol == v.Protocol && s.Port == v.Port && s.Address.Unmap() == d.Address
				})
				if !only || c.Snapshot.Netfilter != nil && redirects(c, n) == matchYes {
					continue
				}
				severity := probes.Degraded
				if len(v.Destinations) == 1 {
					severity = probes.Outage
				}
				f := c.Finding(severity, probes.Certain, fmt.Sprintf("%s at %s", v.Name(), d.Address))
				f.VIP = v.Address
				f.Title = fmt.Sprintf("%s serves %s itself, and listens on %s only", c.Name(), v.Name(), d.Address)
				f.Why = fmt.Sprintf("Connections to %s that are scheduled to this host itself come to its sockets with %s as destination. What listens on port %d is bound to %s, so they are refused.", v.Name(), v.Address, v.Port, d.Address)
				f.Evidence = append(f.Evidence, probes.Evidence{Fact: fmt.Sprintf("what listens on port %d", v.Port), Got: netip.AddrPortFrom(d.Address, v.Port).String(), Want: v.Name() + ", or all addresses", Command: "ss -ltnp"})
				advise(&f, c.Name(), "bind the program to the VIP or to all addresses, and start it again")
				out = append(out, f)
			}
		}
		return out
	},
})
