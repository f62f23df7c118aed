package ui

import (
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"

	"lvstui/fixes"
	"lvstui/ui/screens"
)

// progressMsg is a step of a change under way; next waits for the one after it.
type progressMsg struct {
	step screens.StepMsg
	next tea.Cmd
}

// apply makes a change. Its steps come through a channel, one message each, and its end as the last.
func (m *root) apply(msg screens.ApplyMsg) tea.Cmd {
	host, ctx, now := m.hosts[m.cur].host, m.ctx, m.now
	terms := fixes.Terms{ConfirmWithin: m.o.ConfirmWithin, Files: msg.Files}
	// Room for begin and end of every step and for the result: the change never waits for the screen.
	news := make(chan tea.Msg, 2*len(msg.Plan.Steps)+8)
	var wait tea.Cmd
	wait = func() tea.Msg {
		switch got := (<-news).(type) {
		case screens.StepMsg:
			return progressMsg{got, wait}
		default:
			return got
		}
	}
	work := func() tea.Msg {
		progress := func(step int, done bool, err error) {
			select {
			case news <- screens.StepMsg{Step: step, Done: done, Err: err}:
			default: // more progress than steps: the screen can do without
			}
		}
		change, err := host.Apply(ctx, msg.Plan, msg.Seen, terms, progress)
		news <- screens.AppliedMsg{Change: change, Now: now(), Err: err}
		return nil
	}
	return tea.Batch(work, wait)
}

func (m *root) keep(id string) tea.Cmd {
	host, ctx := m.hosts[m.cur].host, m.ctx
	return func() tea.Msg {
		change, err := host.Confirm(ctx, id)
		return screens.KeptMsg{Change: change, Err: err}
	}
}

func (m *root) undo(id string) tea.Cmd {
	host, ctx := m.hosts[m.cur].host, m.ctx
	return func() tea.Msg {
		change, err := host.Undo(ctx, id)
		return screens.UndoneMsg{Change: change, Err: err}
	}
}

// changed tells the screens how a change ended, and looks again: the operator wants to see what it did.
func (m *root) changed(msg tea.Msg, c fixes.Change) tea.Cmd {
	m.unpause()
	if f := m.hosts[m.cur].facts; f != nil && c.ID != "" { // the journal as it is now; the next look reads it
		f.Changes = slices.DeleteFunc(slices.Clone(f.Changes), func(old fixes.Change) bool { return old.ID == c.ID })
		f.Changes = append(f.Changes, c)
	}
	return tea.Batch(m.handOn(msg), m.lookAgain(), m.tickClock())
}

// waiting is the change of the current host that waits to be kept.
func (m *root) waiting() (fixes.Change, bool) {
	if f := m.hosts[m.cur].facts; f != nil {
		return screens.LastWaiting(f.Changes)
	}
	return fixes.Change{}, false
}

// clockMsg says that a second of a countdown has passed.
type clockMsg struct{}

// tickClock counts down while a change waits, once a second and not more: what is drawn changes only then.
func (m *root) tickClock() tea.Cmd {
	if _, ok := m.waiting(); !ok || m.ticking {
		return nil
	}
	m.ticking, m.clock = true, m.now()
	return m.after(time.Second, clockMsg{})
}

// tock is the end of such a second.
func (m *root) tock() tea.Cmd {
	m.ticking, m.clock = false, m.now()
	return tea.Batch(m.handOn(screens.ClockMsg{Now: m.clock}), m.tickClock())
}

// openKeep asks whether the change that waits is to be kept.
func (m *root) openKeep() tea.Cmd {
	if c, ok := m.waiting(); ok {
		return m.open(screens.NewKeep(c, m.clock))
	}
	return nil
}

// whyNoKeep is the reason for which there is nothing to keep.
func (m *root) whyNoKeep() string {
	f := m.hosts[m.cur].facts
	if f != nil && f.ReadOnly {
		return "read-only: " + f.ReadOnlyWhy
	}
	if _, ok := m.waiting(); !ok {
		return "no change waits to be kept"
	}
	return ""
}
