package screens

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"lvstui/lvs"
	"lvstui/ui/keys"
	"lvstui/ui/kit"
	"lvstui/ui/theme"
)

// history is how many rates are kept per row for the sparkline.
const history = 60

// Services lists the virtual services with their destinations, and how fast each is used.
type Services struct {
	facts Facts
	rows  []serviceRow
	cur   cursor
	rates map[string]*rate
}

// serviceRow is a virtual service, or one of its destinations.
type serviceRow struct {
	id      string
	service *lvs.Service
	dest    *lvs.Destination
}

// rate is what two looks at a counter give. Rates are per second; a negative one is not known.
type rate struct {
	at                  time.Time
	stats               lvs.Stats
	conns, packets, bps float64
	past                []float64 // connections per second, oldest first
}

// NewServices makes the screen.
func NewServices() *Services { return &Services{} }

// Title of the tab.
func (s *Services) Title() string { return "Services" }

// Typing is false.
func (s *Services) Typing() bool { return false }

// Update has nothing to wait for.
func (s *Services) Update(tea.Msg) (Screen, tea.Cmd) { return s, nil }

// SetFacts takes the differences to the look before.
func (s *Services) SetFacts(f Facts) {
	if f.Host != s.facts.Host || s.rates == nil {
		s.cur, s.rates = cursor{}, map[string]*rate{}
	}
	s.facts, s.rows = f, serviceRows(f)
	ids := make([]string, len(s.rows))
	for i, r := range s.rows {
		ids[i] = r.id
		if r.dest != nil {
			s.count(r.id, r.dest.Stats)
		} else {
			s.count(r.id, r.service.Stats)
		}
	}
	for id, r := range s.rates { // of what was removed
		if !r.at.Equal(f.At) {
			delete(s.rates, id)
		}
	}
	s.cur.rows(ids)
}

// serviceRows lists the services in order, each followed by its destinations.
func serviceRows(f Facts) []serviceRow {
	if f.Snapshot == nil || f.Snapshot.IPVS == nil {
		return nil
	}
	services := make([]*lvs.Service, len(f.Snapshot.IPVS.Services))
	for i := range services {
		services[i] = &f.Snapshot.IPVS.Services[i]
	}
	slices.SortStableFunc(services, func(a, b *lvs.Service) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), a.Address.Compare(b.Address), cmp.Compare(a.Port, b.Port), cmp.Compare(a.FWMark, b.FWMark))
	})
	var rows []serviceRow
	for _, v := range services {
		rows = append(rows, serviceRow{v.Key(), v, nil})
		first := len(rows)
		for i := range v.Destinations {
			rows = append(rows, serviceRow{v.Key() + " > " + v.Destinations[i].Name(), v, &v.Destinations[i]})
		}
		slices.SortStableFunc(rows[first:], func(a, b serviceRow) int {
			return cmp.Or(a.dest.Address.Compare(b.dest.Address), cmp.Compare(a.dest.Port, b.dest.Port))
		})
	}
	return rows
}

func (s *Services) count(id string, now lvs.Stats) {
	r, ok := s.rates[id]
	if !ok {
		s.rates[id] = &rate{at: s.facts.At, stats: now, conns: -1, packets: -1, bps: -1}
		return
	}
	seconds := s.facts.At.Sub(r.at).Seconds()
	if seconds <= 0 {
		r.at = s.facts.At
		return
	}
	per := func(now, before uint64) float64 {
		if now < before { // counters were cleared
			return -1
		}
		return float64(now-before) / seconds
	}
	r.conns = per(now.Connections, r.stats.Connections)
	r.packets = per(now.PacketsIn, r.stats.PacketsIn)
	r.bps = per(now.BytesIn, r.stats.BytesIn)
	r.at, r.stats = s.facts.At, now
	r.past = append(r.past, r.conns)
	if len(r.past) > history {
		r.past = slices.Delete(r.past, 0, len(r.past)-history)
	}
}

