package ui

import (
	"context"

	tea "charm.land/bubbletea/v2"

	"lvstui/lvs"
	"lvstui/ui/screens"
)

// Prober is a Host from which active tests can be made.
type Prober interface {
	// PlanProbe says what the tests would send, and what they would leave out and why. It sends nothing.
	PlanProbe(ctx context.Context) (words, left []string, err error)
	// Probe sends it, and returns what came back.
	Probe(ctx context.Context) (*lvs.Probed, error)
}

// openProbe shows what the active tests would send.
func (m *root) openProbe() tea.Cmd {
	h := m.hosts[m.cur]
	host, ctx := h.host.(Prober), m.ctx
	return tea.Batch(m.open(screens.NewProbe(*h.facts)), func() tea.Msg {
		words, left, err := host.PlanProbe(ctx)
		return screens.ProbePlannedMsg{Words: words, Left: left, Err: err}
	})
}

func (m *root) runProbe() tea.Cmd {
	host, ctx := m.hosts[m.cur].host.(Prober), m.ctx
	return func() tea.Msg {
		p, err := host.Probe(ctx)
		return screens.ProbedMsg{Probed: p, Err: err}
	}
}

// whyNoProbe is why nothing can be sent from here.
func (m *root) whyNoProbe() string {
	h := m.hosts[m.cur]
	_, can := h.host.(Prober)
	switch {
	case h.facts == nil:
		return "this host was not looked at yet"
	case !can:
		return "tests are sent from the host itself: h goes to another, or run lvstui there"
	case h.facts.ReadOnly:
		return "read-only: " + h.facts.ReadOnlyWhy
	}
	return ""
}
