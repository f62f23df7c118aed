// Package theme says how the words of the screens look: which colours, which attributes, which glyphs. Screens name
// a Role and never a colour, so that a terminal without colour, with a light background or without Unicode is a
// matter of this package alone.
package theme

import (
	"strings"

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
	// on and off are what Lip Gloss writes before and after a text of each role. They are worked out once, because its
	// Render also looks after borders and margins, which took half of the time of a frame.
	on, off [roles]string
	ascii   bool
}

// New makes a theme of the sixteen colours that every terminal has and its user has chosen to be readable.
func New(o Options) Theme {
	t := Theme{ascii: o.ASCII}
	for role, style := range styles(o) {
		t.on[role], t.off[role], _ = strings.Cut(style.Render("x"), "x")
	}
	return t
}

func styles(o Options) [roles]lipgloss.Style {
	base := lipgloss.NewStyle()
	s := [roles]lipgloss.Style{Plain: base, OK: base, Warn: base, Accent: base,
		Dim: base.Faint(true), Unknown: base.Faint(true), Border: base.Faint(true),
		Title: base.Bold(true), Bad: base.Bold(true), Selected: base.Reverse(true)}
	if !o.Color {
		return s
	}
	green, red, yellow, cyan := lipgloss.Green, lipgloss.Red, lipgloss.Yellow, lipgloss.Cyan
	if o.Light { // yellow and cyan on white cannot be read
		yellow, cyan = lipgloss.Magenta, lipgloss.Blue
	}
	s[OK] = base.Foreground(green)
	s[Bad] = base.Foreground(red).Bold(true)
	s[Warn] = base.Foreground(yellow)
	s[Accent] = base.Foreground(cyan)
	return s
}

// Render draws text that is already clean (kit.Clean) in a role.
func (t Theme) Render(r Role, text string) string {
	if text == "" {
		return ""
	}
	if t.ascii {
		text = toASCII(text)
	}
	return t.on[r] + text + t.off[r]
}
