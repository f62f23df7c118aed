package ui

import (
	"context"
	"time"

	tea "charm.land/bubbletea/v2"

	"lvstui/ui/screens"
)

// lookTimeout bounds one look: a host that does not answer must not keep the screen waiting for ever.
const lookTimeout = 15 * time.Second

// A look may take long on a busy host, and must not be what keeps it busy: the next one begins restFactor times as long after
// it as it took, and not before Options.Refresh.
const restFactor = 3

// outdated is the age from which another host's verdict is worth a new look while the host switcher shows it.
const outdated = 10 * time.Second

// lookedMsg is the result of a look, and how long it took.
type lookedMsg struct {
	host  int
	facts Facts
	err   error
	took  time.Duration
}

// tickMsg says that it is time for the next look at the current host.
type tickMsg struct{ gen int }

// look reads the current host.
func (m *root) look() tea.Cmd { return m.lookAt(m.cur) }

// lookAt reads one host. Two looks at the same host never overlap: one that is under way will do.
func (m *root) lookAt(index int) tea.Cmd {
	h := m.hosts[index]
	if h.looking {
		return nil
	}
	h.looking = true
	host, ctx, readOnly := h.host, m.ctx, m.o.ReadOnly
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(ctx, lookTimeout)
		defer cancel()
		began := time.Now()
		f, err := host.Look(ctx)
		if err == nil {
			f = complete(ctx, f, host, readOnly)
		}
		return lookedMsg{index, f, err, time.Since(began)}
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

// looked takes a look's result and plans the next one. What was seen of another host than the current one is never drawn but in
// the host switcher, and what was seen while a change was made is not drawn at all.
func (m *root) looked(msg lookedMsg) tea.Cmd {
	h := m.hosts[msg.host]
	late := h.late
	h.looking, h.late = false, false
	switch {
	case late && msg.host == m.cur:
		return m.look()
	case late:
		return nil
	}
	h.err, h.at = msg.err, m.now()
	if msg.err == nil {
		m.show(msg.host, &msg.facts)
	}
	m.tellSwitcher()
	if msg.host != m.cur {
		return nil
	}
	if msg.err == nil {
		m.watch(&msg.facts)
	}
	return tea.Batch(m.after(m.rest(msg.took), tickMsg{m.gen}), m.lookElsewhere(), m.tickClock())
}

// show keeps what was found, and gives it to the screens or holds it while they are frozen.
func (m *root) show(host int, facts *Facts) {
	h := m.hosts[host]
	if host == m.cur && m.paused && h.facts != nil {
		h.held = facts
		return
	}
	h.facts = facts
	if host == m.cur {
		m.spread()
	}
}

// lookElsewhere looks at one of the other hosts, so that the host switcher has their verdicts: at each once, and again while the
// switcher is open. It is called when a look at the current host has ended, and waits for the one before: a host at a time, as
// slowly as the current one is looked at.
func (m *root) lookElsewhere() tea.Cmd {
	next := -1
	for i, h := range m.hosts {
		if h.looking {
			return nil
		}
		if i == m.cur || !h.at.IsZero() && (m.switcher() == nil || m.now().Sub(h.at) < outdated) {
			continue
		}
		if next < 0 || h.at.Before(m.hosts[next].at) {
			next = i
		}
	}
	if next < 0 {
		return nil
	}
	return m.lookAt(next)
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

// lookAgain looks at the current host at once, after a change: a look that is under way may have seen what was before.
func (m *root) lookAgain() tea.Cmd {
	m.gen++
	m.hosts[m.cur].late = m.hosts[m.cur].looking
	return m.look()
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
