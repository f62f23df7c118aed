package apply_test

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"lvstui/lvs"
	"lvstui/probes/collect"
)

// enter puts the test into a network namespace of its own, which ends with the test: its thread is never unlocked, so Go
// throws it away.
func enter(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("unshare a network namespace (root needed): %v", err)
	}
}

// look takes a snapshot of the namespace.
func look(t *testing.T, vips ...string) *lvs.Snapshot {
	t.Helper()
	opt := collect.Options{Host: "host", Root: t.TempDir()}
	for _, v := range vips {
		opt.VIPs = append(opt.VIPs, netip.MustParseAddr(v))
	}
	s, err := collect.Collect(context.Background(), opt)
	if err != nil {
		t.Fatal(err)
	}
	for _, src := range []lvs.Source{lvs.SourceLinks, lvs.SourceAddresses, lvs.SourceRoutes, lvs.SourceRules, lvs.SourceSysctls} {
		if !s.Has(src) {
			t.Fatalf("no %s in the snapshot: %+v", src, s.Gaps)
		}
	}
	return s
}

// build does what each line says, in a language much like iproute2's:
//
//	veth A B | up DEV | addr PREFIX DEV [scope S] [label L] [noprefixroute] | deladdr PREFIX DEV
//	route [TYPE] DST [via GW] [dev DEV] [src IP] [metric N] [table N]
//	rule PRIO [from P] [to P] [iif DEV] [mark M] (table N | unreachable | prohibit | blackhole)
//	sysctl PATH VALUE
func build(t *testing.T, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if err := do(strings.Fields(line)); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
}

func do(w []string) error {
	switch w[0] {
	case "veth":
		attrs := netlink.NewLinkAttrs()
		attrs.Name = w[1]
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: w[2]}); err != nil {
			return err
		}
		return firstError(do([]string{"up", w[1]}), do([]string{"up", w[2]}))
	case "up":
		l, err := netlink.LinkByName(w[1])
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(l)
	case "addr", "deladdr":
		return doAddr(w)
	case "route":
		return doRoute(w[1:])
	case "rule":
		return doRule(w[1:])
	case "sysctl":
		return os.WriteFile(filepath.Join("/proc/sys", w[1]), []byte(w[2]), 0)
	}
	panic("no such word: " + w[0])
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func doAddr(w []string) error {
	l, err := netlink.LinkByName(w[2])
	if err != nil {
		return err
	}
	a, err := netlink.ParseAddr(w[1])
	if err != nil {
		return err
	}
	for i := 3; i < len(w); i++ {
		switch w[i] {
		case "scope":
			a.Scope = map[string]int{"host": 254, "link": 253, "global": 0}[w[i+1]]
			i++
		case "label":
			a.Label = w[i+1]
			i++
		case "noprefixroute":
			a.Flags = unix.IFA_F_NOPREFIXROUTE
		}
	}
	if w[0] == "deladdr" {
		return netlink.AddrDel(l, a)
	}
	a.Broadcast = net.IPv4zero // else the library makes one up
	return netlink.AddrAdd(l, a)
}

var types = map[string]int{"local": unix.RTN_LOCAL, "blackhole": unix.RTN_BLACKHOLE, "unreachable": unix.RTN_UNREACHABLE,
	"prohibit": unix.RTN_PROHIBIT, "throw": unix.RTN_THROW}

func doRoute(w []string) error {
	r := &netlink.Route{}
	if typ, ok := types[w[0]]; ok {
		r.Type, w = typ, w[1:]
	}
	if w[0] == "default" {
		w[0] = "0.0.0.0/0"
	}
	_, dst, err := netParse(w[0])
	if err != nil {
		return err
	}
	r.Dst = dst
	for i := 1; i+1 < len(w); i += 2 {
		switch w[i] {
		case "via":
			r.Gw = netip.MustParseAddr(w[i+1]).AsSlice()
		case "dev":
			l, err := netlink.LinkByName(w[i+1])
			if err != nil {
				return err
			}
			r.LinkIndex = l.Attrs().Index
			if r.Gw == nil {
				r.Scope = netlink.SCOPE_LINK
			}
		case "src":
			r.Src = netip.MustParseAddr(w[i+1]).AsSlice()
		case "metric":
			r.Priority = number(w[i+1])
		case "table":
			r.Table = number(w[i+1])
		}
	}
	if r.Type == unix.RTN_LOCAL {
		r.Scope = netlink.SCOPE_HOST
		if r.Table == 0 {
			r.Table = unix.RT_TABLE_LOCAL
		}
	} else if r.Type != 0 {
		r.Scope = netlink.SCOPE_UNIVERSE
	}
	return netlink.RouteAdd(r)
}

func doRule(w []string) error {
	r := netlink.NewRule()
	r.Priority, r.Family = number(w[0]), unix.AF_INET
	for i := 1; i < len(w); i++ {
		switch w[i] {
		case "unreachable":
			r.Type = unix.FR_ACT_UNREACHABLE
			continue
		case "prohibit":
			r.Type = unix.FR_ACT_PROHIBIT
			continue
		case "blackhole":
			r.Type = unix.FR_ACT_BLACKHOLE
			continue
		case "from":
			_, r.Src, _ = netParse(w[i+1])
		case "to":
			_, r.Dst, _ = netParse(w[i+1])
		case "iif":
			r.IifName = w[i+1]
		case "mark":
			r.Mark = uint32(number(w[i+1]))
		case "table":
			r.Table = number(w[i+1])
		case "not":
			r.Invert = true
			continue
		}
		i++
	}
	return netlink.RuleAdd(r)
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

func netParse(s string) (net.IP, *net.IPNet, error) { return net.ParseCIDR(s) }
