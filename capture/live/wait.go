//go:build linux

package live

import (
	"context"
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"
)

const (
	pollTimeout = 1000 // ms: how often Run looks whether it keeps up, while nothing comes
	downPause   = 100 * time.Millisecond
)

// wakeUp ends the sleep of wait.
func (c *Capture) wakeUp() {
	one := make([]byte, 8)
	binary.NativeEndian.PutUint64(one, 1)
	_, _ = unix.Write(c.wake, one) // fails only when it is about to overflow, and then it wakes
}

// forgetWake takes back what ended an earlier Run, or wait would not sleep again.
func (c *Capture) forgetWake() { _, _ = unix.Read(c.wake, make([]byte, 8)) }

// wait sleeps until there is a block, until somebody wants Run to end, or for pollTimeout.
func (c *Capture) wait(ctx context.Context) error {
	fds := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN | unix.POLLERR}, {Fd: int32(c.links.fd), Events: unix.POLLIN}, {Fd: int32(c.wake), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, pollTimeout)
	if err != nil && err != unix.EINTR {
		return explain("wait for packets", err)
	}
	if n > 0 && fds[1].Revents != 0 {
		if err := c.watchLinks(); err != nil {
			return err
		}
	}
	if n <= 0 || fds[0].Revents&(unix.POLLERR|unix.POLLNVAL|unix.POLLHUP) == 0 {
		return nil
	}
	// The error must be read off the socket, or poll returns at once for ever.
	code, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return explain("wait for packets", err)
	}
	if e := unix.Errno(code); e != 0 && e != unix.ENETDOWN {
		return explain("wait for packets", e)
	}
	select { // a link that is down comes up again
	case <-ctx.Done():
	case <-c.stop:
	case <-time.After(downPause):
	}
	return nil
}
