package screens

import (
	"fmt"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"lvstui/capture"
	"lvstui/lvs"
	"lvstui/ui/keys"
	"lvstui/ui/kit"
	"lvstui/ui/theme"
)

// Compare shows two flows side by side and where they part. One that failed is on the left.
type Compare struct {
	sides [2]*Ladder // each follows its flow
	scroll
}

// NewCompare compares two flows of the facts.
func NewCompare(a, b capture.Flow, facts Facts) *Compare {
	if failed(&b) && !failed(&a) {
		a, b = b, a
	}
	return &Compare{sides: [2]*Ladder{NewLadder(a, facts), NewLadder(b, facts)}}
}

func failed(f *capture.Flow) bool { return outcomeRole(f.Outcome) == theme.Bad }

// Title is the heading.
func (s *Compare) Title() string { return "Compare" }

// Typing is false.
func (s *Compare) Typing() bool { return false }

// SetFacts follows both flows while they last.
func (s *Compare) SetFacts(f Facts) {
	for _, side := range s.sides {
		side.SetFacts(f)
	}
}

// Update has nothing to wait for.
func (s *Compare) Update(tea.Msg) (Screen, tea.Cmd) { return s, nil }

// Actions scroll and leave.
func (s *Compare) Actions() []keys.Action {
	return append([]keys.Action{keys.Leave.Do(ask(CloseMsg{})),
		keys.Copy.Do(func() tea.Cmd { return send(CopyMsg{plainText(s.lines(120)), "comparison"}) })}, s.scroll.actions()...)
}

// View draws the part that fits.
func (s *Compare) View(width, height int) []kit.Line {
	return append([]kit.Line{kit.Rule("Two flows side by side", width)}, s.show(s.lines(width), height-1)...)
}

func (s *Compare) lines(width int) []kit.Line {
	half := width/2 - 1
	out := s.columns(half, width, s.stageColumn)
	out = append(out, kit.Line{})
	out = append(out, kit.Indent(1, kit.Paragraph(theme.Title, s.verdict(), width-2))...)
	out = append(out, s.differences(width)...)
	out = append(out, kit.Line{}, kit.Text(theme.Title, " Packets"))
	return append(out, s.columns(half, width, s.packetColumn)...)
}

// columns draws the same of both sides.
func (s *Compare) columns(half, width int, column func(side, width int) []kit.Line) []kit.Line {
	left, right := column(0, half), column(1, width-half-2)
	return kit.Columns(left, right, half, width, max(len(left), len(right)))
}

// stageColumn is a flow's outcome and how far it came.
func (s *Compare) stageColumn(side, width int) []kit.Line {
	l := s.sides[side]
	f := &l.flow
	role := outcomeRole(f.Outcome)
	out := []kit.Line{
		kit.L(kit.T(" "), mark(role), kit.S(role, " "+string(f.Outcome)), kit.T("  "+kit.PadEnd(f.Client.String(), min(47, width-16)))),
		kit.Text(theme.Dim, " to "+f.Virtual.String()+" via "+nameOf(f, l.names, l.facts)),
	}
	parts := s.parting()
	for i, st := range lvs.Stages {
		sight := f.Stage(st)
		role := stateRole(sight.State)
		line := kit.L(kit.T(" "), mark(role), kit.T(" "+kit.Pad(st.Title(), 22)), kit.S(role, stateWords(f, sight)))
		if i == parts && side == 0 {
			note := kit.S(theme.Warn, "◀ ")
			if width >= 50 {
				note.Text = " ◀ they part here "
			}
			line = kit.Between(line, kit.L(note), width)
		}
		out = append(out, line)
	}
	return out
}

// stateWords is when a stage was seen, or what is known of it instead. Of a joined flow only the first host's clock counts.
func stateWords(f *capture.Flow, sight capture.StageSight) string {
	switch {
	case sight.State == lvs.Seen && len(f.Vantages) > 1 && sight.Vantage != f.Vantages[0]:
		return "seen there"
	case sight.State == lvs.Seen && !sight.Time.IsZero() && !f.FirstSeen.IsZero():
		return "+" + span(sight.Time.Sub(f.FirstSeen))
	case sight.State == lvs.Unobservable:
		return "not seen"
	}
	return string(sight.State)
}

// parting is the index of the first stage that one flow passed and the other did not, or -1.
func (s *Compare) parting() int {
	a, b := &s.sides[0].flow, &s.sides[1].flow
	for i := range lvs.Stages {
		if passed(a, i) && !passed(b, i) && known(b, i) || passed(b, i) && !passed(a, i) && known(a, i) {
			return i
		}
	}
	return -1
}

// passed is true if the flow passed stage i: it was seen, or whatever was seen lies behind it.
func passed(f *capture.Flow, i int) bool {
	state := f.Stage(lvs.Stages[i]).State
	return state == lvs.Seen || state == lvs.Implied || i <= f.Reached.Index()
}

