package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "rs-policy-route",
	Title: "policy rules route the real server's own address, and forget the VIP",
	Stage: lvs.SynAckSent,
	Roles: []lvs.Role{lvs.RoleRealServer},
	Needs: []lvs.Source{lvs.SourceRules, lvs.SourceLinks, lvs.SourceAddresses},
	Explain: probes.Explain{
		Breaks: `A host with several cards often has rules that send packets from each of its addresses out by that address's card: "from 192.168.10.11 lookup 100". Answers of a real server come from the
VIP, which no rule knows. They take the main table, leave by another card or to another router, and whatever stands there against forged sources, or keeps track of connections, drops
them. All that uses the RIP works.`,
		ByHand: `On the real server compare, with a client's address:

    ip rule show
    ip route get 188.88.88.10 from 192.168.10.11
    ip route get 188.88.88.10 from 172.16.0.8`,
		Cure: `Give the VIP the same rule:

    ip rule add from 172.16.0.8/32 lookup 100

and write it where the other rules are configured.`,
		Source: "net/ipv4/fib_rules.c, fib4_rule_match.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		if !slices.ContainsFunc(c.Snapshot.PolicyRules, func(r lvs.PolicyRule) bool { return r.From.IsValid() && r.From.Bits() > 0 }) {
			return nil
		}
		var out []probes.Finding
		vips, weight := drVIPs(c)
		for _, vip := range vips {
			if local, known := vipLocal(c, vip); !known || !local || servedNow(c, vip) {
				continue
			}
			if f, ok := rsPolicyRoute(c, vip, weight[vip]); ok {
				out = append(out, f)
			}
		}
		return out
	},
})

// rsPolicyRoute compares where answers from the VIP go with where those from the RIP go that a policy rule selects.
func rsPolicyRoute(c *probes.Case, vip netip.Addr, weight int) (probes.Finding, bool) {
	clients, assumed := judgedClients(c, vip)
	for _, rip := range ripsOf(c, vip) {
		rule, ok := ruleFor(c, rip, vip)
		if !ok {
			continue
		}
		for _, client := range clients {
			own, answer := c.Asked(lvs.RouteQuery{Dst: client, Src: rip}), c.Asked(lvs.RouteQuery{Dst: client, Src: vip})
			if own.Outcome != lvs.OutUnicast || answer.Outcome != lvs.OutUnicast || own.Device == answer.Device && own.Gateway == answer.Gateway {
				continue
			}
			severity, certainty := probes.Hazard, probes.Strong
			if stalled := answersLost(c, vip); !assumed && weight > 0 && stalled >= probes.FewFlows {
				severity = probes.Outage
			}
			f := c.Finding(severity, certainty, vip.String())
			f.VIP = vip
			f.Title = fmt.Sprintf("%s answers from %s by another way than from its own address", c.Name(), vip)
			f.Why = fmt.Sprintf("A policy rule sends what comes from %s %s. Nothing of the kind is there for %s, so answers to clients go %s, where they may be dropped as forged or as of a connection that nobody there has seen begin.",
				rip, routeWords(own), vip, routeWords(answer))
			f.Evidence = append(f.Evidence, routeEvidence("the way from the RIP", own, "the same as from the VIP"), routeEvidence("the way from the VIP", answer, "the same as from the RIP"),
				probes.Evidence{Fact: "the rule for the RIP", Got: fmt.Sprintf("from %s lookup %d", rule.From, rule.Table), Want: "one for the VIP as well", Command: "ip rule show"})
			advise(&f, c.Name(), "add the same rule for the VIP, and write it where the other is configured", fmt.Sprintf("ip rule add from %s/%d lookup %d pref %d", vip, vip.BitLen(), rule.Table, rule.Priority))
			sameRule(&f, c, vip, rule)
			return f, true
		}
	}
	return probes.Finding{}, false
}

// ripsOf are the addresses by which directors know this host for the VIP, else those of the cards that SYNs come in on. Where neither is known
// nobody can say which of its addresses the VIP's answers should follow.
func ripsOf(c *probes.Case, vip netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, ref := range c.Cluster.DestinationsOf(vip) {
		if ref.Director != c.Host && c.Has(ref.Destination.Address) && !slices.Contains(out, ref.Destination.Address) {
			out = append(out, ref.Destination.Address)
		}
	}
	if len(out) > 0 {
		return out
	}
	devs := arrivalDevices(c, vip)
	for _, a := range c.Snapshot.Addresses {
		if slices.Contains(devs, a.Device) && a.Prefix.Addr().Is4() && a.Scope == "global" && a.Prefix.Addr() != vip {
			out = append(out, a.Prefix.Addr())
		}
	}
	return out
}

// ruleFor is the policy rule that selects the RIP by its address and not the VIP.
func ruleFor(c *probes.Case, rip, vip netip.Addr) (lvs.PolicyRule, bool) {
	for _, r := range c.Snapshot.PolicyRules {
		if r.Action == "table" && !r.Invert && r.From.IsValid() && r.From.Bits() > 0 && r.From.Contains(rip) && !r.From.Contains(vip) {
			return r, true
		}
	}
	return lvs.PolicyRule{}, false
}

// answersLost counts the recent flows whose SYN-ACK left this host and came to nothing.
func answersLost(c *probes.Case, vip netip.Addr) int {
	n := 0
	for _, f := range c.RecentFlowsTo(vip) {
		if sent, _ := got(f, lvs.SynAckSent); sent && f.Vantage == lvs.RoleRealServer && f.StalledAt != "" && f.StalledAt.Index() > lvs.SynAckSent.Index() {
			n++
		}
	}
	return n
}
