package collect

import (
	"cmp"
	"net/netip"

	"golang.org/x/sys/unix"

	"lvstui/internal/arrange"
	"lvstui/lvs"
)

// Attributes and actions of struct fib_rule_hdr (include/uapi/linux/fib_rules.h).
const (
	sizeRuleHeader = 12
	ruleInvert     = 2 // FIB_RULE_INVERT

	fraDst, fraSrc, fraIif, fraPriority   = 1, 2, 3, 6
	fraFwmark, fraTunID, fraTable, fraOif = 10, 12, 15, 17
	fraFwmask, fraL3mdev, fraUIDRange     = 16, 19, 20
	fraSuppressGroup, fraSuppressPrefix   = 13, 14
	fraIPProto, fraSport, fraDport        = 22, 23, 24
	fraDSCP                               = 26
)

func (c *collector) readRules() {
	nl, err := dialNetlink(unix.NETLINK_ROUTE, c.deadline)
	if err != nil {
		c.gapError(lvs.SourceRules, "policy rules (netlink)", err)
		return
	}
	defer nl.Close()
	out := []lvs.PolicyRule{}
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		var some []lvs.PolicyRule
		err := again(func() error {
			some = nil
			header := make([]byte, sizeRuleHeader)
			header[0] = family
			return nl.dump(unix.RTM_GETRULE, header, func(m nlmsg) error {
				if r, ok := parseRule(m); ok {
					some = append(some, r)
				}
				return nil
			})
		})
		if err == unix.EOPNOTSUPP || err == unix.EAFNOSUPPORT {
			continue // a kernel without policy routing, or without IPv6, has no rules
		}
		if err != nil {
			c.gapError(lvs.SourceRules, "policy rules (ip rule show)", err)
			return
		}
		out = append(out, some...)
	}
	arrange.By(out, func(a, b lvs.PolicyRule) int {
		return cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.Priority, b.Priority))
	})
	c.s.PolicyRules = out
}

// parseRule reads an RTM_NEWRULE message: struct fib_rule_hdr and its attributes.
func parseRule(m nlmsg) (lvs.PolicyRule, bool) {
	if m.typ != unix.RTM_NEWRULE || len(m.data) < sizeRuleHeader {
		return lvs.PolicyRule{}, false
	}
	family, dstLen, srcLen, tos, table, action := m.data[0], int(m.data[1]), int(m.data[2]), m.data[3], int(m.data[4]), m.data[7]
	flags := getU32(m.data[8:])
	r := lvs.PolicyRule{Table: table, Invert: flags&ruleInvert != 0, Action: ruleAction(action), Family: 4, Other: tos != 0}
	if family == unix.AF_INET6 {
		r.Family = 6
	} else if family != unix.AF_INET {
		return lvs.PolicyRule{}, false
	}
	for typ, v := range attributes(m.data[sizeRuleHeader:]) {
		switch typ {
		case fraDst:
			r.To = prefix(v, dstLen)
		case fraSrc:
			r.From = prefix(v, srcLen)
		case fraIif:
			r.Iif = getString(v)
		case fraOif:
			r.Oif = getString(v)
		case fraPriority:
			r.Priority = int(getU32(v))
		case fraFwmark:
			r.Mark = getU32(v)
		case fraFwmask:
			r.Mask = getU32(v)
		case fraTable:
			r.Table = int(getU32(v))
		case fraL3mdev:
			r.Other = r.Other || len(v) > 0 && v[0] != 0
		case fraSuppressGroup, fraSuppressPrefix:
			r.Other = r.Other || getU32(v) != 0xffffffff // the kernel always tells them; all ones is none
		case fraTunID, fraUIDRange, fraIPProto, fraSport, fraDport, fraDSCP:
			r.Other = true
		}
	}
	if r.Mark == 0 && r.Mask == 0xffffffff {
		r.Mask = 0 // no condition at all; kernels differ in whether they say so
	}
	if r.Action != "table" {
		r.Table = 0
	}
	return r, true
}

// ruleAction names FR_ACT_*.
func ruleAction(action byte) string {
	switch action {
	case unix.FR_ACT_TO_TBL:
		return "table"
	case unix.FR_ACT_GOTO:
		return "goto"
	case unix.FR_ACT_NOP:
		return "nop"
	case unix.FR_ACT_BLACKHOLE:
		return "blackhole"
	case unix.FR_ACT_UNREACHABLE:
		return "unreachable"
	case unix.FR_ACT_PROHIBIT:
		return "prohibit"
	}
	return "other"
}

func prefix(b []byte, bits int) netip.Prefix {
	ip, ok := netip.AddrFromSlice(b)
	if !ok {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(ip, bits)
}
