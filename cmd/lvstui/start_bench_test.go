package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

// onTerminal starts lvstui on a pseudo-terminal of 120×40 and returns when a first frame with the host's facts is drawn. Alone, it is in a network
// namespace of its own, which needs root.
func onTerminal(b *testing.B, alone bool) (cmd *exec.Cmd, frame time.Duration, end func()) {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd = exec.Command(self, "--read-only")
	cmd.Env = append(os.Environ(), beLvstui+"=1", "TERM=xterm-256color", "SSH_TTY=", "SSH_CONNECTION=")
	if alone {
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	}
	began := time.Now()
	p, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 40, Cols: 120})
	if err != nil {
		b.Fatal(err)
	}
	end = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		p.Close()
	}
	drawn := make(chan time.Duration, 1)
	go func() { // it must be read for as long as the program runs
		var got bytes.Buffer
		said := false
		for buf := make([]byte, 1<<14); ; {
			n, err := p.Read(buf)
			if err != nil {
				return
			}
			if got.Write(buf[:n]); !said && bytes.Contains(got.Bytes(), []byte("Changes")) && bytes.Contains(got.Bytes(), []byte("live")) {
				said = true
				drawn <- time.Since(began)
			}
		}
	}()
	select {
	case frame = <-drawn:
	case <-time.After(20 * time.Second):
		end()
		b.Fatal("nothing was drawn in 20 s")
	}
	return cmd, frame, end
}

// BenchmarkFirstFrame is the time from the program's start until this host is on the screen, judged, and listened to.
func BenchmarkFirstFrame(b *testing.B) {
	var sum time.Duration
	for range b.N {
		_, frame, end := onTerminal(b, false)
		end()
		sum += frame
	}
	b.ReportMetric(float64(sum.Milliseconds())/float64(b.N), "ms/frame")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkIdle is the processor time of a program that nobody has touched for a while, over half a minute, where no packet comes: this machine's own
// connections would keep it busy.
func BenchmarkIdle(b *testing.B) {
	const while = 30 * time.Second
	cmd, _, end := onTerminal(b, true)
	defer end()
	time.Sleep(35 * time.Second)
	before := cpuOf(b, cmd.Process.Pid)
	time.Sleep(while)
	used := cpuOf(b, cmd.Process.Pid) - before
	b.ReportMetric(100*used.Seconds()/while.Seconds(), "%core")
	b.ReportMetric(0, "ns/op")
}

// cpuOf is the processor time that a process took so far, user and system: proc_pid_stat(5), in ticks of 10 ms.
func cpuOf(b *testing.B, pid int) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	var user, system int64
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if _, err := fmt.Sscan(string(fields[11])+" "+string(fields[12]), &user, &system); err != nil {
		b.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}
