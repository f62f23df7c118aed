package capture

// ahead is how many packets are looked up before the first of them is taken.
const ahead = 16

// AddBatch takes packets in their order, as Add does one by one. What is remembered of a flow among many thousand has to be fetched
// from memory, and waiting for it is most of the cost of a packet. So the flows of a few packets are looked up first, one right after
// the other: the processor waits for all of them at once.
func (t *Tracker) AddBatch(packets []*Packet) {
	for len(packets) > 0 {
		few := packets[:min(len(packets), ahead)]
		packets = packets[len(few):]
		if t.Len() > cachedFlows {
			t.touch(few)
		}
		for _, p := range few {
			t.Add(p)
		}
	}
}

// cachedFlows is about how many records the processor's own cache holds.
const cachedFlows = 2000

func (t *Tracker) touch(packets []*Packet) {
	var found [ahead]uint32
	for n, p := range packets {
		if p.Kind == TCP {
			key, _ := keyOf(protoTCP, p.Src, p.Dst, p.SrcPort, p.DstPort)
			found[n] = t.index.hash(&key)
		}
	}
	for n := range packets {
		found[n] = t.index.places[found[n]&t.index.mask].rec // nearly always the right one, and no harm if not
	}
	var sum int64 // kept, or the compiler would leave the reading out
	for n, p := range packets {
		if found[n] == 0 {
			continue
		}
		r := t.recs.at(int32(found[n] - 1))
		slot := slotIn
		if p.Dir == Out {
			slot = slotOut
		}
		sum += int64(r.isn) + r.lanes[toVirtual][slot].lastTime + r.lanes[toClient][slot].lastTime
	}
	t.touched += sum
}
