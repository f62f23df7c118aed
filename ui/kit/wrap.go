package kit

import (
	"strings"

	"github.com/charmbracelet/x/ansi"

	"lvstui/ui/theme"
)

// Wrap breaks a text into lines of at most width cells, at spaces where there are any. Newlines in the text stay.
func Wrap(text string, width int) []string {
	if width < 1 {
		return nil
	}
	var out []string
	for _, paragraph := range strings.Split(text, "\n") {
		out = append(out, wrapParagraph(strings.Fields(Clean(paragraph)), width)...)
	}
	return out
}

func wrapParagraph(words []string, width int) []string {
	var out []string
	line, used := "", 0
	for _, word := range words {
		w := cells(word)
		if used > 0 && used+1+w > width {
			out = append(out, line)
			line, used = "", 0
		}
		for w > width { // a word longer than the line
			head := ansi.Truncate(word, width, "")
			if head == "" {
				return append(out, line)
			}
			out = append(out, head)
			word = word[len(head):]
			w = cells(word)
		}
		if used > 0 {
			line, used = line+" ", used+1
		}
		line, used = line+word, used+w
	}
	return append(out, line)
}

// Paragraph is Wrap as lines in one role.
func Paragraph(role theme.Role, text string, width int) []Line {
	wrapped := Wrap(text, width)
	out := make([]Line, len(wrapped))
	for i, w := range wrapped {
		out[i] = Text(role, w)
	}
	return out
}

// Item is a paragraph that hangs from a mark: the first line starts with it, the others are indented by its width.
func Item(mark Span, role theme.Role, text string, width int) []Line {
	indent := Width(mark.Text)
	out := Paragraph(role, text, width-indent)
	for i := range out {
		if i == 0 {
			out[i].Spans = append([]Span{mark}, out[i].Spans...)
		} else {
			out[i].Spans = append([]Span{T(spaces(indent))}, out[i].Spans...)
		}
	}
	return out
}
