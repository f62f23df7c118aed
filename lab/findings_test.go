//go:build guest

package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"lvstui/probes"
	"lvstui/probes/rules"
)

// diagnose puts every host before all rules, alone with what it sees itself, and with the other hosts at hand.
func diagnose(t *testing.T, l *Lab, seen map[string]probes.Observation) (alone, together map[string]probes.Report) {
	t.Helper()
	alone, together = map[string]probes.Report{}, map[string]probes.Report{}
	for name, o := range seen {
		var clients []netip.Addr
		if len(o.Flows) > 0 {
			clients = append(clients, CIP)
		}
		var err error
		if o.Snapshot, err = l.Host(name).Snapshot(t.Context(), clients...); err != nil {
			t.Fatal(err)
		}
		seen[name] = o
	}
	for name, o := range seen {
		alone[name] = probes.Diagnose(rules.All(), []probes.Observation{o}, probes.Options{})
		all := []probes.Observation{o}
		for _, other := range hostNames {
			if other != name {
				all = append(all, seen[other])
			}
		}
		together[name] = probes.Diagnose(rules.All(), all, probes.Options{})
	}
	return alone, together
}

// expectFindings holds what the rules say against what they must say.
func expectFindings(t *testing.T, want []ExpectedFinding, alone, together map[string]probes.Report) {
	t.Helper()
	for _, w := range want {
		report, how := alone[w.Host], "alone"
		if w.Together {
			report, how = together[w.Host], "with all hosts"
		}
		found := slices.ContainsFunc(report.Findings, func(f probes.Finding) bool {
			return f.ID == w.ID && (!w.Together || f.Host == w.Host) && rank[string(f.Certainty)] >= rank[w.Certainty]
		})
		if !found {
			t.Errorf("%s %s does not find %s, at least %s; it says %s: %s", w.Host, how, w.ID, w.Certainty, report.Verdict, words(report))
		}
	}
}

// expectSound fails for every finding that says a healthy cluster were not.
func expectSound(t *testing.T, reports map[string]probes.Report) {
	t.Helper()
	for host, r := range reports {
		for _, f := range r.Findings {
			if f.Severity == probes.Outage || f.Severity == probes.Degraded {
				t.Errorf("the cluster is healthy, and %s says: %s", host, words(r))
				break
			}
		}
	}
}

var rank = map[string]int{"hint": 1, "strong": 2, "certain": 3}

func words(r probes.Report) string {
	var out []string
	for _, f := range r.Findings {
		out = append(out, fmt.Sprintf("%s (%s, %s, on %s, %s)", f.ID, f.Severity, f.Certainty, f.Host, f.Subject))
	}
	return strings.Join(out, "; ")
}
