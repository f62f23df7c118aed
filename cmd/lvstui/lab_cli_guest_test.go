//go:build guest

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"lvstui/lab"
)

// cluster is a lab in this process, on whose hosts the program runs as a child.
type cluster struct {
	t *testing.T
	*lab.Lab
}

func startCluster(t *testing.T, spec lab.Spec) cluster {
	t.Helper()
	l, err := lab.Up(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Down() })
	return cluster{t, l}
}

// run runs lvstui on a host and returns its exit status and output.
func (c cluster) run(host string, args ...string) (status int, stdout, stderr string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Minute)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		c.t.Fatal(err)
	}
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), beLvstui+"=1", "SSH_CONNECTION=")
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := c.Host(host).Start(cmd); err != nil {
		c.t.Fatal(err)
	}
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode(), out.String(), errOut.String()
}

// checked is what of check's JSON the tests look at.
type checked struct {
	Schema   int      `json:"schema"`
	Host     string   `json:"host"`
	Roles    []string `json:"roles"`
	Verdict  string   `json:"verdict"`
	Path     []struct{ Stage, Status string }
	Findings []struct {
		ID, Severity, Certainty, Stage string
		Fix                            *struct{ Automatic bool }
	}
}

func (c cluster) check(host string, args ...string) (checked, int) {
	c.t.Helper()
	status, stdout, stderr := c.run(host, append([]string{"check", "--format", "json"}, args...)...)
	var r checked
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		c.t.Fatalf("check on %s: %v\n%s\n%s", host, err, stdout, stderr)
	}
	return r, status
}

func (r checked) serious() []string {
	var out []string
	for _, f := range r.Findings {
		if f.Severity == "outage" || f.Severity == "degraded" {
			out = append(out, fmt.Sprintf("%s (%s, %s)", f.ID, f.Severity, f.Certainty))
		}
	}
	return out
}

func (r checked) has(id string) bool {
	return slices.ContainsFunc(r.Findings, func(f struct {
		ID, Severity, Certainty, Stage string
		Fix                            *struct{ Automatic bool }
	}) bool {
		return f.ID == id
	})
}

// A healthy cluster gives nothing to worry about on any host, with and without listening.
func TestHealthyClusterOnTheCommandLine(t *testing.T) {
	c := startCluster(t, lab.Spec{Topology: lab.Shared})
	for _, host := range []string{lab.Client, lab.Router, lab.Director, lab.RealServer1, lab.RealServer2} {
		r, status := c.check(host)
		if got := r.serious(); len(got) > 0 || r.Verdict == "broken" || r.Verdict == "warning" {
			t.Errorf("%s: verdict %s, status %d, %v", host, r.Verdict, status, got)
		}
		if r.Host != host {
			t.Errorf("%s calls itself %s", host, r.Host)
		}
	}
	r, status := c.check(lab.Director, "--flows", "8s")
	if status != 0 || r.Verdict != "ok" {
		t.Errorf("director, listening: verdict %s, status %d, %v", r.Verdict, status, r.serious())
	}
	for _, p := range r.Path {
		if p.Status != "ok" {
			t.Errorf("director, listening: %s is %s", p.Stage, p.Status)
		}
	}
}

