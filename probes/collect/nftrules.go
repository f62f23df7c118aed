package collect

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"lvstui/lvs"
)

// translator turns the expressions of one rule into matches and a verdict. The kernel runs a rule as a small program
// on registers: load a field, mask it, compare it. The translator follows it with operands in place of values.
type translator struct {
	family string
	device func(uint32) string
	set    func(name string) *nftSet

	regs map[uint32]operand // by 4-byte register
	// What earlier matches of the rule have made sure of.
	network   string // "ip", "ip6", "arp"
	transport string // "tcp", "udp", "icmp", …

	out  lvs.FilterRule
	text []string
	// earlier are what the rule did before its last action, as rules of their own.
	earlier []lvs.FilterRule
	// branches are the elements of a verdict map: each becomes a rule of its own.
	branches []branch
}

type branch struct {
	matches []lvs.Match
	verdict *nftVerdict
}

// operand is what a register holds.
type operand struct {
	field string
	kind  kind
	size  int
	mask  []byte // nil: all bits
	xor   []byte
	data  []byte    // a constant
	parts []operand // several neighbouring fields loaded at once
}

func (o operand) slots() uint32 { return uint32(max(1, (o.size+3)/4)) }

// rule translates a rule, into several when it ends in a verdict map.
func (t *translator) rule(r nftRule) []lvs.FilterRule {
	t.regs = map[uint32]operand{}
	switch t.family {
	case "ip", "ip6", "arp":
		t.network = t.family
	}
	t.out.Handle, t.out.Comment = r.handle, r.comment
	for _, item := range attributes(r.expressions) {
		var name string
		var data []byte
		for typ, v := range attributes(item) {
			switch typ {
			case unix.NFTA_EXPR_NAME:
				name = getString(v)
			case unix.NFTA_EXPR_DATA:
				data = v
			}
		}
		t.expression(name, table(data))
	}
	if r.comment != "" {
		t.say("comment %q", r.comment)
	}
	t.out.Text = strings.Join(t.text, " ")
	rules := t.earlier
	for i := range rules {
		rules[i].Text = t.out.Text
	}
	if t.branches == nil {
		return append(rules, t.out)
	}
	if t.out.Verdict != "" {
		rules = append(rules, t.out)
	}
	for _, b := range t.branches {
		rule := t.out
		rule.Matches = append(slices.Clone(t.out.Matches), b.matches...)
		rule.Verdict, rule.Target, _ = verdictOf(b.verdict)
		rules = append(rules, rule)
	}
	return rules
}

// table indexes the attributes of an expression.
func table(data []byte) map[uint16][]byte {
	m := map[uint16][]byte{}
	for typ, v := range attributes(data) {
		m[typ] = v
	}
	return m
}

func (t *translator) say(format string, args ...any) {
	t.text = append(t.text, fmt.Sprintf(format, args...))
}

// slot is the 4-byte register behind a register number: 1 to 4 are 16 bytes long, 8 on are 4 bytes long.
func slot(b []byte) uint32 {
	n := be32(b)
	if n >= unix.NFT_REG32_00 {
		return n - unix.NFT_REG32_00
	}
	return (n - 1) * 4
}

func (t *translator) load(reg []byte, o operand) { t.regs[slot(reg)] = o }

// other loads something this program has no words for: a comparison with it may or may not hold.
func (t *translator) other(reg []byte, field string) { t.load(reg, operand{field: field, size: 4}) }

