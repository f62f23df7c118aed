package ui

import (
	"time"

	tea "charm.land/bubbletea/v2"
)

// A program that is left open on a director for days must cost next to nothing. While nobody presses a key and no handshake comes, looks are so
// far apart that they take 0.1 % of the time, and never more than longestRest.
const (
	idleAfter   = 30 * time.Second
	idleFactor  = 1000
	longestRest = 10 * time.Second
)

// rest is how long the current host is left alone after a look that took so long.
func (m *root) rest(took time.Duration) time.Duration {
	rest := max(m.o.Refresh, restFactor*took)
	_, waiting := m.waiting()
	m.dozing = !waiting && m.now().Sub(m.stirred) >= idleAfter
	if m.dozing {
		rest = max(rest, min(idleFactor*took, longestRest))
	}
	return rest
}

// watch notes whether the look brought handshakes, or packets of them, that were not there before.
func (m *root) watch(f *Facts) {
	var latest time.Time
	for i := range f.Flows {
		if f.Flows[i].LastSeen.After(latest) {
			latest = f.Flows[i].LastSeen
		}
	}
	if !latest.Equal(m.latest) || m.stirred.IsZero() {
		m.latest, m.stirred = latest, m.now()
	}
}

// stir ends the long rests: somebody is there, and wants to see what is.
func (m *root) stir() tea.Cmd {
	m.stirred = m.now()
	if !m.dozing {
		return nil
	}
	m.dozing = false
	return m.lookAgain()
}
