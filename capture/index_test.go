package capture

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

func (x *flowIndex) used() int {
	n := 0
	for _, p := range x.places {
		if p.rec != 0 {
			n++
		}
	}
	return n
}

// The index does what a map would, whatever comes and goes: full to its limit, keys overwritten, records superseded before they go, and some with two keys.
func TestIndexIsAMap(t *testing.T) {
	const flows = 64
	random := rand.New(rand.NewPCG(1, 2))
	recs := slab[record]{limit: flows}
	x := newFlowIndex(flows)
	want := map[flowKey]int32{}
	var live []int32
	for step := range 200_000 {
		key, _ := keyOf(protoTCP, netip.AddrFrom4([4]byte{10, 0, 0, byte(random.IntN(12))}), netip.AddrFrom4([4]byte{10, 0, 0, byte(random.IntN(12))}), uint16(random.IntN(2)), 80)
		if len(live) == flows || len(live) > 0 && random.IntN(3) == 0 {
			at := random.IntN(len(live))
			i := live[at]
			live[at] = live[len(live)-1]
			live = live[:len(live)-1]
			gone := []flowKey{recs.at(i).key}
			if recs.at(i).has(hasAlias) {
				gone = append(gone, recs.at(i).alias)
			}
			for _, key := range gone {
				x.remove(&key, i)
				if was, ok := want[key]; ok && was == i {
					delete(want, key)
				}
			}
			recs.at(i).flags = 0
			recs.give(i)
		} else if len(live) > 0 && random.IntN(3) == 0 && !recs.at(live[0]).has(hasAlias) && key != recs.at(live[0]).key {
			i := live[0]
			recs.at(i).alias, recs.at(i).flags = key, hasAlias
			x.set(x.again(&key), i, &recs)
			want[key] = i
		} else {
			i := recs.take()
			recs.at(i).key = key
			x.set(x.again(&recs.at(i).key), i, &recs)
			want[key] = i
			live = append(live, i)
		}
		if i, ok := want[key]; !ok && x.find(x.again(&key), &recs) != -1 || ok && x.find(x.again(&key), &recs) != i {
			t.Fatalf("step %d: found %d, want %d %v", step, x.find(x.again(&key), &recs), i, ok)
		}
	}
	if x.used() != len(want) {
		t.Errorf("%d places in use for %d keys", x.used(), len(want))
	}
	for key, i := range want {
		if got := x.find(x.again(&key), &recs); got != i {
			t.Errorf("%v: found %d, want %d", key, got, i)
		}
	}
}

func TestKeyIsTheSameBothWays(t *testing.T) {
	for _, ends := range [][2]string{{"10.0.0.1:5000", "10.0.0.2:80"}, {"10.0.0.2:5000", "10.0.0.1:80"}, {"10.0.0.1:80", "10.0.0.1:5000"}, {"[2001:db8::1]:1", "[2001:db8:1::]:2"}, {"[fe80::2]:1", "10.0.0.1:2"}} {
		a, b := netip.MustParseAddrPort(ends[0]), netip.MustParseAddrPort(ends[1])
		k1, aIsLo := keyOf(protoTCP, a.Addr(), b.Addr(), a.Port(), b.Port())
		k2, bIsLo := keyOf(protoTCP, b.Addr(), a.Addr(), b.Port(), a.Port())
		if k1 != k2 || aIsLo == bIsLo {
			t.Errorf("%v: %v %v and %v %v", ends, k1, aIsLo, k2, bIsLo)
		}
		r := record{key: k1, clientIsLo: aIsLo}
		if r.client() != a || r.virtual() != b {
			t.Errorf("%v: client %s, virtual %s", ends, r.client(), r.virtual())
		}
	}
}