func (t *translator) expression(name string, a map[uint16][]byte) {
	switch name {
	case "payload":
		if a[unix.NFTA_PAYLOAD_SREG] != nil {
			if offset := be32(a[unix.NFTA_PAYLOAD_OFFSET]); be32(a[unix.NFTA_PAYLOAD_BASE]) == unix.NFT_PAYLOAD_NETWORK_HEADER && offset+be32(a[unix.NFTA_PAYLOAD_LEN]) == 2 {
				t.action("tos", "", "ip dscp set") // byte 1 of the header
				return
			}
			t.say("set a header field")
			return
		}
		t.load(a[unix.NFTA_PAYLOAD_DREG], t.payload(be32(a[unix.NFTA_PAYLOAD_BASE]), be32(a[unix.NFTA_PAYLOAD_OFFSET]), be32(a[unix.NFTA_PAYLOAD_LEN])))
	case "meta":
		t.meta(a)
	case "ct":
		t.conntrack(a)
	case "fib":
		field := "fib"
		k := kindHex
		if be32(a[unix.NFTA_FIB_RESULT]) == unix.NFT_FIB_RESULT_ADDRTYPE {
			k = kindAddrType
			field = "fib saddr type"
			if be32(a[unix.NFTA_FIB_FLAGS])&unix.NFTA_FIB_F_DADDR != 0 {
				field = "fib daddr type"
			}
		}
		t.load(a[unix.NFTA_FIB_DREG], operand{field: field, kind: k, size: 4})
	case "bitwise":
		t.bitwise(a)
	case "byteorder":
		o := t.regs[slot(a[unix.NFTA_BYTEORDER_SREG])]
		o.kind = kindHex // numbers of the host's order, turned to compare them as ranges
		t.load(a[unix.NFTA_BYTEORDER_DREG], o)
	case "cmp":
		data, _ := nftData(a[unix.NFTA_CMP_DATA])
		t.compare(t.regs[slot(a[unix.NFTA_CMP_SREG])], be32(a[unix.NFTA_CMP_OP]), data)
	case "range":
		from, _ := nftData(a[unix.NFTA_RANGE_FROM_DATA])
		to, _ := nftData(a[unix.NFTA_RANGE_TO_DATA])
		o := t.regs[slot(a[unix.NFTA_RANGE_SREG])]
		t.match(o, be32(a[unix.NFTA_RANGE_OP]) == unix.NFT_RANGE_NEQ, t.ranged(o, from, to))
	case "lookup":
		t.lookup(a)
	case "immediate":
		data, verdict := nftData(a[unix.NFTA_IMMEDIATE_DATA])
		if be32(a[unix.NFTA_IMMEDIATE_DREG]) == unix.NFT_REG_VERDICT {
			t.verdict(verdict)
			return
		}
		t.load(a[unix.NFTA_IMMEDIATE_DREG], operand{data: data, size: len(data)})
	case "match":
		t.out.XTables = true
		if getString(a[unix.NFTA_MATCH_NAME]) == "comment" { // where iptables-nft keeps it
			t.out.Comment = getString(a[unix.NFTA_MATCH_INFO])
		}
		t.xtables(xtMatch(getString(a[unix.NFTA_MATCH_NAME]), be32(a[unix.NFTA_MATCH_REV]), a[unix.NFTA_MATCH_INFO]))
	case "target":
		t.out.XTables = true
		t.action(xtTarget(getString(a[unix.NFTA_TARGET_NAME]), be32(a[unix.NFTA_TARGET_REV]), a[unix.NFTA_TARGET_INFO]))
	default:
		t.statement(name, a)
	}
}

