package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"lvstui/fixes"
)

// watchdogGrace is how long after the deadline the watchdog should have taken a change back; after that we do it ourselves.
const watchdogGrace = 5 * time.Second

// askKeep asks on the terminal whether to keep a change, and counts down. The answer is no when the terminal goes or lvstui is told to
// end. When the change is settled before that, by the watchdog or from another terminal, it says so and has it in change.
func (h thisHost) askKeep(ctx context.Context, change *fixes.Change, deadline time.Time) (keep bool, err error) {
	restore, err := singleKeys(os.Stdin)
	if err != nil {
		return false, nil // the terminal has gone
	}
	defer restore()
	note("look whether all is well, from a new connection too: does the client get its answer, do you still get in?")
	for said := -1; ; {
		if left := int(time.Until(deadline).Round(time.Second) / time.Second); left != said {
			if said = left; h.settledMeanwhile(ctx, change) {
				return false, nil
			}
			fmt.Fprintf(os.Stderr, "\r%-44s", fmt.Sprintf("keep it? [y/N] taken back in %s ", seconds(left)))
		}
		key, gone := readKey(ctx, os.Stdin, 200*time.Millisecond)
		switch {
		case key == 'y' || key == 'Y':
			fmt.Fprintln(os.Stderr, "y")
			return true, nil
		case key == 'n' || key == 'N' || key == '\r' || key == '\n' || key == 0x1b:
			fmt.Fprintln(os.Stderr, "n")
			return false, nil
		case gone, ctx.Err() != nil, time.Now().After(deadline.Add(watchdogGrace)):
			fmt.Fprintln(os.Stderr)
			return false, nil
		}
	}
}

// seconds is a time that is left: "47 s", "4m59s".
func seconds(n int) string {
	if n < 100 {
		return fmt.Sprintf("%d s", max(0, n))
	}
	return (time.Duration(n) * time.Second).String()
}

// settledMeanwhile says that the change does not wait any more, and what became of it.
func (h thisHost) settledMeanwhile(ctx context.Context, change *fixes.Change) bool {
	list, err := h.applier().List(ctx)
	if err != nil {
		return false // asked again in a second
	}
	for _, c := range list {
		if c.ID != change.ID || c.State == fixes.Waiting || c.State == fixes.Interrupted {
			continue
		}
		*change = c
		fmt.Fprintln(os.Stderr)
		if c.State == fixes.Applied {
			h.kept(c)
		} else {
			takenBack(c)
		}
		return true
	}
	return false
}

// singleKeys makes a terminal give each key at once and without echo. What was typed before is thrown away. Ctrl-C goes on to be a signal.
func singleKeys(tty *os.File) (restore func(), err error) {
	fd := int(tty.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, err
	}
	raw := *before
	raw.Lflag &^= unix.ICANON | unix.ECHO
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &raw); err != nil {
		return nil, err
	}
	_ = unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIFLUSH)
	return func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, before) }, nil
}

// waitForInput waits until a line was typed. It is false when lvstui is told to end before that, with Ctrl-C or by the end of the session.
func waitForInput(ctx context.Context, tty *os.File) bool {
	for ctx.Err() == nil {
		poll := []unix.PollFd{{Fd: int32(tty.Fd()), Events: unix.POLLIN}}
		if n, err := unix.Poll(poll, 200); n > 0 || err != nil && err != unix.EINTR {
			return true
		}
	}
	return false
}

// readKey waits a while for a key, 0 when none comes. gone says that the terminal is not there any more.
func readKey(ctx context.Context, tty *os.File, within time.Duration) (key byte, gone bool) {
	if ctx.Err() != nil {
		return 0, false
	}
	poll := []unix.PollFd{{Fd: int32(tty.Fd()), Events: unix.POLLIN}}
	n, err := unix.Poll(poll, int(within/time.Millisecond))
	if n <= 0 {
		return 0, err != nil && err != unix.EINTR
	}
	var b [64]byte
	n, err = unix.Read(int(tty.Fd()), b[:])
	if n <= 0 {
		return 0, err != unix.EINTR && err != unix.EAGAIN
	}
	if n > 1 {
		return 0, false // an arrow, or something pasted: no answer
	}
	return b[0], false
}
