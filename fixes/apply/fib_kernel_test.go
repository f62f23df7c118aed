package apply_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"lvstui/lvs"
)

// hosts are configurations on which the model of the routing is held against the kernel's.
var hosts = map[string][]string{
	"bare":        {"up lo", "veth v0 p0"},
	"real server": {"up lo", "veth v0 p0", "addr 10.0.0.11/24 v0", "addr 172.16.0.8/32 lo", "route default via 10.0.0.1 dev v0"},
	"prefix on lo": {"up lo", "veth v0 p0", "addr 10.0.0.11/24 v0", "addr 172.16.0.8/24 lo", "addr 10.0.0.8/25 lo",
		"route default via 10.0.0.1 dev v0"},
	"two cards": {"up lo", "veth v0 p0", "veth v1 p1", "addr 10.0.0.11/24 v0", "addr 10.0.1.11/24 v1", "addr 172.16.0.8/32 lo",
		"route default via 10.0.1.1 dev v1", "route 192.0.2.0/25 via 10.0.0.2 dev v0"},
	"router": {"up lo", "veth v0 p0", "veth v1 p1", "addr 10.0.0.11/24 v0", "addr 10.0.1.11/24 v1", "sysctl net/ipv4/conf/all/forwarding 1",
		"route default via 10.0.1.1 dev v1", "route 172.16.0.0/24 dev v0"},
	"router without redirects": {"up lo", "veth v0 p0", "veth v1 p1", "addr 10.0.0.11/24 v0", "addr 10.0.1.11/24 v1", "sysctl net/ipv4/conf/all/forwarding 1",
		"sysctl net/ipv4/conf/all/send_redirects 0", "sysctl net/ipv4/conf/v0/send_redirects 0", "route default via 10.0.0.1 dev v0"},
	"no default": {"up lo", "veth v0 p0", "addr 10.0.0.11/24 v0", "addr 172.16.0.8/32 v0"},
	"secondaries": {"up lo", "veth v0 p0", "addr 10.0.0.11/24 v0", "addr 10.0.0.12/24 v0", "addr 10.0.0.200/25 v0", "addr 172.16.0.8/24 v0",
		"addr 172.16.1.9/24 v0 scope link", "route default via 10.0.0.1 dev v0", "route 198.51.100.0/24 dev v0 src 172.16.0.8"},
	"metrics": {"up lo", "veth v0 p0", "veth v1 p1", "addr 10.0.0.11/24 v0", "addr 10.0.1.11/24 v1", "route default via 10.0.0.1 dev v0 metric 200",
		"route default via 10.0.1.1 dev v1 metric 100", "route 192.0.2.0/24 via 10.0.0.9 dev v0 metric 5", "route 192.0.2.0/24 via 10.0.1.9 dev v1 metric 7"},
	"refusing routes": {"up lo", "veth v0 p0", "addr 10.0.0.11/24 v0", "route default via 10.0.0.1 dev v0", "route blackhole 192.0.2.0/25",
		"route unreachable 192.0.2.128/25", "route prohibit 198.51.100.0/24", "route throw 172.16.0.0/24"},
	"refusing router": {"up lo", "veth v0 p0", "addr 10.0.0.11/24 v0", "route default via 10.0.0.1 dev v0", "route blackhole 192.0.2.0/25",
		"route unreachable 192.0.2.128/25", "route prohibit 198.51.100.0/24", "route throw 172.16.0.0/24", "sysctl net/ipv4/conf/all/forwarding 1"},
	"source rules": {"up lo", "veth v0 p0", "veth v1 p1", "addr 10.0.0.11/24 v0", "addr 10.0.1.11/24 v1", "addr 172.16.0.8/32 lo",
		"route default via 10.0.0.1 dev v0", "route default via 10.0.1.1 dev v1 table 100", "rule 1000 from 172.16.0.8/32 table 100",
		"rule 1001 to 198.51.100.0/24 unreachable", "rule 1002 from 10.0.1.0/24 iif v1 prohibit"},
	"marks": {"up lo", "veth v0 p0", "veth v1 p1", "addr 10.0.0.11/24 v0", "addr 10.0.1.11/24 v1", "route default via 10.0.0.1 dev v0",
		"route local 0.0.0.0/0 dev lo table 100", "rule 500 mark 7 table 100"},
	"rule before local": {"up lo", "veth v0 p0", "addr 10.0.0.11/24 v0", "addr 172.16.0.0/24 lo", "route default via 10.0.0.1 dev v0", "rule 10 to 192.0.2.0/24 blackhole",
		"rule 11 not from 10.0.0.0/24 to 198.51.100.0/24 prohibit"},
	"any ip":               {"up lo", "veth v0 p0", "addr 10.0.0.11/24 v0", "route local 172.16.0.0/25 dev lo", "route default via 10.0.0.1 dev v0"},
	"card without address": {"up lo", "veth v0 p0", "veth v1 p1", "addr 10.0.0.11/24 v0", "addr 172.16.0.8/32 lo", "route default via 10.0.0.1 dev v0"},
	"unnumbered": {"up lo", "veth v0 p0", "addr 172.16.0.8/32 lo", "addr 10.0.0.77/32 lo scope host", "route 10.0.0.0/24 dev v0",
		"route default via 10.0.0.1 dev v0"},
	"vip twice": {"up lo", "veth v0 p0", "addr 10.0.0.11/24 v0", "addr 172.16.0.8/32 lo", "addr 172.16.0.8/24 v0", "route default via 10.0.0.1 dev v0"},
	"small nets": {"up lo", "veth v0 p0", "addr 10.0.0.10/31 v0", "addr 172.16.0.8/30 v0", "addr 192.0.2.1/25 v0 noprefixroute",
		"route default via 10.0.0.11 dev v0"},
	"lo down": {"veth v0 p0", "addr 10.0.0.11/24 v0", "addr 172.16.0.8/32 lo", "addr 172.16.1.8/24 lo", "route default via 10.0.0.1 dev v0"},
}

