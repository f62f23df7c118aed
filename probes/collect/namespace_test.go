package collect

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"lvstui/lvs"
)

// asNobody tells a copy of this test binary to print a Snapshot instead of testing.
const asNobody = "COLLECT_AS_NOBODY"

func TestMain(m *testing.M) {
	home, _ = os.Readlink("/proc/self/ns/net")
	if os.Getenv(asNobody) == "" {
		os.Exit(m.Run())
	}
	s, err := Collect(context.Background(), Options{})
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// namespace moves the test's thread into a new network namespace with lo up. Both end with the test.
func namespace(t testing.TB) {
	t.Helper()
	runtime.LockOSThread() // and never unlocked: nobody else may get this thread
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("this test needs root, for a network namespace of its own: %v", err)
	}
	// Link-local addresses come when they are ready, which would be in the middle of a test.
	sysctl(t, "net/ipv6/conf/default/addr_gen_mode", "1")
	up(t, "lo")
}

// home is the namespace that the process was started in.
var home string

func up(t testing.TB, name string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(l); err != nil {
		t.Fatal(err)
	}
	return l
}

// wire adds a veth pair that is up.
func wire(t testing.TB, name string, addresses ...string) netlink.Link {
	t.Helper()
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, MTU: 1400}, PeerName: name + "p"}); err != nil {
		t.Fatal(err)
	}
	up(t, name+"p")
	l := up(t, name)
	for _, a := range addresses {
		give(t, l, a)
	}
	return l
}

func give(t testing.TB, l netlink.Link, address string) {
	t.Helper()
	a, err := netlink.ParseAddr(address)
	if err != nil {
		t.Fatal(err)
	}
	a.Flags = unix.IFA_F_NODAD
	if err := netlink.AddrAdd(l, a); err != nil {
		t.Fatal(address, err)
	}
}

func route(t testing.TB, r *netlink.Route) {
	t.Helper()
	if err := netlink.RouteAdd(r); err != nil {
		t.Fatalf("%v: %v", r, err)
	}
}

func sysctl(t testing.TB, path, value string) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/"+path, []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}

