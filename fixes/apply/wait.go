package apply

import (
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"lvstui/fixes"
)

// wait is how a change waits for its confirmation. Time is that since boot, suspend included (CLOCK_BOOTTIME): nobody can set it, and
// the journal is of this boot.
type wait struct {
	Within   time.Duration `json:"within_ns"`
	Deadline time.Duration `json:"deadline_since_boot_ns"`
}

func sinceBoot() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(err) // every Linux since 2.6.39 has it
	}
	return time.Duration(ts.Nano())
}

// overdue says that the change should have been confirmed by now.
func (r *record) overdue() bool { return r.Wait != nil && sinceBoot() >= r.Wait.Deadline }

// change is what callers are told of a record: with the deadline by the clock on the wall, and what it means for them.
func (j *journal) change(r *record) fixes.Change {
	c := r.Change
	if r.Wait != nil && r.Phase != phaseSettled {
		c.Deadline = time.Now().Add(r.Wait.Deadline - sinceBoot()).UTC().Round(time.Millisecond)
	}
	switch {
	case r.Phase == phaseKeeping:
		c.Note = "kept, but lvstui ended while it wrote the files for the next boot: `lvstui confirm " + c.ID + "` completes them, `lvstui undo " + c.ID + "` takes all back"
	case r.Phase == phaseWaiting && !j.watched(c.ID) && r.overdue():
		c.Note = "not confirmed in time, and its watchdog is gone: take it back with `lvstui undo " + c.ID + "`"
	case r.Phase == phaseWaiting && !j.watched(c.ID):
		c.Note = "its watchdog is gone: it is not taken back by itself; `lvstui confirm " + c.ID + "` or `lvstui undo " + c.ID + "`"
	}
	return c
}

// watched says that a watchdog is there for a change: it has its log locked.
func (j *journal) watched(id string) bool {
	f, err := os.Open(filepath.Join(j.dir, id+".log"))
	if err != nil {
		return false
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) == unix.EWOULDBLOCK
}
