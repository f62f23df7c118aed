package capture

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"lvstui/lvs"
)

// traffic makes what a host sees of some connections, healthy and failing ones, in order of time.
func traffic(r *rand.Rand) []Packet {
	vantages := []lvs.Vantage{lvs.RoleClient, lvs.RoleRouter, lvs.RoleDirector, lvs.RoleRealServer}
	v := vantages[r.IntN(len(vantages))]
	var all []Packet
	for i := range 1 + r.IntN(6) {
		base := [][]Packet{articlePackets(), synOnly(), unanswered()}[r.IntN(3)]
		list := seen(v, base[:1+r.IntN(len(base))])
		client := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), uint16(1024+r.IntN(3)))
		offset := r.Int64N(int64(4 * time.Second))
		for _, p := range list {
			if wayOf(&p) == toVirtual {
				p.Src, p.SrcPort = client.Addr(), client.Port()
			} else {
				p.Dst, p.DstPort = client.Addr(), client.Port()
			}
			p.Time += offset
			all = append(all, p)
		}
	}
	sortPackets(all)
	return all
}

func sortPackets(list []Packet) {
	slices.SortStableFunc(list, func(a, b Packet) int { return cmp.Compare(a.Time, b.Time) })
}

func dump(t *testing.T, tr *Tracker) string {
	t.Helper()
	s := ""
	for _, f := range tr.Flows() {
		full, ok := tr.FlowByID(f.ID)
		if !ok {
			t.Fatalf("flow %d is listed and not to be found", f.ID)
		}
		b, err := json.Marshal(full)
		if err != nil {
			t.Fatal(err)
		}
		s += string(b) + "\n"
	}
	return s
}

// check holds what must be true of every flow, whatever came over the wire.
func check(t *testing.T, tr *Tracker, added int) {
	t.Helper()
	frames := 0
	for _, f := range tr.Flows() {
		frames += f.Frames
		failed := f.Outcome == Stalled || f.Outcome == Refused
		top := f.Reached.Index()
		missing := 0
		for i, s := range f.Stages {
			known := s.State == lvs.Seen || s.State == lvs.Implied
			// A real server that answers to where the SYN came from knows nothing of the director's part, nor does whoever gets the answer from
			// where the SYN went.
			past := directors(s.Stage) && s.State == lvs.Unobservable &&
				(f.Vantage == lvs.RoleRealServer && f.SynFrom == f.SynAckTo && f.SynFrom != (MAC{}) || f.Vantage == lvs.RoleClient || f.Vantage == lvs.RoleRouter)
			switch {
			case s.Stage != lvs.Stages[i]:
				t.Errorf("stage %d is %s", i, s.Stage)
			case known && i > top, !known && i < top && !past:
				t.Errorf("seen from the %s: reached %s, yet %s is %s", f.Vantage, f.Reached, s.Stage, s.State)
			case s.State == lvs.Missing:
				missing++
				if s.Stage != f.StalledAt {
					t.Errorf("%s misses, stalled at %s", s.Stage, f.StalledAt)
				}
			}
		}
		switch {
		case len(f.Stages) != numStages, missing > 1, missing == 1 && !failed, f.StalledAt != "" && missing != 1,
			len(f.Suspects) > 0 && !failed, f.Outcome == "", f.Vantage == "", f.Packets > f.Frames, f.Handshake < 0,
			len(f.Events) > defaultEvents, f.LastSeen.Before(f.FirstSeen):
			t.Errorf("inconsistent: %+v", f)
		}
		if _, err := json.Marshal(f); err != nil {
			t.Error(err)
		}
	}
	if frames > added {
		t.Errorf("%d frames in flows, %d packets given", frames, added)
	}
}

func TestIncrementalEqualsBatch(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		packets := traffic(r)
		batch, step := NewTracker(Config{}), NewTracker(Config{})
		feed(batch, packets)
		for i := range packets {
			step.Add(&packets[i])
			step.Advance(time.Unix(0, packets[i].Time)) // looking and telling the time must change nothing
			if r.IntN(3) == 0 {
				step.Flows()
				step.Summary(time.Time{})
			}
		}
		if a, b := dump(t, batch), dump(t, step); a != b {
			t.Fatalf("seed %d: all at once\n%sone by one\n%s", seed, a, b)
		}
		check(t, batch, len(packets))
	}
}

func TestDoubledAndSorted(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		packets := traffic(r)
		once, twice := NewTracker(Config{}), NewTracker(Config{})
		feed(once, packets)
		var doubled []Packet
		for _, p := range packets {
			doubled = append(doubled, p, p)
		}
		feed(twice, doubled)
		if a, b := dump(t, once), dump(t, twice); a != b {
			t.Fatalf("seed %d: once\n%stwice\n%s", seed, a, b)
		}
		// Two CPUs write into the ring side by side; sorting by time undoes it.
		shuffled := slices.Clone(packets)
		for i := range shuffled {
			if j := i + r.IntN(4); j < len(shuffled) {
				shuffled[i], shuffled[j] = shuffled[j], shuffled[i]
			}
		}
		sortPackets(shuffled)
		tr := NewTracker(Config{})
		feed(tr, shuffled)
		if a, b := outcomes(once), outcomes(tr); a != b {
			t.Fatalf("seed %d: in order\n%sshuffled and sorted\n%s", seed, a, b)
		}
	}
}