// tuning is the sysctls each of the hosts is looked at with, all others of theirs being 0. The last word of a line is the value.
var tuning = map[string][]string{
	"off":               nil,
	"strict":            {"all/rp_filter 1"},
	"loose":             {"all/rp_filter 1", "v0/rp_filter 2"},
	"local sources":     {"v0/accept_local 1"},
	"strict and local":  {"all/rp_filter 1", "all/accept_local 1"},
	"loopback on wires": {"all/route_localnet 1"},
}

var tuned = []string{"all/rp_filter", "v0/rp_filter", "v1/rp_filter", "all/accept_local", "v0/accept_local", "all/route_localnet"}

func TestLookupAgreesWithTheKernel(t *testing.T) {
	for name, lines := range hosts {
		t.Run(name, func(t *testing.T) {
			enter(t)
			build(t, lines...)
			h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			s := look(t)
			for tune, more := range tuning {
				for _, key := range tuned {
					tuneTo(t, s, key, "0")
				}
				for _, line := range more {
					key, value, _ := strings.Cut(line, " ")
					tuneTo(t, s, key, value)
				}
				compare(t, h, s, tune, name == "vip twice")
			}
		})
	}
}

// tuneTo sets a sysctl in the kernel and in the snapshot, where the interface exists.
func tuneTo(t *testing.T, s *lvs.Snapshot, key, value string) {
	t.Helper()
	path := "net/ipv4/conf/" + key
	if _, ok := s.Sysctls[path]; ok {
		build(t, "sysctl "+path+" "+value)
		s.Sysctls[path] = value
	}
}

// compare puts the same questions to the model and to the kernel. Of two like routes the kernel takes the one added first, which is not
// in a snapshot: there, and only there, may the model leave questions open.
func compare(t *testing.T, h *netlink.Handle, s *lvs.Snapshot, tune string, mayDoubt bool) {
	t.Helper()
	asked, unknown := 0, 0
	for _, q := range grid(s, tune == "off" || tune == "loopback on wires") {
		got, want := s.Lookup(q), kernelAnswer(t, h, s, q)
		asked++
		if got.Outcome == lvs.OutUnknown {
			unknown++
			continue
		}
		if d := differ(got, want); d != "" {
			t.Errorf("%s: get %s from %s iif %q mark %d: %s (kernel error %s)", tune, q.Dst, q.Src, q.Iif, q.Mark, d, want.Error)
		}
	}
	if asked == 0 || unknown > 0 && !mayDoubt || unknown > asked/4 {
		t.Errorf("%s: %d of %d questions were left open", tune, unknown, asked)
	}
}

