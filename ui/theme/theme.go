// Package theme says how the words of the screens look: which colours, which attributes, which glyphs. Screens name
// a Role and never a colour, so that a terminal without colour, with a light background or without Unicode is a
// matter of this package alone.
package theme

import (
	"charm.land/lipgloss/v2"
)

// Role is what a piece of text is, not how it looks.
type Role uint8

// The roles. Each carries its meaning in words and position too: colour only repeats it.
const (
	Plain    Role = iota
	Dim           // less important: units, labels, what cannot be seen from here
	Title         // headings and the thing being looked at
	OK            // proved good
	Bad           // broken
	Warn          // suspect, degraded
	Unknown       // could not look
	Accent        // keys, links between things
	Selected      // the row under the cursor
	Border        // rules and frames
	roles
)

// Options is what is known about the terminal and wanted by the operator.
type Options struct {
	Color bool // false under NO_COLOR: attributes only
	Light bool // a light background
	ASCII bool // no rune above 0x7e is drawn
}

// Theme renders text in roles. The zero Theme renders everything plain.
type Theme struct {
	styles [roles]lipgloss.Style
	styled bool
	ascii  bool
}

// New makes a theme of the sixteen colours that every terminal has and its user has chosen to be readable.
func New(o Options) Theme {
	t := Theme{styled: true, ascii: o.ASCII}
	base := lipgloss.NewStyle()
	for i := range t.styles {
		t.styles[i] = base
	}
	t.styles[Dim] = base.Faint(true)
	t.styles[Unknown] = base.Faint(true)
	t.styles[Border] = base.Faint(true)
	t.styles[Title] = base.Bold(true)
	t.styles[Bad] = base.Bold(true)
	t.styles[Accent] = base
	t.styles[Selected] = base.Reverse(true)
	if !o.Color {
		return t
	}
	green, red, yellow, cyan := lipgloss.Green, lipgloss.Red, lipgloss.Yellow, lipgloss.Cyan
	if o.Light { // yellow and cyan on white cannot be read
		yellow, cyan = lipgloss.Magenta, lipgloss.Blue
	}
	t.styles[OK] = base.Foreground(green)
	t.styles[Bad] = base.Foreground(red).Bold(true)
	t.styles[Warn] = base.Foreground(yellow)
	t.styles[Accent] = base.Foreground(cyan)
	return t
}

// Render draws text that is already clean (kit.Clean) in a role.
func (t Theme) Render(r Role, text string) string {
	if text == "" {
		return ""
	}
	if t.ascii {
		text = toASCII(text)
	}
	if !t.styled || r >= roles || r == Plain {
		return text
	}
	return t.styles[r].Render(text)
}
