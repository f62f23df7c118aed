package capture

import (
	"time"

	"lvstui/lvs"
)

// Places of the stages in lvs.Stages.
const (
	iSynSent = iota
	iVIPResolved
	iSynAtDirector
	iSynScheduled
	iSynForwarded
	iSynAtRealServer
	iSynAccepted
	iSynAckSent
	iSynAckAtClient
	iAckAtDirector
	iEstablished
	numStages
)

// judgement is what a record says about the stages.
type judgement struct {
	view
	partial bool // frames that leave may not be captured
	seen    [numStages]*sighting
	top     int  // the furthest stage that is proved
	past    bool // the SYN came from where the SYN-ACK goes: perhaps past the director
	due     int  // the stage to be missing if the flow is stalled or refused; numStages: nothing is due
	watched [numStages]bool
	done    bool // the handshake is complete as far as can be seen from here
	outcome Outcome
}

// judge reads r at the time now. It changes nothing.
func (t *Tracker) judge(r *record, now int64) judgement {
	j := judgement{view: t.view(r), top: -1, due: numStages}
	j.partial = t.cfg.Partial || j.oneLeg
	switch {
	case r.udp():
		j.asDatagrams()
	case j.vantage == lvs.RoleClient:
		j.asClient()
	case j.vantage == lvs.RoleRouter:
		j.asRouter()
	case j.vantage == lvs.RoleRealServer:
		j.asRealServer()
	default:
		j.asDirector()
	}
	if r.has(ackAdvanced) {
		j.prove(iEstablished) // data reached the client, so the handshake was complete
		j.done = true
	}
	j.outcome = j.conclude(now, int64(t.cfg.StallAfter))
	return j
}

// prove notes that everything up to stage i has happened.
func (j *judgement) prove(i int) {
	j.top = max(j.top, i)
	if j.due <= i {
		j.due = numStages
	}
}

// see notes that frame s shows stage i, if it was seen at all.
func (j *judgement) see(i int, s *sighting) {
	j.watched[i] = true
	if s.set {
		j.seen[i] = s
		j.prove(i)
	}
}

// expect names the stage that misses if condition is not met. The first one that misses counts.
func (j *judgement) expect(i int, met bool) {
	j.watched[i] = true
	if !met && i > j.top && j.due == numStages {
		j.due = i
	}
}

// asClient: the SYN goes out; the SYN-ACK comes in; whether the ACK arrived shows only in what follows it.
// That the SYN's frame had somebody's MAC proves nothing about the VIP: it may be the router's.
func (j *judgement) asClient() {
	j.see(iSynSent, j.out(clsSYN))
	j.see(iSynAckAtClient, j.in(clsSYNACK))
	j.see(iEstablished, j.in(clsReply))
	if j.r.saw(clsACK) {
		j.prove(iSynAckAtClient)
	}
	j.done = j.r.saw(clsACK) || j.r.replied()
	j.past = answeredItself(j.out(clsSYN), j.in(clsSYNACK))
	j.expect(iSynAckAtClient, j.top >= iSynAckAtClient)
	j.expect(iEstablished, false)
}

// asDirector: SYN in and out, ACK in and out. Replies pass elsewhere, unless the destination is this host
// (then they go out from here) or the real server's gateway is (then they come in, as they should with masq only).
func (j *judgement) asDirector() {
	j.see(iSynAtDirector, j.in(clsSYN))
	j.see(iSynForwarded, j.out(clsSYN))
	local := j.out(clsSYNACK).set && !j.in(clsSYNACK).set && !j.out(clsSYN).set
	if local || j.in(clsSYNACK).set {
		s := j.in(clsSYNACK)
		if local {
			s = j.out(clsSYNACK)
		}
		j.seen[iSynAckSent] = s
		j.prove(iSynAckSent)
	}
	j.see(iAckAtDirector, j.in(clsACK))
	if local {
		j.see(iEstablished, j.in(clsACK))
	} else {
		j.see(iEstablished, j.out(clsACK))
	}
	j.done = j.seen[iEstablished] != nil || j.partial && j.in(clsACK).set
	if j.sentBack() {
		j.expect(iSynScheduled, false)
	}
	if !j.partial || j.r.has(refusedByICMP) {
		j.expect(iSynForwarded, j.out(clsSYN).set)
	}
	if j.r.has(hasAlias) { // masq: all answers pass here too
		j.expect(iSynAckSent, j.in(clsSYNACK).set)
	}
	j.expect(iAckAtDirector, j.in(clsACK).set)
	if !j.partial {
		j.expect(iEstablished, j.out(clsACK).set)
	}
}

