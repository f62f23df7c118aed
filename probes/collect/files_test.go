package collect

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"lvstui/fixes"
	"lvstui/lvs"
)

// rootWith makes a root of a file system with these files.
func rootWith(t testing.TB, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func filesOf(t testing.TB, root string) *lvs.Snapshot {
	t.Helper()
	c := &collector{opt: Options{Root: root}.withDefaults(), proc: procfs{t.TempDir()}, s: &lvs.Snapshot{},
		vips: []netip.Addr{netip.MustParseAddr("172.16.0.8")}}
	c.opt.Root = root
	c.deadline = c.deadline.AddDate(3000, 0, 0)
	c.readFiles()
	return c.s
}

func TestFilesThatDecideTheNextBoot(t *testing.T) {
	root := rootWith(t, map[string]string{
		"etc/sysctl.d/10-a.conf":                       "net.ipv4.ip_forward = 0\n",
		"etc/sysctl.d/README.sysctl":                   "not a configuration\n",
		"usr/lib/sysctl.d/50-default.conf":             "net.ipv4.conf.*.rp_filter = 2\n",
		"etc/network/interfaces":                       "source interfaces.d/*.cfg\nsource-directory /etc/network/more\n",
		"etc/network/interfaces.d/eth0.cfg":            "iface eth0 inet dhcp\nsource /etc/network/interfaces\n",
		"etc/network/interfaces.d/eth1":                "iface eth1 inet dhcp\n",
		"etc/network/more/eth2":                        "iface eth2 inet dhcp\n",
		"etc/network/more/eth2.bak":                    "iface eth2 inet manual\n",
		"etc/keepalived/keepalived.conf":               "include conf.d/*.conf\nvrrp_instance a {\n  auth_pass 1234\n}\n",
		"etc/keepalived/conf.d/vs.conf":                "virtual_server 172.16.0.8 80 {\n  delay_loop 3\n}\n",
		"usr/local/bin/realserver":                     "#!/bin/sh\n# arp_ignore\nfoo\necho 1 > /proc/sys/net/ipv4/conf/all/arp_ignore\n",
		"usr/local/bin/other":                          "#!/bin/sh\necho hello\n",
		"usr/local/bin/program":                        "\x7fELF arp_ignore\n",
		"etc/systemd/system/multi-user.target.wants/x": "",
	})
	if err := os.Symlink("/nowhere/ipvsadm.service", filepath.Join(root, "etc/systemd/system/multi-user.target.wants/ipvsadm.service")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/null", filepath.Join(root, "etc/sysctl.d/50-default.conf")); err != nil {
		t.Fatal(err)
	}
	s := filesOf(t, root)
	if len(s.Gaps) > 0 {
		t.Errorf("gaps: %v", s.Gaps)
	}
	want := map[string]string{
		"/etc/sysctl.d/10-a.conf":                                     "net.ipv4.ip_forward = 0\n",
		"/etc/sysctl.d/50-default.conf":                               "",
		"/usr/lib/sysctl.d/50-default.conf":                           "net.ipv4.conf.*.rp_filter = 2\n",
		"/etc/network/interfaces":                                     "source interfaces.d/*.cfg\nsource-directory /etc/network/more\n",
		"/etc/network/interfaces.d/eth0.cfg":                          "iface eth0 inet dhcp\nsource /etc/network/interfaces\n",
		"/etc/network/more/eth2":                                      "iface eth2 inet dhcp\n",
		"/etc/keepalived/keepalived.conf":                             "include conf.d/*.conf\nvrrp_instance a {\n  auth_pass (hidden)\n}\n",
		"/etc/keepalived/conf.d/vs.conf":                              "virtual_server 172.16.0.8 80 {\n  delay_loop 3\n}\n",
		"/usr/local/bin/realserver":                                   "echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore",
		"/etc/systemd/system/multi-user.target.wants/ipvsadm.service": "",
	}
	for name, text := range want {
		if f, ok := s.File(name); !ok || f.Text != text {
			t.Errorf("%s is %q, %v; want %q", name, f.Text, ok, text)
		}
	}
	if len(s.Files) != len(want) {
		t.Errorf("%d files were read, want %d: %+v", len(s.Files), len(want), s.Files)
	}
	if f, _ := s.File("/etc/keepalived/keepalived.conf"); !f.Cut {
		t.Error("a file without its secret must not be taken for the whole file")
	}
}

// A root is somebody else's file system: nothing outside it is read, and nothing in it can stop us.
func TestFilesStayInsideTheRoot(t *testing.T) {
	outside := rootWith(t, map[string]string{"secret.conf": "a = 1\n"})
	root := rootWith(t, map[string]string{
		"etc/sysctl.d/1.conf":    "a = 1\n",
		"etc/sysctl.d/long.conf": strings.Repeat("a = 1\n", fixes.FileLimit/6+10),
		"etc/sysctl.d/nul.conf":  "a\x00b",
		"etc/target.conf":        "b = 2\n",
	})
	for name, target := range map[string]string{"2.conf": filepath.Join(outside, "secret.conf"), "3.conf": "../../../../../../../../../../" + outside + "/secret.conf",
		"4.conf": "4.conf", "5.conf": "../target.conf", "6.conf": "/etc/target.conf"} {
		if err := os.Symlink(target, filepath.Join(root, "etc/sysctl.d", name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(root, "etc/sysctl.d/pipe.conf"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := filesOf(t, root)
	var names []string
	for _, f := range s.Files {
		names = append(names, filepath.Base(f.Path))
		if strings.Contains(f.Text, "a = 1") && f.Path != "/etc/sysctl.d/1.conf" && f.Path != "/etc/sysctl.d/long.conf" {
			t.Errorf("%s shows a file from outside", f.Path)
		}
	}
	if want := []string{"1.conf", "5.conf", "6.conf", "long.conf"}; !slices.Equal(names, want) {
		t.Errorf("read %v, want %v", names, want)
	}
	if f, _ := s.File("/etc/sysctl.d/long.conf"); !f.Cut || len(f.Text) > fixes.FileLimit || !strings.HasSuffix(f.Text, "\n") {
		t.Errorf("a file that is too long: cut %v, %d bytes", f.Cut, len(f.Text))
	}
	var reasons string
	for _, g := range s.Gaps {
		reasons += g.Reason
	}
	for _, name := range []string{"nul.conf", "4.conf", "and 1 more"} {
		if !strings.Contains(reasons, name) {
			t.Errorf("no gap says why %s was not read: %q", name, reasons)
		}
	}
}

func TestManyFilesAreBounded(t *testing.T) {
	files := map[string]string{}
	for i := range fileCount + 50 {
		files["etc/sysctl.d/"+strings.Repeat("x", i%7)+string(rune('a'+i%26))+strings.Repeat("0", i/182)+".conf"] = "a = 1\n"
	}
	s := filesOf(t, rootWith(t, files))
	if len(s.Files) > fileCount || len(s.Files) < 500 {
		t.Errorf("%d of %d files were read", len(s.Files), len(files))
	}
}

func TestSecretsDoNotEnterTheSnapshot(t *testing.T) {
	const secret = "xyzzy1"
	for name, text := range map[string]string{
		"etc/keepalived/keepalived.conf":          "vrrp_instance a {\n authentication {\n  auth_type PASS\n  auth_pass xyzzy1\n }\n}\nvrrp_script c {\n script \"/bin/check -p xyzzy1\"\n}\n misc_path /bin/x --pw=xyzzy1\n",
		"etc/ha.d/ldirectord.cf":                  "virtual=1.2.3.4:80\n\tlogin=\"me\"\n\tpasswd = \"xyzzy1\"\n\tsecret=xyzzy1\n",
		"etc/netplan/1.yaml":                      "network:\n  wifis:\n    w0:\n      access-points:\n        \"n\":\n          password: \"xyzzy1\"\n          auth:\n            password: >-\n              xyzzy1\n              xyzzy1\n            method: eap\n  tunnels:\n    wg0:\n      key: xyzzy1\n      keys:\n        private: xyzzy1\n        shared: xyzzy1\n",
		"etc/NetworkManager/system-connections/w": "[connection]\nid=w\n[wifi-security]\npsk=xyzzy1\n[vpn-secrets]\nanything=xyzzy1\n[wireguard-peer.abc]\nnothing-known=xyzzy1\n[ipv4]\nmethod=auto\n",
		"etc/network/interfaces":                  "iface w0 inet dhcp\n\twpa-psk xyzzy1\n\twireless-key1 xyzzy1\n#\twpa-psk: xyzzy1\n",
		"etc/sysconfig/network-scripts/ifcfg-w0":  "ESSID=a\nKEY=xyzzy1\nWPA_PSK='xyzzy1'\nIEEE_8021X_PASSWORD=xyzzy1\n",
		"etc/systemd/network/wg.netdev":           "[WireGuard]\nPrivateKey=xyzzy1\n[WireGuardPeer]\nPresharedKey = xyzzy1\n",
		"etc/rc.local":                            "#!/bin/sh\nrsync --password=xyzzy1 && ipvsadm -C\nmy --url http://me:xyzzy1@host/ ipvsadm\n",
		"etc/sysctl.d/s.conf":                     "net.ipv4.tcp_fastopen_key = xyzzy1\n",
	} {
		s := filesOf(t, rootWith(t, map[string]string{name: text}))
		f, ok := s.File("/" + name)
		if !ok || strings.Contains(f.Text, secret) {
			t.Errorf("%s, read %v:\n%s", name, ok, f.Text)
		}
		if !f.Cut {
			t.Errorf("%s is not marked as cut", name)
		}
		if name != "etc/rc.local" && strings.Count(f.Text, "\n") != strings.Count(text, "\n") {
			t.Errorf("%s has another number of lines:\n%s", name, f.Text)
		}
	}
}

// What is no secret stays: an edit needs the file byte for byte.
func TestOrdinaryFilesStayWhole(t *testing.T) {
	for name, text := range map[string]string{
		"etc/network/interfaces":                               "# Key to it all: see interfaces(5). The secret is patience\nauto lo\niface lo inet loopback\n",
		"etc/netplan/1.yaml":                                   "# keys are sorted\nnetwork:\n  version: 2\n  ethernets:\n    eth0:\n      addresses: [10.0.0.1/24]\n",
		"etc/NetworkManager/system-connections/e.nmconnection": "[connection]\nid=e\ninterface-name=eth0\n\n[ipv4]\naddress1=10.0.0.1/24\n\n[proxy]\n",
		"etc/sysconfig/network-scripts/ifcfg-eth0":             "DEVICE=eth0\nONBOOT=yes\n",
		"etc/ipvsadm.rules":                                    "-A -t 172.16.0.8:80 -s rr\n",
		"etc/sysctl.conf":                                      "# Magic key: 1\nkernel.sysrq = 1\n",
	} {
		f, _ := filesOf(t, rootWith(t, map[string]string{name: text})).File("/" + name)
		if name == "etc/sysctl.conf" {
			continue // a commented-out "key:" may well be one
		}
		if f.Text != text || f.Cut {
			t.Errorf("%s: cut %v\n%s", name, f.Cut, f.Text)
		}
	}
}

func FuzzSecrets(f *testing.F) {
	f.Add("a:\n  password: |\n    x\n[wifi]\npsk=1\nauth_pass 1\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, clean := range []cleaner{withoutSecrets, withoutYAMLSecrets, withoutKeepalivedSecrets, keyfileOfNetwork} {
			out, cut := clean(text)
			if !cut && out != text {
				t.Errorf("a change that was not told: %q → %q", text, out)
			}
			if strings.Count(out, "\n") != strings.Count(text, "\n") {
				t.Errorf("lines: %q → %q", text, out)
			}
		}
	})
}

func TestRedactCoversFiles(t *testing.T) {
	text := "# this is the web cluster of Somebody\nvirtual_server 151.101.1.140 80 {\n  notification_email { ops@my.company }\n  real_server 151.101.1.141 80\n  mac 52:54:00:aa:bb:cc\n  router_id lb1 \n}\n"
	s := &lvs.Snapshot{Host: "lb1", Files: []lvs.ConfigFile{{Path: "/etc/keepalived/keepalived.conf", Text: text}}}
	out := Redact(s).Files[0].Text
	for _, word := range []string{"Somebody", "151.101.1", "my.company", "52:54", "lb1 "} {
		if strings.Contains(out, word) {
			t.Errorf("%q is still there:\n%s", word, out)
		}
	}
	if strings.Count(out, "\n") != strings.Count(text, "\n") || !strings.Contains(out, "virtual_server") {
		t.Errorf("more than that is gone:\n%s", out)
	}
}

// BenchmarkFiles reads the files of a host with the usual distribution's: a part of the 50 ms that a snapshot may take.
func BenchmarkFiles(b *testing.B) {
	files := map[string]string{"etc/network/interfaces": "source interfaces.d/*\nauto lo\n", "etc/keepalived/keepalived.conf": strings.Repeat("virtual_server 10.0.0.1 80 {\n}\n", 500)}
	for i := range 60 {
		files["etc/init.d/service"+strings.Repeat("x", i)] = "#!/bin/sh\n" + strings.Repeat("echo a line of a script\n", 200)
		files["usr/lib/systemd/network/"+strings.Repeat("y", i+1)+".network"] = "[Match]\nDriver=x\n"
	}
	for i := range 20 {
		files["usr/lib/sysctl.d/"+strings.Repeat("z", i+1)+".conf"] = strings.Repeat("# comment\nkernel.x = 1\n", 40)
	}
	root := rootWith(b, files)
	for b.Loop() {
		if s := filesOf(b, root); len(s.Files) < 80 {
			b.Fatalf("%d files", len(s.Files))
		}
	}
}
