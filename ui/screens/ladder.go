package screens

import (
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"lvstui/capture"
	"lvstui/lvs"
	"lvstui/ui/keys"
	"lvstui/ui/kit"
	"lvstui/ui/theme"
)

// Ladder is one flow, packet by packet, between client, router, director and real server.
type Ladder struct {
	flow  capture.Flow
	facts Facts
	names map[capture.MAC]string
	gone  bool // the flow is no longer among those that are kept
	scroll
	at   int   // the selected packet, counted in rungs
	tops []int // line of each rung at the last View
}

// NewLadder shows a flow of the facts.
func NewLadder(f capture.Flow, facts Facts) *Ladder {
	return &Ladder{flow: f, facts: facts, names: macNames(facts)}
}

// Title is the heading.
func (s *Ladder) Title() string { return "Flow" }

// Typing is false.
func (s *Ladder) Typing() bool { return false }

// SetFacts follows the flow while it lasts.
func (s *Ladder) SetFacts(f Facts) {
	if f.Host != s.facts.Host {
		s.gone = true
		return
	}
	for i := range f.Flows {
		if flowID(&f.Flows[i]) == flowID(&s.flow) {
			s.flow, s.facts, s.names, s.gone = f.Flows[i], f, macNames(f), false
			return
		}
	}
	s.gone = true
}

// Update has nothing to wait for.
func (s *Ladder) Update(tea.Msg) (Screen, tea.Cmd) { return s, nil }

// Actions of an open flow.
func (s *Ladder) Actions() []keys.Action {
	none := ""
	if len(s.flow.Events) == 0 {
		none = "the packets of this flow were not kept, only what they prove"
	}
	open := keys.Enter.Do(s.openPacket).Unless(none)
	open.Short, open.Long = "packet", "open the selected packet: MACs, flags, numbers, TTL"
	noSuspect := ""
	if len(s.flow.Suspects) == 0 {
		noSuspect = "nothing is suspected of this flow"
	}
	explain := keys.Explain.Do(func() tea.Cmd { return send(ExplainMsg{s.flow.Suspects[0]}) }).Unless(noSuspect)
	explain.Long = "explain the first suspect"
	acts := []keys.Action{open, explain, keys.Leave.Do(ask(CloseMsg{})),
		keys.Copy.Do(func() tea.Cmd { return send(CopyMsg{plainText(s.lines(100)), "flow"}) }),
		keys.Up.Quietly(func() tea.Cmd { s.move(-1); return nil }), keys.Down.Quietly(func() tea.Cmd { s.move(1); return nil })}
	return append(acts, s.scroll.actions()...) // the first action of a key counts
}

// move selects the next packet; where there is none in view it scrolls.
func (s *Ladder) move(by int) {
	to := s.at + by
	switch {
	case !s.inView(s.at) && slices.ContainsFunc(s.tops, func(top int) bool { return s.lineInView(top) }):
		s.at = slices.IndexFunc(s.tops, s.lineInView)
	case to < 0 || to >= len(s.tops) || !s.inView(s.at):
		s.scroll.by(by)
	default:
		s.at = to
		if !s.inView(to) {
			s.scroll.by(s.tops[to] - s.tops[to-by])
		}
	}
}

func (s *Ladder) inView(rung int) bool { return rung < len(s.tops) && s.lineInView(s.tops[rung]) }

func (s *Ladder) lineInView(line int) bool { return line >= s.offset && line < s.offset+s.page }

// openPacket shows the selected packet, and those that were folded into it.
func (s *Ladder) openPacket() tea.Cmd {
	groups := groupEvents(s.flow.Events, &s.flow)
	if s.at >= len(groups) {
		return nil
	}
	var events []capture.Event
	for _, e := range groups[s.at].events {
		events = append(events, e.Event)
	}
	flow, names := s.flow, s.names
	return send(OpenMsg{NewReader("Packet of "+flow.Client.String(), func(width int) []kit.Line {
		return packetLines(&flow, events, names, width)
	})})
}

// View draws the part of the ladder that fits.
func (s *Ladder) View(width, height int) []kit.Line {
	title := s.flow.Client.String() + " → " + s.flow.Virtual.String()
	if s.gone {
		title += " (no longer kept)"
	}
	lines, tops := s.text(width)
	s.tops, s.at = tops, max(0, min(s.at, len(tops)-1))
	if len(s.flow.Events) > 0 && s.at < len(tops) {
		lines[tops[s.at]] = chosen(lines[tops[s.at]])
	}
	return append([]kit.Line{kit.Rule(title, width)}, s.show(lines, height-1)...)
}

