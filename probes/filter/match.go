package filter

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"lvstui/lvs"
)

// answer is what is known about a condition.
type answer int

const (
	no answer = iota
	perhaps
	yes
)

func known(b bool) answer {
	if b {
		return yes
	}
	return no
}

func (a answer) not() answer { return yes - a }

// match tells whether all conditions of a rule hold. One that surely fails decides, whatever else is not understood.
func (e *evaluation) match(chain *lvs.Chain, rule *lvs.FilterRule) answer {
	all := yes
	if rule.Opaque && rule.Verdict != "" {
		all = perhaps // its verdict is known, some condition is not
	}
	for _, m := range rule.Matches {
		all = min(all, e.condition(chain, m))
		if all == no {
			return no
		}
	}
	return all
}

func (e *evaluation) condition(chain *lvs.Chain, m lvs.Match) answer {
	if m.Field == "ip frag-off" && m.Values == nil && m.Set == "" { // iptables -f
		return known(m.Negate)
	}
	values, complete := e.rules.values(chain, m)
	any := no
	if !complete {
		any = perhaps
	}
	if ip, is := e.packet.addressField(m.Field); is {
		any = max(any, values.holdAddress(ip))
	} else {
		one, ok := e.packet.concatenation(m.Field)
		if !ok { // the packet has no such field, or nothing is known about it
			return one("")
		}
		for _, v := range values.text {
			any = max(any, one(strings.TrimSpace(v)))
		}
	}
	if m.Negate {
		return any.not()
	}
	return any
}

// addressField is the packet's address that a field is about, when it has such a field.
func (p *state) addressField(field string) (ip netip.Addr, is bool) {
	switch {
	case field == "ip saddr" && !p.v6(), field == "ip6 saddr" && p.v6():
		return p.Src, true
	case field == "ip daddr" && !p.v6(), field == "ip6 daddr" && p.v6():
		return p.Dst, true
	}
	return netip.Addr{}, false
}

// concatenation finds the comparison for one field, or for several with " . " between them.
func (p *state) concatenation(name string) (compare comparison, ok bool) {
	if !strings.Contains(name, " . ") {
		return p.field(name)
	}
	names := strings.Split(name, " . ")
	parts := make([]comparison, len(names))
	for i, n := range names {
		part, ok := p.field(n)
		if !ok {
			return part, false
		}
		parts[i] = part
	}
	return func(value string) answer {
		values := strings.Split(value, " . ")
		if len(values) != len(parts) {
			return perhaps
		}
		all := yes
		for i, v := range values {
			all = min(all, parts[i](strings.TrimSpace(v)))
		}
		return all
	}, true
}

// comparison tells whether the packet's field equals a value as nft writes it.
type comparison func(value string) answer

// field finds the comparison for a field, spelled as lvs.Match has it. When ok is false the comparison's answer for "" is that of the whole condition,
// negated or not: no for a field the packet does not have, perhaps for one that is not understood.
func (p *state) field(name string) (compare comparison, ok bool) {
	switch name {
	case "meta iifname", "meta iif", "iifname", "iif":
		return device(p.Iif, p.hook == "output" || p.hook == "postrouting" && p.Iif == ""), true
	case "meta oifname", "meta oif", "oifname", "oif":
		return device(p.Oif, p.hook == "ingress" || p.hook == "prerouting" || p.hook == "input"), true
	case "meta nfproto":
		return p.family, true
	case "meta protocol", "ether type":
		return p.family, true
	case "meta l4proto":
		return p.protocol, true
	case "ip protocol":
		return p.protocol, !p.v6()
	case "ip6 nexthdr":
		return p.protocol, p.v6()
	case "ip saddr":
		return address(p.Src, p.v6()), !p.v6()
	case "ip daddr":
		return address(p.Dst, p.v6()), !p.v6()
	case "ip6 saddr":
		return address(p.Src, !p.v6()), p.v6()
	case "ip6 daddr":
		return address(p.Dst, !p.v6()), p.v6()
	case "tcp dport", "udp dport", "sctp dport", "th dport":
		return p.port(name, p.DstPort, false)
	case "tcp sport", "udp sport", "sctp sport", "th sport":
		return p.port(name, p.SrcPort, true)
	case "ct state":
		return p.connection, true
	case "meta mark":
		return p.mark, true
	case "icmp type", "icmpv6 type":
		if p.ICMP != "" && (p.Protocol == "icmp") == (name == "icmp type") {
			return oneOf(p.ICMP, icmpNumbers[p.ICMP]), true
		}
		return constant(known(p.Protocol == "")), false
	case "icmp code", "icmpv6 code":
		if p.ICMP != "" {
			return constant(perhaps), false
		}
		return constant(known(p.Protocol == "")), false
	case "tcp flags":
		if p.Protocol != "" && p.Protocol != lvs.TCP {
			return constant(no), false
		}
		if p.Protocol == lvs.TCP && (p.State == "new" || p.Flags != "") {
			return p.flags, true
		}
	case "fib daddr type":
		if p.local {
			return oneOf("local", "2"), true
		}
	case "meta pkttype":
		if p.local {
			return oneOf("host", "unicast", "0"), true
		}
	case "arp operation", "arp saddr ip", "arp daddr ip":
		return constant(no), false
	}
	return constant(perhaps), false
}

func constant(a answer) comparison { return func(string) answer { return a } }

func oneOf(words ...string) comparison {
	return func(v string) answer { return known(slices.Contains(words, strings.ToLower(v))) }
}

