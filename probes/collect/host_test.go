package collect

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"lvstui/lvs"
)

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
	nft := &nftables.Conn{}
	nft.AddTable(&nftables.Table{Name: "filter", Family: nftables.TableFamilyINet}) // so that nftables is there
	if err := nft.Flush(); err != nil {
		t.Fatal(err)
	}
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
	if s.Netfilter != nil && s.Netfilter.NFTables {
		t.Error("an ordinary user cannot read nftables, and an empty one was told")
	}
	if !slices.ContainsFunc(s.Gaps, func(g lvs.Gap) bool {
		return g.Source == lvs.SourceNetfilter && g.Capability == "CAP_NET_ADMIN" && strings.Contains(g.Reason, "sudo lvstui")
	}) {
		t.Errorf("no gap says how to read the packet filter: %+v", s.Gaps)
	}
}

// TestRoutingDaemonsTablesStayInTheKernel stands for a full table of BGP routes, and a host with very many addresses.
func TestRoutingDaemonsTablesStayInTheKernel(t *testing.T) {
	realServer(t)
	eth, err := netlink.LinkByName("eth0.100")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.RouteDel(&netlink.Route{Gw: net.ParseIP("192.168.10.1"), Dst: subnet("0.0.0.0/0")}); err != nil {
		t.Fatal(err)
	}
	route(t, &netlink.Route{Gw: net.ParseIP("192.168.10.2"), Protocol: unix.RTPROT_BIRD})
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	for i := range routeLimit + 500 {
		b := []byte{byte(i >> 8), byte(i)}
		route(t, &netlink.Route{LinkIndex: eth.Attrs().Index, Dst: &net.IPNet{IP: net.IPv4(20, b[0], b[1], 0), Mask: net.CIDRMask(24, 32)},
			Gw: net.ParseIP("192.168.10.1"), Protocol: unix.RTPROT_BIRD})
		give(t, lo, fmt.Sprintf("10.96.%d.%d/32", b[0], b[1]))
	}
	s := look(t, Options{})
	if len(s.Routes) > routeLimit+2 || !slices.ContainsFunc(s.Gaps, func(g lvs.Gap) bool { return g.Source == lvs.SourceRoutes }) {
		t.Errorf("%d routes, gaps %+v", len(s.Routes), s.Gaps)
	}
	byProtocol := map[string]int{}
	for _, r := range s.Routes {
		byProtocol[r.Type+" "+r.Protocol]++
	}
	if byProtocol["unicast bird"] != 1 || byProtocol["unicast kernel"] < 2 || byProtocol["local kernel"] < localLimit {
		t.Errorf("the excerpt holds %v: the daemon's default route and none of its others are wanted, and the connected ones", byProtocol)
	}
	if got := answer(s, lvs.RouteQuery{Dst: assumedClient4}); got.Gateway != ip("192.168.10.2") {
		t.Errorf("the way to the Internet: %+v", got)
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