func (s *Ladder) lines(width int) []kit.Line {
	lines, _ := s.text(width)
	return lines
}

// text is all there is to say about the flow. tops are the lines on which its packets begin.
func (s *Ladder) text(width int) (out []kit.Line, tops []int) {
	f := &s.flow
	role := outcomeRole(f.Outcome)
	via := ""
	if name := nameOf(f, s.names, s.facts); name != "-" {
		via = "via " + shortMAC(name)
	}
	out = []kit.Line{kit.Between(kit.L(kit.T(" "), mark(role), kit.S(role, " "+string(f.Outcome)), kit.T(s.outcome())),
		kit.L(kit.S(theme.Dim, via+" ")), width)}
	d := newDrawing(width)
	out = append(out, d.labels(s.laneNames()), d.bars())
	for _, r := range s.rungs(width < roomForMACs) {
		if !r.dashed {
			tops = append(tops, len(out))
		}
		out = append(out, d.rung(r)...)
	}
	out = append(out, d.bars())
	out = append(out, kit.Indent(1, s.ending(width-2))...)
	return append(out, kit.Indent(1, s.stages(width-2))...), tops
}

// roomForMACs is the width from which a name has the end of its MAC beside it.
const roomForMACs = 104

// outcome says the outcome in more words.
func (s *Ladder) outcome() string {
	f := &s.flow
	switch {
	case f.Outcome == "stalled" && f.StalledAt != "":
		return fmt.Sprintf(": %s is missing, last packet %s ago", f.StalledAt.Title(), age(s.facts.At.Sub(f.LastSeen)))
	case f.Handshake > 0:
		return fmt.Sprintf(": handshake %s, %d B to the VIP, %d B to the client", span(f.Handshake), f.BytesToVirtual, f.BytesToClient)
	}
	return ""
}

func (s *Ladder) laneNames() [4]string {
	names := [4]string{"client", "router", "director", "real server"}
	for i, r := range laneRoles {
		if r == s.flow.Vantage || slices.Contains(s.flow.Vantages, r) {
			names[i] = "[" + names[i] + "]"
		}
	}
	return names
}

// laneRoles are the lanes from left to right.
var laneRoles = [4]lvs.Role{lvs.RoleClient, lvs.RoleRouter, lvs.RoleDirector, lvs.RoleRealServer}

// ending says what the ladder proves, what cannot be seen from here, and where to look.
func (s *Ladder) ending(width int) []kit.Line {
	f := &s.flow
	var out []kit.Line
	if text := missingWords(f); text != "" {
		out = append(out, kit.Item(kit.S(theme.Bad, "✗ "), theme.Bad, text, width)...)
	}
	if f.RST != nil {
		out = append(out, kit.Item(kit.S(theme.Bad, "✗ "), theme.Plain, "RST "+s.rejectWords(f.RST), width)...)
	}
	if f.ICMP != nil {
		out = append(out, kit.Item(kit.S(theme.Bad, "✗ "), theme.Plain,
			fmt.Sprintf("ICMP type %d code %d %s", f.ICMP.Type, f.ICMP.Code, s.rejectWords(f.ICMP)), width)...)
	}
	if f.Vantage == lvs.RoleRealServer && f.SynFrom != (capture.MAC{}) && f.SynFrom == f.SynAckTo {
		out = append(out, kit.Item(kit.S(theme.Warn, "! "), theme.Plain, "The SYN came from where the SYN-ACK goes, "+macName(s.names, f.SynFrom, false)+
			": it went past the director, unless the director is this host's gateway.", width)...)
	}
	if text := blindWords(f); text != "" {
		out = append(out, kit.Item(kit.S(theme.Unknown, "? "), theme.Dim, text, width)...)
	}
	if f.MidStream {
		out = append(out, kit.Item(kit.S(theme.Unknown, "? "), theme.Dim, "The capture began after the handshake.", width)...)
	}
	if f.EventsDropped > 0 {
		out = append(out, kit.Text(theme.Dim, fmt.Sprintf("%d later packets are not kept.", f.EventsDropped)))
	}
	if len(f.Suspects) > 0 {
		out = append(out, kit.Item(kit.S(theme.Title, "Suspects: "), theme.Plain, few(f.Suspects, 4), width)...)
	}
	return append(out, kit.Line{})
}

func (s *Ladder) rejectWords(r *capture.Reject) string {
	words := "from " + r.From.String()
	if name := macName(s.names, r.SrcMAC, false); name != "" {
		words += ", sent by " + name
	}
	if r.TTL > 0 {
		words += fmt.Sprintf(", TTL %d", r.TTL)
	}
	return words
}

