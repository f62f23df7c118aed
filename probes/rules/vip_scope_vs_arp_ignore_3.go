package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "vip-scope-vs-arp-ignore-3",
	Title: "arp_ignore is 3, and the VIP is not of scope host",
	Stage: lvs.VIPResolved,
	Roles: []lvs.Role{lvs.RoleRealServer},
	Needs: []lvs.Source{lvs.SourceLinks, lvs.SourceAddresses, lvs.SourceSysctls},
	Explain: probes.Explain{
		Breaks: `arp_ignore=3 keeps the kernel from answering for addresses of scope host. An address added to lo by "ip addr add" has scope global all the same, so the real server goes on
answering ARP for the VIP, although somebody has set a value against it.`,
		ByHand: `Look at the scope, and at the larger of the two values:

    ip -o address show to 172.16.0.8
    sysctl net.ipv4.conf.all.arp_ignore net.ipv4.conf.eth0.arp_ignore`,
		Cure: `Set the value that is meant for real servers:

    sysctl -w net.ipv4.conf.all.arp_ignore=1

and lower it on the card when it is set there. Or give the VIP scope host:

    ip addr replace 172.16.0.8/32 dev lo scope host`,
		Source: "net/ipv4/arp.c, arp_ignore case 3.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		voices := slices.DeleteFunc(answeringVoices(c), func(v voice) bool { return c.Snapshot.Effective(v.dev, "arp_ignore").Value != 3 })
		if len(voices) == 0 {
			return nil
		}
		worst := slices.MinFunc(voices, func(a, b voice) int { return severityRank(a.severity) - severityRank(b.severity) })
		var vips []netip.Addr
		for _, v := range voices {
			for _, vip := range v.vips {
				if !slices.Contains(vips, vip) {
					vips = append(vips, vip)
				}
			}
		}
		f := c.Finding(worst.severity, worst.certainty, list(vips))
		about(&f, vips)
		f.Title = fmt.Sprintf("%s answers ARP for %s in spite of arp_ignore=3", c.Name(), list(vips))
		f.Why = fmt.Sprintf("arp_ignore=3 silences addresses of scope host only, and %s is of another scope. So this real server answers for it on %s as if nothing were set.", list(vips), worst.dev)
		f.Evidence = append(f.Evidence, addressEvidence(c.Snapshot, vips[0], "scope host, or arp_ignore 1"), sysctlEvidence(c.Snapshot, worst.dev, "arp_ignore", "1"), askedEvidence(c, worst.vips[0], worst.dev))
		cure(&f, c.Snapshot, fixes.QuietARP(c.Snapshot, vips), "on the director: arping -U -I IFACE -c 3 "+vips[0].String()+", so that the router learns the right MAC at once")
		return []probes.Finding{f}
	},
})
