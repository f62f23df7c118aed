package screens

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"lvstui/internal/arrange"
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

// rate is what looks at a counter give. Rates are per second, over the last rateSpan; a negative one is not known.
type rate struct {
	looks               []counted // of the last rateSpan, oldest first
	conns, packets, bps float64
	past                []float64 // connections per second from look to look, oldest first
}

// counted is a counter at a time.
type counted struct {
	at    time.Time
	stats lvs.Stats
}

// rateSpan is what a rate is the mean of: from one look to the next, one client a second is none or two.
const rateSpan = 10 * time.Second

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
		if !r.last().at.Equal(f.At) {
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
		arrange.By(rows[first:], func(a, b serviceRow) int {
			return cmp.Or(a.dest.Address.Compare(b.dest.Address), cmp.Compare(a.dest.Port, b.dest.Port))
		})
	}
	return rows
}

func (s *Services) count(id string, stats lvs.Stats) {
	r, ok := s.rates[id]
	if !ok {
		r = &rate{conns: -1, packets: -1, bps: -1}
		s.rates[id] = r
	}
	now := counted{s.facts.At, stats}
	if !ok || !now.at.After(r.last().at) {
		r.looks = append(r.looks[:max(0, len(r.looks)-1)], now)
		return
	}
	r.past = append(r.past, perSecondSince(r.last(), now, func(st lvs.Stats) uint64 { return st.Connections }))
	if len(r.past) > history {
		r.past = slices.Delete(r.past, 0, len(r.past)-history)
	}
	r.looks = append(slices.DeleteFunc(r.looks, func(c counted) bool { return now.at.Sub(c.at) > rateSpan && c != r.last() }), now)
	r.conns = perSecondSince(r.looks[0], now, func(st lvs.Stats) uint64 { return st.Connections })
	r.packets = perSecondSince(r.looks[0], now, func(st lvs.Stats) uint64 { return st.PacketsIn })
	r.bps = perSecondSince(r.looks[0], now, func(st lvs.Stats) uint64 { return st.BytesIn })
	if r.conns < 0 {
		r.looks = []counted{now}
	}
}

func (r *rate) last() counted { return r.looks[len(r.looks)-1] }

// perSecondSince is how fast a counter rose, negative when it was cleared meanwhile.
func perSecondSince(before, now counted, of func(lvs.Stats) uint64) float64 {
	if of(now.stats) < of(before.stats) {
		return -1
	}
	return float64(of(now.stats)-of(before.stats)) / now.at.Sub(before.at).Seconds()
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
		now := r.last().stats
		text := fmt.Sprintf("%d connections, %d packets and %d bytes in since it was added", now.Connections, now.PacketsIn, now.BytesIn)
		if r.conns >= 0 {
			text += fmt.Sprintf("; over the last %.0f s %s connections/s, %s packets/s, %s bytes/s", rateSpan.Seconds(),
				perSecond(r.conns), perSecond(r.packets), perSecond(r.bps))
		}
		out = append(out, kit.Paragraph(theme.Plain, text+".", width)...)
		if s.onlyGate() {
			out = append(out, kit.Paragraph(theme.Dim, fmt.Sprintf("%d packets out: with gate (direct routing) 0 is right, because real servers answer past the director.",
				now.PacketsOut), width)...)
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
