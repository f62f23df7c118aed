//go:build guest

package lab

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"time"

	"lvstui/capture"
	"lvstui/capture/live"
	"lvstui/lvs"
	"lvstui/probes"
)

// watcher follows the virtual service's connections on all hosts at once.
type watcher struct {
	t        *testing.T
	began    time.Time
	cancel   context.CancelFunc
	running  sync.WaitGroup
	trackers map[string]*capture.Tracker
}

func watch(t *testing.T, l *Lab) *watcher {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &watcher{t: t, began: time.Now(), cancel: cancel, trackers: map[string]*capture.Tracker{}}
	vip := netip.MustParseAddr(l.VIP())
	for _, h := range l.Hosts() {
		tracker := capture.NewTracker(capture.Config{Vantage: vantage(h.Name), Virtuals: []netip.Addr{vip}})
		w.trackers[h.Name] = tracker
		var c *live.Capture
		err := h.Do(func() (err error) {
			c, err = live.Open(live.Options{Virtuals: []netip.Addr{vip}, BlockSize: 64 << 10, Blocks: 128, FixedRate: true})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		w.running.Go(func() {
			defer c.Close()
			err := c.Run(ctx, func(frames []live.Frame) {
				for i, name := range c.Interfaces() {
					tracker.SetInterface(i, name)
				}
				for i := range frames {
					tracker.Add(&frames[i].Packet)
				}
			})
			if err != nil || c.Stats().Drops != 0 {
				t.Errorf("capture on %s: %v, %+v", h.Name, err, c.Stats())
			}
		})
	}
	return w
}

// stop ends the capture and returns what each host saw, as it stands when nothing more comes.
func (w *watcher) stop() map[string]probes.Observation {
	time.Sleep(300 * time.Millisecond) // what is on its way, and the ring's last block
	w.cancel()
	w.running.Wait()
	seen := map[string]probes.Observation{}
	for host, tracker := range w.trackers {
		tracker.Advance(tracker.Now().Add(10 * time.Second))
		seen[host] = probes.Observation{Flows: tracker.Flows(), ARP: tracker.ARP(), Listened: time.Since(w.began)}
	}
	return seen
}

func vantage(host string) lvs.Vantage {
	switch host {
	case RealServer1, RealServer2:
		return lvs.RoleRealServer
	}
	return lvs.Vantage(host)
}
