package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Bounds of the source tree that is packed beside a test binary.
const (
	maxTreeFile  = 16 << 20
	maxTreeBytes = 128 << 20
	maxTreeFiles = 20000
)

// testGrace is what a guest may need beyond the tests' own time limit: to boot and to hand over the
// profiles.
const testGrace = 2 * time.Minute

// outputFlags are flags of a test binary that name a file it writes. The files come back from the guest.
var outputFlags = []string{"coverprofile", "cpuprofile", "memprofile", "blockprofile", "mutexprofile", "trace"}

// TestExec runs a compiled test binary in a guest, as "go test -exec" wants it: args[0] is the binary,
// the rest its flags. The module's files are in the guest at the same paths, the working directory is
// the same, environment variables GO*, LVSTUI_* and those of terminal and language are passed on. One
// guest serves the whole run. LVSTUI_LAB=native runs it on this machine instead.
// The result is the exit status; 2 when there is no guest.
func TestExec(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprintln(stderr, "guest: no test binary given; type: go test -exec 'lvstui lab test-exec' ./…")
		return 2
	}
	if os.Getenv("LVSTUI_LAB") == "native" {
		return native(args, stdin, stdout, stderr)
	}
	exit, err := testExec(args, stdin, stdout, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "guest:", err)
		return 2
	}
	return exit
}

func testExec(args []string, stdin io.Reader, stdout, stderr io.Writer) (int, error) {
	ctx, stop := context.WithTimeout(context.Background(), testLimit(args)+testGrace)
	defer stop()
	signals, restore := forward()
	defer restore()

	binary, err := filepath.Abs(args[0])
	if err != nil {
		return 2, err
	}
	dir, err := os.Getwd()
	if err != nil {
		return 2, err
	}
	sets, err := setsOf(dir)
	if err != nil {
		return 2, err
	}
	img, err := Prepare(ctx, Options{Log: stderr, Sets: sets})
	if err != nil {
		return 2, err
	}
	packed, err := sourceTree(dir)
	if err != nil {
		return 2, err
	}
	inGuest := "/run-test/" + filepath.Base(binary)
	packed = append(packed, File{Path: inGuest, Mode: 0o755, Source: binary})
	vm, err := Boot(ctx, img, Config{Files: packed})
	if err != nil {
		return 2, err
	}
	defer vm.Close()
	for _, t := range vm.Trouble {
		fmt.Fprintln(stderr, "guest:", t)
	}

	flags, outputs := translate(args[1:], dir)
	exit, err := vm.Run(ctx, Cmd{
		Args:    append([]string{inGuest}, flags...),
		Env:     testEnv(),
		Dir:     dir,
		Stdout:  stdout,
		Stderr:  stderr,
		Stdin:   stdin,
		Signals: signals,
	})
	if err != nil {
		return 2, err
	}
	for _, o := range outputs {
		if err := fetch(vm, o); err != nil && exit == 0 {
			return 2, err
		}
	}
	return exit, nil
}

// setsOf reads which further tools the tests of a package want in their guest.
func setsOf(dir string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(dir, "testdata", "guest-tools"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	sets := strings.Fields(string(text))
	for _, s := range sets {
		if moreTools[s] == nil {
			return nil, fmt.Errorf("%s: no set of tools is called %q", filepath.Join(dir, "testdata", "guest-tools"), s)
		}
	}
	return sets, err
}

// testLimit reads -test.timeout, which the go command always gives.
func testLimit(args []string) time.Duration {
	for _, a := range args {
		if v, ok := strings.CutPrefix(a, "-test.timeout="); ok {
			if d, err := time.ParseDuration(v); err == nil && d > 0 {
				return d
			}
		}
	}
	return 10 * time.Minute
}

// forward catches the signals that the go command and a person at the keyboard send, for the tests to
// get them: SIGQUIT makes a test binary print its goroutines.
func forward() (<-chan int, func()) {
	caught := make(chan os.Signal, 4)
	signal.Notify(caught, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP)
	numbers := make(chan int)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-caught:
				if n, ok := s.(syscall.Signal); ok {
					select {
					case numbers <- int(n):
					case <-time.After(time.Second): // nothing runs yet that could be told
						os.Exit(128 + int(n))
					case <-done:
						return
					}
				}
			case <-done:
				return
			}
		}
	}()
	return numbers, func() { signal.Stop(caught); close(done) }
}