// statement handles expressions that do something rather than look.
func (t *translator) statement(name string, a map[uint16][]byte) {
	switch name {
	case "counter":
		t.out.Bytes, t.out.Packets, t.out.Counted = be64(a[unix.NFTA_COUNTER_BYTES]), be64(a[unix.NFTA_COUNTER_PACKETS]), true
		t.say("counter packets %d bytes %d", t.out.Packets, t.out.Bytes)
	case "log":
		t.say("log prefix %q", getString(a[unix.NFTA_LOG_PREFIX]))
	case "limit":
		unit := map[uint64]string{1: "second", 60: "minute", 3600: "hour", 86400: "day", 604800: "week"}[be64(a[unix.NFTA_LIMIT_UNIT])]
		over := ""
		if be32(a[unix.NFTA_LIMIT_FLAGS])&1 != 0 {
			over = "over "
		}
		rate := fmt.Sprintf("%s%d/%s", over, be64(a[unix.NFTA_LIMIT_RATE]), unit)
		t.out.Matches = append(t.out.Matches, lvs.Match{Field: "limit rate", Values: []string{rate}})
		t.say("limit rate %s", rate)
	case "quota", "connlimit", "socket", "osf":
		t.unknownMatch(name)
		if dreg := a[2]; name == "socket" && dreg != nil { // NFTA_SOCKET_DREG
			t.other(dreg, "socket")
		}
	case "numgen", "hash", "rt", "exthdr", "xfrm", "tunnel", "inner":
		t.loadUnknown(name, a)
	case "reject":
		t.action("reject", "", "reject")
	case "notrack":
		t.action("notrack", "", "notrack")
	case "queue":
		t.action("queue", "", "queue num "+itoa(getBE16(a[unix.NFTA_QUEUE_NUM])))
	case "masq":
		t.action("masquerade", "", "masquerade")
	case "redir":
		port := t.constant(a[unix.NFTA_REDIR_REG_PROTO_MIN], kindPort)
		to := ""
		if port != "" {
			to = ":" + port
		}
		t.action("redirect", to, strings.TrimSuffix("redirect to "+to, " to "))
	case "nat":
		verdict := "snat"
		if be32(a[unix.NFTA_NAT_TYPE]) == unix.NFT_NAT_DNAT {
			verdict = "dnat"
		}
		k := kindAddr
		if be32(a[unix.NFTA_NAT_FAMILY]) == unix.NFPROTO_IPV6 {
			k = kindAddr6
		}
		to := t.constant(a[unix.NFTA_NAT_REG_ADDR_MIN], k)
		if port := t.constant(a[unix.NFTA_NAT_REG_PROTO_MIN], kindPort); port != "" {
			to += ":" + port
		}
		t.action(verdict, to, strings.TrimSpace(verdict+" to "+to))
	case "dynset":
		t.say("update @%s", getString(a[unix.NFTA_DYNSET_SET_NAME]))
		if a[unix.NFTA_DYNSET_EXPR] != nil || a[10] != nil { // 10: NFTA_DYNSET_EXPRESSIONS; a meter may say no
			t.unknownMatch("meter")
		}
	case "objref":
		t.say("object %s", getString(a[unix.NFTA_OBJREF_IMM_NAME]))
		if be32(a[unix.NFTA_OBJREF_IMM_TYPE]) != unix.NFT_OBJECT_COUNTER {
			t.unknownMatch("object")
		}
	case "flow_offload", "last", "dup":
		t.say("%s", name) // the packet goes on all the same
	default:
		t.out.Opaque = true // tproxy, synproxy, fwd, and what is not known here
		t.say("(%s)", name)
	}
}

// loadUnknown notes that a register holds something without words here.
func (t *translator) loadUnknown(name string, a map[uint16][]byte) {
	dreg := map[string]uint16{"numgen": unix.NFTA_NG_DREG, "hash": unix.NFTA_HASH_DREG, "rt": unix.NFTA_RT_DREG, "exthdr": unix.NFTA_EXTHDR_DREG}[name]
	if name == "exthdr" && a[unix.NFTA_EXTHDR_SREG] != nil {
		t.say("set a header option")
		return
	}
	if a[dreg] == nil || dreg == 0 {
		t.out.Opaque = true
		t.say("(%s)", name)
		return
	}
	t.other(a[dreg], name)
}

// unknownMatch adds a condition that may or may not hold.
func (t *translator) unknownMatch(name string) {
	t.out.Matches = append(t.out.Matches, lvs.Match{Field: name})
	t.say("(%s)", name)
}

// constant reads a register that an immediate was loaded to; "" when it holds none.
func (t *translator) constant(reg []byte, k kind) string {
	if reg == nil {
		return ""
	}
	o := t.regs[slot(reg)]
	if o.data == nil {
		return ""
	}
	return k.write(o.data, t.device)
}

// passing are the verdicts behind which a rule goes on.
var passing = map[string]bool{"mark": true, "tos": true, "notrack": true}

func (t *translator) action(verdict, target, text string) {
	if text != "" {
		t.say("%s", text)
	}
	switch {
	case verdict == "opaque":
		t.out.Opaque = true
	case verdict == "":
	case t.out.Verdict == "":
		t.out.Verdict, t.out.Target = verdict, target
	case passing[t.out.Verdict]:
		// A rule that marks and then accepts does two things, and a rule here has room for one: it becomes two.
		t.earlier = append(t.earlier, t.out)
		t.out.Verdict, t.out.Target = verdict, target
	}
}

func (t *translator) xtables(matches []lvs.Match, text string) {
	t.out.Matches = append(t.out.Matches, matches...)
	if text != "" {
		t.say("%s", text)
	}
}

func (t *translator) verdict(v *nftVerdict) {
	verdict, target, text := verdictOf(v)
	t.action(verdict, target, text)
}

