package ui

import (
	"errors"
	"testing"
	"time"

	"lvstui/ui/internal/sample"
)

func TestLooksNeverOverlap(t *testing.T) {
	d, hosts := cluster(t)
	d.pass()
	before := hosts[0].looks
	d.hold = true
	d.send(tickMsg{d.m.gen})
	for range 3 { // away and back while the look is under way
		d.press("]", "[")
	}
	d.hold = false
	under := d.held
	d.held = nil
	for _, c := range under {
		d.run(c)
	}
	if got := hosts[0].looks - before; got != 1 {
		t.Errorf("%d looks at the director at once", got)
	}
	d.shows("lvstui  director", "›! SYN-ACK at client")
	ticks := 0
	for _, msg := range d.later {
		if tick, ok := msg.(tickMsg); ok && tick.gen == d.m.gen {
			ticks++
		}
	}
	if ticks != 1 {
		t.Errorf("%d next looks are planned, want 1", ticks)
	}
}

func TestASlowHostIsLookedAtSeldom(t *testing.T) {
	d, hosts := cluster(t)
	for _, c := range []struct{ took, wait time.Duration }{{10 * time.Millisecond, time.Second}, {2 * time.Second, 6 * time.Second}} {
		d.m.hosts[0].looking = true
		d.send(lookedMsg{host: 0, facts: hosts[0].facts, took: c.took})
		if d.wait != c.wait {
			t.Errorf("after a look of %s the next one comes %s later, want %s", c.took, d.wait, c.wait)
		}
	}
}

func TestEveryHostIsLookedAtOnceForTheSwitcher(t *testing.T) {
	d, hosts := cluster(t)
	hosts[2].err = errors.New("no such namespace")
	for range 6 {
		d.pass()
	}
	if hosts[1].looks != 1 || hosts[2].looks != 1 {
		t.Errorf("rs1 was looked at %d times, the router %d times; want once", hosts[1].looks, hosts[2].looks)
	}
	d.press("h")
	d.shows("rs1          ✗ broken   this real server answers ARP", "router       ? unknown  no such namespace")
	d.hides("not looked at yet", "ago")
	d.now = d.now.Add(time.Minute)
	hosts[2].err = nil
	d.send(tickMsg{d.m.gen})
	d.shows("rs1          ✗ broken")
	for range 2 {
		d.pass()
	}
	d.shows("router       ✗ broken")
	d.hides("ago")
	if hosts[1].looks != 2 || hosts[2].looks != 2 {
		t.Errorf("with the switcher open rs1 was looked at %d times, the router %d times; want twice", hosts[1].looks, hosts[2].looks)
	}
	d.press("esc")
	d.now = d.now.Add(3 * time.Minute)
	d.press("h")
	d.shows("3 min ago")
}

// What was seen while a change was made may be from before it.
func TestLookDuringAChangeIsNotShown(t *testing.T) {
	d, hosts := cluster(t)
	d.hold = true
	d.send(tickMsg{d.m.gen})
	before := d.held
	d.held, d.hold = nil, false
	d.run(d.m.lookAgain()) // what the end of a change does
	old := hosts[0].facts
	hosts[0].facts = sample.HealthyDirector()
	looks := hosts[0].looks
	late := lookedMsg{host: 0, facts: old}
	d.send(late)
	d.shows("✓ ok: nothing wrong found")
	if hosts[0].looks != looks+1 {
		t.Errorf("%d fresh looks after the change, want 1", hosts[0].looks-looks)
	}
	if len(before) != 1 {
		t.Errorf("%d looks were under way, want 1", len(before))
	}
}
