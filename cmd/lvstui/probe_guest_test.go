//go:build guest

package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"lvstui/lab"
	"lvstui/lvs"
	"lvstui/probes"
)

// probed runs check --probe on a host.
func (c cluster) probed(host string, args ...string) probes.Report {
	c.t.Helper()
	_, stdout, stderr := c.run(host, append([]string{"check", "--format", "json"}, args...)...)
	var r probes.Report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || r.Probed == nil {
		c.t.Fatalf("check --probe on %s: %v\n%s\n%s", host, err, stdout, stderr)
	}
	if !strings.Contains(stderr, "sending on eth0: ") {
		c.t.Errorf("on %s it is not said what is sent:\n%s", host, stderr)
	}
	return r
}

func (c cluster) ip(host string, args ...string) string {
	c.t.Helper()
	var out []byte
	err := c.Host(host).Do(func() (err error) {
		out, err = exec.Command("ip", args...).CombinedOutput()
		return err
	})
	if err != nil {
		c.t.Fatalf("ip %v on %s: %v: %s", args, host, err, out)
	}
	return string(out)
}

// expectProbed looks for one finding and nothing else that is serious.
func expectProbed(t *testing.T, r probes.Report, id string, certainty probes.Certainty, host string) {
	t.Helper()
	found := id == ""
	for _, f := range r.Findings {
		switch {
		case f.ID == id && f.Certainty == certainty && f.Host == host:
			found = true
		case f.Severity == probes.Outage || f.Severity == probes.Degraded:
			t.Errorf("%s also found: %s, %s, on %s", r.Host, f.ID, f.Certainty, f.Host)
		}
	}
	if !found {
		t.Errorf("no %s, %s, on %s in %+v; probed %+v", id, certainty, host, r.Findings, *r.Probed)
	}
}

func results(r probes.Report) string {
	var out []string
	for _, p := range r.Probed.DSR {
		out = append(out, fmt.Sprintf("%s %s %s", p.RealServer, p.Result, p.Direct))
	}
	return strings.Join(out, ", ")
}

func answerers(r probes.Report) string {
	var out []string
	for _, p := range r.Probed.ARP {
		words := []string{p.Device}
		if p.Holds {
			words = append(words, "holds")
		}
		for _, a := range p.Answers {
			words = append(words, fmt.Sprintf("%s %d+%d", a.MAC, a.Ordinary, a.DAD))
		}
		out = append(out, strings.Join(words, " "))
	}
	return strings.Join(out, ", ")
}

const directorMAC = "02:00:00:00:03:00"

func TestProbesOfAHealthyCluster(t *testing.T) {
	c := startCluster(t, lab.Spec{Topology: lab.Shared, NoClient: true})
	r := c.probed(lab.Director, "--probe", "arp,dsr")
	expectProbed(t, r, "", "", "")
	if got := answerers(r); got != "eth0 holds" {
		t.Errorf("the director hears %q answer for its VIP", got)
	}
	if got := results(r); got != "192.168.10.11 accepts , 192.168.10.12 accepts " {
		t.Errorf("the director's SYNs came to %q", got)
	}
	for _, rs := range []string{lab.RealServer1, lab.RealServer2} {
		var out []byte
		if err := c.Host(rs).Do(func() (err error) {
			out, err = exec.Command("ss", "-Htn", "state", "syn-recv").CombinedOutput()
			return err
		}); err != nil || len(out) > 0 {
			t.Errorf("half-open connections are left on %s: %v %s", rs, err, out)
		}
	}
	for _, host := range []string{lab.Router, lab.RealServer1} {
		args := []string{"--probe", "arp", "--vip", c.VIP(), "-i", map[string]string{lab.Router: "eth1", lab.RealServer1: "eth0"}[host]}
		_, stdout, stderr := c.run(host, append([]string{"check", "--format", "json"}, args...)...)
		var r probes.Report
		if err := json.Unmarshal([]byte(stdout), &r); err != nil || r.Probed == nil {
			t.Fatalf("%s: %v\n%s", host, err, stderr)
		}
		expectProbed(t, r, "", "", "")
		if got := answerers(r); !strings.Contains(got, directorMAC+" 2+2") || strings.Contains(got, "02:00:00:00:1") {
			t.Errorf("%s hears %q, want the director alone, to all four requests", host, got)
		}
	}
}

