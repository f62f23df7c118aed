package nextboot

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lvstui/fixes"
	"lvstui/lvs"
)

// Which setting of several counts follows sysctl.d(5) and src/sysctl/sysctl.c of systemd.
func TestSysctlAtBoot(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  string // "" for none
	}{
		"last one counts":               {map[string]string{"/etc/sysctl.d/1.conf": "net.ipv4.conf.eth0.rp_filter=1\nnet.ipv4.conf.eth0.rp_filter = 2 \n"}, "2"},
		"later name counts":             {map[string]string{"/etc/sysctl.d/10.conf": "net.ipv4.conf.eth0.rp_filter=1", "/usr/lib/sysctl.d/20.conf": "net.ipv4.conf.eth0.rp_filter=0"}, "0"},
		"etc hides usr":                 {map[string]string{"/etc/sysctl.d/10.conf": "net.ipv4.conf.eth0.rp_filter=1", "/usr/lib/sysctl.d/10.conf": "net.ipv4.conf.eth0.rp_filter=0"}, "1"},
		"etc hides run":                 {map[string]string{"/etc/sysctl.d/10.conf": "net.ipv4.conf.eth0.rp_filter=1", "/run/sysctl.d/10.conf": "net.ipv4.conf.eth0.rp_filter=0"}, "1"},
		"an empty file hides":           {map[string]string{"/etc/sysctl.d/10.conf": "", "/usr/lib/sysctl.d/10.conf": "net.ipv4.conf.eth0.rp_filter=0"}, ""},
		"a name beats a later wildcard": {map[string]string{"/etc/sysctl.d/10.conf": "net.ipv4.conf.eth0.rp_filter=1", "/usr/lib/sysctl.d/20.conf": "net.ipv4.conf.*.rp_filter=0"}, "1"},
		"a wildcard":                    {map[string]string{"/usr/lib/sysctl.d/20.conf": "net.ipv4.conf.e*.rp_filter=0"}, "0"},
		"exempt from wildcards":         {map[string]string{"/usr/lib/sysctl.d/20.conf": "net.ipv4.conf.*.rp_filter=0\n-net.ipv4.conf.eth0.rp_filter"}, ""},
		"slashes":                       {map[string]string{"/etc/sysctl.d/1.conf": "net/ipv4/conf/eth0/rp_filter=2"}, "2"},
		"with a leading dash":           {map[string]string{"/etc/sysctl.d/1.conf": "-net.ipv4.conf.eth0.rp_filter=2"}, "2"},
		"comments":                      {map[string]string{"/etc/sysctl.d/1.conf": "#net.ipv4.conf.eth0.rp_filter=2\n; net.ipv4.conf.eth0.rp_filter=2"}, ""},
		"sysctl.conf is not systemd's":  {map[string]string{"/etc/sysctl.conf": "net.ipv4.conf.eth0.rp_filter=2", "/usr/lib/systemd/systemd-sysctl": ""}, ""},
		"sysctl.conf is procps'":        {map[string]string{"/etc/sysctl.conf": "net.ipv4.conf.eth0.rp_filter=2", "/etc/sysctl.d/99.conf": "net.ipv4.conf.eth0.rp_filter=1"}, "2"},
	} {
		s := host()
		s.Files = files(c.files)
		b, _ := After(s)
		got, at, _ := b.Sysctl("net/ipv4/conf/eth0/rp_filter")
		if got != c.want || got != "" && at.Line == 0 {
			t.Errorf("%s: %q at %v, want %q", name, got, at, c.want)
		}
	}
}

