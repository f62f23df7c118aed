package ui

import (
	"strings"

	tea "charm.land/bubbletea/v2"

	"lvstui/probes"
	"lvstui/ui/screens"
)

func (m *root) switchTo(host int) tea.Cmd {
	m.overlays = nil
	if host < 0 || host >= len(m.hosts) || host == m.cur {
		return nil
	}
	m.unpause()
	m.cur = host
	m.gen++
	m.clock = m.now()
	m.spread()
	return m.look()
}

func (m *root) openHosts() tea.Cmd { return m.open(screens.NewHosts(m.hostEntries(), m.cur)) }

func (m *root) hostEntries() []screens.HostEntry {
	entries := make([]screens.HostEntry, len(m.hosts))
	for i, h := range m.hosts {
		entries[i] = screens.HostEntry{Name: shortName(h.host), Age: m.now().Sub(h.at), Looked: !h.at.IsZero(), Verdict: probes.VerdictUnknown}
		switch {
		case h.err != nil:
			entries[i].Summary = h.err.Error()
		case h.facts != nil:
			entries[i].Verdict, entries[i].Summary = h.facts.Report.Verdict, h.facts.Report.Summary
		}
	}
	return entries
}

// switcher is the host switcher while it is open.
func (m *root) switcher() *screens.Hosts {
	for _, s := range m.overlays {
		if h, ok := s.(*screens.Hosts); ok {
			return h
		}
	}
	return nil
}

// tellSwitcher gives the open host switcher what is known now.
func (m *root) tellSwitcher() {
	if h := m.switcher(); h != nil {
		h.SetEntries(m.hostEntries())
	}
}

// shortName is a host's name for the screen; of a file the last part of its path.
func shortName(h Host) string {
	name := h.Name()
	return name[strings.LastIndexByte(name, '/')+1:]
}
