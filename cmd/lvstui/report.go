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

// printNext says what to type to see more, where the report leaves something open.
func printNext(w io.Writer, r probes.Report, opt checkOptions) {
	steps := nextSteps(r, opt)
	if len(steps) == 0 {
		return
	}
	fmt.Fprintln(w, "\nto see more")
	for _, s := range steps {
		fmt.Fprintf(w, "  %s\n    %s\n", s[0], s[1])
	}
}

// nextSteps are pairs of what a step tells and the command for it.
func nextSteps(r probes.Report, opt checkOptions) (steps [][2]string) {
	certain := slices.ContainsFunc(r.Findings, func(f probes.Finding) bool {
		return f.Certainty == probes.Certain && f.Severity == probes.Outage
	})
	if certain || !slices.ContainsFunc(r.Path, func(p probes.PathStage) bool { return p.Status == lvs.StageUnknown }) {
		return nil
	}
	if len(r.Roles) == 0 {
		vip := "172.16.0.8"
		if len(opt.vips) > 0 {
			vip = opt.vips[0].String()
		}
		return [][2]string{
			{"if it is to be a real server, which cannot be seen while it lacks the VIP", "sudo lvstui check --role real-server --vip " + vip},
			{"if it is the router of a cluster", "sudo lvstui check --role router --vip " + vip + " --flows 10s"},
		}
	}
	if len(opt.from) == 0 && opt.listen == 0 {
		steps = append(steps, [2]string{"where the handshakes of clients stop", "sudo lvstui check --flows 10s"})
	}
	if len(opt.from) == 0 && len(opt.probe) == 0 && slices.Contains(r.Roles, lvs.RoleDirector) {
		what := "who answers for the VIP, and whether each real server takes its connections (sends ARP requests and SYNs)"
		if opt.listen > 0 && !slices.ContainsFunc(r.Path, func(p probes.PathStage) bool { return p.Due > 0 }) {
			what = "if clients tried meanwhile, their SYNs did not get here: " + what
		}
		steps = append(steps, [2]string{what, "sudo lvstui check --probe arp,dsr"})
	}
	if len(opt.from) < 2 {
		steps = append(steps, [2]string{"what several hosts prove together: on each of them lvstui snapshot > NAME.json, then in one place",
			"lvstui check --from director.json --from rs1.json --from router.json"})
	}
	return steps
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
		fmt.Fprintf(w, "  or let lvstui do it, on %s: sudo lvstui fix %s\n", kit.Clean(f.Fix.Host), f.ID)
	}
	switch other := f.Fix.FromFiles; {
	case other == nil:
	case other.Automatic:
		fmt.Fprintf(w, "  or have this host as the files say: lvstui fix %s --from-files\n", f.ID)
	default:
		fmt.Fprintf(w, "  or have this host as the files say, on %s: %s\n", kit.Clean(other.Host), kit.Clean(strings.Join(other.Commands, "; ")))
	}
}

func printUndecided(w io.Writer, undecided []probes.Undecided) {
	if len(undecided) == 0 {
		return
	}
	fmt.Fprintln(w, "\ncould not judge")
	for _, u := range undecided {
		var missing []string
		for _, m := range u.Missing {
			missing = append(missing, string(m))
		}
		fmt.Fprintf(w, "  %s, %s: not known: %s\n", kit.Clean(u.Host), u.Rule, strings.Join(missing, ", "))
	}
}
