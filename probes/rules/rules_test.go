package rules

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"lvstui/fixes"
	"lvstui/fixes/nextboot"
	"lvstui/lvs"
	"lvstui/probes"
)

func TestCases(t *testing.T) {
	for _, c := range loadCases(t) {
		t.Run(c.rule+"/"+c.name, func(t *testing.T) {
			if err := checkWants(c.diagnose(), c.want); err != nil {
				t.Error(err)
			}
		})
	}
}

// A rule without a case in which it is found and one in which it keeps silent has not been thought through.
func TestEveryRuleHasCases(t *testing.T) {
	if err := probes.Check(All()); err != nil {
		t.Fatal(err)
	}
	cases := loadCases(t)
	for _, r := range All() {
		mine := slices.DeleteFunc(slices.Clone(cases), func(c testCase) bool { return c.rule != r.ID })
		if !slices.ContainsFunc(mine, testCase.found) {
			t.Errorf("testdata/%s: no case wants a finding %s", r.ID, r.ID)
		}
		if !slices.ContainsFunc(mine, testCase.absent) {
			t.Errorf("testdata/%s: no case wants no %s", r.ID, r.ID)
		}
		e := r.Explain
		if e.Breaks == "" || e.ByHand == "" || e.Cure == "" || e.Source == "" {
			t.Errorf("%s: Explain is not complete", r.ID)
		}
		if len(r.Roles) == 0 || len(r.Needs) == 0 {
			t.Errorf("%s: Roles and Needs must not be empty: it would be judged on every host, and called ok on one that could not be read", r.ID)
		}
	}
	for _, c := range cases {
		if _, ok := Find(c.rule); !ok {
			t.Errorf("testdata/%s: no such rule", c.rule)
		}
	}
}

// Each finding has to be complete enough to act on.
func TestFindingsAreComplete(t *testing.T) {
	for _, c := range loadCases(t) {
		for _, f := range c.diagnose().Findings {
			where := fmt.Sprintf("%s/%s: %s on %s", c.rule, c.name, f.ID, f.Host)
			if f.Title == "" || f.Why == "" || f.Subject == "" || f.Host == "" || len(f.Evidence) == 0 {
				t.Errorf("%s: title %q, why %q, subject %q, host %q, %d pieces of evidence: all are needed", where, f.Title, f.Why, f.Subject, f.Host, len(f.Evidence))
			}
			for _, e := range f.Evidence {
				if e.Fact == "" || e.Got == "" || e.Command == "" {
					t.Errorf("%s: evidence %+v is not complete", where, e)
				}
			}
			if f.Fix == nil {
				continue
			}
			if f.Fix.Host == "" || len(f.Fix.Commands) == 0 && f.Fix.Words == "" {
				t.Errorf("%s: a fix says where and what: %+v", where, f.Fix)
			}
			if f.Fix.Automatic && (f.Fix.Plan.Empty() || f.Fix.Plan.ID != f.ID || f.Fix.Plan.Host != f.Fix.Host) {
				t.Errorf("%s: an automatic fix needs steps, the finding's id and host: %+v", where, f.Fix.Plan)
			}
		}
	}
}

// The plan of every finding, tried on the host it was found on: nothing gets worse on the way, it is gone in the end,
// and undone it leaves no trace.
func TestPlansCure(t *testing.T) {
	tried := 0
	for _, c := range withRecorded(t) {
		before := c.diagnose()
		for _, f := range before.Findings {
			if f.Fix == nil || !f.Fix.Automatic {
				continue
			}
			tried++
			t.Run(c.rule+"/"+c.name+"/"+f.ID, func(t *testing.T) { tryPlan(t, c, before, f) })
		}
	}
	if tried == 0 {
		t.Error("no case has a finding with an automatic fix")
	}
}

