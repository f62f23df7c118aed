package ui

import (
	"errors"
	"testing"
	"time"

	"lvstui/fixes"
	"lvstui/ui/internal/sample"
	"lvstui/ui/screens"
)

const minute = time.Minute

// waitingFix is rs1 with a change that was made by keys and waits to be kept.
func waitingFix(t *testing.T, w, h int) (*driver, *plainHost) {
	t.Helper()
	host := &plainHost{name: "rs1", facts: sample.BrokenRealServer()}
	d := newDriver(t, w, h, Options{Hosts: hostsOf(host), ConfirmWithin: minute}).start()
	d.press("f")
	d.pass()
	host.facts = sample.CuredRealServer()
	d.press("a")
	return d, host
}

func (d *driver) tick(seconds int) {
	for range seconds {
		d.now = d.now.Add(time.Second)
		d.pass()
	}
}

func TestAChangeWaitsAndIsKept(t *testing.T) {
	d, host := waitingFix(t, 100, 40)
	d.shows("taken back in 60 s unless you keep it", "c keeps it, z takes it back now", "If you quit, or this session is cut, it is taken back as well",
		"VIP leads to director broken → ok", "✓ gone: this real server answers ARP for the VIP", "✓  sysctl -w net.ipv4.conf.all.arp_ignore=1")
	if host.terms.ConfirmWithin != minute {
		t.Errorf("terms: %+v", host.terms)
	}
	d.press("c") // typed while it was made
	if host.changes[0].State != fixes.Waiting {
		t.Fatal("a key that was typed before the question came up kept the change")
	}
	d.shows("c keep: this has just come up")
	d.tick(5)
	d.shows("taken back in 55 s")
	d.press("c")
	if host.changes[0].State != fixes.Applied {
		t.Fatalf("the change is %s", host.changes[0].State)
	}
	d.shows("✓ done: applied, verified and kept")
	d.press("esc")
	d.hides("taken back in")
	ticks := len(d.later)
	d.tick(3)
	if len(d.later) > ticks {
		t.Errorf("the clock goes on: %v", d.later)
	}
}

func TestAChangeThatNobodyKeeps(t *testing.T) {
	d, host := waitingFix(t, 80, 24)
	d.tick(59)
	d.shows("taken back in 1 s")
	d.tick(2)
	d.shows("the time is up: it is being taken back")
	host.changes[0].State, host.facts = fixes.Undone, sample.BrokenRealServer() // the watchdog did it
	d.tick(1)
	d.shows("nobody kept it, so it was taken back")
	d.hides("broken → ok")
	d.press("esc")
	d.shows("this real server answers ARP for the VIP")
}

func TestAChangeIsTakenBackAtOnce(t *testing.T) {
	d, host := waitingFix(t, 100, 40)
	d.tick(1)
	d.press("z")
	if host.changes[0].State != fixes.Undone {
		t.Fatalf("the change is %s", host.changes[0].State)
	}
	d.shows("✓ taken back and verified: everything is as it was")
}

// The box is left, or lvstui is started while a change of before waits: every screen says so, and c asks.
func TestAWaitingChangeIsSaidEverywhere(t *testing.T) {
	d, host := waitingFix(t, 80, 24)
	d.tick(10)
	d.press("esc")
	for _, tab := range []string{"1", "2", "3", "4", "5", "6"} {
		d.press(tab)
		d.shows("! taken back in 50 s unless you keep it: keep this host", "c keep  z take back")
	}
	d.shows("waiting", "keep this host silent about the VIP, taken")
	d.press("c", "c")
	d.shows("Keep this change?", "c keep: this has just come up")
	d.tick(1)
	d.shows("taken back in 49 s")
	d.press("c")
	d.shows("✓ kept")
	if host.changes[0].State != fixes.Applied {
		t.Errorf("the change is %s", host.changes[0].State)
	}
	d.press("esc")
	d.hides("c keep  z take back")
	d.press("c")
	d.shows("c keep: no change waits to be kept")
}

// b writes the files for the next boot, and without it none is.
func TestNextBootIsAskedFor(t *testing.T) {
	for _, keys := range [][]string{{}, {"b"}, {"b", "b"}} {
		host := &plainHost{name: "rs1", facts: sample.BrokenRealServer()}
		d := newDriver(t, 100, 40, Options{Hosts: hostsOf(host), ConfirmWithin: minute}).start()
		d.press("f")
		d.pass()
		d.shows("not written: the next boot gives what was there before; b writes it")
		d.press(keys...)
		if len(keys) == 1 {
			d.shows("written once the change is kept:", "make /etc/sysctl.d/60-lvstui.conf: the next boot sets net.ipv4.conf.all.arp_ignore")
		}
		d.press("a")
		if got := len(host.terms.Files); (got > 0) != (len(keys) == 1) {
			t.Errorf("keys %v: %d files", keys, got)
		}
	}
}

// Keeping is refused: the countdown goes on, and the reason is on the screen.
func TestKeepingFails(t *testing.T) {
	d, _ := waitingFix(t, 100, 40)
	d.tick(1)
	d.send(screens.KeptMsg{Err: errors.New("the journal is locked by another lvstui")})
	d.shows("✗ the journal is locked by another lvstui", "c keeps it")
	d.tick(1)
	d.shows("taken back in 58 s")
}

// The selected change is taken back, not the last one.
func TestUndoOfAChosenChange(t *testing.T) {
	host := &plainHost{name: "rs1", facts: sample.BrokenRealServer()}
	for i, id := range []string{"a", "b", "c"} {
		host.changes = append(host.changes, fixes.Change{ID: id, Host: "rs1", Title: "change " + id, AppliedAt: sample.At.Add(time.Duration(i) * minute), State: fixes.Applied})
	}
	d := newDriver(t, 80, 24, Options{Hosts: hostsOf(host)}).start()
	d.press("6", "down", "z")
	d.shows("Take this change back?", "change b")
	d.pass()
	d.press("y")
	for i, want := range []fixes.ChangeState{fixes.Applied, fixes.Undone, fixes.Applied} {
		if host.changes[i].State != want {
			t.Errorf("change %s is %s", host.changes[i].ID, host.changes[i].State)
		}
	}
	d.press("esc", "z")
	d.shows("this change is not in force")
}

// lvstui setup begins on the Setup screen.
func TestBeginOnAScreen(t *testing.T) {
	d := newDriver(t, 80, 24, Options{Hosts: hostsOf(&plainHost{name: "web1", facts: sample.BareRealServer()}), Screen: "Setup"}).start()
	d.shows("Make this host the director or a real server")
}

// A set-up follows the first client that comes after it.
func TestSetUpWatchesTheFirstHandshake(t *testing.T) {
	host := &plainHost{name: "web1", facts: sample.BareRealServer()}
	d := newDriver(t, 100, 40, Options{Hosts: hostsOf(host), ConfirmWithin: minute}).start()
	d.press("5", "enter", "down", "enter", "f")
	d.shows("make this host a real server of 172.16.0.8", "4 ")
	d.pass()
	d.press("a")
	d.shows("… waiting for the first client", "What the others need", "lvstui setup director --vip 172.16.0.8")
	d.press("y")
	if d.clip == "" || d.clip[:12] != "the director" {
		t.Errorf("copied %q", d.clip)
	}
	young := sample.HealthyDirector().Flows[0]
	young.FirstSeen = d.now.Add(2 * time.Second)
	host.facts.Flows = append(host.facts.Flows, young)
	d.tick(3)
	d.shows("The first handshake since: "+young.Client.String(), "✓ established")
}
