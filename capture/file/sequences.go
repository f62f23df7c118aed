package file

import (
	"net/netip"

	"lvstui/capture"
)

// sequences undoes tcpdump's relative sequence numbers. tcpdump prints as they are the numbers of
// packets without ACK, of a connection's first packet with one, and of every SYN-ACK; later ones relative to
// those; with -S all as they are. A Tracker needs them as they are: they name the connection on every host.
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

type seqBase struct {
	lo, hi side
	begun  bool // a packet with an ACK was there: tcpdump has set its bases
}

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
	b, srcIsLo := s.connection(p)
	mine, theirs := &b.hi, &b.lo
	if srcIsLo {
		mine, theirs = theirs, mine
	}
	switch ack := p.Flags.Has(capture.ACK); {
	case !ack: // printed as it is, and the base not set: a SYN, a bare RST
	case !b.begun || p.Flags.Has(capture.SYN):
		if !hasSeq {
			p.Seq = mine.next
		}
		b.begin(p, mine, theirs)
	default:
		if hasSeq {
			p.Seq = s.absolute(p.Seq, mine)
		} else {
			p.Seq = mine.next
		}
		p.Ack = s.absolute(p.Ack, theirs)
	}
	if hasSeq {
		mine.next = end(p)
	}
}

// connection gives what is known of p's connection, and whether its source is the lo end.
func (s *sequences) connection(p *capture.Packet) (*seqBase, bool) {
	src, dst := netip.AddrPortFrom(p.Src, p.SrcPort), netip.AddrPortFrom(p.Dst, p.DstPort)
	key, srcIsLo := connection{src, dst}, true
	if dst.Compare(src) < 0 {
		key, srcIsLo = connection{dst, src}, false
	}
	b := s.bases[key]
	if b == nil {
		if len(s.bases) >= maxConnections {
			clear(s.bases)
		}
		b = new(seqBase)
		s.bases[key] = b
	}
	return b, srcIsLo
}

// begin notes the numbers of the first packet with an ACK. Text that was cut out of the middle begins with
// relative numbers, which are small: they then stay as they are.
func (b *seqBase) begin(p *capture.Packet, mine, theirs *side) {
	const small = 1 << 16
	b.begun = true
	if p.Seq < small && p.Ack < small && !p.Flags.Has(capture.SYN) {
		return
	}
	mine.base, mine.known = p.Seq, true
	theirs.base, theirs.known = p.Ack-1, true
	if theirs.next == 0 {
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
		case small && n-of.base < n: // both are possible, and the nearer one is likely
			return n
		}
	}
	if s.mode == asPrinted {
		return n
	}
	return of.base + n
}