func tryPlan(t *testing.T, c testCase, before probes.Report, f probes.Finding) {
	plan := f.Fix.Plan
	at := slices.IndexFunc(c.observations, func(o probes.Observation) bool { return o.Snapshot.Host == plan.Host })
	if at < 0 {
		t.Fatalf("the plan is for %s, which is not here", plan.Host)
	}
	was := c.observations[at].Snapshot
	states, err := plan.Simulate(was)
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Files) > 0 {
		tryFiles(t, c, at, before, f)
	}
	for i, s := range states {
		with := c
		with.observations = slices.Clone(c.observations)
		with.observations[at].Snapshot = s
		after := with.diagnose()
		for _, g := range gained(before, after) {
			rest := g.ID == f.ID && g.Host == f.Host && i < len(states)-1 // what is left of the finding that is being cured
			if !rest && !(i < len(states)-1 && isNewService(g, was)) && (g.Severity == probes.Outage || g.Severity == probes.Degraded || i == len(states)-1) {
				t.Errorf("after step %d, %s: gained %s", i+1, plan.Steps[i].Command(), wantLine(g))
			}
		}
		if i == len(states)-1 && slices.ContainsFunc(after.Findings, func(g probes.Finding) bool { return g.Key() == f.Key() }) {
			t.Errorf("not cured by %q", plan.Commands())
		}
	}
	tryUndo(t, plan, was)
}

// tryUndo does a plan and takes it back: nothing is left of it.
func tryUndo(t *testing.T, plan fixes.Plan, was *lvs.Snapshot) {
	t.Helper()
	undo, err := plan.Undo(was)
	if err != nil {
		t.Fatal(err)
	}
	after, err := plan.After(was)
	if err != nil {
		t.Fatal(err)
	}
	back, err := undo.After(after)
	if err != nil {
		t.Fatal(err)
	}
	// Neither the name of an errno nor which of two merged tables answered is for a rule to look at.
	same := append(slices.Clone(byValue), cmpopts.IgnoreFields(lvs.RouteAnswer{}, "Error", "Table"),
		cmpopts.SortSlices(func(a, b lvs.Address) bool { return a.Device+a.Prefix.String() < b.Device+b.Prefix.String() }),
		cmpopts.SortSlices(func(a, b lvs.Route) bool { return fmt.Sprint(a) < fmt.Sprint(b) }))
	if diff := cmp.Diff(withoutLearnt(was), withoutLearnt(back), same...); diff != "" {
		t.Errorf("undone it is not what it was (-was +is):\n%s", diff)
	}
}

// tryFiles writes the files of a plan: the finding is gone, and nothing else has come.
func tryFiles(t *testing.T, c testCase, at int, before probes.Report, f probes.Finding) {
	s := *c.observations[at].Snapshot
	s.Files = nextboot.Written(s.Files, f.Fix.Plan.Files)
	c.observations = slices.Clone(c.observations)
	c.observations[at].Snapshot = &s
	after := c.diagnose()
	if slices.ContainsFunc(after.Findings, func(g probes.Finding) bool { return g.Key() == f.Key() }) {
		t.Errorf("not cured by writing %+v", f.Fix.Plan.NextBoot)
	}
	for _, g := range gained(before, after) {
		t.Errorf("after writing the files: gained %s", wantLine(g))
	}
}

// withoutLearnt is a host without the neighbours that its kernel learns by itself, and forgets.
func withoutLearnt(s *lvs.Snapshot) *lvs.Snapshot {
	out := *s
	out.Neighbours = slices.DeleteFunc(slices.Clone(s.Neighbours), func(n lvs.Neighbour) bool { return n.State != "permanent" })
	return &out
}

// gained are the findings of after that before had not, or not that bad. Notes do not count, and neither do hints: flows that were
// stalled before a cure go on looking for a cause.
func gained(before, after probes.Report) []probes.Finding {
	rank := func(s probes.Severity) int {
		return slices.Index([]probes.Severity{probes.Note, probes.Hazard, probes.Degraded, probes.Outage}, s)
	}
	var out []probes.Finding
	for _, f := range after.Findings {
		if f.Severity != probes.Note && f.Certainty != probes.Hint && !slices.ContainsFunc(before.Findings, func(g probes.Finding) bool {
			return g.Key() == f.Key() && rank(g.Severity) >= rank(f.Severity)
		}) {
			out = append(out, f)
		}
	}
	return out
}

var sources = []lvs.Source{lvs.SourceIPVS, lvs.SourceLinks, lvs.SourceAddresses, lvs.SourceNeighbours, lvs.SourceRoutes,
	lvs.SourceAnswers, lvs.SourceRules, lvs.SourceSysctls, lvs.SourceSockets, lvs.SourceClients, lvs.SourceNetfilter,
	lvs.SourceCounters, lvs.SourceOwners}

