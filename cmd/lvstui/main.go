// Command lvstui shows, on a director or a real server of an LVS-DR cluster, at which step a TCP handshake
// with the virtual service stops, says why with evidence, and puts right what it can.
//
// This package is wiring: it joins the pure packages (lvs, capture, probes, fixes, ui) with those that touch the
// system (probes/collect, capture/live, capture/file, fixes/apply, lab), and maps errors to exit statuses.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"charm.land/fang/v2"
	"github.com/spf13/cobra"

	"lvstui/fixes/apply"
	"lvstui/lab/guest"
)

func main() {
	if guest.IsInit() {
		guest.Init() // this process is the first one of the lab's guest kernel
		return
	}
	os.Exit(run(os.Args[1:]))
}

// run is the whole program but for os.Exit, so that tests can be it.
func run(args []string) int {
	if len(args) > 0 && args[0] == apply.WatchdogCommand {
		return thisHost{}.applier().Watchdog(args[1:])
	}
	if err := stdoutOpen(); err != nil {
		fmt.Fprintln(os.Stderr, "lvstui:", err)
		return statusUnknown
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	root := newRoot()
	root.SetArgs(args)
	fitHelp(root, helpWidth(os.Stdout))
	err := fang.Execute(ctx, root, fang.WithVersion(version()), fang.WithErrorHandler(showError), fang.WithoutManpage())
	return status(err)
}

// Exit statuses, as monitoring plugins have them. Wrong usage is "could not tell".
const (
	statusOK      = 0
	statusWarning = 1
	statusBroken  = 2
	statusUnknown = 3
)

// exitStatus is an error that only sets the status: what there was to say has been said.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// hinted is an error with the next command to type.
type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }

// withHint adds the next command to type to an error.
func withHint(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return hinted{err, fmt.Sprintf(format, args...)}
}

func status(err error) int {
	var e exitStatus
	switch {
	case err == nil:
		return statusOK
	case errors.As(err, &e):
		return int(e)
	}
	return statusUnknown
}

// showError prints an error for a person: what failed, and what to type next.
func showError(w io.Writer, _ fang.Styles, err error) {
	var e exitStatus
	if errors.As(err, &e) {
		return
	}
	fmt.Fprintln(w, "lvstui:", err)
	var h hinted
	if errors.As(err, &h) {
		fmt.Fprintln(w, "try:", h.hint)
	}
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "development build"
}

func newRoot() *cobra.Command {
	var opt tuiOptions
	root := &cobra.Command{
		Use:   "lvstui",
		Short: "Find out why a virtual service of LVS direct routing does not answer, and cure it",
		Long: "lvstui looks at this director or real server, watches the wire, and shows at which stage of the TCP\n" +
			"handshake LVS direct routing breaks, why, and what to do. Looking changes nothing.",
		Example: "# the terminal UI on this host\nlvstui\n" +
			"# in words: what is wrong, where, and the command that cures it\nlvstui check --flows 10s\n" +
			"# what a finding means\nlvstui explain rs-answers-arp",
		Args:          onlyCommands,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return runTUI(cmd.Context(), opt) },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return withHint(plainFlagError(err), "%s --help", cmd.CommandPath())
	})
	opt.bind(root)
	root.AddCommand(newCheck(), newFlows(), newFix(), newSetup(), newUndo(), newConfirm(), newSnapshot(), newExplain(), newLab())
	return root
}

// onlyCommands refuses a word that is no command, and says which one may have been meant.
func onlyCommands(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if info, err := os.Stat(args[0]); err == nil && info.Mode().IsRegular() && !cmd.HasParent() {
		return withHint(fmt.Errorf("%q is no command but a file", args[0]), "lvstui --from %s", args[0])
	}
	words := fmt.Sprintf("%s has no command %q", cmd.CommandPath(), args[0])
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		words += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return withHint(errors.New(words), "%s --help", cmd.CommandPath())
}

// plainFlagError says in words of this program what is not a duration.
func plainFlagError(err error) error {
	before, _, ok := strings.Cut(err.Error(), ": time: ")
	if !ok {
		return err
	}
	return errors.New(before + ": a time is a number with its unit, such as 10s or 2m")
}