// sentBack is true if the director itself turned the SYN away: a RST of its own stack or an ICMP error that
// says no destination or not allowed. Host unreachable comes after scheduling: the real server is mute.
func (j *judgement) sentBack() bool {
	if j.out(clsRSTv).set && !j.in(clsRSTv).set {
		return true
	}
	c := j.r.complaint()
	hostUnreachable := !j.r.virtual().Addr().Is6() && j.r.icmp.code == 1 || j.r.virtual().Addr().Is6() && j.r.icmp.code == 3
	return j.r.has(refusedByICMP) && j.r.icmp.at.dir != In && (c == noService || c == prohibited || c == unreachable && !hostUnreachable)
}

// asRouter: every packet in and out. The SYN-ACK's arrival is where its leaving the real server can be seen;
// its way out is the last that can be seen of its way to the client.
func (j *judgement) asRouter() {
	j.see(iSynSent, j.in(clsSYN))
	j.see(iVIPResolved, j.out(clsSYN))
	j.see(iSynAckSent, j.in(clsSYNACK))
	j.see(iSynAckAtClient, j.out(clsSYNACK))
	j.past = answeredItself(j.out(clsSYN), j.in(clsSYNACK))
	ackIn, ackOut := j.in(clsACK), j.out(clsACK)
	reply := j.in(clsReply)
	if !reply.set {
		reply = j.out(clsReply)
	}
	j.see(iEstablished, reply)
	if ackIn.set || ackOut.set {
		j.prove(iSynAckAtClient)
	}
	j.done = ackOut.set || reply.set
	if j.partial {
		j.done = j.done || ackIn.set
		return // every packet may pass by a leg that is not captured
	}
	j.expect(iVIPResolved, j.out(clsSYN).set)
	j.expect(iSynAckSent, j.in(clsSYNACK).set)
	j.expect(iSynAckAtClient, j.out(clsSYNACK).set)
	j.expect(iAckAtDirector, ackOut.set)
	j.expect(iEstablished, false)
}

// asRealServer: the SYN comes in, the SYN-ACK goes out; if the ACK does not come, the SYN-ACK did not arrive.
func (j *judgement) asRealServer() {
	j.see(iSynAtRealServer, j.in(clsSYN))
	j.see(iSynAckSent, j.out(clsSYNACK))
	j.see(iEstablished, j.in(clsACK))
	j.past = passedBy(j.in(clsSYN), j.out(clsSYNACK))
	j.done = j.in(clsACK).set
	if j.out(clsRSTv).set || j.r.has(refusedByICMP) {
		j.expect(iSynAccepted, false)
	}
	j.expect(iSynAckSent, j.out(clsSYNACK).set)
	j.expect(iSynAckAtClient, j.in(clsACK).set)
}

// passedBy is true if a real server got the SYN from the very MAC it sends the SYN-ACK to. With direct routing those are the
// director's and the router's: where they are one, nothing proves that the director had a part in it.
func passedBy(syn, synAck *sighting) bool {
	return syn.set && synAck.set && syn.src != (MAC{}) && syn.src == synAck.dst
}

