package capture

import (
	"net/netip"

	"lvstui/lvs"
)

// The flow table holds no pointers and only ever grows by whole chunks: the garbage collector has nothing
// to walk and no insert copies the table (a doubling slice was measured to stall for 287 ms).

// sighting is the first frame that showed something.
type sighting struct {
	time     int64
	ifindex  int32
	src, dst MAC
	ttl      uint8
	dir      Direction
	set      bool
	tunnel   bool
}

func (s *sighting) take(p *Packet) {
	if !s.set {
		*s = sighting{p.Time, p.Interface, p.SrcMAC, p.DstMAC, p.TTL, p.Dir, true, p.Tunnel}
	}
}

// class is what a segment proves, if it proves anything about a stage.
type class uint8

const (
	clsSYN    class = iota // client's SYN
	clsSYNACK              // answer to it
	clsACK                 // any later segment of the client
	clsReply               // a segment from the VIP that only exists once the handshake's ACK arrived
	clsRSTc                // RST of the client
	clsRSTv                // RST from the VIP
	numClasses
	clsNone = numClasses
)

// A frame passes a forwarding host twice. Slot 0 holds frames on their way in, slot 1 on their way out.
// In a file without directions slot 0 holds the first copy and slot 1 the forwarded one.
const (
	slotIn  = 0
	slotOut = 1
)

// lane counts the frames of one way (to the VIP or to the client) in one slot.
//
// It is 64 bytes long, one line of the processor's cache: see record.
type lane struct {
	bytes    uint64
	lastTime int64
	frames   uint32
	resent   uint32 // payload or FIN seen before in this lane
	maxEnd   uint32 // highest sequence number behind a segment
	lastLen  int32
	lastSeq  uint32
	lastAck  uint32
	lastIf   int32
	lastID   uint16
	lastTTL  uint8
	lastFlag TCPFlags
	src, dst MAC
	hasEnd   bool
}

// Ways of a packet.
const (
	toVirtual = 0
	toClient  = 1
)

type recordFlags uint32

const (
	hasISN recordFlags = 1 << iota
	hasIRS
	finClient
	finVirtual
	refusedByRST
	ackAdvanced // the client acknowledged more and more: data reaches it
	directionless
	isOver // linked in the list of finished flows
	returned
	refusedByICMP
	answeredElsewhere // a SYN-ACK for this SYN came from another address than the VIP
	readdressed       // the SYN was also seen on its way to another address
	hasAlias          // and from this host: what travels between the client and there is of this flow
	aliasClientIsLo
	fastOpen // the SYN's payload was acknowledged by the SYN-ACK (TCP fast open)
	manyIRS  // SYN-ACKs with different numbers: SYN cookies, made anew for each SYN
)

// rejectRec is the part of an ICMP error that the record keeps.
type rejectRec struct {
	at         sighting
	from       [16]byte
	typ, code  uint8
	aboutReply bool
}

// record is one flow as the tracker remembers it: bare observations. What they mean for the stages is
// worked out only when somebody asks (stages.go), so it cannot depend on the order of asking.
//
// What every packet touches comes first, close together: a flow among many is not in the processor's cache, and each line that is
// fetched costs as much as the rest of the work.
type record struct {
	key        flowKey
	flags      recordFlags
	seen       uint16 // which of sights are set: bit class*2+slot
	clientIsLo bool   // in key
	looped     uint8  // times the same SYN came in again with a smaller TTL
	last       int64
	eventCount int32
	lastPage   int32 // 64 bytes up to here

	isn, irs   uint32
	firstAck   uint32
	eventsLost int32
	events     int32 // first page of the event list
	prev, next int32 // in the list of live or of finished flows, oldest first
	id         uint64
	first      int64
	lastRetry  int64 // last retransmission of a SYN or SYN-ACK, or of data nobody answered
	synLen     int32 // payload of the SYN
	_          [4]byte

	lanes         [2][2]lane // way, slot
	sights        [numClasses][2]sighting
	synN, synAckN [2]uint32
	icmp          rejectRec
	alias         flowKey  // with hasAlias: the client, and the real server's own address
	outer         [16]byte // of a tunnelled SYN: where the tunnel leads
}

// take keeps the first frame of class c in a slot.
func (r *record) take(c class, slot int, p *Packet) {
	if bit := uint16(1) << (int(c)*2 + slot); r.seen&bit == 0 {
		r.seen |= bit
		r.sights[c][slot].take(p)
	}
}

// complaint is what an ICMP error says, of whichever version of IP.
type complaint uint8

