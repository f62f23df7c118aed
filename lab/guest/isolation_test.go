package guest

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestTheRealIPVSIsThere(t *testing.T) {
	vm := shared(t)
	out := script(t, vm, `
		ipvsadm -A -t 10.99.0.1:80 -s wrr
		ipvsadm -a -t 10.99.0.1:80 -r 10.99.0.2:80 -g -w 3
		ipvsadm -Ln
		ipvsadm -C
		for s in lc wlc lblc lblcr dh sed nq mh fo ovf; do modprobe ip_vs_$s; done
		ls /sys/module | grep -c '^ip_vs_'`)
	if !strings.Contains(out, "TCP  10.99.0.1:80 wrr") || !strings.Contains(out, "Route   3") {
		t.Errorf("ipvsadm shows no service with gate forwarding:\n%s", out)
	}
	if !strings.HasSuffix(out, "\n13\n") {
		t.Errorf("not all 13 schedulers can be loaded:\n%s", out)
	}
}

func TestModulesAreLoadedOnDemand(t *testing.T) {
	vm := shared(t)
	out := script(t, vm, `
		unshare -n sh -ec '
			ip link add br0 type bridge; ip link add d0 type dummy; ip link add b0 type bond; ip link add mv0 link d0 type macvlan
			ip link add link d0 name v7 type vlan id 7; ip link add t0 type ipip remote 10.0.0.1; ip link add vx0 type vxlan id 1 dstport 4789
			tc qdisc add dev d0 root netem delay 1ms; tc qdisc add dev d0 clsact
			nft add table inet t; nft "add chain inet t c { type filter hook input priority 0 ; }"
			nft add rule inet t c ct state established tcp dport 80 counter log accept; nft add rule inet t c fib saddr . iif oif missing drop
			nft add rule inet t c meta mark set numgen inc mod 2; nft add rule inet t c limit rate 1/second reject
			iptables -A INPUT -m conntrack --ctstate NEW -p tcp -m multiport --dports 80,443 -j ACCEPT
			iptables-legacy -A INPUT -m conntrack --ctstate NEW -j MARK --set-mark 1 2>/dev/null || iptables-legacy -t mangle -A INPUT -j MARK --set-mark 1
			iptables-legacy -t nat -A PREROUTING -p tcp -j REDIRECT --to-ports 80
			arptables -A INPUT -d 10.0.0.9 -j DROP
			ipvsadm -Ln >/dev/null; conntrack -L >/dev/null; ss -tan >/dev/null; ss -0 >/dev/null
			nft list ruleset | wc -l'
		echo done`)
	if !strings.HasSuffix(out, "done\n") {
		t.Errorf("%s", out)
	}
}

// What a guest has of the machine is on qemu's command line. Every option is known here with the reason
// why it gives away nothing; a new one has to be added here first.
func TestQEMUIsGivenNothingOfTheMachine(t *testing.T) {
	harmless := map[string]func(value string) bool{
		"-machine": func(v string) bool { return v == "pc,usb=off,vmport=off" },
		"-cpu":     func(v string) bool { return v == "host" || strings.HasPrefix(v, "qemu64") },
		"-smp":     isNumber,
		"-m":       isNumber,
		"-accel":   func(v string) bool { return v == "kvm" || v == "tcg,thread=multi" },
		"-display": isNone, "-vga": isNone, "-monitor": isNone, "-parallel": isNone,
		"-nic": isNone, // no network device, not even the default one
		"-sandbox": func(v string) bool {
			return v == "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
		},
		"-chardev": func(v string) bool { // a file in memory and a socket without a name
			return v == "file,id=console,path=/proc/self/fd/5" || v == "socket,id=control,fd=3"
		},
		"-serial": func(v string) bool { return v == "chardev:console" },
		"-device": func(v string) bool {
			return v == "virtio-serial-pci,max_ports=2" || v == "virtserialport,chardev=control,name=lvstui.control" ||
				v == "vmxnet3,netdev=end0,mac=02:00:00:00:ff:00" || v == "vmxnet3,netdev=end1,mac=02:00:00:00:ff:01"
		},
		"-netdev": func(v string) bool { // ports of a hub in qemu: what comes in at one goes out at the other, and nowhere else
			return v == "hubport,id=end0,hubid=0" || v == "hubport,id=end1,hubid=0"
		},
		"-kernel": func(string) bool { return true }, // qemu reads it before the guest runs
		"-initrd": func(v string) bool { return v == "/proc/self/fd/4" },
		"-append": func(string) bool { return true },
	}
	flags := []string{"-no-user-config", "-nodefaults", "-no-reboot"}
	for _, accel := range []string{"kvm", "tcg"} {
		args := arguments(Image{Kernel: "/k"}, Config{Accel: accel, Cable: true})
		for i := 0; i < len(args); i++ {
			if slices.Contains(flags, args[i]) {
				continue
			}
			ok := harmless[args[i]]
			if ok == nil || i+1 == len(args) || !ok(args[i+1]) {
				t.Errorf("qemu is given %v, of which nothing is known here", args[i:min(i+2, len(args))])
			}
			i++
		}
		for _, must := range append(flags, "-sandbox", "-nic") {
			if !slices.Contains(args, must) {
				t.Errorf("qemu is not given %s", must)
			}
		}
	}
}

