package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lvstui/fixes"
	"lvstui/fixes/apply"
	"lvstui/fixes/nextboot"
	"lvstui/lvs"
	"lvstui/probes/collect"
	"lvstui/ui/kit"
)

// thisHost is the machine that fix, setup, undo and confirm change.
type thisHost struct {
	vips addrs
	root string // where the files for the next boot are, "" for /
	// byHand is what lvstui cannot write for the next boot of a change that is to survive it.
	byHand []string
}

func (h thisHost) look(ctx context.Context) (*lvs.Snapshot, error) {
	s, err := collect.Collect(ctx, collect.Options{VIPs: h.vips, Root: h.root})
	if err != nil {
		return nil, fmt.Errorf("looking at this host: %w", err)
	}
	return s, nil
}

func (h thisHost) applier() *apply.Applier { return &apply.Applier{Root: h.root, Look: h.look} }

// carryOut shows a plan, asks, applies it and asks whether to keep it. cured, which may be nil, looks whether it did what it was for. It
// returns nil when nothing was changed, and the change with the error when it was taken back again.
func (h thisHost) carryOut(ctx context.Context, terms termsFlags, plan fixes.Plan, preview fixes.Preview, seen *lvs.Snapshot, cured func() error) (*fixes.Change, error) {
	edits, words := nextboot.Edits(plan, seen)
	preview.NextBoot = words
	printPreview(os.Stderr, preview)
	if plan.AsFiles {
		note("  next boot: the same, by the files there are")
	}
	always := len(plan.Files) > 0 // it is what the plan is about
	printEdits(os.Stderr, edits, always)
	if len(preview.Risks) > 0 && terms.yes && !terms.waitsForConfirm() {
		note("  RISK: with --yes it is kept even if you are cut off; add --confirm-within 60s to have it taken back then")
	}
	if terms.dryRun {
		return nil, nil
	}
	if always && terms.noPersist {
		return nil, withHint(errors.New("this is about the files for the next boot, and --no-persist writes none"), "the same without it")
	}
	if !terms.yes {
		if ok, err := ask(ctx, "apply? [y/N] "); err != nil || !ok {
			if err == nil {
				note("nothing changed")
			}
			return nil, err
		}
	}
	if !always && !plan.AsFiles {
		persist, err := terms.wantsFiles(ctx, edits)
		if err != nil {
			return nil, err
		}
		if !persist {
			edits = nil
		}
	}
	if len(edits) > 0 {
		h.byHand = words
	}
	change, err := h.applier().Apply(ctx, plan, seen, fixes.Terms{ConfirmWithin: terms.within.limit, Files: edits}, func(step int, done bool, err error) {
		if done && err == nil {
			note("  done: %s", kit.Clean(plan.Steps[step].Command()))
		}
	})
	if err != nil {
		if change.State == fixes.Applied {
			return &change, err
		}
		return nil, err
	}
	note("verified")
	deadline := time.Now().Add(time.Until(change.Deadline)) // by a clock that nobody sets
	var notCured error
	if cured != nil {
		notCured = cured()
	}
	if change.State != fixes.Waiting {
		h.kept(change)
		return &change, withHint(notCured, "lvstui undo")
	}
	return h.settle(ctx, terms, change, deadline, notCured)
}