// outcomes leaves out the order of events that have the same time.
func outcomes(tr *Tracker) (s string) {
	for _, f := range tr.Flows() {
		s += fmt.Sprintln(f.Client, f.Vantage, f.Outcome, f.Reached, f.StalledAt, f.Packets, f.Frames)
	}
	return s
}

// TestSlightDisorder gives packets as the ring does, a little out of order: it may cost detail, never the outcome.
func TestSlightDisorder(t *testing.T) {
	for v := range seenBy {
		packets := seen(v, articlePackets())
		want := oneFlow(t, Config{}, packets)
		for i := range len(packets) - 1 {
			swapped := slices.Clone(packets)
			swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
			f := oneFlow(t, Config{}, swapped)
			if f.Outcome != Closed || f.Vantage != v || f.Reached != want.Reached || f.Packets != want.Packets {
				t.Errorf("%s, packets %d and %d swapped: %s from %s, %d packets", v, i, i+1, f.Outcome, f.Vantage, f.Packets)
			}
		}
	}
}

func TestLossNeverConfuses(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 3))
		packets := traffic(r)
		keep := r.IntN(100)
		packets = slices.DeleteFunc(packets, func(Packet) bool { return r.IntN(100) > keep })
		if r.IntN(2) == 0 {
			for i := range packets {
				packets[i].Dir = Unknown
			}
		}
		if r.IntN(4) == 0 {
			r.Shuffle(len(packets), func(i, j int) { packets[i], packets[j] = packets[j], packets[i] })
		}
		tr := NewTracker(Config{MaxFlows: 1 + r.IntN(8)})
		feed(tr, packets)
		check(t, tr, len(packets))
		tr.Advance(tr.Now().Add(time.Hour))
		check(t, tr, len(packets))
	}
}

func FuzzTracker(f *testing.F) {
	f.Add([]byte("\x02\x00\x01\x00\x12\x01\x02\x00\x10\x00\x03\x00"), uint8(0))
	f.Add([]byte("\x02\x80\x01\x00\x02\x40\x01\x00\x04\x00\x01\x05"), uint8(3))
	f.Fuzz(func(t *testing.T, data []byte, setting uint8) {
		vantages := []lvs.Vantage{"", lvs.RoleClient, lvs.RoleRouter, lvs.RoleDirector, lvs.RoleRealServer, "nobody"}
		tr := NewTracker(Config{Vantage: vantages[int(setting)%len(vantages)], UDP: []netip.AddrPort{articleVirtual}, MaxFlows: 1 + int(setting>>5), MaxEvents: int(setting>>3)%5*4 - 1})
		n := 0
		for now := int64(0); len(data) >= 4; data = data[4:] {
			// flags, where and between whom, how much later, what numbers
			p := articlePackets()[int(data[1])%2]
			p.Flags = TCPFlags(data[0])
			p.Dir = Direction(data[1] >> 6)
			p.SrcPort += uint16(data[1] >> 1 & 1)
			p.HasIPID, p.IPID, p.TTL = data[1]&8 != 0, uint16(data[3]&3), 60+data[3]&7
			if data[1]&16 != 0 {
				p.SrcMAC, p.DstMAC = directorMAC, serverMAC
			}
			now += (int64(data[2]) - 16) * int64(40*time.Millisecond)
			p.Time = now
			p.Seq += uint32(data[3]>>4) * 0x11111111
			p.Ack += uint32(data[3]&15) * 0x11111111
			p.PayloadLen = int32(data[3] & 31)
			switch { // other protocols, other ends
			case data[1]&52 == 4:
				p.Kind, p.Proto, p.Seq, p.Ack, p.Flags = UDP, protoUDP, 0, 0, 0
			case data[1]&52 == 16 && data[3]&1 == 1:
				p.Src = netip.AddrFrom4([4]byte{192, 168, 10, data[3]})
			}
			if data[1]&36 == 36 {
				p = icmpAbout(p.Dir, "10.0.0.1", 0, data[0]&15, data[3])
			}
			tr.Add(&p)
			n++
		}
		check(t, tr, n)
		tr.Advance(tr.Now().Add(time.Minute))
		check(t, tr, n)
		tr.Summary(time.Time{})
		flows := tr.Flows()
		if got := Merge(flows, flows); len(flows) > 0 && (len(got) == 0 || len(got) > len(flows)) {
			t.Errorf("%d flows, seen twice are %d", len(flows), len(got))
		}
	})
}
