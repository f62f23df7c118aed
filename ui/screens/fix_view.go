package screens

import (
	"fmt"
	"strings"

	"lvstui/fixes"
	"lvstui/ui/kit"
	"lvstui/ui/theme"
)

// View draws the box.
func (s *Fix) View(width, height int) []kit.Line {
	w := min(width, 110)
	status := append([]kit.Line{{}}, s.status(w-4)...)
	inside := s.show(s.lines(w-4), max(1, height-2-len(status)))
	return kit.Box("Fix: "+s.finding.Title, append(inside, status...), w)
}

func (s *Fix) lines(width int) []kit.Line {
	var out []kit.Line
	if s.change.ID != "" {
		out = s.afterLines(width)
	}
	if s.fromFiles() && s.change.ID == "" {
		out = append(out, s.bringsLines(width)...)
	}
	if len(s.preview.Lines) > 0 {
		out = append(out, s.previewLines(width)...)
	} else if s.finding.Fix != nil {
		out = cureLines(s.finding, s.facts, width)
	}
	for _, e := range s.elsewhere() {
		if s.change.ID != "" && s.watching {
			break // it is above
		}
		label := "elsewhere  "
		if rest, here := strings.CutPrefix(e, "here: "); here {
			label, e = "by hand    ", rest
		}
		out = append(out, kit.Item(kit.S(theme.Title, label), theme.Plain, e, width)...)
	}
	if len(s.dry) > 0 && !s.fromFiles() {
		out = append(out, kit.Line{}, kit.Text(theme.Title, "Dry run: nothing was changed"))
		for _, l := range s.dry {
			out = append(out, kit.Item(kit.S(theme.Dim, "· "), theme.Plain, l, width)...)
		}
	}
	return out
}

// status says how things stand. It is always in view, below what scrolls.
func (s *Fix) status(width int) []kit.Line {
	if s.state != fixShown {
		return s.progress(width)
	}
	var out []kit.Line
	switch {
	case s.refused != "":
		out = append(out, kit.Item(kit.S(theme.Warn, "a is disabled: "), theme.Plain, s.refused, width)...)
	default:
		out = append(out, kit.L(kit.T("Nothing has been changed yet. "), kit.S(theme.Accent, "a"), kit.T(" applies it, "),
			kit.S(theme.Accent, "esc"), kit.T(" leaves everything as it is.")))
	}
	switch {
	case s.other == nil:
	case s.other.intoFiles():
		out = append(out, kit.L(kit.S(theme.Accent, "o"), kit.T(" shows the other way about: what runs into the files.")))
	default:
		out = append(out, kit.L(kit.S(theme.Accent, "o"), kit.T(" shows the other way about: this host as the files say.")))
	}
	return out
}

// bringsLines are what comes of having the host as the files say.
func (s *Fix) bringsLines(width int) []kit.Line {
	out := kit.Paragraph(theme.Plain, s.fix.Words, width)
	for _, l := range s.dry {
		role := theme.Plain
		if strings.HasPrefix(l, "new: ") {
			role = theme.Warn
		}
		out = append(out, kit.Item(kit.S(theme.Dim, "· "), role, l, width)...)
	}
	return append(out, kit.Line{})
}

func lastRole(l kit.Line) theme.Role {
	if len(l.Spans) == 0 {
		return theme.Plain
	}
	return l.Spans[len(l.Spans)-1].Role
}

func (s *Fix) elsewhere() []string {
	if len(s.preview.Lines) > 0 {
		return s.preview.Elsewhere
	}
	if s.finding.Fix == nil {
		return nil
	}
	var out []string
	for _, e := range s.finding.Fix.Plan.Elsewhere {
		if !strings.Contains(s.finding.Fix.Words, e) { // the words are shown above
			out = append(out, e)
		}
	}
	return out
}

func (s *Fix) previewLines(width int) []kit.Line {
	out := []kit.Line{kit.L(kit.S(theme.Dim, "on "+s.preview.Host))}
	for i, l := range s.preview.Lines {
		number := s.stepMark(i)
		out = append(out, kit.Item(number, theme.Title, l.Command, width)...)
		detail := strings.Join(notEmpty(l.Does, l.Was), "; ")
		out = append(out, kit.Indent(3, kit.Paragraph(theme.Dim, detail, width-3))...)
		if len(l.Undo) > 0 {
			out = append(out, kit.Indent(3, kit.Item(kit.S(theme.Dim, "undo: "), theme.Dim, strings.Join(l.Undo, "; "), width-3))...)
		}
	}
	out = append(out, kit.Line{})
	if len(s.preview.Risks) == 0 {
		out = append(out, kit.Item(kit.S(theme.Title, "risk       "), theme.Plain, "none found for your session"+s.session(), width)...)
	}
	for _, r := range s.preview.Risks {
		out = append(out, kit.Item(kit.S(theme.Warn, "! risk     "), theme.Warn, r, width)...)
	}
	return append(out, s.nextBootLines(width)...)
}

// nextBootLines say what the next boot will give, and whether lvstui writes that.
func (s *Fix) nextBootLines(width int) []kit.Line {
	var out []kit.Line
	if s.fromFiles() {
		out = append(out, kit.Item(kit.S(theme.Title, "next boot  "), theme.OK, "the same, by the files there are", width)...)
	}
	if len(s.edits) > 0 {
		text, role := "not written: the next boot gives what was there before; b writes it once the change is kept", theme.Warn
		if s.persist {
			text, role = "written once the change is kept:", theme.OK
		}
		out = append(out, kit.Item(kit.S(theme.Title, "next boot  "), role, text, width)...)
		for _, e := range s.edits {
			out = append(out, kit.Item(kit.S(theme.Dim, "           · "), theme.Plain, editWords(e), width)...)
		}
	}
	for _, n := range s.words {
		out = append(out, kit.Item(kit.S(theme.Title, "next boot  "), theme.Plain, "by hand: "+n, width)...)
	}
	return out
}

// editWords name a file and what its edit gives.
func editWords(e fixes.FileEdit) string {
	verb := "change "
	switch {
	case e.Before == nil:
		verb = "make "
	case e.After == nil:
		verb = "remove "
	}
	return verb + e.Path + ": " + e.Why
}

// session says by which way the operator came, because that is what must not be cut.
func (s *Fix) session() string {
	if o := s.facts.Snapshot.Operator; o != nil {
		return " (you come in to " + strings.TrimSuffix(o.Server.Addr().String()+" on "+o.Interface, " on ") + ")"
	}
	return ""
}

// stepMark is the number of a step, or how it went.
func (s *Fix) stepMark(i int) kit.Span {
	st, begun := s.steps[i]
	switch {
	case begun && st.Err != nil:
		return kit.S(theme.Bad, "✗  ")
	case begun && st.Done:
		return kit.S(theme.OK, "✓  ")
	case begun:
		return kit.S(theme.Warn, "…  ")
	}
	return kit.S(theme.Dim, kit.Pad(fmt.Sprint(i+1), 3))
}
