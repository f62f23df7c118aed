package apply_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lvstui/fixes"
	"lvstui/fixes/apply"
)

// errand is what a second process, this test binary again, is to do until it gets killed.
type errand struct {
	Dir   string
	Root  string
	Do    string // "apply", "undo" or "confirm"
	Steps []json.RawMessage
	Terms fixes.Terms
	Place int    // which of the places it comes by it is killed at, counted from 1; 0: none
	Stop  string // a place where it stops, as with Ctrl-Z
}

const (
	errandEnv = "LVSTUI_TEST_ERRAND"
	// watchdogEnv is the number of the place where a watchdog is killed, counted from 1.
	watchdogEnv = "LVSTUI_TEST_WATCHDOG"
	// hastyEnv shortens a watchdog's patience with an lvstui that is stuck. On a slow machine it would end the test itself.
	hastyEnv = "LVSTUI_TEST_HASTY"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == apply.WatchdogCommand {
		if os.Getenv(hastyEnv) != "" {
			apply.StuckAfter(time.Second)
		}
		a := applier("")
		if place, err := strconv.Atoi(os.Getenv(watchdogEnv)); err == nil {
			a.At(killedAt(place))
		}
		os.Exit(a.Watchdog(os.Args[2:]))
	}
	if text := os.Getenv(errandEnv); text != "" {
		runErrand(text)
		return
	}
	os.Exit(m.Run())
}

// killedAt ends the process at the nth place it comes by.
func killedAt(n int) func(string) {
	places := 0
	return func(string) {
		if places++; places == n {
			unix.Kill(unix.Getpid(), unix.SIGKILL)
			select {}
		}
	}
}

func runErrand(text string) {
	check := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	var e errand
	check(json.Unmarshal([]byte(text), &e))
	plan := fixes.Plan{ID: "killed", Title: "killed on the way"}
	for _, raw := range e.Steps {
		st, err := fixes.DecodeStep(raw)
		check(err)
		plan.Steps = append(plan.Steps, st)
	}
	a, kill := applier(e.Dir), killedAt(e.Place)
	a.Root = e.Root
	a.At(func(place string) {
		if kill(place); place == e.Stop {
			unix.Kill(unix.Getpid(), unix.SIGSTOP)
		}
	})
	var err error
	switch e.Do {
	case "undo":
		_, err = a.Undo(context.Background(), "")
	case "confirm":
		_, err = a.Confirm(context.Background(), "")
	default:
		_, err = a.Apply(context.Background(), plan, nil, e.Terms, nil)
	}
	check(err)
}

// start begins an errand in the namespace of this thread.
func start(t *testing.T, e errand) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	out := &bytes.Buffer{}
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), errandEnv+"="+string(text)), out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, out
}

// send runs an errand in the namespace of this thread. It tells whether it got killed.
func send(t *testing.T, e errand) (killed bool) {
	t.Helper()
	cmd, out := start(t, e)
	err := cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() < 0 {
		return true
	}
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return false
}

// killable has every kind of step, and a way back of several steps for one of them.
var killable = cures["move the first of a subnet"]

func TestKilledAnywhereInApply(t *testing.T) {
	enter(t)
	build(t, killable.host...)
	before := look(t, vip)
	e := errand{Dir: t.TempDir(), Steps: encode(t, killable.plan(before))}
	a := applier(e.Dir)
	interrupted, places := 0, 0
	for e.Place = 1; send(t, e); e.Place++ {
		places++
		list, err := a.List(context.Background())
		if err != nil {
			t.Fatalf("killed at place %d: %v", e.Place, err)
		}
		if len(list) > 0 && list[len(list)-1].State == fixes.Interrupted {
			interrupted++
			if _, err := a.Apply(context.Background(), killable.plan(before), nil, fixes.Terms{}, nil); err == nil {
				t.Fatalf("killed at place %d, and applied on top of it", e.Place)
			}
		}
		if len(list) > 0 && list[len(list)-1].Open() {
			if change, err := a.Undo(context.Background(), ""); err != nil || change.Error != "" {
				t.Fatalf("killed at place %d: %+v, %v", e.Place, change, err)
			}
		}
		if d := differences(before, look(t, vip)); d != "" {
			t.Fatalf("killed at place %d: before -, after undo +\n%s", e.Place, d)
		}
	}
	if interrupted < 2*len(e.Steps) {
		t.Errorf("of %d places only %d left an interrupted change", places, interrupted)
	}
}

func TestKilledAnywhereInUndo(t *testing.T) {
	enter(t)
	build(t, killable.host...)
	before := look(t, vip)
	plan := killable.plan(before)
	places := 0
	for place := 1; ; place++ {
		a := applier(t.TempDir())
		if _, err := a.Apply(context.Background(), plan, before, fixes.Terms{}, nil); err != nil {
			t.Fatal(err)
		}
		if !send(t, errand{Dir: a.Dir, Do: "undo", Place: place}) {
			break
		}
		places++
		if place%4 == 1 && open(t, a) {
			// Killed again on the second way back, at the same place; the third one gets home.
			send(t, errand{Dir: a.Dir, Do: "undo", Place: place})
		}
		if open(t, a) {
			if change, err := a.Undo(context.Background(), ""); err != nil || change.Error != "" {
				t.Fatalf("killed at place %d: %+v, %v", place, change, err)
			}
		}
		if d := differences(before, look(t, vip)); d != "" {
			t.Fatalf("killed at place %d: before -, after undo +\n%s", place, d)
		}
	}
	if places < 2*len(plan.Steps) {
		t.Errorf("only %d places to be killed at", places)
	}
}

// open tells whether the one change there is can be taken back.
func open(t *testing.T, a *apply.Applier) bool {
	t.Helper()
	list, err := a.List(context.Background())
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	return list[0].Open()
}

func TestAnInterruptedChangeLeavesAloneWhatSomebodyElseSet(t *testing.T) {
	a, before, plan := host(t)
	e := errand{Dir: a.Dir, Steps: encode(t, plan), Place: 5} // two steps on the way
	if !send(t, e) {
		t.Fatal("not killed")
	}
	build(t, "sysctl net/ipv4/conf/all/arp_ignore 8")
	change, err := a.Undo(context.Background(), "")
	if err != nil || change.State != fixes.Undone {
		t.Fatalf("%+v, %v", change, err)
	}
	fails(t, errors.New(change.Error), "net.ipv4.conf.all.arp_ignore is 8, was 0", "left alone")
	build(t, "sysctl net/ipv4/conf/all/arp_ignore "+strconv.Itoa(before.Effective("v0", "arp_ignore").All))
	if d := differences(before, look(t, vip)); d != "" {
		t.Error(d)
	}
}

func encode(t *testing.T, p fixes.Plan) []json.RawMessage {
	t.Helper()
	var out []json.RawMessage
	for _, st := range p.Steps {
		raw, err := fixes.EncodeStep(st)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, raw)
	}
	return out
}
