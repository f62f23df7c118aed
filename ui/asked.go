package ui

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"

	"lvstui/probes"
	"lvstui/ui/kit"
	"lvstui/ui/screens"
	"lvstui/ui/theme"
)

// asked does what a screen asked for, or hands a message on to the screens that may wait for it.
func (m *root) asked(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case screens.OpenMsg:
		return m.open(msg.Screen)
	case screens.CloseMsg:
		m.close()
	case screens.SayMsg:
		return m.tell(msg.Text)
	case screens.CopyMsg:
		return tea.Batch(tea.SetClipboard(msg.Text), m.tell(msg.What+" copied to your terminal's clipboard"))
	case screens.ExplainMsg:
		return m.explain(msg.ID)
	case screens.SwitchHostMsg:
		return m.switchTo(msg.Index)
	case screens.SimulateMsg:
		return m.simulate(msg)
	case screens.ApplyMsg:
		return m.apply(msg)
	case screens.ConfirmMsg:
		return m.keep(msg.ID)
	case screens.UndoMsg:
		return m.undo(msg.ID)
	case screens.RearmMsg:
		return m.after(msg.After, screens.ArmedMsg{})
	case screens.ProbeMsg:
		if why := m.whyNoProbe(); why != "" {
			return m.tell("t test: " + why)
		}
		return m.openProbe()
	case screens.RunProbeMsg:
		return m.runProbe()
	case screens.ProbedMsg:
		return tea.Batch(m.handOn(msg), m.lookAgain())
	case screens.RecordMsg:
		return m.record(msg)
	case screens.RecordedMsg:
		return tea.Batch(m.handOn(msg), m.lookAgain())
	case stoppedMsg:
		return m.stopped(msg)
	case progressMsg:
		return tea.Batch(m.handOn(msg.step), msg.next)
	case screens.AppliedMsg:
		return m.changed(msg, msg.Change)
	case screens.UndoneMsg:
		return m.changed(msg, msg.Change)
	case screens.KeptMsg:
		return m.changed(msg, msg.Change)
	default:
		return m.handOn(msg)
	}
	return nil
}

// handOn gives a message to every overlay, or to the screen where there is none.
func (m *root) handOn(msg tea.Msg) tea.Cmd {
	if len(m.overlays) == 0 {
		s, cmd := m.tabs[m.tab].Update(msg)
		m.tabs[m.tab] = s
		return cmd
	}
	var cmds []tea.Cmd
	for i, s := range m.overlays {
		next, cmd := s.Update(msg)
		m.overlays[i] = next
		cmds = append(cmds, cmd)
	}
	return tea.Batch(cmds...)
}

func (m *root) explain(id string) tea.Cmd {
	if m.o.Explain == nil {
		return m.tell("e explain: this build has no explanations")
	}
	explain, cached, at := m.o.Explain, []kit.Line(nil), 0
	return m.open(screens.NewReader(id, func(width int) []kit.Line {
		if cached == nil || at != width {
			cached, at = textLines(withoutTitle(explain(id, width), id), width), width
		}
		return cached
	}))
}

// withoutTitle takes the first line off when it repeats the heading.
func withoutTitle(text, title string) string {
	if first, rest, ok := strings.Cut(text, "\n"); ok && strings.TrimSpace(first) == title {
		return rest
	}
	return text
}

// textLines draws a text that is wrapped already; a line in capitals or with a # before it is a heading.
func textLines(text string, width int) []kit.Line {
	if strings.TrimSpace(text) == "" {
		return []kit.Line{kit.Text(theme.Dim, "There is no explanation of this finding.")}
	}
	var out []kit.Line
	for _, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		heading := strings.TrimLeft(line, "#")
		switch {
		case heading != line, line == strings.ToUpper(line) && line != strings.ToLower(line):
			out = append(out, kit.Paragraph(theme.Title, strings.TrimSpace(heading), width)...)
		case kit.Width(line) <= width:
			out = append(out, kit.Text(theme.Plain, line))
		default:
			out = append(out, kit.Paragraph(theme.Plain, line, width)...)
		}
	}
	return out
}

// simulate works out what a plan would do to the facts it was shown for.
func (m *root) simulate(msg screens.SimulateMsg) tea.Cmd {
	whatIf := m.o.WhatIf
	return func() tea.Msg {
		after, err := msg.Plan.After(msg.Facts.Snapshot)
		if err != nil {
			return screens.SimulatedMsg{Lines: []string{"it would fail: " + err.Error()}}
		}
		lines := []string{fmt.Sprintf("all %d steps go through on the facts of this host", len(msg.Plan.Steps))}
		if len(msg.Plan.Steps) == 1 {
			lines = []string{"the step goes through on the facts of this host"}
		}
		if whatIf != nil {
			lines = append(lines, difference(msg.Facts.Report, whatIf(msg.Facts, after))...)
		}
		return screens.SimulatedMsg{Lines: lines}
	}
}

// difference says which findings a simulated change removes, adds, makes worse and leaves.
func difference(before, after probes.Report) []string {
	var out []string
	had, has := before.Severities(), after.Severities()
	for _, f := range before.Findings {
		if _, left := has[f.Key()]; !left {
			out = append(out, "gone: "+f.Title)
		}
	}
	for _, f := range after.Findings {
		switch was, known := had[f.Key()]; {
		case !known:
			out = append(out, "new: "+f.Title)
		case f.Severity.WorseThan(was):
			out = append(out, fmt.Sprintf("worse, %s now: %s", f.Severity, f.Title))
		}
	}
	if len(out) == 0 {
		out = append(out, "the findings stay as they are")
	}
	if n := len(after.Findings); n > 0 {
		out = append(out, fmt.Sprintf("%d of %d findings would be left", n, len(before.Findings)))
	}
	return out
}
