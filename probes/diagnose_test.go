package probes

import (
	"net/netip"
	"slices"
	"testing"

	"lvstui/lvs"
)

// says is a rule that says the same of every host.
func says(id string, dependsOn []string, findings ...Finding) Rule {
	return Rule{ID: id, Title: id, Stage: lvs.SynScheduled, DependsOn: dependsOn, Judge: func(c *Case) []Finding {
		var out []Finding
		for _, f := range findings {
			g := c.Finding(f.Severity, f.Certainty, f.Subject)
			g.VIP = f.VIP
			if f.Host != "" {
				g.Host = f.Host
			}
			out = append(out, g)
		}
		return out
	}}
}

func diagnose(rules ...Rule) Report {
	return Diagnose(rules, []Observation{{Snapshot: director()}}, Options{})
}

func symptoms(r Report) map[string][]string {
	out := map[string][]string{}
	for _, f := range r.Findings {
		out[f.ID] = f.SymptomOf
	}
	return out
}

func TestSymptoms(t *testing.T) {
	certain, hint := Finding{Severity: Outage, Certainty: Certain}, Finding{Severity: Outage, Certainty: Hint}
	v1, v2 := certain, certain
	v1.VIP, v2.VIP = vip, netip.MustParseAddr("172.16.0.9")
	for _, tt := range []struct {
		name  string
		rules []Rule
		want  map[string][]string
	}{
		{"a cause", []Rule{says("s", []string{"c"}, certain), says("c", nil, certain)}, map[string][]string{"s": {"c"}, "c": {}}},
		{"a cause that was not found", []Rule{says("s", []string{"c"}, certain), says("c", nil)}, map[string][]string{"s": {}}},
		{"two causes, sorted", []Rule{says("s", []string{"d", "c"}, certain), says("d", nil, certain), says("c", nil, certain)}, map[string][]string{"s": {"c", "d"}, "c": {}, "d": {}}},
		{"a hint explains nothing that is certain", []Rule{says("s", []string{"c"}, certain), says("c", nil, hint)}, map[string][]string{"s": {}, "c": {}}},
		{"what is certain explains a hint", []Rule{says("s", []string{"c"}, hint), says("c", nil, certain)}, map[string][]string{"s": {"c"}, "c": {}}},
		{"another VIP", []Rule{says("s", []string{"c"}, v1), says("c", nil, v2)}, map[string][]string{"s": {}, "c": {}}},
		{"a cause for all VIPs", []Rule{says("s", []string{"c"}, v1), says("c", nil, certain)}, map[string][]string{"s": {"c"}, "c": {}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := symptoms(diagnose(tt.rules...))
			for id, causes := range tt.want {
				if !slices.Equal(got[id], causes) {
					t.Errorf("%s is a symptom of %v, want %v", id, got[id], causes)
				}
			}
			slices.Reverse(tt.rules)
			again := symptoms(diagnose(tt.rules...))
			for id := range tt.want {
				if !slices.Equal(got[id], again[id]) {
					t.Errorf("rules in another order: %s is a symptom of %v, not %v", id, again[id], got[id])
				}
			}
		})
	}
}

// Two rules that take each other for the cause must not both vanish.
func TestCircleOfCauses(t *testing.T) {
	f := Finding{Severity: Outage, Certainty: Certain}
	a, b := says("a", []string{"b"}, f), says("b", []string{"a"}, f)
	for _, rules := range [][]Rule{{a, b}, {b, a}} {
		r := diagnose(rules...)
		got := symptoms(r)
		if len(got["a"]) > 0 && len(got["b"]) > 0 {
			t.Errorf("both are symptoms: %v", got)
		}
		if r.Findings[0].SymptomOf == nil || len(r.Findings[0].SymptomOf) > 0 {
			t.Errorf("the first finding is a symptom: %v", r.Findings[0])
		}
	}
}

// Two hosts that say the same of one host are one finding, the surer one.
func TestMerge(t *testing.T) {
	rule := Rule{ID: "x", Title: "x", Stage: lvs.SynScheduled, Judge: func(c *Case) []Finding {
		certainty := Hint
		if c.Name() == "rs1" {
			certainty = Certain
		}
		f := c.Finding(Outage, certainty, "subject")
		f.Host = "rs1"
		return []Finding{f}
	}}
	r := Diagnose([]Rule{rule}, []Observation{{Snapshot: director()}, {Snapshot: realServer("rs1", "192.168.10.11")}}, Options{})
	if len(r.Findings) != 1 || r.Findings[0].Certainty != Certain {
		t.Errorf("findings %+v, want one that is certain", r.Findings)
	}
}

