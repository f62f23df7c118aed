package grade

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"lvstui/internal/arrange"
	"lvstui/lvs"
	"lvstui/probes"
)

// Machine is what the document says of where it was measured.
type Machine struct {
	Kernel string
	Note   string // what else readers of the figures must know
}

// Report is docs/grading.md: the same verdicts give the same text, whenever they were made.
func Report(all []Verdict, rules []probes.Rule, m Machine) string {
	var absent []string
	scenarios := all
	all = slices.DeleteFunc(slices.Clone(all), func(v Verdict) bool {
		if v.Absent {
			absent = append(absent, v.Case.Name())
		}
		return v.Absent
	})
	var b strings.Builder
	b.WriteString("# Grading\n\n<!-- written by make grade; do not edit -->\n\n")
	failedClaims(&b, all)
	fmt.Fprintf(&b, `What lvstui says, held against what is true. Every scenario below lab/grade/testdata is built of network namespaces in a guest
with Linux %s under qemu, with the guest's own ip, sysctl, ipvsadm, nft, iptables, arptables, keepalived, ifup and systemd-networkd; a client
really connects; the program itself listens on the hosts with `+"`lvstui check --flows`"+` while it does, and each host is looked at afterwards, as
`+"`lvstui check`"+` (here "director", "rs2") and, all snapshots together, as `+"`lvstui check --from`"+` (here "all") do. On routers and clients the VIP is named
(`+"`--vip`"+`), because they cannot know it, and where a scenario says "told" the role is named as well (`+"`--role`"+`); "rs2+vip" is a real server where it was named too. "+flows" is with listening, "+probe" with
`+"`--probe arp`"+`, where a scenario asks for it. To repeat it: `+"`make grade`"+`, or one
scenario: `+"`make grade ONLY=rs-rp-filter`"+`.

A finding is *false* when it says outage or degraded and the scenario does not have that fault. *Due* is what can be proved from a vantage, and how
surely; what cannot is said in the scenario's file.

`, m.Kernel)
	if m.Note != "" {
		b.WriteString(m.Note + "\n\n")
	}
	if len(absent) > 0 {
		fmt.Fprintf(&b, "**%d of %d scenarios were not measured in this run:** %s.\n\n", len(absent), len(absent)+len(all), strings.Join(absent, ", "))
	}
	summary(&b, all)
	byRule(&b, all, rules)
	withoutScenario(&b, scenarios, rules)
	healthy(&b, all)
	faults(&b, all, Faulty, "Faults")
	faults(&b, all, Pair, "Pairs of faults")
	trouble(&b, all)
	return b.String()
}

// failedClaims are the findings that claimed to be certain and were wrong.
func failedClaims(b *strings.Builder, all []Verdict) {
	var lines []string
	for _, v := range all {
		for _, f := range v.False {
			if f.Certainty == probes.Certain {
				lines = append(lines, fmt.Sprintf("- %s claimed %s, certain, in %s at %s: %s", f.ID, f.Severity, v.Case.Name(), f.Vantage, f.Said))
			}
		}
	}
	if len(lines) > 0 {
		fmt.Fprintf(b, "## Claims that failed\n\n```diff\n%s\n```\n\n", strings.Join(lines, "\n"))
	}
}

func summary(b *strings.Builder, all []Verdict) {
	b.WriteString("| | scenarios | findings due | found | missed | false |\n|---|---|---|---|---|---|\n")
	for _, kind := range []Kind{Healthy, Faulty, Pair} {
		n, found, missed, wrong := 0, 0, 0, 0
		for _, v := range all {
			if v.Case.kind() == kind {
				n, found, missed, wrong = n+1, found+len(v.Found), missed+len(v.Missed), wrong+len(v.False)
			}
		}
		fmt.Fprintf(b, "| %s | %d | %d | %d | %d | %d |\n", kind, n, found+missed, found, missed, wrong)
	}
	b.WriteString("\n")
}

// columns of the table of rules: kinds of vantage.
var columns = []string{"director", "director+flows", "director+probe", "real server", "real server+vip", "real server+flows", "router, client", "router, client+flows", "all"}

// column is the kind of a vantage.
func column(v Vantage) string {
	host, with, _ := strings.Cut(string(v), "+")
	switch {
	case strings.HasPrefix(host, "director"):
		host = "director"
	case strings.HasPrefix(host, "rs"):
		host = "real server"
	case v != All:
		host = "router, client"
	}
	if with != "" {
		host += "+" + with
	}
	return host
}

