//go:build guest

package parsers

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"lvstui/fixes"
)

// inNamespace runs f in a network namespace.
func inNamespace(t *testing.T, file string, f func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	ns, err := netns.GetFromPath(file)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if err := netns.Set(ns); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := netns.Set(home); err != nil {
			panic(err)
		}
	}()
	f()
}

const wired = "[Match]\nName=eth0\n\n[Network]\nAddress=10.0.0.2/24\nIPv6AcceptRA=no\nLinkLocalAddressing=no\n"

// startNetworkd runs systemd-networkd on the files below dir, in the namespace, until the test is over.
func startNetworkd(t *testing.T, namespace, dir string) *strings.Builder {
	t.Helper()
	script := "grep -q systemd-network /etc/passwd || { echo systemd-network:x:998:998::/:/bin/false >> /etc/passwd; echo systemd-network:x:998: >> /etc/group; }; " +
		"mkdir -p /etc/systemd /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp; " +
		"mount -t tmpfs none /run/systemd; mkdir -p /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp /etc/systemd/network; " +
		"mount --bind " + dir + "/etc/systemd/network /etc/systemd/network; mount -o remount,bind,ro /sys; " +
		"exec env SYSTEMD_LOG_LEVEL=debug SYSTEMD_LOG_TARGET=console /usr/lib/systemd/systemd-networkd"
	cmd := exec.Command("ip", "netns", "exec", namespace, "unshare", "-m", "sh", "-c", script)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return &said
}

// eventually waits for what a daemon is to do.
func eventually(t *testing.T, what string, ok func() bool) bool {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if ok() {
			return true
		}
	}
	t.Errorf("not within 20 s: %s", what)
	return false
}

func TestNetworkd(t *testing.T) {
	in, snapshot := newNamespace(t)
	dir := root(t, map[string]string{"etc/systemd/network/20-wired.network": wired})
	nic := netip.MustParsePrefix("172.16.0.9/32")
	hostScope := netip.MustParsePrefix("172.16.0.10/32")
	table := fixes.AddRoute{Table: 100, Dst: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.0.0.254"), Device: "eth0"}
	rule := fixes.AddRule{Priority: 90, From: vip, Table: 100}
	persist(t, dir, owned(snapshot(dir), "systemd-networkd"), fixes.AddAddress{Device: "lo", Prefix: vip}, fixes.AddAddress{Device: "eth0", Prefix: nic},
		fixes.AddAddress{Device: "lo", Prefix: hostScope, Scope: "host"}, table, rule)
	foreign := netip.MustParsePrefix("172.16.0.77/32") // somebody else's on lo, as keepalived's would be
	in("ip", "addr", "add", foreign.String(), "dev", "lo")
	in("ip", "addr", "flush", "dev", "eth0")
	said := startNetworkd(t, "tnetworkd", dir)
	done := eventually(t, "networkd has set the addresses", func() bool {
		s := snapshot(dir)
		return has(s, "lo", vip) && has(s, "eth0", nic) && has(s, "lo", hostScope) && has(s, "eth0", netip.MustParsePrefix("10.0.0.2/24"))
	})
	eventually(t, "networkd has set route and rule", func() bool {
		s := snapshot(dir)
		for i := range s.Routes {
			if s.Routes[i].Protocol == "static" {
				s.Routes[i].Protocol = "boot"
			}
		}
		return table.Done(s) && rule.Done(s)
	})
	s := snapshot(dir)
	if !has(s, "lo", foreign) || !has(s, "lo", netip.MustParsePrefix("127.0.0.1/8")) {
		t.Errorf("networkd took away what was on lo: %+v", s.Addresses)
	}
	for _, a := range s.Addresses {
		if a.Prefix == hostScope && a.Scope != "host" {
			t.Errorf("scope: %+v", a)
		}
	}
	if !done {
		t.Log(said)
	}
}

const cloud = `network:
  version: 2
  renderer: networkd
  ethernets:
    front:
      match:
        name: "eth0"
      accept-ra: false
      link-local: []
      addresses:
        - 10.0.0.2/24
        - 172.16.0.9/24
`

// generate runs netplan's generator and returns what it made for systemd-networkd and NetworkManager.
func generate(t *testing.T, dir string) string {
	t.Helper()
	program := "/usr/lib/netplan/generate"
	if _, err := os.Stat(program); err != nil {
		program = "/usr/libexec/netplan/generate"
	}
	said := run(t, program, "--root-dir", dir)
	if strings.TrimSpace(said) != "" {
		t.Logf("generate: %s", said)
	}
	all := ""
	for _, pattern := range []string{"run/systemd/network/*", "run/NetworkManager/system-connections/*"} {
		files, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all += "== " + filepath.Base(f) + "\n" + string(text)
		}
	}
	return all
}