const (
	noComplaint  complaint = iota
	noService              // port or protocol unreachable
	prohibited             // administratively
	unreachable            // host, network or route
	timeExceeded           // in transit
	tooBig
)

func complaintOf(six bool, typ, code uint8) complaint {
	if six { // RFC 4443
		switch {
		case typ == 1 && code == 4, typ == 4 && code == 1:
			return noService
		case typ == 1 && (code == 1 || code == 5 || code == 6):
			return prohibited
		case typ == 1:
			return unreachable
		case typ == 2:
			return tooBig
		case typ == 3:
			return timeExceeded
		}
		return noComplaint
	}
	switch { // RFC 792, RFC 1812
	case typ == 3 && (code == 2 || code == 3):
		return noService
	case typ == 3 && (code == 9 || code == 10 || code == 13):
		return prohibited
	case typ == 3 && code == 4:
		return tooBig
	case typ == 3:
		return unreachable
	case typ == 11:
		return timeExceeded
	}
	return noComplaint
}

// complaint is that of the last ICMP error about the flow.
func (r *record) complaint() complaint {
	if !r.icmp.at.set {
		return noComplaint
	}
	return complaintOf(r.virtual().Addr().Is6(), r.icmp.typ, r.icmp.code)
}

func (r *record) has(f recordFlags) bool { return r.flags&f != 0 }

// goesBy is true if k is the record's key or its alias.
func (r *record) goesBy(k *flowKey) bool { return r.key.is(k) || r.has(hasAlias) && r.alias.is(k) }

// fromClient tells which way a packet of r travels whose ends are those of l.
func (r *record) fromClient(l *lookup) bool {
	if r.has(hasAlias) && !r.key.is(&l.key) {
		return l.srcIsLo == r.has(aliasClientIsLo)
	}
	return l.srcIsLo == r.clientIsLo
}

func (r *record) udp() bool { return r.key.proto == protoUDP }

func (r *record) protocol() lvs.Protocol {
	if r.udp() {
		return lvs.UDP
	}
	return lvs.TCP
}

func (r *record) client() netip.AddrPort {
	if r.clientIsLo {
		return netip.AddrPortFrom(address(r.key.lo), uint16(r.key.ports>>16))
	}
	return netip.AddrPortFrom(address(r.key.hi), uint16(r.key.ports))
}

func (r *record) virtual() netip.AddrPort { return r.key.server(r.clientIsLo) }

// realServer is where the SYN went from here with a new destination or in a tunnel, if it did. A tunnel leaves the port as it is.
func (r *record) realServer() netip.AddrPort {
	switch {
	case r.has(hasAlias):
		return r.alias.server(r.has(aliasClientIsLo))
	case r.outer != [16]byte{}:
		return netip.AddrPortFrom(netip.AddrFrom16(r.outer).Unmap(), r.virtual().Port())
	}
	return netip.AddrPort{}
}

// slab hands out T by number, in chunks that never move, up to a limit.
type slab[T any] struct {
	chunks []*[slabChunk]T
	free   []int32
	used   int32
	limit  int32
}

const slabChunk = 256

func (s *slab[T]) at(i int32) *T { return &s.chunks[i/slabChunk][i%slabChunk] }

// take gives a zeroed T and its number, or -1 when the limit is reached.
func (s *slab[T]) take() int32 {
	var i int32
	switch {
	case len(s.free) > 0:
		i = s.free[len(s.free)-1]
		s.free = s.free[:len(s.free)-1]
	case s.used < s.limit:
		i = s.used
		if int(i/slabChunk) == len(s.chunks) {
			s.chunks = append(s.chunks, new([slabChunk]T))
		}
		s.used++
	default:
		return -1
	}
	var zero T
	*s.at(i) = zero
	return i
}

func (s *slab[T]) give(i int32) { s.free = append(s.free, i) }

// list is a doubly linked list of records through their prev and next, oldest first.
type list struct{ head, tail int32 }

func (l *list) push(s *slab[record], i int32) {
	r := s.at(i)
	r.prev, r.next = l.tail, -1
	if l.tail >= 0 {
		s.at(l.tail).next = i
	} else {
		l.head = i
	}
	l.tail = i
}

func (l *list) remove(s *slab[record], i int32) {
	r := s.at(i)
	if r.prev >= 0 {
		s.at(r.prev).next = r.next
	} else {
		l.head = r.next
	}
	if r.next >= 0 {
		s.at(r.next).prev = r.prev
	} else {
		l.tail = r.prev
	}
}
