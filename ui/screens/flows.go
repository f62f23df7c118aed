package screens

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	tea "charm.land/bubbletea/v2"

	"lvstui/capture"
	"lvstui/lvs"
	"lvstui/ui/keys"
	"lvstui/ui/kit"
	"lvstui/ui/theme"
)

// Flows lists the handshakes seen on this host, newest first.
type Flows struct {
	facts Facts
	rs    map[capture.MAC]string // real servers by MAC
	shown []*capture.Flow        // what the filter lets through
	cur   cursor
	// moved says that the operator chose a flow. Until then the newest one is selected.
	moved  bool
	filter flowFilter
	field  field
}

// NewFlows makes the screen.
func NewFlows() *Flows { return &Flows{field: newField("filter: ")} }

// Title of the tab.
func (s *Flows) Title() string { return "Flows" }

// Typing says that the filter is being written.
func (s *Flows) Typing() bool { return s.field.on }

// SetFacts keeps the selection on the same flow.
func (s *Flows) SetFacts(f Facts) {
	if f.Host != s.facts.Host {
		s.cur, s.moved = cursor{}, false
	}
	s.facts, s.rs = f, realServers(f)
	s.list()
}

func (s *Flows) list() {
	s.shown = s.shown[:0:0]
	for i := range s.facts.Flows {
		f := &s.facts.Flows[i]
		if s.filter.matches(f, s.realServer(f)) {
			s.shown = append(s.shown, f)
		}
	}
	slices.SortStableFunc(s.shown, func(a, b *capture.Flow) int { return b.FirstSeen.Compare(a.FirstSeen) })
	ids := make([]string, len(s.shown))
	for i, f := range s.shown {
		ids[i] = flowID(f)
	}
	if !s.moved {
		s.cur = cursor{page: s.cur.page}
	}
	s.cur.rows(ids)
}

// flowID is the flow's identity: its tracker's number, and the client, because numbers of different files may meet.
func flowID(f *capture.Flow) string { return strconv.FormatUint(f.ID, 36) + "|" + f.Client.String() }

// Update takes what is typed into the filter.
func (s *Flows) Update(msg tea.Msg) (Screen, tea.Cmd) {
	press, ok := msg.(tea.KeyPressMsg)
	if !ok || !s.field.on {
		return s, nil
	}
	if done := s.field.press(press); done {
		q, err := parseFilter(s.field.text)
		if err != nil {
			s.field.on = true
			return s, send(SayMsg{err.Error()})
		}
		s.filter = q
		s.list()
	}
	return s, nil
}

// Actions of the list.
func (s *Flows) Actions() []keys.Action {
	none := ""
	f, ok := s.selected()
	if !ok {
		none = "no flow is selected"
	}
	acts := []keys.Action{
		keys.Enter.Do(func() tea.Cmd {
			s.moved = true
			return send(OpenMsg{NewLadder(*f, s.facts)})
		}).Unless(none),
		keys.Filter.Do(func() tea.Cmd { s.field.start(s.filter.text); return nil }),
		keys.Copy.Do(func() tea.Cmd {
			return send(CopyMsg{plainText(NewLadder(*f, s.facts).lines(100)), "flow"})
		}).Unless(none),
	}
	if s.filter.text != "" {
		acts = append(acts, keys.Leave.Do(func() tea.Cmd {
			s.filter = flowFilter{}
			s.list()
			return nil
		}))
	}
	return append(acts, s.cur.actions(func() { s.moved = true })...)
}

func (s *Flows) selected() (*capture.Flow, bool) {
	if s.cur.at < len(s.shown) {
		return s.shown[s.cur.at], true
	}
	return nil, false
}

// View is a heading, the column titles and the flows.
func (s *Flows) View(width, height int) []kit.Line {
	out := []kit.Line{s.headline(width)}
	if len(s.facts.Flows) == 0 {
		return append(out, s.empty(width)...)
	}
	if len(s.shown) == 0 {
		return append(out, kit.Line{}, kit.L(kit.T(" No flow matches. "), kit.S(theme.Accent, "esc"), kit.T(" clears the filter.")))
	}
	cols := s.columns(width)
	out = append(out, kit.Text(theme.Dim, cols.head()))
	from, to := s.cur.window(height - len(out))
	for i := from; i < to; i++ {
		line := s.line(s.shown[i], cols)
		if i == s.cur.at {
			line = chosen(line)
		}
		out = append(out, line)
	}
	return out
}

func (s *Flows) headline(width int) kit.Line {
	if s.field.on {
		return s.field.line()
	}
	counts := map[capture.Outcome]int{}
	for i := range s.facts.Flows {
		counts[s.facts.Flows[i].Outcome]++
	}
	left := kit.L(kit.T(" "), kit.S(theme.Title, plural(len(s.facts.Flows), "flow")))
	for _, o := range []capture.Outcome{"stalled", "refused", "reset", "pending", "established", "closed"} {
		if counts[o] > 0 {
			left.Spans = append(left.Spans, kit.S(theme.Dim, " · "), kit.S(outcomeRole(o), fmt.Sprintf("%d %s", counts[o], o)))
		}
	}
	if s.filter.text == "" {
		return left
	}
	return kit.Between(left, kit.L(kit.S(theme.Accent, fmt.Sprintf("filter %s: %d shown ", s.filter.text, len(s.shown)))), width)
}