// tally is what came of a rule at a kind of vantage.
type tally struct {
	due, found int
	lowest     probes.Certainty
}

func (t *tally) String() string {
	if t == nil {
		return ""
	}
	s := fmt.Sprintf("%d/%d", t.found, t.due)
	if t.lowest != "" {
		s += " " + string(t.lowest)
	}
	return s
}

func byRule(b *strings.Builder, all []Verdict, rules []probes.Rule) {
	b.WriteString("## By rule\n\nFound of due, and the least certainty with which it was found. *False* counts vantages.\n\n| rule | " + strings.Join(columns, " | ") + " | false |\n|---|" + strings.Repeat("---|", len(columns)) + "---|\n")
	tallies := map[string]map[string]*tally{}
	wrong := map[string]int{}
	count := func(f Made, found int) {
		if tallies[f.ID] == nil {
			tallies[f.ID] = map[string]*tally{}
		}
		t := tallies[f.ID][column(f.Vantage)]
		if t == nil {
			t = &tally{}
			tallies[f.ID][column(f.Vantage)] = t
		}
		t.due, t.found = t.due+1, t.found+found
		if found > 0 && (t.lowest == "" || rank(f.Certainty) < rank(t.lowest)) {
			t.lowest = f.Certainty
		}
	}
	for _, v := range all {
		for _, f := range v.Found {
			count(f, 1)
		}
		for _, f := range v.Missed {
			count(f, 0)
		}
		for _, f := range v.False {
			wrong[f.ID]++
		}
	}
	for _, r := range inOrder(rules) {
		if tallies[r.ID] == nil && wrong[r.ID] == 0 {
			continue
		}
		fmt.Fprintf(b, "| [%s](findings/%[1]s.md)", r.ID)
		for _, c := range columns {
			fmt.Fprintf(b, " | %s", tallies[r.ID][c])
		}
		fmt.Fprintf(b, " | %d |\n", wrong[r.ID])
	}
	b.WriteString("\n")
}

