package ui

import (
	"slices"
	"testing"

	"lvstui/probes"
)

// What a change makes worse is said as what it brings is.
func TestDifferenceSaysWhatGetsWorse(t *testing.T) {
	found := func(id string, severity probes.Severity) probes.Finding {
		return probes.Finding{ID: id, Severity: severity, Title: id}
	}
	before := probes.Report{Findings: []probes.Finding{found("a", probes.Hazard), found("b", probes.Outage), found("c", probes.Outage)}}
	after := probes.Report{Findings: []probes.Finding{found("a", probes.Outage), found("b", probes.Note), found("d", probes.Note)}}
	want := []string{"gone: c", "worse, outage now: a", "new: d", "3 of 3 findings would be left"}
	if got := difference(before, after); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
