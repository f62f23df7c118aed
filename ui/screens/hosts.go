package screens

import (
	"strconv"
	"time"

	tea "charm.land/bubbletea/v2"

	"lvstui/probes"
	"lvstui/ui/keys"
	"lvstui/ui/kit"
	"lvstui/ui/theme"
)

// HostEntry is a host in the switcher, with what is known of it from the last look, if there was one.
type HostEntry struct {
	Name    string
	Looked  bool
	Verdict probes.Verdict
	Summary string
	Age     time.Duration // since that look
}

// Hosts is the host switcher.
type Hosts struct {
	entries []HostEntry
	cur     cursor
}

// NewHosts lists the hosts with the cursor on the current one.
func NewHosts(entries []HostEntry, current int) *Hosts {
	s := &Hosts{entries: entries}
	ids := make([]string, len(entries))
	for i := range entries {
		ids[i] = strconv.Itoa(i)
	}
	s.cur.id = strconv.Itoa(current)
	s.cur.rows(ids)
	return s
}

// SetEntries takes news of the same hosts.
func (s *Hosts) SetEntries(entries []HostEntry) { s.entries = entries }

// Title is the heading.
func (s *Hosts) Title() string { return "Hosts" }

// Typing is false.
func (s *Hosts) Typing() bool { return false }

// SetFacts changes nothing.
func (s *Hosts) SetFacts(Facts) {}

// Update has nothing to wait for.
func (s *Hosts) Update(tea.Msg) (Screen, tea.Cmd) { return s, nil }

// Actions choose a host.
func (s *Hosts) Actions() []keys.Action {
	choose := keys.Enter.Do(func() tea.Cmd { return send(SwitchHostMsg{s.cur.at}) })
	choose.Short = "look at it"
	return append([]keys.Action{choose, keys.Leave.Do(ask(CloseMsg{}))}, s.cur.actions(nil)...)
}

// View draws the list.
func (s *Hosts) View(width, height int) []kit.Line {
	w := min(width, 110)
	from, to := s.cur.window(height - 2)
	name := 12
	for _, e := range s.entries {
		name = max(name, min(32, kit.Width(e.Name)))
	}
	var lines []kit.Line
	for i := from; i < to; i++ {
		l := s.entries[i].line(name, w-4)
		if i == s.cur.at {
			l = chosen(l)
		}
		lines = append(lines, l)
	}
	return kit.Box("Look at which host?", lines, w)
}

// line: the name, the verdict and why; of an older look how long it is ago.
func (e HostEntry) line(name, width int) kit.Line {
	l := kit.L(kit.T("  " + kit.Pad(e.Name, name) + " "))
	if !e.Looked {
		l.Spans = append(l.Spans, kit.S(theme.Dim, "not looked at yet"))
		return l
	}
	role := VerdictRole(e.Verdict)
	l.Spans = append(l.Spans, mark(role), kit.S(role, " "+kit.Pad(string(e.Verdict), 8)), kit.T(" "+e.Summary))
	if e.Age < staleLook {
		return l
	}
	return kit.Between(l, kit.Text(theme.Dim, age(e.Age)+" ago"), width)
}

// staleLook is the age from which a verdict is shown with it.
const staleLook = 20 * time.Second
