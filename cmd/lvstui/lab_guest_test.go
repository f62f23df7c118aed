//go:build guest

package main

import (
	"strings"
	"testing"
	"time"
)

// long is for what the emulated kernel needs a while for.
const long = 90 * time.Second

const (
	keyDown  = "\x1b[B"
	keyUp    = "\x1b[A"
	keyEnter = "\r"
	keyEsc   = "\x1b"
)

// goTo switches to the host that is n places further down the list.
func (x *terminal) goTo(n int, host string) {
	x.t.Helper()
	x.press("h")
	x.see(long, "Look at which host?")
	key := keyDown
	if n < 0 {
		key, n = keyUp, -n
	}
	for range n {
		x.press(key)
		time.Sleep(100 * time.Millisecond)
	}
	x.press(keyEnter)
	x.see(long, "lvstui  "+host)
}

// The article's failing cluster, as `make run` shows it: the broken stage on the director, who is to blame on the router.
func TestFailingClusterOnATerminal(t *testing.T) {
	x := startTerminal(t, 120, 40, "lab", "--inside", "--topology", "split")
	x.see(long, "lvstui  director", "172.16.0.8:80", "router-urpf-or-source-guard")
	screen := x.see(long, "suspect")
	if line := lineWith(screen, "SYN-ACK at client"); !strings.Contains(line, "suspect") {
		t.Errorf("SYN-ACK at client on the director: %q, want suspect:\n%s", line, screen)
	}
	if line := lineWith(screen, "forwarded"); !strings.Contains(line, "✓") {
		t.Errorf("forwarded: %q, want ✓", line)
	}

	x.goTo(1, "rs1")
	screen = x.see(long, "broken")
	if line := lineWith(screen, "SYN-ACK sent"); !strings.Contains(line, "✓") {
		t.Errorf("SYN-ACK sent on rs1: %q, want ✓:\n%s", line, screen)
	}
	x.press("2")
	x.see(long, "stalled")
	x.press(keyEnter)
	x.see(long, "SYN-ACK", "real server")
	x.press(keyEsc)

	x.goTo(-2, "router")
	x.press("1")
	x.see(long, "certain", "reverse path")

	x.press("q")
	x.end(long)
}

// A fault from finding to served client and back, by keys alone.
func TestFixAndUndoOnATerminal(t *testing.T) {
	x := startTerminal(t, 120, 40, "lab", "--inside", "--topology", "shared", "--fault", "rs-answers-arp", "--host", "rs2")
	x.see(long, "lvstui  rs2", "answers ARP")
	x.press("f")
	x.see(long, "sysctl -w net.ipv4.conf.all.arp_ignore=1", "a apply")
	time.Sleep(time.Second) // keys typed before the box can be read don't count
	x.press("a")
	x.see(long, "verified")
	x.press(keyEsc)
	x.wait(long, func(screen string) bool { return !strings.Contains(screen, "answers ARP") })

	x.press("z")
	x.see(long, "arp_ignore=0")
	time.Sleep(time.Second)
	x.press("y")
	x.see(long, "answers ARP")
	x.press(keyEsc)
	time.Sleep(300 * time.Millisecond)
	x.press("q")
	x.end(long)
}

func lineWith(screen, text string) string {
	for _, line := range strings.Split(screen, "\n") {
		if strings.Contains(line, text) {
			return line
		}
	}
	return ""
}

// wait waits until the screen is as told.
func (x *terminal) wait(within time.Duration, as func(screen string) bool) {
	x.t.Helper()
	deadline := time.Now().Add(within)
	for !as(x.text()) {
		if time.Now().After(deadline) {
			x.t.Fatalf("the screen did not become as expected within %s:\n%s", within, x.text())
		}
		time.Sleep(100 * time.Millisecond)
	}
}
