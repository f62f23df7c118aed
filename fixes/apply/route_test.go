package apply_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"lvstui/fixes"
	"lvstui/lvs"
)

// TestTheRoutesOfTheKernel does each step by apply, holds the simulated routes and answers against the kernel's, and takes all back.
func TestTheRoutesOfTheKernel(t *testing.T) {
	enter(t)
	build(t, append(slices.Clone(rs), "route 198.51.100.0/24 via 192.168.10.7 metric 9", "rule 500 to 198.51.100.0/24 table 77")...)
	first := look(t, vip)
	a := applier(t.TempDir())
	route := func(dst, gateway string, change ...func(*fixes.AddRoute)) fixes.AddRoute {
		st := fixes.AddRoute{Table: lvs.TableMain, Dst: netip.MustParsePrefix(dst), Device: "v0"}
		if gateway != "" {
			st.Gateway = netip.MustParseAddr(gateway)
		}
		for _, c := range change {
			c(&st)
		}
		return st
	}
	in100 := func(st *fixes.AddRoute) { st.Table = 100 }
	static := func(st *fixes.AddRoute) { st.Protocol, st.Source = "static", netip.MustParseAddr("192.168.10.11") }
	steps := []fixes.Step{
		fixes.ReplaceRoute(route("0.0.0.0/0", "192.168.10.254")),
		fixes.ReplaceRoute(route("0.0.0.0/0", "192.168.10.253", in100)),
		route("203.0.113.0/24", "", static),
		route("192.0.2.0/24", "10.77.0.1", func(st *fixes.AddRoute) { st.OnLink, st.Metric = true, 3 }),
		fixes.DelRoute(route("198.51.100.0/24", "192.168.10.7", func(st *fixes.AddRoute) { st.Metric = 9 })),
		fixes.ReplaceRoute(route("192.0.2.0/24", "192.168.10.3", func(st *fixes.AddRoute) { st.Metric = 3 })),
		fixes.DelRoute(route("0.0.0.0/0", "192.168.10.254")),
		fixes.AddRule{Priority: 1000, From: netip.MustParsePrefix("192.168.10.11/32"), To: netip.MustParsePrefix("203.0.113.0/24"), Table: 100},
		fixes.AddRule{Priority: 900, Iif: "v0", Table: 100},
		fixes.DelRule{Priority: 500, To: netip.MustParsePrefix("198.51.100.0/24"), Table: 77},
	}
	for _, st := range steps {
		s := look(t, vip)
		want, err := st.Simulate(s)
		if err != nil {
			t.Fatalf("%s: %v", st.Command(), err)
		}
		if _, err := a.Apply(t.Context(), fixes.Plan{ID: "routes", Host: "host", Steps: []fixes.Step{st}}, s, fixes.Terms{}, nil); err != nil {
			t.Fatalf("%s: %v", st.Command(), err)
		}
		if d := differences(want, look(t, vip)); d != "" {
			t.Fatalf("%s: simulated -, kernel +\n%s", st.Command(), d)
		}
	}
	for range steps {
		if _, err := a.Undo(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff(part(first), part(look(t, vip)), options...); d != "" {
		t.Errorf("after undo:\n%s", d)
	}
}

// What a snapshot does not tell could not be put back: such a route is left alone, and it is said.
func TestARouteWithAttributesIsLeftAlone(t *testing.T) {
	enter(t)
	build(t, rs...)
	link, err := netlink.LinkByName("v0")
	if err != nil {
		t.Fatal(err)
	}
	_, dst, _ := netParse("198.51.100.0/24")
	if err := netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: dst, Gw: netip.MustParseAddr("192.168.10.7").AsSlice(), MTU: 1400}); err != nil {
		t.Fatal(err)
	}
	s := look(t, vip)
	st := fixes.DelRoute{Table: lvs.TableMain, Dst: netip.MustParsePrefix("198.51.100.0/24"), Gateway: netip.MustParseAddr("192.168.10.7"), Device: "v0"}
	_, err = applier(t.TempDir()).Apply(t.Context(), fixes.Plan{ID: "routes", Host: "rs1", Steps: []fixes.Step{st}}, s, fixes.Terms{}, nil)
	if err == nil || !strings.Contains(err.Error(), "could not be put back") {
		t.Errorf("deleted a route with an MTU of its own: %v", err)
	}
	if d := differences(s, look(t, vip)); d != "" {
		t.Error(d)
	}
}
