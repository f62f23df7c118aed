package capture

import (
	"net/netip"
	"slices"
	"time"

	"lvstui/lvs"
)

// Config says what a Tracker follows and what is known about the capturing host. The zero value works:
// it follows every TCP connection and infers the rest.
type Config struct {
	Vantage     lvs.Vantage  // what this host is; "" infers it for each flow
	RealServers []MAC        // MACs of destinations, if known: who hands a SYN to one of them is their director
	NoServices  bool         // the host has no virtual service: where Vantage is "" it is no director
	Virtuals    []netip.Addr // VIPs; none: every address that is asked for a connection
	Ports       []uint16     // of TCP virtual services; none: all

	// UDP are the virtual services over UDP: requests to them and their replies are flows too. Port 0 is any port,
	// an invalid address any address. None: UDP is not followed, since most of it belongs to no service.
	UDP []netip.AddrPort

	LocalAddrs []netip.Addr // addresses of the capturing host, if known
	LocalMACs  []MAC        // its interfaces' MACs: they give files without directions their directions
	Interfaces map[int32]string
	Partial    bool          // not all interfaces of a forwarding host are captured: what is not seen to leave may have left
	MaxFlows   int           // flows remembered; the oldest finished one makes room. 0: 16384
	MaxEvents  int           // frames remembered of each flow. 0: 64, below 0: none
	StallAfter time.Duration // without progress for so long, what is due is missing. 0: 3 s
}

const (
	defaultFlows  = 16384
	maxFlows      = 1 << 20
	defaultEvents = 64
	maxEvents     = 1024
	defaultStall  = 3 * time.Second
	maxVIPs       = 256 // inferred ones
)

// Windows in which two like frames are one packet, in nanoseconds. Linux resends after 200 ms at the
// earliest (TCP_RTO_MIN), apart from tail loss probes, which carry a new ip.id.
const (
	dupWindow     = 1e6   // the same frame delivered twice by one interface (mirror, bridge)
	dupWindowIf   = 5e6   // the same frame on a device and on the device stacked upon it (bond, VLAN, bridge)
	forwardWindow = 100e6 // in and out again, in a capture without directions
	loopWindow    = 500e6 // the same SYN coming round again
	reuseGap      = int64(60 * time.Second)

	firstUserPort = 1024
)

// Tracker follows connections. It is not safe for concurrent use: the reader of packets and the drawer
// of screens share it under a lock of their own. It never reads the clock: time is what packets say and
// what Advance is told.
type Tracker struct {
	cfg     Config
	local   map[netip.Addr]struct{}
	macs    map[MAC]struct{}
	vips    map[netip.Addr]struct{}
	udp     map[netip.AddrPort]struct{}
	names   map[int32]string
	index   flowIndex
	opened  []int32                  // records by the client's SYN: see openings.go
	answers map[int32]netip.AddrPort // who answered for the VIP in flows with answeredElsewhere
	recs    slab[record]
	pages   slab[eventPage]
	live    list // flows that may still move
	over    list // finished ones: the first to be evicted
	now     int64
	nextID  uint64
	arp     arpTable
	stats   TrackerStats
	touched int64 // of no meaning: see AddBatch
}

// TrackerStats are the counts of a Tracker since it began.
type TrackerStats struct {
	Packets uint64 // given to Add
	Ignored uint64 // of them not part of a flow: other hosts, other protocols, fragments, lone RSTs
	Flows   uint64 // begun
	Evicted uint64 // forgotten to make room
}

// NewTracker makes a Tracker. Its table grows as flows come, up to cfg.MaxFlows.
func NewTracker(cfg Config) *Tracker {
	if cfg.MaxFlows <= 0 {
		cfg.MaxFlows = defaultFlows
	}
	cfg.MaxFlows = min(cfg.MaxFlows, maxFlows)
	if cfg.MaxEvents == 0 {
		cfg.MaxEvents = defaultEvents
	}
	cfg.MaxEvents = min(max(cfg.MaxEvents, 0), maxEvents)
	if cfg.StallAfter <= 0 {
		cfg.StallAfter = defaultStall
	}
	t := &Tracker{
		cfg:     cfg,
		local:   make(map[netip.Addr]struct{}, len(cfg.LocalAddrs)),
		macs:    make(map[MAC]struct{}, len(cfg.LocalMACs)),
		vips:    make(map[netip.Addr]struct{}, len(cfg.Virtuals)),
		udp:     make(map[netip.AddrPort]struct{}, len(cfg.UDP)),
		names:   make(map[int32]string, len(cfg.Interfaces)),
		index:   newFlowIndex(cfg.MaxFlows),
		opened:  newOpenings(cfg.MaxFlows),
		answers: make(map[int32]netip.AddrPort),
		live:    list{-1, -1},
		over:    list{-1, -1},
	}
	t.recs.limit = int32(cfg.MaxFlows)
	t.pages.limit = int32(cfg.MaxFlows * ((cfg.MaxEvents + pageEvents - 1) / pageEvents))
	for _, a := range cfg.LocalAddrs {
		t.local[a.Unmap()] = struct{}{}
	}
	for _, m := range cfg.LocalMACs {
		if m != (MAC{}) {
			t.macs[m] = struct{}{}
		}
	}
	for _, a := range cfg.Virtuals {
		t.vips[a.Unmap()] = struct{}{}
	}
	for _, s := range cfg.UDP {
		t.udp[netip.AddrPortFrom(s.Addr().Unmap(), s.Port())] = struct{}{}
	}
	for i, name := range cfg.Interfaces {
		t.names[i] = name
	}
	return t
}