func TestNetplan(t *testing.T) {
	in, snapshot := newNamespace(t)
	dir := root(t, map[string]string{"etc/netplan/50-cloud-init.yaml": cloud})
	nic := netip.MustParsePrefix("172.16.0.10/32")
	table := fixes.AddRoute{Table: 100, Dst: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.0.0.254"), Device: "eth0"}
	rule := fixes.AddRule{Priority: 90, From: vip, Table: 100}
	persist(t, dir, snapshot(dir), fixes.AddAddress{Device: "lo", Prefix: vip}, fixes.AddAddress{Device: "eth0", Prefix: nic}, table, rule)
	made := generate(t, dir)
	for _, want := range []string{"== 10-netplan-lo.network\n[Match]\nName=lo", "Address=172.16.0.8/32", "== 10-netplan-front.network", "Address=10.0.0.2/24", "Address=172.16.0.10/32",
		"Gateway=10.0.0.254", "Table=100", "From=172.16.0.8/32", "Priority=90"} {
		if !strings.Contains(made, want) {
			t.Errorf("generate makes nothing with %q:\n%s", want, made)
		}
	}
	// networkd puts it on lo then.
	if err := os.RemoveAll(filepath.Join(dir, "etc/systemd")); err != nil {
		t.Fatal(err)
	}
	write(t, dir, map[string]string{"etc/systemd/network/.keep": ""})
	run(t, "sh", "-c", "cp "+dir+"/run/systemd/network/* "+dir+"/etc/systemd/network/")
	in("ip", "addr", "flush", "dev", "eth0")
	said := startNetworkd(t, "tnetplan", dir)
	if !eventually(t, "networkd has set what netplan made", func() bool { s := snapshot("/nonexistent"); return has(s, "lo", vip) && has(s, "eth0", nic) }) {
		t.Log(said)
	}
	// An address of somebody else's file goes, and ours.
	run(t, "rm", "-r", dir+"/run/systemd", dir+"/etc/systemd")
	s := snapshot(dir)
	persist(t, dir, s, fixes.DelAddress{Device: "lo", Prefix: vip}, fixes.DelAddress{Device: "eth0", Prefix: netip.MustParsePrefix("172.16.0.9/24")})
	made = generate(t, dir)
	for _, gone := range []string{"172.16.0.8/32\n[", "172.16.0.9", "10-netplan-lo"} {
		if strings.Contains(made, gone) {
			t.Errorf("still there: %q\n%s", gone, made)
		}
	}
}

const wiredConnection = "[connection]\nid=Wired\nuuid=5fb06bd0-0bb0-4ffb-85f1-d6edd65f3e03\ntype=ethernet\ninterface-name=eth0\n\n[ipv4]\naddress1=10.0.0.2/24,10.0.0.1\nmethod=manual\n\n[ipv6]\nmethod=disabled\n"

// nmcli --offline reads a connection with NetworkManager's own parser and writes what it understood.
func TestNetworkManager(t *testing.T) {
	_, snapshot := newNamespace(t)
	const folder = "etc/NetworkManager/system-connections/"
	dir := root(t, map[string]string{folder + "Wired.nmconnection": wiredConnection})
	nic := netip.MustParsePrefix("172.16.0.9/32")
	table := fixes.AddRoute{Table: 100, Dst: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.0.0.254"), Device: "eth0", Source: nic.Addr()}
	rule := fixes.AddRule{Priority: 90, From: vip, Table: 100}
	persist(t, dir, owned(snapshot(dir), "NetworkManager"), fixes.AddAddress{Device: "lo", Prefix: vip}, fixes.AddAddress{Device: "eth0", Prefix: nic}, table, rule)
	for file, wants := range map[string][]string{
		"lvstui-lo.nmconnection": {"type=loopback", "interface-name=lo", "address1=127.0.0.1/8", "address2=172.16.0.8/32", "address1=::1/128"},
		"Wired.nmconnection": {"address1=10.0.0.2/24,10.0.0.1", "address2=172.16.0.9/32", "route1=0.0.0.0/0,10.0.0.254", "table=100", "src=172.16.0.9",
			"routing-rule1=priority 90 from 172.16.0.8/32 table 100"},
	} {
		path := filepath.Join(dir, folder, file)
		understood := run(t, "sh", "-c", "nmcli --offline connection modify connection.id Again < "+path)
		for _, want := range wants {
			if !strings.Contains(understood, want) && !strings.Contains(strings.ReplaceAll(understood, "from 172.16.0.8 ", "from 172.16.0.8/32 "), want) {
				t.Errorf("NetworkManager finds no %q in %s:\n%s", want, file, understood)
			}
		}
		if info, err := os.Stat(path); err != nil || file[0] == 'l' && info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, NetworkManager ignores what others may read", file, info.Mode())
		}
	}
}

// The words for keepalived.conf are ones that keepalived knows.
func TestKeepalived(t *testing.T) {
	in, _ := newNamespace(t)
	dir := root(t, map[string]string{"k.conf": "global_defs {\n  lvs_timeouts tcp 300 tcpfin 120 udp 300\n}\nvrrp_instance VI_1 {\n  state MASTER\n  interface eth0\n  virtual_router_id 51\n  priority 100\n  virtual_ipaddress { 172.16.0.8/32 }\n}\n" +
		"virtual_server 172.16.0.8 80\n{\n  lvs_sched rr\n  lvs_method DR\n  protocol TCP\n  persistence_timeout 50\n  real_server 10.0.0.11 80 {\n    weight 1\n    TCP_CHECK {\n      connect_timeout 3\n    }\n  }\n}\n"})
	in("keepalived", "-t", "-f", dir+"/k.conf")
}
