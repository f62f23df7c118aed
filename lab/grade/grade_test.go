package grade

import (
	"slices"
	"strings"
	"testing"

	"lvstui/lab"
	"lvstui/probes"
	"lvstui/probes/rules"
)

func TestScenariosAreWellFormed(t *testing.T) {
	cases, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	count := map[Kind]int{}
	for _, c := range cases {
		count[c.kind()]++
		var hosts []string
		for _, w := range c.wires() {
			hosts = append(hosts, w.Host)
			if len(w.NIC) > 15 {
				t.Errorf("%s: the kernel takes no name as long as %s", c.Name(), w.NIC)
			}
		}
		for _, s := range c.scenarios() {
			for _, a := range s.Acts {
				if a.Host != "switch" && !slices.Contains(hosts, a.Host) {
					t.Errorf("%s: there is no host %s to act on", c.Name(), a.Host)
				}
			}
		}
		for _, k := range c.Connects() {
			if !slices.Contains(hosts, k.From) {
				t.Errorf("%s: there is no host %s to connect from", c.Name(), k.From)
			}
		}
		if len(c.Connects()) == 0 {
			t.Errorf("%s: nobody connects", c.Name())
		}
		for _, f := range append(c.Finds(), c.Allowed()...) {
			if _, ok := rules.Find(f.ID); !ok {
				t.Errorf("%s: there is no rule %s", c.Name(), f.ID)
			}
		}
		for _, f := range c.Finds() {
			if v := f.Vantages[0]; v != All && !slices.Contains(hosts, v.Host()) {
				t.Errorf("%s: there is no vantage %s", c.Name(), v)
			}
		}
		if c.kind() != Healthy && len(c.Finds()) == 0 {
			t.Errorf("%s: nothing must be found", c.Name())
		}
	}
	if count[Healthy] < 25 || count[Faulty] < 50 || count[Pair] < 30 {
		t.Errorf("there are %v cases, want at least 25 healthy clusters, 50 faults and 30 pairs", count)
	}
	for id := range Unprovoked() {
		if _, ok := rules.Find(id); !ok {
			t.Errorf("unprovoked.txt: there is no rule %s", id)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"-- scenario --\ncluster a\n":                             "no title",
		"t\n-- scenario --\nclient served\n":                      "neither wires nor a cluster",
		"t\n-- scenario --\ncluster a\nfind x rs2 sure\n":         "certainty",
		"t\n-- scenario --\ncluster a\nfind x\n":                  "want find",
		"t\n-- scenario --\ncluster a\nclient happy\n":            "no service",
		"t\n-- scenario --\ncluster a\nhope x\n":                  "no statement",
		"t\n-- scenario --\ncluster a\nconnect sctp 1.2.3.4:80\n": "protocol",
	} {
		if _, err := parse(Faulty, "x", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q came to %v, want an error that says %q", text, err, want)
		}
	}
}

// scenario makes a case of a text.
func scenario(t *testing.T, kind Kind, text string) Case {
	t.Helper()
	s, err := parse(kind, "x", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return Case{Scenario: s, Base: &Scenario{Kind: Cluster, Name: "a"}}
}

func TestJudge(t *testing.T) {
	c := scenario(t, Faulty, "t\n-- scenario --\ncluster a\nclient timeout\nfind lost rs2,all certain on=rs2\nallow symptom\n")
	finding := func(id, host string, s probes.Severity, sure probes.Certainty) probes.Finding {
		return probes.Finding{ID: id, Host: host, Severity: s, Certainty: sure}
	}
	m := Measured{GotIt: true, Got: "4 timeout", Reports: map[Vantage]probes.Report{
		"rs2":      {Findings: []probes.Finding{finding("lost", "rs2", probes.Outage, probes.Strong), finding("symptom", "rs2", probes.Outage, probes.Strong)}},
		"director": {Findings: []probes.Finding{finding("else", "director", probes.Degraded, probes.Certain), finding("opinion", "director", probes.Hazard, probes.Certain)}},
		All:        {Findings: []probes.Finding{finding("lost", "rs2", probes.Outage, probes.Certain), finding("lost", "rs1", probes.Outage, probes.Certain)}},
	}}
	v := Judge(c, m)
	if got := vantages(v.Found); got != "lost: all certain" {
		t.Errorf("found %q", got)
	}
	if got := vantages(v.Missed); got != "lost: rs2 strong" {
		t.Errorf("missed %q", got)
	}
	if got := vantages(v.False); got != "else: director certain; lost: all certain" {
		t.Errorf("false %q", got)
	}
	if got := vantages(v.Also); got != "opinion: director certain; symptom: rs2 strong" {
		t.Errorf("also %q", got)
	}
	text := Report([]Verdict{v}, []probes.Rule{{ID: "lost"}, {ID: "idle"}}, Machine{Kernel: "6.1"})
	for _, want := range []string{"Claims that failed", "else claimed degraded, certain", "| 1/1 certain |", "* idle: no scenario yet", "rs2 misses lost, at least certain"} {
		if !strings.Contains(text, want) {
			t.Errorf("the report does not say %q:\n%s", want, text)
		}
	}
	m.GotIt = false
	if v = Judge(c, m); !strings.Contains(v.Failed, "not timeout") || len(v.False) > 0 {
		t.Errorf("a scenario that did not do its harm came to %+v", v)
	}
}

func TestHealthyMustBeSilent(t *testing.T) {
	s, err := parse(Healthy, "x", []byte("t\n-- scenario --\nnobody none\n-- wires --\nweb eth0 lan\n"))
	if err != nil {
		t.Fatal(err)
	}
	m := Measured{GotIt: true, Reports: map[Vantage]probes.Report{"web": {Verdict: probes.VerdictUnknown}}}
	if v := Judge(Case{Scenario: s, Base: s}, m); len(v.False) != 1 {
		t.Errorf("a host that has nothing to do with LVS and is not told so came to %+v", v)
	}
}

func TestGotIt(t *testing.T) {
	ok := func(server string) lab.Result { return lab.Result{Outcome: lab.OK, Server: server} }
	lost := lab.Result{Outcome: lab.TimedOut}
	for _, tc := range []struct {
		want    string
		results []lab.Result
		got     bool
	}{
		{"served", []lab.Result{ok("rs1"), ok("rs2")}, true},
		{"served", []lab.Result{ok("rs1"), lost}, false},
		{"served rs2", []lab.Result{ok("rs2"), ok("rs2")}, true},
		{"served rs2", []lab.Result{ok("rs1"), ok("rs2")}, false},
		{"partly timeout", []lab.Result{ok("rs1"), lost}, true},
		{"partly timeout", []lab.Result{lost, lost}, false},
		{"partly refused", []lab.Result{ok("rs1"), lost}, false},
		{"timeout", []lab.Result{lost, lost}, true},
		{"any", []lab.Result{lost}, true},
	} {
		s := &Scenario{}
		if err := s.client(strings.Fields(tc.want), nil); err != nil {
			t.Fatal(err)
		}
		if got := gotIt(s.Client[0].Want, tc.results); got != tc.got {
			t.Errorf("%q with %s: %v", tc.want, describe(tc.results), got)
		}
	}
}
