package capture

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// With direct routing the VIP stays in the packet all the way and answers by itself. Where a director rewrites the
// destination (masq) the real server gets the same SYN under its own address, and answers from there. The client's
// initial sequence number gives away that the two belong together. The host that rewrites sees both, and all it sees is one flow:
// the record has the second pair of ends as its alias.
//
// Tracker.opened finds a flow by its client's SYN alone. Every SYN of a flood passes here, so it is a plain table
// that forgets on collision: what it gives must be checked, and what it lost is only a clue less.

func newOpenings(flows int) []int32 {
	table := make([]int32, 1<<bits.Len(uint(flows)))
	for i := range table {
		table[i] = -1
	}
	return table
}

// opening is the place in the table for a SYN.
func (t *Tracker) opening(client netip.Addr, port uint16, isn uint32) *int32 {
	a := client.As16()
	h := binary.LittleEndian.Uint64(a[8:]) ^ uint64(isn)<<16 ^ uint64(port)
	h ^= binary.LittleEndian.Uint64(a[:8]) * 0x9e3779b97f4a7c15
	h = (h ^ h>>32) * 0x9e3779b97f4a7c15
	return &t.opened[h>>32&uint64(len(t.opened)-1)]
}

// openedBy gives the flow that the SYN began, if it is remembered, else -1.
func (t *Tracker) openedBy(client netip.Addr, port uint16, isn uint32) int32 {
	i := *t.opening(client, port, isn)
	if i < 0 {
		return -1
	}
	if r := t.recs.at(i); !r.has(hasISN) || r.isn != isn || r.client() != netip.AddrPortFrom(client.Unmap(), port) {
		return -1
	}
	return i
}

// relate notes what a SYN or SYN-ACK between other ends tells about a flow that is followed. It gives that flow's record if p is a
// packet of it, rewritten, and -1 otherwise.
func (t *Tracker) relate(p *Packet, ends *lookup) int32 {
	switch {
	case !p.Flags.Has(SYN):
	case p.Flags.Has(ACK):
		i := t.openedBy(p.Dst, p.DstPort, p.Ack-1)
		if i < 0 {
			return -1
		}
		if r := t.recs.at(i); t.index.find(t.index.again(&r.key), &t.recs) == i && r.virtual() != netip.AddrPortFrom(p.Src.Unmap(), p.SrcPort) {
			t.noteAnswer(i, p)
		}
	default:
		if i := t.openedBy(p.Src, p.SrcPort, p.Seq); i >= 0 && t.recs.at(i).virtual().Addr() != p.Dst.Unmap() {
			r := t.recs.at(i)
			r.flags |= readdressed
			if p.Dir == In || r.has(hasAlias) || p.Time-r.first > int64(t.cfg.StallAfter) {
				return -1
			}
			r.alias = ends.key
			r.flags |= hasAlias
			if ends.srcIsLo {
				r.flags |= aliasClientIsLo
			}
			t.index.set(ends, i, &t.recs)
			return i
		}
	}
	return -1
}

// noteAnswer notes who answered in flow i instead of the VIP.
func (t *Tracker) noteAnswer(i int32, p *Packet) {
	t.recs.at(i).flags |= answeredElsewhere
	t.answers[i] = netip.AddrPortFrom(p.Src.Unmap(), p.SrcPort)
}

// remember files record i under the SYN that began it. The first address the SYN was for is the one that counts.
func (t *Tracker) remember(i int32, p *Packet) {
	if p.Kind == TCP && p.Flags.Has(SYN) && !p.Flags.Has(ACK) && t.openedBy(p.Src, p.SrcPort, p.Seq) < 0 {
		*t.opening(p.Src, p.SrcPort, p.Seq) = i
	}
}

// forget makes sure that record i is not taken for what it was.
func (t *Tracker) forget(i int32) {
	if t.recs.at(i).has(answeredElsewhere) {
		delete(t.answers, i)
	}
	t.recs.at(i).flags = 0
}
