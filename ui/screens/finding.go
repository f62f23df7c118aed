package screens

import (
	"fmt"
	"strings"

	"lvstui/probes"
	"lvstui/ui/kit"
	"lvstui/ui/theme"
)

// findingDetail is everything about one finding, most useful first: what, why, what to do, what it rests on.
func findingDetail(f probes.Finding, facts Facts, width int) []kit.Line {
	out := kit.Paragraph(theme.Title, f.Title, width)
	out = append(out, severityLine(f), kit.L(kit.S(theme.Dim, "id "), kit.T(f.ID)))
	if len(f.SymptomOf) > 0 {
		out = append(out, kit.Paragraph(theme.Warn, "A symptom of "+strings.Join(f.SymptomOf, ", ")+": cure that first.", width)...)
	}
	out = append(out, kit.Line{})
	out = append(out, kit.Paragraph(theme.Plain, f.Why, width)...)
	out = append(out, kit.Line{})
	out = append(out, cureLines(f, facts, width)...)
	if symptoms := symptomsOf(f.ID, facts.Report); len(symptoms) > 0 {
		out = append(out, kit.Paragraph(theme.Dim, "It also explains: "+strings.Join(symptoms, "; ")+".", width)...)
	}
	if len(f.Evidence) > 0 {
		out = append(out, kit.Line{}, kit.Text(theme.Title, "Evidence"))
		for _, e := range f.Evidence {
			out = append(out, evidenceLines(e, width)...)
		}
	}
	return out
}

// severityLine: how bad, how certain, where.
func severityLine(f probes.Finding) kit.Line {
	role := findingRole(f)
	return kit.L(mark(role), kit.S(role, " "+string(f.Severity)), kit.S(theme.Dim, " · "+string(f.Certainty)+" · "+place(f)))
}

// place is where a finding is and what it is about.
func place(f probes.Finding) string {
	switch {
	case f.Host != "" && f.Subject != "":
		return "on " + f.Host + ": " + f.Subject
	case f.Host != "":
		return "on " + f.Host
	}
	return f.Subject
}

// evidenceLines: the fact, what was found against what is wanted, and the command that shows it.
func evidenceLines(e probes.Evidence, width int) []kit.Line {
	out := kit.Item(kit.S(theme.Dim, "· "), theme.Plain, e.Fact, width)
	got := kit.L(kit.T("  "), kit.S(theme.Dim, "got "), kit.S(theme.Warn, e.Got))
	if e.Want != "" {
		both := got
		both.Spans = append(both.Spans[:len(both.Spans):len(both.Spans)], kit.S(theme.Dim, "   want "), kit.T(e.Want))
		if both.Width() <= width {
			out = append(out, both)
		} else {
			out = append(out, kit.Item(kit.S(theme.Dim, "  got "), theme.Warn, e.Got, width)...)
			out = append(out, kit.Item(kit.S(theme.Dim, "  want "), theme.Plain, e.Want, width)...)
		}
	} else if e.Got != "" {
		out = append(out, kit.Item(kit.S(theme.Dim, "  got "), theme.Warn, e.Got, width)...)
	}
	if e.Command != "" {
		out = append(out, kit.Item(kit.S(theme.Dim, "  $ "), theme.Accent, e.Command, width)...)
	}
	return out
}

// cureLines say what to do, where, and which key does it.
func cureLines(f probes.Finding, facts Facts, width int) []kit.Line {
	if f.Fix == nil {
		return []kit.Line{kit.L(kit.S(theme.Dim, "No cure to offer. "), kit.S(theme.Accent, "e"), kit.S(theme.Dim, " explains it."))}
	}
	head := kit.L(kit.S(theme.Title, "Cure"), kit.S(theme.Dim, ", to be done on "+fixHost(f.Fix, facts)))
	if f.Fix.Host == facts.Host {
		head = kit.L(kit.S(theme.Title, "Cure"), kit.S(theme.Dim, " on this host"))
		if f.Fix.Automatic {
			head.Spans = append(head.Spans, kit.S(theme.Dim, ": "), kit.S(theme.Accent, "f"), kit.S(theme.Dim, " shows it and can do it"))
		}
	}
	out := []kit.Line{head}
	if f.Fix.Words != "" {
		out = append(out, kit.Paragraph(theme.Plain, f.Fix.Words, width)...)
	}
	out = append(out, commandLines(f.Fix.Commands, width)...)
	if f.Fix.FromFiles != nil && f.Fix.Host == facts.Host {
		out = append(out, kit.L(kit.S(theme.Dim, "Or have this host as the files say: "), kit.S(theme.Accent, "f"), kit.S(theme.Dim, ", then "), kit.S(theme.Accent, "o")))
	}
	return out
}

func commandLines(commands []string, width int) []kit.Line {
	var out []kit.Line
	for _, c := range commands {
		out = append(out, kit.Item(kit.S(theme.Dim, "$ "), theme.Accent, c, width)...)
	}
	return out
}

func fixHost(fix *probes.Fix, facts Facts) string {
	switch fix.Host {
	case "":
		return "another host"
	case facts.Host:
		return "this host"
	}
	return fix.Host
}

func symptomsOf(id string, r probes.Report) []string {
	var out []string
	for _, f := range r.Findings {
		for _, cause := range f.SymptomOf {
			if cause == id {
				out = append(out, f.Title)
			}
		}
	}
	return out
}

// FindingText is a finding as plain text, for the clipboard and for a mail.
func FindingText(f probes.Finding) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s, %s, %s\nfinding: %s, stage: %s\n\n%s\n", f.Title, f.Severity, f.Certainty, place(f), f.ID, f.Stage, f.Why)
	for _, e := range f.Evidence {
		fmt.Fprintf(&b, "\n- %s: got %s", e.Fact, e.Got)
		if e.Want != "" {
			fmt.Fprintf(&b, ", want %s", e.Want)
		}
		if e.Command != "" {
			fmt.Fprintf(&b, "\n  $ %s", e.Command)
		}
	}
	if f.Fix != nil {
		fmt.Fprintf(&b, "\n\nCure on %s:\n", f.Fix.Host)
		if f.Fix.Words != "" {
			fmt.Fprintln(&b, f.Fix.Words)
		}
		for _, c := range f.Fix.Commands {
			fmt.Fprintf(&b, "  $ %s\n", c)
		}
	}
	return cleanLines(b.String())
}

// cleanLines is kit.Clean for a text of several lines.
func cleanLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i := range lines {
		lines[i] = kit.Clean(lines[i])
	}
	return strings.Join(lines, "\n") + "\n"
}
