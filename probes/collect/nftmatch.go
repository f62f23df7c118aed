package collect

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"lvstui/internal/arrange"
	"lvstui/lvs"
)

// payload names the header field at an offset. A load that covers neighbouring fields, as nft makes when a rule
// compares both, has several parts; one that covers the first bytes of an address is a prefix of it.
func (t *translator) payload(base, offset, length uint32) operand {
	whole := operand{field: fmt.Sprintf("@%d,%d,%d", base, offset*8, length*8), size: int(length)}
	fields := t.fields(base)
	var parts []operand
	at := offset
	for at < offset+length {
		i := slices.IndexFunc(fields, func(f field) bool { return f.offset == at })
		if i < 0 {
			return whole
		}
		f := fields[i]
		left := offset + length - at
		if left < f.size {
			if f.kind != kindAddr && f.kind != kindAddr6 || len(parts) > 0 {
				return whole
			}
			// The bytes that were not loaded do not count.
			return operand{field: f.name, kind: f.kind, size: int(length), mask: append(slices.Repeat([]byte{0xff}, int(left)), make([]byte, f.size-left)...)}
		}
		parts = append(parts, operand{field: f.name, kind: f.kind, size: int(f.size)})
		at += f.size
	}
	switch len(parts) {
	case 0:
		return whole
	case 1:
		return parts[0]
	}
	whole.parts = parts
	return whole
}

// field is a header field.
type field struct {
	name   string
	offset uint32
	size   uint32
	kind   kind
}

var (
	fieldsEther = []field{{"ether daddr", 0, 6, kindMAC}, {"ether saddr", 6, 6, kindMAC}, {"ether type", 12, 2, kindEther}}
	fieldsIP    = []field{{"ip ttl", 8, 1, kindNumber}, {"ip protocol", 9, 1, kindProtocol}, {"ip saddr", 12, 4, kindAddr}, {"ip daddr", 16, 4, kindAddr}}
	fieldsIP6   = []field{{"ip6 nexthdr", 6, 1, kindProtocol}, {"ip6 hoplimit", 7, 1, kindNumber}, {"ip6 saddr", 8, 16, kindAddr6}, {"ip6 daddr", 24, 16, kindAddr6}}
	fieldsARP   = []field{{"arp htype", 0, 2, kindHex}, {"arp ptype", 2, 2, kindEther}, {"arp hlen", 4, 1, kindNumber}, {"arp plen", 5, 1, kindNumber},
		{"arp operation", 6, 2, kindOperation}, {"arp saddr ether", 8, 6, kindMAC}, {"arp saddr ip", 14, 4, kindAddr},
		{"arp daddr ether", 18, 6, kindMAC}, {"arp daddr ip", 24, 4, kindAddr}}
)

func (t *translator) fields(base uint32) []field {
	switch base {
	case unix.NFT_PAYLOAD_LL_HEADER:
		return fieldsEther
	case unix.NFT_PAYLOAD_NETWORK_HEADER:
		switch t.network {
		case "ip":
			return fieldsIP
		case "ip6":
			return fieldsIP6
		case "arp":
			return fieldsARP
		}
	case unix.NFT_PAYLOAD_TRANSPORT_HEADER:
		name := t.transport
		switch name {
		case "icmp", "icmpv6":
			return []field{{name + " type", 0, 1, kindNumber}, {name + " code", 1, 1, kindNumber}}
		case "tcp", "udp", "sctp":
		default:
			name = "th"
		}
		ports := []field{{name + " sport", 0, 2, kindPort}, {name + " dport", 2, 2, kindPort}}
		if name == "tcp" {
			ports = append(ports, field{"tcp flags", 13, 1, kindFlags})
		}
		return ports
	}
	return nil
}

// compare is a comparison with a constant.
func (t *translator) compare(o operand, op uint32, data []byte) {
	if len(o.parts) > 0 && op == unix.NFT_CMP_EQ && len(data) >= o.size {
		for _, p := range o.parts {
			t.compare(p, op, data[:p.size])
			data = data[p.size:]
		}
		return
	}
	negate := op == unix.NFT_CMP_NEQ
	if op == unix.NFT_CMP_EQ || op == unix.NFT_CMP_NEQ {
		if op == unix.NFT_CMP_EQ {
			t.learn(o, data)
		}
		values, flip := t.equal(o, data)
		t.match(o, negate != flip, values)
		return
	}
	// <, <=, >, >=: the other end is the field's first or last value.
	low, high := make([]byte, len(data)), slices.Repeat([]byte{0xff}, len(data))
	switch op {
	case unix.NFT_CMP_LT:
		high = before(data)
		if allZero(data) {
			o.kind = kindHex
		}
	case unix.NFT_CMP_LTE:
		high = data
	case unix.NFT_CMP_GTE:
		low = data
	case unix.NFT_CMP_GT:
		low = after(data)
	}
	t.match(o, false, t.ranged(o, low, high))
	t.joinRange()
}