func TestOrderOfFindings(t *testing.T) {
	at := func(id string, stage lvs.Stage, severity Severity, certainty Certainty) Rule {
		r := says(id, nil, Finding{Severity: severity, Certainty: certainty})
		r.Stage = stage
		return r
	}
	want := []string{"early", "late", "strong", "hint", "degraded", "note"}
	rules := []Rule{at("note", lvs.SynSent, Note, Certain), at("hint", lvs.SynSent, Outage, Hint), at("late", lvs.Established, Outage, Certain),
		at("degraded", lvs.SynSent, Degraded, Certain), at("early", lvs.SynSent, Outage, Certain), at("strong", lvs.SynSent, Outage, Strong)}
	var got []string
	for _, f := range diagnose(rules...).Findings {
		got = append(got, f.ID)
	}
	if !slices.Equal(got, want) {
		t.Errorf("order %v, want %v", got, want)
	}
}

func TestVerdict(t *testing.T) {
	unread := bare("x")
	unread.IPVS = nil
	needy := says("n", nil)
	needy.Needs, needy.Roles = []lvs.Source{lvs.SourceNetfilter}, []lvs.Role{lvs.RoleDirector}
	blind := director()
	blind.Netfilter = nil
	for _, tt := range []struct {
		name  string
		rules []Rule
		host  *lvs.Snapshot
		want  Verdict
		exit  int
	}{
		{"nothing found", []Rule{says("a", nil)}, director(), VerdictOK, 0},
		{"a note", []Rule{says("a", nil, Finding{Severity: Note, Certainty: Certain})}, director(), VerdictOK, 0},
		{"a hazard", []Rule{says("a", nil, Finding{Severity: Hazard, Certainty: Certain})}, director(), VerdictWarning, 1},
		{"an outage", []Rule{says("a", nil, Finding{Severity: Outage, Certainty: Strong})}, director(), VerdictBroken, 2},
		{"a hazard and an outage", []Rule{says("b", nil, Finding{Severity: Outage, Certainty: Strong}), says("a", nil, Finding{Severity: Hazard, Certainty: Certain})}, director(), VerdictBroken, 2},
		{"could not look", []Rule{needy}, blind, VerdictUnknown, 3},
		{"could not look, and found something", []Rule{needy, says("a", nil, Finding{Severity: Hazard, Certainty: Certain})}, blind, VerdictWarning, 1},
		{"a rule for another role passes", []Rule{needy}, func() *lvs.Snapshot { s := bare("x"); s.Netfilter = nil; return s }(), VerdictOK, 0},
		{"not even the role is known", nil, unread, VerdictUnknown, 3},
		{"no LVS host", nil, bare("x"), VerdictOK, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := Diagnose(tt.rules, []Observation{{Snapshot: tt.host}}, Options{})
			if r.Verdict != tt.want || r.Verdict.ExitStatus() != tt.exit {
				t.Errorf("verdict %s, exit status %d, want %s, %d", r.Verdict, r.Verdict.ExitStatus(), tt.want, tt.exit)
			}
			if r.Summary == "" {
				t.Error("no summary")
			}
		})
	}
}

func TestNoHost(t *testing.T) {
	r := Diagnose(nil, nil, Options{})
	if r.Verdict != VerdictUnknown || len(r.Path) != 11 {
		t.Errorf("verdict %s, %d stages", r.Verdict, len(r.Path))
	}
}

func TestCheckRules(t *testing.T) {
	good := says("a", []string{"b"})
	for _, tt := range []struct {
		name  string
		rules []Rule
		ok    bool
	}{
		{"good", []Rule{good, says("b", nil)}, true},
		{"a cause that is no rule", []Rule{good}, false},
		{"an id twice", []Rule{says("b", nil), says("b", nil)}, false},
		{"no id", []Rule{says("", nil)}, false},
		{"no such stage", []Rule{func() Rule { r := says("b", nil); r.Stage = "syn"; return r }()}, false},
		{"no judge", []Rule{{ID: "b", Title: "b", Stage: lvs.SynSent}}, false},
	} {
		if err := Check(tt.rules); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
