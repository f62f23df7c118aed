package capture

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"lvstui/lvs"
)

// Flows lists all remembered flows without their events, in the order in which they were first seen.
func (t *Tracker) Flows() []Flow { return t.Recent(t.Len()) }

// Recent lists the n flows seen first most recently, the oldest of them first, without events.
func (t *Tracker) Recent(n int) []Flow { return t.Latest(n, 0) }

// records lists what is remembered, oldest first.
func (t *Tracker) records() []*record {
	recs := make([]*record, 0, t.Len())
	for _, l := range []list{t.live, t.over} {
		for i := l.head; i >= 0; i = t.recs.at(i).next {
			recs = append(recs, t.recs.at(i))
		}
	}
	slices.SortFunc(recs, func(a, b *record) int { return cmp.Compare(a.id, b.id) })
	return recs
}

// Latest lists as Recent does, the last few with their events.
func (t *Tracker) Latest(n, withEvents int) []Flow {
	recs := t.records()
	recs = recs[max(0, len(recs)-max(n, 0)):]
	flows := make([]Flow, len(recs))
	for i, r := range recs {
		flows[i] = t.flow(r, i >= len(recs)-withEvents)
	}
	return flows
}

// FlowByID gives one flow with its events.
func (t *Tracker) FlowByID(id uint64) (Flow, bool) {
	for _, l := range []list{t.live, t.over} {
		for i := l.head; i >= 0; i = t.recs.at(i).next {
			if r := t.recs.at(i); r.id == id {
				return t.flow(r, true), true
			}
		}
	}
	return Flow{}, false
}

// Flow gives the latest flow between two ends, with its events.
func (t *Tracker) Flow(k Key) (Flow, bool) {
	proto := uint8(protoTCP)
	switch k.Protocol {
	case lvs.TCP, "":
	case lvs.UDP:
		proto = protoUDP
	default:
		return Flow{}, false
	}
	ends := t.index.lookup(proto, k.Client.Addr(), k.Virtual.Addr(), k.Client.Port(), k.Virtual.Port())
	i := t.index.find(&ends, &t.recs)
	if i < 0 {
		return Flow{}, false
	}
	f := t.flow(t.recs.at(i), true)
	return f, f.Client == k.Client
}

// flow makes the public Flow of a record.
func (t *Tracker) flow(r *record, withEvents bool) Flow {
	j := t.judge(r, t.now)
	f := Flow{
		ID:                r.id,
		Client:            r.client(),
		Virtual:           r.virtual(),
		Protocol:          r.protocol(),
		Vantage:           j.vantage,
		Outcome:           j.outcome,
		Reached:           lvs.Stages[max(j.top, 0)],
		Packets:           r.packets(),
		Frames:            r.frames(),
		BytesToVirtual:    max(r.lanes[toVirtual][0].bytes, r.lanes[toVirtual][1].bytes),
		BytesToClient:     max(r.lanes[toClient][0].bytes, r.lanes[toClient][1].bytes),
		SynRetransmits:    retransmits(r.synN),
		SynAckRetransmits: retransmits(r.synAckN),
		DataRetransmits:   r.dataResent(),
		Handshake:         r.handshake(),
		Stages:            t.stages(&j),
		FirstSeen:         time.Unix(0, r.first).UTC(),
		LastSeen:          time.Unix(0, r.last).UTC(),
		MidStream:         r.midStream(),
		ISN:               r.isn,
		EventsDropped:     int(r.eventsLost),
	}
	t.addMACs(&f, &j)
	t.addRejects(&f, r)
	if (f.Outcome == Stalled || f.Outcome == Refused) && j.due < numStages {
		f.StalledAt = lvs.Stages[j.due]
	}
	f.Suspects = Suspects(&f, t.clues(&j))
	if withEvents {
		f.Events = t.eventsOf(r, &j.view)
	}
	return f
}