// verdictOf names NF_* and NFT_* verdict codes.
func verdictOf(v *nftVerdict) (verdict, target, text string) {
	if v == nil {
		return "opaque", "", "(verdict)"
	}
	switch v.code {
	case 0:
		return "drop", "", "drop"
	case 1:
		return "accept", "", "accept"
	case unix.NFT_CONTINUE:
		return "", "", "continue"
	case unix.NFT_RETURN:
		return "return", "", "return"
	case unix.NFT_JUMP:
		return "jump", v.chain, "jump " + v.chain
	case unix.NFT_GOTO:
		return "goto", v.chain, "goto " + v.chain
	}
	if v.code&0xff == 3 {
		return "queue", "", "queue"
	}
	return "opaque", "", fmt.Sprintf("(verdict %d)", v.code)
}

func (t *translator) meta(a map[uint16][]byte) {
	key := be32(a[unix.NFTA_META_KEY])
	if sreg := a[unix.NFTA_META_SREG]; sreg != nil {
		if key == unix.NFT_META_MARK {
			mark := t.constant(sreg, kindMark)
			t.action("mark", mark, strings.TrimSpace("meta mark set "+mark))
			return
		}
		t.say("set meta %d", key)
		return
	}
	known := map[uint32]operand{
		unix.NFT_META_MARK: {field: "meta mark", kind: kindMark, size: 4}, unix.NFT_META_IIF: {field: "meta iifname", kind: kindIndex, size: 4},
		unix.NFT_META_OIF: {field: "meta oifname", kind: kindIndex, size: 4}, unix.NFT_META_IIFNAME: {field: "meta iifname", kind: kindName, size: 16},
		unix.NFT_META_OIFNAME: {field: "meta oifname", kind: kindName, size: 16}, unix.NFT_META_NFPROTO: {field: "meta nfproto", kind: kindFamily, size: 1},
		unix.NFT_META_L4PROTO: {field: "meta l4proto", kind: kindProtocol, size: 1}, unix.NFT_META_PROTOCOL: {field: "meta protocol", kind: kindEther, size: 2},
		unix.NFT_META_PKTTYPE: {field: "meta pkttype", kind: kindNumber, size: 1}, unix.NFT_META_BRI_IIFNAME: {field: "meta ibrname", kind: kindName, size: 16},
		unix.NFT_META_BRI_OIFNAME: {field: "meta obrname", kind: kindName, size: 16},
	}
	o, ok := known[key]
	if !ok {
		o = operand{field: fmt.Sprintf("meta key %d", key), size: 4}
	}
	t.load(a[unix.NFTA_META_DREG], o)
}

func (t *translator) conntrack(a map[uint16][]byte) {
	key := be32(a[unix.NFTA_CT_KEY])
	if a[unix.NFTA_CT_SREG] != nil {
		t.say("set ct key %d", key)
		return
	}
	o := operand{field: fmt.Sprintf("ct key %d", key), size: 4}
	switch key {
	case unix.NFT_CT_STATE:
		o = operand{field: "ct state", kind: kindState, size: 4}
	case unix.NFT_CT_MARK:
		o = operand{field: "ct mark", kind: kindMark, size: 4}
	case unix.NFT_CT_STATUS:
		o.field = "ct status"
	case unix.NFT_CT_DIRECTION:
		o = operand{field: "ct direction", kind: kindNumber, size: 1}
	}
	t.load(a[unix.NFTA_CT_DREG], o)
}

func (t *translator) bitwise(a map[uint16][]byte) {
	o := t.regs[slot(a[unix.NFTA_BITWISE_SREG])]
	mask, _ := nftData(a[unix.NFTA_BITWISE_MASK])
	xor, _ := nftData(a[unix.NFTA_BITWISE_XOR])
	if op := a[6]; op != nil && be32(op) != 0 || mask == nil || o.mask != nil || o.data != nil || o.parts != nil {
		// NFTA_BITWISE_OP: shifts, or two registers; or a second mask. The field stays, its value is lost.
		o.kind, o.mask, o.parts, o.data = kindHex, nil, nil, nil
		if o.field != "" {
			o.field += " (computed)"
		}
	} else {
		o.mask = mask
		if !allZero(xor) {
			o.xor = xor
		}
	}
	t.load(a[unix.NFTA_BITWISE_DREG], o)
}

func allZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }
