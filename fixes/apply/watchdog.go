package apply

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// WatchdogCommand is the first argument that makes lvstui the watchdog of a change: main hands the rest to Watchdog.
const WatchdogCommand = "__revert"

// armedWord is what a watchdog says once it is there.
const armedWord = "armed"

const (
	// armWithin is how long a watchdog may take to be there.
	armWithin = 15 * time.Second
	// stuckAfterDeadline is how long after the deadline an lvstui that does not go on with a change is ended, so that it can be taken back:
	// somebody may have stopped it with Ctrl-Z.
	stuckAfterDeadline = 30 * time.Second
	// watchEvery is how often a watchdog looks at journal and clock: a timer of its own would not run on in suspend.
	watchEvery = 250 * time.Millisecond
	// retryEvery is how often it tries what has failed, for as long as it takes.
	retryEvery = 2 * time.Second
)

var stuckAfter = stuckAfterDeadline // tests have less time

// arm starts the watchdog of a change and waits until it is there. Where systemd runs it gets a unit of its own, which the end of the
// operator's session does not reach; elsewhere it is a process of its own session.
func (a *Applier) arm(j *journal, r *record) error {
	dir, err := filepath.Abs(filepath.Dir(j.dir))
	if err != nil {
		return err
	}
	args := []string{WatchdogCommand, dir, r.Change.ID, strconv.Itoa(unix.Getpid())}
	if run := systemdRun(); run != "" {
		// By /proc, so that it is this very program, even when its file has been replaced.
		scope := []string{run, "--scope", "--quiet", "--slice=system.slice", "--unit=" + unitName(j, r), "--description=lvstui takes back change " + r.Change.ID +
			" unless it is confirmed", "--", fmt.Sprintf("/proc/%d/exe", unix.Getpid())}
		if err := launch(append(scope, args...)); err == nil {
			return nil
		}
	}
	if err := launch(append([]string{"/proc/self/exe"}, args...)); err != nil {
		return fmt.Errorf("the process that would take the change back could not be started: %w", err)
	}
	return nil
}

// systemdRun is systemd's program to run something in a unit, "" where systemd is not what runs this host or is not ours to ask.
func systemdRun() string {
	if info, err := os.Stat("/run/systemd/system"); err != nil || !info.IsDir() || unix.Geteuid() != 0 {
		return ""
	}
	for _, name := range []string{"/usr/bin/systemd-run", "/bin/systemd-run"} {
		if unix.Access(name, unix.X_OK) == nil {
			return name
		}
	}
	return ""
}

// unitName is one that no other change of this machine has.
func unitName(j *journal, r *record) string {
	namespace, _, _ := strings.Cut(strings.TrimPrefix(r.Change.NetNS, "net:["), "]")
	number, _, _ := strings.Cut(r.Change.ID, "-")
	return fmt.Sprintf("lvstui-revert-%s-%s-%d.scope", word(namespace), number, unix.Getpid())
}

// launch starts a watchdog from this thread, so that it is in its network namespace, and waits for its word.
func launch(argv []string) error {
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.SysProcAttr = "/", in, &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	in.Close()
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	_ = out.SetReadDeadline(time.Now().Add(armWithin))
	line, err := bufio.NewReader(io.LimitReader(out, 1<<12)).ReadString('\n')
	if line = strings.TrimSpace(line); line == armedWord {
		return nil
	}
	_ = cmd.Process.Kill()
	<-ended
	if line == "" {
		return fmt.Errorf("%s: it does not answer: %w", filepath.Base(argv[0]), err)
	}
	return errors.New(line)
}

// Watchdog is the whole of a process that takes back a change unless it is confirmed: args is what follows WatchdogCommand. It says on
// standard output that it is there, lets go of whatever belongs to the operator's session, and ends when the change is settled. The
// result is the exit status.
func (a *Applier) Watchdog(args []string) int {
	runtime.LockOSThread()
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGPIPE, unix.SIGTSTP)
	if len(args) != 3 {
		fmt.Fprintf(os.Stderr, "lvstui %s is what lvstui starts itself to take a change back; see `lvstui confirm --help`\n", WatchdogCommand)
		return 3
	}
	a.Dir = args[0]
	w, err := a.watch(args[1], args[2])
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer w.close()
	fmt.Println(armedWord)
	if err := w.letGo(); err != nil {
		w.say("%v", err)
	}
	a.reached("armed")
	w.run()
	return 0
}

// watchdog watches one change.
type watchdog struct {
	*Applier
	j    *journal
	id   string
	log  *os.File
	pid  int // a descriptor of the process that makes the change, -1 when it has ended
	seen string
	at   time.Duration // when the journal was first seen as it is, since boot
	said string
	stop chan os.Signal
}

