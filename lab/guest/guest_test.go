package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// helper is internal/guestexec, linked statically: it is the init of the guests of these tests.
var helper string

func TestMain(m *testing.M) {
	if IsInit() {
		Init()
	}
	dir, err := os.MkdirTemp("", "guest-test-")
	if err != nil {
		panic(err)
	}
	helper = filepath.Join(dir, "guestexec")
	build := exec.Command("go", "build", "-o", helper, "lvstui/internal/guestexec")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build guestexec: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	if theGuest != nil {
		if err := theGuest.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

func testImage(t *testing.T) Image {
	t.Helper()
	img, err := Prepare(testContext(t), Options{Init: helper, Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

var (
	theGuest *VM
	bootOnce sync.Once
)

// shared is one guest for all tests that do not need one of their own.
func shared(t *testing.T) *VM {
	t.Helper()
	bootOnce.Do(func() {
		img := testImage(t)
		vm, err := Boot(context.Background(), img, Config{})
		if err != nil {
			t.Fatal(err)
		}
		theGuest = vm
	})
	if theGuest == nil {
		t.Fatal("the guest did not boot; another test says why")
	}
	return theGuest
}

// run runs a command that must exit with 0 and gives its output.
func run(t *testing.T, vm *VM, c Cmd) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	exit, err := vm.Run(testContext(t), c)
	if err != nil || exit != 0 {
		t.Fatalf("%v: exit %d, %v\nstdout: %s\nstderr: %s", c.Args, exit, err, &stdout, &stderr)
	}
	return stdout.String()
}

func script(t *testing.T, vm *VM, text string) string {
	t.Helper()
	return run(t, vm, Cmd{Args: []string{"sh", "-ec", text}})
}

func TestBootsWithoutTrouble(t *testing.T) {
	vm := shared(t)
	t.Logf("kernel %s under %s, hello after %v", vm.Release, vm.Accel, vm.Booted)
	if len(vm.Trouble) != 0 {
		t.Errorf("init could not do everything: %q", vm.Trouble)
	}
	if got := strings.TrimSpace(script(t, vm, "uname -r")); got != vm.Release {
		t.Errorf("uname -r says %q, the hello said %q", got, vm.Release)
	}
}

func TestPreparedImageIsUsedAgainWithoutApt(t *testing.T) {
	img := testImage(t)
	bin := t.TempDir()
	if err := os.Symlink(img.QEMU, filepath.Join(bin, "qemu-system-x86_64")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	again, err := Prepare(testContext(t), Options{Init: helper})
	if err != nil {
		t.Fatal(err)
	}
	if again.Base != img.Base || again.Kernel != img.Kernel {
		t.Errorf("first %+v, then %+v", img, again)
	}
}

func TestWhatIsMissingIsNamedWithTheCommandToType(t *testing.T) {
	t.Run("qemu", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		_, err := Prepare(testContext(t), Options{Init: helper})
		wantError(t, err, "qemu-system-x86_64", "sudo apt-get install qemu-system-x86")
	})
	t.Run("package lists", func(t *testing.T) {
		empty := t.TempDir()
		conf := filepath.Join(empty, "apt.conf")
		text := fmt.Sprintf("Dir::State::lists %q;\nDir::State::status \"/dev/null\";\n", empty)
		if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Setenv("APT_CONFIG", conf)
		_, err := Prepare(testContext(t), Options{Init: helper, Cache: t.TempDir()})
		wantError(t, err, "sudo apt-get update")
	})
	t.Run("static init", func(t *testing.T) {
		sh, err := filepath.EvalSymlinks("/bin/sh")
		if err != nil {
			t.Fatal(err)
		}
		_, err = Prepare(testContext(t), Options{Init: sh})
		wantError(t, err, sh, "CGO_ENABLED=0")
	})
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("the error does not say %q: %v", p, err)
		}
	}
}

func TestABootThatTakesTooLongIsGivenUp(t *testing.T) {
	img := testImage(t)
	began := time.Now()
	_, err := boot(testContext(t), img, Config{Accel: "tcg", Timeout: 300 * time.Millisecond})
	wantError(t, err, "did not come up within 300ms")
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %v to give up", took)
	}
}

func TestAPanicIsAnErrorWithTheLastConsoleLines(t *testing.T) {
	img := testImage(t)
	img.Cache = withCacheOf(t, img)
	vm, err := Boot(testContext(t), img, Config{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = vm.Run(testContext(t), Cmd{Args: []string{"sh", "-c", "echo c > /proc/sysrq-trigger; sleep 60"}})
	wantError(t, err, "the guest ended", "Kernel panic - not syncing: sysrq triggered crash", "console-last.log")
	if err := vm.Close(); err == nil {
		t.Error("Close says nothing of the crash")
	}
	log, err := os.ReadFile(filepath.Join(img.Cache, "console-last.log"))
	if err != nil || !bytes.Contains(log, []byte("sysrq triggered crash")) {
		t.Errorf("the console of the crash was not kept: %v\n%s", err, log)
	}
}

// withCacheOf gives a cache folder of the test's own that knows already whether KVM works.
func withCacheOf(t *testing.T, img Image) string {
	t.Helper()
	dir := t.TempDir()
	if answer, err := os.ReadFile(filepath.Join(img.Cache, "kvm.json")); err == nil {
		if err := os.WriteFile(filepath.Join(dir, "kvm.json"), answer, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// The second guest is not closed: its init powers off when nobody is at the other end of the channel.
func TestTwoGuestsAtATime(t *testing.T) {
	img := testImage(t)
	var both sync.WaitGroup
	names := make([]string, 2)
	errs := make([]error, 2)
	for i := range 2 {
		both.Go(func() {
			vm, err := Boot(testContext(t), img, Config{Hostname: fmt.Sprintf("guest%d", i)})
			if err != nil {
				errs[i] = err
				return
			}
			var out bytes.Buffer
			_, err = vm.Run(testContext(t), Cmd{Args: []string{"hostname"}, Stdout: &out})
			names[i] = strings.TrimSpace(out.String())
			errs[i] = err
			if i == 0 {
				errs[i] = errors.Join(err, vm.Close())
				return
			}
			defer vm.Close() // it says that the guest ended by itself, which is what we want to see
			vm.conn.Close()
			select {
			case <-vm.Done():
			case <-time.After(30 * time.Second):
				errs[i] = errors.New("the guest goes on without its control channel")
			}
		})
	}
	both.Wait()
	for i := range 2 {
		if want := fmt.Sprintf("guest%d", i); errs[i] != nil || names[i] != want {
			t.Errorf("guest %d says its name is %q: %v", i, names[i], errs[i])
		}
	}
}
