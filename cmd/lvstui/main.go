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
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return runTUI(cmd.Context(), opt) },
	}
	opt.bind(root)
	root.AddCommand(newCheck(), newFlows(), newFix(), newSetup(), newUndo(), newConfirm(), newSnapshot(), newExplain(), newLab())
	return root
}
