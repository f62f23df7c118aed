package rules

import (
	"fmt"

	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "bond-alb-rewrites-arp",
	Title: "a bond tells different hosts different MACs",
	Stage: lvs.VIPResolved,
	Roles: []lvs.Role{lvs.RoleDirector, lvs.RoleRealServer},
	Needs: []lvs.Source{lvs.SourceLinks, lvs.SourceAddresses},
	Explain: probes.Explain{
		Breaks: `A bond in mode balance-alb answers ARP with the MAC of one port to some hosts and of another port to others, to share what it receives. So the router and the directors know one host by different MACs, and when the
bond moves them about, they change. Tools that compare MACs see several hosts answer for the VIP; after a failover some neighbours keep a MAC that nobody has.`,
		ByHand: `    cat /sys/class/net/bond0/bonding/mode
    ip -details link show type bond
    arping -c 3 -I eth0 172.16.0.8     from a third host`,
		Cure:   `Use active-backup, or 802.3ad where the switch can, in the file that configures the bond. Changing it takes the link down: not over the connection that you are on.`,
		Source: "drivers/net/bonding/bond_alb.c, rlb_arp_xmit; Documentation/networking/bonding.rst, balance-alb.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var out []probes.Finding
		for _, l := range addressedLinks(c.Host) {
			if l.Kind != "bond" || l.Mode != "balance-alb" {
				continue
			}
			f := c.Finding(probes.Note, probes.Strong, l.Name)
			f.Title = fmt.Sprintf("%s of %s has several MACs at once (balance-alb)", l.Name, c.Name())
			f.Why = fmt.Sprintf("%s tells each neighbour the MAC of one of its ports. All of them are this host's: two MACs that answer for an address here are no second host. After a failover some neighbours may keep one that is gone.", l.Name)
			f.Evidence = append(f.Evidence, probes.Evidence{Fact: "mode of " + l.Name, Got: l.Mode, Want: "active-backup or 802.3ad", Command: "cat /sys/class/net/" + l.Name + "/bonding/mode"})
			advise(&f, c.Name(), "use active-backup or 802.3ad, in the file that configures the bond; it takes the link down")
			out = append(out, f)
		}
		return out
	},
})
