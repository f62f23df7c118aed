package guest

import (
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// reaper is init's duty towards all processes: those we started, whose end somebody waits for, and the
// orphans. One lock around starting and reaping: a process can end before its starter knows its number,
// and a failed exec is waited for within ForkExec.
type reaper struct {
	mu      sync.Mutex
	waiting map[int]chan unix.WaitStatus
}

func newReaper() *reaper { return &reaper{waiting: map[int]chan unix.WaitStatus{}} }

// start runs a process; its end comes through the channel.
func (r *reaper) start(path string, args []string, attr *syscall.ProcAttr) (pid int, ended <-chan unix.WaitStatus, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pid, err = syscall.ForkExec(path, args, attr)
	if err != nil {
		return 0, nil, err
	}
	ch := make(chan unix.WaitStatus, 1)
	r.waiting[pid] = ch
	return pid, ch, nil
}

// signal sends a signal to the process group of a process we started, while it is certain that the
// number is still its own.
func (r *reaper) signal(pid int, sig syscall.Signal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting[pid] != nil {
		_ = syscall.Kill(-pid, sig) // it may have ended a moment ago
	}
}

func (r *reaper) run() {
	died := make(chan os.Signal, 1)
	signal.Notify(died, unix.SIGCHLD)
	tick := time.NewTicker(time.Second) // signals merge; none is to be lost for ever
	defer tick.Stop()
	for {
		for r.reap() {
		}
		select {
		case <-died:
		case <-tick.C:
		}
	}
}

func (r *reaper) reap() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	var status unix.WaitStatus
	pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
	if errors.Is(err, unix.EINTR) {
		return true
	}
	if err != nil || pid <= 0 {
		return false
	}
	if ch := r.waiting[pid]; ch != nil {
		delete(r.waiting, pid)
		ch <- status
	}
	return true
}
