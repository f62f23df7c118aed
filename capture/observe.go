package capture

// observe writes down what the segment p of flow r shows. way says where it travels to.
func (t *Tracker) observe(r *record, p *Packet, way int) {
	slot := t.slotOf(r, p, way)
	l := &r.lanes[way][slot]
	if l.duplicate(p) || slot == slotOut && p.Dir == Unknown && l.repeated(p) {
		return
	}
	var bits eventBits
	end := p.Seq + uint32(p.PayloadLen)
	if p.Flags.Has(SYN) || p.Flags.Has(FIN) {
		end++
	}
	if in := &r.lanes[way][slotIn]; slot == slotOut && in.frames > 0 && int32(end-in.maxEnd) <= 0 {
		bits |= bitForwarded
	}
	handshakeAgain, dataAgain := t.classify(r, p, way, slot), l.count(p, end)
	if handshakeAgain || dataAgain {
		bits |= bitResent
	}
	l.remember(p)
	if way == toVirtual && bits&bitResent != 0 && !p.Flags.Has(SYN) && !r.replied() {
		r.lastRetry = max(r.lastRetry, p.Time)
	}
	t.appendEvent(r, p, way, bits)
}

// classify keeps the first sighting of everything that proves a stage, and tells whether p is a resent
// SYN or SYN-ACK.
func (t *Tracker) classify(r *record, p *Packet, way, slot int) (resent bool) {
	switch {
	case p.Flags.Has(SYN) && way == toVirtual && !p.Flags.Has(ACK):
		r.flags |= hasISN
		r.isn, r.synLen = p.Seq, p.PayloadLen
		if p.Tunnel {
			r.outer = p.OuterDst.As16()
		}
		if r.comesRound(p, slot) {
			r.looped = min(r.looped+1, 255-1)
			return false
		}
		r.take(clsSYN, slot, p)
		return r.again(&r.synN[slot], p)
	case p.Flags.Has(SYN) && way == toClient:
		if r.has(hasISN) && !r.acknowledgesSYN(p) {
			return false // answers another SYN, or is one itself: both ends open at once
		}
		if !r.has(hasISN) {
			r.isn = p.Ack - 1
		}
		if r.saw(clsSYNACK) && r.irs != p.Seq {
			r.flags |= manyIRS
		}
		r.flags |= hasISN
		r.irs = p.Seq
		if r.synLen > 0 && !r.has(fastOpen) {
			r.untake()
		}
		r.take(clsSYNACK, slot, p)
		return r.again(&r.synAckN[slot], p)
	case p.Flags.Has(RST) && way == toVirtual:
		r.take(clsRSTc, slot, p)
	case p.Flags.Has(RST):
		if !r.answered() {
			r.flags |= refusedByRST
		}
		r.take(clsRSTv, slot, p)
	case way == toVirtual && p.Flags.Has(ACK):
		r.noteAck(p)
		if r.synLen > 0 && p.Seq == r.isn+1 && !r.saw(clsACK) {
			r.untake()
		}
		r.take(clsACK, slot, p)
		if p.Flags.Has(FIN) {
			r.flags |= finClient
		}
	case way == toClient:
		if p.Flags.Has(FIN) {
			r.flags |= finVirtual
		}
		// An ACK of nothing but the SYN can be sent before the handshake is complete (a challenge, a
		// window update); payload, FIN or an ACK of data cannot.
		// With fast open the server answers the SYN's own payload at once.
		if !r.has(fastOpen) && (p.PayloadLen > 0 || p.Flags.Has(FIN)) || !r.has(hasISN) || int32(p.Ack-r.isn-1-uint32(r.taken())) > 0 {
			r.take(clsReply, slot, p)
		}
	}
	return false
}

// acknowledgesSYN is true of the answer to this flow's SYN. With TCP fast open (RFC 7413) it acknowledges what came in the SYN as well.
func (r *record) acknowledgesSYN(p *Packet) bool {
	if !p.Flags.Has(ACK) {
		return false
	}
	if n := p.Ack - r.isn - 1; n != 0 {
		if r.synLen <= 0 || n > uint32(r.synLen) {
			return false
		}
		r.flags |= fastOpen
	}
	return true
}

// untake forgets the payload of a SYN of which the server did not take it: it will be sent again, and that is no retransmission.
func (r *record) untake() {
	for slot := range r.lanes[toVirtual] {
		if l := &r.lanes[toVirtual][slot]; l.hasEnd && l.maxEnd == r.isn+1+uint32(r.synLen) {
			l.maxEnd = r.isn + 1
			l.bytes -= min(l.bytes, uint64(r.synLen))
		}
	}
}

// taken is how much payload the server took with the SYN.
func (r *record) taken() int32 {
	if r.has(fastOpen) {
		return r.synLen
	}
	return 0
}

// again counts a SYN or SYN-ACK and is true from the second on.
func (r *record) again(n *uint32, p *Packet) bool {
	*n++
	if *n > 1 {
		r.lastRetry = max(r.lastRetry, p.Time)
	}
	return *n > 1
}

// comesRound is true if p is a SYN that this host has already had, back after a trip through a router:
// the same frame with fewer hops left, too soon to be a retransmission.
func (r *record) comesRound(p *Packet, slot int) bool {
	l := &r.lanes[toVirtual][slot]
	return l.frames > 0 && l.lastFlag.Has(SYN) && l.lastSeq == p.Seq && p.TTL < l.lastTTL && p.TTL > 0 &&
		p.Time-l.lastTime < loopWindow
}

// noteAck watches the client's acknowledgements: when they rise, the real server's data reaches the
// client. On a director, which never sees that data, it is the only proof.
func (r *record) noteAck(p *Packet) {
	switch {
	case r.irs != 0 && !r.has(manyIRS) && int32(p.Ack-r.irs-1) > 0:
		r.flags |= ackAdvanced
	case r.firstAck == 0:
		r.firstAck = p.Ack
	case int32(p.Ack-r.firstAck) > 0:
		r.flags |= ackAdvanced
	}
}

