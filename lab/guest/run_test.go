package guest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

func TestExitStatus(t *testing.T) {
	vm := shared(t)
	for text, want := range map[string]int{"exit 0": 0, "exit 7": 7, "exit 255": 255, "kill -9 $$": 137, "kill -TERM $$": 143} {
		if got, err := vm.Run(testContext(t), Cmd{Args: []string{"sh", "-c", text}}); err != nil || got != want {
			t.Errorf("%s: exit %d, %v; want %d", text, got, err, want)
		}
	}
}

func TestWhatCannotBeStartedIsAnError(t *testing.T) {
	vm := shared(t)
	for _, c := range []struct {
		cmd  Cmd
		says string
	}{
		{Cmd{}, "no command"},
		{Cmd{Args: []string{"no-such-thing"}}, `no program "no-such-thing"`},
		{Cmd{Args: []string{"/etc/passwd"}}, "permission denied"},
		{Cmd{Args: []string{"true"}, Dir: "/no/such/folder"}, "/no/such/folder"},
		{Cmd{Args: []string{"true"}, NetNS: "nowhere"}, "network namespace nowhere"},
		{Cmd{Args: []string{"true"}, NetNS: "../netns/x"}, "no name of a network namespace"},
	} {
		_, err := vm.Run(testContext(t), c.cmd)
		wantError(t, err, c.says)
	}
}

func TestStreamsEnvironmentAndFolder(t *testing.T) {
	vm := shared(t)
	var stdout, stderr bytes.Buffer
	exit, err := vm.Run(testContext(t), Cmd{
		Args:   []string{"sh", "-c", `cat; echo "$GREETING $PATH $LVSTUI_GUEST"; pwd; echo "to stderr" >&2`},
		Env:    []string{"GREETING=one", "GREETING=two"},
		Dir:    "/var/lib",
		Stdin:  strings.NewReader("from stdin\n"),
		Stdout: &stdout, Stderr: &stderr,
	})
	if exit != 0 || err != nil {
		t.Fatalf("exit %d, %v", exit, err)
	}
	if want := "from stdin\ntwo " + guestPath + " 1\n/var/lib\n"; stdout.String() != want {
		t.Errorf("stdout %q, want %q", &stdout, want)
	}
	if want := "to stderr\n"; stderr.String() != want {
		t.Errorf("stderr %q, want %q", &stderr, want)
	}
}

