package capture

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"net/netip"
)

// flowKey names a connection whichever way a packet travels: lo is the smaller end. Addresses are two words each, in the order of
// their bytes, so that a key is compared and hashed by words.
type flowKey struct {
	lo, hi [2]uint64
	ports  uint32 // of lo, then of hi
	proto  uint32
}

// is compares word by word; left to the compiler it is a call.
func (k *flowKey) is(o *flowKey) bool {
	return k.lo[1] == o.lo[1] && k.hi[1] == o.hi[1] && k.ports == o.ports && k.lo[0] == o.lo[0] && k.hi[0] == o.hi[0] && k.proto == o.proto
}

// server is the end that is not the client.
func (k *flowKey) server(clientIsLo bool) netip.AddrPort {
	if clientIsLo {
		return netip.AddrPortFrom(address(k.hi), uint16(k.ports))
	}
	return netip.AddrPortFrom(address(k.lo), uint16(k.ports>>16))
}

func words(a netip.Addr) [2]uint64 {
	b := a.As16()
	return [2]uint64{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func address(w [2]uint64) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], w[0])
	binary.BigEndian.PutUint64(b[8:], w[1])
	return netip.AddrFrom16(b).Unmap()
}

// keyOf gives the key, and whether the packet's source is its lo end.
func keyOf(proto uint8, src, dst netip.Addr, sport, dport uint16) (k flowKey, srcIsLo bool) {
	a, b := words(src), words(dst)
	if a[0] < b[0] || a[0] == b[0] && (a[1] < b[1] || a[1] == b[1] && sport <= dport) {
		return flowKey{a, b, uint32(sport)<<16 | uint32(dport), uint32(proto)}, true
	}
	return flowKey{b, a, uint32(dport)<<16 | uint32(sport), uint32(proto)}, false
}

// flowIndex finds a record by its key: an open-addressed table of hashes and numbers, eight bytes a flow, so that a lookup touches one
// line of it and then the record. It does not grow: there are four places for each flow, and a flow has two
// keys at most.
type flowIndex struct {
	places []indexPlace
	mask   uint32
	seed   [3]uint64 // random, so that nobody can send flows that collide
}

// indexPlace is free when rec is 0; else it is of record rec-1.
type indexPlace struct{ hash, rec uint32 }

func newFlowIndex(flows int) flowIndex {
	n := uint32(1) << bits.Len(uint(flows))
	for int(n) < 4*flows {
		n *= 2
	}
	return flowIndex{places: make([]indexPlace, n), mask: n - 1, seed: [3]uint64{rand.Uint64() | 1, rand.Uint64() | 1, rand.Uint64() | 1}}
}

func (x *flowIndex) hash(k *flowKey) uint32 {
	h1, l1 := bits.Mul64(k.lo[0]^x.seed[0], k.lo[1]^x.seed[1])
	h2, l2 := bits.Mul64(k.hi[0]^x.seed[1], k.hi[1]^x.seed[2])
	h, l := bits.Mul64(h1^l1^uint64(k.ports)<<8^uint64(k.proto), h2^l2^x.seed[2])
	return uint32(h ^ l ^ h>>32 ^ l>>32)
}

// lookup is what finds the flow of a packet: its key, the key's hash, and whether the packet's source is its lo end.
type lookup struct {
	key     flowKey
	hash    uint32
	srcIsLo bool
}

func (x *flowIndex) lookup(proto uint8, src, dst netip.Addr, sport, dport uint16) (l lookup) {
	l.key, l.srcIsLo = keyOf(proto, src, dst, sport, dport)
	l.hash = x.hash(&l.key)
	return l
}

// again is the lookup for a key that a record holds.
func (x *flowIndex) again(k *flowKey) *lookup { return &lookup{key: *k, hash: x.hash(k)} }

// find gives the number of the key's record, or -1.
func (x *flowIndex) find(l *lookup, recs *slab[record]) int32 {
	for at := l.hash & x.mask; ; at = (at + 1) & x.mask {
		p := x.places[at]
		if p.rec == 0 {
			return -1
		}
		if p.hash == l.hash && recs.at(int32(p.rec-1)).goesBy(&l.key) {
			return int32(p.rec - 1)
		}
	}
}

// likely is find without a look at the record: its hash alone must do.
func (x *flowIndex) likely(hash uint32) int32 {
	at := hash & x.mask
	for x.places[at].rec != 0 && x.places[at].hash != hash {
		at = (at + 1) & x.mask
	}
	return int32(x.places[at].rec) - 1
}

// set makes i the key's record, in the place of an earlier one.
func (x *flowIndex) set(l *lookup, i int32, recs *slab[record]) {
	at := l.hash & x.mask
	for ; x.places[at].rec != 0; at = (at + 1) & x.mask {
		if p := x.places[at]; p.hash == l.hash && recs.at(int32(p.rec-1)).goesBy(&l.key) {
			break
		}
	}
	x.places[at] = indexPlace{l.hash, uint32(i + 1)}
}

// remove takes the key out if i is its record, and closes the gap, so that nothing behind it is lost.
func (x *flowIndex) remove(k *flowKey, i int32) {
	h := x.hash(k)
	at := h & x.mask
	for ; x.places[at].rec != uint32(i+1); at = (at + 1) & x.mask {
		if x.places[at].rec == 0 {
			return
		}
	}
	for next := (at + 1) & x.mask; x.places[next].rec != 0; next = (next + 1) & x.mask {
		home := x.places[next].hash & x.mask
		if (next-home)&x.mask >= (next-at)&x.mask { // its way from home leads over the gap
			x.places[at] = x.places[next]
			at = next
		}
	}
	x.places[at] = indexPlace{}
}
