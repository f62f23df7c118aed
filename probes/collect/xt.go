package collect

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"lvstui/lvs"
)

// xtMatch decodes a match extension of xtables, which both legacy iptables and iptables-nft use. Of one that is not
// known here the condition has no values, so that it may or may not hold.
func xtMatch(name string, rev uint32, info []byte) (matches []lvs.Match, text string) {
	switch {
	case name == "comment":
		return nil, fmt.Sprintf("comment %q", getString(info))
	case name == "tcp" && len(info) >= 12:
		return texts(xtPorts("tcp", info, info[11], xtTCPFlags(info)))
	case name == "udp" && len(info) >= 9:
		return texts(xtPorts("udp", info, info[8], nil))
	case name == "multiport" && rev == 1 && len(info) >= 48:
		return texts(xtMultiport(info))
	case name == "state" && len(info) >= 4:
		return texts([]lvs.Match{{Field: "ct state", Values: stateNames(getU32(info))}})
	case name == "conntrack" && rev >= 1 && rev <= 3 && len(info) >= 154:
		return texts(xtConntrack(rev, info))
	case name == "mark" && rev == 1 && len(info) >= 9:
		return texts([]lvs.Match{{Field: "meta mark", Negate: info[8] != 0, Values: []string{markText(getU32(info), getU32(info[4:]))}}})
	case name == "mac" && len(info) >= 12:
		return texts([]lvs.Match{{Field: "ether saddr", Negate: getU32(info[8:]) != 0, Values: []string{net.HardwareAddr(info[:6]).String()}}})
	case (name == "icmp" || name == "icmp6") && len(info) >= 4:
		field := map[string]string{"icmp": "icmp type", "icmp6": "icmpv6 type"}[name]
		if info[0] == 255 && name == "icmp" {
			return nil, ""
		}
		return texts([]lvs.Match{{Field: field, Negate: info[3]&1 != 0, Values: []string{itoa(info[0])}}})
	case name == "addrtype" && rev == 1 && len(info) >= 8:
		return texts(xtAddrType(info))
	case name == "iprange" && rev == 1 && len(info) >= 65:
		return texts(xtRange(info))
	}
	return []lvs.Match{{Field: "xt " + name}}, "-m " + name
}

func texts(matches []lvs.Match) ([]lvs.Match, string) {
	var out []string
	for _, m := range matches {
		out = append(out, matchText(m))
	}
	return matches, strings.Join(out, " ")
}

// xtPorts reads the part that struct xt_tcp and xt_udp share: source and destination ports from and to, host order.
func xtPorts(protocol string, info []byte, invert byte, more []lvs.Match) []lvs.Match {
	var out []lvs.Match
	for i, name := range []string{" sport", " dport"} {
		from, to := getU16(info[4*i:]), getU16(info[4*i+2:])
		negate := invert&(1<<i) != 0
		if from != 0 || to != 0xffff || negate {
			out = append(out, lvs.Match{Field: protocol + name, Negate: negate, Values: []string{portsText(from, to)}})
		}
	}
	return append(out, more...)
}

func xtTCPFlags(info []byte) []lvs.Match {
	option, mask, want, invert := info[8], info[9], info[10], info[11]
	var out []lvs.Match
	if mask != 0 {
		out = append(out, lvs.Match{Field: "tcp flags", Negate: invert&4 != 0, Values: []string{flagNames(want) + " / " + flagNames(mask)}})
	}
	if option != 0 {
		out = append(out, lvs.Match{Field: "tcp option", Negate: invert&8 != 0, Values: []string{itoa(option)}})
	}
	return out
}

func portsText(from, to uint16) string {
	if from == to {
		return itoa(from)
	}
	return itoa(from) + "-" + itoa(to)
}

// xtMultiport reads struct xt_multiport_v1. Its protocol is that of the rule.
func xtMultiport(info []byte) []lvs.Match {
	m := lvs.Match{Field: map[byte]string{0: "th sport", 1: "th dport", 2: "th port"}[info[0]], Negate: info[47] != 0}
	for i := 0; i < int(min(info[1], 15)); i++ {
		from, to := getU16(info[2+2*i:]), uint16(0)
		if to = from; info[32+i] != 0 && i+1 < 15 { // a range: this one and the next
			to = getU16(info[2+2*(i+1):])
			i++
		}
		m.Values = append(m.Values, portsText(from, to))
	}
	return []lvs.Match{m}
}

// xtConntrack reads struct xt_conntrack_mtinfo1 to 3, of which only the state is understood.
func xtConntrack(rev uint32, info []byte) []lvs.Match {
	const byState = 1
	flags, inverted := getU16(info[146:]), getU16(info[148:])
	state := uint32(info[150])
	if rev > 1 {
		state = uint32(getU16(info[150:]))
	}
	var out []lvs.Match
	if flags&byState != 0 {
		names := stateNames(state &^ 0x40)
		if state&0x100 != 0 {
			names = append(names, "untracked")
		}
		m := lvs.Match{Field: "ct state", Negate: inverted&byState != 0, Values: names}
		if state&0xc0 != 0 { // SNAT, DNAT: alternatives that are no states of nft's
			m.Values = nil
		}
		out = append(out, m)
	}
	if flags&^byState != 0 {
		out = append(out, lvs.Match{Field: "xt conntrack"})
	}
	return out
}

