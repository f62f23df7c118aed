package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "v6-source-selection",
	Title: "the director talks to its real servers from the IPv6 VIP",
	Stage: lvs.SynForwarded,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS, lvs.SourceAnswers, lvs.SourceAddresses},
	Explain: probes.Explain{
		Breaks: `IPv6 chooses the source of a connection among all addresses of the interface, and the VIP may be the one that suits best. Health checks then ask a real server from the VIP. The real server has the VIP itself, so it answers itself:
every check fails, and all real servers are taken out although they are well. Clients' packets are not concerned, they keep their own source.`,
		ByHand: `On the director, with a real server's address; "src" must not be the VIP:

    ip -6 route get 2001:db8::11`,
		Cure: `Make the VIP the last choice, also where it is configured (keepalived: "preferred_lft 0" behind the address):

    ip -6 addr change 2001:db8::8/128 dev eth0 preferred_lft 0`,
		Source: "net/ipv6/addrconf.c, ipv6_get_saddr_eval; RFC 6724, 5, rule 3: avoid deprecated addresses.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var vips, rips []netip.Addr
		for _, v := range services(c) {
			if !v.Address.Is6() || v.Address.Is4In6() {
				continue
			}
			for _, d := range v.Destinations {
				a, asked := c.Answer(lvs.RouteQuery{Dst: d.Address})
				if asked && a.Outcome == lvs.OutUnicast && len(c.ServicesOf(a.Source)) > 0 && a.Source.Is6() && !c.Has(d.Address) {
					if !slices.Contains(vips, a.Source) {
						vips = append(vips, a.Source)
					}
					if !slices.Contains(rips, d.Address) && len(rips) < 64 {
						rips = append(rips, d.Address)
					}
				}
			}
		}
		if len(vips) == 0 {
			return nil
		}
		f := c.Finding(probes.Hazard, probes.Strong, list(vips))
		about(&f, vips)
		f.Title = fmt.Sprintf("%s asks its real servers from %s", c.Name(), list(vips))
		f.Why = fmt.Sprintf("What this director itself sends to %s has %s as source, and the real servers have that address too: they answer themselves. Health checks fail although the real servers are well.", list(rips), list(vips))
		a, _ := c.Answer(lvs.RouteQuery{Dst: rips[0]})
		f.Evidence = append(f.Evidence, probes.Evidence{Fact: "source of what goes to " + rips[0].String(), Got: a.Source.String(), Want: "another address of this director", Command: "ip -6 route get " + rips[0].String()})
		commands := make([]string, 0, len(vips))
		for _, vip := range vips[:min(len(vips), 4)] {
			for _, held := range c.AddressesOf(vip) {
				commands = append(commands, fmt.Sprintf("ip -6 addr change %s dev %s preferred_lft 0", held.Prefix, held.Device))
			}
		}
		advise(&f, c.Name(), "make the VIP the last choice, and where it is configured too (keepalived: preferred_lft 0)", commands...)
		return []probes.Finding{f}
	},
})
