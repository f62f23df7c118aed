package fixes

import (
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"lvstui/lvs"
)

func randomRoute(r *rand.Rand, s *lvs.Snapshot) Step {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	st := AddRoute{Table: lvs.TableMain, Dst: netip.MustParsePrefix(pick("0.0.0.0/0", "0.0.0.0/0", "188.88.88.0/24", "10.0.0.0/8")),
		Device: pick("eth0", "eth0", "eth1"), Protocol: pick("boot", "static")}
	if r.IntN(4) > 0 {
		st.Gateway = ip(pick("192.168.10.1", "192.168.10.254", "10.9.9.9"))
	}
	if r.IntN(4) == 0 {
		st.Table = 100
	}
	if r.IntN(4) == 0 {
		st.Metric = 50
	}
	if r.IntN(5) == 0 {
		st.Source = ip("192.168.10.11")
	}
	st.OnLink = st.Gateway == ip("10.9.9.9") && r.IntN(2) == 0
	switch r.IntN(4) {
	case 0:
		for _, there := range s.Routes {
			if old, err := routeStep(there); err == nil && r.IntN(2) == 0 {
				return DelRoute(old)
			}
		}
		return DelRoute(st)
	case 1:
		return st
	}
	return ReplaceRoute(st)
}

func TestUndoGivesTheRoutesBack(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	undone, impossible, refused := map[string]int{}, 0, 0
	for range 250 {
		s := generate(r)
		for range r.IntN(6) {
			if next, err := randomRoute(r, s).Simulate(s); err == nil {
				s = next
			}
		}
		st := randomRoute(r, s)
		kept := s.Clone()
		after, err := st.Simulate(s)
		if err != nil {
			impossible++
			continue
		}
		if !st.Done(after) {
			t.Fatalf("%s is not done after Simulate", st.Command())
		}
		if b, err := EncodeStep(st); err != nil {
			t.Fatal(err)
		} else if again, err := DecodeStep(b); err != nil || !reflect.DeepEqual(st, again) {
			t.Fatalf("%s comes back from the journal as %#v, %v", b, again, err)
		}
		p := Plan{Steps: []Step{st}}
		back, err := p.Undo(s)
		if err != nil {
			refused++ // a route whose gateway is out of reach by now is not to be had again
			continue
		}
		home, err := back.After(after)
		if err != nil {
			t.Fatalf("%s, then %v: %v", st.Command(), back.Commands(), err)
		}
		if d := same(s, home); d != "" {
			t.Fatalf("%s, then %v\n%s", st.Command(), back.Commands(), d)
		}
		if d := same(kept, s); d != "" {
			t.Fatalf("%s changed its argument:\n%s", st.Command(), d)
		}
		c, err := p.Course(s, back)
		if err != nil {
			t.Fatal(err)
		}
		if same(s, after) != "" {
			if len(c.Before(after)) == 0 {
				t.Fatalf("%s changes the routes and no fact of them", st.Command())
			}
			undone[st.Kind()]++
		}
	}
	if len(undone) != 3 || undone[kindDelRoute] < 10 || impossible < 20 || refused == 0 || refused > 60 {
		t.Errorf("undone %v, impossible %d, refused %d: the generator no longer meets all", undone, impossible, refused)
	}
}

func TestRoutesThatAreNotChanged(t *testing.T) {
	s := realServer()
	def := AddRoute{Table: lvs.TableMain, Dst: netip.MustParsePrefix("0.0.0.0/0"), Gateway: ip("192.168.10.254"), Device: "eth0"}
	dhcp := s.Clone()
	for i := range dhcp.Routes {
		if dhcp.Routes[i].Dst.Bits() == 0 {
			dhcp.Routes[i].Protocol = "dhcp"
		}
	}
	if _, err := ReplaceRoute(def).Undo(dhcp); err == nil || !strings.Contains(err.Error(), "somebody else") {
		t.Errorf("a route of DHCP: %v", err)
	}
	several := s.Clone()
	several.Routes = append(several.Routes, lvs.Route{Table: lvs.TableMain, Type: "unicast", Dst: def.Dst, Gateway: ip("192.168.10.2"), Device: "eth0", Protocol: "static", Scope: "global"})
	if _, err := ReplaceRoute(def).Simulate(several); err == nil || !strings.Contains(err.Error(), "2 routes") {
		t.Errorf("one of several hops: %v", err)
	}
	for want, change := range map[string]func(*AddRoute){
		"not on a subnet":      func(st *AddRoute) { st.Gateway = ip("10.9.9.9") },
		"no interface eth9":    func(st *AddRoute) { st.Device = "eth9" },
		"no address of rs1":    func(st *AddRoute) { st.Source = ip("10.1.1.1") },
		"no prefix":            func(st *AddRoute) { st.Dst = netip.MustParsePrefix("10.0.0.1/8") },
		"into table 255":       func(st *AddRoute) { st.Table = lvs.TableLocal },
		"belong to somebody":   func(st *AddRoute) { st.Protocol = "bird" },
		"onlink is about":      func(st *AddRoute) { st.Gateway, st.OnLink = netip.Addr{}, true },
		"there is a route def": func(*AddRoute) {},
	} {
		st := def
		change(&st)
		if _, err := st.Simulate(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", st.Command(), err, want)
		}
	}
	if got := ReplaceRoute(def).Command(); got != "ip route replace default via 192.168.10.254 dev eth0" {
		t.Error(got)
	}
	def.Table, def.Metric, def.Source, def.Protocol, def.OnLink = 100, 5, ip("192.168.10.11"), "static", true
	if got := def.Command(); got != "ip route add default via 192.168.10.254 dev eth0 table 100 src 192.168.10.11 metric 5 proto static onlink" {
		t.Error(got)
	}
}

func TestRouteThatWouldEndTheSession(t *testing.T) {
	s := realServer()
	s.Operator = &lvs.Session{Client: netip.MustParseAddrPort("203.0.113.5:5000"), Server: netip.MustParseAddrPort("192.168.10.11:22"), Interface: "eth0"}
	st := ReplaceRoute{Table: lvs.TableMain, Dst: netip.MustParsePrefix("0.0.0.0/0"), Gateway: ip("192.168.10.254"), Device: "eth0"}
	if risk := st.Risk(s); !strings.Contains(risk, "192.168.10.254") {
		t.Errorf("risk %q", risk)
	}
	st.Dst = netip.MustParsePrefix("10.0.0.0/8")
	if risk := st.Risk(s); risk != "" {
		t.Errorf("risk %q", risk)
	}
}
