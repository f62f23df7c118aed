package screens

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"lvstui/capture"
	"lvstui/internal/arrange"
	"lvstui/lvs"
	"lvstui/ui/kit"
	"lvstui/ui/theme"
)

// grouping is what the flows are counted by.
type grouping int

const (
	ungrouped grouping = iota
	groupClient
	groupRealServer
	groupStage
	groupings // how many there are
)

var groupWords = [groupings]string{"", "client", "real server", "stage reached"}

// flowGroup counts the flows that have something in common.
type flowGroup struct {
	name   string
	filter string // the word that lets just these through
	rank   int    // of a stage
	counts map[capture.Outcome]int
	flows  int
	resent int             // SYNs and SYN-ACKs
	took   []time.Duration // the handshakes that were completed
}

// trouble counts what did not end well.
func (g *flowGroup) trouble() int {
	return g.counts[capture.Stalled] + g.counts[capture.Refused] + g.counts[capture.Reset]
}

// group counts the flows that are shown. Groups with trouble come first; stages are in their order.
func (s *Flows) group() {
	s.groups = nil
	if s.by == ungrouped {
		return
	}
	at := map[string]int{}
	for _, f := range s.shown {
		name, word, rank := s.groupOf(f)
		i, ok := at[name]
		if !ok {
			i = len(s.groups)
			at[name] = i
			s.groups = append(s.groups, flowGroup{name: name, filter: word, rank: rank, counts: map[capture.Outcome]int{}})
		}
		g := &s.groups[i]
		g.flows++
		g.counts[f.Outcome]++
		g.resent += f.SynRetransmits + f.SynAckRetransmits
		if f.Handshake > 0 {
			g.took = append(g.took, f.Handshake)
		}
	}
	arrange.By(s.groups, func(a, b flowGroup) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(b.trouble(), a.trouble()), cmp.Compare(b.flows, a.flows), cmp.Compare(a.name, b.name))
	})
	ids := make([]string, len(s.groups))
	for i := range s.groups {
		slices.Sort(s.groups[i].took)
		ids[i] = s.groups[i].name
	}
	s.groupCur.rows(ids)
}

// groupOf is the group of a flow, and the word of the filter for it.
func (s *Flows) groupOf(f *capture.Flow) (name, word string, rank int) {
	switch s.by {
	case groupClient:
		name = f.Client.Addr().String()
		return name, "client:" + name, 0
	case groupRealServer:
		name = s.realServer(f)
		word = "rs:" + strings.Fields(name + " -")[0]
		if name == "-" {
			name = "none seen"
		}
		return name, word, 0
	}
	return f.Reached.Title(), "reached:" + string(f.Reached), f.Reached.Index()
}

func (s *Flows) noGroup() string {
	if s.groupCur.at >= len(s.groups) {
		return "there is no group"
	}
	return ""
}

// openGroup lists the flows of the selected group.
func (s *Flows) openGroup() tea.Cmd {
	q, err := parseFilter(strings.TrimSpace(s.filter.text + " " + s.groups[s.groupCur.at].filter))
	if err != nil {
		return send(SayMsg{err.Error()})
	}
	s.filter, s.by, s.moved = q, ungrouped, false
	s.list()
	return nil
}

func (s *Flows) groupTable(width, height int) []kit.Line {
	name := max(13, min(width-67, 40))
	head := "  " + kit.Pad(groupWords[s.by], name)
	for _, c := range []string{"flows", "stalled", "refused", "reset", "pending", "ok", "median", "resent"} {
		head += kit.PadLeft(c, 7) + " "
	}
	out := []kit.Line{kit.Text(theme.Dim, head)}
	from, to := s.groupCur.window(height - 1)
	for i := from; i < to; i++ {
		line := s.groups[i].line(name)
		if i == s.groupCur.at {
			line = chosen(line)
		}
		out = append(out, line)
	}
	return out
}

func (g *flowGroup) line(name int) kit.Line {
	l := kit.L(kit.T("  "+kit.Pad(g.name, name)), kit.T(kit.PadLeft(strconv.Itoa(g.flows), 7)+" "))
	for _, o := range []capture.Outcome{capture.Stalled, capture.Refused, capture.Reset, capture.Pending} {
		l.Spans = append(l.Spans, count(outcomeRole(o), g.counts[o]))
	}
	median := "-"
	if n := len(g.took); n > 0 {
		median = span(g.took[(n-1)/2])
	}
	l.Spans = append(l.Spans, count(theme.OK, g.counts[capture.Established]+g.counts[capture.Closed]), kit.T(kit.PadLeft(median, 7)+" "),
		count(theme.Warn, g.resent))
	return l
}

// count is a number in a column; only what there is has colour.
func count(role theme.Role, n int) kit.Span {
	if n == 0 {
		role = theme.Dim
	}
	return kit.S(role, kit.PadLeft(strconv.Itoa(n), 7)+" ")
}

// valuesSeen are the values that a key of the filter can have here.
func (s *Flows) valuesSeen(key string) []string {
	var out []string
	switch key {
	case "state":
		out = outcomeWords()
	case "stage", "reached":
		for _, st := range lvs.Stages {
			out = append(out, string(st))
		}
	default:
		seen := map[string]bool{}
		for i := range s.facts.Flows {
			v := s.valueOf(key, &s.facts.Flows[i])
			if v != "" && v != "-" && !seen[v] && len(seen) < maxValues {
				seen[v] = true
				out = append(out, v)
			}
		}
		slices.Sort(out)
	}
	return out
}

// maxValues bounds what is offered under a flood of clients.
const maxValues = 200

func (s *Flows) valueOf(key string, f *capture.Flow) string {
	switch key {
	case "client":
		return f.Client.Addr().String()
	case "vip":
		return f.Virtual.Addr().String()
	case "port":
		return strconv.Itoa(int(f.Virtual.Port()))
	case "rs":
		return s.realServer(f)
	}
	return ""
}