// Actions of the list.
func (s *Services) Actions() []keys.Action {
	none := ""
	if s.cur.id == "" {
		none = "there is no virtual service on this host"
	}
	return append([]keys.Action{
		keys.Enter.Do(func() tea.Cmd { return send(OpenMsg{NewReader(s.cur.id, s.connections)}) }).Unless(none),
		keys.Copy.Do(func() tea.Cmd {
			return send(CopyMsg{plainText(s.table(100, len(s.cur.ids))), "services"})
		}).Unless(none),
	}, s.cur.actions(nil)...)
}

// View is the table, or why there is none.
func (s *Services) View(width, height int) []kit.Line {
	if len(s.cur.ids) == 0 {
		return kit.Indent(1, s.empty(width-2))
	}
	return s.table(width, height)
}

func (s *Services) empty(width int) []kit.Line {
	snap := s.facts.Snapshot
	switch {
	case snap == nil:
		return kit.Paragraph(theme.Plain, "A capture says nothing of virtual services. Open a snapshot, or look at the director.", width)
	case snap.IPVS == nil:
		return append(kit.Paragraph(theme.Plain, "The ip_vs tables of this host could not be read.", width), gapLines(s.facts, width)...)
	case !snap.IPVS.Loaded:
		return kit.Paragraph(theme.Plain, "The kernel of this host has no ip_vs loaded, so it is no director. Virtual services are shown on the director (h).", width)
	}
	return kit.Paragraph(theme.Plain, "ip_vs is there, but its table is empty: this host is no director. Virtual services are shown on the director (h).", width)
}

func (s *Services) table(width, height int) []kit.Line {
	spark := max(0, min(history, width-79))
	title := " virtual service / real server"
	head := kit.Pad(title, 32) + kit.Pad("method", 7) + kit.PadLeft("weight", 6) + kit.PadLeft("active", 7) +
		kit.PadLeft("inact", 7) + kit.PadLeft("conn/s", 8) + kit.PadLeft("pkt/s", 8)
	if spark > 9 {
		head += "  connections/s, last min"
	}
	out := []kit.Line{kit.Text(theme.Dim, head)}
	from, to := s.cur.window(height - 1)
	for i := from; i < to; i++ {
		line := s.line(s.rows[i], spark)
		if i == s.cur.at {
			line = chosen(line)
		}
		out = append(out, line)
	}
	return out
}

func (s *Services) line(r serviceRow, spark int) kit.Line {
	if r.dest != nil {
		return s.destinationLine(r, spark)
	}
	v := r.service
	name := v.Name()
	if v.Protocol != "" {
		name = string(v.Protocol) + " " + name
	}
	how := v.Scheduler
	if v.Persistent {
		how += fmt.Sprintf(" persistent %d s", v.Timeout)
	}
	var active, inactive uint64
	for _, d := range v.Destinations {
		active += uint64(d.ActiveConns)
		inactive += uint64(d.InactiveConns)
	}
	left := kit.L(kit.T(" "), kit.S(theme.Title, name), kit.S(theme.Dim, " "+how)).Fit(45)
	return s.numbers(left, r.id, active, inactive, spark)
}

func (s *Services) destinationLine(r serviceRow, spark int) kit.Line {
	d := r.dest
	method, weight := theme.Plain, theme.Plain
	if d.Forward != lvs.Gate && d.Forward != lvs.Local {
		method = theme.Warn
	}
	note := ""
	if d.Weight == 0 {
		weight, note = theme.Warn, "!"
	}
	left := kit.L(kit.T("   → "), kit.T(kit.Pad(d.Name(), 27)), kit.S(method, kit.Pad(string(d.Forward), 7)),
		kit.S(weight, kit.PadLeft(note+fmt.Sprint(d.Weight), 6)))
	return s.numbers(left, r.id, uint64(d.ActiveConns), uint64(d.InactiveConns), spark)
}

