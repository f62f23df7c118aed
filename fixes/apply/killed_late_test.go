package apply_test

import (
	"context"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lvstui/fixes"
	"lvstui/fixes/apply"
	"lvstui/lvs"
)

// lvstui is killed while it makes a change that would have waited: its watchdog takes it back, and nobody has to do anything.
func TestKilledAnywhereInApplyWithAWatchdog(t *testing.T) {
	a, before, plan := host(t)
	root, edits := image(t)
	was := tree(t, root)
	alone, watched := 0, 0
	e := errand{Root: root, Steps: encode(t, plan), Terms: fixes.Terms{ConfirmWithin: 300 * time.Millisecond, Files: edits}}
	for e.Place, e.Dir = 1, t.TempDir(); send(t, e); e.Place, e.Dir = e.Place+1, t.TempDir() {
		a.Dir = e.Dir
		list, err := a.List(context.Background())
		switch {
		case err != nil:
			t.Fatal(err)
		case len(list) == 0:
			continue // before it was written down
		case len(watchdogs(t)) == 0 && list[0].State == fixes.Interrupted:
			alone++ // before the watchdog: nothing was done
			same(t, before, "without a watchdog")
			continue
		}
		watched++
		if c := ended(t, a); c.State != fixes.Undone || c.Error != "" || c.Note == "" {
			t.Fatalf("killed at place %d: %+v", e.Place, c)
		}
		same(t, before, "killed at place "+strconv.Itoa(e.Place))
		sameTree(t, was, root, "killed at place "+strconv.Itoa(e.Place))
	}
	if watched < 2*len(plan.Steps)+1 {
		t.Errorf("killed at %d places, %d of them before there was a watchdog", watched+alone, alone)
	}
	a.Dir = e.Dir
	if c := ended(t, a); c.State != fixes.Undone {
		t.Errorf("%+v", c)
	}
}

// The watchdog is killed wherever it is: the next lvstui does its work.
func TestTheWatchdogIsKilledAnywhere(t *testing.T) {
	a, before, plan := host(t)
	root, edits := image(t)
	was := tree(t, root)
	a.Root = root
	next := []func(id string) error{
		func(id string) error { _, err := a.Undo(context.Background(), id); return err },
		func(id string) error { // too late: takes it back
			if _, err := a.Confirm(context.Background(), id); err == nil {
				t.Error("confirmed after the deadline")
			}
			return nil
		},
		func(string) error {
			if _, err := a.Apply(context.Background(), plan, nil, fixes.Terms{}, nil); err == nil {
				t.Error("applied on top")
			}
			return nil
		},
	}
	places := 0
	for place := 1; ; place++ {
		a.Dir = t.TempDir()
		t.Setenv(watchdogEnv, strconv.Itoa(place))
		c, err := a.Apply(context.Background(), plan, before, fixes.Terms{ConfirmWithin: 300 * time.Millisecond, Files: edits}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(20 * time.Second); len(watchdogs(t)) > 0; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the watchdog did not end\n%s", watchdogLog(a))
			}
		}
		if time.Sleep(time.Until(c.Deadline.Add(10 * time.Millisecond))); only(t, a).State == fixes.Undone {
			if place > places+2 {
				break // nobody was killed any more
			}
		} else {
			places++
			if c := only(t, a); c.State == fixes.Waiting && c.Note == "" {
				t.Errorf("nothing said about the watchdog: %+v", c)
			}
			if err := next[place%len(next)](c.ID); err != nil && only(t, a).State != fixes.Undone {
				t.Fatalf("place %d: %v", place, err)
			}
			if only(t, a).State == fixes.Interrupted { // only undo goes on with a way back
				if _, err := a.Undo(context.Background(), ""); err != nil {
					t.Fatal(err)
				}
			}
		}
		same(t, before, "killed at place "+strconv.Itoa(place))
		sameTree(t, was, root, "killed at place "+strconv.Itoa(place))
	}
	if places < 2*len(plan.Steps) {
		t.Errorf("only %d places to be killed at", places)
	}
}

