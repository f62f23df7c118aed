package screens

import (
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"lvstui/fixes"
	"lvstui/ui/keys"
	"lvstui/ui/kit"
	"lvstui/ui/theme"
)

// Keep asks whether the change that waits shall be kept, when its own box is not open any more.
type Keep struct {
	change fixes.Change
	clock  time.Time
	armed  bool
	busy   bool
	ended  string // how it ended, "" while it waits
	role   theme.Role
}

// NewKeep asks about one change.
func NewKeep(c fixes.Change, now time.Time) *Keep { return &Keep{change: c, clock: now} }

// Grace is for how long the keys do nothing.
func (s *Keep) Grace() time.Duration { return grace }

// Title is the heading.
func (s *Keep) Title() string { return "Keep" }

// Typing is false.
func (s *Keep) Typing() bool { return false }

// SetFacts sees what became of the change meanwhile.
func (s *Keep) SetFacts(f Facts) {
	for _, c := range f.Changes {
		if c.ID == s.change.ID && !s.busy && s.ended == "" && c.State != fixes.Waiting {
			s.end(c)
		}
	}
}

func (s *Keep) end(c fixes.Change) {
	s.change = c
	switch c.State {
	case fixes.Applied:
		s.role, s.ended = theme.OK, "kept"
	case fixes.Undone:
		s.role, s.ended = theme.OK, "taken back: everything is as it was"
	default:
		s.role, s.ended = theme.Warn, strings.TrimSuffix(string(c.State)+": "+c.Error, ": ")
	}
}

// Busy says that it is being kept or taken back.
func (s *Keep) Busy() bool { return s.busy }

// Update follows what was decided.
func (s *Keep) Update(msg tea.Msg) (Screen, tea.Cmd) {
	switch m := msg.(type) {
	case ArmedMsg:
		s.armed = true
	case ClockMsg:
		s.clock = m.Now
	case KeptMsg:
		s.result(m.Change, m.Err)
	case UndoneMsg:
		s.result(m.Change, m.Err)
	}
	return s, nil
}

func (s *Keep) result(c fixes.Change, err error) {
	s.busy = false
	if err != nil {
		s.role, s.ended = theme.Bad, err.Error()
		return
	}
	s.end(c)
}

// Actions: keep it, take it back, or leave it waiting.
func (s *Keep) Actions() []keys.Action {
	if s.ended != "" {
		return []keys.Action{keys.Leave.Do(ask(CloseMsg{}))}
	}
	notNow, busy := "", ""
	switch {
	case s.busy:
		notNow, busy = "the host is being changed", "the host is being changed; wait for it"
	case !s.armed:
		notNow = "this has just come up: read it, then press the key again"
	}
	return []keys.Action{
		keys.Keep.Do(func() tea.Cmd { s.busy = true; return send(ConfirmMsg{s.change.ID}) }).Unless(notNow),
		keys.Undo.Do(func() tea.Cmd { s.busy = true; return send(UndoMsg{s.change.ID}) }).Unless(notNow),
		keys.Leave.Do(ask(CloseMsg{})).Unless(busy),
	}
}

// View draws the question with the time that is left.
func (s *Keep) View(width, height int) []kit.Line {
	w := min(width, 100)
	lines := kit.Paragraph(theme.Title, s.change.Title, w-4)
	lines = append(lines, kit.Text(theme.Dim, strings.Join(notEmpty("made on "+s.change.Host, s.change.AppliedAt.UTC().Format("2006-01-02 15:04:05 UTC")), ", ")))
	lines = append(lines, commandLines(s.change.Commands, w-4)...)
	if len(lines) > height-7 {
		lines = lines[:max(0, height-7)]
	}
	lines = append(lines, kit.Line{})
	switch {
	case s.ended != "":
		lines = append(lines, kit.Item(kit.S(s.role, Glyph(s.role)+" "), s.role, s.ended, w-4)...)
	case s.busy:
		lines = append(lines, kit.Text(theme.Warn, "… The host is being changed"))
	default:
		lines = append(lines, kit.L(mark(theme.Warn), kit.S(theme.Warn, " "+LeftWords(s.change, s.clock)+".")),
			kit.L(kit.S(theme.Accent, "c"), kit.T(" keeps it, "), kit.S(theme.Accent, "z"), kit.T(" takes it back now, "), kit.S(theme.Accent, "esc"), kit.T(" leaves it waiting.")))
	}
	return kit.Box("Keep this change?", lines, w)
}

// LastWaiting is the change that waits to be kept, if one does.
func LastWaiting(changes []fixes.Change) (fixes.Change, bool) {
	for _, c := range newestFirst(changes) {
		if c.State == fixes.Waiting {
			return c, true
		}
	}
	return fixes.Change{}, false
}
