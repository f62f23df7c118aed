package apply_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"lvstui/fixes"
	"lvstui/lvs"
)

const vip = "172.16.0.8"

// rs is a real server as the article has it.
var rs = []string{"up lo", "veth v0 p0", "addr 192.168.10.11/24 v0", "route default via 192.168.10.1 dev v0"}

func add(device, prefix string, more ...string) fixes.AddAddress {
	st := fixes.AddAddress{Device: device, Prefix: netip.MustParsePrefix(prefix)}
	for _, m := range more {
		if strings.Contains(m, ":") {
			st.Label = m
		} else {
			st.Scope = m
		}
	}
	return st
}

func del(device, prefix string) fixes.DelAddress {
	return fixes.DelAddress{Device: device, Prefix: netip.MustParsePrefix(prefix)}
}

func set(path, value string) fixes.SetSysctl {
	return fixes.SetSysctl{Path: "net/ipv4/conf/" + path, Value: value}
}

// moves are changes of hosts by single steps, each with the host it is done to.
var moves = map[string]struct {
	host  []string
	steps []fixes.Step
}{
	"sysctls":           {rs, []fixes.Step{set("all/arp_ignore", "1"), set("v0/arp_announce", "2"), set("all/rp_filter", "1"), set("v0/rp_filter", "2")}},
	"strict":            {append(slices.Clone(rs), "veth v1 p1", "addr 10.9.0.1/24 v1"), []fixes.Step{set("all/rp_filter", "1"), set("v1/rp_filter", "1"), set("v1/rp_filter", "0")}},
	"vip on lo":         {rs, []fixes.Step{add("lo", "172.16.0.8/32"), del("lo", "172.16.0.8/32")}},
	"vip scope host":    {rs, []fixes.Step{add("lo", "172.16.0.8/32", "host", "lo:vip"), del("lo", "172.16.0.8/32")}},
	"vip prefix on lo":  {rs, []fixes.Step{add("lo", "172.16.0.8/24"), add("lo", "172.16.0.8/32"), del("lo", "172.16.0.8/24")}},
	"rip's net on lo":   {rs, []fixes.Step{add("lo", "192.168.10.8/24"), del("lo", "192.168.10.8/24")}},
	"vip on the card":   {rs, []fixes.Step{add("v0", "172.16.0.8/24"), add("v0", "172.16.0.9/24"), add("v0", "172.16.0.8/32"), del("v0", "172.16.0.8/24")}},
	"secondary":         {rs, []fixes.Step{add("v0", "192.168.10.8/24"), add("v0", "192.168.10.9/25"), del("v0", "192.168.10.8/24")}},
	"the last address":  {rs, []fixes.Step{add("lo", "172.16.0.8/32"), del("v0", "192.168.10.11/24")}},
	"not quite last":    {append(slices.Clone(rs), "addr 10.9.0.1/24 v0"), []fixes.Step{del("v0", "192.168.10.11/24")}},
	"preferred sources": {append(slices.Clone(rs), "addr 10.9.0.1/24 v0", "route 10.8.0.0/16 dev v0 src 10.9.0.1", "route 10.7.0.0/16 via 10.9.0.2"), []fixes.Step{del("v0", "10.9.0.1/24"), add("v0", "10.9.0.1/24")}},
	"source elsewhere":  {append(slices.Clone(rs), "addr 10.9.0.1/32 lo", "addr 10.9.0.1/24 v0", "route 10.8.0.0/16 dev v0 src 10.9.0.1"), []fixes.Step{del("v0", "10.9.0.1/24")}},
	"secondaries go": {append(slices.Clone(rs), "addr 172.16.0.8/24 v0", "addr 172.16.0.9/24 v0 label v0:9", "addr 172.16.1.1/24 v0", "addr 172.16.0.10/24 v0"),
		[]fixes.Step{del("v0", "172.16.0.8/24"), add("v0", "172.16.0.10/24")}},
	"secondaries are promoted": {append(slices.Clone(rs), "addr 172.16.0.8/24 v0", "addr 172.16.0.9/24 v0 label v0:9", "addr 172.16.1.1/24 v0", "addr 172.16.0.10/24 v0", "route 10.8.0.0/16 dev v0 src 172.16.0.9"),
		[]fixes.Step{set("all/promote_secondaries", "1"), del("v0", "172.16.0.8/24"), del("v0", "172.16.0.9/24")}},
	"scopes":      {append(slices.Clone(rs), "addr 10.1.0.1/24 v0 scope link", "addr 10.2.0.1/24 v0 scope host"), []fixes.Step{add("v0", "10.3.0.1/24", "link"), add("v0", "10.4.0.1/24"), del("v0", "10.1.0.1/24")}},
	"lo down":     {[]string{"veth v0 p0", "addr 192.168.10.11/24 v0"}, []fixes.Step{add("lo", "172.16.0.8/32"), add("lo", "172.16.1.8/24"), del("lo", "172.16.0.8/32")}},
	"small nets":  {rs, []fixes.Step{add("v0", "10.0.0.1/31"), add("v0", "10.0.1.1/30"), add("lo", "10.0.2.1/31")}},
	"vip6 on lo":  {rs, []fixes.Step{add("lo", "2001:db8::8/128"), del("lo", "2001:db8::8/128")}},
	"vip6 prefix": {rs, []fixes.Step{add("lo", "2001:db8::8/64"), del("lo", "2001:db8::8/64")}},
}