// flags compares the TCP flags: the packet that opens a connection has SYN alone. A value is one flag, a list that must be all of them, or
// "these / among those".
func (p *state) flags(v string) answer {
	want, among, masked := strings.Cut(strings.ToLower(v), " / ")
	has := cmp.Or(p.Flags, "syn")
	if masked && !slices.Contains(strings.Split(among, ","), has) {
		has = "none"
	}
	return known(want == has)
}

// device compares interface names, "eth*" and iptables' "eth+" included. Where a hook has no such device the kernel compares with
// an empty name (nft_meta_store_ifname).
func device(name string, none bool) comparison {
	return func(v string) answer {
		v = strings.Trim(v, `"`)
		prefix, wildcard := strings.CutSuffix(v, "*")
		if !wildcard {
			prefix, wildcard = strings.CutSuffix(v, "+")
		}
		switch {
		case none:
			return known(v == "" || wildcard && prefix == "")
		case name == "":
			return perhaps
		case wildcard:
			return known(strings.HasPrefix(name, prefix))
		}
		return known(name == v)
	}
}

func (p *state) family(v string) answer {
	switch v {
	case "ipv4", "ip", "2", "0x0800", "0x800":
		return known(!p.v6())
	case "ipv6", "ip6", "10", "0x86dd":
		return known(p.v6())
	}
	return no
}

// icmpNumbers are the types by number, as some rules have them.
var icmpNumbers = map[string]string{"destination-unreachable": "3", "packet-too-big": "2"}

var protocolNumbers = map[string]lvs.Protocol{"1": "icmp", "58": "ipv6-icmp", "icmpv6": "ipv6-icmp", "6": lvs.TCP, "17": lvs.UDP, "132": lvs.SCTP}

func (p *state) protocol(v string) answer {
	if p.Protocol == "" {
		return perhaps
	}
	v = strings.ToLower(v)
	if name, ok := protocolNumbers[v]; ok {
		v = string(name)
	}
	return known(v == string(p.Protocol))
}

// address compares with an address, a prefix or a range. A packet of the other family (absent) has no such field.
func address(ip netip.Addr, absent bool) comparison {
	return func(v string) answer {
		if absent {
			return no
		}
		lo, hi, ok := addressRange(v)
		switch {
		case !ok:
			return perhaps
		case !ip.IsValid():
			everything := netip.PrefixFrom(lo, 0).Masked()
			return max(perhaps, known(lo == everything.Addr() && hi == lastOf(everything)))
		}
		return known(lo.Compare(ip) <= 0 && ip.Compare(hi) <= 0)
	}
}

func addressRange(v string) (lo, hi netip.Addr, ok bool) {
	if first, last, isRange := strings.Cut(v, "-"); isRange {
		lo, err1 := netip.ParseAddr(strings.TrimSpace(first))
		hi, err2 := netip.ParseAddr(strings.TrimSpace(last))
		return lo.Unmap(), hi.Unmap(), err1 == nil && err2 == nil
	}
	if prefix, err := netip.ParsePrefix(v); err == nil {
		return prefix.Masked().Addr(), lastOf(prefix), true
	}
	ip, err := netip.ParseAddr(v)
	return ip.Unmap(), ip.Unmap(), err == nil
}

// lastOf is the highest address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	ip, _ := netip.AddrFromSlice(b)
	return ip
}

// port compares with a port or a range. An unknown source port is some unprivileged one.
func (p *state) port(field string, port uint16, source bool) (comparison, bool) {
	proto, _, _ := strings.Cut(field, " ")
	switch {
	case p.Protocol == "":
		return constant(perhaps), false
	case proto != "th" && proto != string(p.Protocol):
		return constant(no), false
	}
	return func(v string) answer {
		lo, hi, ok := portRange(v)
		switch {
		case !ok, port == 0 && !source:
			return perhaps
		case port == 0:
			return min(known(hi >= 1024), max(perhaps, known(lo <= 1024 && hi == 65535)))
		}
		return known(lo <= int(port) && int(port) <= hi)
	}, true
}

func portRange(v string) (lo, hi int, ok bool) {
	first, last, isRange := strings.Cut(strings.ReplaceAll(v, ":", "-"), "-")
	lo, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || !isRange {
		return lo, lo, err == nil
	}
	hi, err = strconv.Atoi(strings.TrimSpace(last))
	return lo, hi, err == nil
}

// priorityConntrack is where connection tracking takes packets in prerouting and output: before it none has a state.
const priorityConntrack = -200

func (p *state) connection(v string) answer {
	early := p.hook == "ingress" || p.priority <= priorityConntrack && (p.hook == "prerouting" || p.hook == "output")
	if p.State == "" || early && p.State != "untracked" {
		return perhaps
	}
	states := strings.FieldsFunc(strings.ToLower(v), func(r rune) bool { return r == ',' || r == '|' || r == ' ' })
	return known(slices.Contains(states, p.State))
}

// mark compares with a mark, or with mark/mask.
func (p *state) mark(v string) answer {
	text, maskText, masked := strings.Cut(v, "/")
	value, err := strconv.ParseUint(strings.TrimSpace(text), 0, 32)
	mask := uint64(0xffffffff)
	var errMask error
	if masked {
		mask, errMask = strconv.ParseUint(strings.TrimSpace(maskText), 0, 32)
	}
	if err != nil || errMask != nil || p.markUnknown {
		return perhaps
	}
	return known(uint64(p.Mark)&mask == value)
}