func isNone(v string) bool { return v == "none" }

func isNumber(v string) bool { _, err := strconv.Atoi(v); return err == nil }

func TestQEMUHoldsNoFileOfTheMachineOpenForWriting(t *testing.T) {
	vm := shared(t)
	proc := fmt.Sprintf("/proc/%d", vm.cmd.Process.Pid)
	status, err := os.ReadFile(proc + "/status")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(status), "Seccomp:\t2") {
		t.Errorf("qemu runs without its sandbox:\n%s", status)
	}
	fds, err := os.ReadDir(proc + "/fd")
	if err != nil || len(fds) == 0 {
		t.Fatalf("qemu's descriptors: %d, %v", len(fds), err)
	}
	for _, fd := range fds {
		target, err := os.Readlink(filepath.Join(proc, "fd", fd.Name()))
		if err != nil {
			continue // closed meanwhile
		}
		info, err := os.ReadFile(filepath.Join(proc, "fdinfo", fd.Name()))
		if err != nil {
			continue
		}
		nameless := !strings.HasPrefix(target, "/") || strings.HasPrefix(target, "/memfd:lvstui-")
		if nameless || target == "/dev/null" || target == "/dev/kvm" {
			continue
		}
		if mode := openFlags(t, info); mode&unix.O_ACCMODE != unix.O_RDONLY {
			t.Errorf("qemu has %s open for writing (flags %o)", target, mode)
		}
	}
}

func openFlags(t *testing.T, fdinfo []byte) int64 {
	t.Helper()
	for line := range strings.Lines(string(fdinfo)) {
		if v, ok := strings.CutPrefix(line, "flags:"); ok {
			flags, err := strconv.ParseInt(strings.TrimSpace(v), 8, 64)
			if err != nil {
				t.Fatal(err)
			}
			return flags
		}
	}
	t.Fatalf("no flags in %s", fdinfo)
	return 0
}

func TestInTheGuestThereIsNoWayOut(t *testing.T) {
	vm := shared(t)
	out := script(t, vm, `
		echo "disks: $(ls -d /sys/block/* /dev/disk 2>/dev/null | tr '\n' ' ')"
		echo "network devices: $(ls -d /sys/class/net/*/device 2>/dev/null | tr '\n' ' ')"
		echo "shared: $(grep -E '9p|virtiofs|nfs|cifs|fuse' /proc/filesystems /proc/mounts || true)"
		for d in /sys/bus/virtio/devices/*; do echo "virtio: $(cat $d/device)"; done
		for d in /sys/bus/pci/devices/*; do echo "pci: $(cut -c3-6 $d/class)"; done`)
	allowed := map[string]bool{
		"disks: ": true, "network devices: ": true, "shared: ": true,
		"virtio: 0x0003": true,                                                                             // console
		"pci: 0600":      true, "pci: 0601": true, "pci: 0101": true, "pci: 0680": true, "pci: 0780": true, // bridges, an empty IDE controller, ACPI, the console
	}
	for line := range strings.Lines(out) {
		if line = strings.TrimRight(line, "\n"); !allowed[line] {
			t.Errorf("in the guest: %q", line)
		}
	}
	if !strings.Contains(out, "virtio: 0x0003") {
		t.Errorf("the list shows not even the port we use:\n%s", out)
	}
}

