package main

import (
	"slices"
	"strings"
	"testing"

	"lvstui/fixes"
	"lvstui/probes"
)

// Which way about is asked for decides what is done; what belongs to a daemon is left to it, with what to type.
func TestTheWayThatIsAskedFor(t *testing.T) {
	down, bring := "down", fixes.Plan{Title: "bring", Steps: []fixes.Step{fixes.SetSysctl{Path: "net/ipv4/ip_forward", Value: "0"}}}
	both := probes.Finding{ID: "both", Fix: &probes.Fix{Automatic: true, Plan: fixes.Plan{Title: down, Files: []fixes.FileEdit{{Path: "/etc/x", After: &down}}},
		FromFiles: &probes.Fix{Automatic: true, Plan: bring}}}
	owned := probes.Finding{ID: "owned", Fix: &probes.Fix{FromFiles: &probes.Fix{Host: "lb1", Words: "keepalived makes it", Commands: []string{"systemctl reload keepalived"}}}}
	one := probes.Finding{ID: "one", Fix: &probes.Fix{Automatic: true, Plan: bring}}
	report := probes.Report{Findings: []probes.Finding{both, owned, one}}
	for _, c := range []struct {
		id        string
		fromFiles bool
		plan, err string
	}{
		{"both", false, down, ""},
		{"both", true, "bring", ""},
		{"owned", true, "", "keepalived makes it\n  on lb1: systemctl reload keepalived"},
		{"one", true, "", "nothing to bring it to; the cure is lvstui fix one"},
	} {
		got, err := chosenCures(report, []string{c.id}, fixOptions{fromFiles: c.fromFiles})
		switch {
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s, from files %v: error %v, want %s", c.id, c.fromFiles, err, c.err)
		case c.err == "" && (err != nil || len(got) != 1 || got[0].plan.Title != c.plan):
			t.Errorf("%s, from files %v: %+v, %v, want %s", c.id, c.fromFiles, got, err, c.plan)
		}
	}
}

// What was a hazard and is an outage then is brought by the change as much as what was not there at all.
func TestWhatAChangeBrings(t *testing.T) {
	finding := func(id string, severity probes.Severity) probes.Finding {
		return probes.Finding{ID: id, Severity: severity, Title: id}
	}
	before := probes.Report{Findings: []probes.Finding{finding("same", probes.Outage), finding("worse", probes.Hazard), finding("better", probes.Outage), finding("cured", probes.Outage)}}
	after := probes.Report{Findings: []probes.Finding{finding("same", probes.Outage), finding("worse", probes.Outage), finding("better", probes.Hazard),
		finding("new", probes.Degraded), finding("note", probes.Note)}}
	if got, want := brings(before, after), []string{"worse, outage: worse", "new, degraded: new"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