// What the systems' files give, in the ways in which people write it.
func TestAddressesAtBoot(t *testing.T) {
	for name, c := range map[string]struct{ file, text, want string }{
		"ifupdown, mask apart":      {"/etc/network/interfaces", "auto eth0\niface eth0 inet static\n address 10.0.0.5\n netmask 255.255.255.0\n", "eth0 10.0.0.5/24"},
		"ifupdown, continued line":  {"/etc/network/interfaces", "auto eth0\niface eth0 inet \\\n static\n address \\\n 10.0.0.5/24\n", "eth0 10.0.0.5/24"},
		"ifupdown, not at boot":     {"/etc/network/interfaces", "iface eth0 inet static\n address 10.0.0.5/24\n", ""},
		"ifupdown, alias":           {"/etc/network/interfaces", "auto lo:0\niface lo:0 inet static\n address 10.0.0.5\n netmask 255.255.255.255\n", "lo 10.0.0.5/32 lo:0"},
		"ifupdown, ifconfig":        {"/etc/network/interfaces", "auto lo\niface lo inet loopback\n up ifconfig lo:0 10.0.0.5 netmask 255.255.255.255 up\n", "lo 10.0.0.5/32 lo:0"},
		"ifupdown, two commands":    {"/etc/network/interfaces", "auto lo\niface lo inet loopback\n up sleep 1; /sbin/ip -4 address add 10.0.0.5/32 scope host dev lo || true\n", "lo 10.0.0.5/32 host"},
		"ifupdown, dhcp":            {"/etc/network/interfaces", "auto eth0\niface eth0 inet dhcp\n address 10.0.0.5/24\n", ""},
		"networkd, section":         {"/etc/systemd/network/1.network", "[Match]\nName=lo\n[Address]\nLabel=lo:0\nAddress=10.0.0.5/32\n", "lo 10.0.0.5/32 lo:0"},
		"networkd, by MAC":          {"/etc/systemd/network/1.network", "[Match]\nMACAddress=52-54-00-00-00-01\nType=ether\n[Network]\nAddress=10.0.0.5\n", "eth0 10.0.0.5/32"},
		"networkd, several and not": {"/etc/systemd/network/1.network", "[Match]\nName=!lo eth*\n[Network]\nAddress=10.0.0.5/24\n", ""},
		"networkd, other card":      {"/etc/systemd/network/1.network", "[Match]\nName=ens3\n[Network]\nAddress=10.0.0.5/24\n", ""},
		"netplan, with options":     {"/etc/netplan/1.yaml", "network: {ethernets: {eth0: {addresses: [{10.0.0.5/24: {label: \"eth0:1\"}}]}}}", "eth0 10.0.0.5/24 eth0:1"},
		"netplan, not YAML":         {"/etc/netplan/1.yaml", "network:\n\t- x: [", ""},
		"keyfile, legacy":           {"/etc/NetworkManager/system-connections/a", "[connection]\ninterface-name=eth0\n[ipv4]\naddress=10.0.0.5/24\n", "eth0 10.0.0.5/24"},
		"keyfile, by MAC":           {"/etc/NetworkManager/system-connections/a", "[connection]\ntype=ethernet\n[ethernet]\nmac-address=52:54:00:00:00:01\n[ipv4]\naddress1=10.0.0.5/24,10.0.0.1\n", "eth0 10.0.0.5/24"},
		"keyfile, not by itself":    {"/etc/NetworkManager/system-connections/a", "[connection]\ninterface-name=eth0\nautoconnect=false\n[ipv4]\naddress1=10.0.0.5/24\n", ""},
		"keyfile, disabled":         {"/etc/NetworkManager/system-connections/a", "[connection]\ninterface-name=eth0\n[ipv4]\nmethod=disabled\naddress1=10.0.0.5/24\n", ""},
		"ifcfg, quoted":             {"/etc/sysconfig/network-scripts/ifcfg-lo:7", "DEVICE='lo:7'\nIPADDR=\"10.0.0.5\" # the VIP\nNETMASK=255.255.255.255\n", "lo 10.0.0.5/32 lo:7"},
		"ifcfg, not at boot":        {"/etc/sysconfig/network-scripts/ifcfg-lo:7", "DEVICE=lo:7\nIPADDR=10.0.0.5\nONBOOT=no\n", ""},
		"ifcfg, left by an upgrade": {"/etc/sysconfig/network-scripts/ifcfg-eth0.rpmsave", "DEVICE=eth0\nIPADDR=10.0.0.5\n", ""},
		"ifcfg, name of the file":   {"/etc/sysconfig/network-scripts/ifcfg-eth0", "IPADDR0=10.0.0.5\nPREFIX0=24\n", "eth0 10.0.0.5/24"},
	} {
		s := host()
		s.Files = files(map[string]string{c.file: c.text})
		b, _ := After(s)
		var got []string
		for _, a := range b.Addresses {
			text := a.Device + " " + a.Prefix.String()
			if a.Scope+a.Label != "" {
				text += " " + a.Scope + a.Label
			}
			got = append(got, text)
		}
		if strings.Join(got, "; ") != c.want {
			t.Errorf("%s: %v, want %q", name, got, c.want)
		}
	}
}

