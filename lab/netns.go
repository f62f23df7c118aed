package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// netnsDir is where iproute2 looks for named network namespaces, so `ip netns exec` works on the lab's hosts.
const netnsDir = "/run/netns"

// Host is one machine of the lab: a network namespace.
type Host struct {
	// Name is the host's part in the article: "client", "router", "director", "rs1", "rs2".
	Name string
	path string
}

// NetNS is the path of the host's network namespace; its last element is the name `ip netns` shows.
func (h *Host) NetNS() string { return h.path }

// Do runs fn in the host's network namespace, on an operating-system thread of its own. Sockets opened by fn
// stay in the namespace wherever they are used later, and so do programs it starts; goroutines started by fn do
// not. Below /proc, fn finds the host's files in /proc/thread-self/net and /proc/sys/net, not in /proc/net.
func (h *Host) Do(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		restored, err := h.enter(fn)
		if restored {
			runtime.UnlockOSThread()
		} // otherwise the thread ends with this goroutine, so nothing else ever runs in the wrong namespace
		done <- err
	}()
	return <-done
}

// enter does the work of Do on the current, locked thread and says whether the thread is back where it was.
func (h *Host) enter(fn func() error) (restored bool, err error) {
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return true, fmt.Errorf("this thread's network namespace: %w", err)
	}
	defer own.Close()
	target, err := os.Open(h.path)
	if err != nil {
		return true, fmt.Errorf("host %s: %w; is the lab up? type: lvstui lab up", h.Name, err)
	}
	defer target.Close()
	if err := unix.Setns(int(target.Fd()), unix.CLONE_NEWNET); err != nil {
		return true, fmt.Errorf("host %s: enter network namespace %s: %w", h.Name, h.path, err)
	}
	err = fn()
	return unix.Setns(int(own.Fd()), unix.CLONE_NEWNET) == nil, err
}

// Start starts a program on the host, where it finds the host's name as that of its machine: like the network namespace, that of
// host names is inherited from the thread.
func (h *Host) Start(cmd *exec.Cmd) error {
	return h.Do(func() error {
		own, err := os.Open("/proc/thread-self/ns/uts")
		if err != nil {
			return fmt.Errorf("this thread's host name: %w", err)
		}
		defer own.Close()
		if err := unix.Unshare(unix.CLONE_NEWUTS); err != nil {
			return fmt.Errorf("host %s: a name of its own: %w", h.Name, err)
		}
		err = unix.Sethostname([]byte(h.Name))
		if err == nil {
			err = cmd.Start()
		}
		return errors.Join(err, unix.Setns(int(own.Fd()), unix.CLONE_NEWUTS))
	})
}

// sysctl writes one value below /proc/sys in the host. The key has slashes: "net/ipv4/conf/all/rp_filter".
func (h *Host) sysctl(key, value string) error {
	return h.Do(func() error {
		if err := os.WriteFile(filepath.Join("/proc/sys", key), []byte(value), 0o644); err != nil {
			return fmt.Errorf("host %s: set %s to %s: %w", h.Name, key, value, err)
		}
		return nil
	})
}

// readSysctl reads one value below /proc/sys in the host.
func (h *Host) readSysctl(key string) (string, error) {
	var value string
	err := h.Do(func() error {
		data, err := os.ReadFile(filepath.Join("/proc/sys", key))
		value = strings.TrimSpace(string(data))
		return err
	})
	return value, err
}

// createHost makes a named network namespace with its loopback interface still down.
func createHost(name, file string) (*Host, error) {
	if err := os.MkdirAll(netnsDir, 0o755); err != nil {
		return nil, fmt.Errorf("folder for network namespaces: %w", err)
	}
	path := filepath.Join(netnsDir, file)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if err != nil {
		return nil, fmt.Errorf("network namespace %s: %w", path, err)
	}
	f.Close()
	done := make(chan error, 1)
	go func() { // never unlocked: the thread that made the namespace ends here
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("new network namespace for %s: %w; the lab needs root", name, err)
			return
		}
		if err := unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, ""); err != nil {
			done <- fmt.Errorf("name network namespace %s: %w", path, err)
			return
		}
		done <- nil
	}()
	if err := <-done; err != nil {
		os.Remove(path)
		return nil, err
	}
	return &Host{Name: name, path: path}, nil
}

// deleteNetNS removes the name of a network namespace; with its last user the kernel removes the namespace and
// all interfaces in it. A name that is not there is no error.
func deleteNetNS(path string) error {
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && err != unix.EINVAL && err != unix.ENOENT {
		return fmt.Errorf("unmount network namespace %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove network namespace %s: %w", path, err)
	}
	return nil
}
