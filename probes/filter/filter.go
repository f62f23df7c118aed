// Package filter works out what the packet filter of a Snapshot does with one packet. It follows the kernel's order
// (hooks, priorities, jumps, policies) and answers unknown rather than guess: a rule that is not understood counts as
// one that may or may not hold.
package filter

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"lvstui/lvs"
)

// The priorities at which ip_vs takes packets (net/netfilter/ipvs/ip_vs_core.c, ip_vs_ops4): NF_IP_PRI_NAT_SRC-1 on
// input, NF_IP_PRI_NAT_DST+2 on output.
const (
	PriorityIPVSInput  = 99
	PriorityIPVSOutput = -98
)

// Packet is the packet to judge. Zero fields are not known, except Mark, where 0 is no mark.
type Packet struct {
	Iif, Oif string
	Src, Dst netip.Addr
	Protocol lvs.Protocol
	// SrcPort 0 stands for any unprivileged port, as clients use them.
	SrcPort, DstPort uint16
	// State is the state of its connection: "new", "established", "related", "invalid", "untracked". A new TCP packet is a SYN, unless
	// Flags says otherwise.
	State string
	Flags string // the one TCP flag it has: "syn", "ack"
	ICMP  string // type of an ICMP packet, whose Protocol is "icmp" or "ipv6-icmp": "destination-unreachable", "packet-too-big"
	Mark  uint32
}

// Verdict is what becomes of the packet.
type Verdict string

const (
	Accept  Verdict = "accept"
	Drop    Verdict = "drop"
	Reject  Verdict = "reject"  // dropped, and the sender is told
	Unknown Verdict = "unknown" // a rule on the way is not understood, or rewrites the packet
	Rewrite Verdict = "rewrite" // it goes on with another source address; only NewSource says so
)

// Decision is a Verdict and what decided it. For an accepted packet nothing decided.
type Decision struct {
	Verdict Verdict
	// Chain is the chain that decided, Rule the rule in it; Rule is nil when it was the chain's policy.
	Chain *lvs.Chain
	Rule  *lvs.FilterRule
}

// Blocked says that the packet goes no further.
func (d Decision) Blocked() bool { return d.Verdict == Drop || d.Verdict == Reject }

// Where names the chain and the rule as a person would look for them: `inet filter input: tcp dport 80 drop`.
func (d Decision) Where() string {
	if d.Chain == nil {
		return ""
	}
	if d.Rule == nil {
		return fmt.Sprintf("%s %s %s: policy %s", d.Chain.Family, d.Chain.Table, d.Chain.Name, cmp.Or(d.Chain.Policy, "accept"))
	}
	text := d.Rule.Text
	if text == "" {
		text = d.Rule.Verdict
	}
	return fmt.Sprintf("%s %s %s: %s", d.Chain.Family, d.Chain.Table, d.Chain.Name, text)
}

// Counted says that the deciding rule has seen packets, as far as it counts them.
func (d Decision) Counted() bool { return d.Rule != nil && d.Rule.Counted && d.Rule.Packets > 0 }

// Command shows the deciding chain with its counters.
func (d Decision) Command() string {
	switch {
	case d.Chain == nil:
		return "nft list ruleset"
	case d.Chain.Backend == "legacy" && d.Chain.Family == "ip6":
		return fmt.Sprintf("ip6tables-legacy -t %s -vnL %s", d.Chain.Table, d.Chain.Name)
	case d.Chain.Backend == "legacy":
		return fmt.Sprintf("iptables-legacy -t %s -vnL %s", d.Chain.Table, d.Chain.Name)
	}
	return fmt.Sprintf("nft list chain %s %s %s", d.Chain.Family, d.Chain.Table, d.Chain.Name)
}

// BeforeIPVS is what becomes of a packet for an address of this host before ip_vs takes it: ingress, prerouting, and the
// input chains with a priority below 99.
func (r *Rules) BeforeIPVS(p Packet) Decision {
	return r.inTurn(p, []hookPart{{"ingress", maxPriority}, {"prerouting", maxPriority}, {"input", PriorityIPVSInput}})
}

// Received is what becomes of a packet for an address of this host before its socket gets it.
func (r *Rules) Received(p Packet) Decision {
	return r.inTurn(p, []hookPart{{"ingress", maxPriority}, {"prerouting", maxPriority}, {"input", maxPriority}})
}

