package collect

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"lvstui/lvs"
)

// Options of getsockopt (include/uapi/linux/netfilter_ipv4/ip_tables.h, and the same numbers for IPv6).
const (
	iptGetInfo    = 64 // IPT_SO_GET_INFO
	iptGetEntries = 65 // IPT_SO_GET_ENTRIES

	iptNameLen    = 32
	iptSizeInfo   = 84
	iptSizeHeader = 40 // struct ipt_get_entries before the entries, which are aligned to eight bytes
	iptMaxSize    = 32 << 20
)

// iptLayout is where things are in struct ipt_entry or ip6t_entry on a 64-bit kernel.
type iptLayout struct {
	family          string
	names           string // the file that lists the tables of this namespace
	module          string
	domain, level   int
	addr            int // length of an address
	ifaces          int // offset of iniface, outiface and their masks, 16 bytes each
	proto           int
	flags, inverted int
	flagGoto        byte
	target, next    int
	counters        int
	size            int
	kind            kind
}

var iptLayouts = []iptLayout{
	{family: "ip", names: "ip_tables_names", module: "ip_tables", domain: unix.AF_INET, level: unix.IPPROTO_IP, addr: 4, ifaces: 16,
		proto: 80, flags: 82, inverted: 83, flagGoto: 2, target: 88, next: 90, counters: 96, size: 112, kind: kindAddr},
	{family: "ip6", names: "ip6_tables_names", module: "ip6_tables", domain: unix.AF_INET6, level: unix.IPPROTO_IPV6, addr: 16, ifaces: 64,
		proto: 128, flags: 131, inverted: 132, flagGoto: 4, target: 140, next: 142, counters: 152, size: 168, kind: kindAddr6},
}

// Flags of an entry that turn a condition around.
const (
	iptInvIn, iptInvOut, iptInvTOS, iptInvSrc, iptInvDst, iptInvFrag, iptInvProto = 1, 2, 4, 8, 0x10, 0x20, 0x40
)

// readLegacy reads the tables of ip_tables and ip6_tables that this namespace has. It asks for those only: asking for
// another would make the kernel create it.
func (c *collector) readLegacy(nf *lvs.Netfilter) error {
	if text, err := c.proc.readNet("arp_tables_names"); err == nil && strings.TrimSpace(text) != "" {
		c.gap(lvs.SourceNetfilter, "legacy arptables has rules, which this program does not read; see them with: arptables-legacy-save")
	}
	for _, l := range iptLayouts {
		text, err := c.proc.readNet(l.names)
		if errors.Is(err, fs.ErrNotExist) {
			continue // not loaded: no rules
		}
		if err != nil {
			return err
		}
		for _, table := range strings.Fields(text) {
			info, entries, err := readIPTable(l, table)
			if err != nil {
				return fmt.Errorf("table %s of %s: %w", table, l.module, err)
			}
			if int(getU32(info[76:])) > c.opt.RuleLimit {
				return errStop
			}
			chains, err := parseIPTable(l, table, info, entries)
			if err != nil {
				return fmt.Errorf("table %s of %s: %w", table, l.module, err)
			}
			nf.Chains = append(nf.Chains, chains...)
		}
	}
	return nil
}

