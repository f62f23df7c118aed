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

// Undo asks whether a change shall be taken back, and shows how it went.
type Undo struct {
	change fixes.Change
	armed  bool
	busy   bool
	result kit.Line
	ended  bool
}

// NewUndo asks about one change.
func NewUndo(c fixes.Change) *Undo { return &Undo{change: c} }

// Grace is for how long y does nothing.
func (s *Undo) Grace() time.Duration { return grace }

// Title is the heading.
func (s *Undo) Title() string { return "Undo" }

// Typing is false.
func (s *Undo) Typing() bool { return false }

// SetFacts changes nothing.
func (s *Undo) SetFacts(Facts) {}

// Busy says that the change is being taken back.
func (s *Undo) Busy() bool { return s.busy }

// Update follows the undo.
func (s *Undo) Update(msg tea.Msg) (Screen, tea.Cmd) {
	switch m := msg.(type) {
	case ArmedMsg:
		s.armed = true
	case UndoneMsg:
		s.busy, s.ended = false, true
		s.result = kit.L(mark(theme.OK), kit.S(theme.OK, " taken back and verified"))
		if m.Change.State != fixes.Undone {
			s.result = kit.L(mark(theme.Warn), kit.S(theme.Warn, " "+string(m.Change.State)+": "+m.Change.Error))
		}
		if m.Err != nil {
			s.result = kit.L(mark(theme.Bad), kit.S(theme.Bad, " failed: "+m.Err.Error()))
		}
	}
	return s, nil
}

// Actions: yes or no.
func (s *Undo) Actions() []keys.Action {
	if s.ended {
		return []keys.Action{keys.Leave.Do(ask(CloseMsg{}))}
	}
	notNow, busy := "", ""
	switch {
	case s.busy:
		notNow = "it is being taken back"
		busy = "it is being taken back; wait for it"
	case !s.armed:
		notNow = "the question has just opened: read it, then press y again"
	}
	return []keys.Action{
		keys.Yes.Do(func() tea.Cmd { s.busy = true; return send(UndoMsg{s.change.ID}) }).Unless(notNow),
		keys.No.Do(ask(CloseMsg{})).Unless(busy),
	}
}

// View draws the question.
func (s *Undo) View(width, height int) []kit.Line {
	w := min(width, 100)
	lines := kit.Paragraph(theme.Plain, "Take back: "+s.change.Title, w-4)
	lines = append(lines, kit.Text(theme.Dim, strings.Join(notEmpty("made on "+s.change.Host,
		s.change.AppliedAt.UTC().Format("2006-01-02 15:04:05 UTC"), string(s.change.State)), ", ")))
	lines = append(lines, commandLines(s.change.UndoCommands, w-4)...)
	lines = append(lines, kit.Line{})
	switch {
	case s.ended:
		lines = append(lines, kit.Paragraph(lastRole(s.result), s.result.Plain(), w-4)...)
	case s.busy:
		lines = append(lines, kit.Text(theme.Warn, "It is being taken back …"))
	default:
		lines = append(lines, kit.L(kit.S(theme.Accent, "y"), kit.T(" takes it back, "), kit.S(theme.Accent, "n"), kit.T(" leaves it.")))
	}
	if len(lines) > height-2 {
		lines = lines[:max(0, height-2)]
	}
	return kit.Box("Take this change back?", lines, w)
}