func (a *Applier) watch(id, parent string) (*watchdog, error) {
	j, err := a.openUnlocked()
	if err != nil {
		return nil, err
	}
	r, err := readRecord(filepath.Join(j.dir, id+".json"))
	if err != nil {
		return nil, err
	}
	if r.Wait == nil {
		return nil, fmt.Errorf("change %s does not wait to be confirmed", id)
	}
	w := &watchdog{Applier: a, j: j, id: id, pid: -1, stop: make(chan os.Signal, 1)}
	if w.log, err = os.OpenFile(filepath.Join(j.dir, id+".log"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600); err != nil {
		return nil, err
	}
	if err := lockFile(w.log, 0); err != nil {
		w.log.Close()
		return nil, fmt.Errorf("change %s has a watchdog: %w", id, err)
	}
	if n, err := strconv.Atoi(parent); err == nil && n == unix.Getppid() {
		if fd, err := unix.PidfdOpen(n, 0); err == nil && unix.Getppid() == n {
			w.pid = fd
		}
	}
	signal.Notify(w.stop, unix.SIGTERM)
	return w, nil
}

func (w *watchdog) close() {
	w.log.Close()
	if w.pid >= 0 {
		unix.Close(w.pid)
	}
}

// letGo makes /dev/null of what was the operator's, and the log of standard error.
func (w *watchdog) letGo() error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	return errors.Join(unix.Dup3(int(null.Fd()), 0, 0), unix.Dup3(int(null.Fd()), 1, 0), unix.Dup3(int(w.log.Fd()), 2, 0))
}

func (w *watchdog) say(format string, args ...any) {
	fmt.Fprintf(w.log, "%s "+format+"\n", append([]any{time.Now().UTC().Format(time.RFC3339)}, args...)...)
}

// complain says what does not go, once: it is tried again for as long as it takes.
func (w *watchdog) complain(err error) {
	if err.Error() != w.said {
		w.said = err.Error()
		w.say("%v", err)
	}
}

// run watches until the change is settled.
func (w *watchdog) run() {
	w.say("watching change %s", w.id)
	wait, tries := watchEvery, -1
	for tries != 0 {
		select {
		case <-time.After(wait):
		case <-w.stop:
			w.say("asked to end: taking the change back now")
			tries = 10
		}
		done, err := w.look(tries > 0)
		if done {
			return
		}
		if wait = watchEvery; err != nil {
			w.complain(err)
			wait = retryEvery
		}
		if tries > 0 {
			tries--
		}
	}
}

// look does what is due. It tells when there is nothing left to watch.
func (w *watchdog) look(now bool) (done bool, err error) {
	r, err := w.read()
	if errors.Is(err, os.ErrNotExist) {
		w.say("the journal of the change was taken away: nothing left to go by")
		return true, nil
	}
	if err != nil || r.Phase == phaseSettled {
		return err == nil, err
	}
	if r.Phase == phaseWaiting && !r.overdue() && !now {
		return false, nil
	}
	lock, err := w.open()
	if err != nil {
		if errors.Is(err, errBusy) {
			return false, w.unstick(r)
		}
		return false, err
	}
	defer lock.Close()
	// Now that nobody else is at it: what has become of the change?
	if r, err = w.read(); err != nil {
		return false, err
	}
	switch {
	case r.Phase == phaseSettled:
		return true, nil
	case r.Phase == phaseWaiting && !r.overdue() && !now:
		return false, nil
	case r.Phase == phaseKeeping:
		w.say("completing the files of a change that is kept")
		err := w.keep(lock, r)
		return r.onDisk == phaseSettled, err
	}
	w.say("taking the change back: it is %s, and not confirmed", r.Phase)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := w.expire(ctx, lock, r); err != nil {
		return false, err
	}
	w.say("taken back and verified %s", r.Change.Error)
	return true, nil
}

func (w *watchdog) read() (*record, error) { return readRecord(filepath.Join(w.j.dir, w.id+".json")) }

// unstick ends the lvstui that began a change and does not get on with it long after the deadline.
func (w *watchdog) unstick(r *record) error {
	state := r.Phase
	for _, e := range r.Steps {
		state += " " + e.State
	}
	if state != w.seen {
		w.seen, w.at = state, sinceBoot()
	}
	if w.pid < 0 || r.Phase != phaseApplying || sinceBoot() < max(w.at, r.Wait.Deadline)+stuckAfter {
		return nil
	}
	w.say("ending the lvstui that began the change: it is stuck at %q", state)
	return unix.PidfdSendSignal(w.pid, unix.SIGKILL, nil, 0)
}