// testEnv is what of this environment makes sense in the guest.
func testEnv() []string {
	env := pass(terminalVars)
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, "GO") && name != "GOROOT" && name != "GOPATH" || strings.HasPrefix(name, "LVSTUI_") {
			env = append(env, e)
		}
	}
	return env
}

// output is a file a test writes: where in the guest, where here.
type output struct{ guest, host string }

// translate turns flags that name files of this machine into such that name files of the guest. The
// test log is left out: without it the go command does not cache the result, and a result of another
// kernel would be worth nothing.
func translate(args []string, dir string) (flags []string, outputs []output) {
	outputDir := dir
	for _, a := range args {
		if v, ok := strings.CutPrefix(a, "-test.outputdir="); ok {
			outputDir = v
		}
	}
	for i, a := range args {
		if a == "-args" || a == "--" {
			return append(flags, args[i:]...), outputs
		}
		name, value, _ := strings.Cut(strings.TrimPrefix(a, "-test."), "=")
		switch {
		case !strings.HasPrefix(a, "-test."):
			flags = append(flags, a)
		case name == "testlogfile", name == "outputdir":
		case name == "gocoverdir":
			flags = append(flags, "-test.gocoverdir=/tmp")
		case slices.Contains(outputFlags, name) && value != "":
			host := value
			if !filepath.IsAbs(host) {
				host = filepath.Join(outputDir, host)
			}
			o := output{guest: "/tmp/" + name + ".out", host: host}
			outputs = append(outputs, o)
			flags = append(flags, "-test."+name+"="+o.guest)
		default:
			flags = append(flags, a)
		}
	}
	return flags, outputs
}

func fetch(vm *VM, o output) error {
	f, err := os.Create(o.host)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, vm.Get(o.guest))
	return errors.Join(err, f.Close())
}

// sourceTree lists the files of the module that dir is in, for the guest: tests read testdata, of their
// own and of other packages. Hidden folders, build results and very large files stay out.
func sourceTree(dir string) ([]File, error) {
	root := dir
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		up := filepath.Dir(root)
		if up == root {
			root = dir
			break
		}
		root = up
	}
	var out []File
	var bytes int64
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // it went away meanwhile
		}
		if d.IsDir() {
			if name != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "bin") {
				return filepath.SkipDir
			}
			return nil
		}
		info, err := d.Info()
		if err != nil || !info.Mode().IsRegular() || info.Size() > maxTreeFile {
			return nil
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return nil
		}
		out = append(out, File{Path: name, Mode: info.Mode().Perm(), Data: data})
		bytes += int64(len(data))
		if bytes > maxTreeBytes || len(out) > maxTreeFiles {
			return fmt.Errorf("%s holds more than %d MB or %d files: too much for a guest", root, maxTreeBytes>>20, maxTreeFiles)
		}
		return nil
	})
	return append(out, File{Path: dir, Mode: 0o755 | fs.ModeDir}), err
}

// native runs the test binary here. The machine must have ip_vs and we must be root, which is for the
// tests to find out.
func native(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.ExitCode()
	case err != nil:
		fmt.Fprintln(stderr, "guest:", err)
		return 2
	}
	return 0
}

// Shell runs a command, or a shell, in a guest of its own: on this terminal when there is one. For
// people who want to look.
func Shell(args []string, stdin, stdout, stderr *os.File) int {
	exit, err := shell(args, stdin, stdout, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "guest:", err)
		return 2
	}
	return exit
}

func shell(args []string, stdin, stdout, stderr *os.File) (int, error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
	defer stop()
	img, err := Prepare(ctx, Options{Log: stderr})
	if err != nil {
		return 2, err
	}
	vm, err := Boot(ctx, img, Config{})
	if err != nil {
		return 2, err
	}
	defer vm.Close()
	if os.Getenv("LVSTUI_VERBOSE") != "" {
		fmt.Fprintf(stderr, "guest: %s under %s, up after %v\n", vm.Release, vm.Accel, vm.Booted.Round(10*time.Millisecond))
	}
	for _, t := range vm.Trouble {
		fmt.Fprintln(stderr, "guest:", t)
	}
	if len(args) == 0 {
		args = []string{"bash", "-l"}
	}
	if isTerminal(stdin) && isTerminal(stdout) {
		return vm.Attach(ctx, Cmd{Args: args}, stdin, stdout)
	}
	return vm.Run(ctx, Cmd{Args: args, Env: pass(terminalVars), Stdin: stdin, Stdout: stdout, Stderr: stderr})
}
