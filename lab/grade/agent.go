package grade

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/rpc"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"lvstui/probes/collect"
)

// agentEnv makes this executable the first process of a host.
const agentEnv = "LVSTUI_GRADE_AGENT"

// IsAgent says whether this process is to be the first one of a host of a cluster. Then main must call Agent.
func IsAgent() bool { return os.Getenv(agentEnv) != "" }

// Agent is the first process of a host: a container of its own network, processes, mounts and name. It does what it is
// told on its standard input until that ends; with it everything in the host ends.
func Agent() {
	name := os.Getenv(agentEnv)
	if err := settle(name); err != nil {
		fmt.Fprintf(os.Stderr, "host %s: %v\n", name, err)
		os.Exit(1)
	}
	server := rpc.NewServer()
	if err := server.Register(&Host{name: name, serving: map[string]io.Closer{}}); err != nil {
		fmt.Fprintf(os.Stderr, "host %s: %v\n", name, err)
		os.Exit(1)
	}
	server.ServeConn(stdio{})
	os.Exit(0)
}

type stdio struct{}

func (stdio) Read(p []byte) (int, error)  { return os.Stdin.Read(p) }
func (stdio) Write(p []byte) (int, error) { return os.Stdout.Write(p) }
func (stdio) Close() error                { return nil }

// settle gives the host its name, its own view of processes and devices, and files of its own in /etc, /run and /tmp.
func settle(name string) error {
	if err := unix.Sethostname([]byte(name)); err != nil {
		return fmt.Errorf("host name: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	etc, err := readTree("/etc")
	if err != nil {
		return err
	}
	for _, m := range [][2]string{{"proc", "/proc"}, {"sysfs", "/sys"}, {"tmpfs", "/etc"}, {"tmpfs", "/run"}, {"tmpfs", "/tmp"}} {
		if err := os.MkdirAll(m[1], 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m[0], m[1], m[0], 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m[1], err)
		}
	}
	for file, text := range etc {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// readTree reads the regular files below a folder; links are not followed.
func readTree(root string) (map[string][]byte, error) {
	out := map[string][]byte{}
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		out[path], err = os.ReadFile(path)
		return err
	})
	return out, err
}

// Host is what the first process of a host offers to the process that measures; its methods are called by net/rpc.
type Host struct {
	name string

	mu      sync.Mutex
	serving map[string]io.Closer
	ear     *listening
}

// Command is a line to run on a host.
type Command struct {
	Args  []string
	Stdin string
	// Until ends the call as soon as the command's standard error has this text; Wait gets its output later.
	Until string
	Limit time.Duration
}

// Output is what a command came to.
type Output struct {
	Exit           int
	Stdout, Stderr []byte
	Job            int
}

// job is a command that Until let run on.
type job struct {
	cmd            *exec.Cmd
	stdout, stderr *watched
	done           chan struct{}
}

var (
	jobsMu sync.Mutex
	jobs   []*job
)

// Run runs a command to its end, or until it says what it was to say.
func (h *Host) Run(c Command, out *Output) error {
	j, err := start(c)
	if err != nil {
		return err
	}
	limit := c.Limit
	if limit == 0 {
		limit = 30 * time.Second
	}
	select {
	case <-j.done:
	case <-j.stderr.said:
		jobsMu.Lock()
		defer jobsMu.Unlock()
		jobs = append(jobs, j)
		out.Job = len(jobs)
		return nil
	case <-time.After(limit):
		_ = unix.Kill(-j.cmd.Process.Pid, unix.SIGKILL) // its group; it may be gone
		<-j.done
		return fmt.Errorf("%s took longer than %v", strings.Join(c.Args, " "), limit)
	}
	j.result(out)
	return nil
}

// Wait waits for a command that Run let go on.
func (h *Host) Wait(number int, out *Output) error {
	jobsMu.Lock()
	j := jobs[number-1]
	jobsMu.Unlock()
	select {
	case <-j.done:
	case <-time.After(60 * time.Second):
		_ = unix.Kill(-j.cmd.Process.Pid, unix.SIGKILL) // its group; it may be gone
		return fmt.Errorf("%s does not end", j.cmd)
	}
	j.result(out)
	return nil
}

func (j *job) result(out *Output) {
	out.Exit = j.cmd.ProcessState.ExitCode()
	out.Stdout, out.Stderr = j.stdout.bytes(), j.stderr.bytes()
}

func start(c Command) (*job, error) {
	if len(c.Args) == 0 {
		return nil, errors.New("no command")
	}
	j := &job{cmd: exec.Command(c.Args[0], c.Args[1:]...), done: make(chan struct{})}
	j.stdout, j.stderr = newWatched(""), newWatched(c.Until)
	j.cmd.Stdin = strings.NewReader(c.Stdin)
	j.cmd.Stdout, j.cmd.Stderr = j.stdout, j.stderr
	j.cmd.Env = slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, agentEnv+"=") })
	j.cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	j.cmd.WaitDelay = 200 * time.Millisecond // a daemon keeps our pipes
	if err := j.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = j.cmd.Wait() // its status is in ProcessState
		close(j.done)
	}()
	return j, nil
}

// watched keeps what is written and tells when it has some text.
type watched struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	text string
	said chan struct{}
}

func newWatched(text string) *watched { return &watched{text: text, said: make(chan struct{})} }

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf.Write(p)
	if w.text != "" && bytes.Contains(w.buf.Bytes(), []byte(w.text)) {
		w.text = ""
		close(w.said)
	}
	return len(p), nil
}

func (w *watched) bytes() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Clone(w.buf.Bytes())
}

// Put writes a file on the host.
func (h *Host) Put(f File, _ *bool) error {
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(f.Path, []byte(f.Text), 0o644)
}

// File is a file for a host.
type File struct{ Path, Text string }

// Looking is what to look at a host for.
type Looking struct{ VIPs, Clients []netip.Addr }

// Look reads the host as `lvstui snapshot` does, in this process, and with more patience, because an emulated machine may be slow.
// The answer is JSON.
func (h *Host) Look(l Looking, out *[]byte) error {
	s, err := collect.Collect(context.Background(), collect.Options{VIPs: l.VIPs, Clients: l.Clients, Deadline: time.Minute})
	if err != nil {
		return err
	}
	*out, err = json.Marshal(s)
	return err
}
