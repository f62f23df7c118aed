package guest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// launch starts the command of a request.
func (s *server) launch(req request, std *streams) (int, <-chan unix.WaitStatus, error) {
	if len(req.Args) == 0 {
		return 0, nil, fmt.Errorf("no command")
	}
	program := req.Args[0]
	if !strings.Contains(program, "/") {
		found, err := exec.LookPath(program)
		if err != nil {
			return 0, nil, fmt.Errorf("there is no program %q in the guest", program)
		}
		program = found
	}
	attr := &syscall.ProcAttr{
		Dir:   req.Dir,
		Env:   environment(os.Environ(), req),
		Files: []uintptr{std.theirs[0].Fd(), std.theirs[1].Fd(), std.theirs[2].Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	}
	if std.terminal != nil {
		attr.Sys.Setctty = true
	}
	if attr.Dir == "" {
		attr.Dir = "/root"
	}
	if req.UID != 0 {
		id := uint32(req.UID)
		attr.Sys.Credential = &syscall.Credential{Uid: id, Gid: id}
		if req.Dir == "" {
			attr.Dir = "/"
		}
	}
	if req.NetNS == "" {
		pid, ended, err := s.reaper.start(program, req.Args, attr)
		return pid, ended, started(program, attr.Dir, err)
	}
	return s.launchIn(req.NetNS, program, req.Args, attr)
}

// launchIn starts the command in a network namespace, with a /sys that shows its interfaces, as
// "ip netns exec" does. The thread that changed its namespaces dies with the goroutine.
func (s *server) launchIn(netns, program string, args []string, attr *syscall.ProcAttr) (pid int, ended <-chan unix.WaitStatus, err error) {
	if netns != filepath.Base(netns) || netns == ".." || netns == "." {
		return 0, nil, fmt.Errorf("%q is no name of a network namespace", netns)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked
		if err = enter(netns); err != nil {
			err = fmt.Errorf("network namespace %s: %w", netns, err)
			return
		}
		pid, ended, err = s.reaper.start(program, args, attr)
		err = started(program, attr.Dir, err)
	}()
	<-done
	return pid, ended, err
}

// enter moves this thread into the namespace.
func enter(netns string) error {
	fd, err := unix.Open("/run/netns/"+netns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return err
	}
	if err := unix.Unmount("/sys", unix.MNT_DETACH); err != nil {
		return err
	}
	return unix.Mount(netns, "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
}

// environment merges the two, later ones winning: what a program finds of a name given twice is not
// defined.
func environment(base []string, req request) []string {
	if req.UID != 0 {
		base = append(base, "HOME=/")
	}
	var out []string
	at := map[string]int{}
	for _, entry := range append(base, req.Env...) {
		name, _, _ := strings.Cut(entry, "=")
		if i, ok := at[name]; ok {
			out[i] = entry
			continue
		}
		at[name] = len(out)
		out = append(out, entry)
	}
	return out
}

// started says which of program and folder an error of fork and exec is about.
func started(program, dir string, err error) error {
	if err == nil {
		return nil
	}
	if info, derr := os.Stat(dir); derr != nil || !info.IsDir() {
		return fmt.Errorf("the folder %s is not in the guest", dir)
	}
	return fmt.Errorf("start %s: %w", program, err)
}
