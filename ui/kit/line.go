// Package kit is the drawing kit of the screens. A screen describes itself as Lines of Spans, text with a role; Render
// alone turns them into a terminal's string. So three promises are kept in one place: foreign text is cleaned, no line
// is wider than the terminal, and styling is the theme's.
package kit

import (
	"strings"

	"github.com/charmbracelet/x/ansi"

	"lvstui/ui/theme"
)

// Span is a piece of text in one role.
type Span struct {
	Role theme.Role
	Text string
}

// Line is one line of the screen. A Line whose Cursor is set is drawn as the selected row.
type Line struct {
	Spans  []Span
	Cursor bool
}

// T is a plain span.
func T(text string) Span { return Span{theme.Plain, text} }

// S is a span with a role.
func S(role theme.Role, text string) Span { return Span{role, text} }

// L is a line of spans.
func L(spans ...Span) Line { return Line{Spans: spans} }

// Text is a line of one span.
func Text(role theme.Role, text string) Line { return L(Span{role, text}) }

// Width is the number of cells a text takes, after cleaning.
func Width(text string) int { return cells(Clean(text)) }

// Width of a line in cells.
func (l Line) Width() int {
	n := 0
	for _, s := range l.Spans {
		n += Width(s.Text)
	}
	return n
}

// Plain is the line's text without roles.
func (l Line) Plain() string {
	var b strings.Builder
	for _, s := range l.Spans {
		b.WriteString(Clean(s.Text))
	}
	return b.String()
}

// Fit cuts a text to width cells, with an ellipsis when something is lost.
func Fit(text string, width int) string {
	text = Clean(text)
	if width <= 0 {
		return ""
	}
	if cells(text) <= width {
		return text
	}
	return ansi.Truncate(text, width, "…")
}

// Pad is Fit, filled with spaces at the right up to width.
func Pad(text string, width int) string {
	text = Fit(text, width)
	return text + spaces(width-cells(text))
}

// PadEnd is Pad for addresses: when something must be lost it is the beginning, because the port is at the end.
func PadEnd(text string, width int) string {
	text = Clean(text)
	if over := cells(text) - width; over > 0 {
		text = ansi.TruncateLeft(text, over+1, "…")
	}
	return Pad(text, width)
}

// PadLeft is Fit, filled with spaces at the left up to width: for numbers.
func PadLeft(text string, width int) string {
	text = Fit(text, width)
	return spaces(width-cells(text)) + text
}

func spaces(n int) string {
	if n <= 0 {
		return ""
	}
	return strings.Repeat(" ", n)
}

// Fit cuts or fills a line to exactly width cells.
func (l Line) Fit(width int) Line {
	out := Line{Cursor: l.Cursor, Spans: make([]Span, 0, len(l.Spans)+1)}
	used := 0
	for i, s := range l.Spans {
		text := Clean(s.Text)
		w := cells(text)
		if used+w > width || used+w == width && restWidth(l.Spans[i+1:]) > 0 {
			text = ansi.Truncate(text, max(0, width-used-1), "") + "…"
			if width-used <= 0 {
				text = ""
			}
			w = cells(text)
			out.Spans = append(out.Spans, Span{s.Role, text})
			used += w
			break
		}
		out.Spans = append(out.Spans, Span{s.Role, text})
		used += w
	}
	if used < width {
		out.Spans = append(out.Spans, T(spaces(width-used)))
	}
	return out
}

func restWidth(spans []Span) int {
	n := 0
	for _, s := range spans {
		n += Width(s.Text)
	}
	return n
}

// Between puts right at the right edge of width cells; left is cut when both do not fit.
func Between(left, right Line, width int) Line {
	rw := right.Width()
	if rw >= width {
		return right.Fit(width)
	}
	lw := width - rw
	if left.Width() >= lw { // keep one cell apart
		left = left.Fit(lw - 1).append(T(" "))
	}
	return left.Fit(lw).append(right.Spans...)
}

func (l Line) append(spans ...Span) Line {
	l.Spans = append(l.Spans[:len(l.Spans):len(l.Spans)], spans...)
	return l
}

// Indent puts n spaces before every line.
func Indent(n int, lines []Line) []Line {
	out := make([]Line, len(lines))
	for i, l := range lines {
		out[i] = Line{Cursor: l.Cursor, Spans: append([]Span{T(spaces(n))}, l.Spans...)}
	}
	return out
}

// Columns puts two blocks side by side: left in lw cells, a rule, right in the rest of width. Both are cut to height.
func Columns(left, right []Line, lw, width, height int) []Line {
	out := make([]Line, 0, height)
	rw := width - lw - 2
	for i := range height {
		var l, r Line
		if i < len(left) {
			l = left[i]
		}
		if i < len(right) {
			r = right[i]
		}
		cells := l.Fit(lw)
		if cells.Cursor {
			for j := range cells.Spans {
				cells.Spans[j].Role = theme.Selected
			}
		}
		cells.Cursor = false
		cells = cells.append(S(theme.Border, "│ "))
		out = append(out, cells.append(r.Fit(rw).Spans...))
	}
	return out
}

// Rule is a horizontal rule with a title in it.
func Rule(title string, width int) Line {
	if title == "" {
		return Text(theme.Border, strings.Repeat("─", max(0, width)))
	}
	title = Fit(title, width-4)
	return L(S(theme.Border, "─ "), S(theme.Title, title),
		S(theme.Border, " "+strings.Repeat("─", max(0, width-3-cells(title)))))
}

// Box frames lines, with a title in the upper edge. The result is width cells wide.
func Box(title string, lines []Line, width int) []Line {
	inner := width - 4
	if inner < 1 {
		return nil
	}
	title = Fit(title, inner-2)
	top := L(S(theme.Border, "┌ "), S(theme.Title, title),
		S(theme.Border, " "+strings.Repeat("─", max(0, inner-cells(title)))+"┐"))
	out := append(make([]Line, 0, len(lines)+2), top)
	for _, l := range lines {
		row := l.Fit(inner)
		if l.Cursor {
			for j := range row.Spans {
				row.Spans[j].Role = theme.Selected
			}
		}
		framed := L(S(theme.Border, "│ "))
		framed = framed.append(row.Spans...)
		out = append(out, framed.append(S(theme.Border, " │")))
	}
	return append(out, Text(theme.Border, "└"+strings.Repeat("─", inner+2)+"┘"))
}

// Render draws lines for a terminal: at most height lines of at most width cells.
func Render(th theme.Theme, lines []Line, width, height int) string {
	var b strings.Builder
	b.Grow(height * (width + 32))
	for i := range min(height, len(lines)) {
		if i > 0 {
			b.WriteByte('\n')
		}
		renderLine(&b, th, lines[i], width)
	}
	return b.String()
}

func renderLine(b *strings.Builder, th theme.Theme, l Line, width int) {
	if !l.Cursor && l.Width() <= width {
		for _, s := range l.Spans {
			b.WriteString(th.Render(s.Role, Clean(s.Text)))
		}
		return
	}
	fitted := l.Fit(width)
	if l.Cursor {
		b.WriteString(th.Render(theme.Selected, fitted.Plain()))
		return
	}
	for _, s := range fitted.Spans {
		b.WriteString(th.Render(s.Role, s.Text))
	}
}
