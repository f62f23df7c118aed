//go:build guest

package apply_test

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"lvstui/fixes"
	"lvstui/fixes/apply"
	"lvstui/lvs"
)

// run runs a program in the namespace of this thread and returns what it says.
func run(t *testing.T, words ...string) string {
	t.Helper()
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v %s", strings.Join(words, " "), err, out)
	}
	return string(out)
}

// byApply does one step by an applier and returns the snapshot that was simulated and the one that was then taken.
func byApply(t *testing.T, a *apply.Applier, st fixes.Step) (want, got *lvs.Snapshot) {
	t.Helper()
	s := look(t, vip)
	want, err := st.Simulate(s)
	if err != nil {
		t.Fatalf("%s: %v", st.Command(), err)
	}
	if _, err := a.Apply(t.Context(), fixes.Plan{ID: "step", Host: "host", Steps: []fixes.Step{st}}, s, fixes.Terms{}, nil); err != nil {
		t.Fatalf("%s: %v", st.Command(), err)
	}
	return want, look(t, vip)
}

func lookAgain(t *testing.T) *apply.Applier {
	return &apply.Applier{Dir: t.TempDir(), Look: func(context.Context) (*lvs.Snapshot, error) { return look(t, vip), nil }}
}

// TestTheRulesOfTheKernel puts accept rules into chains of nft and of iptables-nft, holds the simulated rules against the kernel's, lets nft
// and iptables show theirs, and takes all back: both must then say what they said before.
func TestTheRulesOfTheKernel(t *testing.T) {
	enter(t)
	build(t, rs...)
	run(t, "nft", `table inet filter {
		set open { type inet_service; elements = { 22 }
		}
		chain more { ip saddr 10.0.0.0/8 log prefix "x" drop
		}
		chain input { type filter hook input priority filter; policy drop; iif lo accept; tcp dport @open counter accept; jump more
		}
	}
	table ip6 raw6 {
		chain out { type filter hook output priority 0; tcp sport 443 counter drop
		}
	}`)
	run(t, "iptables-nft", "-A", "INPUT", "-p", "tcp", "-m", "tcp", "--dport", "22", "-m", "comment", "--comment", "ssh", "-j", "ACCEPT")
	run(t, "iptables-nft", "-P", "INPUT", "DROP")
	run(t, "iptables-nft", "-A", "OUTPUT", "-o", "lo", "-j", "ACCEPT")
	dump := func() string {
		return run(t, "nft", "-s", "list", "ruleset") + run(t, "iptables-nft-save", "-t", "filter")
	}
	clean := func(s string) string { return regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(s, "") }
	before := clean(dump())
	a := lookAgain(t)
	web := fixes.AddAccept{Family: "inet", Table: "filter", Chain: "input", Protocol: lvs.TCP, Address: netip.MustParseAddr(vip), Port: 80}
	in := func(change func(*fixes.AddAccept)) fixes.AddAccept {
		st := web
		change(&st)
		return st
	}
	steps := []fixes.AddAccept{web,
		in(func(st *fixes.AddAccept) { st.Chain, st.Protocol, st.Port = "more", lvs.UDP, 53 }),
		in(func(st *fixes.AddAccept) { st.Address = netip.MustParseAddr("2001:db8::8") }),
		in(func(st *fixes.AddAccept) {
			st.Family, st.Table, st.Chain, st.Replies, st.Address = "ip6", "raw6", "out", true, netip.MustParseAddr("2001:db8::8")
		}),
		in(func(st *fixes.AddAccept) { st.Family, st.Chain, st.IPTables = "ip", "INPUT", true }),
		in(func(st *fixes.AddAccept) {
			st.Family, st.Chain, st.IPTables, st.Protocol, st.Replies, st.Port = "ip", "OUTPUT", true, lvs.UDP, true, 53
		}),
	}
	for _, st := range steps {
		want, got := byApply(t, a, st)
		same := []cmp.Option{cmpopts.IgnoreFields(lvs.FilterRule{}, "Handle", "Text", "Packets", "Bytes"), cmpopts.EquateEmpty()}
		if d := cmp.Diff(want.Netfilter, got.Netfilter, same...); d != "" {
			t.Fatalf("%s: simulated -, kernel +\n%s", st.Command(), d)
		}
	}
	shown := dump()
	for _, want := range []string{
		`ip daddr 172.16.0.8 tcp dport 80 counter accept comment "lvstui tcp 172.16.0.8:80"`,
		`ip daddr 172.16.0.8 udp dport 53 counter accept comment "lvstui udp 172.16.0.8:53"`,
		`ip6 daddr 2001:db8::8 tcp dport 80 counter accept comment "lvstui tcp [2001:db8::8]:80"`,
		`ip6 saddr 2001:db8::8 tcp sport 80 counter accept comment "lvstui replies tcp [2001:db8::8]:80"`,
		`-A INPUT -d 172.16.0.8/32 -p tcp -m tcp --dport 80 -m comment --comment "lvstui tcp 172.16.0.8:80" -j ACCEPT`,
		`-A OUTPUT -s 172.16.0.8/32 -p udp -m udp --sport 53 -m comment --comment "lvstui replies udp 172.16.0.8:53" -j ACCEPT`,
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("no %q in:\n%s", want, shown)
		}
	}
	for range steps {
		if _, err := a.Undo(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
	}
	if after := clean(dump()); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}

	// What is shown to be typed does the same.
	for _, st := range steps {
		run(t, "sh", "-c", st.Command())
		if !st.Done(look(t, vip)) {
			t.Errorf("not done by typing %s", st.Command())
		}
		run(t, "sh", "-c", fixes.DelAccept(st).Command())
	}
	if after := clean(dump()); after != before {
		t.Errorf("typed and taken back, before:\n%s\nafter:\n%s", before, after)
	}
}