// without is the snapshot with one source not read.
func without(whole *lvs.Snapshot, src lvs.Source) *lvs.Snapshot {
	copied := *whole
	s := &copied
	switch src {
	case lvs.SourceIPVS:
		s.IPVS = nil
	case lvs.SourceLinks:
		s.Links = nil
	case lvs.SourceAddresses:
		s.Addresses = nil
	case lvs.SourceNeighbours:
		s.Neighbours = nil
	case lvs.SourceRoutes:
		s.Routes = nil
	case lvs.SourceAnswers:
		s.Answers = nil
	case lvs.SourceRules:
		s.PolicyRules = nil
	case lvs.SourceSysctls:
		s.Sysctls = nil
	case lvs.SourceSockets:
		s.Sockets = nil
	case lvs.SourceClients:
		s.Clients = nil
	case lvs.SourceNetfilter:
		s.Netfilter = nil
	case lvs.SourceCounters:
		s.Counters = nil
	case lvs.SourceOwners:
		s.Owners = nil
	}
	s.Gaps = append(slices.Clone(s.Gaps), lvs.Gap{Source: src, Reason: "left out by the test"})
	return s
}

// What could not be read is unknown: no panic, no finding made of nothing, no stage called ok by a rule that had to pass.
func TestMissingSources(t *testing.T) {
	for _, c := range withRecorded(t) {
		before := c.diagnose()
		for at := range c.observations {
			if at > 0 && c.rule == "recorded" {
				break // every host is the first one of another case
			}
			for _, src := range sources {
				with := c
				with.observations = slices.Clone(c.observations)
				with.observations[at].Snapshot = without(c.observations[at].Snapshot, src)
				checkWithout(t, with, before, src, c.observations[at].Snapshot.Host)
			}
			if c.observations[at].Snapshot.Sysctls != nil {
				s := *c.observations[at].Snapshot
				s.Sysctls = map[string]string{}
				with := c
				with.observations = slices.Clone(c.observations)
				with.observations[at].Snapshot = &s
				checkWithout(t, with, before, lvs.SourceSysctls, s.Host)
			}
		}
	}
}

func checkWithout(t *testing.T, c testCase, before probes.Report, src lvs.Source, host string) {
	t.Helper()
	after := c.diagnose()
	where := fmt.Sprintf("%s/%s without %s of %s", c.rule, c.name, src, host)
	for _, g := range gained(before, after) {
		if g.Certainty == probes.Certain && (g.Severity == probes.Outage || g.Severity == probes.Degraded) {
			t.Errorf("%s: made up %s", where, wantLine(g))
		}
	}
	stages := map[lvs.Stage]bool{}
	for _, u := range after.Undecided {
		if r, ok := Find(u.Rule); ok {
			stages[r.Stage] = true
		}
	}
	for _, p := range after.Path {
		if p.Status == lvs.StageOK && p.Due == 0 && stages[p.Stage] {
			t.Errorf("%s: stage %s is ok although a rule had to pass", where, p.Stage)
		}
	}
	if after.Verdict == probes.VerdictOK && len(after.Undecided) > 0 {
		t.Errorf("%s: verdict ok although %v", where, after.Undecided)
	}
}

// Rules are independent: whatever their order, the report is the same.
func TestOrderOfRules(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, c := range loadCases(t) {
		want := c.diagnose()
		shuffled := All()
		random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		got := probes.Diagnose(shuffled, c.observations, c.options)
		for _, r := range []*probes.Report{&want, &got} {
			slices.SortStableFunc(r.Undecided, func(a, b probes.Undecided) int { return strings.Compare(a.Rule+a.Host, b.Rule+b.Host) })
		}
		if diff := cmp.Diff(want, got, byValue...); diff != "" {
			t.Errorf("%s/%s: another order of rules gives another report:\n%s", c.rule, c.name, diff)
		}
	}
}

var byValue = []cmp.Option{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
}

