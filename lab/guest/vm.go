package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"

	"lvstui/lab/guest/wire"

	"golang.org/x/sys/unix"
)

// Config says how to boot. The zero value is right for most.
type Config struct {
	MemoryMB int // 0: 1024; the machine gives only what the guest touches
	CPUs     int // 0: 2
	// Accel is "kvm" or "tcg". Empty: $LVSTUI_ACCEL, else kvm where a trial showed that it works.
	Accel string
	// Modules are loaded before the guest says hello; the kernel loads others when it needs them.
	// Nil: ip_vs, veth, bridge and socket diagnosis. Empty but not nil: none.
	Modules []string
	Files   []File // packed beside init
	// Cable gives the guest two network cards (vmxnet3) with a cable between them, which leads nowhere else. Their module is not loaded.
	Cable    bool
	Timeout  time.Duration // for the guest's hello; 0: two minutes, for machines that have much else to do
	Hostname string        // empty: "lvs"
}

// File is put into the guest before it boots: quicker than VM.Put for many or large ones.
type File struct {
	Path   string
	Mode   os.FileMode // with os.ModeDir it is a folder
	Source string      // file on this machine; when empty, Data
	Data   []byte
}

// VM is a guest that runs.
type VM struct {
	Release string        // of its kernel
	Accel   string        // what it runs on
	Booted  time.Duration // from qemu's start to the guest's hello
	Trouble []string      // what init could not set up

	conn    *wire.Conn
	cmd     *exec.Cmd
	stderr  *tail
	console *os.File // in memory: what the kernel and init say
	cache   string
	exited  chan struct{}
	wait    error // of qemu; valid once exited is closed

	close   sync.Once
	closing chan struct{}
	unbind  func() bool // from the context of Boot
}

// Boot starts a guest and waits for its hello. The guest ends with Close, with ctx, or with this process.
func Boot(ctx context.Context, img Image, c Config) (*VM, error) {
	if c.Accel == "" {
		accel, err := chooseAccel(ctx, img)
		if err != nil {
			return nil, err
		}
		c.Accel = accel
	}
	return boot(ctx, img, c)
}

func boot(ctx context.Context, img Image, c Config) (*VM, error) {
	if c.Timeout == 0 {
		c.Timeout = 2 * time.Minute
	}
	vm := &VM{Accel: c.Accel, cache: img.Cache, stderr: &tail{}, exited: make(chan struct{}), closing: make(chan struct{})}
	initrd, err := packInitrd(img, c)
	if err != nil {
		return nil, fmt.Errorf("packing the guest's initramfs: %w", err)
	}
	defer initrd.Close()
	if vm.console, err = memoryFile("console"); err != nil {
		return nil, fmt.Errorf("the guest's console: %w", err)
	}

	began := time.Now()
	stream, err := vm.start(img, c, initrd)
	if err != nil {
		vm.console.Close()
		return nil, err
	}
	h, err := vm.greet(ctx, stream, c.Timeout)
	if err != nil {
		vm.kill()
		stream.Close()
		vm.console.Close()
		return nil, err
	}
	vm.Booted = time.Since(began)
	vm.Release, vm.Trouble = h.Release, h.Trouble
	vm.conn = wire.NewConn(stream, nil, nil)
	vm.unbind = context.AfterFunc(ctx, func() { vm.Close() })
	return vm, nil
}

// start runs qemu. The control channel is a socket pair whose other end only qemu has: no name in any
// file system, and either side sees at once when the other is gone.
func (vm *VM) start(img Image, c Config, initrd *os.File) (*os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("the guest's control channel: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control")
	defer theirs.Close()

	vm.cmd = exec.Command(img.QEMU, arguments(img, c)...)
	vm.cmd.ExtraFiles = []*os.File{theirs, initrd, vm.console} // descriptors 3, 4, 5
	vm.cmd.Stdout, vm.cmd.Stderr = vm.stderr, vm.stderr
	vm.cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	vm.cmd.Dir = "/"
	vm.cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL, Setpgid: true}
	started := make(chan error)
	go func() {
		// The kernel sends Pdeathsig when the thread that forked ends, not the process: this one
		// stays until qemu has gone.
		runtime.LockOSThread()
		err := vm.cmd.Start()
		if err == nil {
			// A guest that talks without end is stopped before it has filled the memory.
			limit := unix.Rlimit{Cur: maxConsole, Max: maxConsole}
			_ = unix.Prlimit(vm.cmd.Process.Pid, unix.RLIMIT_FSIZE, &limit, nil)
		}
		started <- err
		if err == nil {
			vm.wait = vm.cmd.Wait()
			close(vm.exited)
		}
		runtime.UnlockOSThread()
	}()
	if err := <-started; err != nil {
		ours.Close()
		return nil, fmt.Errorf("starting %s: %w", img.QEMU, err)
	}
	return ours, nil
}

const (
	controlFD = 3
	initrdFD  = 4
	consoleFD = 5
	portName  = "lvstui.control"

	maxConsole = 64 << 20
)