// TestTimeoutsAndNeighbours holds the other steps on ip_vs and on the neighbour table against the kernel.
func TestTimeoutsAndNeighbours(t *testing.T) {
	enter(t)
	build(t, rs...)
	run(t, "ipvsadm", "--set", "1000", "60", "30")
	run(t, "ip", "neigh", "add", "192.168.10.1", "lladdr", "02:00:00:00:00:01", "dev", "v0", "nud", "permanent")
	run(t, "ip", "neigh", "add", "192.168.10.7", "lladdr", "02:00:00:00:00:07", "dev", "v0", "nud", "stale")
	run(t, "ip", "neigh", "add", "proxy", "192.168.10.1", "dev", "v0")
	dump := func() string {
		return run(t, "ipvsadm", "-L", "--timeout") + run(t, "ip", "neigh") + run(t, "ip", "neigh", "show", "proxy")
	}
	before := dump()
	a := lookAgain(t)
	router, other := netip.MustParseAddr("192.168.10.1"), netip.MustParseAddr("192.168.10.7")
	steps := []fixes.Step{
		fixes.SetTimeouts{TCP: 7500}, fixes.SetTimeouts{TCPFin: 61, UDP: 31},
		fixes.DelNeighbour{Device: "v0", Address: router},
		fixes.AddNeighbour{Device: "v0", Address: router, MAC: "02:00:00:00:00:02"},
		fixes.AddNeighbour{Device: "v0", Address: router, MAC: "02:00:00:00:00:03"},
		fixes.AddNeighbour{Device: "v0", Address: netip.MustParseAddr("2001:db8::1"), MAC: "02:00:00:00:00:03"},
	}
	for _, st := range steps {
		want, got := byApply(t, a, st)
		if d := cmp.Diff(want.IPVS.Timeouts, got.IPVS.Timeouts) + cmp.Diff(want.Neighbours, got.Neighbours, options...); d != "" {
			t.Fatalf("%s: simulated -, kernel +\n%s", st.Command(), d)
		}
	}
	for range steps {
		if _, err := a.Undo(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
	}
	if after := dump(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	// What was learnt is not put back.
	if _, got := byApply(t, a, fixes.DelNeighbour{Device: "v0", Address: other}); !(fixes.DelNeighbour{Device: "v0", Address: other}).Done(got) {
		t.Errorf("still there: %+v", got.Neighbours)
	}
	if c, err := a.Undo(t.Context(), ""); err != nil || c.State != fixes.Undone || len(c.UndoCommands) != 0 {
		t.Errorf("undo of what was learnt: %+v, %v", c, err)
	}
}

// TestIPv6RoutesAndRules holds the steps on routes and rules of IPv6 against the kernel.
func TestIPv6RoutesAndRules(t *testing.T) {
	enter(t)
	build(t, "up lo", "veth v0 p0", "sysctl net/ipv6/conf/v0/accept_dad 0", "sysctl net/ipv6/conf/v0/accept_ra 0")
	run(t, "ip", "addr", "add", "2001:db8::11/64", "dev", "v0", "nodad")
	run(t, "ip", "-6", "route", "add", "default", "via", "2001:db8::1")
	for ips := ""; strings.Count(ips, "fe80:") != 2 || strings.Contains(ips, "tentative"); { // their routes come with them
		time.Sleep(50 * time.Millisecond)
		ips = run(t, "ip", "-6", "addr", "show")
	}
	dump := func() string { return run(t, "ip", "-6", "route", "show", "table", "all") + run(t, "ip", "-6", "rule") }
	before := dump()
	a := lookAgain(t)
	to := func(dst, gateway string, change func(*fixes.AddRoute)) fixes.AddRoute {
		st := fixes.AddRoute{Table: lvs.TableMain, Dst: netip.MustParsePrefix(dst), Device: "v0"}
		if gateway != "" {
			st.Gateway = netip.MustParseAddr(gateway)
		}
		if change != nil {
			change(&st)
		}
		return st
	}
	vip6 := netip.MustParsePrefix("2001:db8:16::8/128")
	steps := []fixes.Step{
		fixes.ReplaceRoute(to("::/0", "2001:db8::2", nil)),
		to("2001:db8:5::/48", "", func(st *fixes.AddRoute) { st.Metric, st.Protocol = 7, "static" }),
		to("::/0", "fe80::1", func(st *fixes.AddRoute) { st.Table = 100 }),
		fixes.AddRule{Priority: 900, From: vip6, Table: 100},
		fixes.DelRoute(to("::/0", "2001:db8::2", nil)),
		fixes.AddRule{Priority: 901, To: netip.MustParsePrefix("2001:db8:7::/48"), Iif: "v0", Table: 100},
		fixes.DelRule{Priority: 900, From: vip6, Table: 100},
	}
	for _, st := range steps {
		want, got := byApply(t, a, st)
		if d := cmp.Diff(part(want), part(got), options...); d != "" {
			t.Fatalf("%s: simulated -, kernel +\n%s", st.Command(), d)
		}
	}
	for range steps {
		if _, err := a.Undo(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
	}
	if after := dump(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// TestAnnouncementsAreHeard lets the other end of the cable take the new MAC.
func TestAnnouncementsAreHeard(t *testing.T) {
	enter(t)
	build(t, append(rs, "addr 172.16.0.8/24 v0", "addr 172.16.0.1/24 p0", "sysctl net/ipv4/conf/p0/arp_accept 1", "sysctl net/ipv6/conf/v0/accept_dad 0",
		"sysctl net/ipv6/conf/p0/accept_dad 0")...)
	run(t, "ip", "addr", "add", "2001:db8::8/64", "dev", "v0", "nodad")
	run(t, "ip", "addr", "add", "2001:db8::1/64", "dev", "p0", "nodad")
	a := lookAgain(t)
	for _, ip := range []string{vip, "2001:db8::8"} {
		run(t, "ip", "neigh", "replace", ip, "lladdr", "02:00:00:00:00:99", "dev", "p0", "nud", "stale")
		time.Sleep(1200 * time.Millisecond) // the kernel takes no new MAC within a second (locktime)
		before := look(t, vip)
		st := fixes.Announce{Device: "v0", Address: netip.MustParseAddr(ip)}
		want, got := byApply(t, a, st)
		if d := differences(want, got) + differences(before, got); d != "" {
			t.Errorf("%s changed this host: %s", st.Command(), d)
		}
		l, _ := got.Link("v0")
		if out := run(t, "ip", "neigh", "show", ip, "dev", "p0"); !strings.Contains(out, l.MAC) {
			t.Errorf("after %s the neighbour has %q, want %s", st.Command(), out, l.MAC)
		}
		if c, err := a.Undo(t.Context(), ""); err != nil || c.State != fixes.Undone {
			t.Errorf("undo: %+v, %v", c, err)
		}
	}
}

// TestTheModule loads ip_vs and takes it back, each time in a process of its own: the library asks for the number of its family once.
func TestTheModule(t *testing.T) {
	part := os.Getenv("LVSTUI_TEST_MODULE")
	if part == "" {
		run(t, "rmmod", "ip_vs_rr", "ip_vs_wrr", "ip_vs_sh", "ip_vs")
		t.Cleanup(func() { run(t, "modprobe", "-a", "ip_vs_rr", "ip_vs_wrr", "ip_vs_sh") })
		for _, part := range []string{"unused", "used"} {
			t.Setenv("LVSTUI_TEST_MODULE", part)
			run(t, os.Args[0], "-test.run=^TestTheModule$")
		}
		return
	}
	enter(t)
	build(t, rs...)
	s := look(t, vip)
	if s.IPVS == nil || s.IPVS.Loaded {
		t.Fatalf("looking loaded ip_vs, or it is still there: %+v", s.IPVS)
	}
	a := lookAgain(t)
	want, got := byApply(t, a, fixes.LoadModule{Name: "ip_vs"})
	same := cmpopts.IgnoreFields(lvs.IPVS{}, "Version", "Connections")
	if d := cmp.Diff(want.IPVS, got.IPVS, append(options, same)...); d != "" {
		t.Errorf("simulated -, kernel +\n%s", d)
	}
	if part == "unused" {
		run(t, "modprobe", "ip_vs_wlc")
	} else {
		user := exec.Command("unshare", "-n", "sh", "-c", "ipvsadm -A -t 10.0.0.1:80 && echo && exec sleep 1000")
		out, err := user.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := user.Start(); err != nil {
			t.Fatal(err)
		}
		defer user.Process.Kill()
		_, _ = out.Read(make([]byte, 1))
	}
	if c, err := a.Undo(t.Context(), ""); err != nil || c.State != fixes.Undone || loaded() != (part == "used") {
		t.Errorf("undo of a module %s: %+v, %v, loaded %v", part, c, err, loaded())
	}
}

func loaded() bool {
	_, err := os.Stat("/sys/module/ip_vs")
	return err == nil
}
