package screens

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"lvstui/capture"
	"lvstui/internal/arrange"
	"lvstui/lvs"
	"lvstui/ui/kit"
	"lvstui/ui/theme"
)

// rung is one arrow of the ladder: a frame, or several of the same kind on the same leg.
type rung struct {
	at       string // time since the first frame
	from, to int    // lanes
	label    string
	note     string
	role     theme.Role
	dashed   bool // not seen, but known to belong here
}

// maxRungs bounds the ladder of a long connection: the handshake is at its beginning.
const maxRungs = 200

// rungs are the frames of the flow, with repetitions folded into the first of them.
func (s *Ladder) rungs(short bool) []rung {
	events := s.events()
	if len(events) == 0 {
		return nil
	}
	var out []rung
	groups := groupEvents(events, &s.flow)
	starts := clocks(events, &s.flow)
	for i, g := range groups {
		if len(out) == maxRungs {
			break
		}
		out = append(out, s.rung(g, starts[vantageOf(g.events[0].Event, &s.flow)], short))
		if len(s.flow.Vantages) < 2 && s.flow.Vantage == lvs.RoleDirector && isFirstForward(groups, i) && s.flow.Stage(lvs.SynAckSent).State == lvs.Unobservable {
			out = append(out, rung{from: 3, to: 0, label: "SYN-ACK", note: "cannot be seen from a director", role: theme.Dim, dashed: true})
		}
	}
	return out
}

// group is a run of frames that say the same.
type group struct {
	events []sight
	leg    [2]int
	again  bool // sent again: the first one stands in an earlier group
}

func groupEvents(events []capture.Event, f *capture.Flow) []group {
	var out []group
	for _, e := range sights(events, f) {
		leg := e.leg
		if i := sameGroup(out, e, leg); i >= 0 {
			out[i].events = append(out[i].events, e)
			continue
		}
		repeated := slices.ContainsFunc(out, func(g group) bool { return g.leg == leg && g.events[0].Kind == e.Kind })
		out = append(out, group{[]sight{e}, leg, repeated && (e.Kind == capture.EventSYN || e.Kind == capture.EventSYNACK)})
	}
	return out
}

// sameGroup finds the group that e repeats, or -1: SYNs and SYN-ACKs sent again join the first repetition wherever it
// is; data and bare ACKs join their like directly before them.
func sameGroup(groups []group, e sight, leg [2]int) int {
	for i := len(groups) - 1; i >= 0; i-- {
		g := groups[i]
		if g.leg != leg || g.events[0].Kind != e.Kind {
			if e.Kind != capture.EventSYN && e.Kind != capture.EventSYNACK {
				return -1
			}
			continue
		}
		switch e.Kind {
		case capture.EventSYN, capture.EventSYNACK:
			if g.again {
				return i
			}
			return -1
		case capture.EventDATA, capture.EventACK, capture.EventICMP:
			return i
		}
		return -1
	}
	return -1
}

func isFirstForward(groups []group, i int) bool {
	g := groups[i]
	return g.leg == [2]int{2, 3} && g.events[0].Kind == capture.EventSYN && !g.again
}

// legOf is between which lanes a frame was seen. What lies beyond the next hop is drawn only where the frame came from
// there for certain.
func legOf(e capture.Event, v lvs.Vantage) [2]int {
	in := e.Direction == capture.In
	switch v {
	case lvs.RoleClient:
		if e.ToVirtual {
			return [2]int{0, 1}
		}
		return [2]int{1, 0}
	case lvs.RoleRouter:
		switch {
		case e.ToVirtual && in:
			return [2]int{0, 1}
		case e.ToVirtual:
			return [2]int{1, 2}
		case in:
			return [2]int{3, 1}
		}
		return [2]int{1, 0}
	case lvs.RoleDirector:
		switch {
		case e.ToVirtual && in:
			return [2]int{0, 2}
		case e.ToVirtual:
			return [2]int{2, 3}
		case in:
			return [2]int{3, 2}
		}
		return [2]int{2, 0}
	case lvs.RoleRealServer:
		if e.ToVirtual {
			return [2]int{2, 3}
		}
		return [2]int{3, 1}
	}
	if e.ToVirtual {
		return [2]int{0, 3}
	}
	return [2]int{3, 0}
}

func (s *Ladder) rung(g group, start time.Time, short bool) rung {
	first := g.events[0]
	r := rung{at: since(first.Time.Sub(start)), from: g.leg[0], to: g.leg[1], label: string(first.Kind), note: s.note(first.Event, short), role: theme.Plain}
	if by := first.alsoWords(); by != "" {
		r.note = by
		if !short {
			r.note += "; " + s.note(first.Event, short)
		}
	}
	switch first.Kind {
	case capture.EventRST, capture.EventICMP:
		r.role = theme.Bad
	case capture.EventDATA:
		total := 0
		for _, e := range g.events {
			total += e.Length
		}
		r.label = fmt.Sprintf("%d B", total)
	}
	if n := len(g.events); n > 1 {
		r.label += fmt.Sprintf(" ×%d", n)
	}
	if g.again {
		r.role = theme.Warn
		if len(g.events) == 1 {
			r.label += " again"
		}
		var times []string
		for _, e := range g.events {
			times = append(times, since(e.Time.Sub(start)))
		}
		if len(times) > 6 {
			times = append(times[:5:5], "…", times[len(times)-1])
		}
		why := "the client got no answer"
		if first.Kind == capture.EventSYNACK {
			why = "no ACK came"
		}
		r.note = "again at " + strings.Join(times, " ") + " s: " + why
		if first.Forwarded {
			r.note = "forwarded each time"
		}
	}
	return r
}

