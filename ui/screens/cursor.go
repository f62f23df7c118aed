package screens

import (
	"fmt"
	"slices"

	tea "charm.land/bubbletea/v2"

	"lvstui/ui/keys"
	"lvstui/ui/kit"
	"lvstui/ui/theme"
)

// cursor is the selected row of a list, remembered by identity: after a refresh it is on the same thing, wherever that
// went. When the thing is gone it stays where it was.
type cursor struct {
	ids    []string
	id     string
	at     int
	offset int // first row shown
	page   int // rows shown at the last View
}

// rows gives the cursor the list as it is now.
func (c *cursor) rows(ids []string) {
	c.ids = ids
	if i := slices.Index(ids, c.id); i >= 0 {
		c.at = i
	}
	c.clamp()
}

func (c *cursor) clamp() {
	c.at = max(0, min(c.at, len(c.ids)-1))
	if len(c.ids) == 0 {
		c.id = ""
		return
	}
	c.id = c.ids[c.at]
}

func (c *cursor) move(n int) {
	c.at += n
	c.clamp()
}

// window is the part of the list that fits in height lines.
func (c *cursor) window(height int) (from, to int) {
	c.page = max(1, height)
	from, to = kit.Window(len(c.ids), c.at, c.offset, height)
	c.offset = from
	return from, to
}

// actions are the keys that move the cursor; moved is called after each, and may be nil.
func (c *cursor) actions(moved func()) []keys.Action {
	by := func(n func() int) func() tea.Cmd {
		return func() tea.Cmd {
			c.move(n())
			if moved != nil {
				moved()
			}
			return nil
		}
	}
	return moves(by, func() int { return c.page }, func() int { return len(c.ids) })
}

// moves are the six moving keys, all by one function.
func moves(by func(func() int) func() tea.Cmd, page, all func() int) []keys.Action {
	fixed := func(n int) func() int { return func() int { return n } }
	return []keys.Action{
		keys.Up.Quietly(by(fixed(-1))), keys.Down.Quietly(by(fixed(1))),
		keys.PageUp.Quietly(by(func() int { return -page() })), keys.PageDown.Quietly(by(page)),
		keys.First.Quietly(by(func() int { return -all() })), keys.Last.Quietly(by(all)),
	}
}

// scroll is a text that may be longer than the screen.
type scroll struct {
	offset int
	page   int
	total  int
}

// show cuts the text to height lines; the last line says how much more there is.
func (s *scroll) show(lines []kit.Line, height int) []kit.Line {
	s.page, s.total = max(1, height-1), len(lines)
	s.offset = max(0, min(s.offset, len(lines)-height))
	out := slices.Clone(lines[s.offset:min(len(lines), s.offset+height)])
	if n := len(lines) - s.offset - height; n > 0 && len(out) > 0 {
		out[len(out)-1] = kit.L(kit.S(theme.Accent, " ↓"), kit.S(theme.Dim, fmt.Sprintf(" %d more lines", n+1)))
	}
	return out
}

// by scrolls n lines down, or up.
func (s *scroll) by(n int) { s.offset = max(0, min(s.offset+n, s.total-s.page-1)) }

func (s *scroll) actions() []keys.Action {
	by := func(n func() int) func() tea.Cmd {
		return func() tea.Cmd { s.by(n()); return nil }
	}
	return moves(by, func() int { return s.page }, func() int { return s.total })
}