func TestOrdinaryUser(t *testing.T) {
	vm := shared(t)
	out := run(t, vm, Cmd{Args: []string{"sh", "-c", "id -un; id -gn; cat /proc/self/status; touch /tmp/mine; ip link set lo mtu 1234 || true"}, UID: Nobody})
	for _, want := range []string{"nobody\nnogroup\n", "CapEff:\t0000000000000000"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
	if mtu := script(t, vm, "cat /sys/class/net/lo/mtu"); mtu != "65536\n" {
		t.Errorf("nobody changed the loopback's MTU to %s", mtu)
	}
}

func TestNetworkNamespace(t *testing.T) {
	vm := shared(t)
	script(t, vm, "ip netns add green; ip link add in-green type veth peer name other; ip link set in-green netns green")
	defer script(t, vm, "ip netns del green")
	links := run(t, vm, Cmd{Args: []string{"ls", "/sys/class/net"}, NetNS: "green"})
	if !strings.Contains(links, "in-green\n") || strings.Contains(links, "other\n") {
		t.Errorf("in the namespace /sys/class/net has %q", links)
	}
	if out := script(t, vm, "ls /sys/class/net; stat -L -c %i /proc/1/ns/net /proc/self/ns/net | uniq | wc -l"); strings.Contains(out, "in-green") || !strings.HasSuffix(out, "\n1\n") {
		t.Errorf("outside of it: %q", out)
	}
}

func TestAnEndedContextKillsTheCommand(t *testing.T) {
	vm := shared(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	began := time.Now()
	_, err := vm.Run(ctx, Cmd{Args: []string{"sh", "-c", "sleep 4711 & sleep 4711"}})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the end of the context", err)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("it took %v", took)
	}
	if left := script(t, vm, "pgrep -f 'sleep 471[1]' || true"); left != "" {
		t.Errorf("processes were left: %s", left)
	}
}

func TestSignals(t *testing.T) {
	vm := shared(t)
	signals := make(chan int, 1)
	out, in := io.Pipe()
	go func() {
		buf := make([]byte, 1)
		out.Read(buf) // its trap is set
		signals <- int(unix.SIGUSR1)
		io.Copy(io.Discard, out)
	}()
	exit, err := vm.Run(testContext(t), Cmd{Args: []string{"sh", "-c", "trap 'exit 9' USR1; echo; while :; do sleep 0.1; done"}, Stdout: in, Signals: signals})
	if exit != 9 || err != nil {
		t.Errorf("exit %d, %v; want 9", exit, err)
	}
}

func TestADaemonDoesNotHoldUpTheCommandThatStartedIt(t *testing.T) {
	vm := shared(t)
	began := time.Now()
	out := script(t, vm, "sleep 300 & echo $!")
	defer script(t, vm, "kill "+out)
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
	script(t, vm, "kill -0 "+out) // it still runs
}

func TestOrphansAreReaped(t *testing.T) {
	vm := shared(t)
	script(t, vm, "for i in 1 2 3 4 5; do (sh -c 'sleep 0.2 & exit' &); done; sleep 2")
	if left := script(t, vm, "grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null || true"); left != "" {
		t.Errorf("zombies: %s", left)
	}
}

func TestASlowReaderHoldsUpNobodyElse(t *testing.T) {
	vm := shared(t)
	const size = 4 << 20
	slow, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := vm.Run(testContext(t), Cmd{Args: []string{"head", "-c", fmt.Sprint(size), "/dev/zero"}, Stdout: w})
		w.Close()
		done <- err
	}()
	buf := make([]byte, 1)
	if _, err := slow.Read(buf); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		script(t, vm, "echo meanwhile")
	}
	n, err := io.Copy(io.Discard, slow)
	if err != nil || n != size-1 {
		t.Errorf("%d bytes came, %v; want %d", n+1, err, size)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestFilesInAndOut(t *testing.T) {
	vm := shared(t)
	data := make([]byte, 5<<20+3)
	for i := range data {
		data[i] = byte(i * i >> 7)
	}
	if err := vm.Put("/srv/new/folder/file", 0o751, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	out := script(t, vm, "stat -c %a /srv/new/folder/file; sha256sum < /srv/new/folder/file; ls -A /srv/new/folder")
	if want := fmt.Sprintf("751\n%x  -\nfile\n", sha256.Sum256(data)); out != want {
		t.Errorf("in the guest: %s, want %s", out, want)
	}
	got, err := io.ReadAll(vm.Get("/srv/new/folder/file"))
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes came back, %v; want %d", len(got), err, len(data))
	}
	_, err = io.ReadAll(vm.Get("/no/such/file"))
	wantError(t, err, "/no/such/file", "no such file")
	wantError(t, vm.Put("/proc/x/y", 0o644, strings.NewReader("")), "/proc/x")
	wantError(t, vm.Put("/srv/half", 0o644, io.MultiReader(strings.NewReader("a"), failing{})), "it broke")
	script(t, vm, "test ! -e /srv/half")
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("it broke") }

func TestTerminalSizeAndResize(t *testing.T) {
	vm := shared(t)
	sizes := make(chan Winsize, 1)
	r, w := io.Pipe()
	var out bytes.Buffer
	all := make(chan struct{})
	go func() {
		defer close(all)
		// The first line proves that the trap is set; then the size changes.
		io.CopyN(&out, r, int64(len("24 80\r\n")))
		sizes <- Winsize{Rows: 50, Cols: 132}
		io.Copy(&out, r)
	}()
	exit, err := vm.Run(testContext(t), Cmd{
		Args:   []string{"bash", "-c", "trap 'stty size; tty >&2; exit 3' WINCH; stty size; while :; do sleep 0.1; done"},
		TTY:    &Winsize{Rows: 24, Cols: 80},
		Resize: sizes,
		Stdout: w,
	})
	w.Close()
	<-all
	if exit != 3 || err != nil {
		t.Fatalf("exit %d, %v: %q", exit, err, &out)
	}
	if want := "24 80\r\n50 132\r\n/dev/pts/"; !strings.HasPrefix(out.String(), want) {
		t.Errorf("the terminal said %q, want %q…", &out, want)
	}
}

func TestAttachBridgesThisTerminal(t *testing.T) {
	vm := shared(t)
	t.Setenv("TERM", "xterm-test")
	t.Setenv("COLORTERM", "truecolor")
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer slave.Close()
	if err := pty.Setsize(master, &pty.Winsize{Rows: 31, Cols: 99}); err != nil {
		t.Fatal(err)
	}
	before, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan string, 1)
	go func() {
		var b bytes.Buffer
		buf := make([]byte, 4096)
		typed := false
		for !strings.Contains(b.String(), "end\r\n") {
			n, err := master.Read(buf)
			b.Write(buf[:n])
			if err != nil {
				break
			}
			if strings.Contains(b.String(), "name? ") && !typed {
				typed = true
				io.WriteString(master, "x\x7fLVS\r") // the guest's terminal edits the line and echoes it
			}
		}
		seen <- b.String()
	}()
	exit, err := vm.Attach(testContext(t), Cmd{Args: []string{"bash", "-c", `stty size; echo $TERM $COLORTERM; read -p "name? " n; echo "hello $n"; echo end; exit 4`}}, slave, slave)
	if exit != 4 || err != nil {
		t.Fatalf("exit %d, %v", exit, err)
	}
	var out string
	select {
	case out = <-seen:
	case <-time.After(20 * time.Second):
		t.Fatal("the terminal did not show everything")
	}
	for _, want := range []string{"31 99\r\n", "xterm-test truecolor\r\n", "hello LVS\r\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("the terminal shows %q, without %q", out, want)
		}
	}
	after, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil || *after != *before {
		t.Errorf("the terminal was not restored: %+v, before %+v (%v)", after, before, err)
	}
	if _, err := vm.Attach(testContext(t), Cmd{Args: []string{"true"}}, os.Stdin, mustOpen(t, os.DevNull)); err == nil {
		t.Error("/dev/null passed for a terminal")
	}
}

func mustOpen(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