// settle has a change that waits kept or taken back, as the operator says.
func (h thisHost) settle(ctx context.Context, terms termsFlags, change fixes.Change, deadline time.Time, notCured error) (*fixes.Change, error) {
	if terms.waitsForConfirm() {
		note("it is taken back at %s unless you keep it. Type, from a new connection so as to see that you still get in:\n  lvstui confirm %s",
			change.Deadline.Local().Format(time.TimeOnly), change.ID)
		return &change, notCured
	}
	keep := terms.yes && notCured == nil && ctx.Err() == nil
	if !terms.yes {
		if notCured != nil {
			note("but %v", notCured)
		}
		var err error
		if keep, err = h.askKeep(ctx, &change, deadline); err != nil {
			return &change, err
		}
		if change.State != fixes.Waiting {
			return &change, undoneStatus(change) // somebody else, or nobody, has decided
		}
	}
	if keep {
		c, err := h.applier().Confirm(ctx, change.ID)
		if c.State == fixes.Applied && err == nil {
			h.kept(c)
		}
		return &c, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	c, err := h.applier().Undo(ctx, change.ID)
	if err != nil {
		return &c, err
	}
	takenBack(c)
	if terms.yes {
		return &c, notCured
	}
	return &c, nil
}

// undoneStatus is the exit status of a change that somebody asked for and that is not there.
func undoneStatus(c fixes.Change) error {
	if c.State == fixes.Applied {
		return nil
	}
	return exitStatus(statusUnknown)
}

// wantsFiles says whether the files for the next boot are to be written.
func (t *termsFlags) wantsFiles(ctx context.Context, edits []fixes.FileEdit) (bool, error) {
	if len(edits) == 0 {
		if t.persist {
			note("nothing is written for the next boot: see above what to do by hand")
		}
		return false, nil
	}
	if t.persist || t.noPersist || t.yes {
		return t.persist, nil
	}
	return ask(ctx, "write these files for the next boot too, once you keep the change? [y/N] ")
}

func (h thisHost) kept(c fixes.Change) {
	note("kept. To take it back: lvstui undo")
	for _, path := range c.Files {
		note("  written for the next boot: %s", kit.Clean(path))
	}
	if c.AsFiles {
		note("  the files say the same: it is like this after the next boot too")
	} else if len(c.Files) == 0 {
		note("  for now only: it is gone after the next boot")
	}
	for _, words := range h.byHand {
		note("  next boot, by hand: %s", kit.Clean(words))
	}
}

func takenBack(c fixes.Change) {
	note("taken back: %s", kit.Clean(c.Title))
	for _, cmd := range c.UndoCommands {
		note("  %s", kit.Clean(cmd))
	}
	for _, path := range c.Files {
		note("  put back: %s", kit.Clean(path))
	}
	for _, words := range []string{c.Note, c.Error} {
		if words != "" {
			note("  %s", kit.Clean(words))
		}
	}
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
	for _, b := range v.Brings {
		fmt.Fprintf(w, "  BRINGS: %s\n", kit.Clean(b))
	}
	for _, n := range v.NextBoot {
		fmt.Fprintf(w, "  next boot, by hand: %s\n", kit.Clean(n))
	}
	for _, e := range v.Elsewhere {
		printElsewhere(w, e)
	}
}

// printElsewhere writes what lvstui leaves to people: on other hosts or, where the words begin with here, on this one.
func printElsewhere(w io.Writer, e string) {
	label := "elsewhere"
	if rest, here := strings.CutPrefix(e, "here: "); here {
		label, e = "here, by hand", rest
	}
	fmt.Fprintf(w, "  %s: %s\n", label, kit.Clean(e))
}

func printEdits(w io.Writer, edits []fixes.FileEdit, always bool) {
	when := "next boot, with --persist"
	if always {
		when = "next boot"
	}
	for _, e := range edits {
		does := "edit"
		switch {
		case e.Before == nil:
			does = "make"
		case e.After == nil:
			does = "remove"
		}
		fmt.Fprintf(w, "  %s: %s %s: %s\n", when, does, kit.Clean(e.Path), kit.Clean(e.Why))
	}
}

// ask puts a question whose default answer is no. What was typed before it is no answer.
func ask(ctx context.Context, question string) (bool, error) {
	if !isTerminal(os.Stdin) {
		return false, withHint(errors.New("standard input is not a terminal, so nobody can be asked"), "the same with --yes, or with --dry-run to look only")
	}
	_ = unix.IoctlSetInt(int(os.Stdin.Fd()), unix.TCFLSH, unix.TCIFLUSH)
	fmt.Fprint(os.Stderr, question)
	if !waitForInput(ctx, os.Stdin) {
		fmt.Fprintln(os.Stderr)
		return false, nil
	}
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	answer := strings.ToLower(strings.TrimSpace(line))
	return answer == "y" || answer == "yes", nil
}
