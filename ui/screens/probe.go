package screens

import (
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"lvstui/capture"
	"lvstui/lvs"
	"lvstui/ui/keys"
	"lvstui/ui/kit"
	"lvstui/ui/theme"
)

// Active tests, which send frames only when the operator says so here.
type (
	// ProbeMsg opens the box.
	ProbeMsg struct{}
	// ProbePlannedMsg says what the tests would send, and what they leave out.
	ProbePlannedMsg struct {
		Words, Left []string
		Err         error
	}
	// RunProbeMsg sends it.
	RunProbeMsg struct{}
	// ProbedMsg is what came back.
	ProbedMsg struct {
		Probed *lvs.Probed
		Err    error
	}
)

// Probe is the box of the active tests: exactly what would be sent, a key that sends it, and the answers.
type Probe struct {
	facts   Facts
	planned *ProbePlannedMsg
	armed   bool
	running bool
	done    *ProbedMsg
	scroll
}

// NewProbe makes the box; what it would send comes by ProbePlannedMsg.
func NewProbe(f Facts) *Probe { return &Probe{facts: f} }

// Grace is for how long the key does nothing.
func (s *Probe) Grace() time.Duration { return grace }

// Title is the heading.
func (s *Probe) Title() string { return "Test" }

// Typing is false.
func (s *Probe) Typing() bool { return false }

// SetFacts keeps the names of hosts fresh.
func (s *Probe) SetFacts(f Facts) {
	if f.Host == s.facts.Host {
		s.facts = f
	}
}

// Busy is false: the tests change nothing, and their end may be missed.
func (s *Probe) Busy() bool { return false }

// Update follows the tests.
func (s *Probe) Update(msg tea.Msg) (Screen, tea.Cmd) {
	switch m := msg.(type) {
	case ArmedMsg:
		s.armed = true
	case ProbePlannedMsg:
		s.planned, s.armed = &m, false
		return s, send(RearmMsg{grace})
	case ProbedMsg:
		s.running, s.done, s.scroll = false, &m, scroll{}
	}
	return s, nil
}

// Actions: send, or leave.
func (s *Probe) Actions() []keys.Action {
	notNow := ""
	switch {
	case s.planned == nil:
		notNow = "it is being worked out what to send"
	case s.planned.Err != nil:
		notNow = s.planned.Err.Error()
	case len(s.planned.Words) == 0:
		notNow = "there is nothing to send from this host"
	case s.running:
		notNow = "the tests are under way"
	case !s.armed:
		notNow = "this has just come up: read it, then press t again"
	}
	run := keys.Test.Do(func() tea.Cmd { s.running, s.done = true, nil; return send(RunProbeMsg{}) }).Unless(notNow)
	run.Short = "send"
	if s.done != nil {
		run.Short = "send again"
	}
	none := ""
	if s.done == nil || s.done.Probed == nil {
		none = "there are no answers yet"
	}
	return append([]keys.Action{run, keys.Copy.Do(func() tea.Cmd { return send(CopyMsg{plainText(s.answers(100)), "answers"}) }).Unless(none),
		keys.Leave.Do(ask(CloseMsg{}))}, s.scroll.actions()...)
}

// View draws the box.
func (s *Probe) View(width, height int) []kit.Line {
	w := min(width, 110)
	return kit.Box("Active tests: who answers for the VIP, who takes a connection to it", s.show(s.lines(w-4), max(1, height-2)), w)
}

func (s *Probe) lines(width int) []kit.Line {
	switch {
	case s.done != nil && s.done.Err != nil && s.done.Probed == nil:
		return kit.Item(kit.S(theme.Bad, "✗ "), theme.Bad, "the tests could not be made: "+s.done.Err.Error(), width)
	case s.done != nil:
		return s.answers(width)
	case s.planned == nil:
		return []kit.Line{kit.Text(theme.Dim, "… working out what to send")}
	case s.planned.Err != nil:
		return kit.Item(kit.S(theme.Bad, "✗ "), theme.Bad, s.planned.Err.Error(), width)
	}
	out := []kit.Line{kit.Text(theme.Title, "This would be sent, and nothing else:")}
	for _, line := range s.planned.Words {
		out = append(out, kit.Item(kit.S(theme.Accent, "▶ "), theme.Plain, line, width)...)
	}
	if len(s.planned.Words) == 0 {
		out = []kit.Line{kit.Text(theme.Plain, "There is nothing to send from this host.")}
	}
	for _, line := range s.planned.Left {
		out = append(out, kit.Item(kit.S(theme.Dim, "not tried: "), theme.Dim, line, width)...)
	}
	out = append(out, kit.Line{})
	if s.running {
		return append(out, kit.Text(theme.Warn, "… sent; listening for answers, for two to four seconds"))
	}
	return append(out, kit.L(kit.T("Nothing was sent yet. "), kit.S(theme.Accent, "t"), kit.T(" sends it, "), kit.S(theme.Accent, "esc"), kit.T(" leaves it.")))
}

