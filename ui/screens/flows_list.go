package screens

import (
	"fmt"
	"strings"

	"lvstui/capture"
	"lvstui/lvs"
	"lvstui/ui/kit"
	"lvstui/ui/theme"
)

// columns are the widths of the list; 0 leaves a column out.
type columns struct{ client, virtual, rs, stage int }

// columns shares the width out: what tells flows apart first, then what may be the same for all.
func (s *Flows) columns(width int) columns {
	c := columns{client: 21, rs: 15}
	client, virtual := 0, 0
	for _, f := range s.shown {
		client, virtual = max(client, len(f.Client.String())), max(virtual, len(f.Virtual.String()))
	}
	rest := width - (2 + c.client + 1 + 11 + 1 + barWidth + 1 + 7 + 2 + c.rs)
	if more := min(rest, client-c.client); more > 0 { // IPv6
		c.client, rest = c.client+more, rest-more
	}
	if virtual = max(17, min(virtual, 40)); rest > virtual {
		c.virtual, rest = virtual, rest-virtual-1
	}
	if rest >= 23 {
		c.stage = 22
	}
	return c
}

func (c columns) head() string {
	out := "  " + kit.Pad("client", c.client) + " "
	if c.virtual > 0 {
		out += kit.Pad("virtual service", c.virtual) + " "
	}
	out += kit.Pad("outcome", 11) + " "
	if c.stage > 0 {
		out += kit.Pad("got as far as", c.stage) + " "
	}
	return out + barHead + " " + kit.PadLeft("age", 7) + "  " + kit.Pad("via", c.rs)
}

func (s *Flows) line(f *capture.Flow, c columns) kit.Line {
	role := outcomeRole(f.Outcome)
	sign := "  "
	if s.marked != nil && flowID(s.marked) == flowID(f) {
		sign = " *"
	}
	l := kit.L(kit.T(sign), kit.T(kit.PadEnd(f.Client.String(), c.client)+" "))
	if c.virtual > 0 {
		l.Spans = append(l.Spans, kit.T(kit.PadEnd(f.Virtual.String(), c.virtual)+" "))
	}
	l.Spans = append(l.Spans, kit.S(role, kit.Pad(Glyph(role)+" "+string(f.Outcome), 12)))
	if c.stage > 0 {
		l.Spans = append(l.Spans, kit.S(theme.Dim, kit.Pad(f.Reached.Title(), c.stage+1)))
	}
	l.Spans = append(l.Spans, stageBar(f)...)
	l.Spans = append(l.Spans, kit.T(" "+kit.PadLeft(age(s.facts.At.Sub(f.FirstSeen)), 7)+"  "+kit.Pad(s.realServer(f), c.rs)))
	return l
}

// The bar shows the eleven stages by the host at which each happens: client, router, director (three), real server
// (three), client, director, established.
const (
	barHead  = "C R Dir RS  C D E"
	barWidth = len(barHead)
)

func stageBar(f *capture.Flow) []kit.Span {
	out := make([]kit.Span, 0, len(lvs.Stages)+6)
	for i, st := range lvs.Stages {
		switch i {
		case 1, 2, 5, 8, 9, 10:
			out = append(out, kit.T(" "))
		}
		state := f.Stage(st).State
		role := stateRole(state)
		cell := Glyph(role)
		if state == lvs.Implied {
			cell = "i"
		}
		out = append(out, kit.S(role, cell))
	}
	return out
}

// legend says what the bar's columns and signs mean, at the bottom of the list where there is room for it.
func legend(width, room int) []kit.Line {
	signs := fmt.Sprintf("%s seen, i implied by a later stage, %s missing, %s not due yet, %s not to be seen from here", Glyph(theme.OK), Glyph(theme.Bad), Glyph(theme.Dim), Glyph(theme.Unknown))
	const stages = "C client sent the SYN, R router passed it on; Dir director: in, scheduled, out; RS real server: in, accepted, answered; " +
		"C client got the SYN-ACK, D director the ACK; E established"
	lines := append(kit.Wrap(signs, width-2), kit.Wrap(stages, width-2)...)
	if room < len(lines)+1 {
		return nil
	}
	out := make([]kit.Line, room-len(lines), room)
	for _, text := range lines {
		out = append(out, kit.L(kit.T(" "), kit.S(theme.Dim, text)))
	}
	return out
}

// plainText is lines as text for the clipboard.
func plainText(lines []kit.Line) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(strings.TrimRight(l.Plain(), " ") + "\n")
	}
	return b.String()
}
