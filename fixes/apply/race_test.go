package apply_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lvstui/fixes"
)

// Confirmed just when the time is up: the change is kept or taken back, whole, and the answer says which.
func TestConfirmAndWatchdogAtOnce(t *testing.T) {
	a, before, plan := host(t)
	root, edits := image(t)
	a.Root = root
	was := tree(t, root)
	after, err := plan.After(before)
	if err != nil {
		t.Fatal(err)
	}
	var kept map[string]string
	keptOnes, backOnes := 0, 0
	for i := range 7 {
		a.Dir = t.TempDir()
		begin := time.Now()
		waiting(t, a, plan, before, fixes.Terms{ConfirmWithin: 300 * time.Millisecond, Files: edits})
		time.Sleep(time.Until(begin.Add(250*time.Millisecond + time.Duration(i)*50*time.Millisecond)))
		c, err := a.Confirm(context.Background(), "")
		if err == nil && c.State == fixes.Applied {
			keptOnes++
			if d := differences(after, look(t, vip)); d != "" {
				t.Fatalf("kept: simulated -, kernel +\n%s", d)
			}
			if now := tree(t, root); kept == nil {
				kept = now
			}
			sameTree(t, kept, root, "kept")
			undoAll(t, a, before)
		} else {
			backOnes++
			if c := ended(t, a); c.State != fixes.Undone || c.Error != "" {
				t.Fatalf("%+v, %v", c, err)
			}
		}
		same(t, before, "in the end")
		sameTree(t, was, root, "in the end")
	}
	if keptOnes == 0 || backOnes == 0 {
		t.Logf("kept %d, taken back %d: a slow machine", keptOnes, backOnes)
	}
}

// Several lvstui want to make the same change at once: one does, the others are told, and there is one way back.
func TestSeveralProcessesAtOnce(t *testing.T) {
	a, before, plan := host(t)
	e := errand{Dir: a.Dir, Steps: encode(t, plan), Terms: fixes.Terms{ConfirmWithin: time.Hour}}
	var mu sync.Mutex
	var refusals []string
	done := 0
	var all sync.WaitGroup
	for range 4 {
		cmd, out := start(t, e)
		all.Go(func() {
			err := cmd.Wait()
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				done++
			} else {
				refusals = append(refusals, out.String())
			}
		})
	}
	all.Wait()
	if done != 1 || len(refusals) != 3 {
		t.Fatalf("%d did it; refused: %q", done, refusals)
	}
	for _, text := range refusals {
		if !strings.Contains(text, "another lvstui") && !strings.Contains(text, "waits to be confirmed") {
			t.Errorf("refused with %q", text)
		}
	}
	if c := only(t, a); c.State != fixes.Waiting || len(watchdogs(t)) != 1 {
		t.Errorf("%+v, watchdogs %v", c, watchdogs(t))
	}
	undoAll(t, a, before)
}

// The right to change the host is lost half-way, so that lvstui cannot even take back what it did: its watchdog can.
func TestTheCapabilityIsLostHalfWay(t *testing.T) {
	enter(t)
	build(t, killable.host...)
	a, before := applier(t.TempDir()), look(t, vip)
	plan := killable.plan(before)
	moved := 0
	a.At(func(place string) {
		if place != "moved" {
			return
		}
		_, address := plan.Steps[moved].(fixes.AddAddress) // its way back needs the capability
		if moved++; address {
			dropNetAdmin(t)
		}
	})
	c, err := a.Apply(context.Background(), plan, before, fixes.Terms{ConfirmWithin: time.Hour}, nil)
	fails(t, err, "CAP_NET_ADMIN", "could not all be taken back")
	if c.State != fixes.Interrupted {
		t.Errorf("%+v", c)
	}
	if c := ended(t, a); c.State != fixes.Undone || c.Error != "" {
		t.Errorf("%+v\n%s", c, watchdogLog(a))
	}
	same(t, before, "taken back by the watchdog")
}

// dropNetAdmin takes the capability from this thread, which ends with the test.
func dropNetAdmin(t *testing.T) {
	t.Helper()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&header, &caps[0]); err != nil {
		t.Fatal(err)
	}
	caps[0].Effective &^= 1 << unix.CAP_NET_ADMIN
	if err := unix.Capset(&header, &caps[0]); err != nil {
		t.Fatal(err)
	}
}
