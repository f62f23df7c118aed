//go:build guest

package lab

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"lvstui/capture"
	"lvstui/lvs"
	"lvstui/probes"
)

// TestFaults puts every fault in, one after the other, sees the client fare as the fault says, the hosts see the flows
// and counters it names, the rules find it, and the client served again when it is out. Faults that do not care where
// the VIP is are tried in one topology only.
func TestFaults(t *testing.T) {
	for _, topology := range Topologies {
		t.Run(string(topology), func(t *testing.T) {
			l := up(t, topology)
			for _, f := range Faults() {
				if f.TriedIn(topology) {
					t.Run(f.ID, func(t *testing.T) { checkFault(t, l, f) })
				}
			}
		})
	}
}

func checkFault(t *testing.T, l *Lab, f Fault) {
	served := l.Topology() != Split // where nobody is served anyway only the fault's own traces can be seen
	if served {
		servedByBoth(t, l)
	}
	if err := l.Inject(f.ID); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(l.Injected(), []string{f.ID}) {
		t.Errorf("faults that are in: %v", l.Injected())
	}
	before := map[ExpectedCounter]int{}
	for _, c := range f.Expect.Counters {
		before[c] = counter(t, l, c.Host, c.Name)
	}
	lost, seen := expectService(t, l, f)
	for _, c := range f.Expect.Counters {
		if n := counter(t, l, c.Host, c.Name) - before[c]; n < lost {
			t.Errorf("%s of %s rose by %d, want at least %d, one per connection lost", c.Name, c.Host, n, lost)
		}
	}
	for _, want := range f.Expect.Flows {
		expectFlows(t, want, seen, f.Expect.Client == ServedByOne)
	}
	alone, together := diagnose(t, l, seen)
	expectFindings(t, f.Expect.Findings, alone, together)
	if err := l.Heal(f.ID); err != nil {
		t.Fatal(err)
	}
	if served || f.Host == Router {
		servedByBoth(t, l)
	}
}

// expectService makes connections, checks how they end, and says how many were lost and what the hosts saw of them.
func expectService(t *testing.T, l *Lab, f Fault) (lost int, seen map[string]probes.Observation) {
	t.Helper()
	const n = 4
	timeout := 2500 * time.Millisecond // a SYN, and one more after a second
	if f.Expect.Lost == Unreachable {
		timeout = shortly // three ARP requests take three seconds
	}
	for try := 0; ; try++ {
		w := watch(t, l)
		results := l.Try(t.Context(), n, timeout)
		seen = w.stop()
		s := Count(results)
		lost = n - s.OK
		var sound bool
		switch f.Expect.Client {
		case ServedByOne:
			sound = s.Servers[f.Host] == n
			if !sound && try < 5 { // the router changed its mind just now, which also breaks connections
				time.Sleep(time.Second)
				continue
			}
		case PartlyServed:
			sound = s.OK == n/2 && s.Servers[RealServer1] == n/2
		default:
			sound = s.OK == 0
		}
		ends := map[Outcome]int{Refused: s.Refused, TimedOut: s.TimedOut, Unreachable: s.Unreachable, Broken: s.Broken}
		if !sound || lost != ends[f.Expect.Lost] {
			t.Errorf("the client got %+v, want %s, the rest %q", results, f.Expect.Client, f.Expect.Lost)
		}
		return lost, seen
	}
}

// servedByBoth waits until ARP tables have got over the fault before, and the client is served by both real servers.
func servedByBoth(t *testing.T, l *Lab) {
	t.Helper()
	var results []Result
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(500 * time.Millisecond) {
		results = l.Try(t.Context(), 2, shortly)
		if s := Count(results); s.OK == 2 && len(s.Servers) == 2 {
			return
		}
	}
	t.Fatalf("with no fault in, the client got %+v, want both served, one by each real server", results)
}

// expectFlows checks how the connections that the fault hit look from one host. The client's flows tell which they
// are: those that did not come to a proper end, or all where the fault hits all without the client noticing.
func expectFlows(t *testing.T, want ExpectedFlow, seen map[string]probes.Observation, all bool) {
	t.Helper()
	hit, unlike := 0, []string{}
	for _, c := range seen[Client].Flows {
		if c.Outcome == capture.Closed && !all || c.Stages[0].State != lvs.Seen {
			continue // sound, or left over from before
		}
		hit++
		i := slices.IndexFunc(seen[want.Host].Flows, func(f capture.Flow) bool { return f.ISN == c.ISN })
		switch {
		case i >= 0 && (seen[want.Host].Flows[i].Reached != want.Reached || seen[want.Host].Flows[i].StalledAt != want.StalledAt):
			f := seen[want.Host].Flows[i]
			unlike = append(unlike, fmt.Sprintf("%s %s, reached %q, stalled at %q", f.Client, f.Outcome, f.Reached, f.StalledAt))
		case i < 0 && want.Reached != "" && !strings.HasPrefix(want.Host, "rs"):
			// A real server may be missing: the other one was asked, and both would lose the connection.
			unlike = append(unlike, c.Client.String()+" not seen")
		}
	}
	// An ARP fault may take hold, or lose hold, between two connections.
	if hit == 0 || len(unlike) > 0 && (!all || len(unlike) > hit/2) {
		t.Errorf("%s sees %q of %d connections that the fault hit; want reached %q, stalled at %q", want.Host, unlike, hit, want.Reached, want.StalledAt)
	}
}
