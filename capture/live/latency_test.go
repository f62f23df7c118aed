//go:build linux

package live

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lvstui/capture"
)

// BenchmarkLatency tells how long after the kernel has seen a packet its flow is there to be drawn: single SYNs with pauses in between, as on a
// quiet host, where the ring's block has to wait for its time.
func BenchmarkLatency(b *testing.B) {
	w := newWire(b)
	var c *Capture
	w.to.do(func() (err error) { c, err = Open(Options{FixedRate: true}); return err })
	ctx, cancel := context.WithCancel(context.Background())
	tracker := capture.NewTracker(capture.Config{})
	ended := make(chan error)
	var late []time.Duration
	go func() {
		ended <- c.Run(ctx, func(batch []Frame) {
			for i := range batch {
				tracker.Add(&batch[i].Packet)
				if tracker.Recent(1)[0].ISN == 0 { // looked at, as a screen does
					late = append(late, time.Since(time.Unix(0, batch[i].Time)))
				}
			}
		})
	}()
	fd := -1
	w.from.do(func() (err error) { fd, err = sendSocket("eth0"); return err })
	defer unix.Close(fd)
	for i := range 200 {
		f := frame(unix.IPPROTO_TCP, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 0, byte(i)}), uint16(20000+i)), netip.MustParseAddrPort("172.16.0.8:80"))
		if err := unix.Send(fd, f, 0); err != nil {
			b.Fatal(err)
		}
		time.Sleep(15 * time.Millisecond)
	}
	time.Sleep(100 * time.Millisecond)
	cancel()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
	c.Close()
	if len(late) < 200 {
		b.Fatalf("%d of 200 packets came", len(late))
	}
	slices.Sort(late)
	ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
	b.ReportMetric(ms(late[len(late)/2]), "p50-ms")
	b.ReportMetric(ms(late[len(late)*99/100]), "p99-ms")
	b.ReportMetric(ms(late[len(late)-1]), "max-ms")
	b.ReportMetric(0, "ns/op")
}
