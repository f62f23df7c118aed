package capture

import "time"

// pageEvents frames share a page: a short flow takes one or two, a long one up to the limit.
const pageEvents = 8

type eventBits uint8

const (
	bitToVirtual eventBits = 1 << iota
	bitForwarded
	bitResent
	bitICMP
	bitDatagram
)

// eventRec is an Event without pointers.
type eventRec struct {
	time     int64
	ifindex  int32
	seq, ack uint32
	length   int32
	src, dst MAC
	ipid     uint16
	flags    TCPFlags
	ttl      uint8
	dir      Direction
	bits     eventBits
	typ      uint8
	code     uint8
}

type eventPage struct {
	next int32
	recs [pageEvents]eventRec
}

func (t *Tracker) appendEvent(r *record, p *Packet, way int, bits eventBits) {
	if int(r.eventCount) >= t.cfg.MaxEvents {
		r.eventsLost++
		return
	}
	at := r.eventCount % pageEvents
	if at == 0 {
		page := t.pages.take()
		if page < 0 {
			r.eventsLost++
			return
		}
		t.pages.at(page).next = -1
		if r.lastPage >= 0 {
			t.pages.at(r.lastPage).next = page
		} else {
			r.events = page
		}
		r.lastPage = page
	}
	if way == toVirtual {
		bits |= bitToVirtual
	}
	e := eventRec{time: p.Time, ifindex: p.Interface, seq: p.Seq, ack: p.Ack, length: p.PayloadLen, src: p.SrcMAC,
		dst: p.DstMAC, ipid: p.IPID, flags: p.Flags, ttl: p.TTL, dir: p.Dir, bits: bits}
	if p.Kind == ICMP {
		e.bits |= bitICMP
		e.seq, e.typ, e.code = p.Quote.Seq, p.Quote.Type, p.Quote.Code
	}
	t.pages.at(r.lastPage).recs[at] = e
	r.eventCount++
}

func (t *Tracker) freeEvents(r *record) {
	for page := r.events; page >= 0; {
		next := t.pages.at(page).next
		t.pages.give(page)
		page = next
	}
	r.events, r.lastPage = -1, -1
}

// eventsOf lists the frames of r. v gives the frames of a file without directions their inferred ones.
func (t *Tracker) eventsOf(r *record, v *view) []Event {
	list := make([]Event, 0, r.eventCount)
	for page := r.events; page >= 0; page = t.pages.at(page).next {
		for i := range t.pages.at(page).recs {
			if len(list) == int(r.eventCount) {
				return list
			}
			list = append(list, t.event(&t.pages.at(page).recs[i], v))
		}
	}
	return list
}

func (t *Tracker) event(e *eventRec, v *view) Event {
	dir := e.dir
	if dir == Unknown && e.bits&bitICMP == 0 {
		dir = v.direction(e.bits&bitToVirtual != 0, e.bits&bitForwarded != 0)
	}
	return Event{
		Time:           time.Unix(0, e.time).UTC(),
		Kind:           e.kind(),
		ToVirtual:      e.bits&bitToVirtual != 0,
		Direction:      dir,
		Interface:      t.names[e.ifindex],
		SrcMAC:         e.src,
		DstMAC:         e.dst,
		Flags:          e.flags,
		Seq:            e.seq,
		Ack:            e.ack,
		Length:         int(e.length),
		TTL:            e.ttl,
		IPID:           e.ipid,
		Type:           e.typ,
		Code:           e.code,
		Retransmission: e.bits&bitResent != 0,
		Forwarded:      e.bits&bitForwarded != 0,
	}
}

func (e *eventRec) kind() EventKind {
	switch {
	case e.bits&bitICMP != 0:
		return EventICMP
	case e.bits&bitDatagram != 0:
		return EventDATA
	case e.flags.Has(RST):
		return EventRST
	case e.flags.Has(SYN | ACK):
		return EventSYNACK
	case e.flags.Has(SYN):
		return EventSYN
	case e.flags.Has(FIN):
		return EventFIN
	case e.length > 0:
		return EventDATA
	}
	return EventACK
}
