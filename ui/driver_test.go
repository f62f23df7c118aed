package ui

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/ui/internal/sample"
)

// plainHost is a Host of data: it answers what it was given and remembers what was asked of it.
type plainHost struct {
	name    string
	facts   Facts
	err     error
	looks   int
	changes []fixes.Change
	applied []fixes.Plan
	seen    *lvs.Snapshot
	terms   fixes.Terms
	refuse  error // of Apply
}

func (h *plainHost) Name() string { return h.name }

func (h *plainHost) Look(context.Context) (Facts, error) {
	h.looks++
	f := h.facts
	f.Changes = append([]fixes.Change{}, h.changes...)
	return f, h.err
}

func (h *plainHost) Apply(_ context.Context, p fixes.Plan, seen *lvs.Snapshot, terms fixes.Terms, progress func(int, bool, error)) (fixes.Change, error) {
	h.applied, h.seen = append(h.applied, p), seen
	for i := range p.Steps {
		progress(i, false, nil)
		if h.refuse != nil {
			progress(i, true, h.refuse)
			return fixes.Change{}, h.refuse
		}
		progress(i, true, nil)
	}
	c := fixes.Change{ID: "1", Host: h.name, PlanID: p.ID, Title: p.Title, AppliedAt: sample.At, AsFiles: p.AsFiles, State: fixes.Applied, Commands: p.Commands()}
	if h.terms = terms; terms.ConfirmWithin > 0 {
		c.State, c.Deadline = fixes.Waiting, sample.At.Add(terms.ConfirmWithin)
	}
	h.changes = append(h.changes, c)
	return c, nil
}

func (h *plainHost) Confirm(_ context.Context, id string) (fixes.Change, error) {
	for i := range h.changes {
		if c := &h.changes[i]; c.ID == id && c.State == fixes.Waiting {
			c.State, c.Deadline = fixes.Applied, time.Time{}
			return *c, nil
		}
	}
	return fixes.Change{}, errors.New("no change waits")
}

func (h *plainHost) Undo(_ context.Context, id string) (fixes.Change, error) {
	for i := range h.changes {
		if c := &h.changes[i]; c.ID == id && c.Open() {
			c.State = fixes.Undone
			return *c, nil
		}
	}
	return fixes.Change{}, errors.New("nothing to undo")
}

func (h *plainHost) Changes(context.Context) ([]fixes.Change, error) { return h.changes, nil }

// driver is the real root model with its commands run at once and in order. Time passes only when a test says so.
type driver struct {
	t     *testing.T
	m     *root
	now   time.Time
	later []tea.Msg     // what timers would send
	wait  time.Duration // of the last timer for a look
	held  []tea.Cmd     // commands kept back, see hold
	hold  bool
	quit  bool
	clip  string
}

func newDriver(t *testing.T, w, h int, o Options) *driver {
	t.Helper()
	d := &driver{t: t, now: sample.At, m: newRoot(context.Background(), o)}
	d.m.now = func() time.Time { return d.now }
	d.m.after = func(wait time.Duration, msg tea.Msg) tea.Cmd {
		if _, tick := msg.(tickMsg); tick {
			d.wait = wait
		}
		return func() tea.Msg { d.later = append(d.later, msg); return nil }
	}
	d.send(tea.WindowSizeMsg{Width: w, Height: h})
	return d
}

// start looks at the first host.
func (d *driver) start() *driver {
	d.run(d.m.Init())
	return d
}

func (d *driver) send(msg tea.Msg) {
	_, cmd := d.m.Update(msg)
	d.run(cmd)
}

func (d *driver) run(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	if d.hold {
		d.held = append(d.held, cmd)
		return
	}
	switch msg := cmd().(type) {
	case nil:
	case tea.BatchMsg:
		for _, c := range msg {
			d.run(c)
		}
	case tea.QuitMsg:
		d.quit = true
	default:
		if text, ok := clipboardText(msg); ok {
			d.clip = text
			return
		}
		d.send(msg)
	}
}

// clipboardText is what tea.SetClipboard asks for; its message is a string of a type that is not exported.
func clipboardText(msg tea.Msg) (string, bool) {
	v := reflect.ValueOf(msg)
	if v.Kind() != reflect.String || msg != tea.SetClipboard(v.String())() {
		return "", false
	}
	return v.String(), true
}

// pass lets all timers end.
func (d *driver) pass() {
	now := d.later
	d.later = nil
	for _, msg := range now {
		d.send(msg)
	}
}

// press types keys: "a", "enter", "ctrl+c", or a text after "=".
func (d *driver) press(all ...string) {
	for _, k := range all {
		if text, ok := strings.CutPrefix(k, "="); ok {
			for _, r := range text {
				d.send(tea.KeyPressMsg{Code: r, Text: string(r)})
			}
			continue
		}
		d.send(key(k))
		d.m.View() // what is drawn tells how far a page goes
	}
}

var named = map[string]rune{"enter": tea.KeyEnter, "esc": tea.KeyEscape, "tab": tea.KeyTab, "up": tea.KeyUp, "down": tea.KeyDown,
	"home": tea.KeyHome, "end": tea.KeyEnd, "pgdown": tea.KeyPgDown, "pgup": tea.KeyPgUp, "space": tea.KeySpace, "backspace": tea.KeyBackspace}

func key(k string) tea.KeyPressMsg {
	if rest, ok := strings.CutPrefix(k, "ctrl+"); ok {
		return tea.KeyPressMsg{Code: rune(rest[0]), Mod: tea.ModCtrl}
	}
	if code, ok := named[k]; ok {
		return tea.KeyPressMsg{Code: code}
	}
	return tea.KeyPressMsg{Code: []rune(k)[0], Text: k}
}

// screen is what is drawn, without styling and trailing spaces.
func (d *driver) screen() string {
	lines := strings.Split(ansi.Strip(d.m.View().Content), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

func (d *driver) shows(parts ...string) {
	d.t.Helper()
	for _, p := range parts {
		if !strings.Contains(d.screen(), p) {
			d.t.Errorf("the screen lacks %q:\n%s", p, d.screen())
		}
	}
}

func (d *driver) hides(parts ...string) {
	d.t.Helper()
	for _, p := range parts {
		if strings.Contains(d.screen(), p) {
			d.t.Errorf("the screen must not show %q:\n%s", p, d.screen())
		}
	}
}
