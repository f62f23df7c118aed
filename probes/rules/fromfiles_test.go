package rules

import (
	"slices"
	"testing"

	"lvstui/fixes/nextboot"
	"lvstui/lvs"
	"lvstui/probes"
)

// The other way about, tried on the host it was found on: what runs is then what the files say, no clients are worse off on the way than
// before or after it, the files of others are not touched, and undone it leaves no trace.
func TestPlansFromFiles(t *testing.T) {
	tried := map[string]int{}
	for _, c := range withRecorded(t) {
		before := c.diagnose()
		for _, f := range before.Findings {
			if f.Fix == nil || f.Fix.FromFiles == nil {
				continue
			}
			tried[f.ID]++
			if f.Fix.FromFiles.Automatic {
				t.Run(c.rule+"/"+c.name+"/"+f.ID, func(t *testing.T) { tryFromFiles(t, c, before, f) })
			} else if len(f.Fix.FromFiles.Commands) == 0 || f.Fix.FromFiles.Words == "" {
				t.Errorf("%s/%s: %s: neither a plan nor what to type: %+v", c.rule, c.name, f.ID, f.Fix.FromFiles)
			}
		}
	}
	for _, id := range []string{"sysctl-not-persistent", "address-not-persistent", "ipvs-rules-not-persistent", "keepalived-config-drift"} {
		if tried[id] == 0 {
			t.Errorf("no case of %s says how to have the host as the files say", id)
		}
	}
}

func tryFromFiles(t *testing.T, c testCase, before probes.Report, f probes.Finding) {
	plan := f.Fix.FromFiles.Plan
	if plan.ID != f.ID || plan.Host != f.Fix.Host || plan.Title == "" || !plan.AsFiles || len(plan.Steps) == 0 {
		t.Errorf("the plan is not complete: %+v", plan)
	}
	at := slices.IndexFunc(c.observations, func(o probes.Observation) bool { return o.Snapshot.Host == plan.Host })
	was := c.observations[at].Snapshot
	if edits, _ := nextboot.Edits(plan, was); len(edits) != len(plan.Files) {
		t.Errorf("files would be written for what the files say: %+v", edits)
	}
	states, err := plan.Simulate(was)
	if err != nil {
		t.Fatal(err)
	}
	reports := make([]probes.Report, 0, len(states))
	for i, s := range states {
		if i == len(states)-1 {
			end := *s
			end.Files = nextboot.Written(s.Files, plan.Files)
			s = &end
		}
		with := c
		with.observations = slices.Clone(c.observations)
		with.observations[at].Snapshot = s
		reports = append(reports, with.diagnose())
	}
	last := reports[len(reports)-1]
	if slices.ContainsFunc(last.Findings, func(g probes.Finding) bool { return g.ID == f.ID && g.Host == f.Host }) {
		t.Errorf("the two still differ after %q", plan.Commands())
	}
	for i, r := range reports {
		for _, g := range gained(before, r) {
			if isNewService(g, was) {
				continue // it gets its destinations next, and nobody was served by it before
			}
			for _, h := range gained(last, r) {
				if g.Key() == h.Key() && (g.Severity == probes.Outage || g.Severity == probes.Degraded) {
					t.Errorf("after step %d, %s: neither before nor in the end there is %s", i+1, plan.Steps[i].Command(), wantLine(g))
				}
			}
		}
	}
	tryUndo(t, plan, was)
}

// isNewService says that a finding is about a virtual service that the host does not have yet.
func isNewService(f probes.Finding, s *lvs.Snapshot) bool {
	return f.ID == "no-available-dest" && s.IPVS != nil && !slices.ContainsFunc(s.IPVS.Services, func(v lvs.Service) bool { return v.Key() == f.Subject })
}

// TestNextBootGivesTheSame: a cure that says that the files have it already is one whose files are read at boot.
func TestNextBootGivesTheSame(t *testing.T) {
	tried := 0
	for _, c := range withRecorded(t) {
		for _, f := range c.diagnose().Findings {
			if f.ID != "service-not-in-ipvs" || f.Fix == nil || !f.Fix.Automatic {
				continue
			}
			tried++
			at := slices.IndexFunc(c.observations, func(o probes.Observation) bool { return o.Snapshot.Host == f.Fix.Host })
			was := c.observations[at].Snapshot
			edits, words := nextboot.Edits(f.Fix.Plan, was)
			next := *was
			next.Files = nextboot.Written(was.Files, edits)
			if b, ok := nextboot.After(&next); !ok || b.Table == nil || !b.Table.On && len(words) == 0 {
				t.Errorf("%s/%s: the next boot does not restore the table, and nobody says so", c.rule, c.name)
			}
		}
	}
	if tried == 0 {
		t.Error("no case fills a table from its file")
	}
}
