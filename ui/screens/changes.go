package screens

import (
	"strings"

	tea "charm.land/bubbletea/v2"

	"lvstui/fixes"
	"lvstui/ui/keys"
	"lvstui/ui/kit"
	"lvstui/ui/theme"
)

// Changes lists what lvstui has changed on this host, newest first.
type Changes struct {
	facts Facts
	list  []fixes.Change
	cur   cursor
}

// NewChanges makes the screen.
func NewChanges() *Changes { return &Changes{} }

// Title of the tab.
func (s *Changes) Title() string { return "Changes" }

// Typing is false.
func (s *Changes) Typing() bool { return false }

// Update has nothing to wait for.
func (s *Changes) Update(tea.Msg) (Screen, tea.Cmd) { return s, nil }

// SetFacts keeps the selection on the same change.
func (s *Changes) SetFacts(f Facts) {
	s.facts, s.list = f, newestFirst(f.Changes)
	ids := make([]string, len(s.list))
	for i, c := range s.list {
		ids[i] = c.ID
	}
	s.cur.rows(ids)
}

func newestFirst(changes []fixes.Change) []fixes.Change {
	out := append([]fixes.Change{}, changes...)
	for i := 1; i < len(out); i++ { // few, and nearly sorted
		for j := i; j > 0 && out[j].AppliedAt.After(out[j-1].AppliedAt); j-- {
			out[j], out[j-1] = out[j-1], out[j]
		}
	}
	return out
}

// LastOpen is the change that undo would take back.
func LastOpen(changes []fixes.Change) (fixes.Change, bool) {
	for _, c := range newestFirst(changes) {
		if c.Open() {
			return c, true
		}
	}
	return fixes.Change{}, false
}

// Actions of the list.
func (s *Changes) Actions() []keys.Action {
	none := ""
	if len(s.list) == 0 {
		none = strings.TrimSuffix(s.none(), ".")
	}
	undo := keys.Undo.Do(func() tea.Cmd { return send(OpenMsg{NewUndo(s.list[s.cur.at])}) }).Unless(first(none, s.whyNoUndo()))
	return append([]keys.Action{
		keys.Enter.Do(func() tea.Cmd {
			c := s.list[s.cur.at]
			return send(OpenMsg{NewReader(c.Title, func(w int) []kit.Line { return changeLines(c, w) })})
		}).Unless(none), undo,
		keys.Copy.Quietly(func() tea.Cmd { return send(CopyMsg{plainText(changeLines(s.list[s.cur.at], 100)), "change"}) }).Unless(none),
	}, s.cur.actions(nil)...)
}

// none says why there is no change in the list.
func (s *Changes) none() string {
	if s.facts.ChangesElsewhere != "" {
		return s.facts.ChangesElsewhere
	}
	return "lvstui has changed nothing on this host."
}

// hint says how a change comes here.
func (s *Changes) hint() string {
	if s.facts.ReadOnly {
		return ""
	}
	return " What f does on Path and Setup is listed here, and z takes it back."
}

// whyNoUndo is why the selected change can not be taken back.
func (s *Changes) whyNoUndo() string {
	switch {
	case s.facts.ReadOnly:
		return "read-only: " + s.facts.ReadOnlyWhy
	case s.cur.at < len(s.list) && !s.list[s.cur.at].Open():
		return "this change is not in force: it is " + string(s.list[s.cur.at].State)
	}
	return ""
}

// View draws the list.
func (s *Changes) View(width, height int) []kit.Line {
	if s.facts.ChangesErr != "" {
		return kit.Indent(1, kit.Item(kit.S(theme.Unknown, "? "), theme.Plain, "The journal could not be read: "+s.facts.ChangesErr, width-2))
	}
	if len(s.list) == 0 {
		return kit.Indent(1, kit.Paragraph(theme.Plain, s.none()+s.hint(), width-2))
	}
	out := []kit.Line{kit.Text(theme.Dim, "  "+kit.Pad("when (UTC)", 21)+kit.Pad("state", 14)+"what")}
	from, to := s.cur.window(height - 1)
	for i := from; i < to; i++ {
		c := s.list[i]
		role := changeRole(c.State)
		l := kit.L(kit.T("  "+kit.Pad(c.AppliedAt.UTC().Format("2006-01-02 15:04:05"), 21)), mark(role),
			kit.S(role, kit.Pad(" "+string(c.State), 13)))
		l.Spans = append(l.Spans, kit.T(c.Title))
		if c.State == fixes.Waiting {
			l.Spans = append(l.Spans, kit.S(theme.Warn, ", taken back at "+c.Deadline.UTC().Format("15:04:05")+" unless kept"))
		}
		if i == s.cur.at {
			l = chosen(l)
		}
		out = append(out, l)
	}
	return out
}

func changeRole(st fixes.ChangeState) theme.Role {
	switch st {
	case fixes.Applied:
		return theme.OK
	case fixes.Undone:
		return theme.Dim
	case fixes.Failed:
		return theme.Bad
	}
	return theme.Warn
}

func changeLines(c fixes.Change, width int) []kit.Line {
	out := []kit.Line{kit.Text(changeRole(c.State), string(c.State))}
	out = append(out, kit.Paragraph(theme.Dim, strings.Join(notEmpty("on "+c.Host, c.NetNS,
		c.AppliedAt.UTC().Format("2006-01-02 15:04:05 UTC"), "for "+c.PlanID), ", "), width)...)
	if c.State == fixes.Waiting {
		out = append(out, kit.Paragraph(theme.Warn, "taken back at "+c.Deadline.UTC().Format("15:04:05 UTC")+" unless it is kept: c, or lvstui confirm", width)...)
	}
	if c.Error != "" {
		out = append(out, kit.Paragraph(theme.Bad, c.Error, width)...)
	}
	if c.Note != "" {
		out = append(out, kit.Paragraph(theme.Plain, c.Note, width)...)
	}
	if len(c.Files) > 0 {
		head := "Files written for the next boot"
		if c.State == fixes.Waiting {
			head = "Files to be written once it is kept"
		}
		out = append(out, kit.Line{}, kit.Text(theme.Title, head))
		for _, f := range c.Files {
			out = append(out, kit.Item(kit.S(theme.Dim, "· "), theme.Plain, f, width)...)
		}
	}
	out = append(out, kit.Line{}, kit.Text(theme.Title, "Done"))
	out = append(out, commandLines(c.Commands, width)...)
	out = append(out, kit.Line{}, kit.Text(theme.Title, "Taken back by"))
	return append(out, commandLines(c.UndoCommands, width)...)
}
