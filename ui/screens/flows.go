package screens

import (
	"fmt"
	"strconv"
	"strings"

	tea "charm.land/bubbletea/v2"

	"lvstui/capture"
	"lvstui/ui/keys"
	"lvstui/ui/kit"
	"lvstui/ui/theme"
)

// Flows lists the handshakes seen on this host, or counts them by client, real server or stage.
type Flows struct {
	facts Facts
	rs    map[capture.MAC]string // real servers by MAC
	shown []*capture.Flow        // what the filter lets through, sorted
	cur   cursor
	// moved says that the operator chose a flow. Until then the first one is selected.
	moved  bool
	filter flowFilter
	field  field
	order  flowOrder
	// marked is the flow that another one is to be compared with, as it was; nil when there is none.
	marked *capture.Flow

	by       grouping
	groups   []flowGroup
	groupCur cursor
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
		s.cur, s.groupCur, s.moved, s.marked = cursor{}, cursor{}, false, nil
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
	s.sort()
	ids := make([]string, len(s.shown))
	for i, f := range s.shown {
		ids[i] = flowID(f)
	}
	if !s.moved {
		s.cur = cursor{page: s.cur.page}
	}
	s.cur.rows(ids)
	s.group()
}

// flowID is the flow's identity: its tracker's number, and the client, because numbers of different files may meet.
func flowID(f *capture.Flow) string { return strconv.FormatUint(f.ID, 36) + "|" + f.Client.String() }

// Update takes what is typed into the filter.
func (s *Flows) Update(msg tea.Msg) (Screen, tea.Cmd) {
	press, ok := msg.(tea.KeyPressMsg)
	if !ok || !s.field.on {
		return s, nil
	}
	if press.String() == "tab" {
		s.field.text, _ = completeFilter(s.field.text, s.valuesSeen)
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
	filter := keys.Filter.Do(func() tea.Cmd { s.field.start(s.filter.text); return nil })
	by := keys.Group.Do(func() tea.Cmd { s.by = (s.by + 1) % groupings; s.groupCur = cursor{}; s.group(); return nil })
	if s.by != ungrouped {
		open := keys.Enter.Do(s.openGroup).Unless(s.noGroup())
		open.Short = "its flows"
		return append([]keys.Action{open, keys.Leave.Do(func() tea.Cmd { s.by = ungrouped; return nil }),
			filter, by}, s.groupCur.actions(nil)...)
	}
	acts := []keys.Action{
		keys.Enter.Do(func() tea.Cmd {
			s.moved = true
			return send(OpenMsg{NewLadder(*f, s.facts)})
		}).Unless(none),
		filter,
		keys.Mark.Do(func() tea.Cmd { return s.mark(f) }).Unless(none),
		keys.Sort.Do(func() tea.Cmd { s.order = (s.order + 1) % flowOrders; s.list(); return nil }),
		by,
		keys.Copy.Quietly(func() tea.Cmd {
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

// mark marks a flow, takes the mark off again, or compares the flow with the marked one.
func (s *Flows) mark(f *capture.Flow) tea.Cmd {
	s.moved = true
	switch {
	case s.marked == nil:
		marked := *f
		s.marked = &marked
		return send(SayMsg{"marked: m on another flow compares them, m here takes the mark off"})
	case flowID(s.marked) == flowID(f):
		s.marked = nil
		return nil
	}
	return send(OpenMsg{NewCompare(*s.marked, *f, s.facts)})
}

func (s *Flows) selected() (*capture.Flow, bool) {
	if s.cur.at < len(s.shown) {
		return s.shown[s.cur.at], true
	}
	return nil, false
}

// View is a heading, the column titles and the flows.
func (s *Flows) View(width, height int) []kit.Line {
	out := s.headlines(width)
	if len(s.facts.Flows) == 0 {
		return append(out, s.empty(width)...)
	}
	if len(s.shown) == 0 {
		return append(out, kit.Line{}, kit.L(kit.T(" No flow matches. "), kit.S(theme.Accent, "esc"), kit.T(" clears the filter.")))
	}
	if s.by != ungrouped {
		return append(out, s.groupTable(width, height-len(out))...)
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
	return append(out, legend(width, height-len(out))...)
}

// headlines count the outcomes and say what is filtered and sorted how, or show the filter that is being written with what
// could come next.
func (s *Flows) headlines(width int) []kit.Line {
	if s.field.on {
		next := kit.Text(theme.Dim, " this text is looked for as it stands")
		if _, could := completeFilter(s.field.text, s.valuesSeen); len(could) > 0 {
			next = kit.L(kit.T(" "), kit.S(theme.Accent, "tab"), kit.S(theme.Dim, " "+few(could, 8)))
		}
		return []kit.Line{s.field.line(), next}
	}
	counts := OutcomeCounts(s.facts.Flows)
	left := kit.L(kit.T(" "), kit.S(theme.Title, plural(len(s.facts.Flows), "flow")))
	for _, o := range Outcomes {
		if counts[o] > 0 {
			left.Spans = append(left.Spans, kit.S(theme.Dim, " · "), kit.S(outcomeRole(o), fmt.Sprintf("%d %s", counts[o], o)))
		}
	}
	out := []kit.Line{kit.Between(left, kit.Text(theme.Dim, s.arranged()+" "), width)}
	if s.filter.text != "" {
		out = append(out, kit.L(kit.T(" "), kit.S(theme.Accent, fmt.Sprintf("filter %s: %d shown", s.filter.text, len(s.shown))),
			kit.S(theme.Dim, "   "), kit.S(theme.Accent, "esc"), kit.S(theme.Dim, " shows all")))
	}
	return out
}

// arranged says how the list is sorted or grouped, where it is not as usual.
func (s *Flows) arranged() string {
	switch {
	case s.by != ungrouped:
		return "by " + groupWords[s.by]
	case s.order != newestFlow:
		return "sorted by " + orderWords[s.order]
	}
	return ""
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
