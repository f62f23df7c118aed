package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"lvstui/fixes"
	"lvstui/fixes/nextboot"
	"lvstui/lvs"
	"lvstui/probes"
	"lvstui/probes/rules"
	"lvstui/ui/kit"
)

type fixOptions struct {
	all       bool
	fromFiles bool
	terms     termsFlags
	format    format
	check     checkOptions
}

func newFix() *cobra.Command {
	opt := fixOptions{format: formatText}
	cmd := &cobra.Command{
		Use:   "fix ID…",
		Short: "Cure findings on this host: plan, show, ask, apply, verify, confirm",
		Long: "fix shows what it would do, what it found, how it is taken back and what it risks, and asks.\n" +
			"What it does is journalled before it begins, verified after it, and taken back when it does not hold.\n\n" + termsWords + "\n\n" +
			"Where what runs and what the files for the next boot say differ, fix writes down what runs. With --from-files it\n" +
			"brings what runs to what the files say, and first says what comes of that.",
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return ruleIDs(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error { return runFix(cmd.Context(), opt, args) },
	}
	f := cmd.Flags()
	f.BoolVar(&opt.all, "all", false, "everything that this host can cure")
	f.BoolVar(&opt.fromFiles, "from-files", false, "the other way about: bring what runs to what the files for the next boot say")
	opt.terms.bind(f)
	f.Var(&opt.format, "format", "text for people, json for programs")
	f.Var(&opt.check.vips, "vip", "a virtual address that this host is to serve")
	f.Var(&opt.check.roles, "role", "what this host is: client, router, director, real-server")
	f.Var(&opt.check.gateway, "gateway", "the router by which clients come and are answered, for cures that need to know it")
	f.DurationVar(&opt.check.listen, "flows", 0, "listen to the handshakes first, for findings that only traffic shows")
	return cmd
}

func runFix(ctx context.Context, opt fixOptions, ids []string) error {
	if err := opt.terms.check(); err != nil {
		return err
	}
	if len(ids) == 0 && !opt.all {
		return withHint(errors.New("fix needs the id of a finding, or --all"), "lvstui check, which finds them")
	}
	if opt.fromFiles && opt.all {
		return withHint(errors.New("--from-files may take away what works now, so it needs the ids of findings"), "lvstui fix ID --from-files --dry-run")
	}
	if len(opt.check.gateway) > 1 {
		return withHint(errors.New("there can be one gateway only"), "--gateway given once")
	}
	for _, id := range ids {
		if _, ok := rules.Find(id); !ok {
			return withHint(fmt.Errorf("there is no finding %q%s", id, didYouMean(id)), "lvstui explain, which lists them")
		}
	}
	opt.check.root = opt.terms.root
	observed, err := observe(ctx, opt.check)
	if err != nil {
		return err
	}
	report := diagnose(observed, opt.check)
	cures, err := chosenCures(report, ids, opt)
	if err != nil {
		return err
	}
	if opt.format == formatJSON && opt.terms.dryRun {
		previews := []fixes.Preview{}
		for _, c := range cures {
			v, err := opt.show(c.plan, observed[0].Snapshot)
			if err != nil {
				return err
			}
			previews = append(previews, v)
		}
		return writeJSON(os.Stdout, map[string]any{"schema": 1, "plans": previews})
	}
	changes := []fixes.Change{}
	for i, c := range cures {
		if i > 0 && len(c.plan.Files) > 0 { // the files may not be any more what they were before the cures before
			if c, err = renewed(ctx, opt, c); err != nil {
				return errors.Join(printChanges(opt.format, changes), err)
			}
			if c.plan.Empty() {
				continue // cured along with another
			}
		}
		change, err := fixOne(ctx, opt, c)
		if change != nil {
			changes = append(changes, *change)
		}
		if err != nil {
			return errors.Join(printChanges(opt.format, changes), err)
		}
		if rest := len(cures) - i - 1; change != nil && change.State == fixes.Waiting && rest > 0 {
			note("%d more to cure: the same again once this change is confirmed", rest)
			break
		}
	}
	return printChanges(opt.format, changes)
}

func printChanges(form format, changes []fixes.Change) error {
	if form != formatJSON {
		return nil
	}
	return writeJSON(os.Stdout, map[string]any{"schema": 1, "changes": changes})
}

func diagnose(observed []probes.Observation, opt checkOptions) probes.Report {
	known := probes.Options{VIPs: opt.vips, Roles: opt.roles}
	if len(opt.gateway) > 0 {
		known.Gateway = opt.gateway[0]
	}
	return probes.Diagnose(rules.All(), observed, known)
}

// cure is a plan and the findings that are gone after it, by their keys.
type cure struct {
	plan fixes.Plan
	keys []string
}

// chosenCures are the plans of the findings asked for that this host can carry out, each plan once: two findings may have
// one cure.
func chosenCures(r probes.Report, ids []string, opt fixOptions) ([]cure, error) {
	all := opt.all
	var cures []cure
	seen := map[string]bool{}
	var elsewhere []string
	for _, f := range r.Findings {
		if !all && !slices.Contains(ids, f.ID) {
			continue
		}
		seen[f.ID] = true
		fix := opt.direction(f)
		if fix == nil || !fix.Automatic || fix.Plan.Empty() {
			elsewhere = append(elsewhere, cureByHand(f, fix, opt.fromFiles))
			continue
		}
		same := func(c cure) bool {
			return slices.Equal(c.plan.Commands(), fix.Plan.Commands()) && slices.EqualFunc(c.plan.Files, fix.Plan.Files, sameEdit)
		}
		i := slices.IndexFunc(cures, same)
		if i < 0 {
			i, cures = len(cures), append(cures, cure{plan: fix.Plan})
		}
		cures[i].keys = append(cures[i].keys, f.Key())
	}
	for _, id := range ids {
		if !seen[id] {
			note("%s is not found on this host: nothing to fix", id)
		}
	}
	if all && len(cures)+len(elsewhere) == 0 {
		note("nothing is found on this host that could be cured; see lvstui check")
	}
	for _, text := range elsewhere {
		if !all {
			return nil, errors.New(text)
		}
		note("%s", text)
	}
	return cures, nil
}

// direction is the cure that is asked for: what runs into the files, or the files into what runs.
func (o fixOptions) direction(f probes.Finding) *probes.Fix {
	if o.fromFiles && f.Fix != nil {
		return f.Fix.FromFiles
	}
	return f.Fix
}

func sameEdit(a, b fixes.FileEdit) bool {
	text := func(s *string) string {
		if s == nil {
			return ""
		}
		return "=" + *s
	}
	return a.Path == b.Path && text(a.After) == text(b.After)
}

// renewed is the cure of the same findings as they are now, without a plan when there are none left.
func renewed(ctx context.Context, opt fixOptions, c cure) (cure, error) {
	s, err := thisHost{vips: opt.check.vips, root: opt.terms.root}.look(ctx)
	if err != nil {
		return cure{}, err
	}
	for _, f := range diagnose([]probes.Observation{{Snapshot: s}}, opt.check).Findings {
		if fix := opt.direction(f); slices.Contains(c.keys, f.Key()) && fix != nil && fix.Automatic {
			return cure{fix.Plan, c.keys}, nil
		}
	}
	return cure{}, nil
}

func cureByHand(f probes.Finding, fix *probes.Fix, fromFiles bool) string {
	if fix == nil && fromFiles {
		return fmt.Sprintf("%s: no file says otherwise than this host runs, so there is nothing to bring it to; the cure is lvstui fix %s", f.ID, f.ID)
	}
	text := fmt.Sprintf("%s: lvstui cannot cure this here", f.ID)
	if fix == nil {
		return text + "; lvstui explain " + f.ID
	}
	if fix.Words != "" {
		text += ": " + kit.Clean(fix.Words)
	}
	for _, c := range fix.Commands {
		text += fmt.Sprintf("\n  on %s: %s", kit.Clean(fix.Host), kit.Clean(c))
	}
	return text
}

// fixOne shows a plan, asks, applies it and looks whether the findings are gone. It returns nil when nothing was changed.
func fixOne(ctx context.Context, opt fixOptions, c cure) (*fixes.Change, error) {
	h := thisHost{vips: opt.check.vips, root: opt.terms.root}
	seen, err := h.look(ctx)
	if err != nil {
		return nil, err
	}
	preview, err := opt.show(c.plan, seen)
	if err != nil {
		return nil, err
	}
	return h.carryOut(ctx, opt.terms, c.plan, preview, seen, func() error { return h.stillThere(ctx, opt, c) })
}

// show is the preview of a cure. What comes of having the host as the files say is part of it: what works now may not work then.
func (o fixOptions) show(plan fixes.Plan, s *lvs.Snapshot) (fixes.Preview, error) {
	v, err := plan.Show(s)
	if err != nil {
		return v, fmt.Errorf("%s: %w", plan.ID, err)
	}
	if !plan.AsFiles {
		return v, nil
	}
	after, err := plan.After(s)
	if err != nil {
		return v, fmt.Errorf("%s: %w", plan.ID, err)
	}
	v.Brings = brings(diagnose([]probes.Observation{{Snapshot: s}}, o.check), diagnose([]probes.Observation{{Snapshot: withFiles(after, plan.Files)}}, o.check))
	return v, nil
}

// brings is what is found after a change and was not before, or was not as bad.
func brings(before, after probes.Report) []string {
	had := before.Severities()
	var out []string
	for _, f := range after.Findings {
		if was, known := had[f.Key()]; f.Severity != probes.Note && (!known || f.Severity.WorseThan(was)) {
			out = append(out, fmt.Sprintf("%s, %s: %s", f.ID, f.Severity, f.Title))
		}
	}
	return out
}

// withFiles is s once its files are written.
func withFiles(s *lvs.Snapshot, edits []fixes.FileEdit) *lvs.Snapshot {
	if len(edits) == 0 || s.Files == nil {
		return s
	}
	out := *s
	out.Files = nextboot.Written(s.Files, edits)
	return &out
}

// stillThere looks again: a cure that leaves the finding is said, not hidden. Its files may be due only once it is kept.
func (h thisHost) stillThere(ctx context.Context, opt fixOptions, c cure) error {
	s, err := h.look(ctx)
	if err != nil {
		return err
	}
	s = withFiles(s, c.plan.Files)
	for _, f := range diagnose([]probes.Observation{{Snapshot: s}}, opt.check).Findings {
		if slices.Contains(c.keys, f.Key()) {
			return fmt.Errorf("%s is still found after the fix: %s", f.ID, f.Title)
		}
	}
	return nil
}