// answered is true once anything shows that the SYN was answered.
func (r *record) answered() bool {
	return r.saw(clsSYNACK) || r.saw(clsACK) || r.replied()
}

func (r *record) replied() bool { return r.saw(clsReply) || r.has(ackAdvanced) }

// midStream is true if the capture began after the client's SYN. A SYN-ACK alone may be the last of many
// retransmissions of a connection that was there before: what it implies is not counted.
func (r *record) midStream() bool { return !r.saw(clsSYN) }

func (r *record) saw(c class) bool { return r.seen>>(2*c)&3 != 0 }

// halfView is true while nothing of the VIP's side was seen: what a director sees with gate.
func (r *record) halfView() bool {
	return r.lanes[toClient][slotIn].frames == 0 && r.lanes[toClient][slotOut].frames == 0
}

// finished is true if the connection is over. With half a view the client's FIN has to do: the other
// FIN passes elsewhere, and IPVS itself goes by the client's.
func (r *record) finished() bool {
	return r.saw(clsRSTc) || r.saw(clsRSTv) || r.has(finClient) && (r.has(finVirtual) || r.halfView())
}

// slotOf finds out whether p is on its way in or out.
func (t *Tracker) slotOf(r *record, p *Packet, way int) int {
	switch p.Dir {
	case In:
		return slotIn
	case Out:
		return slotOut
	}
	if p.HasMAC && len(t.macs) > 0 {
		_, src := t.macs[p.SrcMAC]
		_, dst := t.macs[p.DstMAC]
		if src != dst {
			if src {
				p.Dir = Out
				return slotOut
			}
			p.Dir = In
			return slotIn
		}
	}
	r.flags |= directionless
	first, second := &r.lanes[way][slotIn], &r.lanes[way][slotOut]
	switch {
	case first.frames == 0:
		return slotIn
	case second.frames > 0 && p.HasMAC && first.src != p.SrcMAC:
		if second.src == p.SrcMAC && second.dst == p.DstMAC {
			return slotOut
		}
	}
	// A host that forwards does so from the first packet on. Later two like SYN-ACKs in a row may be the timer's and one that a resent SYN asked for.
	if first.copied(p) || first.repeated(p) && (p.Flags.Has(SYN) && first.frames == 1 || second.frames > 0) {
		return slotOut
	}
	return slotIn
}

// repeated is true if p is the segment last seen in l and nothing but time can tell whether it is the same packet: text without -e and -v.
// No timer of TCP resends that fast.
func (l *lane) repeated(p *Packet) bool {
	if p.HasMAC || p.HasIPID || p.TTL > 0 || l.src != (MAC{}) || l.frames == 0 || !l.same(p) {
		return false
	}
	if p.Flags.Has(SYN) {
		return p.Time-l.lastTime < forwardWindow
	}
	return p.Time-l.lastTime < dupWindowIf
}

// same is true of the segment last seen in l.
func (l *lane) same(p *Packet) bool {
	return l.lastSeq == p.Seq && l.lastAck == p.Ack && l.lastFlag == p.Flags && l.lastLen == p.PayloadLen
}

// copied is true if p is the packet last seen in l, forwarded: the same segment from another MAC or with
// one hop less, at once.
func (l *lane) copied(p *Packet) bool {
	if !l.same(p) || p.Time-l.lastTime > forwardWindow || p.HasIPID && l.lastID != p.IPID {
		return false
	}
	return p.HasMAC && p.SrcMAC != l.src && p.DstMAC != l.dst || p.TTL > 0 && p.TTL+1 == l.lastTTL
}

// duplicate is true if p is the very frame last seen in l, shown twice: on a device and on the one
// stacked upon it, or by a mirror. Text without -v has no ip.id to go by, but MACs with -e or interfaces from -i any.
func (l *lane) duplicate(p *Packet) bool {
	if l.frames == 0 || !l.same(p) || l.lastTTL != p.TTL || l.lastID != p.IPID {
		return false
	}
	switch {
	case p.HasIPID:
	case p.HasMAC:
		if l.src != p.SrcMAC || l.dst != p.DstMAC {
			return false
		}
	case l.lastIf == p.Interface && l.src == (MAC{}): // with MACs before and none now it is another device too
		return false
	}
	gap := p.Time - l.lastTime
	if gap < 0 {
		gap = -gap
	}
	return gap < dupWindow || gap < dupWindowIf && l.lastIf != p.Interface
}

// count adds p to the lane and tells whether its payload or FIN was there before.
func (l *lane) count(p *Packet, end uint32) (resent bool) {
	l.frames++
	if l.frames == 1 {
		l.src, l.dst = p.SrcMAC, p.DstMAC
	}
	if !l.hasEnd {
		l.hasEnd, l.maxEnd = true, end
		l.bytes = uint64(p.PayloadLen)
		return false
	}
	fresh := int32(end - l.maxEnd)
	if fresh > 0 {
		l.maxEnd = end
		l.bytes += uint64(min(fresh, p.PayloadLen)) // behind a gap in the capture count what is there
		return false
	}
	if p.PayloadLen == 0 && !p.Flags.Has(FIN) || p.Flags.Has(SYN) {
		return false
	}
	l.resent++
	return true
}

func (l *lane) remember(p *Packet) {
	l.lastSeq, l.lastAck, l.lastLen, l.lastFlag = p.Seq, p.Ack, p.PayloadLen, p.Flags
	l.lastTime, l.lastIf, l.lastID, l.lastTTL = p.Time, p.Interface, p.IPID, p.TTL
}
