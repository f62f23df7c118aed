//go:build guest

package kernel_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/moby/ipvs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"lvstui/lvs"
	"lvstui/probes/collect"
)

// asNobody names the file that a copy of this test binary, run as nobody, writes its Snapshot to.
const asNobody = "COLLECT_AS_NOBODY"

func TestMain(m *testing.M) {
	if os.Getenv(asNobody) != "" {
		s, err := collect.Collect(context.Background(), collect.Options{})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if err := json.NewEncoder(os.Stdout).Encode(s); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// namespace moves the test's thread into a new network namespace, which ends with the thread.
func namespace(t testing.TB) *ipvs.Handle {
	t.Helper()
	runtime.LockOSThread() // and never unlocked: the thread must not be used by others afterwards
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		t.Fatal(err)
	}
	h, err := ipvs.New("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.Flush() // where the thread is the process's first one, it and its namespace stay, and hold ip_vs
		h.Close()
	})
	return h
}

// wire makes a link of this name that is up and has the addresses.
func wire(t *testing.T, name string, addrs ...string) {
	t.Helper()
	v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name + "p"}
	if err := netlink.LinkAdd(v); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{name, name + "p"} {
		l, err := netlink.LinkByName(n)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkSetUp(l); err != nil {
			t.Fatal(err)
		}
		for _, a := range addrs {
			if n != name {
				continue
			}
			addr, err := netlink.ParseAddr(a)
			if err != nil {
				t.Fatal(err)
			}
			addr.Flags = unix.IFA_F_NODAD
			if err := netlink.AddrAdd(l, addr); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func look(t testing.TB, opt collect.Options) *lvs.Snapshot {
	t.Helper()
	s, err := collect.Collect(context.Background(), opt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func add(t testing.TB, h *ipvs.Handle, s *ipvs.Service, dests ...*ipvs.Destination) {
	t.Helper()
	if err := h.NewService(s); err != nil {
		t.Fatalf("service %+v: %v", s, err)
	}
	for _, d := range dests {
		if err := h.NewDestination(s, d); err != nil {
			t.Fatalf("destination %+v: %v", d, err)
		}
	}
}

const fullMask = 0xffffffff

// someServices are one of each kind, and what a Snapshot says of them.
func someServices(t *testing.T, h *ipvs.Handle) []lvs.Service {
	t.Helper()
	gate := uint32(ipvs.ConnFwdDirectRoute)
	add(t, h, &ipvs.Service{AddressFamily: unix.AF_INET, Protocol: unix.IPPROTO_TCP, Address: net.ParseIP("172.16.0.8"), Port: 80, SchedName: "rr", Netmask: fullMask},
		&ipvs.Destination{AddressFamily: unix.AF_INET, Address: net.ParseIP("192.168.10.11"), Port: 80, Weight: 1, ConnectionFlags: gate, UpperThreshold: 1000, LowerThreshold: 700},
		&ipvs.Destination{AddressFamily: unix.AF_INET, Address: net.ParseIP("192.168.10.12"), Port: 80, Weight: 0, ConnectionFlags: ipvs.ConnFwdTunnel})
	add(t, h, &ipvs.Service{AddressFamily: unix.AF_INET, Protocol: unix.IPPROTO_UDP, Address: net.ParseIP("172.16.0.8"), Port: 53, SchedName: "wrr", Netmask: fullMask, Flags: 4})
	mask24 := binary.NativeEndian.Uint32([]byte{255, 255, 255, 0}) // in network byte order
	add(t, h, &ipvs.Service{AddressFamily: unix.AF_INET, FWMark: 7, SchedName: "wrr", Flags: 1, Timeout: 300, Netmask: mask24},
		&ipvs.Destination{AddressFamily: unix.AF_INET, Address: net.ParseIP("192.168.10.11"), Port: 0, Weight: 70000, ConnectionFlags: gate})
	add(t, h, &ipvs.Service{AddressFamily: unix.AF_INET6, Protocol: unix.IPPROTO_TCP, Address: net.ParseIP("2001:db8::8"), Port: 443, SchedName: "sh", Netmask: 128},
		&ipvs.Destination{AddressFamily: unix.AF_INET6, Address: net.ParseIP("2001:db8:1::11"), Port: 443, Weight: 1, ConnectionFlags: gate})
	add(t, h, &ipvs.Service{AddressFamily: unix.AF_INET6, FWMark: 8, SchedName: "rr", Flags: 1, Timeout: 360, Netmask: 64},
		&ipvs.Destination{AddressFamily: unix.AF_INET6, Address: net.ParseIP("2001:db8:1::12"), Port: 0, Weight: 1, ConnectionFlags: ipvs.ConnFwdMasq})
	add(t, h, &ipvs.Service{AddressFamily: unix.AF_INET, Protocol: unix.IPPROTO_SCTP, Address: net.ParseIP("172.16.0.9"), Port: 3868, SchedName: "rr", Netmask: fullMask})

	ip := netip.MustParseAddr
	return []lvs.Service{
		{Protocol: lvs.UDP, Address: ip("172.16.0.8"), Port: 53, Scheduler: "wrr", OnePacket: true, Destinations: []lvs.Destination{}},
		{Protocol: lvs.TCP, Address: ip("172.16.0.8"), Port: 80, Scheduler: "rr", Destinations: []lvs.Destination{
			{Address: ip("192.168.10.11"), Port: 80, Forward: lvs.Gate, Weight: 1, UpperThreshold: 1000, LowerThreshold: 700},
			{Address: ip("192.168.10.12"), Port: 80, Forward: lvs.IPIP, Weight: 0}}},
		{Protocol: lvs.SCTP, Address: ip("172.16.0.9"), Port: 3868, Scheduler: "rr", Destinations: []lvs.Destination{}},
		{Protocol: lvs.TCP, Address: ip("2001:db8::8"), Port: 443, Scheduler: "sh", Destinations: []lvs.Destination{
			{Address: ip("2001:db8:1::11"), Port: 443, Forward: lvs.Gate, Weight: 1}}},
		{FWMark: 7, Scheduler: "wrr", Persistent: true, Timeout: 300, Netmask: "255.255.255.0", Destinations: []lvs.Destination{
			{Address: ip("192.168.10.11"), Forward: lvs.Gate, Weight: 70000}}},
		{FWMark: 8, IPv6: true, Scheduler: "rr", Persistent: true, Timeout: 360, Netmask: "64", Destinations: []lvs.Destination{
			{Address: ip("2001:db8:1::12"), Forward: lvs.Masq, Weight: 1}}},
	}
}

func TestServicesOverNetlink(t *testing.T) {
	h := namespace(t)
	wire(t, "eth0", "192.168.10.10/24", "2001:db8:1::10/64")
	want := someServices(t, h)
	if err := h.SetConfig(&ipvs.Config{TimeoutTCP: 901 * time.Second, TimeoutTCPFin: 121 * time.Second, TimeoutUDP: 301 * time.Second}); err != nil {
		t.Fatal(err)
	}
	run(t, "ipvsadm", "--start-daemon", "master", "--mcast-interface", "eth0", "--syncid", "33")
	defer run(t, "ipvsadm", "--stop-daemon", "master")

	s := look(t, collect.Options{})
	if !s.IPVS.Loaded || s.IPVS.Via != "netlink" || !strings.HasPrefix(s.IPVS.Version, "1.2.") {
		t.Errorf("loaded %v via %q version %q", s.IPVS.Loaded, s.IPVS.Via, s.IPVS.Version)
	}
	flags := cmpopts.IgnoreFields(lvs.Service{}, "Flags") // IP_VS_SVC_F_HASHED and the like are the kernel's own
	if diff := cmp.Diff(want, s.IPVS.Services, flags, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error("services differ:\n", diff)
	}
	if got, want := *s.IPVS.Timeouts, (lvs.Timeouts{TCP: 901, TCPFin: 121, UDP: 301}); got != want {
		t.Errorf("time-outs %+v, want %+v", got, want)
	}
	if got, want := s.IPVS.Daemons, []lvs.SyncDaemon{{State: "master", Interface: "eth0", SyncID: 33}}; !slices.Equal(got, want) {
		t.Errorf("daemons %+v, want %+v", got, want)
	}
	if c := s.IPVS.Connections; c == nil || c.Read != 0 || c.Truncated {
		t.Errorf("connections %+v, want an empty table", c)
	}
	if _, ok := s.Sysctl("net/ipv4/vs/expire_nodest_conn"); !ok {
		t.Error("no sysctl of ip_vs was read")
	}
	for _, rip := range []string{"192.168.10.11", "2001:db8:1::11"} {
		if i := slices.IndexFunc(s.Answers, func(a lvs.RouteAnswer) bool {
			return a.RouteQuery == lvs.RouteQuery{Dst: netip.MustParseAddr(rip)}
		}); i < 0 || s.Answers[i].Outcome != lvs.OutUnicast || s.Answers[i].Device != "eth0" {
			t.Errorf("the route to real server %s was not asked, or answered otherwise", rip)
		}
	}
	if i := slices.IndexFunc(s.Answers, func(a lvs.RouteAnswer) bool { return a.Iif == "eth0" && a.Mark == 7 }); i < 0 {
		t.Error("no route was asked with the mark of the fwmark service")
	}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := collect.Load(strings.NewReader(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, loaded, cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{})); diff != "" {
		t.Error("reading the written snapshot gave another:\n", diff)
	}
	for _, g := range s.Gaps {
		t.Log("gap:", g.Source, g.Reason)
	}
}

func TestServicesFromProcAsNobody(t *testing.T) {
	h := namespace(t)
	wire(t, "eth0", "192.168.10.10/24", "2001:db8:1::10/64")
	want := someServices(t, h)
	for i := range want { // what /proc does not tell
		want[i].Timeout = 0
		if want[i].FWMark != 0 {
			want[i].Netmask = ""
		}
		for j := range want[i].Destinations {
			want[i].Destinations[j].UpperThreshold, want[i].Destinations[j].LowerThreshold = 0, 0
		}
	}
	s := lookAsNobody(t)
	if s.UID != 65534 || len(s.Capabilities) != 0 {
		t.Fatalf("uid %d with %v", s.UID, s.Capabilities)
	}
	if s.IPVS == nil || !s.IPVS.Loaded || s.IPVS.Via != "proc" || s.IPVS.Timeouts != nil || s.IPVS.Daemons != nil {
		t.Fatalf("ipvs: %+v", s.IPVS)
	}
	flags := cmpopts.IgnoreFields(lvs.Service{}, "Flags")
	if diff := cmp.Diff(want, s.IPVS.Services, flags, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error("services differ:\n", diff)
	}
	if !slices.ContainsFunc(s.Gaps, func(g lvs.Gap) bool { return g.Source == lvs.SourceIPVS && g.Capability == "CAP_NET_ADMIN" }) {
		t.Errorf("no gap names the missing capability: %+v", s.Gaps)
	}
	if !s.Has(lvs.SourceLinks) || !s.Has(lvs.SourceAddresses) || !s.Has(lvs.SourceRoutes) || !s.Has(lvs.SourceAnswers) ||
		!s.Has(lvs.SourceNeighbours) || !s.Has(lvs.SourceSysctls) || !s.Has(lvs.SourceSockets) || !s.Has(lvs.SourceCounters) || !s.Has(lvs.SourceRules) {
		t.Errorf("an ordinary user cannot read %v", s.Missing(lvs.SourceLinks, lvs.SourceAddresses, lvs.SourceRoutes, lvs.SourceAnswers,
			lvs.SourceNeighbours, lvs.SourceSysctls, lvs.SourceSockets, lvs.SourceCounters, lvs.SourceRules))
	}
	for _, g := range s.Gaps {
		t.Log("gap:", g.Source, g.Reason)
	}
}

// lookAsNobody collects in this thread's namespace as nobody, in a copy of this test binary.
func lookAsNobody(t *testing.T) *lvs.Snapshot {
	t.Helper()
	binary, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/tmp", "collect")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/collect.test", binary, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(dir + "/collect.test")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), asNobody+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output() // started from this thread, so in its namespace
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	s, err := collect.Load(strings.NewReader(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConnections(t *testing.T) {
	h := namespace(t)
	wire(t, "eth0", "192.168.10.10/24", "172.16.0.8/32")
	lo, _ := netlink.LinkByName("lo")
	client, _ := netlink.ParseAddr("10.9.9.9/32")
	if err := netlink.AddrAdd(lo, client); err != nil {
		t.Fatal(err)
	}
	add(t, h, &ipvs.Service{AddressFamily: unix.AF_INET, Protocol: unix.IPPROTO_UDP, Address: net.ParseIP("172.16.0.8"), Port: 53, SchedName: "rr", Netmask: fullMask},
		&ipvs.Destination{AddressFamily: unix.AF_INET, Address: net.ParseIP("192.168.10.11"), Port: 53, Weight: 1, ConnectionFlags: ipvs.ConnFwdDirectRoute})
	// Connections of this host itself are scheduled on LOCAL_OUT.
	for i := range 20 {
		c, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.ParseIP("10.9.9.9"), Port: 20000 + i}, &net.UDPAddr{IP: net.ParseIP("172.16.0.8"), Port: 53})
		if err != nil {
			t.Fatal(err)
		}
		c.Write([]byte("x"))
		c.Close()
	}
	s := look(t, collect.Options{})
	c := s.IPVS.Connections
	if c == nil || c.Read != 20 || c.ByState["UDP"] != 20 || c.Truncated {
		t.Fatalf("connections %+v", c)
	}
	want := lvs.Connection{Protocol: lvs.UDP, Client: netip.MustParseAddrPort("10.9.9.9:20000"), Virtual: netip.MustParseAddrPort("172.16.0.8:53"),
		Destination: netip.MustParseAddrPort("192.168.10.11:53"), State: "UDP", Expires: c.Sample[0].Expires}
	if c.Sample[0] != want {
		t.Errorf("first connection %+v, want %+v", c.Sample[0], want)
	}
	// The kernel adds its counters up every two seconds.
	var counted uint64
	for end := time.Now().Add(8 * time.Second); counted != 20 && time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		counted = look(t, collect.Options{}).IPVS.Services[0].Destinations[0].Stats.Connections
	}
	if counted != 20 {
		t.Errorf("counted %d connections of the destination, want 20", counted)
	}
	s = look(t, collect.Options{ConnLimit: 7})
	if c := s.IPVS.Connections; c.Read != 7 || !c.Truncated {
		t.Errorf("bounded: %+v", c)
	}
	if !slices.ContainsFunc(s.Gaps, func(g lvs.Gap) bool { return strings.Contains(g.Reason, "read 7 of about 20") }) {
		t.Errorf("no gap tells of the rest: %+v", s.Gaps)
	}
}

func TestManyServices(t *testing.T) {
	h := namespace(t)
	const n = 1000
	manyServices(t, h, n)
	s := look(t, collect.Options{Deadline: time.Minute})
	if len(s.IPVS.Services) != n {
		t.Fatalf("read %d services", len(s.IPVS.Services))
	}
	for i, v := range s.IPVS.Services {
		if len(v.Destinations) != 1 || v.Address != netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)}) {
			t.Fatalf("service %d is %s with %d destinations", i, v.Name(), len(v.Destinations))
		}
	}
}

func manyServices(t testing.TB, h *ipvs.Handle, n int) {
	t.Helper()
	for i := range n {
		add(t, h, &ipvs.Service{AddressFamily: unix.AF_INET, Protocol: unix.IPPROTO_TCP, Address: net.IPv4(10, 96, byte(i>>8), byte(i)), Port: 80, SchedName: "rr", Netmask: fullMask},
			&ipvs.Destination{AddressFamily: unix.AF_INET, Address: net.IPv4(192, 168, 10, byte(11+i%200)), Port: 80, Weight: 1, ConnectionFlags: ipvs.ConnFwdDirectRoute})
	}
}

// BenchmarkTenThousandServices is about the budget of one second. Under TCG it takes some twenty times as long as
// on the machine's own kernel.
func BenchmarkTenThousandServices(b *testing.B) {
	h := namespace(b)
	manyServices(b, h, 10000)
	for b.Loop() {
		look(b, collect.Options{Deadline: time.Minute})
	}
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}
