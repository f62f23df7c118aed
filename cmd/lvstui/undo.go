package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lvstui/fixes"
	"lvstui/fixes/apply"
	"lvstui/ui/kit"
)

func newUndo() *cobra.Command {
	var list, all bool
	form := formatText
	cmd := &cobra.Command{
		Use:   "undo [ID]",
		Short: "Take back the last change",
		Long: "undo takes back the last change that is in force, or the one with that id, and verifies that all\n" +
			"is as it was before, the files for the next boot too. It refuses when somebody else has changed one of\n" +
			"these things since, and says what.\n" +
			"Changes belong to the network namespace and to the boot they were made in.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case list && (all || len(args) > 0):
				return withHint(errors.New("--list only shows"), "lvstui undo --list")
			case all && len(args) > 0:
				return withHint(errors.New("--all takes back everything: it needs no id"), "lvstui undo --all")
			case list:
				return listChanges(cmd.Context(), form)
			}
			return undo(cmd.Context(), strings.Join(args, ""), all, form)
		},
	}
	cmd.Flags().BoolVar(&list, "list", false, "show the changes made on this host, newest last")
	cmd.Flags().BoolVar(&all, "all", false, "take back everything, newest first")
	cmd.Flags().Var(&form, "format", "text for people, json for programs")
	return cmd
}

func newConfirm() *cobra.Command {
	form := formatText
	cmd := &cobra.Command{
		Use:   "confirm [ID]",
		Short: "Keep the change that waits for it",
		Long: "confirm keeps a change that was done and verified and would be taken back otherwise, the last one or\n" +
			"the one with that id. Only then are its files for the next boot written, when it was made with --persist.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := thisHost{}.applier().Confirm(cmd.Context(), strings.Join(args, ""))
			if err == nil {
				note("%s", kit.Clean(c.Title))
				thisHost{}.kept(c)
			}
			if form == formatJSON && c.ID != "" {
				return errors.Join(writeJSON(os.Stdout, map[string]any{"schema": 1, "change": c}), err)
			}
			return err
		},
	}
	cmd.Flags().Var(&form, "format", "text for people, json for programs")
	return cmd
}

func undo(ctx context.Context, id string, all bool, form format) error {
	a := thisHost{}.applier()
	undone := []fixes.Change{}
	var failed error
	for {
		c, err := a.Undo(ctx, id)
		if err != nil {
			changes, errList := a.List(ctx)
			if id == "" && errList == nil && !slices.ContainsFunc(changes, fixes.Change.Open) {
				break // nothing is left, or there was nothing
			}
			failed = err
			break
		}
		takenBack(c)
		if undone = append(undone, c); !all {
			break
		}
	}
	if len(undone) == 0 && failed == nil {
		note("nothing to take back in this network namespace")
		sayEarlier(a)
	}
	if form == formatJSON {
		return errors.Join(writeJSON(os.Stdout, map[string]any{"schema": 1, "undone": undone}), failed)
	}
	return failed
}

func listChanges(ctx context.Context, form format) error {
	changes, err := thisHost{}.applier().List(ctx)
	if err != nil && len(changes) == 0 {
		return err
	}
	if form == formatJSON {
		return errors.Join(writeJSON(os.Stdout, map[string]any{"schema": 1, "changes": append([]fixes.Change{}, changes...)}), err)
	}
	var b strings.Builder
	for _, c := range changes {
		fmt.Fprintf(&b, "%s  %s\n", kit.Clean(c.ID), stateWords(c, time.Now()))
		fmt.Fprintf(&b, "  %s  %s on %s\n", c.AppliedAt.Local().Format(time.DateTime), kit.Clean(c.Title), kit.Clean(c.Host))
		for _, cmd := range c.Commands {
			fmt.Fprintf(&b, "    %s\n", kit.Clean(cmd))
		}
		for _, path := range c.Files {
			fmt.Fprintf(&b, "    %s: %s\n", fileWords(c.State), kit.Clean(path))
		}
		for _, words := range []string{c.Note, c.Error} {
			if words != "" {
				fmt.Fprintf(&b, "  %s\n", kit.Clean(words))
			}
		}
	}
	if len(changes) == 0 {
		note("no change was made in this network namespace since the machine was started")
	}
	sayEarlier(thisHost{}.applier())
	return errors.Join(writeAll(os.Stdout, []byte(b.String())), err)
}

// sayEarlier names the files of changes before the last boot that are in force still, and how to get rid of them.
func sayEarlier(a *apply.Applier) {
	files := a.Earlier()
	if len(files) == 0 {
		return
	}
	note("files that lvstui wrote before the last boot are in force still. This boot began with them, so nothing here takes them back:")
	for _, f := range files {
		how := "rm " + f.Path + ", and the next boot is without it"
		if !f.Made {
			how = "what it held before is the field before in " + f.Journal
		}
		note("  %s, to %s\n    %s", kit.Clean(f.Path), kit.Clean(f.Title), kit.Clean(how))
	}
}

// fileWords says what became of the files of a change.
func fileWords(st fixes.ChangeState) string {
	switch st {
	case fixes.Undone:
		return "put back"
	case fixes.Waiting:
		return "once it is kept, next boot"
	}
	return "next boot"
}

// stateWords says what became of a change, and what to type.
func stateWords(c fixes.Change, now time.Time) string {
	switch c.State {
	case fixes.Waiting:
		if c.Note != "" { // there is something about its watchdog
			return "waiting to be kept"
		}
		return fmt.Sprintf("waiting: taken back in %s; to keep it: lvstui confirm", seconds(int(c.Deadline.Sub(now)/time.Second)))
	case fixes.Applied:
		return "in force; to take it back: lvstui undo " + kit.Clean(c.ID)
	case fixes.Undone:
		return "taken back"
	case fixes.Interrupted:
		return "interrupted; to take it back: lvstui undo " + kit.Clean(c.ID)
	}
	return string(c.State)
}
