package rules

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"lvstui/lvs"
	"lvstui/probes"
)

// checkWants compares a report with the lines of want:
//
//	finding ID SEVERITY CERTAINTY STAGE host=NAME [symptom-of=ID,ID] [subject="…"] [automatic]
//	no ID
//	undecided ID [host=NAME]
//	stage STAGE STATUS
//	verdict VERDICT
//	others allowed
//
// All findings have to be wanted, unless others are allowed.
func checkWants(r probes.Report, wants []string) error {
	var wrong []string
	fail := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	left := slices.Clone(r.Findings)
	for _, line := range wants {
		words := strings.Fields(line)
		switch {
		case words[0] == "finding" && len(words) >= 5:
			i := slices.IndexFunc(left, func(f probes.Finding) bool { return isFinding(f, line) })
			if i < 0 {
				fail("missing: %s", line)
			} else {
				left = slices.Delete(left, i, i+1)
			}
		case words[0] == "no" && len(words) == 2:
			if slices.ContainsFunc(r.Findings, func(f probes.Finding) bool { return f.ID == words[1] }) {
				fail("there is a %s", words[1])
			}
		case words[0] == "undecided" && len(words) >= 2:
			if !slices.ContainsFunc(r.Undecided, func(u probes.Undecided) bool {
				return u.Rule == words[1] && (len(words) < 3 || words[2] == "host="+u.Host)
			}) {
				fail("%s was decided", words[1])
			}
		case words[0] == "stage" && len(words) == 3:
			p := r.Path[max(lvs.Stage(words[1]).Index(), 0)]
			if string(p.Stage) != words[1] || string(p.Status) != words[2] {
				fail("stage %s is %s, want %s", p.Stage, p.Status, words[2])
			}
		case words[0] == "verdict" && len(words) == 2:
			if string(r.Verdict) != words[1] {
				fail("verdict %s, want %s", r.Verdict, words[1])
			}
		case line != "others allowed":
			fail("do not understand %q", line)
		}
	}
	if !slices.Contains(wants, "others allowed") {
		for _, f := range left {
			fail("not wanted: %s", wantLine(f))
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%s", strings.Join(wrong, "\n"))
	}
	return nil
}

// wantLine writes a finding as a case would want it.
func wantLine(f probes.Finding) string {
	line := fmt.Sprintf("finding %s %s %s %s host=%s", f.ID, f.Severity, f.Certainty, f.Stage, f.Host)
	if len(f.SymptomOf) > 0 {
		line += " symptom-of=" + strings.Join(f.SymptomOf, ",")
	}
	line += " subject=" + strconv.Quote(f.Subject)
	if f.Fix != nil && f.Fix.Automatic {
		line += " automatic"
	}
	return line
}

// isFinding tells whether f is the finding of a want line, whose subject and "automatic" may be left out. That it is no symptom may not.
func isFinding(f probes.Finding, line string) bool {
	full := wantLine(f)
	if want, subject, ok := strings.Cut(line, " subject="); ok {
		if !strings.Contains(full, " subject="+subject) {
			return false
		}
		line = want
	}
	line, automatic := strings.CutSuffix(line, " automatic")
	if automatic && !strings.HasSuffix(full, " automatic") {
		return false
	}
	head, _, _ := strings.Cut(full, " subject=")
	return strings.Join(strings.Fields(line), " ") == head
}