func TestSimulateAgreesWithTheKernel(t *testing.T) {
	for name, m := range moves {
		t.Run(name, func(t *testing.T) {
			enter(t)
			build(t, m.host...)
			s := look(t, vip)
			for i, st := range m.steps {
				predicted, err := st.Simulate(s)
				if err != nil {
					t.Fatalf("step %d, %s: %v", i+1, st.Command(), err)
				}
				byHand(t, st)
				s = settled(t)
				if d := differences(predicted, s); d != "" {
					t.Fatalf("step %d, %s: simulated -, kernel +\n%s", i+1, st.Command(), d)
				}
			}
		})
	}
}

func TestSimulateRefusesWhatTheKernelRefuses(t *testing.T) {
	enter(t)
	build(t, append(slices.Clone(rs), "addr 172.16.0.8/32 lo")...)
	s := look(t, vip)
	for _, st := range []fixes.Step{add("v0", "192.168.10.12/24", "link"), add("v9", "172.16.0.8/32")} {
		if _, err := st.Simulate(s); err == nil {
			t.Errorf("%s: simulated", st.Command())
		}
		if err := tryByHand(st); err == nil {
			t.Errorf("%s: the kernel did it", st.Command())
		}
	}
}

// settled looks once IPv6 has finished with the addresses on lo, of which it adds the local route only then.
func settled(t *testing.T) *lvs.Snapshot {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		s := look(t, vip)
		busy := slices.ContainsFunc(s.Addresses, func(a lvs.Address) bool { return a.Device == "lo" && a.Tentative })
		if !busy {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatal("an address on lo stays tentative")
		}
	}
}

// byHand does a step without package apply.
func byHand(t *testing.T, st fixes.Step) {
	t.Helper()
	if err := tryByHand(st); err != nil {
		t.Fatalf("%s: %v", st.Command(), err)
	}
}

func tryByHand(st fixes.Step) error {
	switch st := st.(type) {
	case fixes.SetSysctl:
		return do([]string{"sysctl", st.Path, st.Value})
	case fixes.AddAddress:
		w := []string{"addr", st.Prefix.String(), st.Device}
		if st.Scope != "" {
			w = append(w, "scope", st.Scope)
		}
		if st.Label != "" {
			w = append(w, "label", st.Label)
		}
		return do(w)
	case fixes.DelAddress:
		return do([]string{"deladdr", st.Prefix.String(), st.Device})
	}
	return fmt.Errorf("no hand for %T", st)
}

// differences compares what steps change, and the answers to route questions that both have.
func differences(a, b *lvs.Snapshot) string {
	out := cmp.Diff(part(a), part(b), options...)
	for _, want := range b.Answers {
		got, ok := a.Answer(want.RouteQuery)
		if !ok || got.Outcome == lvs.OutUnknown {
			continue
		}
		if d := differ(got, want); d != "" {
			out += fmt.Sprintf("get %s from %s iif %q: %s\n", want.Dst, want.Src, want.Iif, d)
		}
	}
	return out
}

var options = []cmp.Option{
	cmp.Comparer(func(x, y netip.Addr) bool { return x == y }), cmp.Comparer(func(x, y netip.Prefix) bool { return x == y }),
	cmpopts.SortSlices(func(x, y lvs.Route) bool { return fmt.Sprint(x) < fmt.Sprint(y) }),
	cmpopts.EquateEmpty(),
}

// part is addresses in their order, routes, rules and sysctls. What IPv6 does by itself is left out: link-local addresses, duplicate
// address detection, and the order of its addresses, which means nothing.
func part(s *lvs.Snapshot) *lvs.Snapshot {
	own := func(ip netip.Addr) bool { return ip.Is6() && ip.IsLinkLocalUnicast() }
	out := &lvs.Snapshot{PolicyRules: s.PolicyRules, Sysctls: s.Sysctls,
		Routes: slices.DeleteFunc(slices.Clone(s.Routes), func(r lvs.Route) bool { return own(r.Dst.Addr()) })}
	six := []lvs.Address{}
	for _, a := range s.Addresses {
		switch {
		case own(a.Prefix.Addr()):
		case a.Prefix.Addr().Is6():
			a.Tentative, a.Proto = false, 0
			six = append(six, a)
		default:
			out.Addresses = append(out.Addresses, a)
		}
	}
	slices.SortFunc(six, func(x, y lvs.Address) int { return x.Prefix.Addr().Compare(y.Prefix.Addr()) })
	out.Addresses = append(out.Addresses, six...)
	return out
}