// SetInterface names an interface that turned up later.
func (t *Tracker) SetInterface(index int32, name string) { t.names[index] = name }

// Stats returns the counts since the start.
func (t *Tracker) Stats() TrackerStats { return t.stats }

// Now is the latest time the Tracker has heard of.
func (t *Tracker) Now() time.Time { return time.Unix(0, t.now).UTC() }

// Len is the number of flows remembered.
func (t *Tracker) Len() int { return int(t.recs.used) - len(t.recs.free) }

// Advance tells the time, so that what is due and did not come becomes missing. It never goes back.
func (t *Tracker) Advance(now time.Time) { t.now = max(t.now, now.UnixNano()) }

// Add takes the next packet. It keeps nothing of p.
func (t *Tracker) Add(p *Packet) {
	var ends lookup
	if p.Kind == TCP {
		ends = t.index.lookup(protoTCP, p.Src, p.Dst, p.SrcPort, p.DstPort)
	}
	t.add(p, &ends)
}

// add takes p, whose flow over TCP, if it is of one, ends finds.
func (t *Tracker) add(p *Packet, ends *lookup) {
	t.stats.Packets++
	t.now = max(t.now, p.Time)
	switch {
	case p.Kind == TCP && !p.Fragment:
		t.addTCP(p, ends)
	case p.Kind == UDP && !p.Fragment:
		t.addUDP(p)
	case p.Kind == ICMP && p.Quote.Valid:
		t.addICMP(p)
	case p.Kind == ICMP && p.ARP.Op != 0:
		t.arp.addND(p)
	case p.Kind == ARP:
		t.arp.add(p)
	default:
		t.stats.Ignored++
	}
}

func (t *Tracker) addTCP(p *Packet, ends *lookup) {
	i := t.index.find(ends, &t.recs)
	known := i >= 0
	if known && t.reused(t.recs.at(i), p, t.recs.at(i).fromClient(ends)) {
		known = false
	}
	if !known {
		if i = t.begin(ends, p); i < 0 {
			t.stats.Ignored++
			return
		}
	}
	r := t.recs.at(i)
	way := toClient
	if r.fromClient(ends) {
		way = toVirtual
	}
	r.last = max(r.last, p.Time)
	t.observe(r, p, way)
	if !r.has(isOver) && r.finished() {
		t.live.remove(&t.recs, i)
		t.over.push(&t.recs, i)
		r.flags |= isOver
	}
}

// reused is true if p opens another connection on the ports of r.
func (t *Tracker) reused(r *record, p *Packet, fromClient bool) bool {
	if !p.Flags.Has(SYN) {
		return false
	}
	if p.Flags.Has(ACK) { // the guess of a flow met in mid-stream may have been the wrong way round
		return fromClient && !r.saw(clsSYN)
	}
	switch {
	case !fromClient && r.saw(clsSYN) && !r.answered() && p.Time-r.first < int64(t.cfg.StallAfter):
		return false // both ends open at once (RFC 9293, 3.5): one connection
	case !fromClient:
		return true
	case !r.has(hasISN):
		return p.Time-r.first > forwardWindow // else the ring delivered the SYN after its successors
	case r.isn == p.Seq:
		return r.has(isOver) && p.Time-r.last > reuseGap
	}
	return p.Time > r.first // an older SYN with another number is a straggler of an earlier flow
}

// begin gives the record for the flow that p is the first known packet of, a new one most of the time, or -1 if it is none to follow.
func (t *Tracker) begin(ends *lookup, p *Packet) int32 {
	if p.Flags.Has(RST) { // nothing can be said of a connection from its end alone
		return -1
	}
	if i := t.relate(p, ends); i >= 0 {
		return i
	}
	clientIsLo, ok := t.orient(ends.srcIsLo, p)
	if !ok {
		return -1
	}
	i := t.open(ends, clientIsLo, p)
	if i >= 0 && len(t.cfg.Virtuals) == 0 && len(t.vips) < maxVIPs && p.Flags.Has(SYN) {
		t.vips[t.recs.at(i).virtual().Addr()] = struct{}{}
	}
	return i
}