func (s *Services) numbers(l kit.Line, id string, active, inactive uint64, spark int) kit.Line {
	r := s.rates[id]
	l.Spans = append(l.Spans, kit.T(kit.PadLeft(kit.Count(float64(active)), 7)+kit.PadLeft(kit.Count(float64(inactive)), 7)+
		kit.PadLeft(perSecond(r.conns), 8)+kit.PadLeft(perSecond(r.packets), 8)))
	if spark > 9 {
		l.Spans = append(l.Spans, kit.S(theme.Accent, "  "+kit.Spark(r.past, spark-3)))
	}
	return l
}

func perSecond(v float64) string {
	if v < 0 {
		return "-"
	}
	return kit.Count(v)
}

// connections is what is known of the connections of the selected service or destination.
func (s *Services) connections(width int) []kit.Line {
	var out []kit.Line
	if r := s.rates[s.cur.id]; r != nil {
		out = append(out, kit.Paragraph(theme.Plain, fmt.Sprintf("%d connections, %d packets and %d bytes in since it was added; now %s connections/s, %s packets/s, %s bytes/s.",
			r.stats.Connections, r.stats.PacketsIn, r.stats.BytesIn, perSecond(r.conns), perSecond(r.packets), perSecond(r.bps)), width)...)
		if s.onlyGate() {
			out = append(out, kit.Paragraph(theme.Dim, fmt.Sprintf("%d packets out: with gate (direct routing) 0 is right, because real servers answer past the director.",
				r.stats.PacketsOut), width)...)
		}
		out = append(out, kit.Line{})
	}
	conns := (*lvs.Connections)(nil)
	if s.facts.Snapshot != nil && s.facts.Snapshot.IPVS != nil {
		conns = s.facts.Snapshot.IPVS.Connections
	}
	if conns == nil {
		return append(out, kit.Paragraph(theme.Plain, "The connection table could not be read.", width)...)
	}
	out = append(out, kit.Text(theme.Title, "Connections of the whole table: "+stateCounts(conns)))
	if conns.Truncated {
		out = append(out, kit.Text(theme.Warn, fmt.Sprintf("! only the first %d were read: the table is large", conns.Read)))
	}
	if conns.ByState["SYN_RECV"] > 0 {
		out = append(out, kit.Paragraph(theme.Dim, "SYN_RECV: the client's ACK has not come through this director.", width)...)
	}
	out = append(out, kit.Line{}, kit.Text(theme.Dim, kit.Pad("client", 24)+kit.Pad("real server", 24)+kit.Pad("state", 12)+"expires"))
	for _, c := range conns.Sample {
		if !s.belongs(c) {
			continue
		}
		out = append(out, kit.Text(theme.Plain, kit.Pad(c.Client.String(), 24)+
			kit.Pad(c.Destination.String(), 24)+kit.Pad(c.State, 12)+fmt.Sprintf("%d s", c.Expires)))
	}
	return out
}

// onlyGate tells whether all destinations of the selected row are reached by direct routing.
func (s *Services) onlyGate() bool {
	r := s.rows[s.cur.at]
	if r.dest != nil {
		return r.dest.Forward == lvs.Gate
	}
	return len(r.service.Destinations) > 0 &&
		!slices.ContainsFunc(r.service.Destinations, func(d lvs.Destination) bool { return d.Forward != lvs.Gate })
}

// belongs tells whether a connection is of the selected row.
func (s *Services) belongs(c lvs.Connection) bool {
	key := string(c.Protocol) + " " + c.Virtual.String()
	return s.cur.id == key || s.cur.id == key+" > "+c.Destination.String() || strings.HasPrefix(s.cur.id, "fwmark")
}

func stateCounts(c *lvs.Connections) string {
	var names []string
	for name := range c.ByState {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		names[i] = fmt.Sprintf("%d %s", c.ByState[name], name)
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
