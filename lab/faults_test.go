//go:build guest

package lab

import (
	"slices"
	"testing"
	"time"
)

// TestFaults puts every fault into every topology it is for, sees the client fare as the fault says and the
// counters rise that it names, and takes it out again.
func TestFaults(t *testing.T) {
	for _, f := range Faults() {
		for _, topology := range f.Topologies {
			t.Run(f.ID+"/"+string(topology), func(t *testing.T) { checkFault(t, f, topology) })
		}
	}
}

func checkFault(t *testing.T, f Fault, topology Topology) {
	l := up(t, topology)
	if topology != Split {
		expectService(t, "before the fault", l, Expectation{Client: Served}, f)
	}
	if err := l.Inject(f.ID); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(l.Injected(), []string{f.ID}) {
		t.Errorf("faults in force: %v", l.Injected())
	}
	before := map[ExpectedCounter]int{}
	for _, c := range f.Expect.Counters {
		before[c] = counter(t, l, c.Host, c.Name)
	}
	time.Sleep(200 * time.Millisecond)
	lost := expectService(t, "with the fault", l, f.Expect, f)
	for _, c := range f.Expect.Counters {
		if n := counter(t, l, c.Host, c.Name) - before[c]; n < lost {
			t.Errorf("%s of %s rose by %d, want at least %d, one per connection lost", c.Name, c.Host, n, lost)
		}
	}
	if err := l.Heal(f.ID); err != nil {
		t.Fatal(err)
	}
	if topology == Split && f.ID != "router-urpf-or-source-guard" {
		return // nothing is served there anyway
	}
	if f.Expect.Client == ServedByOne || f.Expect.Client == NoRoute || f.Expect.Lost == Unreachable {
		time.Sleep(10 * time.Second) // until ARP tables have noticed
	}
	expectService(t, "after the fault", l, Expectation{Client: Served}, f)
}

// expectService makes connections and says how many were lost.
func expectService(t *testing.T, when string, l *Lab, want Expectation, f Fault) (lost int) {
	t.Helper()
	const n = 6
	results := l.Try(t.Context(), n, shortly)
	s := Count(results)
	sound := s.OK == n && s.Servers[RealServer1] > 0 && s.Servers[RealServer2] > 0
	switch want.Client {
	case Served:
	case ServedByOne:
		sound = s.OK == n && s.Servers[RealServer2] == n
	case PartlyServed:
		sound = s.OK > 0 && s.OK < n && s.OK == s.Servers[RealServer1]
	default:
		sound = s.OK == 0
	}
	lost = n - s.OK
	t.Logf("%s: %+v", when, s)
	byOutcome := map[Outcome]int{Refused: s.Refused, TimedOut: s.TimedOut, Unreachable: s.Unreachable, Broken: s.Broken}
	if !sound || lost != byOutcome[want.Lost] {
		t.Errorf("%s %s the client got %+v, want %s, the rest %q", when, f.ID, results, want.Client, want.Lost)
	}
	return lost
}