// arguments is the whole of what the guest is given: processors, memory, a clock, one serial line that
// is written to a file, one port for our protocol. No disk, no network, no shared folder.
func arguments(img Image, c Config) []string {
	memory, cpus := c.MemoryMB, c.CPUs
	if memory == 0 {
		memory = 1024
	}
	if cpus == 0 {
		cpus = 2
	}
	accel, cpu := "tcg,thread=multi", "qemu64,+rdrand" // without it the kernel waits for entropy
	if c.Accel == "kvm" {
		accel, cpu = "kvm", "host"
	}
	modules := bootModules
	if c.Modules != nil {
		modules = c.Modules
	}
	hostname := c.Hostname
	if hostname == "" {
		hostname = "lvs"
	}
	cmdline := []string{
		"console=ttyS0", "quiet", "loglevel=4", "panic=-1", "oops=panic", "rdinit=/init", "random.trust_cpu=on",
		// These three save a second and a half of an emulated boot.
		"cryptomgr.notests", "nokaslr", "mitigations=off",
		"lvstui.hostname=" + hostname, "lvstui.modules=" + strings.Join(modules, ","),
	}
	args := []string{
		"-machine", "pc,usb=off,vmport=off", "-cpu", cpu, "-smp", fmt.Sprint(cpus), "-accel", accel, "-m", fmt.Sprint(memory),
		"-no-user-config", "-nodefaults", "-display", "none", "-vga", "none", "-monitor", "none",
		"-parallel", "none", "-nic", "none", "-no-reboot",
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
		"-chardev", fmt.Sprintf("file,id=console,path=/proc/self/fd/%d", consoleFD), "-serial", "chardev:console",
		"-chardev", fmt.Sprintf("socket,id=control,fd=%d", controlFD),
		"-device", "virtio-serial-pci,max_ports=2", "-device", "virtserialport,chardev=control,name=" + portName,
		"-kernel", img.Kernel, "-initrd", fmt.Sprintf("/proc/self/fd/%d", initrdFD),
		"-append", strings.Join(cmdline, " "),
	}
	if c.Cable {
		for _, end := range []string{"0", "1"} { // a hub in qemu itself, with two ports
			args = append(args, "-netdev", "hubport,id=end"+end+",hubid=0", "-device", "vmxnet3,netdev=end"+end+",mac=02:00:00:00:ff:0"+end)
		}
	}
	return args
}

// greet exchanges the greetings, or says why the guest did not come up.
func (vm *VM) greet(ctx context.Context, stream *os.File, limit time.Duration) (hello, error) {
	type answer struct {
		hello hello
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		var a answer
		if a.err = wire.ReadHello(stream, &a.hello); a.err == nil {
			a.err = wire.SendHello(stream, welcome{protocolVersion})
		}
		answers <- a
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case a := <-answers:
		if a.err != nil {
			vm.settle()
			return hello{}, vm.explain("the guest did not come up", a.err)
		}
		if a.hello.Version != protocolVersion {
			return hello{}, fmt.Errorf("the guest's init speaks version %d, this is %d: they must be the same executable", a.hello.Version, protocolVersion)
		}
		return a.hello, nil
	case <-vm.exited:
		return hello{}, vm.explain("the guest ended while it booted", nil)
	case <-timer.C:
		return hello{}, vm.explain(fmt.Sprintf("the guest did not come up within %v (%s)", limit, vm.Accel), errSilent)
	case <-ctx.Done():
		return hello{}, fmt.Errorf("booting the guest: %w", ctx.Err())
	}
}

var errSilent = errors.New("no hello")

// settle gives qemu a moment to end, so that its exit status can be told.
func (vm *VM) settle() {
	select {
	case <-vm.exited:
	case <-time.After(2 * time.Second):
	}
}

// explain makes an error with what is known of the guest's end: qemu's words and the last lines of the
// kernel's console.
func (vm *VM) explain(what string, cause error) error {
	var b strings.Builder
	b.WriteString(what)
	select {
	case <-vm.exited:
		fmt.Fprintf(&b, "; qemu ended (%v)", vm.cmd.ProcessState)
	default:
	}
	if words := lastLines(vm.stderr.String(), 4); words != "" {
		fmt.Fprintf(&b, "; qemu says: %s", printable(words))
	}
	if lines := vm.consoleTail(12); lines != "" {
		fmt.Fprintf(&b, "; the last lines of its console (all of it is in %s):\n%s", vm.saveConsole(), lines)
	}
	if cause != nil && !errors.Is(cause, io.EOF) {
		return fmt.Errorf("%s: %w", b.String(), cause)
	}
	return errors.New(b.String())
}

// Done is closed when the guest is gone, for whatever reason.
func (vm *VM) Done() <-chan struct{} { return vm.exited }

// Close powers the guest off. It returns an error when the guest had crashed before.
func (vm *VM) Close() error {
	var err error
	vm.close.Do(func() {
		vm.unbind()
		defer vm.console.Close()
		crashed := false
		select {
		case <-vm.exited:
			crashed = true
		case <-vm.conn.Done():
			vm.settle()
			crashed = true
		default:
		}
		if crashed {
			err = vm.explain("the guest ended by itself", nil)
			close(vm.closing)
			vm.kill()
			return
		}
		close(vm.closing)
		_ = vm.conn.Bye() // if it cannot be heard, kill
		select {
		case <-vm.exited:
		case <-time.After(3 * time.Second):
		}
		vm.kill()
	})
	vm.conn.Close()
	return err
}

// kill ends qemu. One that hangs in the kernel, as under a broken KVM, is not waited for.
func (vm *VM) kill() {
	_ = vm.cmd.Process.Kill() // fails only when it has ended already
	select {
	case <-vm.exited:
	case <-time.After(10 * time.Second):
	}
}