// open takes a record for a new flow, another's if need be.
func (t *Tracker) open(ends *lookup, clientIsLo bool, p *Packet) int32 {
	i := t.recs.take()
	if i < 0 {
		t.evict()
		if i = t.recs.take(); i < 0 {
			return -1
		}
	}
	t.nextID++
	t.stats.Flows++
	r := t.recs.at(i)
	r.key, r.clientIsLo, r.id = ends.key, clientIsLo, t.nextID
	r.first, r.last = p.Time, p.Time
	r.events, r.lastPage = -1, -1
	t.live.push(&t.recs, i)
	t.index.set(ends, i, &t.recs)
	t.remember(i, p)
	return i
}

// orient finds out which end is the client, and whether the other end is one to follow.
func (t *Tracker) orient(srcIsLo bool, p *Packet) (clientIsLo, ok bool) {
	srcIsClient := t.guessClient(p)
	vip, port, other := p.Dst, p.DstPort, p.SrcPort
	if !srcIsClient {
		vip, port, other = p.Src, p.SrcPort, p.DstPort
	}
	if len(t.cfg.Virtuals) > 0 {
		if _, ok := t.vips[vip.Unmap()]; !ok {
			return false, false
		}
	}
	if len(t.cfg.Ports) > 0 && !slices.Contains(t.cfg.Ports, port) {
		return false, false
	}
	if !p.Flags.Has(SYN) && len(t.cfg.Ports) == 0 && port >= firstUserPort && other < firstUserPort {
		return false, false // met in mid-stream: a connection that the VIP's host opened to somebody else
	}
	return srcIsLo == srcIsClient, true
}

func (t *Tracker) guessClient(p *Packet) (srcIsClient bool) {
	if p.Flags.Has(SYN) {
		return !p.Flags.Has(ACK)
	}
	_, srcVIP := t.vips[p.Src.Unmap()]
	_, dstVIP := t.vips[p.Dst.Unmap()]
	if srcVIP != dstVIP {
		return dstVIP
	}
	srcPort, dstPort := slices.Contains(t.cfg.Ports, p.SrcPort), slices.Contains(t.cfg.Ports, p.DstPort)
	if srcPort != dstPort {
		return dstPort
	}
	return p.DstPort <= p.SrcPort // services live on the lower ports
}

// evict forgets the flow that is least missed: the oldest finished one, else the oldest.
func (t *Tracker) evict() {
	i := t.over.head
	if i >= 0 {
		t.over.remove(&t.recs, i)
	} else if i = t.live.head; i >= 0 {
		t.live.remove(&t.recs, i)
	} else {
		return
	}
	r := t.recs.at(i)
	t.index.remove(&r.key, i)
	if r.has(hasAlias) {
		t.index.remove(&r.alias, i)
	}
	t.forget(i)
	t.freeEvents(r)
	t.recs.give(i)
	t.stats.Evicted++
}

func (t *Tracker) addICMP(p *Packet) {
	q := &p.Quote
	ends := t.index.lookup(q.Proto, q.Src, q.Dst, q.SrcPort, q.DstPort)
	i := t.index.find(&ends, &t.recs)
	if i < 0 {
		t.stats.Ignored++
		return
	}
	r := t.recs.at(i)
	aboutClient := r.fromClient(&ends) // complains about a packet of the client
	if aboutClient && r.has(hasISN) && !r.has(ackAdvanced) && q.Seq != r.isn && !r.answered() {
		t.stats.Ignored++ // about an earlier connection on these ports
		return
	}
	r.last = max(r.last, p.Time)
	r.icmp = rejectRec{from: p.Src.As16(), typ: q.Type, code: q.Code, aboutReply: !aboutClient}
	r.icmp.at.take(p)
	if aboutClient && !r.answered() && fatalICMP(p.Proto, q.Type, q.Code) {
		r.flags |= refusedByICMP
	}
	way := toClient
	if !aboutClient {
		way = toVirtual
	}
	t.appendEvent(r, p, way, 0)
}

// fatalICMP is true for the errors that make connect(2) give up while the SYN is unanswered
// (tcp_v4_err, tcp_v6_err); "fragmentation needed" is not among them.
func fatalICMP(proto, typ, code uint8) bool {
	if proto == protoICMPv6 {
		return typ == 1 || typ == 3
	}
	return typ == 3 && code != 4 || typ == 11
}

// Key names a flow for lookups by its ends.
type Key struct {
	Client, Virtual netip.AddrPort
	Protocol        lvs.Protocol
}