// Who answers beside the director is named, for certain, and asking misleads nobody's cache.
func TestProbeHearsARealServerAnswer(t *testing.T) {
	c := startCluster(t, lab.Spec{Topology: lab.Single, Faults: []string{"rs-answers-arp"}, NoClient: true})
	c.ip(lab.Router, "neigh", "replace", c.VIP(), "lladdr", directorMAC, "dev", "eth1", "nud", "stale")
	r := c.probed(lab.Director, "--probe", "arp")
	expectProbed(t, r, "rs-answers-arp", probes.Certain, lab.RIP2.String())
	// The lab's router forgets its entry every five seconds; what it must not have is the real server's MAC.
	if n := c.ip(lab.Router, "neigh", "show", c.VIP()); strings.Contains(n, "02:00:00:00:12:00") {
		t.Errorf("the router's entry for the VIP is now %s", n)
	}
}

// IPv6: the real server has the VIP on its card too, without the check for duplicates.
func TestProbeHearsARealServerAdvertise(t *testing.T) {
	c := startCluster(t, lab.Spec{Topology: lab.Single, NoClient: true})
	for host, own := range map[string]string{lab.Director: "2001:db8::2", lab.RealServer1: "2001:db8::11", lab.RealServer2: "2001:db8::12"} {
		for _, dev := range []string{"all", "eth0", "lo"} {
			if err := c.Host(host).Do(exec.Command("sysctl", "-w", "net.ipv6.conf."+dev+".disable_ipv6=0").Run); err != nil {
				t.Fatal(err)
			}
		}
		dev := map[string]string{lab.RealServer1: "lo"}[host]
		if dev == "" {
			dev = "eth0"
		}
		c.ip(host, "address", "add", own+"/64", "dev", "eth0", "nodad")
		c.ip(host, "address", "add", "2001:db8::8/128", "dev", dev, "nodad")
	}
	for _, words := range []string{"-A -t [2001:db8::8]:80 -s rr", "-a -t [2001:db8::8]:80 -r [2001:db8::11]:80 -g", "-a -t [2001:db8::8]:80 -r [2001:db8::12]:80 -g"} {
		err := c.Host(lab.Director).Do(func() error {
			out, err := exec.Command("ipvsadm", strings.Fields(words)...).CombinedOutput()
			if err != nil {
				err = fmt.Errorf("ipvsadm %s: %w: %s", words, err, out)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(3 * time.Second) // link-local addresses are checked for duplicates
	r := c.probed(lab.Director, "--probe", "arp", "--vip", "2001:db8::8")
	if got := answerers(r); got != "eth0 holds 02:00:00:00:12:00 2+0" {
		t.Errorf("the director hears %q answer for its VIP, want rs2, to both solicitations", got)
	}
	expectProbed(t, r, "v6-vip-on-rs-nic", probes.Strong, "2001:db8::12")
	// The lab's web servers know IPv4 only: a RST is as good a proof that the SYN for the VIP was taken.
	if got := results(c.probed(lab.Director, "--probe", "dsr", "--vip", "2001:db8::8")); got != "2001:db8::11 refuses , 2001:db8::12 refuses " {
		t.Errorf("the SYNs came to %q", got)
	}
}

func TestProbeHearsAStranger(t *testing.T) {
	c := startCluster(t, lab.Spec{Topology: lab.Single, NoClient: true})
	c.stranger(c.VIP() + "/32")
	expectProbed(t, c.probed(lab.Director, "--probe", "arp"), "duplicate-vip", probes.Strong, strangerMAC)
}

const strangerMAC = "02:00:00:00:77:00"

// stranger plugs a host into the real servers' segment that has nothing to do with the cluster, and gives it an address.
func (c cluster) stranger(address string) {
	c.t.Helper()
	process := exec.Command("unshare", "-n", "sleep", "600") // not `ip netns add`: that would mount over the lab's names
	if err := process.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { process.Process.Kill(); process.Wait() })
	pid := strconv.Itoa(process.Process.Pid)
	own, _ := os.Readlink("/proc/self/ns/net")
	for range 100 { // until unshare has unshared
		if ns, err := os.Readlink("/proc/" + pid + "/ns/net"); err == nil && ns != own {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	for _, words := range []string{
		"ip -n switch link add stranger-eth0 type veth peer name eth0 address " + strangerMAC + " netns " + pid,
		"ip -n switch link set stranger-eth0 master lan up",
		"nsenter -t " + pid + " -n ip address add " + address + " dev eth0",
		"nsenter -t " + pid + " -n ip address add 192.168.10.77/24 dev eth0",
		"nsenter -t " + pid + " -n ip link set eth0 up",
	} {
		args := strings.Fields(words)
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			c.t.Fatalf("%s: %v: %s", words, err, out)
		}
	}
}

func TestProbeFindsOutWhoTakesTheVIP(t *testing.T) {
	c := startCluster(t, lab.Spec{Topology: lab.Single, NoClient: true})
	for _, step := range []struct {
		fault, extra string
		result       string
		id           string
		certainty    probes.Certainty
	}{
		{"vip-missing-on-rs", "", "192.168.10.11 accepts , 192.168.10.12 silent accepts", "vip-missing-on-rs", probes.Strong},
		{"vip-missing-on-rs", "1", "192.168.10.11 accepts , 192.168.10.12 forwards ", "vip-missing-on-rs", probes.Certain},
		{"service-not-listening-on-vip", "", "192.168.10.11 accepts , 192.168.10.12 refuses ", "service-not-listening-on-vip", probes.Strong},
	} {
		t.Run(step.fault+step.extra, func(t *testing.T) {
			if err := c.Inject(step.fault); err != nil {
				t.Fatal(err)
			}
			defer c.Heal(step.fault)
			if step.extra != "" {
				set := exec.Command("sysctl", "-w", "net.ipv4.ip_forward="+step.extra)
				if err := c.Host(lab.RealServer2).Do(set.Run); err != nil {
					t.Fatal(err)
				}
				defer c.Host(lab.RealServer2).Do(exec.Command("sysctl", "-w", "net.ipv4.ip_forward=0").Run)
			}
			r := c.probed(lab.Director, "--probe", "dsr")
			if got := results(r); got != step.result {
				t.Errorf("the SYNs came to %q, want %q", got, step.result)
			}
			expectProbed(t, r, step.id, step.certainty, lab.RIP2.String())
		})
	}
	// One that is not there, and one without direct routing.
	c.ip(lab.RealServer1, "link", "set", "eth0", "down")
	c.ip(lab.Director, "neigh", "flush", "dev", "eth0")
	r := c.probed(lab.Director, "--probe", "dsr")
	if got := results(r); got != "192.168.10.11 unreachable , 192.168.10.12 accepts " {
		t.Errorf("with rs1 down the SYNs came to %q", got)
	}
	if len(r.Probed.DSR) > 0 && r.Probed.DSR[0].Result == lvs.DSRUnreachable && r.Probed.DSR[0].Error == "" {
		t.Error("it is not said why rs1 is unreachable")
	}
}

// A router that has an old MAC for the VIP: nobody is served, and with its snapshot beside the director's that is certain.
func TestStaleEntryOfTheRouter(t *testing.T) {
	c := startCluster(t, lab.Spec{Topology: lab.Single, NoClient: true})
	old, err := net.ParseMAC("02:00:00:00:99:00")
	if err != nil {
		t.Fatal(err)
	}
	remember := func() error {
		return c.Host(lab.Router).Do(func() error {
			l, err := netlink.LinkByName("eth1")
			if err != nil {
				return err
			}
			return netlink.NeighSet(&netlink.Neigh{LinkIndex: l.Attrs().Index, IP: net.ParseIP(c.VIP()).To4(), HardwareAddr: old, State: netlink.NUD_PERMANENT})
		})
	}
	// The lab's router forgets who has the VIP every five seconds.
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			if err := remember(); err != nil {
				t.Error(err)
			}
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	time.Sleep(200 * time.Millisecond)
	if got := lab.Count(c.Try(t.Context(), 2, 2500*time.Millisecond)); got.TimedOut != 2 {
		t.Errorf("the client got %+v, want two time-outs", got)
	}
	dir := t.TempDir()
	args := []string{"check", "--format", "json"}
	for _, host := range []string{lab.Router, lab.Director} {
		_, stdout, stderr := c.run(host, "snapshot")
		name := filepath.Join(dir, host+".json")
		if err := os.WriteFile(name, []byte(stdout), 0o600); err != nil || stdout == "" {
			t.Fatalf("snapshot of the %s: %v %s", host, err, stderr)
		}
		args = append(args, "--from", name)
	}
	close(stop)
	<-stopped
	_, stdout, stderr := c.run(lab.Client, args...)
	var r probes.Report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	found := false
	for _, f := range r.Findings {
		if f.ID == "stale-router-arp" && f.Certainty == probes.Certain {
			found = true
		} else if f.Severity == probes.Outage || f.Severity == probes.Degraded {
			t.Errorf("also found: %s, %s, on %s", f.ID, f.Certainty, f.Host)
		}
	}
	if !found {
		t.Errorf("stale-router-arp is not found: %+v", r.Findings)
	}
}