// Sent is what becomes of a packet that this host sends.
func (r *Rules) Sent(p Packet) Decision {
	return r.inTurn(p, []hookPart{{"output", maxPriority}, {"postrouting", maxPriority}})
}

// Forwarded is what becomes of a packet that this host sends on for others.
func (r *Rules) Forwarded(p Packet) Decision {
	return r.inTurn(p, []hookPart{{"ingress", maxPriority}, {"prerouting", maxPriority}, {"forward", maxPriority}, {"postrouting", maxPriority}})
}

// NewSource is whether the nat chains of postrouting give a packet that this host sends another source address: Rewrite when one does, Accept
// when none does. They see the first packet of a connection that is tracked, and no other.
func (r *Rules) NewSource(p Packet) Decision {
	e := &evaluation{rules: r, packet: state{Packet: p}, budget: ruleBudget, nat: true}
	return e.verdict(e.hook(hookPart{"postrouting", maxPriority}))
}

// Hook is what the base chains of one hook with a priority below limit do with the packet.
func (r *Rules) Hook(hook string, limit int, p Packet) Decision {
	return r.inTurn(p, []hookPart{{hook, limit}})
}

const maxPriority = int(^uint(0) >> 1)

type hookPart struct {
	hook  string
	limit int
}

// evaluation is the way of one packet through the chains. Where a rule may or may not hold the packet takes both ways, so
// several ends are possible; only when all agree there is an answer.
type evaluation struct {
	rules  *Rules
	packet state
	budget int  // rules left to look at: a hostile file may hold chains that multiply
	nat    bool // only what nat chains do with the source counts
	// ends are the ways that do not lead to the socket: the packet was stopped or lost sight of. last is the last of them.
	ends []Decision
	last Decision
}

// state is a Packet with where it is and what rules made of it on the way.
type state struct {
	Packet
	hook        string
	priority    int
	markUnknown bool
	local       bool // it is for an address of this host
}

const ruleBudget = 500_000

// maxDepth is above the kernel's limit for nested jumps of nftables (NFT_JUMP_STACK_SIZE, 16); legacy tables allow more.
const maxDepth = 64

func (r *Rules) inTurn(p Packet, parts []hookPart) Decision {
	e := &evaluation{rules: r, packet: state{Packet: p}, budget: ruleBudget}
	e.packet.local = slices.ContainsFunc(parts, func(part hookPart) bool { return part.hook == "input" })
	for _, part := range parts {
		if !e.hook(part) {
			return e.verdict(false)
		}
	}
	return e.verdict(true)
}

// verdict is what all ways agree on. arrives says that some way leads past all chains.
func (e *evaluation) verdict(arrives bool) Decision {
	if len(e.ends) == 0 {
		return Decision{Verdict: Accept}
	}
	for _, end := range e.ends {
		if arrives || !end.Blocked() && end.Verdict != Rewrite {
			return Decision{Unknown, e.ends[0].Chain, e.ends[0].Rule}
		}
	}
	return e.last // earlier ones may not have held; this one stops what is left
}

// hook sends the packet through the base chains of a hook and tells whether it may get past them.
func (e *evaluation) hook(part hookPart) bool {
	e.packet.hook = part.hook
	for _, chain := range e.baseChains(part) {
		e.packet.priority = chain.Priority
		passes := e.base(chain)
		// A netdev chain hangs on one device, and which is not known here: it may not concern the packet.
		if !passes && chain.Family != "netdev" {
			return false
		}
	}
	return true
}

func (e *evaluation) baseChains(part hookPart) []*lvs.Chain {
	var out []*lvs.Chain
	for _, c := range e.rules.base[part.hook] {
		if c.Priority < part.limit && e.packet.seenBy(c.Family) && (!e.nat || c.Type == "nat") {
			out = append(out, c)
		}
	}
	return out
}

// seenBy tells whether chains of a family see the packet at all.
func (p *Packet) seenBy(family string) bool {
	switch family {
	case "inet", "netdev":
		return true
	case "ip":
		return !p.v6()
	case "ip6":
		return p.v6()
	}
	return false
}

func (p *Packet) v6() bool {
	ip := p.Dst
	if !ip.IsValid() {
		ip = p.Src
	}
	return ip.Is6() && !ip.Is4In6()
}