// readIPTable fetches struct ipt_getinfo and the entries of a table.
func readIPTable(l iptLayout, table string) (info, entries []byte, err error) {
	fd, err := unix.Socket(l.domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	defer unix.Close(fd)
	for range 3 { // the table may grow between the two calls
		info = make([]byte, iptSizeInfo)
		copy(info[:iptNameLen-1], table)
		if err := getsockopt(fd, l.level, iptGetInfo, info); err != nil {
			return nil, nil, err
		}
		size := getU32(info[80:])
		if size > iptMaxSize {
			return nil, nil, fmt.Errorf("%d bytes of rules are more than this program reads", size)
		}
		b := make([]byte, iptSizeHeader+int(size))
		copy(b[:iptNameLen-1], table)
		copy(b[iptNameLen:], u32(size))
		if err = getsockopt(fd, l.level, iptGetEntries, b); err == nil {
			return info, b[iptSizeHeader:], nil
		}
		if err != unix.EAGAIN {
			break
		}
	}
	return nil, nil, err
}

func getsockopt(fd, level, name int, b []byte) error {
	n := uint32(len(b))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name),
		uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(unsafe.Pointer(&n)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// iptHooks are the hooks in the order of their numbers, with the name of the built-in chain.
var iptHooks = []struct{ hook, chain string }{{"prerouting", "PREROUTING"}, {"input", "INPUT"}, {"forward", "FORWARD"},
	{"output", "OUTPUT"}, {"postrouting", "POSTROUTING"}}

// iptPriority is the priority of a table's chain at a hook (include/uapi/linux/netfilter_ipv4.h).
func iptPriority(table, hook string) int {
	switch table {
	case "raw":
		return -300
	case "mangle":
		return -150
	case "nat":
		if hook == "prerouting" || hook == "output" {
			return -100
		}
		return 100
	case "security":
		return 50
	}
	return 0
}

// parseIPTable walks the entries of a table. Chains are stretches of it: a built-in one begins at its hook's entry
// and ends with its policy, one of the user's begins behind an ERROR target that holds its name.
func parseIPTable(l iptLayout, table string, info, entries []byte) ([]lvs.Chain, error) {
	valid := getU32(info[32:])
	start, policy := map[int]int{}, map[int]int{} // offset of an entry: hook
	for h := range iptHooks {
		if valid&(1<<h) != 0 {
			start[int(getU32(info[36+4*h:]))] = h
			policy[int(getU32(info[56+4*h:]))] = h
		}
	}
	var chains []lvs.Chain
	var jumps []*iptJump
	heads := map[int]string{} // offset of a chain's first rule: its name
	for at := 0; at < len(entries); {
		e := entries[at:]
		if len(e) < l.size {
			return nil, errors.New("an entry is cut short")
		}
		target, next := int(getU16(e[l.target:])), int(getU16(e[l.next:]))
		if next < l.size+32 || next > len(e) || target < l.size || target+32 > next {
			return nil, errors.New("an entry does not fit")
		}
		e = e[:next]
		if h, ok := start[at]; ok {
			hook := iptHooks[h]
			typ := map[string]string{"nat": "nat"}[table]
			if typ == "" {
				typ = "filter"
			}
			heads[at] = hook.chain
			chains = append(chains, lvs.Chain{Backend: "legacy", Family: l.family, Table: table, Name: hook.chain, Type: typ, Hook: hook.hook,
				Priority: iptPriority(table, hook.hook), Policy: "accept", Rules: []lvs.FilterRule{}})
		}
		name := getString(e[target+2 : target+31])
		if name == "ERROR" {
			if at+next < len(entries) { // the very last is the end of the table
				heads[at+next] = getString(e[target+32:])
				chains = append(chains, lvs.Chain{Backend: "legacy", Family: l.family, Table: table, Name: getString(e[target+32:]), Rules: []lvs.FilterRule{}})
			}
			at += next
			continue
		}
		if len(chains) == 0 {
			return nil, errors.New("a rule outside of all chains")
		}
		chain := &chains[len(chains)-1]
		if _, ok := policy[at]; ok {
			if int32(getU32(e[target+32:])) == -1 {
				chain.Policy = "drop"
			}
		} else {
			rule, jump := l.rule(e, target, at)
			chain.Rules = append(chain.Rules, rule)
			if jump >= 0 {
				jumps = append(jumps, &iptJump{len(chains) - 1, len(chain.Rules) - 1, jump})
			}
		}
		at += next
	}
	for _, j := range jumps {
		r := &chains[j.chain].Rules[j.rule]
		if r.Target = heads[j.to]; r.Target == "" {
			r.Opaque = true
		}
		r.Text = strings.TrimSpace(r.Text + " " + map[string]string{"jump": "-j ", "goto": "-g "}[r.Verdict] + r.Target)
	}
	// The return that ends every chain of the user's says nothing.
	for i := range chains {
		if n := len(chains[i].Rules); chains[i].Hook == "" && n > 0 {
			if last := chains[i].Rules[n-1]; last.Verdict == "return" && len(last.Matches) == 0 {
				chains[i].Rules = chains[i].Rules[:n-1]
			}
		}
	}
	return chains, nil
}

// iptJump is a jump whose target's name is known only when the table has been walked.
type iptJump struct{ chain, rule, to int }

// rule translates an entry. jump is the offset that it jumps to, or -1.
func (l iptLayout) rule(e []byte, target, at int) (r lvs.FilterRule, jump int) {
	r.Counted, r.Packets, r.Bytes = true, getU64(e[l.counters:]), getU64(e[l.counters+8:])
	inverted := e[l.inverted]
	n := l.addr
	r.Matches = append(r.Matches, l.address("saddr", e[:n], e[2*n:3*n], inverted&iptInvSrc != 0)...)
	r.Matches = append(r.Matches, l.address("daddr", e[n:2*n], e[3*n:4*n], inverted&iptInvDst != 0)...)
	r.Matches = append(r.Matches, iptDevice("meta iifname", e[l.ifaces:], e[l.ifaces+32:], inverted&iptInvIn != 0)...)
	r.Matches = append(r.Matches, iptDevice("meta oifname", e[l.ifaces+16:], e[l.ifaces+48:], inverted&iptInvOut != 0)...)
	if p := getU16(e[l.proto:]); p != 0 {
		r.Matches = append(r.Matches, lvs.Match{Field: "meta l4proto", Negate: inverted&iptInvProto != 0, Values: []string{protocolText(byte(p))}})
	}
	if l.family == "ip" && e[l.flags]&1 != 0 { // IPT_F_FRAG
		r.Matches = append(r.Matches, lvs.Match{Field: "ip frag-off", Negate: inverted&iptInvFrag != 0})
	}
	var text []string
	for _, m := range r.Matches {
		text = append(text, matchText(m))
	}
	for b := e[l.size:target]; len(b) >= 32; {
		size := int(getU16(b))
		if size < 32 || size > len(b) {
			r.Opaque = true
			break
		}
		matches, words := xtMatch(getString(b[2:31]), uint32(b[31]), b[32:size])
		r.Matches = append(r.Matches, matches...)
		if words != "" {
			text = append(text, words)
		}
		b = b[size:]
	}
	var words string
	r.Verdict, r.Target, words, jump = l.verdict(e, target, at)
	if r.Verdict == "opaque" {
		r.Verdict, r.Opaque = "", true
	}
	if words != "" {
		text = append(text, words)
	}
	r.Text = strings.Join(text, " ")
	return r, jump
}

// verdict reads the target of an entry: a verdict of the kernel's own, a jump, or an extension.
func (l iptLayout) verdict(e []byte, target, at int) (verdict, to, text string, jump int) {
	t := e[target:]
	size := int(getU16(t))
	if size < 32 || size > len(t) {
		return "opaque", "", "", -1
	}
	name := getString(t[2:31])
	if name != "" {
		verdict, to, text = xtTarget(name, uint32(t[31]), t[32:size])
		return verdict, to, text, -1
	}
	code := int32(getU32(t[32:]))
	switch {
	case code == -1:
		return "drop", "", "-j DROP", -1
	case code == -2:
		return "accept", "", "-j ACCEPT", -1
	case code == -4:
		return "queue", "", "-j QUEUE", -1
	case code == -5:
		return "return", "", "-j RETURN", -1
	case code < 0:
		return "opaque", "", "", -1
	case int(code) == at+len(e):
		return "", "", "", -1 // on to the next rule: it only counts
	case e[l.flags]&l.flagGoto != 0:
		return "goto", "", "", int(code)
	}
	return "jump", "", "", int(code)
}

// address is the condition on an address under a mask.
func (l iptLayout) address(name string, addr, mask []byte, negate bool) []lvs.Match {
	if allZero(mask) && !negate {
		return nil
	}
	m := lvs.Match{Field: l.family + " " + name, Negate: negate}
	ip, _ := netip.AddrFromSlice(addr)
	if n, ok := maskLen(mask); ok {
		m.Values = []string{netip.PrefixFrom(ip, n).String()}
		if n == l.addr*8 {
			m.Values = []string{ip.String()}
		}
	}
	return []lvs.Match{m}
}

// iptDevice is the condition on an interface: its name is compared as far as the mask goes.
func iptDevice(field string, name, mask []byte, negate bool) []lvs.Match {
	name, mask = name[:unix.IFNAMSIZ], mask[:unix.IFNAMSIZ]
	n := slices.Index(mask, 0)
	if n < 0 {
		n = len(mask)
	}
	if n == 0 {
		return nil
	}
	value := getString(name)
	if len(value) >= n { // the closing zero byte was not compared: a name that begins so
		value = value[:n] + "*"
	}
	return []lvs.Match{{Field: field, Negate: negate, Values: []string{value}}}
}