// addMACs fills in who handed the SYN over and who answered.
func (t *Tracker) addMACs(f *Flow, j *judgement) {
	if s := firstSet(j.in(clsSYN), j.out(clsSYN)); s.set {
		f.SynFrom = s.src
	}
	if s := firstSet(j.out(clsSYNACK), j.in(clsSYNACK)); s.set {
		f.SynAckTo = s.dst
	}
	switch j.vantage {
	case lvs.RoleDirector:
		f.RealServerMAC = j.out(clsSYN).dst
		if f.RealServerMAC == (MAC{}) {
			f.RealServerMAC = j.out(clsACK).dst
		}
	case lvs.RoleRealServer:
		f.RealServerMAC = firstSet(j.in(clsSYN), j.in(clsACK)).dst
	case lvs.RoleRouter:
		f.RealServerMAC = j.in(clsSYNACK).src
	}
	if j.r.has(answeredElsewhere) {
		f.AnsweredFrom = t.answers[t.index.find(t.index.again(&j.r.key), &t.recs)]
	}
	f.RealServer = j.r.realServer()
	switch {
	case j.in(clsSYN).tunnel || j.out(clsSYN).tunnel:
		f.Forward = string(lvs.IPIP)
	case j.r.has(hasAlias) && j.vantage == lvs.RoleDirector:
		f.Forward = string(lvs.Masq)
	}
}

func (t *Tracker) addRejects(f *Flow, r *record) {
	for _, c := range []class{clsRSTc, clsRSTv} {
		s := firstSet(&r.sights[c][slotIn], &r.sights[c][slotOut])
		if !s.set || f.RST != nil && !f.RST.Time.After(time.Unix(0, s.time)) {
			continue
		}
		f.RST = t.reject(s)
		f.RST.FromClient = c == clsRSTc
		f.RST.From = f.Virtual.Addr()
		if f.RST.FromClient {
			f.RST.From = f.Client.Addr()
		}
	}
	if r.icmp.at.set {
		f.ICMP = t.reject(&r.icmp.at)
		f.ICMP.AboutReply = r.icmp.aboutReply
		f.ICMP.From = netip.AddrFrom16(r.icmp.from).Unmap()
		f.ICMP.Type, f.ICMP.Code = r.icmp.typ, r.icmp.code
	}
}

func (t *Tracker) reject(s *sighting) *Reject {
	return &Reject{Time: time.Unix(0, s.time).UTC(), SrcMAC: s.src, DstMAC: s.dst, Interface: t.names[s.ifindex],
		Direction: s.dir, TTL: s.ttl}
}

func firstSet(a, b *sighting) *sighting {
	if a.set {
		return a
	}
	return b
}

// packets counts what travelled, not how often this host saw it. A packet that came in and did not go out
// counts as well as one whose way in was not captured.
func (r *record) packets() int {
	n := uint32(0)
	for way := range r.lanes {
		n += max(r.lanes[way][slotIn].frames, r.lanes[way][slotOut].frames)
	}
	return int(n)
}

func (r *record) frames() int {
	n := uint32(0)
	for way := range r.lanes {
		n += r.lanes[way][slotIn].frames + r.lanes[way][slotOut].frames
	}
	return int(n)
}

func (r *record) dataResent() int {
	n := uint32(0)
	for way := range r.lanes {
		n += max(r.lanes[way][slotIn].resent, r.lanes[way][slotOut].resent)
	}
	return int(n)
}

func retransmits(n [2]uint32) int { return int(max(n[slotIn], n[slotOut], 1) - 1) }

// handshake is the time from the client's first SYN to its first ACK, or over UDP from the request to the reply, all
// at their first sight here.
func (r *record) handshake() time.Duration {
	syn, ack := earliest(&r.sights[clsSYN]), earliest(&r.sights[clsACK])
	if r.udp() {
		ack = earliest(&r.sights[clsSYNACK])
	}
	if syn == nil || ack == nil {
		return 0
	}
	return time.Duration(max(0, ack.time-syn.time))
}

func earliest(s *[2]sighting) *sighting {
	switch {
	case s[0].set && (!s[1].set || s[0].time <= s[1].time):
		return &s[0]
	case s[1].set:
		return &s[1]
	}
	return nil
}
