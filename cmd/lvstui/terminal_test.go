//go:build guest

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// terminal is lvstui on a pseudo-terminal, with a terminal emulator that shows what a person would see.
type terminal struct {
	t      *testing.T
	cmd    *exec.Cmd
	pty    *os.File
	tty    *os.File // kept open, to look at its settings afterwards
	before unix.Termios

	mu     sync.Mutex
	screen *vt.Emulator
	raw    strings.Builder
	ended  chan error
}

func startTerminal(t *testing.T, cols, rows int, args ...string) *terminal {
	t.Helper()
	return startTerminalBy(t, (*exec.Cmd).Start, cols, rows, args...)
}

// startTerminalBy has the program started by start.
func startTerminalBy(t *testing.T, start func(*exec.Cmd) error, cols, rows int, args ...string) *terminal {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(p, &pty.Winsize{Rows: uint16(rows), Cols: uint16(cols)}); err != nil {
		t.Fatal(err)
	}
	before, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{t: t, pty: p, tty: tty, before: *before, screen: vt.NewEmulator(cols, rows), ended: make(chan error, 1)}
	term.cmd = exec.Command(self, args...)
	term.cmd.Env = append(os.Environ(), beLvstui+"=1", "TERM=xterm-256color", "SSH_TTY=", "SSH_CONNECTION=")
	term.cmd.Stdin, term.cmd.Stdout, term.cmd.Stderr = tty, tty, tty
	term.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := start(term.cmd); err != nil {
		t.Fatal(err)
	}
	go term.read()
	go func() { _, _ = io.Copy(p, term.screen) }() // the emulator's answers to the program's questions
	go func() { term.ended <- term.cmd.Wait() }()
	t.Cleanup(func() {
		_ = term.cmd.Process.Kill()
		select {
		case <-term.ended: // the lab's lock goes with the process
		case <-time.After(10 * time.Second):
		}
		p.Close()
		tty.Close()
	})
	return term
}

func (x *terminal) read() {
	buf := make([]byte, 1<<14)
	for {
		n, err := x.pty.Read(buf)
		x.mu.Lock()
		x.raw.Write(buf[:n])
		_, _ = x.screen.Write(buf[:n])
		x.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (x *terminal) text() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.screen.String()
}

func (x *terminal) press(keys string) {
	x.t.Helper()
	if _, err := x.pty.WriteString(keys); err != nil {
		x.t.Fatalf("pressing %q: %v", keys, err)
	}
}

// see waits until the screen shows all the texts.
func (x *terminal) see(within time.Duration, texts ...string) string {
	x.t.Helper()
	deadline := time.Now().Add(within)
	over := ""
	for {
		screen, missing := x.text(), ""
		for _, text := range texts {
			if !strings.Contains(screen, text) {
				missing = text
			}
		}
		switch {
		case missing == "":
			return screen
		case time.Now().After(deadline):
			x.t.Fatalf("no %q on the screen within %s%s:\n%s", missing, within, over, screen)
		}
		if over != "" {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		select {
		case err := <-x.ended:
			x.ended <- err
			// Its last words may be on their way through the terminal.
			over, deadline = fmt.Sprintf(", and lvstui ended (%v)", err), time.Now().Add(2*time.Second)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// end waits for the program's end and checks that the terminal is as it was.
func (x *terminal) end(within time.Duration) {
	x.t.Helper()
	select {
	case err := <-x.ended:
		x.ended <- err // for the clean-up
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			x.t.Fatal(err)
		}
		if err != nil {
			x.t.Errorf("exit status %d", exit.ExitCode())
		}
	case <-time.After(within):
		x.t.Fatalf("lvstui did not end within %s:\n%s", within, x.text())
	}
	after, err := unix.IoctlGetTermios(int(x.tty.Fd()), unix.TCGETS)
	if err != nil {
		x.t.Fatal(err)
	}
	if after.Lflag != x.before.Lflag || after.Iflag != x.before.Iflag || after.Oflag != x.before.Oflag {
		x.t.Errorf("the terminal's settings changed: local flags %#x, were %#x", after.Lflag, x.before.Lflag)
	}
	time.Sleep(200 * time.Millisecond) // the last bytes
	x.mu.Lock()
	defer x.mu.Unlock()
	raw := x.raw.String()
	if strings.LastIndex(raw, "\x1b[?1049h") > strings.LastIndex(raw, "\x1b[?1049l") {
		x.t.Error("the alternate screen was not left")
	}
	if strings.LastIndex(raw, "\x1b[?25l") > strings.LastIndex(raw, "\x1b[?25h") {
		x.t.Error("the cursor stayed hidden")
	}
}