// From finding to served client and back, by commands alone: fix, check, undo, for each finding that lvstui can cure so far.
func TestFixAndUndoOnTheCommandLine(t *testing.T) {
	for _, id := range []string{"rs-answers-arp", "vip-missing-on-rs", "vip-prefix-on-lo"} {
		t.Run(id, func(t *testing.T) {
			c := startCluster(t, lab.Spec{Topology: lab.Single, Faults: []string{id}})
			vip := []string{"--vip", c.VIP(), "--role", "real-server"}
			r, status := c.check(lab.RealServer2, vip...)
			if !r.has(id) || status == 0 {
				t.Fatalf("%s is not found on rs2: status %d, %+v", id, status, r.Findings)
			}
			before := c.dump(lab.RealServer2)

			status, _, stderr := c.run(lab.RealServer2, append([]string{"fix", id, "--dry-run"}, vip...)...)
			if status != 0 || !strings.Contains(stderr, "undo:") || c.dump(lab.RealServer2) != before {
				t.Fatalf("dry run: status %d, or it changed something:\n%s", status, stderr)
			}
			if status, _, stderr = c.run(lab.RealServer2, append([]string{"fix", id}, vip...)...); status != 3 || c.dump(lab.RealServer2) != before {
				t.Fatalf("fix with nobody to ask: status %d, or it changed something:\n%s", status, stderr)
			}
			if status, _, stderr = c.run(lab.RealServer2, append([]string{"fix", id, "--yes"}, vip...)...); status != 0 {
				t.Fatalf("fix: status %d\n%s", status, stderr)
			}
			if r, _ := c.check(lab.RealServer2, vip...); r.has(id) || len(r.serious()) > 0 {
				t.Errorf("after the fix: %v", r.serious())
			}
			if trouble := c.served(); trouble != "" {
				t.Errorf("after the fix %s", trouble)
			}

			if status, _, stderr = c.run(lab.RealServer2, "undo"); status != 0 {
				t.Fatalf("undo: status %d\n%s", status, stderr)
			}
			if after := c.dump(lab.RealServer2); after != before {
				t.Errorf("after undo the host is not as it was:\n%s\n--- was\n%s", after, before)
			}
			if r, _ := c.check(lab.RealServer2, vip...); !r.has(id) {
				t.Error("after undo the fault is not found")
			}
		})
	}
}

// dump is what of a host a fix could change, as other people's tools print it.
func (c cluster) dump(host string) string {
	c.t.Helper()
	var all strings.Builder
	for _, words := range [][]string{
		{"ip", "-o", "link", "show"}, {"ip", "-o", "address", "show"}, {"ip", "route", "show", "table", "all"}, {"ip", "rule", "show"}, {"ip", "-6", "rule", "show"},
		{"ip", "neigh", "show", "nud", "permanent"}, {"ipvsadm", "-S", "-n"}, {"ipvsadm", "-L", "--timeout"}, {"nft", "-s", "list", "ruleset"},
		{"sysctl", "-a", "-r", `net\.(ipv4|ipv6)\.(conf|ip_forward|vs)`},
	} {
		cmd := exec.Command(words[0], words[1:]...)
		var out, errOut bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errOut
		if err := c.Host(host).Do(cmd.Start); err != nil {
			c.t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			c.t.Fatalf("%v: %v: %s", words, err, errOut.String())
		}
		all.Write(out.Bytes())
	}
	return all.String()
}

// An ordinary user sees what can be seen, is told what can not, and is not told that all is well.
func TestOrdinaryUserOnTheCommandLine(t *testing.T) {
	c := startCluster(t, lab.Spec{Topology: lab.Shared})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{lab.Director} {
		// With a packet filter in the kernel there is something that only CAP_NET_ADMIN can read.
		filter := exec.Command("nft", "add table inet filter; add chain inet filter input { type filter hook input priority 0; }")
		if err := c.Host(host).Do(func() error { return filter.Run() }); err != nil {
			t.Fatal(err)
		}
		var out, errOut bytes.Buffer
		cmd := exec.Command(self, "check", "--format", "json")
		cmd.Env = append(os.Environ(), beLvstui+"=1", "HOME=/tmp")
		cmd.Stdout, cmd.Stderr = &out, &errOut
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if err := c.Host(host).Do(cmd.Start); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		var r struct {
			Verdict string
			Roles   []string
			Gaps    []struct{ Source, Reason, Capability string }
		}
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			t.Fatalf("%v\n%s\n%s", err, out.String(), errOut.String())
		}
		if cmd.ProcessState.ExitCode() != 3 || r.Verdict != "unknown" {
			t.Errorf("%s: verdict %s, status %d, want unknown and 3", host, r.Verdict, cmd.ProcessState.ExitCode())
		}
		if len(r.Roles) == 0 {
			t.Errorf("%s: no role seen, although /proc shows the tables to everybody", host)
		}
		if !strings.Contains(out.String(), "CAP_NET_ADMIN") {
			t.Errorf("%s: no gap names CAP_NET_ADMIN:\n%s", host, out.String())
		}
	}
}