// known is false of a stage that the flow may have passed unseen.
func known(f *capture.Flow, i int) bool {
	return passed(f, i) || f.Stage(lvs.Stages[i]).State != lvs.Unobservable
}

// verdict says in words where they part.
func (s *Compare) verdict() string {
	at := s.parting()
	a, b := &s.sides[0].flow, &s.sides[1].flow
	if at < 0 {
		return fmt.Sprintf("They do not part: both get as far as %s.", a.Reached.Title())
	}
	further, other := a, b
	if passed(b, at) {
		further, other = b, a
	}
	common := at - 1
	for common >= 0 && !(passed(further, common) && passed(other, common)) {
		common--
	}
	text := fmt.Sprintf("%s goes on to %s.", further.Client, further.Reached.Title())
	if common >= 0 {
		text = "Both get as far as " + lvs.Stages[common].Title() + ". " + text
	}
	if words := missingWords(other); words != "" {
		text += " Of " + other.Client.String() + ": " + words
	}
	if lost := other.StalledAt.Index(); common >= 0 && lost > common+1 && other.Stage(lvs.Stages[common+1]).State == lvs.Unobservable {
		text += " Where it is lost on the way from " + lvs.Stages[common].Title() + " to " + other.StalledAt.Title() +
			" cannot be seen from here."
	}
	return text
}

// differences are the facts in which the flows differ, and the names of those in which they do not.
func (s *Compare) differences(width int) []kit.Line {
	a, b := s.facts(0), s.facts(1)
	value := max(20, (width-19)/2)
	out := []kit.Line{{}, kit.Text(theme.Title, " What differs")}
	var same []string
	for i := range a {
		switch {
		case a[i][1] == b[i][1] && a[i][1] != "-":
			same = append(same, a[i][0]+" "+a[i][1])
		case a[i][1] != b[i][1]:
			out = append(out, kit.L(kit.S(theme.Dim, " "+kit.Pad(a[i][0], 17)), kit.T(kit.Pad(a[i][1], value)+" "), kit.T(kit.Fit(b[i][1], value-1))))
		}
	}
	if len(out) == 2 {
		out = append(out, kit.Text(theme.Dim, " nothing but time and ports"))
	}
	if len(same) > 0 {
		out = append(out, kit.Indent(1, kit.Item(kit.S(theme.Dim, "the same: "), theme.Dim, strings.Join(same, "; "), width-2))...)
	}
	return out
}

// facts are names and values of one flow, the same names in the same order for every flow.
func (s *Compare) facts(side int) [][2]string {
	l := s.sides[side]
	f := &l.flow
	var handshake, rst, icmp, ttl string
	if f.Handshake > 0 {
		handshake = span(f.Handshake)
	}
	if f.RST != nil {
		rst = l.rejectWords(f.RST)
	}
	if f.ICMP != nil {
		icmp = fmt.Sprintf("type %d code %d %s", f.ICMP.Type, f.ICMP.Code, l.rejectWords(f.ICMP))
	}
	if i := slices.IndexFunc(f.Events, func(e capture.Event) bool { return e.Kind == capture.EventSYN }); i >= 0 {
		ttl = fmt.Sprint(f.Events[i].TTL)
	}
	out := [][2]string{
		{"client", f.Client.Addr().String()},
		{"virtual service", f.Virtual.String()},
		{"real server", nameOf(f, l.names, l.facts)},
		{"SYN came from", macName(l.names, f.SynFrom, false)},
		{"SYN-ACK went to", macName(l.names, f.SynAckTo, false)},
		{"SYN sent again", times(f.SynRetransmits)},
		{"SYN-ACK again", times(f.SynAckRetransmits)},
		{"handshake", handshake},
		{"RST", rst},
		{"ICMP", icmp},
		{"SYN's TTL", ttl},
	}
	for i := range out {
		if out[i][1] == "" {
			out[i][1] = "-"
		}
	}
	return out
}

func times(n int) string {
	if n == 0 {
		return "no"
	}
	return fmt.Sprintf("%d×", n)
}

// packetColumn are a flow's packets in a line each; an arrow to the right goes to the VIP.
func (s *Compare) packetColumn(side, width int) []kit.Line {
	var out []kit.Line
	for _, r := range s.sides[side].rungs(true) {
		if r.dashed {
			continue
		}
		way := "▶ "
		if r.to < r.from {
			way = "◀ "
		}
		out = append(out, kit.L(kit.S(theme.Dim, kit.PadLeft(r.at, timeWidth)+" "), kit.S(r.role, way+kit.Pad(r.label, 11)), kit.S(theme.Dim, " "+r.note)).Fit(width))
	}
	if len(out) == 0 {
		out = append(out, kit.Text(theme.Dim, " none was kept"))
	}
	return out
}
