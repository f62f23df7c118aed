package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"lvstui/lvs"
	"lvstui/probes"
	"lvstui/ui/kit"
)

// printReport writes a Report for people: the verdict, the path, what was found, and what could not be looked at.
func printReport(w io.Writer, r probes.Report) {
	fmt.Fprintf(w, "%s: %s: %s\n", kit.Clean(r.Host), verdictWord[r.Verdict], kit.Clean(r.Summary))
	fmt.Fprintf(w, "roles: %s\n", rolesText(r.Roles))
	for _, v := range r.VirtualServices {
		fmt.Fprintf(w, "virtual service %s %s, scheduler %s, %d destinations\n", v.Protocol, v.Virtual, kit.Clean(v.Scheduler), len(v.Destinations))
	}
	fmt.Fprintln(w, "\npath of the handshake")
	for _, p := range r.Path {
		line := fmt.Sprintf("  %-8s %-18s %s", p.Status, p.Stage, p.Note)
		if len(p.Findings) > 0 {
			line += "  [" + strings.Join(p.Findings, ", ") + "]"
		}
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
	printProbed(w, r.Probed)
	for _, f := range r.Findings {
		printFinding(w, f)
	}
	if len(r.Gaps) > 0 {
		fmt.Fprintln(w, "\ncould not look at")
		for _, g := range r.Gaps {
			fmt.Fprintf(w, "  %s, %s: %s\n", kit.Clean(g.Host), g.Source, kit.Clean(g.Reason))
		}
	}
	printUndecided(w, r.Undecided)
}

var verdictWord = map[probes.Verdict]string{
	probes.VerdictOK: "OK", probes.VerdictWarning: "WARNING", probes.VerdictBroken: "BROKEN", probes.VerdictUnknown: "UNKNOWN",
}

func rolesText(roles []lvs.Role) string {
	if len(roles) == 0 {
		return "none seen"
	}
	words := make([]string, len(roles))
	for i, r := range roles {
		words[i] = string(r)
	}
	return strings.Join(words, ", ")
}

func printFinding(w io.Writer, f probes.Finding) {
	fmt.Fprintf(w, "\n%s (%s, %s) on %s at %s\n", f.ID, f.Severity, f.Certainty, kit.Clean(f.Host), f.Stage)
	fmt.Fprintf(w, "  %s\n", kit.Clean(f.Title))
	if len(f.SymptomOf) > 0 {
		fmt.Fprintf(w, "  a symptom of: %s\n", strings.Join(f.SymptomOf, ", "))
	}
	for _, line := range kit.Wrap(kit.Clean(f.Why), 100) {
		fmt.Fprintf(w, "  %s\n", line)
	}
	for _, e := range f.Evidence {
		fmt.Fprintf(w, "  - %s: %s", kit.Clean(e.Fact), kit.Clean(e.Got))
		if e.Want != "" {
			fmt.Fprintf(w, ", wanted %s", kit.Clean(e.Want))
		}
		fmt.Fprintln(w)
		if e.Command != "" {
			fmt.Fprintf(w, "    see it: %s\n", kit.Clean(e.Command))
		}
	}
	printCure(w, f)
}

func printCure(w io.Writer, f probes.Finding) {
	if f.Fix == nil {
		return
	}
	if f.Fix.Words != "" {
		for i, line := range kit.Wrap(kit.Clean(f.Fix.Words), 100) {
			fmt.Fprintf(w, "  %s%s\n", []string{"cure: ", "      "}[min(i, 1)], line)
		}
	}
	for _, c := range f.Fix.Commands {
		fmt.Fprintf(w, "  on %s: %s\n", kit.Clean(f.Fix.Host), kit.Clean(c))
	}
	if f.Fix.Automatic {
		fmt.Fprintf(w, "  or let lvstui do it: lvstui fix %s\n", f.ID)
	}
}

func printUndecided(w io.Writer, undecided []probes.Undecided) {
	if len(undecided) == 0 {
		return
	}
	var ids []string
	for _, u := range undecided {
		if !slices.Contains(ids, u.Rule) {
			ids = append(ids, u.Rule)
		}
	}
	fmt.Fprintf(w, "\ncould not judge: %s\n", strings.Join(ids, ", "))
}
