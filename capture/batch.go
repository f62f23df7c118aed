package capture

// ahead is how many packets are looked up before the first of them is taken.
const ahead = 16

// AddBatch takes packets in their order, as Add does one by one. What is remembered of a flow among many thousand has to be fetched
// from memory, and waiting for it is most of the cost of a packet. So the flows of a few packets are looked up first, one right after
// the other: the processor waits for all of them at once.
func (t *Tracker) AddBatch(packets []*Packet) {
	var ends [ahead]lookup
	for len(packets) > 0 {
		few := packets[:min(len(packets), ahead)]
		packets = packets[len(few):]
		for n, p := range few {
			if p.Kind == TCP {
				ends[n] = t.index.lookup(protoTCP, p.Src, p.Dst, p.SrcPort, p.DstPort)
			}
		}
		if t.Len() > cachedFlows {
			t.touch(few, &ends)
		}
		for n, p := range few {
			t.add(p, &ends[n])
		}
	}
}

// cachedFlows is about how many records the processor's own cache holds.
const cachedFlows = 2000

// touch reads what add will: the places in the index, then the records, then where their next events go, for each packet at once.
func (t *Tracker) touch(packets []*Packet, ends *[ahead]lookup) {
	var found [ahead]*record
	var sum int64 // kept, or the compiler would leave the reading out
	for n, p := range packets {
		if p.Kind != TCP {
			continue
		}
		if i := t.index.likely(ends[n].hash); i >= 0 {
			found[n] = t.recs.at(i)
		} else if p.Flags.Has(SYN) {
			sum += int64(*t.opening(p.Src, p.SrcPort, p.Seq))
		}
	}
	for n, p := range packets {
		if r := found[n]; r != nil {
			slot := slotIn
			if p.Dir == Out {
				slot = slotOut
			}
			sum += r.last + int64(r.isn) + r.lanes[toVirtual][slot].lastTime + r.lanes[toClient][slot].lastTime
		}
	}
	for n := range packets {
		if r := found[n]; r != nil && r.lastPage >= 0 {
			sum += t.pages.at(r.lastPage).recs[r.eventCount%pageEvents].time
		}
	}
	t.touched += sum
}
