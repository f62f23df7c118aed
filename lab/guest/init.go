package guest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"lvstui/lab/guest/wire"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// bootModules are loaded before hello. Everything else the kernel asks modprobe for when it is needed.
// Left out on purpose are those whose loading alone changes what a host does: br_netfilter, dummy,
// bonding, ipip.
var bootModules = []string{"ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_sh", "veth", "bridge", "tcp_diag", "udp_diag"}

// IsInit says whether this process is the init of a guest of ours. It has no side effects.
func IsInit() bool {
	return os.Getpid() == 1 && len(os.Args) > 0 && os.Args[0] == "/init"
}

// Init is the life of the guest: it sets the system up, serves the control channel and powers off when
// the other side leaves. It does not return.
func Init() {
	// Other goroutines change the namespaces of their threads. The main thread is not to be one of
	// those, or /proc/1/ns would show it.
	runtime.LockOSThread()
	i := &initer{reaper: newReaper()}
	if err := i.live(); err != nil && !errors.Is(err, io.EOF) {
		fmt.Fprintln(os.Stderr, "init:", err)
	}
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Fprintln(os.Stderr, "init: power off:", err)
	}
	select {}
}

type initer struct {
	reaper  *reaper
	trouble []string
}

func (i *initer) live() error {
	i.mount()
	params := kernelParams()
	mods := readModules()
	i.load(mods, "virtio_pci", "virtio_console")
	port, err := openPort()
	if err != nil {
		return err
	}
	if names := params["lvstui.modules"]; names != "" {
		i.load(mods, strings.Split(names, ",")...)
	}
	i.note("hostname", unix.Sethostname([]byte(params["lvstui.hostname"])))
	i.note("loopback up", loopbackUp())
	i.environment()
	go i.reaper.run()

	if err := wire.SendHello(port, hello{protocolVersion, release(), uptime(), i.trouble}); err != nil {
		return fmt.Errorf("hello: %w", err)
	}
	var w welcome
	if err := wire.ReadHello(port, &w); err != nil {
		return fmt.Errorf("the other side's hello: %w", err)
	}
	left := make(chan struct{}, 1)
	srv := &server{reaper: i.reaper}
	conn := wire.NewConn(port, srv.accept, func() {
		select {
		case left <- struct{}{}:
		default:
		}
	})
	select {
	case <-left:
		return nil
	case <-conn.Done():
		return conn.Err()
	}
}

// note keeps what went wrong for the hello: a guest with a blemish is better than none, and whoever
// boots it sees why something is missing.
func (i *initer) note(what string, err error) {
	if err != nil {
		i.trouble = append(i.trouble, fmt.Sprintf("%s: %v", what, err))
		fmt.Fprintf(os.Stderr, "init: %s: %v\n", what, err)
	}
}

