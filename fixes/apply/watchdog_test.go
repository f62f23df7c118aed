package apply_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lvstui/fixes"
	"lvstui/fixes/apply"
	"lvstui/lvs"
)

// soon is long enough to look at a change that waits, and short enough to wait for its end.
const soon = 2 * time.Second

// ended waits until the one change there is neither waits nor is interrupted.
func ended(t *testing.T, a *apply.Applier) fixes.Change {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		c := only(t, a)
		if c.State != fixes.Waiting && c.State != fixes.Interrupted {
			return c
		}
		if time.Now().After(deadline) {
			t.Fatalf("not settled: %+v\n%s", c, watchdogLog(a))
		}
	}
}

func only(t *testing.T, a *apply.Applier) fixes.Change {
	t.Helper()
	list, err := a.List(context.Background())
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	return list[0]
}

func watchdogLog(a *apply.Applier) string {
	text := ""
	files, _ := filepath.Glob(filepath.Join(a.Dir, "*", "*.log"))
	for _, name := range files {
		b, _ := os.ReadFile(name)
		text += name + ":\n" + string(b)
	}
	return text
}

// waiting applies a plan that waits to be confirmed.
func waiting(t *testing.T, a *apply.Applier, plan fixes.Plan, seen *lvs.Snapshot, terms fixes.Terms) fixes.Change {
	t.Helper()
	c, err := a.Apply(context.Background(), plan, seen, terms, nil)
	if err != nil || c.State != fixes.Waiting || c.Deadline.IsZero() || c.Note != "" {
		t.Fatalf("%+v, %v\n%s", c, err, watchdogLog(a))
	}
	return c
}

func same(t *testing.T, before *lvs.Snapshot, when string) {
	t.Helper()
	if d := differences(before, look(t, vip)); d != "" {
		t.Fatalf("%s: before -, now +\n%s", when, d)
	}
}

func TestAChangeThatIsNotConfirmedIsTakenBack(t *testing.T) {
	a, before, plan := host(t)
	begin := time.Now()
	c := waiting(t, a, plan, before, fixes.Terms{ConfirmWithin: soon})
	if rest := time.Until(c.Deadline); rest < 0 || rest > soon+time.Second {
		t.Errorf("the deadline is in %s", rest)
	}
	predicted, err := plan.After(before)
	if err != nil {
		t.Fatal(err)
	}
	if d := differences(predicted, look(t, vip)); d != "" {
		t.Fatalf("while it waits: simulated -, kernel +\n%s", d)
	}
	_, err = a.Apply(context.Background(), plan, nil, fixes.Terms{}, nil)
	fails(t, err, "waits to be confirmed", "lvstui confirm "+c.ID)
	c = ended(t, a)
	if c.State != fixes.Undone || c.Note != "not confirmed within 2 s" || c.Error != "" || !c.Deadline.IsZero() {
		t.Errorf("%+v", c)
	}
	if took := time.Since(begin); took < soon {
		t.Errorf("taken back after %s", took)
	}
	same(t, before, "taken back")
	_, err = a.Confirm(context.Background(), "")
	fails(t, err, "no change waits")
	_, err = a.Confirm(context.Background(), c.ID)
	fails(t, err, "is taken back")
}

func TestAChangeThatIsConfirmedStays(t *testing.T) {
	a, before, plan := host(t)
	c := waiting(t, a, plan, before, fixes.Terms{ConfirmWithin: soon})
	if c, err := a.Confirm(context.Background(), c.ID); err != nil || c.State != fixes.Applied || !c.Deadline.IsZero() {
		t.Fatalf("%+v, %v", c, err)
	}
	after := look(t, vip)
	time.Sleep(soon + time.Second)
	same(t, after, "after the deadline")
	if c := only(t, a); c.State != fixes.Applied || c.Error != "" || c.Note != "" {
		t.Errorf("%+v", c)
	}
	_, err := a.Confirm(context.Background(), c.ID)
	fails(t, err, "kept already")
	if _, err := a.Undo(context.Background(), ""); err != nil {
		t.Fatal(err)
	}
	same(t, before, "undone")
}

