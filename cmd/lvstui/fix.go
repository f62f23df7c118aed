package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lvstui/fixes"
	"lvstui/fixes/apply"
	"lvstui/lvs"
	"lvstui/probes"
	"lvstui/probes/rules"
	"lvstui/ui/kit"
)

type fixOptions struct {
	all, dryRun, yes bool
	format           format
	check            checkOptions
}

func newFix() *cobra.Command {
	opt := fixOptions{format: formatText}
	cmd := &cobra.Command{
		Use:   "fix ID…",
		Short: "Cure findings on this host: plan, show, ask, apply, verify",
		Long: "fix shows what it would do, what it found, how it is taken back and what it risks, and asks. What it does is journalled\n" +
			"before it begins, verified after it, and taken back when it does not hold. lvstui undo takes it back later.",
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return ruleIDs(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error { return runFix(cmd.Context(), opt, args) },
	}
	f := cmd.Flags()
	f.BoolVar(&opt.all, "all", false, "everything that this host can cure")
	f.BoolVar(&opt.dryRun, "dry-run", false, "show only")
	f.BoolVarP(&opt.yes, "yes", "y", false, "do not ask")
	f.Var(&opt.format, "format", "text for people, json for programs")
	f.Var(&opt.check.vips, "vip", "a virtual address that this host is to serve")
	f.Var(&opt.check.roles, "role", "what this host is: client, router, director, real-server")
	f.DurationVar(&opt.check.listen, "flows", 0, "listen to the handshakes first, for findings that only traffic shows")
	return cmd
}

func runFix(ctx context.Context, opt fixOptions, ids []string) error {
	if len(ids) == 0 && !opt.all {
		return withHint(errors.New("fix needs the id of a finding, or --all"), "lvstui check, which finds them")
	}
	for _, id := range ids {
		if _, ok := rules.Find(id); !ok {
			return withHint(fmt.Errorf("there is no finding %q%s", id, didYouMean(id)), "lvstui explain, which lists them")
		}
	}
	observed, err := observe(ctx, opt.check)
	if err != nil {
		return err
	}
	report := diagnose(observed, opt.check)
	plans, err := chosenPlans(report, ids, opt.all)
	if err != nil {
		return err
	}
	if opt.format == formatJSON && opt.dryRun {
		previews := []fixes.Preview{}
		for _, p := range plans {
			v, err := p.Show(observed[0].Snapshot)
			if err != nil {
				return err
			}
			previews = append(previews, v)
		}
		return writeJSON(os.Stdout, map[string]any{"schema": 1, "plans": previews})
	}
	changes := []fixes.Change{}
	for _, p := range plans {
		c, err := fixOne(ctx, opt, p)
		if err != nil {
			return err
		}
		if c != nil {
			changes = append(changes, *c)
		}
	}
	if opt.format == formatJSON {
		return writeJSON(os.Stdout, map[string]any{"schema": 1, "changes": changes})
	}
	return nil
}

func diagnose(observed []probes.Observation, opt checkOptions) probes.Report {
	return probes.Diagnose(rules.All(), observed, probes.Options{VIPs: opt.vips, Roles: opt.roles})
}

// chosenPlans are the plans of the findings asked for that this host can carry out, each plan once: two findings may have
// one cure.
func chosenPlans(r probes.Report, ids []string, all bool) ([]fixes.Plan, error) {
	var plans []fixes.Plan
	seen := map[string]bool{}
	var elsewhere []string
	for _, f := range r.Findings {
		if !all && !slices.Contains(ids, f.ID) {
			continue
		}
		seen[f.ID] = true
		if f.Fix == nil || !f.Fix.Automatic || f.Fix.Plan.Empty() {
			elsewhere = append(elsewhere, cureByHand(f))
			continue
		}
		same := func(p fixes.Plan) bool { return slices.Equal(p.Commands(), f.Fix.Plan.Commands()) }
		if !slices.ContainsFunc(plans, same) {
			plans = append(plans, f.Fix.Plan)
		}
	}
	for _, id := range ids {
		if !seen[id] {
			note("%s is not found on this host: nothing to fix", id)
		}
	}
	for _, text := range elsewhere {
		if !all {
			return nil, errors.New(text)
		}
		note("%s", text)
	}
	return plans, nil
}

func cureByHand(f probes.Finding) string {
	text := fmt.Sprintf("%s: lvstui cannot cure this here", f.ID)
	if f.Fix == nil {
		return text + "; lvstui explain " + f.ID
	}
	if f.Fix.Words != "" {
		text += ": " + kit.Clean(f.Fix.Words)
	}
	for _, c := range f.Fix.Commands {
		text += fmt.Sprintf("\n  on %s: %s", kit.Clean(f.Fix.Host), kit.Clean(c))
	}
	return text
}

// fixOne shows a plan, asks, applies it and looks whether the finding is gone. It returns nil when nothing was changed.
func fixOne(ctx context.Context, opt fixOptions, plan fixes.Plan) (*fixes.Change, error) {
	seen, err := look(ctx, opt.check.vips, nil)
	if err != nil {
		return nil, err
	}
	preview, err := plan.Show(seen)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", plan.ID, err)
	}
	change, err := carryOut(ctx, opt, plan, preview, seen)
	if err != nil || change == nil {
		return nil, err
	}
	return change, stillThere(ctx, opt, plan.ID)
}

