//go:build guest

package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"lvstui/lab"
)

// cured are the lab's faults that lvstui cures by itself, with what the operator says on the host that has the finding.
var cured = []struct {
	id       string
	topology lab.Topology
	host     string
	args     []string
}{
	{"vip-prefix-on-lo", lab.Single, lab.RealServer2, []string{"--role", "real-server"}},
	{"rs-answers-arp", lab.Single, lab.RealServer2, []string{"--role", "real-server"}},
	{"arp-sysctl-on-lo-only", lab.Single, lab.RealServer2, []string{"--role", "real-server"}},
	{"vip-on-rs-nic", lab.Single, lab.RealServer2, []string{"--role", "real-server"}},
	{"vip-missing-on-rs", lab.Single, lab.RealServer2, []string{"--role", "real-server"}},
	{"rs-gateway-is-director", lab.Single, lab.RealServer2, []string{"--role", "real-server", "--gateway", "192.168.10.1", "--flows", "5s"}},
	{"vip-not-on-director", lab.Single, lab.Director, nil},
	{"forward-method-not-dr", lab.Single, lab.Director, nil},
	{"no-available-dest", lab.Single, lab.Director, nil},
	{"rs-arp-announce-poison", lab.Shared, lab.RealServer2, []string{"--role", "real-server"}},
	{"rs-no-route-to-client", lab.Shared, lab.RealServer2, []string{"--role", "real-server", "--gateway", "192.168.10.1", "--flows", "5s"}},
	{"rs-rp-filter", lab.Shared, lab.RealServer2, []string{"--role", "real-server", "--flows", "5s"}},
	{"director-input-firewall", lab.Shared, lab.Director, nil},
	{"director-rp-filter-drops-client", lab.Shared, lab.Director, []string{"--gateway", "192.168.10.1", "--flows", "5s"}},
	{"rs-neigh-failed", lab.Single, lab.Director, []string{"--flows", "5s"}},
	{"rs-not-on-link", lab.Single, lab.Director, nil},
	{"router-urpf-or-source-guard", lab.Split, lab.Router, []string{"--role", "router", "--flows", "5s"}},
	{"director-rp-filter-drops-client", lab.Split, lab.Director, []string{"--flows", "5s"}},
}

// left are the lab's faults that lvstui cannot cure by itself, and why. What it says instead are commands that cure them.
var left = []struct{ id, host, why string }{
	{"service-not-listening-on-vip", lab.RealServer2, "how a program is told where to listen only its own configuration knows"},
	{"service-not-in-ipvs", lab.Director, "which ports are to be served only the operator knows: strangers ask for all of them"},
}

func TestEveryFaultIsCuredOrLeftWithAReason(t *testing.T) {
	for _, f := range lab.Faults() {
		n := 0
		for _, c := range cured {
			if c.id == f.ID {
				n++
			}
		}
		for _, l := range left {
			if l.id == f.ID && l.why != "" {
				n += 100
			}
		}
		if n == 0 || n > 100 {
			t.Errorf("%s: %d times among those that lvstui cures, and %d among those that it leaves", f.ID, n%100, n/100)
		}
	}
}

// TestWhatIsSaidInstead types what lvstui says where it does not cure a fault itself: then the client is served, and lvstui finds nothing any more.
func TestWhatIsSaidInstead(t *testing.T) {
	c := startCluster(t, lab.Spec{Topology: lab.Single, NoClient: true})
	for _, f := range left {
		t.Run(f.id, func(t *testing.T) {
			c := cluster{t, c.Lab}
			if err := c.Inject(f.id); err != nil {
				t.Fatal(err)
			}
			args := []string{"--vip", c.VIP()}
			if f.host == lab.RealServer2 {
				args = append(args, "--role", "real-server")
			}
			args = append(args, "--flows", "6s")
			stop := c.keepTrying()
			status, _, stderr := c.run(f.host, append([]string{"fix", f.id, "--yes"}, args...)...)
			stop()
			if status != 3 {
				t.Fatalf("fix: status %d\n%s", status, stderr)
			}
			before := c.dump(f.host)
			for _, said := range regexp.MustCompile(`(?m)^  on \S+: (.*)$`).FindAllStringSubmatch(stderr, -1) {
				c.types(f.host, said[1])
			}
			if c.dump(f.host) == before {
				t.Fatalf("nothing that could be typed is said:\n%s", stderr)
			}
			if got := c.served(); got != "" {
				t.Errorf("after what was said %s\n%s", got, stderr)
			}
			stop = c.keepTrying()
			r, _ := c.check(f.host, args...)
			stop()
			if got := r.serious(); len(got) > 0 {
				t.Errorf("after what was said there is still %v", got)
			}
			c.types(f.host, "nft delete table ip lvs_vip 2>/dev/null; true")
			if err := c.Heal(f.id); err != nil {
				t.Fatal(err)
			}
			c.settle()
		})
	}
}