func markText(mark, mask uint32) string {
	if mask == 0xffffffff {
		return fmt.Sprintf("%#x", mark)
	}
	return fmt.Sprintf("%#x/%#x", mark, mask)
}

// xtRange reads struct xt_iprange_mtinfo. Its family is that of the addresses: IPv4 uses the first four bytes.
func xtRange(info []byte) []lvs.Match {
	flags := info[64]
	var out []lvs.Match
	for i, name := range []string{"saddr", "daddr"} {
		if flags&(1<<i) == 0 {
			continue
		}
		from, to := info[32*i:32*i+16], info[32*i+16:32*i+32]
		k, family := kindAddr6, "ip6 "
		if allZero(from[4:]) && allZero(to[4:]) {
			k, family, from, to = kindAddr, "ip ", from[:4], to[:4]
		}
		out = append(out, lvs.Match{Field: family + name, Negate: flags&(0x10<<i) != 0, Values: []string{k.span(from, to, nil)}})
	}
	return out
}

// xtTarget decodes a target extension: a verdict, its target, and text. "opaque" means that it may do anything.
func xtTarget(name string, rev uint32, info []byte) (verdict, target, text string) {
	text = "-j " + name
	switch name {
	case "REJECT":
		return "reject", "", text
	case "MASQUERADE":
		return "masquerade", "", text
	case "NOTRACK":
		return "notrack", "", text
	case "CT":
		if len(info) >= 2 && getU16(info)&1 != 0 { // XT_CT_NOTRACK
			return "notrack", "", "-j CT --notrack"
		}
		return "", "", text
	case "NFQUEUE":
		return "queue", "", text
	case "DNAT", "SNAT", "REDIRECT":
		to := xtNATTarget(name, rev, info)
		return strings.ToLower(name), to, strings.TrimSpace(text + " " + to)
	case "MARK":
		if rev == 2 && len(info) >= 8 {
			mark := markText(getU32(info), getU32(info[4:]))
			return "mark", mark, text + " --set-xmark " + mark
		}
		return "mark", "", text
	case "TOS", "DSCP":
		return "tos", "", text
	case "LOG", "NFLOG", "ULOG", "TRACE", "TCPMSS", "CONNMARK", "CONNSECMARK", "SECMARK", "TTL", "HL", "CLASSIFY",
		"CHECKSUM", "AUDIT", "SET", "TEE", "RATEEST", "LED", "IDLETIMER", "ECN", "HMARK", "TCPOPTSTRIP":
		return "", "", text // the packet goes on
	}
	return "opaque", "", text
}

// xtNATTarget writes where a NAT target leads: struct nf_nat_ipv4_multi_range_compat for revision 0 of IPv4, struct
// nf_nat_range for the others.
func xtNATTarget(name string, rev uint32, info []byte) string {
	var ip netip.Addr
	var flags uint32
	var port uint16
	switch {
	case rev == 0 && len(info) >= 20 && len(info) < 40:
		flags, port = getU32(info[4:]), binary.BigEndian.Uint16(info[16:])
		ip, _ = netip.AddrFromSlice(info[8:12])
	case len(info) >= 40:
		flags, port = getU32(info), binary.BigEndian.Uint16(info[36:])
		ip, _ = netip.AddrFromSlice(info[4:20])
		if allZero(info[8:20]) {
			ip, _ = netip.AddrFromSlice(info[4:8])
		}
	default:
		return ""
	}
	out := ""
	if flags&unix.NF_NAT_RANGE_MAP_IPS != 0 && name != "REDIRECT" {
		out = ip.String()
	}
	if flags&unix.NF_NAT_RANGE_PROTO_SPECIFIED != 0 {
		out += ":" + strconv.Itoa(int(port))
	}
	return out
}

// xtAddrType reads struct xt_addrtype_info_v1: sets of route types for source and destination, one bit for each RTN_ number. One that
// asks of a single interface has no values: the answer depends on more than the address.
func xtAddrType(info []byte) []lvs.Match {
	const limited = 4 | 8
	types := []string{"unspec", "unicast", "local", "broadcast", "anycast", "multicast", "blackhole", "unreachable", "prohibit"}
	flags := getU32(info[4:])
	var out []lvs.Match
	for i, field := range []string{"fib saddr type", "fib daddr type"} {
		set := getU16(info[2*i:])
		if set == 0 {
			continue
		}
		m := lvs.Match{Field: field, Negate: flags&(1<<i) != 0}
		for bit, name := range types {
			if set&(1<<bit) != 0 && flags&limited == 0 {
				m.Values = append(m.Values, name)
			}
		}
		out = append(out, m)
	}
	return out
}
