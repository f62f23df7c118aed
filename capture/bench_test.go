package capture

import (
	"net/netip"
	"runtime"
	"strconv"
	"syscall"
	"testing"
)

// synFrame is a SYN of 74 bytes as the article's client sent it.
func synFrame() []byte {
	return []byte{
		0x00, 0x0c, 0x29, 0x21, 0x59, 0xd7, 0x00, 0x0c, 0x29, 0x6d, 0x1a, 0x7d, 0x08, 0x00,
		0x45, 0x00, 0x00, 0x3c, 0x12, 0x34, 0x40, 0x00, 0x40, 0x06, 0x00, 0x00, 188, 88, 88, 10, 172, 16, 0, 8,
		0xc2, 0x08, 0x00, 0x50, 0x1a, 0xba, 0x4c, 0xc1, 0, 0, 0, 0, 0xa0, 0x02, 0x72, 0x10, 0, 0, 0, 0,
		2, 4, 5, 0xb4, 4, 2, 8, 10, 1, 0x54, 0x6d, 0x03, 0, 0, 0, 0, 1, 3, 3, 7,
	}
}

func BenchmarkDecode(b *testing.B) {
	f := synFrame()
	var p Packet
	b.ReportAllocs()
	for b.Loop() {
		if err := Decode(f, LinkEthernet, &p); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAdd is the whole path of a packet of a known flow: among a thousand that fit the processor's
// cache, and among as many as the table holds.
func BenchmarkAdd(b *testing.B) {
	for _, flows := range []int{1000, defaultFlows} {
		b.Run(strconv.Itoa(flows), func(b *testing.B) {
			tr := NewTracker(Config{})
			for i := range flows {
				feed(tr, conversation(clientOf(uint32(i)))[:1])
			}
			var batch benchBatch
			list := batch.list()
			for n := range batch {
				batch[n] = articlePackets()[2]
				batch[n].Dir = In
			}
			at := batch[0].Time
			b.ReportAllocs()
			i := 0
			began := processorTime()
			for b.Loop() {
				c := clientOf(uint32(i * 7919 % flows)) // not in the order of memory
				p := &batch[i%len(batch)]
				p.Src, p.SrcPort, p.Time, p.IPID = c.Addr(), c.Port(), at+int64(i), uint16(i)
				if i++; i%len(batch) == 0 {
					tr.AddBatch(list)
				}
			}
			b.ReportMetric(float64(processorTime()-began)/float64(b.N), "cpu-ns/op")
		})
	}
}

// processorTime is what this process has used so far, in nanoseconds: on a busy machine the clock on the wall tells of others.
func processorTime() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkConversations is what a busy client's or router's side is like: as many conversations side by side as the table holds, each packet of
// another one than those before it, its frame remembered; where one ends another begins, and evicts the oldest that is over.
func BenchmarkConversations(b *testing.B) {
	tr := NewTracker(Config{})
	script := articlePackets()
	for i := range script {
		script[i].Dir = In
		if script[i].Src == articleClient.Addr() {
			script[i].Dir = Out
		}
	}
	type talk struct{ client, said uint32 }
	talks := make([]talk, defaultFlows-len(benchBatch{}))
	for i := range talks {
		talks[i] = talk{uint32(i), uint32(i % len(script))}
	}
	var batch benchBatch
	list := batch.list()
	next, at := uint32(len(talks)), script[0].Time
	b.ReportAllocs()
	i := 0
	began := processorTime()
	for b.Loop() {
		c := &talks[i*7919%len(talks)] // not in the order of memory
		p := &batch[i%len(batch)]
		*p = script[c.said]
		if client := clientOf(c.client); p.Dir == Out {
			p.Src, p.SrcPort = client.Addr(), client.Port()
		} else {
			p.Dst, p.DstPort = client.Addr(), client.Port()
		}
		p.Time = at + int64(i)
		if c.said++; int(c.said) == len(script) {
			*c = talk{client: next}
			next++
		}
		if i++; i%len(batch) == 0 {
			tr.AddBatch(list)
		}
	}
	b.ReportMetric(float64(processorTime()-began)/float64(b.N), "cpu-ns/op")
}

// BenchmarkNewFlows is a flood: every packet begins a flow and evicts one.
func BenchmarkNewFlows(b *testing.B) {
	tr := NewTracker(Config{})
	var batch benchBatch
	list := batch.list()
	at := articlePackets()[0].Time
	b.ReportAllocs()
	n := uint32(0)
	began := processorTime()
	for b.Loop() {
		p := &batch[int(n)%len(batch)]
		if n++; n <= uint32(len(batch)) {
			*p = articlePackets()[0]
			p.Dir = In
		}
		p.Src, p.Seq, p.Time = clientOf(n).Addr(), n, at+int64(n)
		if int(n)%len(batch) == 0 {
			tr.AddBatch(list)
		}
	}
	b.ReportMetric(float64(processorTime()-began)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(tr.Len()), "flows-kept")
	b.ReportMetric(float64(tr.Stats().Evicted), "evicted")
}

// benchBatch is packets as they lie in the cache when they have just been decoded.
type benchBatch [64]Packet

func (b *benchBatch) list() []*Packet {
	var list []*Packet
	for n := range b {
		list = append(list, &b[n])
	}
	return list
}

func clientOf(i uint32) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), uint16(1024+i))
}

// BenchmarkMillionFlows tells the memory that a million flows leave behind.
func BenchmarkMillionFlows(b *testing.B) {
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		tr := NewTracker(Config{})
		list := articlePackets()
		for n := range uint32(1_000_000) {
			client := netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
			for i := range 3 {
				p := list[i]
				if p.Src == articleClient.Addr() {
					p.Src = client
				} else {
					p.Dst = client
				}
				tr.Add(&p)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "MB")
		runtime.KeepAlive(tr)
	}
}

func BenchmarkFlows(b *testing.B) {
	tr := NewTracker(Config{})
	for i := range 1000 {
		feed(tr, conversation(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 1024)))
	}
	b.ReportAllocs()
	for b.Loop() {
		tr.Flows()
	}
}

// conversation is the article's connection from another client.
func conversation(client netip.AddrPort) []Packet {
	list := articlePackets()
	for i := range list {
		p := &list[i]
		if p.Src == articleClient.Addr() {
			p.Src, p.SrcPort = client.Addr(), client.Port()
		} else {
			p.Dst, p.DstPort = client.Addr(), client.Port()
		}
	}
	return list
}
