package ui

import (
	"testing"
	"time"
)

// Nobody presses a key and nothing comes: looks get rare. A key, or a handshake, and they are as often as before.
func TestAnIdleProgramLooksSeldom(t *testing.T) {
	d, hosts := cluster(t)
	look := func(when string, want time.Duration) {
		t.Helper()
		d.m.hosts[0].looking = true
		d.send(lookedMsg{host: 0, facts: hosts[0].facts, took: 20 * time.Millisecond})
		if d.wait != want {
			t.Errorf("%s: the next look comes after %s, want %s", when, d.wait, want)
		}
	}
	look("at first", time.Second)
	d.now = d.now.Add(idleAfter)
	look("nothing came", 10*time.Second)

	looks := hosts[0].looks
	d.press("j")
	if hosts[0].looks != looks+1 {
		t.Errorf("a key did not make it look")
	}
	look("after a key", time.Second)
	d.press("j")
	if hosts[0].looks != looks+1 {
		t.Errorf("each key makes it look")
	}

	d.now = d.now.Add(idleAfter)
	look("nothing came again", 10*time.Second)
	flows := append(hosts[0].facts.Flows[:0:0], hosts[0].facts.Flows...)
	flows[0].LastSeen = d.now
	hosts[0].facts.Flows = flows
	look("a handshake came", time.Second)
}
