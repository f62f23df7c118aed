package screens

import (
	tea "charm.land/bubbletea/v2"

	"lvstui/ui/keys"
	"lvstui/ui/kit"
)

// Reader is an overlay with a text that scrolls: the details of something, or an explanation.
type Reader struct {
	title string
	text  func(width int) []kit.Line
	more  func() []keys.Action // what can be done about it; may be nil
	scroll
}

// NewReader shows what text returns, drawn anew for each width.
func NewReader(title string, text func(width int) []kit.Line) *Reader {
	return &Reader{title: title, text: text}
}

// With adds what can be done about what is read.
func (r *Reader) With(more func() []keys.Action) *Reader {
	r.more = more
	return r
}

// Title is the heading.
func (r *Reader) Title() string { return r.title }

// Typing is false.
func (r *Reader) Typing() bool { return false }

// SetFacts changes nothing: text asks for itself.
func (r *Reader) SetFacts(Facts) {}

// Update has nothing to wait for.
func (r *Reader) Update(tea.Msg) (Screen, tea.Cmd) { return r, nil }

// Actions scroll and leave.
func (r *Reader) Actions() []keys.Action {
	var acts []keys.Action
	if r.more != nil {
		acts = r.more()
	}
	return append(append(acts, keys.Leave.Do(ask(CloseMsg{}))), r.scroll.actions()...)
}

// View draws the part of the text that fits.
func (r *Reader) View(width, height int) []kit.Line {
	measure := min(width-2, 100) // a longer line is hard to read
	out := []kit.Line{kit.Rule(r.title, width)}
	return append(out, kit.Indent(1, r.show(r.text(measure), height-1))...)
}
