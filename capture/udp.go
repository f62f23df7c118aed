package capture

import (
	"net/netip"

	"lvstui/lvs"
)

// Over UDP there is no handshake. A flow's first request takes the place of the SYN, the first reply that of the
// SYN-ACK; where a reply is seen the service is established. A director with gate sees no reply: what becomes of a
// request that it forwarded stays open.

// datagramIdle is the silence after which the same ports are another flow. IPVS forgets after 300 s, conntrack after 30.
const datagramIdle = reuseGap

// datagramService tells which end of p is a virtual service over UDP, if one is.
func (t *Tracker) datagramService(p *Packet) (srcIsClient, ok bool) {
	if len(t.udp) == 0 {
		return false, false
	}
	follows := func(a netip.Addr, port uint16) bool {
		if len(t.cfg.Virtuals) > 0 {
			if _, ok := t.vips[a]; !ok {
				return false
			}
		}
		for _, s := range [...]netip.AddrPort{netip.AddrPortFrom(a, port), netip.AddrPortFrom(a, 0), netip.AddrPortFrom(netip.Addr{}, port)} {
			if _, ok := t.udp[s]; ok {
				return true
			}
		}
		return false
	}
	if follows(p.Dst.Unmap(), p.DstPort) {
		return true, true
	}
	return false, follows(p.Src.Unmap(), p.SrcPort)
}

func (t *Tracker) addUDP(p *Packet) {
	ends := t.index.lookup(protoUDP, p.Src, p.Dst, p.SrcPort, p.DstPort)
	i := t.index.find(&ends, &t.recs)
	known := i >= 0
	if known && p.Time-t.recs.at(i).last > datagramIdle {
		known = false
	}
	if !known {
		srcIsClient, ok := t.datagramService(p)
		if ok {
			if i = t.open(&ends, ends.srcIsLo == srcIsClient, p); i >= 0 && srcIsClient {
				*t.request(p.Src, p.SrcPort, p.DstPort) = i
			}
		} else {
			t.relateDatagram(p)
		}
		if !ok || i < 0 {
			t.stats.Ignored++
			return
		}
	}
	r := t.recs.at(i)
	way := toClient
	if ends.srcIsLo == r.clientIsLo {
		way = toVirtual
	}
	r.last = max(r.last, p.Time)
	t.observeDatagram(r, p, way)
}

// request is the place in the table of openings for a client's request to a service's port.
func (t *Tracker) request(client netip.Addr, port, service uint16) *int32 {
	return t.opening(client, port, uint32(service))
}

// relateDatagram notes a datagram that is the answer to a request which is followed, but for its source: a program that is bound to all
// addresses answers from the one that the route gives (net/ipv4/udp.c, udp_sendmsg). A client that asks another address from the same port,
// as ntpd does, may get its answer from there: of such a one nothing is said.
func (t *Tracker) relateDatagram(p *Packet) {
	other := t.request(p.Src, p.SrcPort, p.DstPort)
	if i := *other; p.Dir == In && i >= 0 && t.recs.at(i).protocol() == lvs.UDP && t.recs.at(i).client() == netip.AddrPortFrom(p.Src.Unmap(), p.SrcPort) {
		*other = -1
	}
	i := *t.request(p.Dst, p.DstPort, p.SrcPort)
	if i < 0 {
		return
	}
	r := t.recs.at(i)
	if v := r.virtual(); r.protocol() == lvs.UDP && t.index.find(t.index.again(&r.key), &t.recs) == i && r.client() == netip.AddrPortFrom(p.Dst.Unmap(), p.DstPort) &&
		v.Port() == p.SrcPort && v.Addr() != p.Src.Unmap() && p.Time-r.last <= datagramIdle {
		t.noteAnswer(i, p)
	}
}

// observeDatagram writes p down. Whether a client asks again or asks for something else cannot be told.
func (t *Tracker) observeDatagram(r *record, p *Packet, way int) {
	slot := t.slotOf(r, p, way)
	l := &r.lanes[way][slot]
	if p.IPID != 0 && l.duplicate(p) {
		return
	}
	bits := bitDatagram
	if slot == slotOut && l.frames < r.lanes[way][slotIn].frames {
		bits |= bitForwarded
	}
	l.frames++
	if l.frames == 1 {
		l.src, l.dst = p.SrcMAC, p.DstMAC
	}
	l.bytes += uint64(p.PayloadLen)
	l.remember(p)
	if way == toVirtual {
		r.take(clsSYN, slot, p)
	} else {
		r.take(clsSYNACK, slot, p)
	}
	t.appendEvent(r, p, way, bits)
}

// asDatagrams reads the stages of a flow over UDP.
func (j *judgement) asDatagrams() {
	in, out := j.in(clsSYNACK), j.out(clsSYNACK)
	request, forwarded := j.in(clsSYN), j.out(clsSYN)
	switch j.vantage {
	case lvs.RoleClient:
		j.see(iSynSent, forwarded)
		j.see(iSynAckAtClient, in)
		j.done = in.set
		j.expect(iSynAckAtClient, in.set)
	case lvs.RoleRouter:
		j.see(iSynSent, request)
		j.see(iVIPResolved, forwarded)
		j.see(iSynAckSent, in)
		j.see(iSynAckAtClient, out)
		j.done = out.set || in.set && j.partial
		if !j.partial {
			j.expect(iVIPResolved, forwarded.set)
			j.expect(iSynAckSent, in.set)
			j.expect(iSynAckAtClient, out.set)
		}
	case lvs.RoleRealServer:
		j.see(iSynAtRealServer, request)
		j.see(iSynAckSent, out)
		j.done = out.set
		if j.r.has(refusedByICMP) {
			j.expect(iSynAccepted, false)
		}
		j.expect(iSynAckSent, out.set)
	default:
		j.see(iSynAtDirector, request)
		j.see(iSynForwarded, forwarded)
		if in.set {
			j.see(iSynAckSent, in)
		} else if out.set && !forwarded.set {
			j.see(iSynAckSent, out) // served by the director itself
		}
		j.done = in.set || out.set
		if j.sentBack() {
			j.expect(iSynScheduled, false)
		}
		if !j.partial || j.r.has(refusedByICMP) {
			j.expect(iSynForwarded, forwarded.set)
		}
	}
}

// concludeDatagrams says how it went. Without a reply only what is due can be missed.
func (j *judgement) concludeDatagrams(now, stallAfter int64) Outcome {
	switch {
	case j.done:
		return Established
	case j.due < numStages && now-j.progress() >= stallAfter:
		return Stalled
	}
	return Pending
}
