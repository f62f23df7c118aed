package capture

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"time"

	"lvstui/internal/arrange"
	"lvstui/lvs"
)

// stageOwner is the host whose own capture tells most about a stage.
var stageOwner = [numStages]lvs.Vantage{lvs.RoleClient, lvs.RoleRouter, lvs.RoleDirector, lvs.RoleDirector, lvs.RoleDirector,
	lvs.RoleRealServer, lvs.RoleRealServer, lvs.RoleRealServer, lvs.RoleClient, lvs.RoleDirector, lvs.RoleRealServer}

// identity names a flow on every host that it passes. Behind a director that rewrites (masq) it goes to another address than before;
// client and ISN say that it is the same. Flows without an ISN (UDP, met in mid-stream) have only their ends. Like ones are told apart by
// their order.
type identity struct {
	client, virtual netip.AddrPort // virtual is unset with an ISN
	protocol        lvs.Protocol
	isn             uint32
	nth             int
}

// Merge joins the flows of several hosts' captures, one list for each capture, by their ends and the client's initial
// sequence number. A flow that several hosts saw has the union of their stages, what one of them proves for all, and
// Vantages; it never compares the hosts' clocks. IDs are new, made of what names the flow, so that it keeps its own while the captures go
// on. Flows are in the order of the first list, those that are not in it follow.
func Merge(views ...[]Flow) []Flow {
	at := map[identity]int{}
	var groups [][]Flow
	var ids []identity
	for _, flows := range views {
		seen := map[identity]int{}
		for _, f := range flows {
			id := identity{client: f.Client, protocol: f.Protocol, isn: f.ISN}
			if f.ISN == 0 {
				id.virtual = f.Virtual
			}
			seen[id]++
			id.nth = seen[id]
			n, ok := at[id]
			if !ok {
				n = len(groups)
				at[id] = n
				groups, ids = append(groups, nil), append(ids, id)
			}
			groups[n] = append(groups[n], f)
		}
	}
	merged := make([]Flow, len(groups))
	for i, g := range groups {
		merged[i] = join(g)
		merged[i].ID = ids[i].number()
	}
	return merged
}

// number is a hash of 53 bits: JSON readers take it for what it is.
func (id identity) number() uint64 {
	h := fnv.New64a()
	fmt.Fprintln(h, id.client, id.virtual, id.protocol, id.isn, id.nth)
	return h.Sum64() & (1<<53 - 1)
}

// join makes one flow of what several hosts saw of it.
func join(g []Flow) Flow {
	if len(g) == 1 {
		return g[0]
	}
	// In the order of the path, so that the first host that knows something is the one nearest to the client.
	arrange.By(g, func(a, b Flow) int { return cmp.Compare(pathRank(a.Vantage), pathRank(b.Vantage)) })
	f := g[0]
	f.MidStream, f.Frames, f.Events, f.EventsDropped, f.Vantages = true, 0, nil, 0, nil
	top := -1
	for i := range g {
		v := &g[i]
		f.Vantages = append(f.Vantages, v.Vantage)
		f.MidStream = f.MidStream && v.MidStream
		f.Frames += v.Frames
		f.EventsDropped += v.EventsDropped
		f.Packets = max(f.Packets, v.Packets)
		f.BytesToVirtual = max(f.BytesToVirtual, v.BytesToVirtual)
		f.BytesToClient = max(f.BytesToClient, v.BytesToClient)
		f.SynRetransmits = max(f.SynRetransmits, v.SynRetransmits)
		f.SynAckRetransmits = max(f.SynAckRetransmits, v.SynAckRetransmits)
		f.DataRetransmits = max(f.DataRetransmits, v.DataRetransmits)
		f.Handshake = cmp.Or(f.Handshake, v.Handshake)
		f.RealServerMAC = cmp.Or(f.RealServerMAC, v.RealServerMAC)
		f.AnsweredFrom = cmp.Or(f.AnsweredFrom, v.AnsweredFrom)
		f.Forward, f.RealServer = cmp.Or(f.Forward, v.Forward), cmp.Or(f.RealServer, v.RealServer)
		f.RST, f.ICMP = cmp.Or(f.RST, v.RST), cmp.Or(f.ICMP, v.ICMP)
		if v.Vantage == lvs.RoleRealServer { // whether it came from the director and where it went shows there
			f.SynFrom, f.SynAckTo = v.SynFrom, v.SynAckTo
		}
		top = max(top, v.Reached.Index())
	}
	f.Reached = lvs.Stages[max(top, 0)]
	f.conclude(g, top)
	f.Stages = joinStages(g, &f, top)
	f.Events = joinEvents(g)
	return f
}

// pathRank orders the hosts as a SYN passes them.
func pathRank(v lvs.Vantage) int {
	return slices.Index([]lvs.Vantage{lvs.RoleClient, lvs.RoleRouter, lvs.RoleDirector, lvs.RoleRealServer}, v)
}

// conclude finds the outcome of the joined views. top is the furthest stage that one of them proves: what another one
// missed up to there was only not to be seen by it.
func (f *Flow) conclude(g []Flow, top int) {
	f.StalledAt, f.Suspects = "", nil
	missed := numStages
	has := map[Outcome]bool{}
	unheard := false // by the real server: without its ACK the handshake is not complete, whatever the client thinks
	for i := range g {
		v := &g[i]
		has[v.Outcome] = true
		if at := v.StalledAt.Index(); v.StalledAt != "" && at > top {
			missed = min(missed, at)
		}
		unheard = unheard || v.Vantage == lvs.RoleRealServer && v.Outcome == Stalled && top < iEstablished
	}
	if missed == numStages && unheard {
		missed = iEstablished
	}
	switch {
	case has[Refused]:
		f.Outcome = Refused
	case missed < numStages:
		f.Outcome = Stalled
	default:
		f.Outcome = Pending
		for _, o := range []Outcome{Reset, Closed, Established} {
			if has[o] {
				f.Outcome = o
				break
			}
		}
		return
	}
	if missed < numStages {
		f.StalledAt = lvs.Stages[missed]
	}
	f.suspect(g)
}