// The fields of check's JSON are a promise to scripts.
func TestReportJSON(t *testing.T) {
	for _, c := range loadCases(t) {
		var r map[string]any
		if err := json.Unmarshal(toJSON(t, c.diagnose()), &r); err != nil {
			t.Fatal(err)
		}
		where := c.rule + "/" + c.name
		needKeys(t, where, r, "schema", "host", "taken_at", "roles", "verdict", "virtual_services", "path", "findings", "gaps")
		needLists(t, where, r, "roles", "virtual_services", "path", "findings", "gaps")
		for _, v := range r["path"].([]any) {
			p := v.(map[string]any)
			needKeys(t, where+" path", p, "stage", "status", "findings")
			needLists(t, where+" path", p, "findings")
		}
		for _, v := range r["findings"].([]any) {
			f := v.(map[string]any)
			needKeys(t, where+" finding", f, "id", "severity", "certainty", "stage", "host", "subject", "title", "why", "evidence", "symptom_of", "fix")
			needLists(t, where+" finding", f, "evidence", "symptom_of")
			for _, e := range f["evidence"].([]any) {
				needKeys(t, where+" evidence", e.(map[string]any), "fact", "got", "want", "command")
			}
			if fix, ok := f["fix"].(map[string]any); ok {
				needKeys(t, where+" fix", fix, "host", "commands", "automatic")
				needLists(t, where+" fix", fix, "commands")
			}
		}
	}
}

func needKeys(t *testing.T, where string, object map[string]any, keys ...string) {
	t.Helper()
	for _, k := range keys {
		if _, ok := object[k]; !ok {
			t.Errorf("%s: no %q", where, k)
		}
	}
}

func needLists(t *testing.T, where string, object map[string]any, keys ...string) {
	t.Helper()
	for _, k := range keys {
		if _, ok := object[k].([]any); !ok {
			t.Errorf("%s: %q is %v and not a list", where, k, object[k])
		}
	}
}

func toJSON(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// withRecorded adds the hosts recorded in the lab to the cases: all of a folder together, and each alone.
func withRecorded(t testing.TB) []testCase {
	t.Helper()
	out := loadCases(t)
	for folder, hosts := range recorded(t) {
		for i, h := range hosts {
			others := slices.Delete(slices.Clone(hosts), i, i+1)
			out = append(out,
				testCase{rule: "recorded", name: folder + "/" + h.Snapshot.Host, observations: []probes.Observation{h}},
				testCase{rule: "recorded", name: folder + "/" + h.Snapshot.Host + "+", observations: append([]probes.Observation{h}, others...)})
		}
	}
	return out
}

// Healthy clusters recorded in the lab: a false alarm costs more than a missed one.
func TestHealthyHostsAreLeftAlone(t *testing.T) {
	healthy := map[string]bool{"shared": true, "single": true}
	for _, c := range withRecorded(t) {
		folder, _, _ := strings.Cut(c.name, "/")
		if c.rule != "recorded" || !healthy[folder] {
			continue
		}
		for _, f := range c.diagnose().Findings {
			if f.Severity == probes.Outage || f.Severity == probes.Degraded {
				t.Errorf("%s: false alarm: %s", c.name, wantLine(f))
			}
		}
	}
}

// Faults recorded in the lab are found from all hosts together, and nothing else is blamed, by all or by one alone.
func TestFaultsAreFound(t *testing.T) {
	onlyByFlows := []string{"service-not-in-ipvs"} // without a SYN nobody knows which port a client wants
	alsoTrue := map[string]string{
		"service-not-in-ipvs": "service-not-listening-on-vip", // the service is on a port that no real server has
		"vip-prefix-on-lo":    "rs-neigh-failed",              // all that the director alone can see of it
	}
	for folder, hosts := range recorded(t) {
		topology, fault, ok := strings.Cut(folder, "-")
		if _, known := Find(fault); !ok || !known {
			continue
		}
		r := probes.Diagnose(All(), hosts, probes.Options{})
		found := slices.ContainsFunc(r.Findings, func(f probes.Finding) bool { return f.ID == fault })
		undecided := slices.ContainsFunc(r.Undecided, func(u probes.Undecided) bool { return u.Rule == fault })
		if !found && !undecided && !slices.Contains(onlyByFlows, fault) {
			t.Errorf("%s: not found", folder)
		}
		findings := r.Findings
		for _, h := range hosts {
			findings = append(findings, probes.Diagnose(All(), []probes.Observation{h}, probes.Options{}).Findings...)
		}
		for _, f := range findings {
			blamed := (f.Severity == probes.Outage || f.Severity == probes.Degraded) && f.Certainty != probes.Hint && len(f.SymptomOf) == 0
			expected := f.ID == fault || f.ID == alsoTrue[fault] || topology == "split" && f.ID == "router-urpf-or-source-guard"
			if blamed && !expected {
				t.Errorf("%s: blames %s", folder, wantLine(f))
			}
		}
	}
}
