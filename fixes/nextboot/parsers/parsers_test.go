//go:build guest

package parsers

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lvstui/fixes"
	"lvstui/fixes/nextboot"
	"lvstui/lvs"
	"lvstui/probes/collect"
)

var vip = netip.MustParsePrefix("172.16.0.8/32")

// run runs a program and returns what it says.
func run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// newNamespace is a namespace of its own with lo and eth0, gone after the test: what a test configures concerns no other.
func newNamespace(t *testing.T) (in func(args ...string) string, snapshot func(root string) *lvs.Snapshot) {
	t.Helper()
	name := "t" + strings.ReplaceAll(strings.ToLower(t.Name()[4:]), "/", "-")
	run(t, "ip", "netns", "add", name)
	t.Cleanup(func() { run(t, "ip", "netns", "del", name) })
	in = func(args ...string) string {
		t.Helper()
		return run(t, append([]string{"ip", "netns", "exec", name}, args...)...)
	}
	in("ip", "link", "set", "lo", "up")
	in("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "far")
	in("ip", "link", "set", "eth0", "up")
	in("ip", "link", "set", "far", "up")
	in("ip", "addr", "add", "10.0.0.2/24", "dev", "eth0")
	return in, func(root string) *lvs.Snapshot { t.Helper(); return look(t, name, root) }
}

// look reads the facts of a namespace, and the files below root.
func look(t *testing.T, name, root string) *lvs.Snapshot {
	t.Helper()
	var s *lvs.Snapshot
	inNamespace(t, "/run/netns/"+name, func() {
		var err error
		if s, err = collect.Collect(t.Context(), collect.Options{Host: "host", Root: root, VIPs: []netip.Addr{vip.Addr()}}); err != nil {
			t.Fatal(err)
		}
	})
	return s
}

// write puts files below root.
func write(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// persist writes what a plan needs for the next boot.
func persist(t *testing.T, root string, s *lvs.Snapshot, steps ...fixes.Step) {
	t.Helper()
	edits, words := nextboot.Edits(fixes.Plan{Steps: steps}, s)
	if len(words) > 0 || len(edits) == 0 {
		t.Fatalf("not all is written: %d edits, %q", len(edits), words)
	}
	for _, e := range edits {
		file := filepath.Join(root, e.Path)
		if e.After == nil {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(*e.After), os.FileMode(e.Mode)); err != nil {
			t.Fatal(err)
		}
	}
}

// root makes a root of a file system; owner is the daemon that is said to run.
func root(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, dir, files)
	return dir
}

func owned(s *lvs.Snapshot, names ...string) *lvs.Snapshot {
	for _, n := range names {
		s.Owners = append(s.Owners, lvs.Owner{Name: n, Owns: []string{"addresses", "routes"}, Evidence: "process 1 " + n})
	}
	return s
}

func has(s *lvs.Snapshot, device string, p netip.Prefix) bool {
	return slices.ContainsFunc(s.Addresses, func(a lvs.Address) bool { return a.Device == device && a.Prefix == p })
}

var quiet = []fixes.Step{fixes.SetSysctl{Path: "net/ipv4/conf/all/arp_ignore", Value: "1"}, fixes.SetSysctl{Path: "net/ipv4/conf/all/arp_announce", Value: "2"}}

// Both programs that apply sysctl.d, on files that set something else before and after ours.
func TestSysctl(t *testing.T) {
	// Which of the two a host has is told by its files.
	for name, files := range map[string]map[string]string{
		"plain":       {"etc/sysctl.d/10-a.conf": "net.ipv4.conf.all.arp_ignore = 0\n"},
		"later":       {"etc/sysctl.d/90-b.conf": "net.ipv4.conf.all.arp_ignore = 0\nnet/ipv4/conf/all/arp_announce=1\n"},
		"wildcard":    {"usr/lib/sysctl.d/95-c.conf": "net.ipv4.conf.*.arp_ignore = 0\n"},
		"sysctl-conf": {"etc/sysctl.conf": "# x\nnet.ipv4.conf.all.arp_announce = 0\n"},
		"late-names":  {"etc/sysctl.d/99-zzz.conf": "net.ipv4.conf.all.arp_ignore=8\n"},
	} {
		for _, program := range []string{"systemd-sysctl", "sysctl"} {
			t.Run(name+"-"+map[string]string{"systemd-sysctl": "systemd", "sysctl": "procps"}[program], func(t *testing.T) {
				in, snapshot := newNamespace(t)
				dir := root(t, files)
				if program == "systemd-sysctl" {
					write(t, dir, map[string]string{"usr/lib/systemd/systemd-sysctl": ""})
				}
				persist(t, dir, snapshot(dir), quiet...)
				bind := "mount --bind " + dir + "/etc/sysctl.d /etc/sysctl.d; mount --bind " + dir + "/usr/lib/sysctl.d /usr/lib/sysctl.d; if [ -e " + dir + "/etc/sysctl.conf ]; then mount --bind " + dir + "/etc/sysctl.conf /etc/sysctl.conf; fi; "
				for _, folder := range []string{"etc/sysctl.d", "usr/lib/sysctl.d"} {
					for _, base := range []string{"/", dir} {
						if err := os.MkdirAll(filepath.Join(base, folder), 0o755); err != nil {
							t.Fatal(err)
						}
					}
				}
				command := map[string]string{"systemd-sysctl": "/usr/lib/systemd/systemd-sysctl", "sysctl": "sysctl --system"}[program]
				said := in("unshare", "-m", "sh", "-c", bind+command)
				s := snapshot(dir)
				for _, want := range []struct{ path, value string }{{"net/ipv4/conf/all/arp_ignore", "1"}, {"net/ipv4/conf/all/arp_announce", "2"}} {
					if got := s.Sysctls[want.path]; got != want.value {
						t.Errorf("after %s %s is %q, want %s\n%s", command, want.path, got, want.value, said)
					}
				}
			})
		}
	}
}

const debian = `# This file describes the network interfaces available on your system
source /etc/network/interfaces.d/*

auto lo
iface lo inet loopback

allow-hotplug eth0
iface eth0 inet static
	address 10.0.0.2/24
	gateway 10.0.0.1
`

func TestIfupdown(t *testing.T) {
	in, snapshot := newNamespace(t)
	dir := root(t, map[string]string{"etc/network/interfaces": debian})
	table := fixes.AddRoute{Table: 100, Dst: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.0.0.254"), Device: "eth0"}
	rule := fixes.AddRule{Priority: 90, From: vip, Table: 100}
	six := netip.MustParsePrefix("2001:db8::8/128")
	persist(t, dir, snapshot(dir), fixes.AddAddress{Device: "lo", Prefix: vip}, fixes.AddAddress{Device: "lo", Prefix: six}, table, rule)
	in("ip", "addr", "flush", "dev", "eth0")
	boot := "mkdir -p /etc/network/interfaces.d /run/network /etc/network/if-up.d /etc/network/if-pre-up.d; mount --bind " + dir + "/etc/network /etc/network; mkdir -p /etc/network/if-pre-up.d /etc/network/if-up.d; "
	if listed := in("unshare", "-m", "sh", "-c", boot+"ifquery --list -a; ifquery lo"); !strings.Contains(listed, "172.16.0.8") {
		t.Errorf("ifquery: %s", listed)
	}
	said := in("unshare", "-m", "sh", "-c", boot+"mount -t tmpfs none /run/network; ifup -v lo; ifup -v eth0")
	s := snapshot(dir)
	if !has(s, "lo", vip) || !has(s, "lo", six) || !has(s, "lo", netip.MustParsePrefix("127.0.0.1/8")) || !has(s, "eth0", netip.MustParsePrefix("10.0.0.2/24")) {
		t.Errorf("after ifup: %+v\n%s", s.Addresses, said)
	}
	if !(table.Done(s)) || !rule.Done(s) {
		t.Errorf("routes and rules after ifup: %+v %+v\n%s", s.Routes, s.PolicyRules, said)
	}
	// And without it again.
	persist(t, dir, s, fixes.DelAddress{Device: "lo", Prefix: vip}, fixes.DelAddress{Device: "lo", Prefix: six}, fixes.DelRoute(table), fixes.DelRule(rule))
	if left := in("unshare", "-m", "sh", "-c", boot+"ifquery lo; ifquery eth0"); strings.Contains(left, "172.16.0.8") {
		t.Errorf("it is still there: %s", left)
	}
}

func TestIpvsadm(t *testing.T) {
	in, snapshot := newNamespace(t)
	dir := root(t, map[string]string{"etc/default/ipvsadm": "AUTO=\"false\"\n"})
	web := fixes.VirtualService{Protocol: lvs.TCP, Address: vip.Addr(), Port: 80}
	mark := fixes.VirtualService{FWMark: 7}
	six := fixes.VirtualService{Protocol: lvs.UDP, Address: netip.MustParseAddr("2001:db8::8"), Port: 53}
	rip := netip.MustParseAddr("10.0.0.11")
	persist(t, dir, snapshot(dir),
		fixes.AddService{Service: web, Scheduler: "wrr", Flags: 1, Timeout: 300, Netmask: "255.255.255.0"},
		fixes.AddDestination{Service: web, Address: rip, Port: 80, Forward: lvs.Gate, Weight: 3, UpperThreshold: 100, LowerThreshold: 50},
		fixes.AddDestination{Service: web, Address: netip.MustParseAddr("10.0.0.12"), Port: 80, Forward: lvs.Gate, Weight: 0},
		fixes.AddService{Service: mark, Scheduler: "sh", Flags: 0x10},
		fixes.AddDestination{Service: mark, Address: rip, Forward: lvs.Gate, Weight: 1},
		fixes.AddService{Service: six, Scheduler: "rr", Flags: 4},
		fixes.AddDestination{Service: six, Address: netip.MustParseAddr("2001:db8::11"), Port: 53, Forward: lvs.Gate, Weight: 1})
	in("sh", "-c", "ipvsadm -R < "+dir+"/etc/ipvsadm.rules")
	s := snapshot(dir)
	b, _ := nextboot.After(s)
	if b.Table == nil || !b.Table.On || len(b.Table.Services) != 3 || len(s.IPVS.Services) != 3 {
		t.Fatalf("file %+v\nkernel %+v", b.Table, s.IPVS.Services)
	}
	for _, v := range s.IPVS.Services {
		saved, ok := b.Table.Service(fixes.NameOf(v))
		if !ok || !nextboot.SameService(saved, v, true) {
			t.Errorf("the kernel has %+v, the file gives %+v", v, saved)
		}
	}
	for _, v := range s.IPVS.Services {
		for _, d := range v.Destinations {
			if fixes.NameOf(v) == web && d.Address == rip && (d.UpperThreshold != 100 || d.LowerThreshold != 50) {
				t.Errorf("thresholds are lost: %+v", d)
			}
		}
	}
	// What ipvsadm itself saves is what we would have written, line by line.
	saved := strings.Fields(in("ipvsadm-save", "-n"))
	text, _ := os.ReadFile(filepath.Join(dir, "etc/ipvsadm.rules"))
	ours := strings.Fields(strings.NewReplacer(" -x 100 -y 50", "", "-b flag-2", "-b sh-port").Replace(string(text)))
	slices.Sort(saved)
	slices.Sort(ours)
	if !slices.Equal(saved, ours) {
		t.Errorf("ipvsadm-save: %v\nours: %v", saved, ours)
	}
}
