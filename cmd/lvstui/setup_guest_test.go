//go:build guest

package main

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"lvstui/lab"
)

// bareClusters are clusters of which nobody has set up anything, and what their operator says to lvstui on director and real servers.
var bareClusters = []struct {
	name     string
	spec     lab.Spec
	director []string
	real     []string
	// router is what the router has to be told: a pattern for a command among what lvstui prints, run with LEG put for its interface.
	router string
	leg    string
}{
	{"in the subnet of the real servers", lab.Spec{Topology: lab.Single}, []string{"--vip", "192.168.10.8"}, []string{"--vip", "192.168.10.8", "--gateway", "192.168.10.1"}, "", ""},
	{"in another subnet of the segment", lab.Spec{Topology: lab.Shared}, []string{"--vip", "172.16.0.8/24"}, []string{"--vip", "172.16.0.8"}, "", ""},
	{"on a segment of its own", lab.Spec{Topology: lab.Split}, []string{"--vip", "172.16.0.8/24", "--interface", "eth1", "--gateway", "172.16.0.1"},
		[]string{"--vip", "172.16.0.8", "--gateway", "192.168.10.1"}, `sysctl -w net\.ipv4\.conf\.LEG\.rp_filter=2`, "eth2"},
	{"routed to the director", lab.Spec{Topology: lab.Single}, []string{"--vip", "192.168.10.8", "--interface", "lo", "--gateway", "192.168.10.1"},
		[]string{"--vip", "192.168.10.8"}, `ip route add 192\.168\.10\.8/32 via 192\.168\.10\.2`, ""},
	{"IPv6", lab.Spec{Topology: lab.Shared, IPv6: true}, []string{"--vip", "2001:db8:16::8/64"}, []string{"--vip", "2001:db8:16::8", "--gateway", "2001:db8:10::1"}, "", ""},
	{"IPv6, routed to the director", lab.Spec{Topology: lab.Single, IPv6: true}, []string{"--vip", "2001:db8:10::8", "--interface", "lo", "--gateway", "2001:db8:10::1"},
		[]string{"--vip", "2001:db8:10::8"}, `ip -6 route add 2001:db8:10::8/128 via 2001:db8:10::2`, ""},
}

// From bare hosts to a served client by setup alone, and back: the router is told what setup printed for it, and nothing else is done.
func TestSetupServesTheClient(t *testing.T) {
	for _, b := range bareClusters {
		t.Run(b.name, func(t *testing.T) {
			b.spec.Bare, b.spec.NoClient = true, true
			c := startCluster(t, b.spec)
			rips := []string{lab.RIP1.String(), lab.RIP2.String()}
			if b.spec.IPv6 {
				rips = []string{lab.Six(lab.RIP1).String(), lab.Six(lab.RIP2).String()}
			}
			real := append([]string{"setup", "real-server", "--service", "tcp/80"}, b.real...)
			todo := []struct {
				host string
				args []string
			}{{lab.RealServer1, real}, {lab.RealServer2, real},
				{lab.Director, append([]string{"setup", "director", "--service", "tcp/80", "--real-server", rips[0], "--real-server", rips[1] + "=1"}, b.director...)}}
			before, printed := map[string]string{}, ""
			for _, do := range todo {
				before[do.host] = c.dump(do.host)
				status, _, stderr := c.run(do.host, append(do.args, "--dry-run")...)
				if status != 0 || !strings.Contains(stderr, "undo:") || c.dump(do.host) != before[do.host] {
					t.Fatalf("dry run on %s: status %d, or it changed something:\n%s", do.host, status, stderr)
				}
				if status, _, stderr = c.run(do.host, append(do.args, "--yes")...); status != 0 || !strings.Contains(stderr, "verified") {
					t.Fatalf("%s: status %d\n%s", do.host, status, stderr)
				}
				printed += stderr
			}
			c.tellRouter(printed, b.router, b.leg)
			if got := c.served(); got != "" {
				t.Errorf("%s\n%s", got, printed)
			}
			for _, do := range todo {
				done := c.dump(do.host)
				if r, _ := c.check(do.host, "--vip", strings.Split(b.director[1], "/")[0]); len(r.serious()) > 0 {
					t.Errorf("check on %s: %v", do.host, r.serious())
				}
				status, _, stderr := c.run(do.host, append(do.args, "--yes")...)
				if status != 0 || !strings.Contains(stderr, "nothing left to do") || c.dump(do.host) != done {
					t.Errorf("again on %s: status %d, or it changed something\n%s", do.host, status, stderr)
				}
			}
			for _, do := range slices.Backward(todo) {
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

// tellRouter does on the router what lvstui printed for it.
func (c cluster) tellRouter(printed, pattern, leg string) {
	c.t.Helper()
	if pattern == "" {
		return
	}
	command := regexp.MustCompile(pattern).FindString(printed)
	if command == "" {
		c.t.Fatalf("nothing like %s is printed for the router:\n%s", pattern, printed)
	}
	words := strings.Fields(strings.ReplaceAll(command, "LEG", leg))
	cmd := exec.Command(words[0], words[1:]...)
	var out []byte
	if err := c.Host(lab.Router).Do(func() (err error) { out, err = cmd.CombinedOutput(); return err }); err != nil {
		c.t.Fatalf("on the router, %s: %v %s", command, err, out)
	}
}

// Who takes an address asks first whether somebody has it.
func TestSetupLeavesAVIPAloneThatIsInUse(t *testing.T) {
	c := startCluster(t, lab.Spec{Topology: lab.Single, Bare: true, NoClient: true})
	if err := c.Host(lab.RealServer1).Do(func() error { return exec.Command("ip", "addr", "add", "192.168.10.8/32", "dev", "eth0").Run() }); err != nil {
		t.Fatal(err)
	}
	before := c.dump(lab.Director)
	status, _, stderr := c.run(lab.Director, "setup", "director", "--vip", "192.168.10.8", "--service", "tcp/80", "--real-server", lab.RIP2.String(), "--yes")
	if want := "is in use: 02:00:00:00:11:00 answers for it on eth0"; status != 3 || !strings.Contains(stderr, want) || c.dump(lab.Director) != before {
		t.Errorf("status %d, want 3 and %q, or it changed something\n%s", status, want, stderr)
	}
}
