//go:build guest

package lab

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"lvstui/capture"
	"lvstui/probes"
	"lvstui/probes/rules"
)

// diagnose puts every host, alone with what it sees itself, before all rules.
func diagnose(t *testing.T, l *Lab, seen map[string][]capture.Flow) map[string]probes.Report {
	t.Helper()
	reports := map[string]probes.Report{}
	for _, h := range l.Hosts() {
		s, err := h.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		reports[h.Name] = probes.Diagnose(rules.All(), []probes.Observation{{Snapshot: s, Flows: seen[h.Name]}}, probes.Options{})
	}
	return reports
}

// expectFindings holds what the rules say of each host alone against what they must say.
func expectFindings(t *testing.T, want []ExpectedFinding, reports map[string]probes.Report) {
	t.Helper()
	for _, w := range want {
		found := slices.ContainsFunc(reports[w.Host].Findings, func(f probes.Finding) bool {
			return f.ID == w.ID && rank[string(f.Certainty)] >= rank[w.Certainty]
		})
		if !found {
			t.Errorf("%s alone does not find %s, at least %s; it says %s: %s", w.Host, w.ID, w.Certainty, reports[w.Host].Verdict, words(reports[w.Host]))
		}
	}
}

// expectSound fails for every finding that says a healthy cluster were not.
func expectSound(t *testing.T, reports map[string]probes.Report) {
	t.Helper()
	for host, r := range reports {
		for _, f := range r.Findings {
			if f.Severity == probes.Outage || f.Severity == probes.Degraded {
				t.Errorf("the cluster is healthy, and %s alone says: %s", host, words(r))
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