// note is where the frame was seen, and who is at the other end of the wire.
func (s *Ladder) note(e capture.Event, short bool) string {
	where := strings.TrimSpace(e.Interface + " " + e.Direction.String())
	switch {
	case e.Direction == capture.In && e.SrcMAC != (capture.MAC{}):
		where += " from " + macName(s.names, e.SrcMAC, short)
	case e.DstMAC != (capture.MAC{}):
		where += " to " + macName(s.names, e.DstMAC, short)
	}
	if e.Kind == capture.EventICMP {
		where = fmt.Sprintf("type %d code %d, ", e.Type, e.Code) + where
	}
	return where
}

// since is a time in seconds after the first frame, precise to what matters.
func since(d time.Duration) string {
	if d > 0 && d < 100*time.Millisecond {
		return fmt.Sprintf("%.5f", d.Seconds())
	}
	return fmt.Sprintf("%.3f", d.Seconds())
}

// events are the flow's frames, or where they were not kept the frames that proved the stages.
func (s *Ladder) events() []capture.Event {
	if len(s.flow.Events) > 0 {
		return s.flow.Events
	}
	var out []capture.Event
	for _, st := range s.flow.Stages {
		if st.State != lvs.Seen || st.Time.IsZero() {
			continue
		}
		e := capture.Event{Time: st.Time, Direction: st.Direction, Interface: st.Interface, SrcMAC: st.SrcMAC, DstMAC: st.DstMAC,
			Kind: capture.EventSYN, ToVirtual: true}
		switch st.Stage {
		case lvs.SynAckSent, lvs.SynAckAtClient:
			e.Kind, e.ToVirtual = capture.EventSYNACK, false
		case lvs.AckAtDirector, lvs.Established:
			e.Kind = capture.EventACK
		}
		out = append(out, e)
	}
	arrange.By(out, func(a, b capture.Event) int { return a.Time.Compare(b.Time) })
	return out
}

// drawing knows where the lanes are.
type drawing struct {
	width, gap, left, noteAt int
}

const timeWidth = 9

func newDrawing(width int) drawing {
	d := drawing{width: width, gap: 13, left: timeWidth + 4}
	switch {
	case width >= 116:
		d.gap = 19
	case width >= 96:
		d.gap = 16
	}
	d.noteAt = d.left + 3*d.gap + 4
	return d
}

func (d drawing) lane(i int) int { return d.left + i*d.gap }

// labels writes the lanes' names centred over them.
func (d drawing) labels(names [4]string) kit.Line {
	cells := []rune(strings.Repeat(" ", d.noteAt+8))
	for i, name := range names {
		r := []rune(name)
		copy(cells[d.lane(i)-len(r)/2:], r)
	}
	return kit.Text(theme.Title, strings.TrimRight(string(cells), " "))
}

func (d drawing) bars() kit.Line {
	return kit.Text(theme.Border, strings.TrimRight(string(d.cells()), " "))
}

func (d drawing) cells() []rune {
	cells := []rune(strings.Repeat(" ", d.noteAt))
	for i := range 4 {
		cells[d.lane(i)] = '│'
	}
	return cells
}

// rung draws an arrow with its note; a note too long for the line goes on below it.
func (d drawing) rung(r rung) []kit.Line {
	cells := d.cells()
	copy(cells, []rune(kit.PadLeft(r.at, timeWidth)))
	lo, hi := d.lane(min(r.from, r.to)), d.lane(max(r.from, r.to))
	shaft := '─'
	if r.dashed {
		shaft = '╌'
	}
	for x := lo + 1; x < hi; x++ {
		cells[x] = shaft
		if !r.dashed && (x-d.left)%d.gap == 0 {
			cells[x] = '┼'
		}
	}
	tip := hi - 1
	if r.to > r.from {
		cells[tip] = '▶'
	} else {
		tip = lo + 1
		cells[tip] = '◀'
	}
	label := []rune(" " + kit.Fit(r.label, hi-lo-4) + " ")
	room := d.gap
	if len(label) > d.gap-3 {
		room = hi - lo
	}
	start := lo + (room-len(label)+1)/2
	if r.to < r.from {
		start = hi - room + (room-len(label)+1)/2
	}
	copy(cells[start:], label)
	notes := kit.Wrap(r.note, max(8, d.width-d.noteAt-1))
	var out []kit.Line
	for i := range max(1, len(notes)) {
		l := kit.L(kit.S(theme.Dim, string(cells[:timeWidth+1])), kit.S(theme.Border, string(cells[timeWidth+1:lo])),
			kit.S(theme.Border, string(cells[lo])), kit.S(r.role, string(cells[lo+1:hi])), kit.S(theme.Border, string(cells[hi:])))
		if i > 0 {
			l = kit.Text(theme.Border, string(d.cells()))
		}
		if i < len(notes) {
			l.Spans = append(l.Spans, kit.S(theme.Dim, notes[i]))
		}
		out = append(out, l)
	}
	return out
}