func TestAChangeThatWaitsCanBeTakenBackAtOnce(t *testing.T) {
	a, before, plan := host(t)
	waiting(t, a, plan, before, fixes.Terms{ConfirmWithin: time.Hour})
	if c, err := a.Undo(context.Background(), ""); err != nil || c.State != fixes.Undone {
		t.Fatalf("%+v, %v", c, err)
	}
	same(t, before, "undone")
	// Its watchdog ends with it.
	deadline := time.Now().Add(10 * time.Second)
	for len(watchdogs(t)) > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("still there: %v", watchdogs(t))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// watchdogs are the processes that watch a change in the namespace of this thread.
func watchdogs(t *testing.T) (pids []int) {
	t.Helper()
	here, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		line, _ := os.ReadFile(dir + "/cmdline")
		ns, _ := os.Readlink(dir + "/ns/net")
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil && ns == here && string(line) != "" && isWatchdog(string(line)) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func isWatchdog(cmdline string) bool {
	for i := range len(cmdline) - len(apply.WatchdogCommand) {
		if cmdline[i:i+len(apply.WatchdogCommand)] == apply.WatchdogCommand {
			return true
		}
	}
	return false
}

// A watchdog has nothing of the session it comes from: no terminal, no descriptor, no folder, and what ends a session does not end it.
func TestAWatchdogHasLetGoOfTheSession(t *testing.T) {
	a, before, plan := host(t)
	waiting(t, a, plan, before, fixes.Terms{ConfirmWithin: soon})
	pids := watchdogs(t)
	if len(pids) != 1 {
		t.Fatal(pids)
	}
	dir := filepath.Join("/proc", strconv.Itoa(pids[0]))
	if sid, err := unix.Getsid(pids[0]); err != nil || sid != pids[0] {
		t.Errorf("session %d, %v", sid, err)
	}
	if cwd, _ := os.Readlink(dir + "/cwd"); cwd != "/" {
		t.Errorf("in %s", cwd)
	}
	for fd, want := range map[string]string{"0": "/dev/null", "1": "/dev/null"} {
		if got, _ := os.Readlink(dir + "/fd/" + fd); got != want {
			t.Errorf("descriptor %s is %s", fd, got)
		}
	}
	if log, _ := os.Readlink(dir + "/fd/2"); filepath.Ext(log) != ".log" {
		t.Errorf("standard error is %s", log)
	}
	for _, sig := range []unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT} {
		if err := unix.Kill(pids[0], sig); err != nil {
			t.Fatal(err)
		}
	}
	if c := ended(t, a); c.State != fixes.Undone {
		t.Errorf("%+v", c)
	}
	same(t, before, "taken back")
}

// Asked to end, as when the machine goes down, a watchdog leaves nothing behind that nobody watches.
func TestAWatchdogThatIsToEndTakesBackFirst(t *testing.T) {
	a, before, plan := host(t)
	waiting(t, a, plan, before, fixes.Terms{ConfirmWithin: time.Hour})
	if err := unix.Kill(watchdogs(t)[0], unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if c := ended(t, a); c.State != fixes.Undone {
		t.Errorf("%+v", c)
	}
	same(t, before, "taken back")
}

// The clock on the wall is set while a change waits: it is neither taken back early nor kept too long.
func TestTheClockOnTheWallDoesNotMatter(t *testing.T) {
	for name, step := range map[string]time.Duration{"an hour on": time.Hour, "an hour back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			a, before, plan := host(t)
			begin := time.Now()
			waiting(t, a, plan, before, fixes.Terms{ConfirmWithin: soon})
			stepClock(t, step)
			defer stepClock(t, -step)
			time.Sleep(soon / 2)
			c := only(t, a)
			if rest := c.Deadline.Sub(wallNow()); c.State != fixes.Waiting || rest < 0 || rest > soon {
				t.Fatalf("after half the time: %+v, %s left", c, rest)
			}
			if c := ended(t, a); c.State != fixes.Undone {
				t.Errorf("%+v", c)
			}
			if took := time.Since(begin); took < soon || took > 5*soon { // by the monotonic clock
				t.Errorf("taken back after %s", took)
			}
			same(t, before, "taken back")
		})
	}
}

func wallNow() time.Time { return time.Now().Round(0) }

func stepClock(t *testing.T, by time.Duration) {
	t.Helper()
	tv := unix.NsecToTimeval(wallNow().Add(by).UnixNano())
	if err := unix.Settimeofday(&tv); err != nil {
		t.Fatal(err)
	}
}

func TestWithoutAWatchdogNothingIsChanged(t *testing.T) {
	a, before, plan := host(t)
	a.At(func(place string) {
		if place == "planned" { // the watchdog's log is where no file can be
			dirs, _ := filepath.Glob(filepath.Join(a.Dir, "*"))
			if err := os.Mkdir(filepath.Join(dirs[0], "0001-"+plan.ID+".log"), 0o700); err != nil {
				t.Error(err)
			}
		}
	})
	c, err := a.Apply(context.Background(), plan, before, fixes.Terms{ConfirmWithin: soon}, nil)
	fails(t, err, "could not be started", "is a directory")
	if c.State != fixes.Failed {
		t.Errorf("%+v", c)
	}
	same(t, before, "refused")
}

// lvstui is stopped in the middle of a change, with Ctrl-Z, and holds the lock: it does not hold up the way back.
func TestAnLvstuiThatIsStuckIsEnded(t *testing.T) {
	t.Setenv(hastyEnv, "1")
	a, before, plan := host(t)
	if !send(t, errand{Dir: a.Dir, Steps: encode(t, plan), Terms: fixes.Terms{ConfirmWithin: time.Second}, Stop: "moved"}) {
		t.Fatal("not killed")
	}
	if c := ended(t, a); c.State != fixes.Undone || c.Note != "lvstui ended in the middle" {
		t.Errorf("%+v", c)
	}
	same(t, before, "taken back")
}

// An operator who takes the journal away does not leave a watchdog behind that looks for it for ever.
func TestAWatchdogEndsWithItsJournal(t *testing.T) {
	a, before, plan := host(t)
	waiting(t, a, plan, before, fixes.Terms{ConfirmWithin: time.Hour})
	if err := os.RemoveAll(a.Dir); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); len(watchdogs(t)) > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still there: %v", watchdogs(t))
		}
	}
}

func TestAWatchdogIsOfNoUseByHand(t *testing.T) {
	a, before, plan := host(t)
	c := waiting(t, a, plan, before, fixes.Terms{ConfirmWithin: time.Hour})
	if got := applier("").Watchdog([]string{a.Dir, c.ID, "1"}); got == 0 {
		t.Error("a second watchdog")
	}
	if got := applier("").Watchdog([]string{a.Dir}); got == 0 {
		t.Error("a watchdog of nothing")
	}
	if _, err := a.Undo(context.Background(), ""); err != nil {
		t.Fatal(err)
	}
	same(t, before, "undone")
}
