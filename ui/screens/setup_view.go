package screens

import (
	"fmt"
	"strings"

	"lvstui/ui/kit"
	"lvstui/ui/theme"
	"lvstui/ui/wizard"
)

// head says what this is for, and how far it is.
func (s *Setup) head(width int) []kit.Line {
	open := len(s.sheet.Open())
	text := "Make this host the director or a real server of a cluster with direct routing. "
	switch {
	case s.sheet.RoleGiven() == "":
		text += "Only what the host does not show is asked. Nothing is changed before you say so in the last box."
	case open == 1:
		text += "One thing is to be answered; the rest was found."
	case open > 1:
		text += fmt.Sprintf("%d things are to be answered; the rest was found.", open)
	case len(s.problems) > 0:
		text += "All is known, and it can not work: see below."
	case s.plan.Empty():
		text += "All is known, and this host is set up so already. enter changes an answer."
	default:
		text += "All is known. Look through it, then open the plan."
	}
	return append(kit.Paragraph(theme.Dim, text, width), kit.Line{})
}

// rows are the answers, and the plan as the last one.
func (s *Setup) rows(width int) []kit.Line {
	var out []kit.Line
	for i, id := range s.cur.ids {
		l := s.answerLine(wizard.ID(id), width)
		if id == planRow {
			out = append(out, kit.Line{})
			l = s.planLine(width)
		}
		if i == s.cur.at {
			l = chosen(l)
		}
		out = append(out, l)
	}
	return out
}

func (s *Setup) answerLine(q wizard.ID, width int) kit.Line {
	a := s.sheet.Answer(q)
	l := kit.L(kit.T("  "), kit.S(theme.Title, kit.Pad(string(q), 14)))
	switch {
	case a.Text != "":
		room := max(20, width-20-kit.Width(a.From)-4)
		l.Spans = append(l.Spans, mark(theme.OK), kit.T(" "+kit.Pad(roleText(q, a.Text), min(room, max(34, kit.Width(a.Text))))), kit.S(theme.Dim, "  "+a.From))
	case q == wizard.Gateway:
		l.Spans = append(l.Spans, mark(theme.Dim), kit.S(theme.Dim, " none found; the routes decide"))
	default:
		l.Spans = append(l.Spans, mark(theme.Unknown), kit.S(theme.Warn, " to be answered"))
		if n := len(s.sheet.Offers(q)); n > 0 && q != wizard.Role {
			l.Spans = append(l.Spans, kit.S(theme.Dim, fmt.Sprintf("  %d to choose from", n)))
		}
	}
	return l
}

func roleText(q wizard.ID, text string) string {
	if q == wizard.Role {
		return strings.ReplaceAll(text, "-", " ")
	}
	return text
}

func (s *Setup) planLine(width int) kit.Line {
	l := kit.L(kit.T("  "), kit.S(theme.Title, kit.Pad("plan", 14)))
	switch {
	case len(s.sheet.Open()) > 0:
		l.Spans = append(l.Spans, mark(theme.Dim), kit.S(theme.Dim, " when all is answered"))
	case len(s.problems) > 0:
		l.Spans = append(l.Spans, mark(theme.Bad), kit.S(theme.Bad, " this can not work"))
	case s.plan.Empty():
		l.Spans = append(l.Spans, mark(theme.OK), kit.T(" nothing is left to do on this host"))
	default:
		l.Spans = append(l.Spans, mark(theme.Accent), kit.T(" "+plural(len(s.plan.Steps), "step")+" on this host; "), kit.S(theme.Accent, "enter"),
			kit.S(theme.Dim, " shows them first"))
	}
	return l.Fit(width)
}

// outcome is why it can not work, or what is to be done elsewhere.
func (s *Setup) outcome(width int) []kit.Line {
	out := []kit.Line{{}}
	for _, p := range s.problems {
		out = append(out, kit.Item(kit.S(theme.Bad, "✗ "), theme.Bad, p.What, width)...)
		out = append(out, kit.Indent(2, kit.Item(kit.S(theme.Dim, "do: "), theme.Plain, p.Next, width-2))...)
	}
	if s.ready() {
		out = append(out, s.others(width)...)
	}
	return append(out, gapLines(s.facts, width)...)
}

// others is what the router and the other hosts need.
func (s *Setup) others(width int) []kit.Line {
	out := []kit.Line{kit.Text(theme.Title, "What the others need")}
	for _, e := range s.plan.Elsewhere {
		out = append(out, kit.Item(kit.S(theme.Dim, "· "), theme.Plain, e, width)...)
	}
	return out
}

// questionLines are the question that is asked, what helps to answer it, and what speaks against the answer.
func (s *Setup) questionLines(width, height int) []kit.Line {
	q := s.field.ID
	ask, help := wizard.Words(q)
	where := string(q)
	if role := s.sheet.RoleGiven(); role != "" && q != wizard.Role {
		where = roleText(wizard.Role, string(role)) + ": " + where
	}
	out := []kit.Line{{}, kit.Text(theme.Dim, where), kit.Text(theme.Title, ask)}
	out = append(out, kit.Paragraph(theme.Dim, help, width)...)
	out = append(out, kit.Line{})
	if s.field.Typed {
		if offers := s.sheet.Offers(q); len(offers) > 0 {
			var seen []string
			for _, o := range offers {
				seen = append(seen, o.Text)
			}
			out = append(out, kit.Item(kit.S(theme.Dim, "seen here: "), theme.Dim, few(seen, 8), width)...)
		}
	}
	out = append(out, styled(strings.TrimRight(s.field.View(), "\n "))...)
	if err := s.field.Error(); err != nil {
		out = append(out, kit.Line{})
		out = append(out, kit.Item(kit.S(theme.Bad, "✗ "), theme.Bad, err.Error(), width)...)
	}
	return out[:min(len(out), height)]
}