func (s *Flows) empty(width int) []kit.Line {
	text := "No handshake was seen yet."
	if s.facts.Capture.Mode != CaptureLive && s.facts.Capture.Mode != CaptureFile {
		text = "Nobody listens on the wire: " + captureWhy(s.facts.Capture)
	} else if len(s.facts.Capture.Interfaces) > 0 {
		text = "No handshake was seen yet on " + strings.Join(s.facts.Capture.Interfaces, ", ") + "."
	}
	return append([]kit.Line{{}}, kit.Indent(1, kit.Paragraph(theme.Plain, text, width-2))...)
}

// columns are the widths of the list; 0 leaves a column out.
type columns struct{ client, virtual, rs, stage int }

// columns shares the width out: what tells flows apart first, then what may be the same for all.
func (s *Flows) columns(width int) columns {
	c := columns{client: 21, rs: 15}
	client, virtual := 0, 0
	for _, f := range s.shown {
		client, virtual = max(client, len(f.Client.String())), max(virtual, len(f.Virtual.String()))
	}
	rest := width - (2 + c.client + 1 + 11 + 1 + barWidth + 1 + 7 + 2 + c.rs)
	if more := min(rest, client-c.client); more > 0 { // IPv6
		c.client, rest = c.client+more, rest-more
	}
	if virtual = max(17, min(virtual, 40)); rest > virtual {
		c.virtual, rest = virtual, rest-virtual-1
	}
	if rest >= 23 {
		c.stage = 22
	}
	return c
}

func (c columns) head() string {
	out := "  " + kit.Pad("client", c.client) + " "
	if c.virtual > 0 {
		out += kit.Pad("virtual service", c.virtual) + " "
	}
	out += kit.Pad("outcome", 11) + " "
	if c.stage > 0 {
		out += kit.Pad("got as far as", c.stage) + " "
	}
	return out + barHead + " " + kit.PadLeft("age", 7) + "  " + kit.Pad("via", c.rs)
}

func (s *Flows) line(f *capture.Flow, c columns) kit.Line {
	role := outcomeRole(f.Outcome)
	l := kit.L(kit.T("  "), kit.T(kit.PadEnd(f.Client.String(), c.client)+" "))
	if c.virtual > 0 {
		l.Spans = append(l.Spans, kit.T(kit.PadEnd(f.Virtual.String(), c.virtual)+" "))
	}
	l.Spans = append(l.Spans, kit.S(role, kit.Pad(Glyph(role)+" "+string(f.Outcome), 12)))
	if c.stage > 0 {
		l.Spans = append(l.Spans, kit.S(theme.Dim, kit.Pad(StageTitle(f.Reached), c.stage+1)))
	}
	l.Spans = append(l.Spans, stageBar(f)...)
	l.Spans = append(l.Spans, kit.T(" "+kit.PadLeft(age(s.facts.At.Sub(f.FirstSeen)), 7)+"  "+kit.Pad(s.realServer(f), c.rs)))
	return l
}

// The bar shows the eleven stages by the host at which each happens: client, router, director (three), real server
// (three), client, director, established.
const (
	barHead  = "C R Dir RS  C D E"
	barWidth = len(barHead)
)

func stageBar(f *capture.Flow) []kit.Span {
	out := make([]kit.Span, 0, len(lvs.Stages)+6)
	for i, st := range lvs.Stages {
		switch i {
		case 1, 2, 5, 8, 9, 10:
			out = append(out, kit.T(" "))
		}
		role := stateRole(f.Stage(st).State)
		out = append(out, kit.S(role, Glyph(role)))
	}
	return out
}

// realServer names the real server of a flow: the RIP where the MAC is known, else the MAC.
func (s *Flows) realServer(f *capture.Flow) string { return nameOf(f, s.rs, s.facts) }

func nameOf(f *capture.Flow, rs map[capture.MAC]string, facts Facts) string {
	if f.Vantage == lvs.RoleRealServer && facts.Snapshot != nil {
		return facts.Host
	}
	if f.RealServerMAC == (capture.MAC{}) {
		return "-"
	}
	if name, ok := rs[f.RealServerMAC]; ok {
		return name
	}
	return f.RealServerMAC.String()
}

// realServers maps MACs to addresses, as far as the neighbour table tells; the RIPs of the ip_vs table win.
func realServers(f Facts) map[capture.MAC]string {
	out := map[capture.MAC]string{}
	if f.Snapshot == nil {
		return out
	}
	rip := map[string]bool{}
	if f.Snapshot.IPVS != nil {
		for _, v := range f.Snapshot.IPVS.Services {
			for _, d := range v.Destinations {
				rip[d.Address.String()] = true
			}
		}
	}
	for _, n := range f.Snapshot.Neighbours {
		mac, err := capture.ParseMAC(n.MAC)
		if err != nil {
			continue
		}
		if old, taken := out[mac]; !taken || rip[n.Address.String()] && !rip[old] {
			out[mac] = n.Address.String()
		}
	}
	for _, l := range f.Snapshot.Links {
		if mac, err := capture.ParseMAC(l.MAC); err == nil {
			out[mac] = f.Snapshot.Host
		}
	}
	return out
}

// plainText is lines as text for the clipboard.
func plainText(lines []kit.Line) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(strings.TrimRight(l.Plain(), " ") + "\n")
	}
	return b.String()
}

// NewFlowsSince counts the flows of now that before does not have.
func NewFlowsSince(before, now Facts) int {
	known := make(map[string]bool, len(before.Flows))
	for i := range before.Flows {
		known[flowID(&before.Flows[i])] = true
	}
	n := 0
	for i := range now.Flows {
		if !known[flowID(&now.Flows[i])] {
			n++
		}
	}
	return n
}