// carryOut shows a plan, asks and applies it. It returns nil when nothing was changed.
func carryOut(ctx context.Context, opt fixOptions, plan fixes.Plan, preview fixes.Preview, seen *lvs.Snapshot) (*fixes.Change, error) {
	printPreview(os.Stderr, preview)
	if opt.dryRun {
		return nil, nil
	}
	if !opt.yes {
		ok, err := ask("apply? [y/N] ")
		if err != nil {
			return nil, err
		}
		if !ok {
			note("nothing changed")
			return nil, nil
		}
	}
	change, err := applier(opt.check.vips).Apply(ctx, plan, seen, fixes.Terms{}, func(step int, done bool, err error) {
		if done && err == nil {
			note("  done: %s", plan.Steps[step].Command())
		}
	})
	if err != nil {
		return nil, err
	}
	note("verified. To take it back: lvstui undo")
	return &change, nil
}

// stillThere looks again: a cure that leaves the finding is said, not hidden.
func stillThere(ctx context.Context, opt fixOptions, id string) error {
	s, err := look(ctx, opt.check.vips, nil)
	if err != nil {
		return err
	}
	for _, f := range diagnose([]probes.Observation{{Snapshot: s}}, opt.check).Findings {
		if f.ID == id {
			return withHint(fmt.Errorf("%s is still found after the fix: %s", id, f.Title), "lvstui undo")
		}
	}
	return nil
}

// applier changes this host.
func applier(vips addrs) *apply.Applier {
	return &apply.Applier{Look: func(ctx context.Context) (*lvs.Snapshot, error) { return look(ctx, vips, nil) }}
}

func printPreview(w io.Writer, v fixes.Preview) {
	fmt.Fprintf(w, "%s on %s\n", kit.Clean(v.Title), kit.Clean(v.Host))
	for i, l := range v.Lines {
		fmt.Fprintf(w, "  %d  %s\n       %s; %s\n", i+1, kit.Clean(l.Command), l.Does, kit.Clean(l.Was))
	}
	for _, u := range v.Undo {
		fmt.Fprintf(w, "  undo: %s\n", kit.Clean(u))
	}
	if len(v.Risks) == 0 {
		fmt.Fprintln(w, "  risk: none seen for your session")
	}
	for _, r := range v.Risks {
		fmt.Fprintf(w, "  RISK: %s\n", kit.Clean(r))
	}
	for _, n := range v.NextBoot {
		fmt.Fprintf(w, "  next boot, by hand: %s\n", kit.Clean(n))
	}
	for _, e := range v.Elsewhere {
		fmt.Fprintf(w, "  elsewhere: %s\n", kit.Clean(e))
	}
}

// ask puts a question whose default answer is no.
func ask(question string) (bool, error) {
	if !isTerminal(os.Stdin) {
		return false, withHint(errors.New("standard input is not a terminal, so nobody can be asked"), "the same with --yes, or with --dry-run to look only")
	}
	fmt.Fprint(os.Stderr, question)
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	answer := strings.ToLower(strings.TrimSpace(line))
	return answer == "y" || answer == "yes", nil
}

func newUndo() *cobra.Command {
	var list, all bool
	form := formatText
	cmd := &cobra.Command{
		Use:   "undo",
		Short: "Take back the last change",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a := applier(nil)
			if list {
				return listChanges(cmd.Context(), a, form)
			}
			return undo(cmd.Context(), a, all, form)
		},
	}
	cmd.Flags().BoolVar(&list, "list", false, "show the changes made on this host, newest last")
	cmd.Flags().BoolVar(&all, "all", false, "take back everything, newest first")
	cmd.Flags().Var(&form, "format", "text for people, json for programs")
	return cmd
}

func undo(ctx context.Context, a *apply.Applier, all bool, form format) error {
	changes, err := a.List(ctx)
	if err != nil {
		return err
	}
	undone := []fixes.Change{}
	for _, c := range slices.Backward(changes) {
		if !c.Open() {
			continue
		}
		back, err := a.Undo(ctx, c.ID)
		if err != nil {
			return err
		}
		note("taken back: %s", kit.Clean(back.Title))
		for _, cmd := range back.UndoCommands {
			note("  %s", kit.Clean(cmd))
		}
		if undone = append(undone, back); !all {
			break
		}
	}
	if len(undone) == 0 {
		note("nothing to take back in this network namespace")
	}
	if form == formatJSON {
		return writeJSON(os.Stdout, map[string]any{"schema": 1, "undone": undone})
	}
	return nil
}

func listChanges(ctx context.Context, a *apply.Applier, form format) error {
	changes, err := a.List(ctx)
	if err != nil {
		return err
	}
	if form == formatJSON {
		return writeJSON(os.Stdout, map[string]any{"schema": 1, "changes": append([]fixes.Change{}, changes...)})
	}
	var b strings.Builder
	for _, c := range changes {
		fmt.Fprintf(&b, "%s  %-11s %s\n", c.AppliedAt.Local().Format(time.DateTime), c.State, kit.Clean(c.Title))
		for _, cmd := range c.Commands {
			fmt.Fprintf(&b, "    %s\n", kit.Clean(cmd))
		}
	}
	if len(changes) == 0 {
		note("no change was made in this network namespace")
	}
	return writeAll(os.Stdout, []byte(b.String()))
}
