package file

import (
	"net/netip"

	"lvstui/capture"
)

// sequences undoes tcpdump's relative sequence numbers. tcpdump prints the numbers of a connection's first
// packet, and of every SYN, as they are, and later ones relative to those; with -S all as they are. A
// Tracker needs them as they are: they name the connection on every host.
type sequences struct {
	bases map[connection]*seqBase
	mode  seqMode
}

type connection struct{ lo, hi netip.AddrPort }

// side is one end of a connection: what tcpdump subtracts from its numbers, and its next number.
type side struct {
	base, next uint32
	known      bool // base came from a printed number
}

type seqBase struct{ lo, hi side }

type seqMode uint8

const (
	undecided seqMode = iota
	relative
	asPrinted // -S
)

// maxConnections bounds the memory; beyond it all bases are forgotten, which costs only what is in flight.
const maxConnections = 1 << 16

// farApart tells absolute from relative numbers: nothing in flight is as far from the base.
const farApart = 1 << 30

func newSequences() sequences { return sequences{bases: map[connection]*seqBase{}} }

// restore makes p's sequence and acknowledgement numbers absolute. A bare ACK is printed without its
// sequence number, which then is that of the next byte: the latest known.
func (s *sequences) restore(p *capture.Packet, hasSeq bool) {
	src, dst := netip.AddrPortFrom(p.Src, p.SrcPort), netip.AddrPortFrom(p.Dst, p.DstPort)
	key, srcIsLo := connection{src, dst}, true
	if dst.Compare(src) < 0 {
		key, srcIsLo = connection{dst, src}, false
	}
	b := s.bases[key]
	if b == nil || p.Flags.Has(capture.SYN) {
		s.begin(key, srcIsLo, p)
		return
	}
	mine, theirs := b.ends(srcIsLo)
	if hasSeq {
		p.Seq = s.absolute(p.Seq, mine)
		mine.next = end(p)
	} else {
		p.Seq = mine.next
	}
	if p.Flags.Has(capture.ACK) {
		p.Ack = s.absolute(p.Ack, theirs)
	}
}

func (b *seqBase) ends(srcIsLo bool) (mine, theirs *side) {
	if srcIsLo {
		return &b.lo, &b.hi
	}
	return &b.hi, &b.lo
}

// begin notes the numbers of a connection's first packet or SYN. Text that was cut out of the middle
// begins with relative numbers, which are small: they then stay as they are.
func (s *sequences) begin(key connection, srcIsLo bool, p *capture.Packet) {
	b := s.bases[key]
	if b == nil {
		if len(s.bases) >= maxConnections {
			clear(s.bases)
		}
		b = new(seqBase)
		s.bases[key] = b
	}
	const small = 1 << 16
	if !p.Flags.Has(capture.SYN) && p.Seq < small && p.Ack < small {
		return
	}
	mine, theirs := b.ends(srcIsLo)
	*mine = side{base: p.Seq, next: end(p), known: true}
	theirs.base = p.Ack - 1 // tcpdump does so even if there is no ACK
	if theirs.known = p.Flags.Has(capture.ACK); theirs.known && theirs.next == 0 {
		theirs.next = p.Ack
	}
}

func end(p *capture.Packet) uint32 {
	n := p.Seq + uint32(p.PayloadLen)
	if p.Flags.Has(capture.SYN) || p.Flags.Has(capture.FIN) {
		n++
	}
	return n
}

// absolute gives the number that tcpdump printed as n. Whether a file has relative numbers shows with the
// first number that cannot be both.
func (s *sequences) absolute(n uint32, of *side) uint32 {
	if s.mode == undecided && of.known {
		near, small := n-of.base < farApart, n < farApart
		switch {
		case near && !small:
			s.mode = asPrinted
		case small && !near:
			s.mode = relative
		}
	}
	if s.mode == asPrinted {
		return n
	}
	return of.base + n
}
