package ui

import (
	"context"
	"time"

	tea "charm.land/bubbletea/v2"

	"lvstui/ui/screens"
)

// lookTimeout bounds one look: a host that does not answer must not keep the screen waiting for ever.
const lookTimeout = 15 * time.Second

// lookedMsg is the result of a look, with the host and the generation it was started for.
type lookedMsg struct {
	host, gen int
	facts     Facts
	err       error
}

// tickMsg says that it is time for the next look.
type tickMsg struct{ gen int }

// look reads the current host.
func (m *root) look() tea.Cmd {
	index, gen, host, ctx := m.cur, m.gen, m.hosts[m.cur].host, m.ctx
	readOnly := m.o.ReadOnly
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(ctx, lookTimeout)
		defer cancel()
		f, err := host.Look(ctx)
		if err != nil {
			return lookedMsg{index, gen, Facts{}, err}
		}
		return lookedMsg{index, gen, complete(ctx, f, host, readOnly), nil}
	}
}

// complete fills in what a Host may leave out.
func complete(ctx context.Context, f Facts, host Host, readOnly bool) Facts {
	if f.Host == "" && f.Snapshot != nil {
		f.Host = f.Snapshot.Host
	}
	if f.Host == "" {
		f.Host = host.Name()
	}
	if f.At.IsZero() && f.Snapshot != nil {
		f.At = f.Snapshot.TakenAt
	}
	if readOnly && !f.ReadOnly {
		f.ReadOnly, f.ReadOnlyWhy = true, "lvstui was started with --read-only"
	}
	if f.Changes == nil {
		changes, err := host.Changes(ctx)
		if err != nil {
			f.ChangesErr = err.Error()
		}
		f.Changes = changes
	}
	return f
}

// looked takes a look's result. One of an older generation is remembered for its host but never shown: the operator has
// gone on to another host, or a change was made since.
func (m *root) looked(msg lookedMsg) tea.Cmd {
	h := m.hosts[msg.host]
	if msg.gen != m.gen {
		if msg.host != m.cur && msg.err == nil {
			h.facts = &msg.facts
		}
		return nil
	}
	h.err = msg.err
	if msg.err == nil {
		if m.paused && h.facts != nil {
			h.held = &msg.facts
		} else {
			h.facts = &msg.facts
			m.spread()
		}
	}
	return m.after(m.o.Refresh, tickMsg{m.gen})
}

// spread gives the facts of the current host to all screens.
func (m *root) spread() {
	f := m.hosts[m.cur].facts
	if f == nil {
		return
	}
	for _, s := range m.tabs {
		s.SetFacts(*f)
	}
	for _, s := range m.overlays {
		s.SetFacts(*f)
	}
}

// lookAgain starts a new generation: what is under way is late from now on.
func (m *root) lookAgain() tea.Cmd {
	m.gen++
	return m.look()
}

func (m *root) switchTo(host int) tea.Cmd {
	m.overlays = nil
	if host < 0 || host >= len(m.hosts) || host == m.cur {
		return nil
	}
	m.unpause()
	m.cur = host
	m.spread()
	return m.lookAgain()
}

// pause freezes the screen or lets it go on. Looking goes on meanwhile, so that nothing is missed.
func (m *root) pause() tea.Cmd {
	if !m.paused {
		m.paused = true
		return nil
	}
	m.unpause()
	return nil
}

func (m *root) unpause() {
	m.paused = false
	h := m.hosts[m.cur]
	if h.held != nil {
		h.facts, h.held = h.held, nil
		m.spread()
	}
}

// newFlows counts what came while the screen was frozen.
func (m *root) newFlows() int {
	h := m.hosts[m.cur]
	if h.held == nil || h.facts == nil {
		return 0
	}
	return screens.NewFlowsSince(*h.facts, *h.held)
}
