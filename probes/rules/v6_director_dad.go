package rules

import (
	"fmt"

	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "v6-director-dad",
	Title: "the director may not use its IPv6 VIP yet",
	Stage: lvs.VIPResolved,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS, lvs.SourceAddresses, lvs.SourceLinks},
	Explain: probes.Explain{
		Breaks: `An IPv6 address is "tentative" while the kernel looks whether somebody else has it: a second or two on a healthy link, for ever on one whose carrier comes and goes. Meanwhile it is not answered for. At a failover that is a gap,
and one that lasts when the old director still has the address. Programs that bind to it fail, too.`,
		ByHand: `    ip -6 -o address show tentative`,
		Cure: `Where something else sees to it that one director at a time has the VIP, the check can be left out; keepalived does so. By hand:

    ip -6 addr add 2001:db8::8/128 dev eth0 nodad`,
		Source: "net/ipv6/addrconf.c, addrconf_dad_start; net/ipv6/ndisc.c, ndisc_recv_ns: a tentative address is not answered for.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var out []probes.Finding
		for _, vip := range serviceVIPs(c) {
			for _, a := range c.HoldsOnWire(vip) {
				if !vip.Is6() || !a.Tentative || a.DADFailed || c.Served(vip) {
					continue
				}
				f := c.Finding(probes.Hazard, probes.Hint, fmt.Sprintf("%s on %s", vip, a.Device))
				f.VIP = vip
				f.Title = fmt.Sprintf("%s still looks whether somebody else has %s", c.Name(), vip)
				f.Why = fmt.Sprintf("%s on %s is tentative: until the kernel has looked for a second owner it does not answer for it. That takes a second or two; when it lasts, see whether the link is up, and who else has the address.", vip, a.Device)
				f.Evidence = append(f.Evidence, probes.Evidence{Fact: "state of " + vip.String(), Got: "tentative", Want: "neither tentative nor dadfailed", Command: "ip -6 -o address show to " + vip.String()})
				advise(&f, c.Name(), "look again in a few seconds; where something else sees to it that one director at a time has the VIP, add it with nodad")
				out = append(out, f)
			}
		}
		return out
	},
})