func after(b []byte) []byte {
	out := slices.Clone(b)
	for i := len(out) - 1; i >= 0; i-- {
		out[i]++
		if out[i] != 0 {
			break
		}
	}
	return out
}

// learn notes what an equality says about the headers that follow.
func (t *translator) learn(o operand, data []byte) {
	if o.mask != nil || len(data) == 0 {
		return
	}
	switch o.field {
	case "meta nfproto":
		t.network = map[byte]string{unix.NFPROTO_IPV4: "ip", unix.NFPROTO_IPV6: "ip6"}[data[0]]
	case "meta protocol", "ether type":
		t.network = map[uint16]string{unix.ETH_P_IP: "ip", unix.ETH_P_IPV6: "ip6", unix.ETH_P_ARP: "arp"}[getBE16(data)]
	case "meta l4proto", "ip protocol", "ip6 nexthdr":
		t.transport = protocolText(data[0])
	}
}

// equal writes the values for which an equality holds. flip says that it holds for all others instead: a comparison
// with zero under a mask of flags says that none of them is set. No values at all mean that they are not understood.
func (t *translator) equal(o operand, data []byte) (values []string, flip bool) {
	if o.xor != nil || o.field == "" || len(o.parts) > 0 {
		return nil, false
	}
	if o.mask == nil {
		if o.kind == kindState {
			return stateNames(getU32(data)), false
		}
		return []string{o.kind.write(data, t.device)}, false
	}
	switch o.kind {
	case kindState: // mask & state != 0 is what `ct state a,b` compiles to
		if allZero(data) {
			return stateNames(getU32(o.mask)), true
		}
	case kindAddr, kindAddr6:
		full := append(slices.Clone(data), make([]byte, max(0, o.kind.size()-len(data)))...)
		if n, ok := maskLen(o.mask); ok && len(o.mask) == o.kind.size() {
			return []string{fmt.Sprintf("%s/%d", o.kind.write(full, nil), n)}, false
		}
	case kindMark:
		return []string{fmt.Sprintf("%#x/%#x", getU32(data), getU32(o.mask))}, false
	case kindFlags:
		if len(data) > 0 && len(o.mask) > 0 {
			if data[0] == 0 {
				return strings.Split(flagNames(o.mask[0]), ","), true
			}
			return []string{flagNames(data[0]) + " / " + flagNames(o.mask[0])}, false
		}
	}
	return nil, false
}

// ranged writes a range, or nothing where the order of the bytes is not that of the numbers.
func (t *translator) ranged(o operand, from, to []byte) []string {
	switch o.kind {
	case kindAddr, kindAddr6, kindPort, kindNumber, kindProtocol:
		if o.mask == nil && o.xor == nil && len(o.parts) == 0 {
			return []string{o.kind.span(from, to, t.device)}
		}
	}
	return nil
}

// match adds a condition.
func (t *translator) match(o operand, negate bool, values []string) {
	if o.field == "" {
		o.field = "(computed)"
	}
	m := lvs.Match{Field: o.field, Negate: negate, Values: values}
	t.out.Matches = append(t.out.Matches, m)
	if s := matchText(m); s != "" {
		t.say("%s", s)
	}
}