// grid is every address to every other, in through each card and, when asked for, out.
func grid(s *lvs.Snapshot, out bool) []lvs.RouteQuery {
	marks := []uint32{0}
	for _, r := range s.PolicyRules {
		if r.Mask != 0 {
			marks = append(marks, r.Mark)
		}
	}
	var addrs []netip.Addr
	for _, a := range []string{"10.0.0.11", "10.0.0.130", "10.0.0.255", "10.0.1.1", "172.16.0.8", "172.16.0.100", "192.0.2.7", "192.0.2.200",
		"198.51.100.7", "203.0.113.5", "127.1.2.3"} {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	var qs []lvs.RouteQuery
	for _, dst := range addrs {
		for _, mark := range marks {
			if out {
				qs = append(qs, lvs.RouteQuery{Dst: dst, Mark: mark})
			}
			for _, src := range addrs {
				if out {
					qs = append(qs, lvs.RouteQuery{Dst: dst, Src: src, Mark: mark})
				}
				for _, l := range s.Links {
					if l.Name == "v0" || l.Name == "v1" {
						qs = append(qs, lvs.RouteQuery{Dst: dst, Src: src, Iif: l.Name, Mark: mark})
					}
				}
			}
		}
	}
	return qs
}

func differ(got, want lvs.RouteAnswer) string {
	if got.Outcome != want.Outcome {
		return fmt.Sprintf("model %s, kernel %s", got.Outcome, want.Outcome)
	}
	if got.Outcome != lvs.OutLocal && got.Outcome != lvs.OutUnicast {
		return ""
	}
	if got.Device != want.Device || got.Gateway != want.Gateway || got.Source != want.Source {
		return fmt.Sprintf("model dev %s via %s src %s, kernel dev %s via %s src %s", got.Device, got.Gateway, got.Source, want.Device, want.Gateway, want.Source)
	}
	return ""
}

// kernelAnswer asks RTM_GETROUTE.
func kernelAnswer(t *testing.T, h *netlink.Handle, s *lvs.Snapshot, q lvs.RouteQuery) lvs.RouteAnswer {
	t.Helper()
	a := lvs.RouteAnswer{RouteQuery: q}
	opt := &netlink.RouteGetOptions{Mark: q.Mark}
	if l, ok := s.Link(q.Iif); ok {
		opt.IifIndex = l.Index
	}
	if q.Src.IsValid() {
		opt.SrcAddr = q.Src.AsSlice()
	}
	routes, err := h.RouteGetWithOptions(q.Dst.AsSlice(), opt)
	var errno unix.Errno
	if errors.As(err, &errno) {
		a.Error = unix.ErrnoName(errno)
		switch errno {
		case unix.EHOSTUNREACH, unix.ENETUNREACH:
			a.Outcome = lvs.OutUnreachable
		case unix.EINVAL, unix.EXDEV, unix.EACCES:
			a.Outcome = lvs.OutRejected
		default:
			t.Fatalf("%+v: %v", q, err)
		}
		return a
	}
	if err != nil || len(routes) != 1 {
		t.Fatalf("%+v: %v, %d routes", q, err, len(routes))
	}
	switch r := routes[0]; r.Type {
	case unix.RTN_LOCAL:
		a.Outcome = lvs.OutLocal
	case unix.RTN_UNICAST:
		a.Outcome = lvs.OutUnicast
	default:
		a.Outcome = lvs.OutOther
	}
	a.Gateway, _ = netip.AddrFromSlice(routes[0].Gw.To4())
	a.Source, _ = netip.AddrFromSlice(routes[0].Src.To4())
	for _, l := range s.Links {
		if l.Index == routes[0].LinkIndex {
			a.Device = l.Name
		}
	}
	return a
}