func (i *initer) mount() {
	unix.Umask(0o022)
	for _, m := range []struct {
		kind, at string
		flags    uintptr
		options  string
	}{
		{"proc", "/proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"sysfs", "/sys", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"devtmpfs", "/dev", unix.MS_NOSUID, "mode=0755"},
		{"devpts", "/dev/pts", unix.MS_NOSUID | unix.MS_NOEXEC, "gid=5,mode=0620,ptmxmode=0666"},
		{"tmpfs", "/dev/shm", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
		{"tmpfs", "/run", unix.MS_NOSUID | unix.MS_NODEV, "mode=0755"},
	} {
		i.note("folder "+m.at, os.MkdirAll(m.at, 0o755))
		i.note("mount "+m.at, unix.Mount(m.kind, m.at, m.kind, m.flags, m.options))
	}
	// No tmpfs on /tmp: the root is one already, and a module's source tree that lies below /tmp would be hidden by it.
	i.note("folder /tmp", errors.Join(os.MkdirAll("/tmp", 0o777), os.Chmod("/tmp", 0o777|os.ModeSticky)))
	i.note("folder /run/netns", os.MkdirAll("/run/netns", 0o755))
	i.note("folder /run/lock", os.MkdirAll("/run/lock", 0o755))
	for name, target := range map[string]string{"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"} {
		i.note("link /dev/"+name, os.Symlink(target, "/dev/"+name))
	}
}

func (i *initer) environment() {
	os.Clearenv()
	for k, v := range map[string]string{"PATH": guestPath, "HOME": "/root", "TERM": "linux", "LVSTUI_GUEST": "1"} {
		os.Setenv(k, v)
	}
	i.note("working directory", os.Chdir("/"))
}

// moduleIndex is modules.dep: name → path and the paths it needs.
type moduleIndex struct {
	path  map[string]string
	needs map[string][]string
}

func readModules() moduleIndex {
	index := moduleIndex{map[string]string{}, map[string][]string{}}
	dir := "/lib/modules/" + release()
	data, err := os.ReadFile(dir + "/modules.dep")
	if err != nil {
		return index // load reports each module it does not find
	}
	for line := range strings.Lines(string(data)) {
		file, needs, _ := strings.Cut(strings.TrimSpace(line), ":")
		name := moduleName(file)
		index.path[name] = filepath.Join(dir, file)
		for _, n := range strings.Fields(needs) {
			index.needs[name] = append(index.needs[name], moduleName(n))
		}
	}
	return index
}

func (i *initer) load(index moduleIndex, names ...string) {
	for _, name := range order(names, func(n string) []string { return index.needs[n] }) {
		file, ok := index.path[name]
		if !ok {
			continue // built in; a module that is truly missing shows where it is used
		}
		if err := loadModule(file); err != nil && !errors.Is(err, unix.EEXIST) {
			i.note("module "+name, err)
		}
	}
}

func loadModule(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.FinitModule(int(f.Fd()), "", 0)
}

// openPort waits for the virtio port of our name. Its number is the kernel's business.
func openPort() (*port, error) {
	deadline := time.Now().Add(20 * time.Second)
	for {
		names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			data, err := os.ReadFile(n)
			if err != nil || strings.TrimSpace(string(data)) != portName {
				continue
			}
			fd, err := unix.Open("/dev/"+filepath.Base(filepath.Dir(n)), unix.O_RDWR|unix.O_CLOEXEC, 0)
			if err == nil {
				return &port{fd: fd}, nil
			}
			if time.Now().After(deadline) {
				return nil, fmt.Errorf("open the control port: %w", err)
			}
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("no virtio port %q appeared", portName)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// port is the control port. Its Read blocks in the kernel; the runtime's poller does not know such
// devices well, and a thread is cheap here.
type port struct {
	fd    int
	heard bool
}

func (p *port) Read(b []byte) (int, error) {
	for tries := 0; ; tries++ {
		n, err := unix.Read(p.fd, b)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return 0, fmt.Errorf("read the control port: %w", err)
		case n > 0:
			p.heard = true
			return n, nil
		case p.heard || tries > 500:
			return 0, io.EOF
		}
		time.Sleep(10 * time.Millisecond) // the other end is not connected yet
	}
}

func (p *port) Write(b []byte) (int, error) {
	sent := 0
	for sent < len(b) {
		n, err := unix.Write(p.fd, b[sent:])
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
			continue
		}
		if err != nil {
			return sent, fmt.Errorf("write to the control port: %w", err)
		}
		sent += n
	}
	return sent, nil
}

func (p *port) Close() error { return nil } // the guest powers off next

func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

func kernelParams() map[string]string {
	params := map[string]string{"lvstui.hostname": "lvs"}
	data, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return params
	}
	for _, word := range strings.Fields(string(data)) {
		if k, v, ok := strings.Cut(word, "="); ok {
			params[k] = v
		}
	}
	return params
}

func release() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

func uptime() float64 {
	data, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0
	}
	word, _, _ := strings.Cut(string(data), " ")
	seconds, err := strconv.ParseFloat(word, 64)
	if err != nil {
		return 0
	}
	return seconds
}
