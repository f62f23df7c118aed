package grade

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"lvstui/lab"
	"lvstui/probes"
)

// Verdict compares what lvstui said in a case with what is true there.
type Verdict struct {
	Case    Case
	Absent  bool   // nobody has measured it yet
	Failed  string // the case itself went wrong, so it says nothing about lvstui
	Service string // what the client got
	Tries   int
	Found   []Made
	Missed  []Made
	False   []Made
	Also    []Made // true besides what had to be found, or a hazard or note
}

// Made is a finding that was made, or should have been, at a vantage.
type Made struct {
	ID        string
	Vantage   Vantage
	Certainty probes.Certainty
	Want      probes.Certainty
	Severity  probes.Severity
	On        string
	Said      string // instead, or in which words
}

// Judge compares a measured case with its scenario. It is pure.
func Judge(c Case, m Measured) Verdict {
	v := Verdict{Case: c, Failed: m.Error, Service: m.Got, Tries: m.Tries}
	if v.Failed == "" && !m.GotIt {
		v.Failed = fmt.Sprintf("the client got %s, not %s", m.Got, c.Service())
	}
	if v.Failed == "" && m.Hurried {
		v.Failed = "the machine was too busy: lvstui could not look at all it wanted in its time"
	}
	if v.Failed != "" {
		return v
	}
	wanted := c.Finds()
	for _, w := range wanted {
		at := w.Vantages[0]
		made := Made{ID: w.ID, Vantage: at, Want: w.Certainty, On: w.On}
		report, looked := m.Reports[at]
		if !looked {
			v.Failed = fmt.Sprintf("nobody looked at %s", at)
			return v
		}
		for _, f := range report.Findings {
			if f.ID == w.ID && (w.On == "" || f.Host == w.On) && rank(f.Certainty) > rank(made.Certainty) {
				made.Certainty, made.Severity = f.Certainty, f.Severity
			}
		}
		if rank(made.Certainty) >= rank(w.Certainty) {
			v.Found = append(v.Found, made)
		} else {
			made.Said = said(report)
			v.Missed = append(v.Missed, made)
		}
	}
	allowed := c.Allowed()
	for _, at := range slices.Sorted(maps.Keys(m.Reports)) {
		for _, f := range m.Reports[at].Findings {
			made := Made{ID: f.ID, Vantage: at, Certainty: f.Certainty, Severity: f.Severity, On: f.Host, Said: f.Title + ": " + f.Subject}
			serious := f.Severity == probes.Outage || f.Severity == probes.Degraded
			switch {
			case slices.ContainsFunc(wanted, func(w Find) bool { return w.Vantages[0] == at && w.ID == f.ID && (w.On == "" || w.On == f.Host) }):
			case !serious || slices.ContainsFunc(allowed, func(w Find) bool { return w.ID == f.ID && (w.On == "" || w.On == f.Host) }):
				v.Also = append(v.Also, made)
			default:
				v.False = append(v.False, made)
			}
		}
		if why := notAsPlain(c, m.Reports[at]); why != "" {
			v.False = append(v.False, Made{ID: "verdict", Vantage: at, Said: why})
		}
	}
	return v
}

// notAsPlain says what is wrong with a report about hosts that have nothing to do with LVS, or serve their clients.
func notAsPlain(c Case, r probes.Report) string {
	if c.Scenario != c.Base {
		return ""
	}
	if r.Verdict == probes.VerdictBroken {
		return "verdict broken: " + r.Summary
	}
	if c.Scenario.Nobody != "" && (len(r.Roles) > 0 || r.Verdict != probes.VerdictOK) {
		return fmt.Sprintf("roles %v, verdict %s: %s", r.Roles, r.Verdict, r.Summary)
	}
	return ""
}

func said(r probes.Report) string {
	var out []string
	for _, f := range r.Findings {
		out = append(out, fmt.Sprintf("%s (%s, %s)", f.ID, f.Severity, f.Certainty))
	}
	if len(out) == 0 {
		return "nothing, verdict " + string(r.Verdict)
	}
	return strings.Join(out, "; ")
}

// gotIt says whether the client got what it should.
func gotIt(want Service, results []lab.Result) bool {
	s := lab.Count(results)
	ends := map[string]int{"refused": s.Refused, "timeout": s.TimedOut, "unreachable": s.Unreachable, "broken": s.Broken}
	switch want.Kind {
	case "any":
		return true
	case "unserved":
		return s.OK == 0
	case "served":
		return s.OK == len(results) && (want.Server == "" || s.Servers[want.Server] == s.OK)
	case "partly":
		return s.OK > 0 && ends[want.Lost] > 0 && s.OK+ends[want.Lost] == len(results)
	}
	return ends[want.Kind] == len(results)
}

// describe says how connections ended: "2 served by rs1, 2 timeout".
func describe(results []lab.Result) string {
	s := lab.Count(results)
	var out []string
	for _, name := range slices.Sorted(maps.Keys(s.Servers)) {
		out = append(out, fmt.Sprintf("%d served by %s", s.Servers[name], name))
	}
	for _, e := range []struct {
		n    int
		what lab.Outcome
	}{{s.Refused, lab.Refused}, {s.TimedOut, lab.TimedOut}, {s.Unreachable, lab.Unreachable}, {s.Broken, lab.Broken}} {
		if e.n > 0 {
			out = append(out, fmt.Sprintf("%d %s", e.n, e.what))
		}
	}
	if len(out) == 0 {
		return "nothing to connect to"
	}
	return strings.Join(out, ", ")
}

func (s Service) String() string {
	switch {
	case s.Kind == "served" && s.Server != "":
		return "served by " + s.Server
	case s.Kind == "partly":
		return "partly served, the rest " + s.Lost
	}
	return s.Kind
}
