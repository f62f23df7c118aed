package rules

import (
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"lvstui/lvs"
)

// fate is what a packet filter does with an ARP packet.
type fate int

const (
	passes fate = iota
	perhaps
	dropped
)

// arpFate tells whether the rules of family arp keep this host from answering a request for the VIP on a device: the
// request may be dropped on input, the reply on output. A rule that rewrites the packet, or that is not understood, gives perhaps.
func arpFate(nf *lvs.Netfilter, dev string, vip netip.Addr) fate {
	return arpHooks(nf, dev, vip, "request", "reply", "input", "output")
}

// announceFate tells whether the rules of family arp keep this host's own requests from telling the VIP: they may be dropped, or
// given another sender.
func announceFate(nf *lvs.Netfilter, dev string, vip netip.Addr) fate {
	return arpHooks(nf, dev, vip, "", "request", "output")
}

// arpHooks follows ARP packets through the base chains of hooks: incoming ones of one kind, outgoing ones of another.
func arpHooks(nf *lvs.Netfilter, dev string, vip netip.Addr, in, out string, hooks ...string) fate {
	if nf == nil {
		return perhaps
	}
	worst := passes
	for i := range nf.Chains {
		ch := &nf.Chains[i]
		if ch.Family != "arp" || !slices.Contains(hooks, ch.Hook) {
			continue
		}
		operation := in
		if ch.Hook == "output" {
			operation = out
		}
		switch f := (arpPacket{nf, ch.Hook, operation, dev, vip}).through(ch, 0); f {
		case dropped:
			return dropped
		case perhaps:
			worst = perhaps
		}
	}
	return worst
}

// arpPacket is a packet on its way in that asks for the VIP, or one on its way out that tells it: "request" or "reply".
type arpPacket struct {
	nf        *lvs.Netfilter
	hook      string
	operation string
	dev       string
	vip       netip.Addr
}

// through follows the packet through a chain. A chain that is jumped to ends in passes, which means going on.
func (p arpPacket) through(ch *lvs.Chain, depth int) fate {
	uncertain := false
	decide := func(f fate) fate {
		if uncertain && f != passes {
			return perhaps
		}
		return f
	}
	for _, r := range ch.Rules {
		m := p.matches(ch, r)
		if m == matchNo {
			continue
		}
		result := passes
		switch r.Verdict {
		case "drop", "reject", "queue":
			result = dropped
		case "accept", "return":
			if m == matchYes && !r.Opaque {
				return passes
			}
			uncertain = true
			continue
		case "jump", "goto":
			i := slices.IndexFunc(p.nf.Chains, func(c lvs.Chain) bool { return c.Family == ch.Family && c.Table == ch.Table && c.Name == r.Target })
			if i < 0 || depth > 16 {
				result = perhaps
			} else {
				result = p.through(&p.nf.Chains[i], depth+1)
			}
		default:
			if r.Opaque {
				result = perhaps // arptables' mangle target, say
			}
		}
		if result == passes {
			continue
		}
		if m == matchYes && result == dropped && !r.Opaque {
			return decide(dropped)
		}
		uncertain = true
	}
	if ch.Hook != "" && ch.Policy == "drop" {
		return decide(dropped)
	}
	if uncertain {
		return perhaps
	}
	return passes
}

type matched int

const (
	matchNo matched = iota
	matchPerhaps
	matchYes
)

func (p arpPacket) matches(ch *lvs.Chain, r lvs.FilterRule) matched {
	all := matchYes
	for _, m := range r.Matches {
		all = min(all, p.match(ch, m))
	}
	return all
}

func (p arpPacket) match(ch *lvs.Chain, m lvs.Match) matched {
	in := p.hook == "input"
	var holds func(v string) bool
	switch {
	case m.Field == "meta iifname" || m.Field == "meta oifname":
		if (m.Field == "meta iifname") != in {
			return matchPerhaps
		}
		holds = func(v string) bool { ok, _ := path.Match(v, p.dev); return ok }
	case m.Field == "arp operation":
		want := map[string][]string{"request": {"request", "1"}, "reply": {"reply", "2"}}[p.operation]
		holds = func(v string) bool { return slices.Contains(want, v) }
	case m.Field == "arp htype" || m.Field == "arp hlen" || m.Field == "arp plen": // Ethernet and IPv4: arptables-nft asks first
		want := map[string]uint64{"arp htype": 1, "arp hlen": 6, "arp plen": 4}[m.Field]
		holds = func(v string) bool { n, err := strconv.ParseUint(v, 0, 16); return err == nil && n == want }
	case m.Field == "arp ptype":
		holds = func(v string) bool { return v == "ip" }
	case m.Field == "arp daddr ip" && in, m.Field == "arp saddr ip" && !in:
		holds = func(v string) bool { return holdsAddress(v, p.vip) }
	default:
		return matchPerhaps
	}
	values := m.Values
	if m.Set != "" {
		i := slices.IndexFunc(p.nf.Sets, func(s lvs.Set) bool {
			return s.Family == ch.Family && s.Table == ch.Table && s.Name == strings.TrimPrefix(m.Set, "@")
		})
		if i < 0 || p.nf.Sets[i].Truncated {
			return matchPerhaps
		}
		values = p.nf.Sets[i].Elements
	}
	if slices.ContainsFunc(values, holds) != m.Negate {
		return matchYes
	}
	return matchNo
}

// holdsAddress tells whether an address is what a match value says: "10.0.0.1", "10.0.0.0/8", "10.0.0.1-10.0.0.9".
func holdsAddress(value string, ip netip.Addr) bool {
	if from, to, ok := strings.Cut(value, "-"); ok {
		a, err1 := netip.ParseAddr(strings.TrimSpace(from))
		b, err2 := netip.ParseAddr(strings.TrimSpace(to))
		return err1 == nil && err2 == nil && a.Compare(ip) <= 0 && ip.Compare(b) <= 0
	}
	if p, err := netip.ParsePrefix(value); err == nil {
		return p.Contains(ip)
	}
	a, err := netip.ParseAddr(value)
	return err == nil && a == ip
}
