package capture

import (
	"net/netip"
	"runtime"
	"strconv"
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
			var syns, acks []Packet
			for i := range flows {
				c := conversation(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), uint16(1024+i)))
				syns, acks = append(syns, c[0]), append(acks, c[2])
			}
			feed(tr, syns)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				p := &acks[i%len(acks)]
				p.Time++
				p.IPID++
				tr.Add(p)
				i++
			}
		})
	}
}

// BenchmarkNewFlows is a flood: every packet begins a flow and evicts one.
func BenchmarkNewFlows(b *testing.B) {
	tr := NewTracker(Config{})
	p := articlePackets()[0]
	b.ReportAllocs()
	n := uint32(0)
	for b.Loop() {
		n++
		p.Src = netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
		p.Seq = n
		p.Time++
		tr.Add(&p)
	}
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
