//go:build guest

package main

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"lvstui/lab"
)

// From bare hosts to a served client by setup alone, and back: nothing else is done to the hosts.
func TestSetupServesTheClient(t *testing.T) {
	for topology, prefix := range map[lab.Topology]int{lab.Single: 32, lab.Shared: 24} {
		t.Run(string(topology), func(t *testing.T) {
			c := startCluster(t, lab.Spec{Topology: topology, Bare: true, NoClient: true})
			vip := netip.PrefixFrom(topology.VIP(), prefix).String()
			director := []string{"setup", "director", "--vip", vip, "--service", "tcp/80", "--real-server", lab.RIP1.String(), "--real-server", lab.RIP2.String() + "=1"}
			realServer := []string{"setup", "real-server", "--vip", topology.VIP().String(), "--service", "tcp/80", "--gateway", "192.168.10.1"}
			todo := []struct {
				host string
				args []string
			}{{lab.RealServer1, realServer}, {lab.RealServer2, realServer}, {lab.Director, director}}
			before := map[string]string{}
			for _, do := range todo {
				before[do.host] = c.dump(do.host)
				if status, _, stderr := c.run(do.host, append(do.args, "--dry-run")...); status != 0 || !strings.Contains(stderr, "undo:") || c.dump(do.host) != before[do.host] {
					t.Fatalf("dry run on %s: status %d, or it changed something:\n%s", do.host, status, stderr)
				}
				if status, _, stderr := c.run(do.host, append(do.args, "--yes")...); status != 0 || !strings.Contains(stderr, "verified") {
					t.Fatalf("%s: status %d\n%s", do.host, status, stderr)
				}
			}
			if got := lab.Count(c.Try(t.Context(), 4, 10*time.Second)); got.OK != 4 {
				t.Errorf("the client was served %d of 4 times: %+v", got.OK, got)
			}
			for _, do := range todo {
				done := c.dump(do.host)
				if r, _ := c.check(do.host, "--vip", c.VIP()); len(r.serious()) > 0 {
					t.Errorf("check on %s: %v", do.host, r.serious())
				}
				status, _, stderr := c.run(do.host, append(do.args, "--yes")...)
				if status != 0 || !strings.Contains(stderr, "nothing left to do") || c.dump(do.host) != done {
					t.Errorf("again on %s: status %d, or it changed something\n%s", do.host, status, stderr)
				}
			}
			for _, do := range todo {
				if status, _, stderr := c.run(do.host, "undo"); status != 0 {
					t.Fatalf("undo on %s: status %d\n%s", do.host, status, stderr)
				}
				if after := c.dump(do.host); after != before[do.host] {
					t.Errorf("after undo %s is not as it was:\n%s\n--- was\n%s", do.host, after, before[do.host])
				}
			}
		})
	}
}

// What a director's table lacks is cured there, and taken back to the letter.
func TestFixTheTableOnTheCommandLine(t *testing.T) {
	for _, id := range []string{"forward-method-not-dr", "no-available-dest"} {
		t.Run(id, func(t *testing.T) {
			c := startCluster(t, lab.Spec{Topology: lab.Single, Faults: []string{id}, NoClient: true})
			before := c.dump(lab.Director)
			if status, _, stderr := c.run(lab.Director, "fix", id, "--yes", "--vip", c.VIP()); status != 0 || !strings.Contains(stderr, "ipvsadm -e -t") {
				t.Fatalf("fix: status %d\n%s", status, stderr)
			}
			if got := lab.Count(c.Try(t.Context(), 4, 10*time.Second)); got.OK != 4 {
				t.Errorf("after the fix the client was served %d of 4 times: %+v", got.OK, got)
			}
			if status, _, stderr := c.run(lab.Director, "undo"); status != 0 {
				t.Fatalf("undo: status %d\n%s", status, stderr)
			}
			if after := c.dump(lab.Director); after != before {
				t.Errorf("after undo the director is not as it was:\n%s\n--- was\n%s", after, before)
			}
		})
	}
}