// base sends the packet through a base chain and tells whether it may go on. What reaches the chain's end gets the policy.
func (e *evaluation) base(chain *lvs.Chain) bool {
	w := e.chain(chain, true, 0)
	if (w.through || w.returned) && chain.Policy == "drop" {
		e.stop(Decision{Drop, chain, nil})
		return w.accepted
	}
	return w.through || w.returned || w.accepted
}

func (e *evaluation) stop(d Decision) {
	e.last = d
	// Of those between the first and the last only the verdicts count, and those repeat.
	if len(e.ends) < 64 || d.Verdict == Unknown && len(e.ends) < 128 {
		e.ends = append(e.ends, d)
	}
}

// ways are those on which a packet may leave a rule or a chain, apart from being stopped.
type ways struct {
	through  bool // to the next rule; of a chain, past its last one
	accepted bool // past the rest of the base chain
	returned bool // back to the rule behind the jump
}

func (w ways) or(o ways) ways {
	return ways{w.through || o.through, w.accepted || o.accepted, w.returned || o.returned}
}

// chain sends the packet through a chain's rules. surely says that it is sure to get there.
func (e *evaluation) chain(chain *lvs.Chain, surely bool, depth int) (out ways) {
	for i := range chain.Rules {
		rule := &chain.Rules[i]
		if e.budget--; e.budget < 0 || depth > maxDepth {
			e.stop(Decision{Unknown, chain, rule})
			return out
		}
		held := e.match(chain, rule)
		if held == no {
			continue
		}
		before := len(e.ends)
		w := e.obey(chain, rule, surely && held == yes, depth)
		through := w.through || held == perhaps
		surely = surely && w == ways{through: true} && len(e.ends) == before
		w.through = false
		out = out.or(w)
		if !through {
			return out
		}
	}
	out.through = true
	return out
}

// obey carries out a rule that holds.
func (e *evaluation) obey(chain *lvs.Chain, rule *lvs.FilterRule, surely bool, depth int) ways {
	switch rule.Verdict {
	case "snat", "masquerade":
		if e.nat {
			e.stop(Decision{Rewrite, chain, rule})
			return ways{}
		}
		return ways{accepted: true}
	case "accept":
		return ways{accepted: true}
	case "drop":
		e.stop(Decision{Drop, chain, rule})
		return ways{}
	case "reject":
		e.stop(Decision{Reject, chain, rule})
		return ways{}
	case "return":
		return ways{returned: true}
	case "jump", "goto":
		return e.jump(chain, rule, surely, depth)
	case "queue", "dnat", "redirect":
		// To user space, or to another address: what becomes of it cannot be said from here.
		e.stop(Decision{Unknown, chain, rule})
		return ways{}
	case "mark":
		e.packet.markUnknown = true
		return ways{through: true}
	case "tos":
		return ways{through: true}
	case "notrack":
		if e.packet.State = ""; surely {
			e.packet.State = "untracked"
		}
		return ways{through: true}
	}
	if rule.Opaque || rule.Verdict != "" { // it may do anything
		e.stop(Decision{Unknown, chain, rule})
	}
	return ways{through: true}
}

func (e *evaluation) jump(chain *lvs.Chain, rule *lvs.FilterRule, surely bool, depth int) ways {
	target := e.target(chain, rule.Target)
	if target == nil {
		e.stop(Decision{Unknown, chain, rule})
		return ways{through: true}
	}
	w := e.chain(target, surely, depth+1)
	back := w.through || w.returned
	if rule.Verdict == "goto" { // whoever comes back from there goes on behind the jump to this chain
		return ways{accepted: w.accepted, returned: back}
	}
	return ways{accepted: w.accepted, through: back}
}

// target finds a chain of the same table.
func (e *evaluation) target(from *lvs.Chain, name string) *lvs.Chain {
	return e.rules.chains[chainName{from.Backend, from.Family, from.Table, name}]
}

// MatchesOn tells whether the deciding rule looks at a field, spelled as in lvs.Match.
func (d Decision) MatchesOn(field string) bool {
	return d.Rule != nil && slices.ContainsFunc(d.Rule.Matches, func(m lvs.Match) bool { return strings.EqualFold(m.Field, field) })
}
