// Package ui is the terminal program: it shows what is known of a host, and asks the Host to look again, to apply a fix
// or to undo one. It reads nothing and changes nothing itself; cmd/lvstui gives it Hosts. The root model here routes
// messages and draws header and footer; what fills the screen is in screens, how it is drawn in kit and theme, and which
// key does what in keys.
package ui

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"

	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
	"lvstui/ui/screens"
)

// Facts is what a look at a host gives. See screens.Facts.
type Facts = screens.Facts

// Capture says how the listening goes. See screens.Capture.
type Capture = screens.Capture

// Host is one machine, network namespace, snapshot or capture file that the operator looks at; or several of them taken
// together. Its methods run in commands, never in Update or View, and may be called at the same time.
type Host interface {
	// Name is what the operator calls the host.
	Name() string
	// Look reads the host afresh and judges it. A part that can not be read is a gap in the Facts and no error.
	Look(ctx context.Context) (Facts, error)
	// Apply makes a plan that was shown for the snapshot seen, and verifies it. progress is called when a step begins and
	// when it ended, from any goroutine. With terms that ask for a confirmation the change it returns is Waiting.
	Apply(ctx context.Context, plan fixes.Plan, seen *lvs.Snapshot, terms fixes.Terms, progress func(step int, done bool, err error)) (fixes.Change, error)
	// Confirm keeps the change that is Waiting, the one with that id.
	Confirm(ctx context.Context, id string) (fixes.Change, error)
	// Undo takes back the change with that id.
	Undo(ctx context.Context, id string) (fixes.Change, error)
	// Changes is the journal of this host.
	Changes(ctx context.Context) ([]fixes.Change, error)
}

// Options is what the program is started with.
type Options struct {
	Hosts []Host
	Start int // index of the host to look at first
	// Screen is the title of the screen to begin with, the first when it is empty.
	Screen string
	// ReadOnly forbids every change, on all hosts.
	ReadOnly bool
	ASCII    bool // no character above 0x7e
	NoColor  bool // see NoColor
	Light    bool // the terminal has a light background
	// Sync brackets each frame so that the terminal shows it at once. See SynchronizedOutput.
	Sync bool
	// ConfirmWithin is how long a change waits to be kept before it is taken back; 0 keeps it at once.
	ConfirmWithin time.Duration
	// Refresh is the time between two looks, 1 s when 0.
	Refresh time.Duration
	// Width and Height are the terminal's size where it cannot be asked, on a serial line; 0 asks.
	Width, Height int
	// Explain is the documentation of a finding, wrapped to width; "" when there is none.
	Explain func(id string, width int) string
	// WhatIf judges the facts with another snapshot in place of their own, for the dry run of a fix. It may be nil.
	WhatIf func(f Facts, after *lvs.Snapshot) probes.Report
}

// New makes the root model.
func New(o Options) tea.Model { return newRoot(context.Background(), o) }

// Run shows the program on a terminal until the operator leaves or ctx ends. The terminal is restored in any case.
func Run(ctx context.Context, o Options, in io.Reader, out io.Writer) error {
	if len(o.Hosts) == 0 {
		return errors.New("no host to look at")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	profile := colorprofile.ANSI
	if o.NoColor {
		profile = colorprofile.Ascii
	}
	opts := []tea.ProgramOption{tea.WithContext(ctx), tea.WithInput(in), tea.WithOutput(out), tea.WithFPS(10), tea.WithColorProfile(profile)}
	if o.Width > 0 && o.Height > 0 {
		opts = append(opts, tea.WithWindowSize(o.Width, o.Height))
	}
	_, err := tea.NewProgram(newRoot(ctx, o), opts...).Run()
	return err
}

// NoColor follows no-color.org: any value of NO_COLOR that is not empty.
func NoColor(getenv func(string) string) bool { return getenv("NO_COLOR") != "" }

// LightBackground tells what COLORFGBG says, which many terminals set: its last part is the background's number. The
// terminal itself is not asked: an answer that comes late on a slow line would be taken for keys.
func LightBackground(getenv func(string) string) bool {
	parts := strings.Split(getenv("COLORFGBG"), ";")
	bg := parts[len(parts)-1]
	return bg == "7" || bg == "15"
}

// SynchronizedOutput tells whether frames should be bracketed by terminal mode 2026 without asking first. Over SSH
// Bubble Tea does not ask; terminals that do not know the mode ignore it, but tmux and screen in between may lose text.
// LVSTUI_NO_SYNC switches it off.
func SynchronizedOutput(getenv func(string) string) bool {
	return getenv("SSH_TTY") != "" && getenv("TMUX") == "" && getenv("STY") == "" && getenv("LVSTUI_NO_SYNC") == "" &&
		strings.HasPrefix(getenv("TERM"), "xterm")
}