func look(t testing.TB, opt Options) *lvs.Snapshot {
	t.Helper()
	s, err := Collect(context.Background(), opt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func subnet(s string) *net.IPNet {
	_, n, err := net.ParseCIDR(s)
	if err != nil {
		panic(err)
	}
	return n
}

// realServer builds a real server as the article has it, on an interface whose name has a dot.
func realServer(t testing.TB) {
	t.Helper()
	namespace(t)
	eth := wire(t, "eth0.100", "192.168.10.11/24", "2001:db8:1::11/64")
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	give(t, lo, "172.16.0.8/32")
	give(t, lo, "2001:db8::8/128")
	route(t, &netlink.Route{Gw: net.ParseIP("192.168.10.1")})
	route(t, &netlink.Route{Gw: net.ParseIP("2001:db8:1::1")})
	sysctl(t, "net/ipv4/conf/eth0.100/arp_ignore", "1")
	sysctl(t, "net/ipv4/conf/all/arp_announce", "2")
	sysctl(t, "net/ipv4/conf/all/rp_filter", "0")
	sysctl(t, "net/ipv4/conf/eth0.100/rp_filter", "0")
	hw, _ := net.ParseMAC("02:00:00:00:00:01")
	if err := netlink.NeighAdd(&netlink.Neigh{LinkIndex: eth.Attrs().Index, State: netlink.NUD_PERMANENT, IP: net.ParseIP("192.168.10.1"), HardwareAddr: hw}); err != nil {
		t.Fatal(err)
	}
	settle(t)
}

func answer(s *lvs.Snapshot, q lvs.RouteQuery) lvs.RouteAnswer {
	i := slices.IndexFunc(s.Answers, func(a lvs.RouteAnswer) bool { return a.RouteQuery == q })
	if i < 0 {
		return lvs.RouteAnswer{}
	}
	return s.Answers[i]
}

func TestRealServer(t *testing.T) {
	realServer(t)
	s := look(t, Options{Host: "rs1"})

	if l, ok := s.Link("eth0.100"); !ok || !l.OnWire() || l.Kind != "veth" || l.MTU != 1400 || l.Parent != "eth0.100p" || len(l.MAC) != 17 {
		t.Errorf("link: %+v", l)
	}
	if l, ok := s.Link("lo"); !ok || !l.Loopback() || !l.Up || l.MAC != "" && l.MAC != "00:00:00:00:00:00" {
		t.Errorf("lo: %+v", l)
	}
	if got := s.AddressesOf(ip("172.16.0.8")); len(got) != 1 || got[0].Device != "lo" || got[0].Prefix != net4("172.16.0.8/32") || got[0].Scope != "global" {
		t.Errorf("the VIP: %+v", got)
	}
	if got := s.AddressesOf(ip("2001:db8:1::11")); len(got) != 1 || got[0].Prefix != net4("2001:db8:1::11/64") || got[0].Tentative {
		t.Errorf("the IPv6 address: %+v", got)
	}
	for path, want := range map[string]int{lvs.ConfPath("eth0.100", "arp_ignore"): 1, lvs.ConfPath("all", "arp_announce"): 2, lvs.ConfPath("lo", "arp_ignore"): 0, "net/ipv4/ip_forward": 0} {
		if got, ok := s.Sysctl(path); !ok || got != want {
			t.Errorf("%s is %d (%v), want %d", path, got, ok, want)
		}
	}
	def := slices.IndexFunc(s.Routes, func(r lvs.Route) bool { return r.Dst == net4("0.0.0.0/0") })
	if def < 0 || s.Routes[def].Gateway != ip("192.168.10.1") || s.Routes[def].Table != lvs.TableMain || s.Routes[def].Protocol != "boot" || s.Routes[def].Device != "eth0.100" {
		t.Errorf("no default route: %+v", s.Routes)
	}
	if !slices.ContainsFunc(s.Routes, func(r lvs.Route) bool {
		return r.Dst == net4("172.16.0.8/32") && r.Type == "local" && r.Table == lvs.TableLocal && r.Device == "lo"
	}) {
		t.Error("the VIP is not in the local table")
	}
	if slices.ContainsFunc(s.Routes, func(r lvs.Route) bool { return r.Dst.Addr() == ip("192.168.10.255") }) {
		t.Error("broadcast routes are not wanted")
	}
	if !slices.Contains(s.Neighbours, lvs.Neighbour{Address: ip("192.168.10.1"), Device: "eth0.100", MAC: "02:00:00:00:00:01", State: "permanent"}) {
		t.Errorf("neighbours %+v", s.Neighbours)
	}
	if len(s.PolicyRules) < 3 || s.PolicyRules[0].Priority != 0 || s.PolicyRules[0].Table != lvs.TableLocal || s.PolicyRules[0].Action != "table" {
		t.Errorf("policy rules %+v", s.PolicyRules)
	}
	if s.IPVS == nil {
		t.Error("a kernel without ip_vs was not told from one that could not be asked")
	}
	if want := []lvs.Client{{Address: assumedClient4, Origin: "assumed"}, {Address: assumedClient6, Origin: "assumed"}}; !slices.Equal(s.Clients, want) {
		t.Errorf("clients %+v", s.Clients)
	}
	for q, want := range map[lvs.RouteQuery]lvs.RouteAnswer{
		{Dst: ip("172.16.0.8"), Src: assumedClient4, Iif: "eth0.100"}:  {Outcome: lvs.OutLocal, Device: "lo", Table: lvs.TableLocal},
		{Dst: assumedClient4, Src: ip("172.16.0.8")}:                   {Outcome: lvs.OutUnicast, Device: "eth0.100", Gateway: ip("192.168.10.1"), Table: lvs.TableMain},
		{Dst: assumedClient4}:                                          {Outcome: lvs.OutUnicast, Device: "eth0.100", Gateway: ip("192.168.10.1"), Source: ip("192.168.10.11"), Table: lvs.TableMain},
		{Dst: ip("2001:db8::8"), Src: assumedClient6, Iif: "eth0.100"}: {Outcome: lvs.OutLocal, Device: "lo", Table: lvs.TableLocal},
		{Dst: ip("192.168.10.1")}:                                      {Outcome: lvs.OutUnicast, Device: "eth0.100", Source: ip("192.168.10.11"), Table: lvs.TableMain},
	} {
		want.RouteQuery = q
		got := answer(s, q)
		if got.Outcome == lvs.OutLocal && got.Table == lvs.TableMain {
			got.Table = lvs.TableLocal // without policy rules the kernel keeps both tables in one
		}
		if got != want {
			t.Errorf("%+v:\ngot  %+v\nwant %+v", q, got, want)
		}
	}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := Load(strings.NewReader(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, loaded, same); diff != "" {
		t.Error("reading the written snapshot gave another:\n", diff)
	}
	for _, g := range s.Gaps {
		t.Log("gap:", g.Source, g.Reason)
	}
}

func TestOutcomes(t *testing.T) {
	realServer(t)
	wire(t, "eth1", "10.7.0.2/24")
	sysctl(t, "net/ipv4/conf/eth1/rp_filter", "1")
	route(t, &netlink.Route{Dst: subnet("203.0.113.0/24"), Type: unix.RTN_PROHIBIT})
	route(t, &netlink.Route{Dst: subnet("203.0.114.0/24"), Type: unix.RTN_UNREACHABLE})
	s := look(t, Options{VIPs: []netip.Addr{ip("172.16.0.99")}, Clients: []netip.Addr{ip("203.0.113.5"), ip("203.0.114.5"), ip("188.88.88.10")}, Marks: []uint32{7}})
	for q, want := range map[lvs.RouteQuery]lvs.Outcome{
		{Dst: ip("172.16.0.8"), Src: ip("188.88.88.10"), Iif: "eth0.100"}:      lvs.OutLocal,
		{Dst: ip("172.16.0.8"), Src: ip("188.88.88.10"), Iif: "eth1"}:          lvs.OutRejected, // strict rp_filter: the way back is eth0.100
		{Dst: ip("172.16.0.8"), Src: ip("188.88.88.10"), Iif: "eth1", Mark: 7}: lvs.OutRejected,
		{Dst: ip("203.0.113.5")}: lvs.OutRejected,    // prohibit
		{Dst: ip("203.0.114.5")}: lvs.OutUnreachable, // unreachable
	} {
		if got := answer(s, q); got.Outcome != want {
			t.Errorf("%+v: %q (%s), want %q", q, got.Outcome, got.Error, want)
		}
	}
	// A source that is not this host's: refused, with an errno that differs between kernels.
	if got := answer(s, lvs.RouteQuery{Dst: ip("188.88.88.10"), Src: ip("172.16.0.99")}); got.Outcome != lvs.OutRejected && got.Outcome != lvs.OutUnreachable {
		t.Errorf("from a foreign source: %+v", got)
	}
	if !slices.Contains(s.Clients, lvs.Client{Address: ip("188.88.88.10"), Origin: "operator"}) {
		t.Errorf("clients %+v", s.Clients)
	}
}

func TestPolicyRulesAndLocalRoutes(t *testing.T) {
	realServer(t)
	lo, _ := netlink.LinkByName("lo")
	route(t, &netlink.Route{LinkIndex: lo.Attrs().Index, Dst: subnet("10.96.0.0/24"), Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL, Protocol: unix.RTPROT_BOOT, Scope: netlink.SCOPE_HOST})
	r := netlink.NewRule()
	r.Priority, r.Src, r.Table, r.Mark, r.IifName = 100, subnet("172.16.0.8/32"), 7, 5, "eth0.100"
	if err := netlink.RuleAdd(r); err != nil {
		t.Fatal(err)
	}
	s := look(t, Options{})
	want := lvs.PolicyRule{Priority: 100, From: net4("172.16.0.8/32"), Iif: "eth0.100", Mark: 5, Mask: 0xffffffff, Table: 7, Action: "table", Family: 4}
	if !slices.Contains(s.PolicyRules, want) {
		t.Errorf("policy rules %+v", s.PolicyRules)
	}
	// AnyIP: a prefix that is local by a route, as keepalived and kube-router set-ups have it.
	if got := answer(s, lvs.RouteQuery{Dst: ip("10.96.0.1")}); got.Outcome != lvs.OutLocal {
		t.Errorf("the local prefix was not asked for: %+v", s.Answers)
	}
}

func TestSocketsAndClients(t *testing.T) {
	realServer(t)
	l, err := net.Listen("tcp", "172.16.0.8:80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	both, err := net.Listen("tcp", "[::]:8080")
	if err != nil {
		t.Fatal(err)
	}
	defer both.Close()
	u, err := net.ListenPacket("udp", "172.16.0.8:53")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	only := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		c.Control(func(fd uintptr) {
			if err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err == nil {
				err = unix.BindToDevice(int(fd), "eth0.100")
			}
		})
		return err
	}}
	six, err := only.Listen(context.Background(), "tcp6", "[::]:9090")
	if err != nil {
		t.Fatal(err)
	}
	defer six.Close()
	// A client in a namespace of its own, across eth0.100's other end, whose connection is accepted.
	client := connect(t, "eth0.100p", "188.88.88.10/32", "172.16.0.8:80")
	defer client()

	s := look(t, Options{})
	type key struct {
		protocol lvs.Protocol
		address  string
		port     uint16
	}
	got := map[key]lvs.Socket{}
	for _, x := range s.Sockets {
		got[key{x.Protocol, x.Address.String(), x.Port}] = x
	}
	if x, ok := got[key{lvs.TCP, "172.16.0.8", 80}]; !ok || x.Backlog == 0 {
		t.Errorf("the web server: %+v", s.Sockets)
	}
	if x, ok := got[key{lvs.TCP, "::", 8080}]; !ok || x.V6Only {
		t.Errorf("the dual-stack server: %+v", s.Sockets)
	}
	if x, ok := got[key{lvs.TCP, "::", 9090}]; !ok || !x.V6Only || x.Device != "eth0.100" {
		t.Errorf("the IPv6-only server bound to a device: %+v", s.Sockets)
	}
	if _, ok := got[key{lvs.UDP, "172.16.0.8", 53}]; !ok {
		t.Errorf("the UDP server: %+v", s.Sockets)
	}
	if len(got) != 4 {
		t.Errorf("%d sockets: %+v", len(got), s.Sockets)
	}
	if want := (lvs.Client{Address: ip("188.88.88.10"), Virtual: ip("172.16.0.8"), Origin: "socket"}); !slices.Contains(s.Clients, want) {
		t.Errorf("clients %+v, want %+v", s.Clients, want)
	}
	named, err := (&collector{deadline: time.Now().Add(time.Minute), proc: procfs{"/proc"}, modules: modules{none: true}}).listeners(lvs.TCP)
	if err != nil {
		t.Fatal(err)
	}
	(&collector{proc: procfs{"/proc"}}).nameProcesses(named, time.Minute)
	for _, x := range named {
		if x.Process != "collect.test" {
			t.Errorf("the process behind %+v was not found", x)
		}
	}
	// What /proc tells is the same but for what it lacks.
	c := &collector{opt: Options{}.withDefaults(), deadline: time.Now().Add(time.Minute), proc: procfs{"/proc"},
		modules: modules{loaded: map[string]bool{}}, s: &lvs.Snapshot{Addresses: s.Addresses}}
	c.readSockets()
	var want []lvs.Socket
	for _, x := range s.Sockets {
		x.V6Only, x.Device, x.Backlog, x.Process = false, "", 0, ""
		want = append(want, x)
	}
	for i := range c.s.Sockets {
		c.s.Sockets[i].Process = "" // found only when that is quick
	}
	if diff := cmp.Diff(want, c.s.Sockets, same); diff != "" || len(c.s.Gaps) == 0 {
		t.Errorf("from /proc, with gaps %+v: %s", c.s.Gaps, diff)
	}
	c.vips = []netip.Addr{ip("172.16.0.8")}
	c.socketClients()
	if len(c.clients) != 1 || c.clients[0].Address != ip("188.88.88.10") {
		t.Errorf("clients from /proc: %+v", c.clients)
	}
}

// connect moves an interface into a namespace of its own, and connects from there. The result ends the connection.
func connect(t *testing.T, device, from, to string) (end func()) {
	t.Helper()
	l, err := netlink.LinkByName(device)
	if err != nil {
		t.Fatal(err)
	}
	// The way back to the client, whose address is in no subnet of ours.
	rs, _ := netlink.LinkByName("eth0.100")
	route(t, &netlink.Route{LinkIndex: rs.Attrs().Index, Dst: subnet(from), Scope: netlink.SCOPE_LINK})
	type result struct {
		conn net.Conn
		err  error
	}
	there, moved, done := make(chan int), make(chan struct{}), make(chan result)
	go func() {
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- result{nil, err}
			return
		}
		there <- unix.Gettid()
		<-moved
		up(t, "lo")
		l := up(t, device)
		give(t, l, from)
		route(t, &netlink.Route{LinkIndex: l.Attrs().Index, Dst: subnet("172.16.0.0/24"), Scope: netlink.SCOPE_LINK})
		// arp_ignore keeps the real server from answering for its VIP: the client takes the director's place.
		if err := netlink.NeighAdd(&netlink.Neigh{LinkIndex: l.Attrs().Index, State: netlink.NUD_PERMANENT, IP: net.ParseIP("172.16.0.8"), HardwareAddr: rs.Attrs().HardwareAddr}); err != nil {
			done <- result{nil, err}
			return
		}
		conn, err := net.DialTimeout("tcp", to, 5*time.Second)
		done <- result{conn, err}
	}()
	tid := <-there
	ns, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", tid))
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if err := netlink.LinkSetNsFd(l, int(ns.Fd())); err != nil {
		t.Fatal(err)
	}
	close(moved)
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	return func() { r.conn.Close() }
}

// settle waits until the kernel has done what it does on its own behind a change: carrier, IPv6's local routes.
func settle(t testing.TB) {
	t.Helper()
	last, since := "", time.Now()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		now := network(t)
		if now != last || !strings.Contains(now, "2001:db8::8") || strings.Contains(now, `"OperState":3`) {
			last, since = now, time.Now()
		}
		if time.Since(since) > 300*time.Millisecond {
			return
		}
	}
	t.Fatal("the namespace did not come to rest: ", last)
}