// answeredItself is true if the SYN-ACK came from the MAC that the SYN was sent to: a real server may have been reached past the director, or
// it is a router's. Where another answered, whoever got the SYN handed it on, as a director does. A capture without MACs speaks against
// nobody.
func answeredItself(syn, synAck *sighting) bool {
	return syn.set && synAck.set && syn.dst != (MAC{}) && syn.dst == synAck.src
}

// conclude says how the connection went, at the time now.
func (j *judgement) conclude(now, stallAfter int64) Outcome {
	r := j.r
	switch {
	case r.has(refusedByRST):
		return Refused
	case r.has(refusedByICMP) && !r.answered():
		return Refused
	case r.udp():
		return j.concludeDatagrams(now, stallAfter)
	case r.has(finClient) && (r.has(finVirtual) || r.halfView() && !j.swallowsACK()):
		return Closed
	case r.saw(clsRSTc) || r.saw(clsRSTv):
		return Reset
	case j.done && !j.unheard():
		return Established
	case r.lastRetry > j.progress() || now-j.progress() >= stallAfter:
		return Stalled // who resends has waited in vain; else we have
	}
	return Pending
}

// swallowsACK is true if this director sent the SYN on and kept the client's ACK to itself: a client that takes itself for connected
// gives up after a while, and that is no end of a connection.
func (j *judgement) swallowsACK() bool {
	return j.vantage == lvs.RoleDirector && !j.partial && j.out(clsSYN).set && j.in(clsACK).set && !j.out(clsACK).set
}

// unheard is true if the client completed the handshake and nothing shows that anybody noticed: its data
// or the server's SYN-ACK is resent and the VIP has sent nothing since.
func (j *judgement) unheard() bool {
	if j.vantage != lvs.RoleClient && j.vantage != lvs.RoleRouter || j.r.replied() {
		return false
	}
	return j.r.lastRetry > j.progress()
}

// progress is the time of the last new thing in the handshake.
func (j *judgement) progress() int64 {
	at := int64(-1 << 62)
	for c := clsSYN; c <= clsReply; c++ {
		for slot := range j.r.sights[c] {
			if s := &j.r.sights[c][slot]; s.set {
				at = max(at, s.time)
			}
		}
	}
	return max(at, j.r.first)
}

// state of stage i.
func (j *judgement) state(i int) lvs.StageState {
	failed := j.outcome == Stalled || j.outcome == Refused
	switch {
	case j.seen[i] != nil:
		return lvs.Seen
	case j.past && i <= j.top && (i >= iVIPResolved && i <= iSynForwarded || i == iAckAtDirector):
		return lvs.Unobservable
	case i <= j.top:
		return lvs.Implied
	case failed && i == j.due:
		return lvs.Missing
	case j.watched[i]:
		return lvs.Pending
	}
	return lvs.Unobservable
}

// stages writes the judgement down for people, with names for interfaces.
func (t *Tracker) stages(j *judgement) []StageSight {
	list := make([]StageSight, numStages)
	for i := range list {
		list[i] = StageSight{Stage: lvs.Stages[i], State: j.state(i)}
		if s := j.seen[i]; s != nil {
			list[i].Time = time.Unix(0, s.time).UTC()
			list[i].Interface = t.names[s.ifindex]
			list[i].Direction = t.sightDirection(j, i, s)
			list[i].SrcMAC, list[i].DstMAC = s.src, s.dst
		}
	}
	return list
}

// sightDirection is the direction of the frame that proved stage i, inferred where the file has none.
func (t *Tracker) sightDirection(j *judgement, i int, s *sighting) Direction {
	if s.dir != Unknown {
		return s.dir
	}
	forwarded := false
	for c := range j.r.sights {
		forwarded = forwarded || s == &j.r.sights[c][slotOut]
	}
	return j.direction(i != iSynAckSent && i != iSynAckAtClient && (i != iEstablished || s == j.in(clsACK) || s == j.out(clsACK)), forwarded)
}