// joinRange makes one condition of the two that nft compiles a range to: >= a, <= b.
func (t *translator) joinRange() {
	n := len(t.out.Matches)
	if n < 2 {
		return
	}
	a, b := t.out.Matches[n-2], t.out.Matches[n-1]
	if a.Field != b.Field || a.Negate || b.Negate || len(a.Values) != 1 || len(b.Values) != 1 || len(t.text) < 2 {
		return
	}
	low, last, ok1 := strings.Cut(a.Values[0], "-")
	first, high, ok2 := strings.Cut(b.Values[0], "-")
	if !ok1 || !ok2 || !slices.Contains([]string{"65535", "255", "255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}, last) ||
		!slices.Contains([]string{"0", "0.0.0.0", "::"}, first) {
		return
	}
	a.Values = []string{low + "-" + high}
	t.out.Matches = append(t.out.Matches[:n-2], a)
	t.text = append(t.text[:len(t.text)-2], matchText(a))
}

// matchText writes a condition as nft does.
func matchText(m lvs.Match) string {
	name := m.Field
	for _, short := range []string{"iifname", "oifname"} {
		if name == "meta "+short {
			name = short
		}
	}
	op := ""
	if m.Negate {
		op = "!= "
	}
	values := m.Values
	if strings.HasSuffix(name, "ifname") {
		values = slices.Clone(values)
		for i := range values {
			values[i] = `"` + values[i] + `"`
		}
	}
	switch {
	case m.Set != "":
		return name + " " + op + "@" + m.Set
	case len(values) == 0:
		return name + " " + op + "(?)"
	case m.Field == "ct state" || m.Field == "tcp flags":
		return name + " " + op + strings.Join(values, ",")
	case len(values) == 1:
		return name + " " + op + values[0]
	}
	return name + " " + op + "{ " + strings.Join(values, ", ") + " }"
}

// lookup is membership in a set, or the choice of a verdict or of data by a map.
func (t *translator) lookup(a map[uint16][]byte) {
	name := getString(a[unix.NFTA_LOOKUP_SET])
	set := t.set(name)
	keys := t.key(slot(a[unix.NFTA_LOOKUP_SREG]), set)
	negate := be32(a[unix.NFTA_LOOKUP_FLAGS])&unix.NFT_LOOKUP_F_INV != 0
	dreg := a[unix.NFTA_LOOKUP_DREG]
	if set == nil {
		t.unknownMatch("@" + name)
		t.out.Opaque = t.out.Opaque || dreg != nil
		return
	}
	if dreg != nil && be32(dreg) == unix.NFT_REG_VERDICT {
		t.choose(name, set, keys)
		return
	}
	if dreg != nil {
		t.other(dreg, "a value of map "+name)
	}
	o := operand{field: joinFields(keys)}
	if !set.anonymous && !set.isMap {
		m := lvs.Match{Field: o.field, Negate: negate, Set: name}
		t.out.Matches = append(t.out.Matches, m)
		t.say("%s", matchText(m))
		return
	}
	spans := set.spans()
	if len(keys) > 1 && len(spans) == 1 && !negate {
		for _, m := range t.partMatches(keys, spans[0]) {
			t.match(operand{field: m.Field}, false, m.Values)
		}
		return
	}
	var values []string
	for _, s := range spans {
		if s.catchall {
			values = nil
			break
		}
		values = append(values, strings.Join(s.parts(kindsOf(keys), t.device), " . "))
	}
	if set.truncated || slices.ContainsFunc(keys, func(k operand) bool { return k.mask != nil || k.field == "" }) {
		values = nil
	}
	t.match(o, negate, values)
}

// key finds the operands that make up a set's key: several for a concatenation, one register after the other.
func (t *translator) key(at uint32, set *nftSet) []operand {
	first := t.regs[at]
	if len(first.parts) > 0 {
		return first.parts
	}
	keys := []operand{first}
	if set == nil {
		return keys
	}
	end := at + uint32(set.keyLen+3)/4
	for at += first.slots(); at < end; {
		o := t.regs[at]
		keys = append(keys, o)
		at += o.slots()
	}
	return keys
}

func kindsOf(keys []operand) []kind {
	var out []kind
	for _, k := range keys {
		out = append(out, k.kind)
	}
	return out
}

func joinFields(keys []operand) string {
	var names []string
	for _, k := range keys {
		names = append(names, k.field)
	}
	return strings.Join(names, " . ")
}

// partMatches turns an element of a concatenation into one condition for each part.
func (t *translator) partMatches(keys []operand, s nftSpan) []lvs.Match {
	parts := s.parts(kindsOf(keys), t.device)
	if s.catchall {
		return []lvs.Match{{Field: "(any other)"}}
	}
	if len(parts) != len(keys) {
		return []lvs.Match{{Field: joinFields(keys)}}
	}
	var out []lvs.Match
	for i, k := range keys {
		m := lvs.Match{Field: k.field, Values: []string{parts[i]}}
		if k.mask != nil || k.field == "" {
			m.Values = nil
		}
		out = append(out, m)
	}
	return out
}

// choose turns a verdict map into one rule for each of its elements. Keys do not overlap, so their order is free;
// the element for all other keys comes last and holds when none of the others did, which is its place's meaning
// only if those all leave the chain: it stays a condition that may or may not hold.
func (t *translator) choose(name string, set *nftSet, keys []operand) {
	if set.truncated || t.branches != nil {
		t.out.Opaque = true
		t.say("%s vmap @%s", joinFields(keys), name)
		return
	}
	t.branches = []branch{}
	var texts []string
	spans := set.spans()
	arrange.By(spans, func(a, b nftSpan) int { return compareBool(a.catchall, b.catchall) })
	for _, s := range spans {
		t.branches = append(t.branches, branch{t.partMatches(keys, s), s.verdict})
		_, _, text := verdictOf(s.verdict)
		texts = append(texts, strings.Join(s.parts(kindsOf(keys), t.device), " . ")+" : "+text)
	}
	if set.anonymous {
		t.say("%s vmap { %s }", joinFields(keys), strings.Join(texts, ", "))
	} else {
		t.say("%s vmap @%s", joinFields(keys), name)
	}
	// A map without elements decides nothing.
	if len(t.branches) == 0 {
		t.branches = nil
	}
}
