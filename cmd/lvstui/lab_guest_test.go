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
	x.open("h", "Look at which host?")
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
	x.see(long, "lvstui  director", "172.16.0.8:80", "does not reach the client")
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
	x.open(keyEnter, "[real server]")
	x.see(long, "SYN-ACK")
	x.leave(func(screen string) bool { return strings.Contains(screen, "virtual service") })

	x.goTo(-2, "router")
	x.press("1")
	x.see(long, "certain", "router drops answers from 172.16.0.8")

	// What every host saw of a connection, joined while it goes on.
	x.goTo(4, "all hosts")
	x.press("2")
	x.see(long, "stalled", "seen from 4 hosts")
	x.open(keyEnter, "[real server]")
	x.see(long, "seen by client, router", "seen by director, real server", "seen by real server, router", "The router did not send the SYN-ACK on to the client")
	x.leave(func(screen string) bool { return strings.Contains(screen, "virtual service") })
	x.quit()
}

// A fault from finding to served client and back, by keys alone.
func TestFixAndUndoOnATerminal(t *testing.T) {
	x := startTerminal(t, 120, 40, "lab", "--inside", "--topology", "shared", "--fault", "rs-answers-arp", "--host", "rs2")
	x.see(long, "lvstui  rs2", "answers ARP")
	x.open("f", "a apply")
	x.see(long, "sysctl -w net.ipv4.conf.all.arp_ignore=1")
	time.Sleep(time.Second) // keys typed before the box can be read don't count
	x.press("a")
	x.see(long, "done and verified; taken back in", "gone: ")
	time.Sleep(time.Second)
	x.press("c")
	x.see(long, "applied, verified and kept")
	x.leave(func(screen string) bool { return !strings.Contains(screen, "answers ARP") })

	x.open("z", "arp_ignore=0")
	time.Sleep(time.Second)
	x.press("y")
	x.see(long, "answers ARP")
	x.quit()
}

// A change that nobody keeps is taken back, and the screen says so.
func TestFixThatNobodyKeeps(t *testing.T) {
	x := startTerminal(t, 80, 24, "lab", "--inside", "--topology", "shared", "--fault", "rs-answers-arp", "--host", "rs2", "--confirm-within", "8s")
	x.see(long, "lvstui  rs2", "answers ARP")
	x.open("f", "a apply")
	time.Sleep(time.Second)
	x.press("a")
	x.see(long, "done and verified; taken back in")
	x.press(keyEsc)
	x.see(long, "c keep  z take back", "taken back in")
	x.see(long, "rs2 answers ARP", "suspect")
	x.press("6")
	x.see(long, "undone")
	x.quit()
}

// From bare hosts to a served client by the wizard alone, on a small terminal.
func TestWizardOnATerminal(t *testing.T) {
	x := startTerminal(t, 80, 24, "lab", "--inside", "--bare", "--host", "rs1")
	x.see(long, "lvstui  rs1")
	keep := func() {
		x.see(long, "done and verified; taken back in")
		time.Sleep(time.Second)
		x.press("c")
		x.see(long, "applied, verified and kept")
		x.leave(func(screen string) bool { return strings.Contains(screen, "nothing is left to do") })
	}
	realServer := func(host string) {
		x.open("5", "to be answered")
		x.open(keyEnter, "What is this host to be?")
		x.press(keyDown)
		time.Sleep(300 * time.Millisecond)
		x.press(keyEnter)
		x.see(long, "tcp/80", "All is known", "on this host; enter shows them")
		x.open("f", "make this host a real server")
		time.Sleep(time.Second)
		x.press("a")
		keep()
	}
	realServer("rs1")
	x.goTo(1, "rs2")
	realServer("rs2")
	x.goTo(-2, "director")
	x.open("5", "to be answered")
	x.open(keyEnter, "What is this host to be?")
	x.press(keyEnter)
	x.see(long, "What do clients come for?")
	x.press("80" + keyEnter)
	if screen := x.see(long, "Who serves the clients?"); strings.Contains(screen, "something else") {
		for range 8 {
			x.press(keyDown)
			time.Sleep(100 * time.Millisecond)
		}
		x.press(" ")
		time.Sleep(300 * time.Millisecond)
		x.press(keyEnter)
	}
	x.see(long, "Who serves the clients?", " >")
	x.press("\x15192.168.10.11 192.168.10.12" + keyEnter)
	x.see(long, "All is known", "What the others need")
	x.open("f", "make this host the director")
	time.Sleep(time.Second)
	x.press("a")
	x.see(long, "The first handshake since")
	x.see(long, "closed")
	keep()
	x.quit()
}

// open presses a key until the screen shows what it opens: right after the start a key may get lost among the terminal's answers
// to the program's first questions.
func (x *terminal) open(key, text string) {
	x.t.Helper()
	deadline := time.Now().Add(long)
	for !strings.Contains(x.text(), text) {
		if time.Now().After(deadline) {
			x.t.Fatalf("%q did not open %q:\n%s", key, text, x.text())
		}
		x.press(key)
		for range 30 {
			if time.Sleep(100 * time.Millisecond); strings.Contains(x.text(), text) {
				return
			}
		}
	}
}

func lineWith(screen, text string) string {
	for _, line := range strings.Split(screen, "\n") {
		if strings.Contains(line, text) {
			return line
		}
	}
	return ""
}

// quit presses q until the program ends; an overlay that is just closing takes the first one.
func (x *terminal) quit() {
	x.t.Helper()
	for range 10 {
		x.press("q")
		select {
		case err := <-x.ended:
			x.ended <- err
			x.end(time.Second)
			return
		case <-time.After(3 * time.Second):
		}
	}
	x.end(long)
}

// leave presses Esc until the screen is as told.
func (x *terminal) leave(as func(screen string) bool) {
	x.t.Helper()
	deadline := time.Now().Add(long)
	for !as(x.text()) {
		if time.Now().After(deadline) {
			x.t.Fatalf("Esc did not lead back:\n%s", x.text())
		}
		x.press(keyEsc)
		for range 30 {
			if time.Sleep(100 * time.Millisecond); as(x.text()) {
				return
			}
		}
	}
}
