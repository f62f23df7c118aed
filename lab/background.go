package lab

import (
	"sync"
	"time"
)

// tickers are things done again and again in the background.
type tickers struct {
	stops []func()
}

// every runs fn every so often until stop.
func (t *tickers) every(d time.Duration, fn func()) {
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(d)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				fn()
			}
		}
	})
	t.stops = append(t.stops, sync.OnceFunc(func() { close(quit); wg.Wait() }))
}

// stop ends them all and waits for those that are at work. It may be called again.
func (t *tickers) stop() {
	for _, s := range t.stops {
		s()
	}
}

// agingTime is how often the router asks anew who has the VIP.
const agingTime = 5 * time.Second

// ageVIP makes the router forget who has the VIP. A router of its own asks again every half minute or so. The lab's
// never would: a sender's kernel marks packets of a connection that makes progress (dst_pending_confirm), the mark
// goes through veth with the packet, and takes effect in the router as if its own neighbour had answered. An entry
// that is wrong would stay for ever, and neither an ARP fault nor its cure would be seen to take effect.
func (l *Lab) ageVIP() {
	_ = l.askAgainForVIP() // it fails when an operator took the leg away, which is not the lab's business
}