func TestKeepalived(t *testing.T) {
	s := host()
	s.Files = files(map[string]string{
		"/etc/keepalived/keepalived.conf": "! comment {\nglobal_defs {\n  vrrp_strict # yes\n  notification_email {\n    a@b\n  }\n}\ninclude vs/*.conf\nvirtual_server_group g {\n  172.16.0.8 80\n  fwmark 5\n}\nvirtual_server group g\n{\n  lb_kind TUN\n  protocol UDP\n  persistence_timeout\n  real_server 10.0.0.11 80\n  {\n    weight 3\n    lvs_method DR\n    TCP_CHECK { connect_port 22 }\n  }\n}\n",
		"/etc/keepalived/vs/a.conf":       "virtual_server 2001:db8::8 443 {\n  lvs_sched wrr\n  real_server 2001:db8::11 443 { }\n  sorry_server 2001:db8::1 80\n}\nvrrp_instance \"a b\" { interface eth0\n virtual_ipaddress { 172.16.0.8/24 dev eth0 label eth0:1 }\n no_accept\n}\n",
	})
	k, ok := Keepalived(s)
	if !ok || k.Odd || k.Strict == nil || k.Strict.Line != 3 {
		t.Fatalf("ok %v, odd %v, strict %v", ok, k.Odd, k.Strict)
	}
	place := func(file string, line int) Place { return Place{"keepalived", "/etc/keepalived/" + file, line} }
	main, six := "keepalived.conf", "vs/a.conf"
	reals := []KeptReal{{Place: place(main, 18), Address: netip.MustParseAddr("10.0.0.11"), Port: 80, Method: lvs.Gate, Weight: 3, Checks: []string{"TCP_CHECK"}, CheckPorts: []uint16{22}}}
	want := []KeptService{
		{Place: place(six, 1), Service: fixes.VirtualService{Protocol: lvs.TCP, Address: netip.MustParseAddr("2001:db8::8"), Port: 443}, Scheduler: "wrr", Method: lvs.Masq,
			Reals: []KeptReal{{Place: place(six, 3), Address: netip.MustParseAddr("2001:db8::11"), Port: 443, Method: lvs.Masq, Weight: 1}}, Sorry: netip.MustParseAddrPort("[2001:db8::1]:80")},
		{Place: place(main, 13), Service: fixes.VirtualService{Protocol: lvs.UDP, Address: netip.MustParseAddr("172.16.0.8"), Port: 80}, Method: lvs.IPIP, MethodLine: 15, Persistence: 360, Reals: reals},
		{Place: place(main, 13), Service: fixes.VirtualService{FWMark: 5}, Method: lvs.IPIP, MethodLine: 15, Persistence: 360, Reals: reals},
	}
	if diff := cmp.Diff(want, k.Services, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	if i := k.Instances; len(i) != 1 || i[0].Name != "a b" || i[0].Interface != "eth0" || !i[0].Refuse || !slices.Equal(i[0].VIPs, []netip.Addr{netip.MustParseAddr("172.16.0.8")}) {
		t.Errorf("instances %+v", i)
	}
	for _, odd := range []string{"$VIP=1.2.3.4\nvirtual_server $VIP 80 {\n}\n", "@lb1 virtual_server 1.2.3.4 80 {\n}\n", "include nothing.conf\n", "virtual_server group none {\n}\n", "virtual_server_group g {\n 1.2.3.4-9 80\n}\nvirtual_server group g {\n}\n"} {
		s.Files = files(map[string]string{"/etc/keepalived/keepalived.conf": odd})
		if k, _ := Keepalived(s); !k.Odd {
			t.Errorf("not known to be more than lvstui evaluates: %q", odd)
		}
	}
}

func TestLdirectord(t *testing.T) {
	s := host()
	s.Files = files(map[string]string{"/etc/ha.d/ldirectord.cf": "# c\nchecktimeout=3\nquiescent=yes\nvirtual=172.16.0.8:80\n\tscheduler=wrr\n\treal=10.0.0.11->10.0.0.12:80 gate 5\n\treal=10.0.0.20:80 masq\n\tfallback=127.0.0.1:80\n\tpersistent=600\nvirtual=3\n\treal=10.0.0.11 gate\nscheduler=sh\n"})
	k, ok := Ldirectord(s)
	if !ok || k.Odd || len(k.Services) != 2 {
		t.Fatalf("%+v", k)
	}
	v := k.Services[0]
	if v.Scheduler != "wrr" || v.Persistence != 600 || len(v.Reals) != 3 || v.Reals[1].Address.String() != "10.0.0.12" || v.Reals[1].Weight != 5 || v.Reals[2].Method != lvs.Masq {
		t.Errorf("%+v", v)
	}
	if m := k.Services[1]; m.Service.FWMark != 3 || m.Scheduler != "" || len(m.Reals) != 1 {
		t.Errorf("%+v", m)
	}
}

// FuzzFiles gives every parser anything, and Edits the task to write into it: no panic, no endless loop, and what is written is
// valid and stays the same when asked again.
func FuzzFiles(f *testing.F) {
	for _, text := range []string{"", "[Match]\nName=lo\n[Network]\nAddress=1.2.3.4/32\n", "auto lo\niface lo inet static\n address 172.16.0.8\n", "network:\n  ethernets:\n    lo: {addresses: [172.16.0.8/32]}\n",
		"[connection]\ninterface-name=lo\n[ipv4]\naddress1=172.16.0.8/32\n", "DEVICE=lo:0\nIPADDR=172.16.0.8\n", "-A -t 172.16.0.8:80 -s rr\n-a -t 172.16.0.8:80 -r 10.0.0.1 -g\n",
		"virtual_server 172.16.0.8 80 {\n real_server 10.0.0.1 80 { }\n}\n", "virtual=172.16.0.8:80\n real=1.1.1.1->1.1.1.9 gate\n", "net.ipv4.conf.*.arp_ignore = 0\n", "source *\nsource-directory x\n", "include *\n", "AUTO=\"false\"\n"} {
		for kind := range byte(14) {
			f.Add(kind, text)
		}
	}
	names := []string{"/etc/sysctl.d/90.conf", "/etc/sysctl.conf", "/etc/sysctl.d/60-lvstui.conf", "/etc/systemd/network/1.network", "/etc/systemd/network/60-lvstui-lo.network", "/etc/netplan/1.yaml", "/etc/netplan/60-lvstui.yaml",
		"/etc/NetworkManager/system-connections/a", "/etc/network/interfaces", "/etc/sysconfig/network-scripts/ifcfg-lo:0", "/etc/ipvsadm.rules", "/etc/default/ipvsadm", "/etc/keepalived/keepalived.conf", "/etc/ha.d/ldirectord.cf"}
	f.Fuzz(func(t *testing.T, kind byte, text string) {
		if len(text) > 1<<14 {
			return
		}
		s := host()
		texts := map[string]string{names[int(kind)%len(names)]: text}
		s.Files = files(texts)
		Keepalived(s)
		Ldirectord(s)
		plan := fixes.Plan{Steps: []fixes.Step{
			fixes.SetSysctl{Path: "net/ipv4/conf/all/arp_ignore", Value: "1"},
			fixes.AddAddress{Device: "lo", Prefix: netip.MustParsePrefix("172.16.0.8/32")},
			fixes.AddService{Service: fixes.VirtualService{Protocol: lvs.TCP, Address: netip.MustParseAddr("172.16.0.8"), Port: 80}, Scheduler: "rr"},
		}}
		edits, words := Edits(plan, s)
		for _, e := range edits {
			if err := e.Validate(); err != nil {
				t.Error(err)
			}
			delete(texts, e.Path)
			if e.After != nil {
				texts[e.Path] = *e.After
			}
		}
		s.Files = files(texts)
		again, moreWords := Edits(plan, s)
		if len(again) > 0 || !slices.Equal(words, moreWords) {
			t.Errorf("a second time: %+v, %v after %v", again, moreWords, words)
		}
	})
}