// The guest changes in its kernel whatever a fix or a fault could change, and the machine stays as it is.
func TestTheGuestChangesNothingOnTheMachine(t *testing.T) {
	before := fingerprint(t)
	vm, err := Boot(testContext(t), testImage(t), Config{Hostname: "vandal"})
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Close()
	if links := script(t, vm, "ls /sys/class/net"); links != "lo\n" {
		t.Errorf("a new guest has the interfaces %q, want lo alone", links)
	}
	inside := script(t, vm, `
		for f in /proc/sys/net/ipv4/conf/*/arp_ignore /proc/sys/net/ipv4/conf/*/arp_announce /proc/sys/net/ipv4/conf/*/rp_filter; do echo 2 > $f; done
		echo 1 > /proc/sys/net/ipv4/ip_forward; echo 0 > /proc/sys/net/ipv4/tcp_syncookies; hostname vandalised
		ip link add guest-dummy type dummy; ip addr add 198.18.77.1/24 dev guest-dummy; ip link set guest-dummy up
		ip addr add 198.18.78.1/32 dev lo; ip route add 198.18.79.0/24 via 198.18.77.2; ip rule add from 198.18.77.1 lookup 77
		iptables -P FORWARD DROP; nft add table inet guest; ipvsadm -A -t 198.18.77.1:80
		echo 'net.ipv4.ip_forward=1' > /etc/sysctl.d/99-guest.conf; date -s 2001-01-01 >/dev/null
		mkdir -p /tmp/guest-was-here; ip -br addr; cat /proc/sys/net/ipv4/ip_forward; hostname`)
	if !strings.Contains(inside, "198.18.77.1/24") || !strings.HasSuffix(inside, "1\nvandalised\n") {
		t.Fatalf("the guest did not change itself, so this shows nothing:\n%s", inside)
	}
	during := fingerprint(t)
	if err := vm.Close(); err != nil {
		t.Error(err)
	}
	for what, after := range map[string]map[string]string{"while the guest ran": during, "after the guest": fingerprint(t)} {
		for _, key := range slices.Sorted(maps.Keys(before)) {
			if before[key] != after[key] {
				t.Errorf("%s: %s was %q, now %q", what, key, before[key], after[key])
			}
		}
		if len(after) != len(before) {
			t.Errorf("%s: %d facts, before %d", what, len(after), len(before))
		}
	}
}

// fingerprint is what the guest in the test above tries to change, on this machine.
func fingerprint(t *testing.T) map[string]string {
	t.Helper()
	facts := map[string]string{}
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		a := l.Attrs()
		facts["link "+a.Name] = fmt.Sprint(a.Index, a.HardwareAddr, a.MTU, a.Flags, a.MasterIndex)
		addrs, err := netlink.AddrList(l, netlink.FAMILY_ALL)
		if err != nil {
			t.Fatal(err)
		}
		for _, addr := range addrs {
			facts["address "+a.Name+" "+addr.IPNet.String()] = fmt.Sprint(addr.Scope, addr.Flags)
		}
	}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range routes {
		facts["route "+r.String()] = fmt.Sprint(r.Table)
	}
	rules, err := netlink.RuleList(netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		facts["rule "+r.String()] = "is there"
	}
	for _, pattern := range []string{"net/ipv4/conf/*/arp_*", "net/ipv4/conf/*/rp_filter", "net/ipv4/ip_forward", "net/ipv4/tcp_syncookies", "kernel/hostname", "kernel/panic"} {
		names, err := filepath.Glob("/proc/sys/" + pattern)
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(names), err)
		}
		for _, name := range names {
			value, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			facts[name] = string(value)
		}
	}
	for _, name := range []string{"/etc/sysctl.d/99-guest.conf", "/tmp/guest-was-here"} {
		_, err := os.Lstat(name)
		facts["file "+name] = fmt.Sprint(err)
	}
	facts["year"] = time.Now().Format("2006")
	return facts
}

func TestAKilledParentLeavesNoGuest(t *testing.T) {
	testImage(t) // the child shall not spend its time downloading
	parent := exec.Command(helper, "shell", "sh", "-c", "echo up; sleep 600")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	parent.Stderr = &stderr
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	defer parent.Process.Kill()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "up\n" {
		t.Fatalf("the child's guest says %q, %v: %s", line, err, &stderr)
	}
	guests := children(t, parent.Process.Pid)
	if len(guests) != 1 {
		t.Fatalf("the child has %d children, want its qemu alone", len(guests))
	}
	if err := parent.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // it was killed
	for deadline := time.Now().Add(10 * time.Second); isQEMU(guests[0]); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			syscall.Kill(guests[0], syscall.SIGKILL)
			t.Fatal("qemu outlived its parent by ten seconds")
		}
	}
}

func children(t *testing.T, pid int) []int {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil || len(lists) == 0 {
		t.Fatalf("the kernel lists no children of %d: %v", pid, err)
	}
	var out []int
	for _, name := range lists {
		data, _ := os.ReadFile(name) // a thread may have gone
		for _, word := range strings.Fields(string(data)) {
			if n, err := strconv.Atoi(word); err == nil && isQEMU(n) {
				out = append(out, n)
			}
		}
	}
	return out
}

// isQEMU says whether the process is a qemu that has not ended.
func isQEMU(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && bytes.Contains(data, []byte("qemu-system"))
}
