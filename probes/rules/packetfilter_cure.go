package rules

import (
	"slices"
	"strings"

	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
	"lvstui/probes/filter"
)

// maxAccepts bounds the rules of one plan: who has more chains in a row that drop a service had better see to them.
const maxAccepts = 8

// fateOf is what rules do with one packet of the service, whoever the client is.
type fateOf func(r *filter.Rules, v lvs.Service) filter.Decision

// letPass cures a finding by accepting its services at the head of every chain that stops them, when the rules are nobody's but the
// administrator's. Else it says how to do it by hand, where the rules come from.
func letPass(f *probes.Finding, c *probes.Case, s *stop, replies bool, fate fateOf) {
	words, commands := letThrough(c, s, replies)
	advise(f, c.Name(), words, commands...)
	if plan, ok := acceptPlan(c, s, replies, fate); ok {
		cureIfPossible(f, c.Snapshot, plan)
	}
}

// acceptPlan finds the rules that are needed by putting one in and looking what becomes of the packet then. ok is false where that
// leads nowhere, or where somebody else would take the rules out again.
func acceptPlan(c *probes.Case, s *stop, replies bool, fate fateOf) (fixes.Plan, bool) {
	plan := fixes.Plan{Title: "let " + s.names() + " pass the packet filter"}
	if replies {
		plan.Title = "let answers from " + s.names() + " pass the packet filter"
	}
	if c.Snapshot.Owners == nil || s.decision.MatchesOn("ip daddr") || s.decision.MatchesOn("ip6 daddr") || slices.ContainsFunc([]string{"tcp", "udp", "sctp", "th"}, func(p string) bool {
		return s.decision.MatchesOn(p+" dport") || s.decision.MatchesOn(p+" sport")
	}) {
		return plan, false // a rule that names the service or its port was meant for it
	}
	now := c.Snapshot
	for _, v := range s.services {
		for d := s.decision; d.Blocked(); d = fate(filter.Compile(now.Netfilter), v) {
			if d.Chain == nil || !ownChain(c.Snapshot, d.Chain) || len(plan.Steps) == maxAccepts {
				return plan, false
			}
			st := fixes.AddAccept{Family: d.Chain.Family, Table: d.Chain.Table, Chain: d.Chain.Name, IPTables: byIPTables(c.Snapshot, d.Chain),
				Protocol: v.Protocol, Address: v.Address, Port: v.Port, Replies: replies}
			next, err := st.Simulate(now)
			if err != nil || st.Done(now) {
				return plan, false
			}
			plan.Steps, now = append(plan.Steps, st), next
		}
	}
	return plan, true
}

// firstStop is the first decision that stops the packet on one of the devices, else the last one.
func firstStop(devices []string, decide func(dev string) filter.Decision) (d filter.Decision) {
	for _, dev := range devices {
		if d = decide(dev); d.Blocked() {
			return d
		}
	}
	return d
}

// ownChain tells whether nobody but the administrator writes the chain: programs that keep rules of their own write them anew, and
// what was put between is lost or, worse, kept where it does not belong.
func ownChain(s *lvs.Snapshot, ch *lvs.Chain) bool {
	if ch.Backend != "nftables" {
		return false
	}
	for _, prefix := range []string{"ufw", "f2b-", "fail2ban", "KUBE-", "DOCKER", "cali-", "CILIUM", "LIBVIRT", "f2b", "crowdsec", "shorewall"} {
		if strings.HasPrefix(strings.ToLower(ch.Name), strings.ToLower(prefix)) || strings.HasPrefix(strings.ToLower(ch.Table), strings.ToLower(prefix)) {
			return false
		}
	}
	_, firewalld := owner(s, "firewalld")
	return ch.Table != "firewalld" && ch.Table != "keepalived" && !firewalld && !slices.ContainsFunc(s.Netfilter.Chains, func(o lvs.Chain) bool {
		return o.Family == ch.Family && o.Table == ch.Table && strings.HasPrefix(o.Name, "ufw-") // its policies are ufw's too
	})
}

// byIPTables tells whether the table has rules that only iptables-nft makes.
func byIPTables(s *lvs.Snapshot, ch *lvs.Chain) bool {
	return (ch.Family == "ip" || ch.Family == "ip6") && slices.ContainsFunc(s.Netfilter.Chains, func(o lvs.Chain) bool {
		return o.Backend == ch.Backend && o.Family == ch.Family && o.Table == ch.Table && slices.ContainsFunc(o.Rules, func(r lvs.FilterRule) bool { return r.XTables })
	})
}
