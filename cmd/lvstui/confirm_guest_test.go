//go:build guest

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lvstui/fixes"
	"lvstui/lab"
)

// broken is a real server that answers ARP for the VIP, and what it looks like.
func broken(t *testing.T) (c cluster, before string) {
	t.Helper()
	c = startCluster(t, lab.Spec{Topology: lab.Shared, Faults: []string{"rs-answers-arp"}, NoClient: true})
	return c, c.dump(lab.RealServer2)
}

// fixOn asks for the fix on a terminal of the host, and says yes to it.
func fixOn(t *testing.T, c cluster, args ...string) *terminal {
	t.Helper()
	start := func(cmd *exec.Cmd) error { return c.Host(lab.RealServer2).Do(cmd.Start) }
	x := startTerminalBy(t, start, 120, 40, append([]string{"fix", "rs-answers-arp", "--vip", c.VIP()}, args...)...)
	x.see(long, "apply? [y/N]")
	x.press("y\r")
	x.see(long, "verified", "keep it? [y/N]")
	return x
}

// back waits until the host is as it was.
func (c cluster) back(within time.Duration, host, before, when string) {
	c.t.Helper()
	for deadline := time.Now().Add(within); c.dump(host) != before; time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("%s: %s is not as it was:\n%s\n--- was\n%s", when, host, c.dump(host), before)
		}
	}
}

func (c cluster) list(host string) string {
	c.t.Helper()
	status, stdout, stderr := c.run(host, "undo", "--list")
	if status != 0 {
		c.t.Fatalf("undo --list: status %d\n%s", status, stderr)
	}
	return stdout
}

// What becomes of a change that waits on a terminal.
func TestKeepItOnATerminal(t *testing.T) {
	c, before := broken(t)
	rs2 := lab.RealServer2

	x := fixOn(t, c)
	x.press("y")
	x.see(long, "kept. To take it back: lvstui undo")
	x.end(long)
	if got := c.list(rs2); !strings.Contains(got, "in force") || c.dump(rs2) == before {
		t.Errorf("kept, and then\n%s", got)
	}
	if status, _, stderr := c.run(rs2, "undo"); status != 0 {
		t.Fatalf("undo: status %d\n%s", status, stderr)
	}
	c.back(0, rs2, before, "undone")

	x = fixOn(t, c)
	x.press("\r") // the default is no
	x.see(long, "taken back")
	x.end(long)
	c.back(0, rs2, before, "not kept")

	x = fixOn(t, c, "--confirm-within", "3s")
	x.see(long, "not confirmed within 3 s")
	c.back(0, rs2, before, "not answered")

	// The terminal is hung up.
	x = fixOn(t, c, "--confirm-within", "1h")
	x.pty.Close()
	x.tty.Close()
	c.back(long, rs2, before, "hung up")

	// lvstui is killed, with the terminal and all.
	x = fixOn(t, c, "--confirm-within", "3s")
	if err := x.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	x.pty.Close()
	c.back(long, rs2, before, "killed")
	if got := c.list(rs2); strings.Count(got, "taken back") < 4 || strings.Contains(got, "waiting") {
		t.Errorf("the journal:\n%s", got)
	}
}

// A change that waits for lvstui confirm, as scripts make them.
func TestConfirmOnTheCommandLine(t *testing.T) {
	c, before := broken(t)
	rs2 := lab.RealServer2
	fix := []string{"fix", "rs-answers-arp", "--vip", c.VIP(), "--yes", "--confirm-within"}

	root := t.TempDir()
	name := filepath.Join(root, fixes.SysctlFile)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	written := func() string { b, _ := os.ReadFile(name); return string(b) }

	status, _, stderr := c.run(rs2, append(fix, "1h", "--persist", "--root", root)...)
	if status != 0 || !strings.Contains(stderr, "lvstui confirm 0001-rs-answers-arp") {
		t.Fatalf("fix: status %d\n%s", status, stderr)
	}
	if written() != "" {
		t.Error("written for the next boot before it was kept")
	}
	if got := c.list(rs2); !strings.Contains(got, "waiting: taken back in 5") || !strings.Contains(got, "lvstui confirm") {
		t.Errorf("while it waits:\n%s", got)
	}
	status, _, stderr = c.run(rs2, "fix", "rs-answers-arp", "--vip", c.VIP(), "--yes")
	if !strings.Contains(stderr, "not found") && (status == 0 || !strings.Contains(stderr, "waits to be confirmed")) {
		t.Errorf("a second one: status %d\n%s", status, stderr)
	}
	status, stdout, stderr := c.run(rs2, "confirm", "--format", "json")
	if status != 0 || !strings.Contains(stdout, `"state": "applied"`) || !strings.Contains(stderr, "kept") {
		t.Fatalf("confirm: status %d\n%s\n%s", status, stdout, stderr)
	}
	if !strings.Contains(written(), "net.ipv4.conf.all.arp_ignore = 1") {
		t.Errorf("kept, and for the next boot: %q", written())
	}
	if status, _, stderr := c.run(rs2, "confirm"); status != statusUnknown || !strings.Contains(stderr, "no change waits") {
		t.Errorf("confirm again: status %d\n%s", status, stderr)
	}
	if status, _, stderr := c.run(rs2, "undo", "--all"); status != 0 {
		t.Fatalf("undo: status %d\n%s", status, stderr)
	}
	c.back(0, rs2, before, "undone")
	if written() != "" {
		t.Errorf("undone, and for the next boot: %q", written())
	}

	if status, _, stderr := c.run(rs2, append(fix, "2s")...); status != 0 {
		t.Fatalf("fix: status %d\n%s", status, stderr)
	}
	c.back(long, rs2, before, "not confirmed")
	if got := c.list(rs2); !strings.Contains(got, "not confirmed within 2 s") {
		t.Errorf("not confirmed:\n%s", got)
	}
	if status, _, stderr := c.run(rs2, "confirm", "0002-rs-answers-arp"); status != statusUnknown || !strings.Contains(stderr, "taken back (not confirmed within 2 s)") {
		t.Errorf("confirm too late: status %d\n%s", status, stderr)
	}
}
