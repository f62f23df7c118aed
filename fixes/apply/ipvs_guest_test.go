//go:build guest

package apply_test

import (
	"context"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lvstui/fixes"
	"lvstui/fixes/apply"
	"lvstui/lvs"
)

// TestTheTableOfTheKernel does every step on ip_vs by apply, which verifies it, holds the simulated table against the kernel's, and takes
// everything back: ipvsadm must then say what it said before.
func TestTheTableOfTheKernel(t *testing.T) {
	enter(t)
	build(t, append(rs, "addr 172.16.0.8/32 lo")...)
	web := fixes.VirtualService{Protocol: lvs.TCP, Address: netip.MustParseAddr(vip), Port: 80}
	dns := fixes.VirtualService{Protocol: lvs.UDP, Address: netip.MustParseAddr(vip), Port: 53}
	mark6 := fixes.VirtualService{FWMark: 7, IPv6: true}
	rip, local, rip6 := netip.MustParseAddr("192.168.10.12"), netip.MustParseAddr("192.168.10.11"), netip.MustParseAddr("2001:db8::11")
	for _, line := range []string{"-A -t 172.16.0.8:80 -s rr -p 300 -M 255.255.255.0", "-a -t 172.16.0.8:80 -r 192.168.10.12:80 -m -w 3 -x 100 -y 50",
		"-a -t 172.16.0.8:80 -r 192.168.10.11:80 -g -w 2"} {
		if out, err := exec.Command("ipvsadm", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Fatalf("ipvsadm %s: %v %s", line, err, out)
		}
	}
	before := ipvsadm(t)
	a := &apply.Applier{Dir: t.TempDir(), Look: func(context.Context) (*lvs.Snapshot, error) { return look(t, vip), nil }}
	for _, st := range []fixes.Step{
		fixes.EditDestination{Service: web, Address: rip, Port: 80, Forward: lvs.Gate, Weight: 1},
		fixes.EditService{Service: web, Scheduler: "wrr"},
		fixes.AddService{Service: dns, Scheduler: "sh", Flags: 0xc},
		fixes.AddDestination{Service: dns, Address: rip, Port: 53, Forward: lvs.Gate, Weight: 5, UpperThreshold: 10},
		fixes.AddService{Service: mark6, Scheduler: "rr", Flags: 1, Timeout: 60, Netmask: "64"},
		fixes.AddDestination{Service: mark6, Address: rip6, Port: 0, Forward: lvs.Gate, Weight: 1},
		fixes.DelDestination{Service: web, Address: rip, Port: 80},
		fixes.DelService{Service: web},
	} {
		s := look(t, vip)
		want, err := st.Simulate(s)
		if err != nil {
			t.Fatalf("%s: %v", st.Command(), err)
		}
		if _, err := a.Apply(t.Context(), fixes.Plan{ID: "table", Host: "host", Steps: []fixes.Step{st}}, s, fixes.Terms{}, nil); err != nil {
			t.Fatalf("%s: %v", st.Command(), err)
		}
		if d := cmp.Diff(want.IPVS.Services, look(t, vip).IPVS.Services, options...); d != "" {
			t.Fatalf("%s: simulated -, kernel +\n%s", st.Command(), d)
		}
	}
	changed := ipvsadm(t)
	for _, want := range []string{"-A -u 172.16.0.8:53 -s sh", "-A -f 7 -6 -s rr -p 60 -M 64"} {
		if !strings.Contains(strings.Join(strings.Fields(changed), " "), want) {
			t.Errorf("no %q in:\n%s", want, changed)
		}
	}
	for range 8 {
		if _, err := a.Undo(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
	}
	if after := ipvsadm(t); after != before || !strings.Contains(before, local.String()) {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// TestAWeightThatSomebodyElseSets is about a health checker at work between the preview and the key.
func TestAWeightThatSomebodyElseSets(t *testing.T) {
	enter(t)
	build(t, rs...)
	for _, line := range []string{"-A -t 172.16.0.8:80 -s rr", "-a -t 172.16.0.8:80 -r 192.168.10.12:80 -g -w 0"} {
		if out, err := exec.Command("ipvsadm", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Fatalf("ipvsadm %s: %v %s", line, err, out)
		}
	}
	web := fixes.VirtualService{Protocol: lvs.TCP, Address: netip.MustParseAddr(vip), Port: 80}
	seen := look(t, vip)
	if out, err := exec.Command("ipvsadm", strings.Fields("-e -t 172.16.0.8:80 -r 192.168.10.12:80 -g -w 7")...).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	a := &apply.Applier{Dir: t.TempDir(), Look: func(context.Context) (*lvs.Snapshot, error) { return look(t, vip), nil }}
	plan := fixes.Plan{ID: "weight", Steps: []fixes.Step{fixes.EditDestination{Service: web, Address: netip.MustParseAddr("192.168.10.12"), Port: 80, Forward: lvs.Gate, Weight: 1}}}
	if _, err := a.Apply(t.Context(), plan, seen, fixes.Terms{}, nil); err == nil || !strings.Contains(err.Error(), "has changed since") {
		t.Errorf("applied over somebody's weight: %v", err)
	}
	if got := ipvsadm(t); !strings.Contains(got, "-w 7") {
		t.Errorf("the table is\n%s", got)
	}
}

func ipvsadm(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("ipvsadm", "-S", "-n").CombinedOutput()
	if err != nil {
		t.Fatalf("ipvsadm -S -n: %v %s", err, out)
	}
	return string(out)
}