// network is the state of the thread's namespace, as netlink tells it.
func network(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	for _, f := range []func() (any, error){
		func() (any, error) {
			all, err := netlink.LinkList()
			for _, l := range all {
				l.Attrs().Statistics = nil
			}
			return all, err
		},
		func() (any, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) },
		func() (any, error) {
			return netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		},
		func() (any, error) { return netlink.RuleList(netlink.FAMILY_ALL) },
		func() (any, error) {
			all, err := netlink.NeighList(0, netlink.FAMILY_ALL)
			// Multicast entries come and go with the group reports that IPv6 sends on its own.
			all = slices.DeleteFunc(all, func(n netlink.Neigh) bool { return n.State == netlink.NUD_NOARP })
			for i := range all {
				all[i].Confirmed, all[i].Used, all[i].Updated = 0, 0, 0
			}
			return all, err
		},
	} {
		v, err := f()
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(text)
		b.WriteByte('\n')
	}
	return b.String()
}

// dump is all that looking must not change: the namespace, its sysctls, and the kernel's modules.
func dump(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(network(t))
	modules, err := os.ReadFile("/proc/modules")
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	b.Write(modules)
	err = filepath.WalkDir("/proc/sys/net", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, "nf_conntrack_count") || strings.HasSuffix(path, "flush") {
			return nil
		}
		text, _ := os.ReadFile(path) // some cannot be read
		fmt.Fprintf(&b, "%s=%s", path, text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestLookingChangesNothing(t *testing.T) {
	realServer(t)
	before := dump(t)
	look(t, Options{VIPs: []netip.Addr{ip("172.16.0.99")}, Clients: []netip.Addr{ip("188.88.88.10"), ip("2001:db8:77::1")}})
	if diff := cmp.Diff(strings.Split(before, "\n"), strings.Split(dump(t), "\n")); diff != "" {
		t.Error(diff)
	}
}

func TestNamespaceIsTheThreads(t *testing.T) {
	realServer(t)
	s := look(t, Options{})
	thread, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	if home == thread || home == "" {
		t.Fatal("this thread is in the process's namespace, so this proves nothing")
	}
	if s.NetNS != thread {
		t.Errorf("read %s, and this thread is in %s", s.NetNS, thread)
	}
	// Each source by something that only this namespace has, or that the process's has and this one has not.
	if len(s.Links) != 3 {
		t.Errorf("links %+v", s.Links)
	}
	if got := s.Sysctls[lvs.ConfPath("eth0.100", "arp_ignore")]; got != "1" {
		t.Errorf("sysctls are another namespace's: %v", s.Sysctls)
	}
	if len(s.Sockets) != 0 {
		t.Errorf("sockets of another namespace: %+v", s.Sockets)
	}
	if got := s.Counters["Tcp.InSegs"]; got != 0 {
		t.Errorf("counters of another namespace: %d segments", got)
	}
	if len(s.Owners) != 0 {
		t.Errorf("owners of another namespace: %+v", s.Owners)
	}
	done := make(chan *lvs.Snapshot)
	go func() {
		s, _ := Collect(context.Background(), Options{})
		done <- s
	}()
	if other := <-done; other == nil || other.NetNS != home {
		t.Errorf("a goroutine of another thread reads %s, and the process lives in %s", other.NetNS, home)
	}
}

func TestOrdinaryUser(t *testing.T) {
	realServer(t)
	binary, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "collect")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/collect.test", binary, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(dir + "/collect.test") // started by this thread, so in its namespace
	cmd.Dir, cmd.Env = "/", append(os.Environ(), asNobody+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	s, err := Load(strings.NewReader(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	if s.UID != 65534 || len(s.Capabilities) != 0 {
		t.Fatalf("uid %d with %v", s.UID, s.Capabilities)
	}
	if missing := s.Missing(lvs.SourceIPVS, lvs.SourceLinks, lvs.SourceAddresses, lvs.SourceNeighbours, lvs.SourceRoutes, lvs.SourceAnswers, lvs.SourceRules,
		lvs.SourceSysctls, lvs.SourceSockets, lvs.SourceClients, lvs.SourceCounters, lvs.SourceOwners); len(missing) > 0 {
		t.Errorf("an ordinary user could not read %v: %+v", missing, s.Gaps)
	}
	if s.Netfilter != nil {
		t.Error("an ordinary user cannot read the packet filter, and an empty one was told")
	}
	if !slices.ContainsFunc(s.Gaps, func(g lvs.Gap) bool {
		return g.Source == lvs.SourceNetfilter && g.Capability == "CAP_NET_ADMIN" && strings.Contains(g.Reason, "sudo lvstui")
	}) {
		t.Errorf("no gap says how to read the packet filter: %+v", s.Gaps)
	}
}

func TestOperatorsSession(t *testing.T) {
	realServer(t)
	s := look(t, Options{Environ: []string{"SSH_CONNECTION=192.168.10.9 50022 192.168.10.11 22"}})
	if want := (lvs.Session{Client: ends("192.168.10.9:50022"), Server: ends("192.168.10.11:22"), Interface: "eth0.100"}); s.Operator == nil || *s.Operator != want {
		t.Errorf("session %+v, want %+v", s.Operator, want)
	}
	// A session to another namespace's address is none that could be cut from here.
	if s := look(t, Options{Environ: []string{"SSH_CONNECTION=10.0.0.9 50022 10.0.0.1 22"}}); s.Operator != nil {
		t.Errorf("session %+v", s.Operator)
	}
}

func TestDeadline(t *testing.T) {
	realServer(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s, err := Collect(ctx, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Links != nil || s.Netfilter != nil || len(s.Gaps) < 10 {
		t.Errorf("without time nothing is read, and gaps say so: %+v", s)
	}
}

func TestManyNeighboursKeepThoseThatMatter(t *testing.T) {
	var all []lvs.Neighbour
	for i := range 10 {
		all = append(all, lvs.Neighbour{Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), Device: "eth0", State: "stale"})
	}
	got := boundNeighbours(all, map[netip.Addr]bool{ip("10.0.0.9"): true}, 3)
	if len(got) != 3 || got[2].Address != ip("10.0.0.9") || got[0].Address != ip("10.0.0.0") {
		t.Errorf("%+v", got)
	}
}

func BenchmarkCollect(b *testing.B) {
	realServer(b)
	for b.Loop() {
		look(b, Options{})
	}
}