// inOrder are the rules along the path, then by id.
func inOrder(rules []probes.Rule) []probes.Rule {
	out := slices.Clone(rules)
	arrange.By(out, func(a, b probes.Rule) int {
		if d := lvs.Stage.Index(a.Stage) - lvs.Stage.Index(b.Stage); d != 0 {
			return d
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}

// withoutScenario names the rules that no scenario provokes, and why.
func withoutScenario(b *strings.Builder, all []Verdict, rules []probes.Rule) {
	provoked := map[string]bool{}
	for _, v := range all {
		for _, f := range v.Case.Finds() {
			provoked[f.ID] = true
		}
	}
	why := Unprovoked()
	var lines []string
	for _, r := range inOrder(rules) {
		if !provoked[r.ID] {
			reason := why[r.ID]
			if reason == "" {
				reason = "no scenario yet"
			}
			lines = append(lines, fmt.Sprintf("* %s: %s", r.ID, reason))
		}
	}
	if len(lines) > 0 {
		fmt.Fprintf(b, "## Rules that nothing here provokes\n\n%s\n\n", strings.Join(lines, "\n"))
	}
}

func healthy(b *strings.Builder, all []Verdict) {
	b.WriteString("## Healthy clusters\n\nThe client is served by each, and nobody may speak of an outage or of degraded service. Hazards and notes are opinions that must be true.\n\n| cluster | what it is | outage or degraded | hazards and notes |\n|---|---|---|---|\n")
	for _, v := range all {
		if v.Case.kind() != Healthy {
			continue
		}
		verdict := "none"
		switch {
		case v.Failed != "":
			verdict = "not measured: " + cell(v.Failed)
		case len(v.False) > 0:
			verdict = "**" + ids(v.False) + "**"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", v.Case.Scenario.Name, cell(v.Case.Scenario.Title), verdict, ids(v.Also))
	}
	b.WriteString("\n")
}

// ids lists findings once each, with where they were made.
func ids(made []Made) string {
	where := map[string][]string{}
	for _, f := range made {
		key := f.ID
		if f.Severity != "" {
			key += " (" + string(f.Severity) + ", " + string(f.Certainty) + ")"
		}
		where[key] = append(where[key], string(f.Vantage))
	}
	var out []string
	for _, key := range slices.Sorted(maps.Keys(where)) {
		out = append(out, key+" at "+strings.Join(where[key], ", "))
	}
	return strings.Join(out, "; ")
}

func faults(b *strings.Builder, all []Verdict, kind Kind, title string) {
	fmt.Fprintf(b, "## %s\n\n| scenario | clusters | what it is | client | found | missed | false | not provable elsewhere |\n|---|---|---|---|---|---|---|---|\n", title)
	for i, v := range all {
		s := v.Case.Scenario
		if v.Case.kind() != kind || i > 0 && all[i-1].Case.Scenario == s {
			continue
		}
		var clusters, services []string
		var found, missed, wrong []Made
		for _, w := range all[i:] {
			if w.Case.Scenario != s {
				break
			}
			name := w.Case.Base.Name
			if w.Failed != "" {
				name += " (not measured)"
			}
			clusters = append(clusters, name)
			if got := w.Case.Service().String(); !slices.Contains(services, got) {
				services = append(services, got)
			}
			found, missed, wrong = append(found, w.Found...), append(missed, w.Missed...), append(wrong, w.False...)
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", s.Name, strings.Join(clusters, ", "), cell(s.Title), strings.Join(services, "; "),
			vantages(found), vantages(missed), vantages(wrong), cell(s.Because))
	}
	b.WriteString("\n")
}

// vantages lists findings with the vantages they were made at, each once with its least certainty.
func vantages(made []Made) string {
	least := map[string]map[Vantage]probes.Certainty{}
	for _, f := range made {
		if least[f.ID] == nil {
			least[f.ID] = map[Vantage]probes.Certainty{}
		}
		if old, ok := least[f.ID][f.Vantage]; !ok || rank(f.Certainty) < rank(old) {
			least[f.ID][f.Vantage] = f.Certainty
		}
	}
	var out []string
	for _, id := range slices.Sorted(maps.Keys(least)) {
		var at []string
		for _, v := range slices.Sorted(maps.Keys(least[id])) {
			at = append(at, strings.TrimSpace(string(v)+" "+string(least[id][v])))
		}
		out = append(out, id+": "+strings.Join(at, ", "))
	}
	return strings.Join(out, "; ")
}

// trouble is everything that is not as it should be, one by one.
func trouble(b *strings.Builder, all []Verdict) {
	var lines []string
	for _, v := range all {
		if v.Failed != "" {
			lines = append(lines, fmt.Sprintf("* %s was not measured: %s", v.Case.Name(), cell(v.Failed)))
		}
		for _, f := range v.Missed {
			lines = append(lines, fmt.Sprintf("* %s: %s misses %s, at least %s; it says %s", v.Case.Name(), f.Vantage, f.ID, f.Want, cell(f.Said)))
		}
		for _, f := range v.False {
			lines = append(lines, fmt.Sprintf("* %s: %s says %s (%s, %s), which is not so: %s", v.Case.Name(), f.Vantage, f.ID, f.Severity, f.Certainty, cell(f.Said)))
		}
	}
	b.WriteString("## Misses and false alarms, one by one\n\n")
	if len(lines) == 0 {
		lines = []string{"None."}
	}
	b.WriteString(strings.Join(lines, "\n") + "\n")
}

// cell makes text fit for a table.
func cell(s string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ").Replace(s)
}

// Details is one case after the other, for people who develop rules.
func Details(all []Verdict) string {
	var b strings.Builder
	for _, v := range all {
		if v.Absent {
			continue
		}
		fmt.Fprintf(&b, "%s: %s\n", v.Case.Name(), v.Service)
		if v.Failed != "" {
			fmt.Fprintf(&b, "  FAILED %s\n", v.Failed)
		}
		for _, f := range v.Found {
			fmt.Fprintf(&b, "  found  %s %s %s\n", f.ID, f.Vantage, f.Certainty)
		}
		for _, f := range v.Missed {
			fmt.Fprintf(&b, "  MISSED %s %s want %s, said %s\n", f.ID, f.Vantage, f.Want, f.Said)
		}
		for _, f := range v.False {
			fmt.Fprintf(&b, "  FALSE  %s %s %s %s on %s: %s\n", f.ID, f.Vantage, f.Severity, f.Certainty, f.On, f.Said)
		}
		for _, f := range v.Also {
			fmt.Fprintf(&b, "  also   %s %s %s %s on %s\n", f.ID, f.Vantage, f.Severity, f.Certainty, f.On)
		}
	}
	return b.String()
}
