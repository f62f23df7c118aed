package rules

import (
	"fmt"
	"slices"

	"lvstui/lvs"
	"lvstui/probes"
	"lvstui/probes/filter"
)

var _ = register(probes.Rule{
	ID:    "mangle-output-reroute",
	Title: "a rule that marks what leaves the director brings it back",
	Stage: lvs.SynForwarded,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS, lvs.SourceNetfilter, lvs.SourceLinks, lvs.SourceAddresses},
	Explain: probes.Explain{
		Breaks: `What ip_vs forwards passes the output chains of the director. When a rule there changes the packet's mark or its DSCP (TOS), in the mangle table or in a chain of type route, the kernel looks up the route anew, and by the destination: the VIP, which is
local. So the packet does not go to the real server but to the director's own sockets, and the client is refused, though ip_vs has scheduled the connection and counts it.`,
		ByHand: `    nft list ruleset | grep -n -B5 -e 'mark set' -e 'dscp set'
    iptables -t mangle -vnL OUTPUT`,
		Cure: `Leave the VIP out of the rule:

    nft insert rule ip mangle output ip daddr 172.16.0.8 return

and in the file that is loaded at boot.`,
		Source: "net/netfilter/nft_chain_route.c, nf_route_table_hook4: ip_route_me_harder; net/ipv4/netfilter/iptable_mangle.c.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		marking := markingChains(c.Snapshot.Netfilter)
		if marking == nil {
			return nil
		}
		rules := filter.Compile(marking)
		var all stops
		for _, v := range services(c) {
			if v.Protocol != lvs.TCP || !v.Address.IsValid() || c.Served(v.Address) {
				continue
			}
			if holds, _ := holdsVIP(c, v.Address); !holds {
				continue
			}
			for _, dev := range forwardDevices(c, v) {
				d := rules.Hook("output", int(^uint(0)>>1), filter.Packet{Oif: dev, Dst: v.Address, Protocol: v.Protocol, DstPort: v.Port})
				if d.Blocked() && d.Rule != nil {
					all.add(d, probes.Strong, v, dev, true)
					break
				}
			}
		}
		var out []probes.Finding
		for _, s := range all.sorted() {
			f := c.Finding(probes.Outage, probes.Strong, list(s.vips()))
			about(&f, s.vips())
			where := fmt.Sprintf("%s %s %s: %s", s.decision.Chain.Family, s.decision.Chain.Table, s.decision.Chain.Name, s.decision.Rule.Text)
			f.Title = fmt.Sprintf("%s marks what it forwards for %s, and gets it back", c.Name(), s.names())
			f.Why = fmt.Sprintf("Packets for %s pass \"%s\" on their way to the real server. Their mark or DSCP changes, so the kernel routes them anew by their destination, which is this host: they end at its own sockets.", s.names(), where)
			f.Evidence = append(f.Evidence, probes.Evidence{Fact: where, Got: "marks or changes packets for " + s.names(), Want: "leaves the VIP out", Command: s.decision.Command()})
			advise(&f, c.Name(), "leave the VIP out in front of this rule, and in the file that is loaded at boot",
				fmt.Sprintf("nft insert rule %s %s %s ip daddr %s return", s.decision.Chain.Family, s.decision.Chain.Table, s.decision.Chain.Name, s.vips()[0]))
			out = append(out, f)
		}
		return out
	},
})

// markingChains are the output chains after which a changed mark makes the kernel route anew, with marks in place of drops and drops in place of
// nothing: asked for a verdict, they tell whether the packet is surely marked. nil when there are none.
func markingChains(nf *lvs.Netfilter) *lvs.Netfilter {
	base := func(ch lvs.Chain) bool {
		return ch.Hook == "output" && (ch.Type == "route" || ch.Table == "mangle") && ch.Family != "ip6"
	}
	if !slices.ContainsFunc(nf.Chains, base) {
		return nil
	}
	out := &lvs.Netfilter{NFTables: nf.NFTables, Legacy: nf.Legacy, Sets: nf.Sets}
	marks := false
	for _, ch := range nf.Chains {
		if ch.Hook != "" && !base(ch) {
			continue
		}
		copied := ch
		copied.Rules = slices.Clone(ch.Rules)
		copied.Policy = "accept"
		for i := range copied.Rules {
			switch r := &copied.Rules[i]; r.Verdict {
			case "mark", "tos":
				r.Verdict, marks = "drop", true
			case "drop", "reject":
				r.Verdict = "accept" // it is another rule's business
			}
		}
		out.Chains = append(out.Chains, copied)
	}
	if !marks {
		return nil
	}
	return out
}
