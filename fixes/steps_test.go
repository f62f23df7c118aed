package fixes

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"lvstui/lvs"
)

// realServer is a real server of the article: eth0 with its RIP and default route, everything else as a kernel has it.
func realServer() *lvs.Snapshot {
	s := &lvs.Snapshot{Schema: lvs.SnapshotSchema, Host: "rs1",
		Links: []lvs.Link{
			{Index: 1, Name: "lo", Type: "loopback", Up: true, Running: true},
			{Index: 2, Name: "eth0", Type: "ether", Up: true, Running: true},
			{Index: 3, Name: "eth1", Type: "ether", Up: true, Running: true},
		},
		Addresses: []lvs.Address{},
		Routes:    []lvs.Route{},
		PolicyRules: []lvs.PolicyRule{
			{Priority: 0, Table: lvs.TableLocal, Action: "table", Family: 4},
			{Priority: 32766, Table: lvs.TableMain, Action: "table", Family: 4},
			{Priority: 32767, Table: lvs.TableDefault, Action: "table", Family: 4},
		},
		Sysctls: map[string]string{"net/ipv4/ip_forward": "0"},
	}
	for _, dev := range []string{"all", "default", "lo", "eth0", "eth1"} {
		for _, key := range []string{"arp_ignore", "arp_announce", "rp_filter", "accept_local", "forwarding", "promote_secondaries", "route_localnet", "send_redirects"} {
			s.Sysctls[lvs.ConfPath(dev, key)] = "0"
		}
	}
	s = with(s, AddAddress{Device: "lo", Prefix: netip.MustParsePrefix("127.0.0.1/8")},
		AddAddress{Device: "eth0", Prefix: netip.MustParsePrefix("192.168.10.11/24")})
	s.Routes = append(s.Routes, lvs.Route{Table: lvs.TableMain, Type: "unicast", Dst: netip.MustParsePrefix("0.0.0.0/0"),
		Gateway: netip.MustParseAddr("192.168.10.1"), Device: "eth0", Protocol: "static", Scope: "global"})
	slices.SortStableFunc(s.Routes, compareRoutes)
	return s
}

// with is the snapshot after some steps that must be possible.
func with(s *lvs.Snapshot, steps ...Step) *lvs.Snapshot {
	after, err := Plan{Steps: steps}.After(s)
	if err != nil {
		panic(err)
	}
	return after
}

// same ignores the order of addresses, which matters to the kernel but not to what a host does, and of answers the text.
func same(a, b *lvs.Snapshot) string {
	return cmp.Diff(a, b, cmp.Comparer(func(x, y netip.Addr) bool { return x == y }),
		cmp.Comparer(func(x, y netip.Prefix) bool { return x == y }),
		cmpopts.SortSlices(func(x, y lvs.Address) bool { return fmt.Sprint(x) < fmt.Sprint(y) }),
		cmpopts.SortSlices(func(x, y lvs.Route) bool { return fmt.Sprint(x) < fmt.Sprint(y) }),
		cmpopts.IgnoreFields(lvs.RouteAnswer{}, "Error", "Table"), cmpopts.EquateEmpty())
}

// generate makes a host by doing random steps to a real server, and asks the model some route questions.
func generate(r *rand.Rand) *lvs.Snapshot {
	s := realServer()
	for range r.IntN(8) {
		if next, err := randomStep(r, s).Simulate(s); err == nil {
			s = next
		}
	}
	s.Answers = []lvs.RouteAnswer{}
	for _, dst := range []string{"172.16.0.8", "172.16.0.9", "172.16.1.8", "192.168.10.12", "188.88.88.10"} {
		for _, q := range []lvs.RouteQuery{{}, {Src: netip.MustParseAddr("188.88.88.10"), Iif: "eth0"}, {Src: netip.MustParseAddr("172.16.0.8")}} {
			q.Dst = netip.MustParseAddr(dst)
			s.Answers = append(s.Answers, s.Lookup(q))
		}
	}
	return s
}

func randomStep(r *rand.Rand, s *lvs.Snapshot) Step {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	switch r.IntN(5) {
	case 0:
		return SetSysctl{lvs.ConfPath(pick("all", "lo", "eth0", "eth1"), pick("arp_ignore", "arp_announce", "rp_filter", "accept_local", "promote_secondaries")),
			pick("0", "1", "2", "3")}
	case 1:
		if len(s.Addresses) > 0 {
			a := s.Addresses[r.IntN(len(s.Addresses))]
			return DelAddress{a.Device, a.Prefix}
		}
	}
	return AddAddress{Device: pick("lo", "eth0", "eth1"), Scope: pick("", "", "", "host", "link"), Label: pick("", "", "eth0:1"),
		Prefix: netip.MustParsePrefix(pick("172.16.0.8", "172.16.0.9", "172.16.1.8", "192.168.10.12", "192.168.10.11", "2001:db8::8") + "/" + pick("32", "24", "25", "31", "16"))}
}

