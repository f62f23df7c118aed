package collect

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

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