// Killed while it keeps a change and writes its files: the watchdog, confirm or undo finish it, and then all or nothing is there.
func TestKilledAnywhereInConfirm(t *testing.T) {
	a, before, plan := host(t)
	root, edits := image(t)
	a.Root = root
	was := tree(t, root)
	if _, err := a.Apply(context.Background(), plan, before, fixes.Terms{Files: edits}, nil); err != nil {
		t.Fatal(err)
	}
	kept := tree(t, root)
	undoAll(t, a, before)
	places := 0
	for place := 1; ; place++ {
		who := []string{"the watchdog", "confirm", "undo"}[place%3]
		when := "killed at place " + strconv.Itoa(place) + ", finished by " + who
		a.Dir = t.TempDir()
		waiting(t, a, plan, before, fixes.Terms{ConfirmWithin: time.Hour, Files: edits})
		if who != "the watchdog" {
			killWatchdog(t)
		}
		if !send(t, errand{Dir: a.Dir, Do: "confirm", Place: place}) {
			undoAll(t, a, before)
			break
		}
		places++
		c := only(t, a)
		switch {
		case c.State == fixes.Interrupted && who == "the watchdog":
			ended(t, a)
		case c.State == fixes.Interrupted && c.Note == "":
			t.Errorf("%s: nothing said: %+v", when, c)
		}
		if c.State == fixes.Waiting || c.State == fixes.Interrupted && who == "confirm" {
			if _, err := a.Confirm(context.Background(), c.ID); err != nil {
				t.Fatalf("%s: %v", when, err)
			}
		}
		if who != "undo" || c.State == fixes.Waiting {
			if c := only(t, a); c.State != fixes.Applied || c.Error != "" {
				t.Fatalf("%s: %+v", when, c)
			}
			sameTree(t, kept, root, when)
		}
		undoAll(t, a, before)
		sameTree(t, was, root, when)
	}
	if places < 3*len(edits) {
		t.Errorf("only %d places to be killed at", places)
	}
}

func undoAll(t *testing.T, a *apply.Applier, before *lvs.Snapshot) {
	t.Helper()
	if c, err := a.Undo(context.Background(), ""); err != nil || c.Error != "" {
		t.Fatalf("%+v, %v", c, err)
	}
	same(t, before, "undone")
}

func killWatchdog(t *testing.T) {
	t.Helper()
	for _, pid := range watchdogs(t) {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	for len(watchdogs(t)) > 0 {
		time.Sleep(10 * time.Millisecond)
	}
}

// Killed while it takes back a change with files: undo goes on, and all is as it was.
func TestKilledAnywhereInUndoOfFiles(t *testing.T) {
	a, before, plan := host(t)
	root, edits := image(t)
	a.Root = root
	was := tree(t, root)
	plan.Steps = plan.Steps[2:] // TestKilledAnywhereInUndo is about steps
	places := 0
	for place := 1; ; place++ {
		a.Dir = t.TempDir()
		if _, err := a.Apply(context.Background(), plan, before, fixes.Terms{Files: edits}, nil); err != nil {
			t.Fatal(err)
		}
		if !send(t, errand{Dir: a.Dir, Do: "undo", Place: place}) {
			break
		}
		places++
		if open(t, a) {
			undoAll(t, a, before)
		}
		same(t, before, "killed at place "+strconv.Itoa(place))
		sameTree(t, was, root, "killed at place "+strconv.Itoa(place))
	}
	if places < 2*len(plan.Steps)+3*len(edits) {
		t.Errorf("only %d places to be killed at", places)
	}
}

// The disk with the journal is full from some place on: what was begun is taken back all the same.
func TestTheDiskWithTheJournalIsFull(t *testing.T) {
	a, before, plan := host(t)
	for place := 1; ; place++ {
		a.Dir = tinyDisk(t)
		places, full := 0, false
		a.At(func(string) {
			if places++; places == place {
				full = true
				fill(t, a.Dir+"/full")
			}
		})
		_, err := a.Apply(context.Background(), plan, before, fixes.Terms{ConfirmWithin: time.Second}, nil)
		a.At(nil)
		if !full {
			undoAll(t, a, before)
			break
		}
		if err != nil {
			fails(t, err, "no space left on device")
		} else { // full once it waited: it is taken back nevertheless, only not written down
			for deadline := time.Now().Add(10 * time.Second); differences(before, look(t, vip)) != "" && time.Now().Before(deadline); {
				time.Sleep(100 * time.Millisecond)
			}
		}
		same(t, before, "full at place "+strconv.Itoa(place))
		if err := os.Remove(a.Dir + "/full"); err != nil {
			t.Fatal(err)
		}
		if list, _ := a.List(context.Background()); len(list) == 1 && list[0].Open() {
			_, _ = a.Undo(context.Background(), "") // or the watchdog does
			if c := ended(t, a); c.State == fixes.Applied {
				t.Errorf("full at place %d: %+v", place, c)
			}
		}
		same(t, before, "with room again")
	}
}
