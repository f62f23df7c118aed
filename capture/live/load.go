//go:build linux

package live

import "time"

// loadWatch decides how many flows to capture. It halves at once when packets are lost and doubles again
// only after a calm time, so that it does not swing.
type loadWatch struct {
	sample   int
	drops    uint64
	next     time.Time
	lastLoss time.Time
}

const (
	statsInterval = time.Second
	calm          = 15 * time.Second
	maxSample     = 64
)

// step takes the drops counted since Open and gives the sampling from now on.
func (l *loadWatch) step(now time.Time, drops uint64) int {
	switch {
	case drops > l.drops:
		l.sample = min(l.sample*2, maxSample)
		l.lastLoss = now
	case l.sample > 1 && now.Sub(l.lastLoss) >= calm:
		l.sample /= 2
		l.lastLoss = now
	}
	l.drops = drops
	return l.sample
}

// adapt reads the kernel's counts once a second and changes the filter if need be.
func (c *Capture) adapt(l *loadWatch) error {
	now := time.Now()
	if now.Before(l.next) {
		return nil
	}
	l.next = now.Add(statsInterval)
	before := l.sample
	sample := l.step(now, c.Stats().Drops)
	if c.opts.FixedRate || sample == before {
		return nil
	}
	if err := c.attach(sample); err != nil {
		return err
	}
	c.mu.Lock()
	c.stats.Sample = sample
	c.mu.Unlock()
	return nil
}
