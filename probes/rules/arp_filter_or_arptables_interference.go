package rules

import (
	"fmt"

	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "arp-filter-or-arptables-interference",
	Title: "rules about ARP silence the director",
	Stage: lvs.VIPResolved,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS, lvs.SourceLinks, lvs.SourceAddresses, lvs.SourceNetfilter, lvs.SourceSysctls},
	Explain: probes.Explain{
		Breaks: `Older instructions keep real servers off ARP by arptables. When such a host becomes a director, or is one of two, the rules that are left drop requests for the VIP or the answers. arp_filter does
something similar: with it the kernel answers only on the card that its route back to the asker leaves by. The router finds no MAC for the VIP.`,
		ByHand: `On the director:

    nft list ruleset arp
    arptables -vnL
    sysctl net.ipv4.conf.all.arp_filter net.ipv4.conf.eth0.arp_filter`,
		Cure: `Delete the rule, on the director in charge only, and where it is loaded at boot:

    nft -a list ruleset arp
    nft delete rule arp filter input handle N

and set arp_filter to 0.`,
		Source: "net/ipv4/arp.c: NF_HOOK(NFPROTO_ARP, NF_ARP_IN), arp_filter.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var byRules, bySysctl []mute
		rules := hasARPRules(c.Snapshot.Netfilter)
		for _, vip := range lookedUp(c) {
			for _, a := range c.HoldsOnWire(vip) {
				fate := passes
				if rules {
					fate = arpFate(c.Snapshot.Netfilter, a.Device, vip)
				}
				filtered := c.Snapshot.Effective(a.Device, "arp_filter")
				if fate == passes && filtered.Value == 0 {
					continue
				}
				who, ok := whoAsks(c, vip, a.Device)
				m := mute{dev: a.Device, severity: probes.Outage, certainty: probes.Strong, proof: []probes.Evidence{who.proof}}
				switch {
				case !ok: // it may be routed here
				case fate == dropped:
					byRules = addMute(byRules, m, vip)
				case fate == perhaps:
					c.CannotTell(lvs.SourceNetfilter)
				case who.sure && who.sender.IsValid() && filtered.Known:
					if back := c.Asked(lvs.RouteQuery{Dst: who.sender, Src: vip}); back.Outcome == lvs.OutUnicast && back.Device != a.Device {
						m.proof = append(m.proof, routeEvidence("the way back to the asker", back, "by "+a.Device))
						bySysctl = addMute(bySysctl, m, vip)
					}
				}
			}
		}
		var out []probes.Finding
		for _, m := range byRules {
			f := m.finding(c)
			f.Title = fmt.Sprintf("rules about ARP keep %s from answering for %s", c.Name(), list(m.vips))
			f.Why = fmt.Sprintf("Rules of the family arp on %s drop requests for %s on %s, or the answers. They are meant for real servers; as the director it has to answer.", c.Name(), list(m.vips), m.dev)
			f.Evidence = append(f.Evidence, probes.Evidence{Fact: "rules of the family arp", Got: "drop ARP for " + list(m.vips), Want: "none on a director", Command: "nft list ruleset arp"})
			advise(&f, c.Name(), "delete the rule that drops it, here and where it is loaded at boot", "nft -a list ruleset arp")
			out = append(out, f)
		}
		for _, m := range bySysctl {
			f := m.finding(c)
			f.Title = fmt.Sprintf("arp_filter keeps %s from answering for %s", c.Name(), list(m.vips))
			f.Why = fmt.Sprintf("With arp_filter on, the kernel answers for %s on %s only to askers to whom its route leaves by %s.", list(m.vips), m.dev, m.dev)
			f.Evidence = append(f.Evidence, sysctlEvidence(c.Snapshot, m.dev, "arp_filter", "0"))
			advise(&f, c.Name(), "set arp_filter to 0 on all and on the card, also in the file that is loaded at boot",
				"sysctl -w net.ipv4.conf.all.arp_filter=0", "sysctl -w "+lvs.SysctlName(lvs.ConfPath(m.dev, "arp_filter"))+"=0")
			cureIfPossible(&f, c.Snapshot, withoutDone(c.Snapshot, fixes.Plan{Title: "answer ARP on " + m.dev + " whatever the route says", Steps: []fixes.Step{
				fixes.SetSysctl{Path: lvs.ConfPath("all", "arp_filter"), Value: "0"}, fixes.SetSysctl{Path: lvs.ConfPath(m.dev, "arp_filter"), Value: "0"}}}))
			out = append(out, f)
		}
		return out
	},
})

func hasARPRules(nf *lvs.Netfilter) bool {
	for _, ch := range nf.Chains {
		if ch.Family == "arp" {
			return true
		}
	}
	return false
}