// answers are what came back, with hosts' names for their MACs.
func (s *Probe) answers(width int) []kit.Line {
	if s.done == nil || s.done.Probed == nil {
		return nil
	}
	names, p := macNames(s.facts), s.done.Probed
	var out []kit.Line
	if len(p.ARP) > 0 {
		out = append(out, kit.Text(theme.Title, "Who answers for the VIP"))
	}
	for _, a := range p.ARP {
		out = append(out, arpLines(a, names, width)...)
	}
	if len(p.DSR) > 0 {
		out = append(out, kit.Line{}, kit.Text(theme.Title, "Who takes a connection to it, past the director's table"))
	}
	for _, d := range p.DSR {
		out = append(out, dsrLines(d, names, width)...)
	}
	for _, line := range p.Left {
		out = append(out, kit.Item(kit.S(theme.Dim, "not tried: "), theme.Dim, line, width)...)
	}
	if s.done.Err != nil {
		out = append(out, kit.Item(kit.S(theme.Bad, "✗ "), theme.Bad, s.done.Err.Error(), width)...)
	}
	return append(out, kit.Line{}, kit.Text(theme.Dim, "The rules know these answers for a minute: see Path."))
}

func arpLines(a lvs.ARPProbe, names map[capture.MAC]string, width int) []kit.Line {
	head := kit.L(kit.T(a.Address.String()+" on "+a.Device+": "), kit.S(theme.Dim, plural(a.Sent, "request")+", "+plural(len(a.Answers), "station")))
	out := []kit.Line{head}
	if a.Holds {
		out = append(out, kit.L(kit.T("  "), mark(theme.OK), kit.T(" this host has it there")))
	}
	role := theme.OK
	if a.Holds || len(a.Answers) > 1 {
		role = theme.Warn
	}
	for _, m := range a.Answers {
		text := macText(m.MAC, names)
		if m.Station.IsValid() && !strings.Contains(text, m.Station.String()) {
			text += ", " + m.Station.String()
		}
		if m.FromMAC != "" {
			text += ", sent by " + macText(m.FromMAC, names)
		}
		if m.Ordinary == 0 && a.Sender.IsValid() {
			text += "; not when it is asked as a router asks"
		}
		out = append(out, kit.Item(kit.S(role, "  "+Glyph(role)+" "), theme.Plain, text+" answers", width)...)
	}
	switch {
	case a.Error != "":
		out = append(out, kit.Item(kit.S(theme.Unknown, "  ? "), theme.Plain, a.Error, width)...)
	case len(a.Answers) == 0 && a.Holds:
		out = append(out, kit.L(kit.T("  "), mark(theme.OK), kit.T(" nobody else answers")))
	case len(a.Answers) == 0:
		out = append(out, kit.L(kit.T("  "), mark(theme.Warn), kit.T(" nobody answers")))
	}
	return out
}

// macText is a MAC with the name of its host, where that is known.
func macText(mac string, names map[capture.MAC]string) string {
	if m, err := capture.ParseMAC(mac); err == nil && names[m] != "" {
		return mac + " (" + names[m] + ")"
	}
	return mac
}

// dsrWords say what a result means, and how it is marked.
var dsrWords = map[lvs.DSRResult]struct {
	role theme.Role
	text string
}{
	lvs.DSRAccepts:     {theme.OK, "takes it: a SYN-ACK from the VIP came back"},
	lvs.DSRRefuses:     {theme.Bad, "refuses it: it has the VIP, and nothing listens on that port"},
	lvs.DSRForwards:    {theme.Bad, "sent the SYN on: it does not have the VIP"},
	lvs.DSRProhibits:   {theme.Bad, "answers with an ICMP error"},
	lvs.DSRSilent:      {theme.Warn, "does not answer"},
	lvs.DSRUnreachable: {theme.Warn, "can not be reached"},
}

func dsrLines(d lvs.DSRProbe, names map[capture.MAC]string, width int) []kit.Line {
	w, known := dsrWords[d.Result]
	if !known {
		w.role, w.text = theme.Unknown, string(d.Result)
	}
	text := fmt.Sprintf("%s for %s: %s", d.RealServer, d.Virtual, w.text)
	if d.Result == lvs.DSRAccepts && d.RTT > 0 {
		text += fmt.Sprintf(" after %.2f ms", d.RTT)
	}
	if d.Result == lvs.DSRProhibits {
		text += fmt.Sprintf(", type %d code %d", d.Type, d.Code)
	}
	switch d.Direct {
	case lvs.DSRAccepts:
		text += ", but takes the same for its own address"
	case lvs.DSRRefuses:
		text += ", but refuses the same for its own address, so it is up"
	case lvs.DSRSilent:
		text += ", nor to the same for its own address"
	}
	if d.Error != "" {
		text += "; " + d.Error
	}
	out := kit.Item(kit.S(w.role, Glyph(w.role)+" "), theme.Plain, text, width)
	if d.MAC != "" {
		where := "sent to " + macText(d.MAC, names) + " on " + d.Device
		if d.From != "" && d.From != d.MAC {
			where += "; the answer came from " + macText(d.From, names)
		}
		out = append(out, kit.Indent(2, kit.Paragraph(theme.Dim, where, width-2))...)
	}
	return out
}
