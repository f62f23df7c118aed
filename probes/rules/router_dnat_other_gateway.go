package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "router-dnat-other-gateway",
	Title: "one router translates the VIP's address, and answers leave by another",
	Stage: lvs.SynAckAtClient,
	Roles: []lvs.Role{lvs.RoleRouter},
	Needs: []lvs.Source{lvs.SourceLinks, lvs.SourceAddresses, lvs.SourceNetfilter},
	Explain: probes.Explain{
		Breaks: `A router that gives clients a public address and turns it into a private VIP (DNAT) has to turn the answer back. Where the real servers' default route leads to another router the answer leaves with the private VIP as
source, and is dropped on the Internet or by the client.`,
		ByHand: `Compare on the router and on a real server:

    nft list ruleset | grep -n dnat
    ip route get CLIENT from 172.16.0.8`,
		Cure: `Let what comes from the VIP leave by the router that translates, on each real server and where its rules are configured:

    ip rule add from 172.16.0.8/32 lookup 100
    ip route add default via THAT-ROUTER dev eth0 table 100`,
		Source: "net/netfilter/nf_nat_core.c, nf_nat_packet: only who has the connection's entry can translate back.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var out []probes.Finding
		for _, vip := range c.Cluster.VIPs {
			rule, ok := dnatTo(c.Snapshot.Netfilter, vip)
			if !ok || c.Served(vip) {
				continue
			}
			for _, ref := range c.Cluster.DestinationsOf(vip) {
				rs := c.Cluster.Holder(ref.Destination.Address)
				if rs == nil || rs == ref.Director || ref.Destination.Forward != lvs.Gate || ref.Destination.Weight <= 0 {
					continue
				}
				if f, ok := leavesUntranslated(c, vip, rs, rule); ok {
					out = append(out, f)
				}
			}
		}
		return out
	},
})

// dnatTo finds a rule of prerouting that turns other addresses into the VIP.
func dnatTo(nf *lvs.Netfilter, vip netip.Addr) (lvs.FilterRule, bool) {
	for _, ch := range nf.Chains {
		for _, r := range ch.Rules {
			if r.Verdict == "dnat" && ch.Family != "ip6" && mentions(r.Text, vip) {
				return r, true
			}
		}
	}
	return lvs.FilterRule{}, false
}

// mentions finds an address as a word of a rule's text.
func mentions(text string, ip netip.Addr) bool {
	word := ip.String()
	for i := 0; i+len(word) <= len(text); i++ {
		if text[i:i+len(word)] == word && (i == 0 || !digitOrDot(text[i-1])) && (i+len(word) == len(text) || !digitOrDot(text[i+len(word)])) {
			return true
		}
	}
	return false
}

func digitOrDot(b byte) bool { return b >= '0' && b <= '9' || b == '.' }

func leavesUntranslated(c *probes.Case, vip netip.Addr, rs *probes.Host, rule lvs.FilterRule) (probes.Finding, bool) {
	clients := slices.Clone(clientsAnywhere(c, vip))
	assumed := len(clients) == 0
	if assumed {
		clients, _ = rs.ClientsOf(vip)
	}
	for _, client := range clients {
		back := rs.Asked(lvs.RouteQuery{Dst: client, Src: vip})
		if back.Outcome != lvs.OutUnicast || !back.Gateway.IsValid() || c.Has(back.Gateway) || throughDirector(c, back.Gateway) {
			continue
		}
		severity := probes.Outage
		if assumed {
			severity = probes.Hazard
		}
		f := c.Finding(severity, probes.Strong, vip.String()+" by "+rs.Name())
		f.VIP = vip
		f.Title = fmt.Sprintf("%s translates to %s, and %s answers by %s", c.Name(), vip, rs.Name(), back.Gateway)
		f.Why = fmt.Sprintf("This router turns what clients ask for into %s (\"%s\"). %s sends its answers to %s, which is not this router and knows nothing of the translation: they reach the client with the source %s, which it never asked.",
			vip, rule.Text, rs.Name(), back.Gateway, vip)
		f.Evidence = append(f.Evidence, probes.Evidence{Fact: "the rule that translates", Got: rule.Text, Want: "on the router that answers pass, too", Command: "nft list ruleset"},
			routeEvidence("the way of answers on "+rs.Name(), back, "by way of "+c.Name()))
		advise(&f, rs.Name(), "let what comes from the VIP leave by the router that translates, also at the next boot", fmt.Sprintf("ip rule add from %s/%d lookup 100", vip, vip.BitLen()),
			"ip route add default via THAT-ROUTER dev IFACE table 100")
		return f, true
	}
	return probes.Finding{}, false
}