// suspect takes the suspects of the host that saw the flow come furthest of those that miss the same stage. If none of
// them missed it by itself, the stage alone has to do.
func (f *Flow) suspect(g []Flow) {
	best := -1
	for i := range g {
		v := &g[i]
		if v.StalledAt == f.StalledAt && len(v.Suspects) > 0 && (best < 0 || v.Reached.Index() > g[best].Reached.Index()) {
			best = i
		}
	}
	if best >= 0 {
		f.Vantage, f.Suspects = g[best].Vantage, g[best].Suspects
		return
	}
	f.Vantage = lvs.RoleDirector
	f.Suspects = Suspects(f, 0)
}

// joinStages takes each stage from the host that it belongs to if that saw it, else from the first that did.
func joinStages(g []Flow, f *Flow, top int) []StageSight {
	list := make([]StageSight, numStages)
	for i, stage := range lvs.Stages {
		s := StageSight{Stage: stage, State: lvs.Unobservable}
		for k := range g {
			v := g[k].Stage(stage)
			v.Vantage = g[k].Vantage
			switch {
			case v.State == lvs.Seen && (s.State != lvs.Seen || v.Vantage == stageOwner[i] && s.Vantage != v.Vantage):
				s = v
			case s.State == lvs.Unobservable && v.State != lvs.Seen && v.State != lvs.Unobservable:
				s.State = lvs.Pending
			}
		}
		switch {
		case s.State == lvs.Seen:
		case i <= top:
			s.State = lvs.Implied
		case stage == f.StalledAt:
			s.State = lvs.Missing
		}
		list[i] = s
	}
	return list
}

// joinEvents puts the frames of several hosts into an order in which none is received before it was sent. Each host's
// own order stays. Clocks decide only between frames that do not depend on one another, after their difference was
// taken out by a packet that both hosts saw.
func joinEvents(g []Flow) []Event {
	var queues [][]Event
	for i := range g {
		q := slices.Clone(g[i].Events)
		for k := range q {
			q[k].Vantage = g[i].Vantage
		}
		queues = append(queues, q)
	}
	shift := clockShifts(queues)
	waits := dependencies(queues)
	var all []Event
	next := make([]int, len(queues))
	for {
		best, bestFree := -1, false
		for q := range queues {
			if next[q] == len(queues[q]) {
				continue
			}
			free := true
			for _, on := range waits[q][next[q]] {
				free = free && next[on.queue] > on.event
			}
			earlier := best >= 0 && queues[q][next[q]].Time.Add(shift[q]).Before(queues[best][next[best]].Time.Add(shift[best]))
			if best < 0 || free && !bestFree || free == bestFree && earlier { // captures that contradict themselves must end too
				best, bestFree = q, free
			}
		}
		if best < 0 {
			return all
		}
		all = append(all, queues[best][next[best]])
		next[best]++
	}
}

// segment names one packet of a flow on its way.
type segment struct {
	toVirtual   bool
	kind        EventKind
	flags       TCPFlags
	seq, ack    uint32
	length, nth int
	ipid        uint16
}

type place struct{ queue, event int }

// places finds each segment's frames, host by host, in the order of its way. Segments are in the order of first sight.
func places(queues [][]Event) [][]place {
	at := map[segment]int{}
	var all [][]place
	for q := range queues {
		count := map[segment]int{}
		for i := range queues[q] {
			e := &queues[q][i]
			s := segment{e.ToVirtual, e.Kind, e.Flags, e.Seq, e.Ack, e.Length, 0, e.IPID}
			if !e.Forwarded { // the second look at a packet is the same packet
				count[s]++
			}
			s.nth = count[s]
			n, ok := at[s]
			if !ok {
				n = len(all)
				at[s] = n
				all = append(all, nil)
			}
			all[n] = append(all[n], place{q, i})
		}
	}
	for s, n := range at {
		if !s.toVirtual { // queues are in the order of the way to the VIP
			arrange.By(all[n], func(a, b place) int { return cmp.Compare(b.queue, a.queue) })
		}
	}
	return all
}

// dependencies lists for each frame those of the same packet at the hosts before it on its way.
func dependencies(queues [][]Event) [][][]place {
	waits := make([][][]place, len(queues))
	for q := range queues {
		waits[q] = make([][]place, len(queues[q]))
	}
	for _, list := range places(queues) {
		for i, p := range list {
			for _, before := range list[:i] {
				if before.queue != p.queue {
					waits[p.queue][p.event] = append(waits[p.queue][p.event], before)
				}
			}
		}
	}
	return waits
}

// clockShifts gives what to add to each host's times to have them on the first host's clock, roughly: as if the first
// packet that two hosts share had taken no time between them.
func clockShifts(queues [][]Event) []time.Duration {
	shift := make([]time.Duration, len(queues))
	known := make([]bool, len(queues))
	if len(known) > 0 {
		known[0] = true
	}
	m := places(queues)
	for range queues {
		for _, list := range m {
			for _, a := range list {
				for _, b := range list {
					if known[a.queue] && !known[b.queue] {
						shift[b.queue] = queues[a.queue][a.event].Time.Add(shift[a.queue]).Sub(queues[b.queue][b.event].Time)
						known[b.queue] = true
					}
				}
			}
		}
	}
	return shift
}
