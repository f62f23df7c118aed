// Package keys is the one table of all keys. Dispatch, the footer, the help and docs/keys.md come from it, so what is
// written about a key is what it does.
package keys

import (
	tea "charm.land/bubbletea/v2"
)

// Binding is one or more keys with one meaning.
type Binding struct {
	// Keys as tea.KeyPressMsg spells them: "a", "ctrl+d", "enter", "space".
	Keys []string
	// Show is how the keys are written for a person: "↑↓".
	Show string
	// Short is the word in the footer, Long the sentence in the help.
	Short, Long string
}

// Matches tells whether a key press is meant.
func (b Binding) Matches(press tea.KeyPressMsg) bool {
	s := press.String()
	for _, k := range b.Keys {
		if k == s {
			return true
		}
	}
	return false
}

// Action is a Binding at a place where it is valid: what it does there, or why it does nothing just now.
type Action struct {
	Binding
	Do func() tea.Cmd
	// Why is the reason for which the key is disabled, "" when it is not. It is said when the key is pressed.
	Why string
	// Quiet keeps the key out of the footer; the help has it.
	Quiet bool
}

// Do makes an Action of a Binding.
func (b Binding) Do(do func() tea.Cmd) Action { return Action{Binding: b, Do: do} }

// Quietly is Do for keys that the footer has no room for.
func (b Binding) Quietly(do func() tea.Cmd) Action { return Action{Binding: b, Do: do, Quiet: true} }

// Unless disables the action when why is not empty.
func (a Action) Unless(why string) Action {
	a.Why = why
	return a
}

// Find returns the first action that a key press means.
func Find(actions []Action, press tea.KeyPressMsg) (Action, bool) {
	for _, a := range actions {
		if a.Matches(press) {
			return a, true
		}
	}
	return Action{}, false
}