func TestUndoOfSimulateIsIdentity(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	undone, refused := 0, 0
	for range 400 {
		s := generate(r)
		var p Plan
		for now, n := s, 1+r.IntN(5); len(p.Steps) < n; {
			st := randomStep(r, now)
			next, err := st.Simulate(now)
			if err != nil {
				continue
			}
			if !st.Done(next) {
				t.Fatalf("%s is not Done after Simulate", st.Command())
			}
			p.Steps, now = append(p.Steps, st), next
		}
		kept := s.Clone()
		after, err := p.After(s)
		if err != nil {
			t.Fatal(err)
		}
		back, err := p.Undo(s)
		if err != nil {
			refused++
			continue
		}
		home, err := back.After(after)
		if err != nil {
			t.Fatalf("%v\nundo %v: %v", p.Commands(), back.Commands(), err)
		}
		if d := same(s, home); d != "" {
			t.Fatalf("%v\nundo %v\n%s", p.Commands(), back.Commands(), d)
		}
		if d := same(kept, s); d != "" {
			t.Fatalf("Simulate or Undo changed its argument:\n%s", d)
		}
		undone++
	}
	if undone < 200 || refused == 0 {
		t.Errorf("%d undone, %d refused: the generator no longer meets both", undone, refused)
	}
}

func TestPlansCureAndThenFindNothingToDo(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	vip := netip.MustParseAddr("172.16.0.8")
	for range 300 {
		s := generate(r)
		plans := map[string]func(*lvs.Snapshot) Plan{
			"quiet": func(s *lvs.Snapshot) Plan { return QuietARP(s, []netip.Addr{vip}) },
			"hold":  func(s *lvs.Snapshot) Plan { return HoldVIP(s, vip) },
		}
		for name, plan := range plans {
			after, err := plan(s).After(s)
			if err != nil {
				t.Fatalf("%s: %v: %v", name, plan(s).Commands(), err)
			}
			if again := plan(after); !again.Empty() {
				t.Fatalf("%s: %v, then again %v", name, plan(s).Commands(), again.Commands())
			}
			for _, dev := range []string{"eth0", "eth1"} {
				if e := after.Effective(dev, "arp_ignore"); !silent(after, e.Value, []netip.Addr{vip}) {
					t.Fatalf("%s: %v leaves arp_ignore %d on %s", name, plan(s).Commands(), e.Value, dev)
				}
				if e := after.Effective(dev, "arp_announce"); e.Value < 2 {
					t.Fatalf("%s: %v leaves arp_announce %d on %s", name, plan(s).Commands(), e.Value, dev)
				}
			}
			if local, known := after.IsLocal(vip); name == "hold" && (!local || !known) {
				t.Fatalf("%v: VIP is local %v, known %v", plan(s).Commands(), local, known)
			}
		}
	}
}

func TestNarrowAndMoveKeepTheVIPThroughout(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	narrowed, moved := 0, 0
	for range 400 {
		s := generate(r)
		for _, a := range s.Addresses {
			if !a.Prefix.Addr().Is4() || a.Prefix.Addr().IsLoopback() {
				continue
			}
			p := MoveVIPToLo(s, a)
			if a.Device == "lo" {
				p = NarrowVIP(s, a)
			}
			states, err := p.Simulate(s)
			if err != nil {
				t.Fatalf("%v of %+v: %v", p.Commands(), a, err)
			}
			for i, now := range states {
				for _, other := range s.Addresses {
					if ip := other.Prefix.Addr(); len(now.AddressesOf(ip)) == 0 {
						t.Fatalf("%v: %s is gone after step %d\n%+v", p.Commands(), ip, i+1, s.Addresses)
					}
				}
			}
			if len(states) == 0 {
				continue
			}
			last := states[len(states)-1]
			if _, still := addressOn(last, a.Device, a.Prefix); still {
				t.Fatalf("%v leaves %s on %s", p.Commands(), a.Prefix, a.Device)
			}
			for key, was := range s.Sysctls {
				if strings.HasSuffix(key, "promote_secondaries") && last.Sysctls[key] != was {
					t.Fatalf("%v leaves %s changed", p.Commands(), key)
				}
			}
			if a.Device == "lo" {
				narrowed++
			} else {
				moved++
			}
		}
	}
	if narrowed < 60 || moved < 60 {
		t.Errorf("narrowed %d, moved %d: the generator no longer meets both", narrowed, moved)
	}
}
