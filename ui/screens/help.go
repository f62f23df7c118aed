package screens

import (
	"lvstui/ui/keys"
	"lvstui/ui/kit"
	"lvstui/ui/theme"
)

// NewHelp lists the keys that are valid: here, and everywhere. What is disabled says why.
func NewHelp(place string, here, everywhere []keys.Action) *Reader {
	return NewReader("Help", func(width int) []kit.Line {
		out := actionLines(place, here, width)
		out = append(out, kit.Line{})
		out = append(out, actionLines("Everywhere", everywhere, width)...)
		return append(out, kit.Line{}, kit.Text(theme.Title, "Signs"),
			kit.L(mark(theme.OK), kit.T(" ok, seen     "), mark(theme.Bad), kit.T(" broken, missing     "), mark(theme.Warn), kit.T(" suspect")),
			kit.L(mark(theme.Unknown), kit.T(" could not look, or cannot be seen from this host: never the same as ok")),
			kit.L(mark(theme.Dim), kit.T(" not yet due")),
			kit.L(kit.T("In the list of flows, from left to right: "), kit.S(theme.Accent, "C"), kit.T(" the client's SYN, ")),
			kit.L(kit.S(theme.Accent, "R"), kit.T(" the router finds the VIP, "), kit.S(theme.Accent, "Dir"), kit.T(" the director gets, schedules, forwards it,")),
			kit.L(kit.S(theme.Accent, "RS"), kit.T(" the real server gets, accepts, answers it, "), kit.S(theme.Accent, "C"), kit.T(" the SYN-ACK is at the client,")),
			kit.L(kit.S(theme.Accent, "D"), kit.T(" the ACK is at the director, "), kit.S(theme.Accent, "E"), kit.T(" established")))
	})
}

func actionLines(title string, actions []keys.Action, width int) []kit.Line {
	out := []kit.Line{kit.Text(theme.Title, title)}
	for _, a := range actions {
		out = append(out, kit.Item(kit.S(theme.Accent, kit.Pad(a.Show, 11)), theme.Plain, a.Long, width)...)
		if a.Why != "" {
			out = append(out, kit.Indent(11, kit.Paragraph(theme.Dim, "not now: "+a.Why, width-11))...)
		}
	}
	return out
}
