package screens

import (
	"strings"

	"charm.land/huh/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"lvstui/ui/kit"
	"lvstui/ui/theme"
)

// huhColours stand for roles: a huh field writes them, and spans reads them back, so that what it draws looks like all else on
// every terminal.
var huhColours = map[theme.Role]string{theme.Dim: "8", theme.Title: "4", theme.OK: "2", theme.Bad: "1", theme.Warn: "3", theme.Accent: "6"}

// huhTheme is a theme of huh without frames, in those colours.
var huhTheme = huh.ThemeFunc(func(bool) *huh.Styles {
	in := func(r theme.Role) lipgloss.Style {
		return lipgloss.NewStyle().Foreground(lipgloss.Color(huhColours[r]))
	}
	t := huh.ThemeBase(false)
	f := &t.Focused
	f.Base = lipgloss.NewStyle()
	f.ErrorIndicator, f.ErrorMessage = in(theme.Bad).SetString(" ✗"), in(theme.Bad)
	f.SelectSelector, f.MultiSelectSelector = in(theme.Accent).SetString("› "), in(theme.Accent).SetString("› ")
	f.SelectedOption = in(theme.Accent)
	f.SelectedPrefix, f.UnselectedPrefix = in(theme.OK).SetString("[x] "), in(theme.Dim).SetString("[ ] ")
	f.TextInput.Prompt, f.TextInput.Placeholder = in(theme.Accent), in(theme.Dim)
	t.Blurred = t.Focused
	return t
})

// styled makes lines of a text that a huh field has drawn in the colours of huhTheme. What is reversed is the cursor.
func styled(text string) []kit.Line {
	var out []kit.Line
	for _, line := range strings.Split(text, "\n") {
		out = append(out, kit.L(spans(line)...))
	}
	return out
}

func spans(line string) []kit.Span {
	var out []kit.Span
	role, state := theme.Plain, byte(0)
	for len(line) > 0 {
		seq, width, n, next := ansi.DecodeSequence(line, state, nil)
		line, state = line[n:], next
		switch {
		case width > 0 && len(out) > 0 && out[len(out)-1].Role == role:
			out[len(out)-1].Text += seq
		case width > 0:
			out = append(out, kit.S(role, seq))
		case strings.HasPrefix(seq, "\x1b[") && strings.HasSuffix(seq, "m"):
			role = sgrRole(role, seq[2:len(seq)-1])
		}
	}
	return out
}

// sgrRole is the role after a sequence that changes colours.
func sgrRole(role theme.Role, params string) theme.Role {
	for _, p := range strings.Split(params, ";") {
		switch {
		case p == "" || p == "0":
			role = theme.Plain
		case p == "7":
			role = theme.Selected
		case len(p) == 2 && (p[0] == '3' || p[0] == '9'):
			for r, colour := range huhColours {
				if p == "3"+colour || colour == "8" && p == "90" {
					role = r
				}
			}
		}
	}
	return role
}