// missingWords says plainly what did not happen.
func missingWords(f *capture.Flow) string {
	switch f.StalledAt {
	case lvs.SynAtDirector:
		return "The SYN did not reach the director."
	case lvs.SynScheduled, lvs.SynForwarded:
		return "The director did not send the SYN on to a real server."
	case lvs.SynAtRealServer:
		return "The SYN did not reach the real server."
	case lvs.SynAccepted, lvs.SynAckSent:
		return "The SYN was not answered" + again(f.SynRetransmits, "the client sent it again") + "."
	case lvs.SynAckAtClient:
		if f.Vantage == lvs.RoleRouter {
			return "The router did not send the SYN-ACK on to the client" + again(f.SynAckRetransmits, "the real server sent it again") + "."
		}
		if f.Vantage == lvs.RoleRealServer {
			return "The SYN-ACK does not reach the client" + again(f.SynAckRetransmits, "it was sent again") + "."
		}
		return "No SYN-ACK came to the client" + again(f.SynRetransmits, "it sent its SYN again") + "."
	case lvs.AckAtDirector:
		if f.SynAckRetransmits > 0 {
			return "The client never sent its ACK" + again(f.SynAckRetransmits, "the SYN-ACK was sent again") + "."
		}
		return "The client never sent its ACK" + again(f.SynRetransmits, "it sent its SYN again") + "."
	case lvs.Established:
		return "The client's ACK did not reach the real server" + again(f.SynAckRetransmits, "the SYN-ACK was sent again") + "."
	case "":
		return ""
	}
	return f.StalledAt.Title() + " is missing."
}

func again(n int, what string) string {
	switch n {
	case 0:
		return ""
	case 1:
		return ", and " + what + " once"
	}
	return fmt.Sprintf(", and %s %d times", what, n)
}

// blindWords say what this vantage can not show.
func blindWords(f *capture.Flow) string {
	if f.Stage(lvs.SynAckSent).State != lvs.Unobservable && f.Stage(lvs.SynForwarded).State != lvs.Unobservable &&
		f.Stage(lvs.SynAckAtClient).State != lvs.Unobservable {
		return ""
	}
	if len(f.Vantages) > 1 {
		return "Some stages cannot be seen from the hosts that this was captured on."
	}
	switch f.Vantage {
	case lvs.RoleDirector:
		return "A director cannot see the SYN-ACK: real servers answer past it. Look on the real server (h)."
	case lvs.RoleClient:
		return "What happens behind the router cannot be seen from a client. Look on the director (h)."
	case lvs.RoleRealServer:
		return "Whether the SYN-ACK reaches the client cannot be seen from a real server. Look on the router or the client (h)."
	case lvs.RoleRouter:
		return "The way from the director to the real server cannot be seen from the router. Look on the director (h)."
	}
	return "Some stages cannot be seen from where this was captured."
}

// stages list the evidence for each stage.
func (s *Ladder) stages(width int) []kit.Line {
	out := []kit.Line{kit.Text(theme.Title, "Stages")}
	for _, st := range lvs.Stages {
		sight := s.flow.Stage(st)
		role := stateRole(sight.State)
		l := kit.L(mark(role), kit.T(" "+kit.Pad(st.Title(), 22)), kit.S(role, kit.Pad(string(sight.State), 13)))
		if sight.State == lvs.Seen && !sight.Time.IsZero() {
			l.Spans = append(l.Spans, kit.S(theme.Dim, strings.Join(notEmpty(sight.Time.UTC().Format("15:04:05.000000"),
				strings.TrimSpace(sight.Interface+" "+sight.Direction.String())), "  ")))
			macs := kit.S(theme.Dim, "  "+arrow(sight.SrcMAC, sight.DstMAC, width < roomForMACs))
			if l.Width()+kit.Width(macs.Text) <= width { // half a MAC names nobody; the packet has them
				l.Spans = append(l.Spans, macs)
			}
		}
		out = append(out, l.Fit(width))
	}
	return out
}

func arrow(src, dst capture.MAC, short bool) string {
	switch {
	case src == (capture.MAC{}) || dst == (capture.MAC{}):
		return ""
	case short:
		return "…:" + src.String()[9:] + " → …:" + dst.String()[9:]
	}
	return src.String() + " → " + dst.String()
}

func notEmpty(parts ...string) []string {
	var out []string
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return out
}

// span writes a short time.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + span(-d)
	case d < time.Millisecond:
		return fmt.Sprintf("%.2f ms", float64(d)/1e6)
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.3f s", d.Seconds())
}