// The same with a way back: what is said of a missing service is a set-up that lvstui makes, and takes back.
func TestAMissingServiceIsSetUp(t *testing.T) {
	c := startCluster(t, lab.Spec{Topology: lab.Single, NoClient: true})
	if err := c.Inject("service-not-in-ipvs"); err != nil {
		t.Fatal(err)
	}
	before := c.dump(lab.Director)
	stop := c.keepTrying()
	_, _, stderr := c.run(lab.Director, "fix", "service-not-in-ipvs", "--flows", "6s")
	stop()
	said := regexp.MustCompile(`lvstui (setup director --vip \S+ --service \S+ --scheduler \S+( --real-server \S+)+)`).FindStringSubmatch(stderr)
	if said == nil {
		t.Fatalf("no set-up is named:\n%s", stderr)
	}
	if status, _, stderr := c.run(lab.Director, append(strings.Fields(said[1]), "--yes")...); status != 0 {
		t.Fatalf("setup: status %d\n%s", status, stderr)
	}
	if got := c.served(); got != "" {
		t.Errorf("after the set-up %s", got)
	}
	if status, _, stderr := c.run(lab.Director, "undo"); status != 0 {
		t.Fatalf("undo: status %d\n%s", status, stderr)
	}
	if after := c.dump(lab.Director); after != before {
		t.Errorf("after undo the host is not as it was:\n%s\n--- was\n%s", after, before)
	}
}

// types has a shell on a host do what an operator would type there.
func (c cluster) types(host, command string) {
	c.t.Helper()
	var out []byte
	if err := c.Host(host).Do(func() (err error) {
		out, err = exec.Command("sh", "-c", command).CombinedOutput()
		return err
	}); err != nil {
		c.t.Fatalf("%s: %s: %v\n%s", host, command, err, out)
	}
}

// TestEveryFaultThatLvstuiCures goes from the fault to the served client and back, by commands alone: fix, look at the client, undo, and the
// host is what it was, by everything that other people's tools print of it.
func TestEveryFaultThatLvstuiCures(t *testing.T) {
	for _, topology := range lab.Topologies {
		c := startCluster(t, lab.Spec{Topology: topology, NoClient: true})
		for _, f := range cured {
			if f.topology == topology {
				t.Run(f.id, func(t *testing.T) {
					c := cluster{t, c.Lab}
					if err := c.Inject(f.id); err != nil {
						t.Fatal(err)
					}
					c.cureAndUndo(f.id, f.host, append([]string{"--vip", c.VIP()}, f.args...))
					if err := c.Heal(f.id); err != nil {
						t.Fatal(err)
					}
					c.settle()
				})
			}
		}
		if err := c.Down(); err != nil {
			t.Fatal(err)
		}
	}
}

func (c cluster) cureAndUndo(id, host string, args []string) {
	c.t.Helper()
	before := c.dump(host)
	stop := func() {}
	if slices.Contains(args, "--flows") {
		stop = c.keepTrying()
	}
	status, _, stderr := c.run(host, append([]string{"fix", id, "--yes"}, args...)...)
	stop()
	if status != 0 {
		c.t.Fatalf("fix: status %d\n%s", status, stderr)
	}
	if c.dump(host) == before {
		c.t.Errorf("fix says that it did something, and nothing changed:\n%s", stderr)
	}
	if got := c.served(); got != "" {
		c.t.Errorf("after the fix %s\n%s", got, stderr)
	}
	if status, _, stderr := c.run(host, "undo"); status != 0 {
		c.t.Fatalf("undo: status %d\n%s", status, stderr)
	}
	if after := c.dump(host); after != before {
		c.t.Errorf("after undo the host is not as it was:\n%s\n--- was\n%s", after, before)
	}
}

// keepTrying lets clients try while lvstui listens.
func (c cluster) keepTrying() (stop func()) {
	ctx, cancel := context.WithCancel(c.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			c.Try(ctx, 4, 2500*time.Millisecond)
		}
	}()
	return func() { cancel(); <-done }
}

// served says how the client fared when it was not served every time, once ARP tables have got over the fault: a director that was asking in
// vain for a real server's MAC when it was cured goes on for up to three seconds, and turns the SYNs that wait for it away
// (net/core/neighbour.c, neigh_timer_handler).
func (c cluster) served() (trouble string) {
	for range 8 {
		got := lab.Count(c.Try(c.t.Context(), 4, 5*time.Second))
		if got.OK == 4 {
			return ""
		}
		trouble = fmt.Sprintf("the client was served %d of 4 times: %+v", got.OK, got)
		time.Sleep(500 * time.Millisecond)
	}
	return trouble
}

// settle waits until the client is served by both, as before the fault.
func (c cluster) settle() {
	c.t.Helper()
	for range 20 {
		if got := lab.Count(c.Try(c.t.Context(), 2, 3*time.Second)); got.OK == 2 && len(got.Servers) == 2 {
			return
		}
		time.Sleep(500 * time.Millisecond)
	}
	c.t.Fatal("without the fault the client is not served by both real servers")
}
