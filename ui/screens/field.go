package screens

import (
	tea "charm.land/bubbletea/v2"

	"lvstui/ui/kit"
	"lvstui/ui/theme"
)

// field is a text field of one line.
type field struct {
	prompt, text, before string
	on                   bool
}

func newField(prompt string) field { return field{prompt: prompt} }

func (f *field) start(text string) { f.text, f.before, f.on = text, text, true }

// press takes a key and tells whether the text is finished: changed by enter, or taken back by esc.
func (f *field) press(k tea.KeyPressMsg) (done bool) {
	switch k.String() {
	case "enter":
		f.on = false
		return true
	case "esc":
		f.text, f.on = f.before, false
		return true
	case "backspace":
		if r := []rune(f.text); len(r) > 0 {
			f.text = string(r[:len(r)-1])
		}
	case "ctrl+u":
		f.text = ""
	default:
		if k.Text != "" && len(f.text) < 200 {
			f.text += kit.Clean(k.Text)
		}
	}
	return false
}

func (f *field) line() kit.Line {
	return kit.L(kit.T(" "), kit.S(theme.Accent, f.prompt), kit.T(f.text), kit.S(theme.Selected, " "),
		kit.S(theme.Dim, "  enter takes it, esc leaves it"))
}
