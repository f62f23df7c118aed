package fixes

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"lvstui/lvs"
)

// session is realServer with an operator logged in.
func session(client, server, iface string, more ...Step) *lvs.Snapshot {
	s := with(realServer(), more...)
	s.Operator = &lvs.Session{Client: netip.AddrPortFrom(netip.MustParseAddr(client), 50000), Server: netip.AddrPortFrom(netip.MustParseAddr(server), 22), Interface: iface}
	return s
}

func TestRiskForTheOperatorsSession(t *testing.T) {
	prefix := netip.MustParsePrefix
	conf := func(path, value string) Step { return SetSysctl{"net/ipv4/conf/" + path, value} }
	ordinary := session("203.0.113.5", "192.168.10.11", "eth0")
	for name, c := range map[string]struct {
		s    *lvs.Snapshot
		st   Step
		want string // "" for no risk
	}{
		"quiet arp": {ordinary, conf("all/arp_ignore", "1"), ""},
		"announce":  {ordinary, conf("all/arp_announce", "2"), ""},
		"vip on lo": {ordinary, AddAddress{Device: "lo", Prefix: prefix("172.16.0.8/32")}, ""},
		"strict, and the session comes the right way": {ordinary, conf("all/rp_filter", "1"), ""},
		"no session at all":                           {realServer(), DelAddress{"eth0", prefix("192.168.10.11/24")}, ""},
		"the server's address goes": {session("203.0.113.5", "192.168.10.11", "eth0"), DelAddress{"eth0", prefix("192.168.10.11/24")},
			"your SSH session is to 192.168.10.11, which would go"},
		"a primary goes and takes it along": {session("203.0.113.5", "192.168.10.12", "eth0", AddAddress{Device: "eth0", Prefix: prefix("192.168.10.12/24")}),
			DelAddress{"eth0", prefix("192.168.10.11/24")}, "your SSH session is to 192.168.10.12, which would go"},
		"a primary goes and promotes it": {session("203.0.113.5", "192.168.10.12", "eth0", AddAddress{Device: "eth0", Prefix: prefix("192.168.10.12/24")}, conf("eth0/promote_secondaries", "1")),
			DelAddress{"eth0", prefix("192.168.10.11/24")}, ""},
		"the client's net becomes local": {session("10.7.0.5", "192.168.10.11", "eth0"), AddAddress{Device: "lo", Prefix: prefix("10.7.0.8/24")},
			"answers of your SSH session to 10.7.0.5 would be delivered to this host itself"},
		"strict, and it comes in another way": {session("203.0.113.5", "192.168.10.11", "eth1", AddAddress{Device: "eth1", Prefix: prefix("10.9.0.1/24")}), conf("all/rp_filter", "1"),
			"packets of your SSH session from 203.0.113.5 would be rejected"},
		"weak host": {session("203.0.113.5", "192.168.10.11", "eth1", AddAddress{Device: "eth1", Prefix: prefix("10.9.0.1/24")}), conf("all/arp_ignore", "1"),
			"your SSH session is to 192.168.10.11, which is on eth0, and comes in on eth1"},
		"weak host, quiet already": {session("203.0.113.5", "192.168.10.11", "eth1", conf("eth1/arp_ignore", "1")), conf("all/arp_ignore", "1"), ""},
		"never answer":             {ordinary, conf("eth0/arp_ignore", "8"), "eth0 would not answer ARP for any address"},
	} {
		got := c.st.Risk(c.s)
		if c.want == "" && got != "" || c.want != "" && !strings.Contains(got, c.want) {
			t.Errorf("%s: %s: got %q, want %q", name, c.st.Command(), got, c.want)
		}
	}
}

func TestPreview(t *testing.T) {
	s := session("203.0.113.5", "172.16.0.8", "eth0", AddAddress{Device: "eth0", Prefix: netip.MustParsePrefix("172.16.0.8/24")})
	s.Owners = []lvs.Owner{{Name: "systemd-networkd", Owns: []string{"addresses"}}}
	v, err := MoveVIPToLo(s, lvs.Address{Device: "eth0", Prefix: netip.MustParsePrefix("172.16.0.8/24"), Scope: "global"}).Show(s)
	if err != nil {
		t.Fatal(err)
	}
	var commands, was []string
	for _, l := range v.Lines {
		commands, was = append(commands, l.Command), append(was, l.Was)
		if l.Does == "" || len(l.Undo) == 0 {
			t.Errorf("%s: no words or no undo: %+v", l.Command, l)
		}
	}
	want := []string{"sysctl -w net.ipv4.conf.all.arp_ignore=1", "sysctl -w net.ipv4.conf.all.arp_announce=2", "ip addr add 172.16.0.8/32 dev lo", "ip addr del 172.16.0.8/24 dev eth0"}
	if !slices.Equal(commands, want) {
		t.Errorf("commands %q", commands)
	}
	if !slices.Equal(was, []string{"was 0", "was 0", "not there now", "there, scope global"}) {
		t.Errorf("was %q", was)
	}
	back := []string{"ip addr add 172.16.0.8/24 dev eth0", "ip addr del 172.16.0.8/32 dev lo", "sysctl -w net.ipv4.conf.all.arp_announce=0", "sysctl -w net.ipv4.conf.all.arp_ignore=0"}
	if !slices.Equal(v.Undo, back) {
		t.Errorf("undo %q", v.Undo)
	}
	boot := strings.Join(v.NextBoot, "\n")
	for _, w := range []string{"/etc/sysctl.d/60-lvstui.conf: net.ipv4.conf.all.arp_ignore = 1", "arp_announce = 2", "/etc/systemd/network/", "add 172.16.0.8/32 to lo", "remove 172.16.0.8/24 from eth0"} {
		if !strings.Contains(boot, w) {
			t.Errorf("next boot does not say %q:\n%s", w, boot)
		}
	}
}

func TestNextBootLeavesOutWhatAPlanSetsForAWhileOnly(t *testing.T) {
	s := with(realServer(), AddAddress{Device: "eth0", Prefix: netip.MustParsePrefix("192.168.10.12/24")})
	p := MoveVIPToLo(s, s.AddressesOf(netip.MustParseAddr("192.168.10.11"))[0])
	if !strings.Contains(strings.Join(p.Commands(), "\n"), "promote_secondaries=1") {
		t.Fatal(p.Commands())
	}
	if boot := strings.Join(NextBoot(p, s), "\n"); strings.Contains(boot, "promote") {
		t.Error(boot)
	}
}

func TestQuietARPChangesOnlyWhatIsNeeded(t *testing.T) {
	vip := netip.MustParseAddr("172.16.0.8")
	lo := func(scope string) Step {
		return AddAddress{Device: "lo", Prefix: netip.MustParsePrefix("172.16.0.8/32"), Scope: scope}
	}
	conf := func(path, value string) Step { return SetSysctl{"net/ipv4/conf/" + path, value} }
	for name, c := range map[string]struct {
		host []Step
		want []string
	}{
		"nothing set":       {[]Step{lo("")}, []string{"all.arp_ignore=1", "all.arp_announce=2"}},
		"all set":           {[]Step{lo(""), conf("all/arp_ignore", "1"), conf("all/arp_announce", "2")}, nil},
		"set on both cards": {[]Step{lo(""), conf("eth0/arp_ignore", "1"), conf("eth1/arp_ignore", "2"), conf("eth0/arp_announce", "2"), conf("eth1/arp_announce", "2")}, nil},
		"set on one card":   {[]Step{lo(""), conf("eth0/arp_ignore", "1"), conf("eth0/arp_announce", "2")}, []string{"all.arp_ignore=1", "all.arp_announce=2"}},
		"announce 1":        {[]Step{lo(""), conf("all/arp_ignore", "1"), conf("all/arp_announce", "1")}, []string{"all.arp_announce=2"}},
		"3, host scope":     {[]Step{lo("host"), conf("all/arp_ignore", "3"), conf("all/arp_announce", "2")}, nil},
		"3, global scope":   {[]Step{lo(""), conf("all/arp_ignore", "3"), conf("all/arp_announce", "2")}, []string{"all.arp_ignore=1"}},
		"3 on a card":       {[]Step{lo(""), conf("eth0/arp_ignore", "3"), conf("all/arp_ignore", "1"), conf("all/arp_announce", "2")}, []string{"eth0.arp_ignore=1"}},
		"4 on a card":       {[]Step{lo(""), conf("eth0/arp_ignore", "4"), conf("all/arp_announce", "2")}, []string{"all.arp_ignore=1", "eth0.arp_ignore=1"}},
		"8":                 {[]Step{lo(""), conf("all/arp_ignore", "8"), conf("all/arp_announce", "2")}, nil},
		"on lo only":        {[]Step{lo(""), conf("lo/arp_ignore", "1"), conf("lo/arp_announce", "2")}, []string{"all.arp_ignore=1", "all.arp_announce=2"}},
	} {
		var want []string
		for _, w := range c.want {
			want = append(want, "sysctl -w net.ipv4.conf."+w)
		}
		if got := QuietARP(with(realServer(), c.host...), []netip.Addr{vip}).Commands(); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if got := QuietARP(realServer(), []netip.Addr{netip.MustParseAddr("2001:db8::8")}).Commands(); len(got) > 0 {
		t.Errorf("IPv6 needs no ARP sysctl: %q", got)
	}
}

func TestSysctlsWithSideEffectsAreRefused(t *testing.T) {
	s := realServer()
	s.Sysctls["net/ipv6/conf/eth0/disable_ipv6"] = "0"
	for _, path := range []string{"net/ipv4/ip_forward", "net/ipv4/conf/all/forwarding", "net/ipv4/conf/default/arp_ignore", "net/ipv6/conf/eth0/disable_ipv6"} {
		if _, err := (SetSysctl{path, "1"}).Simulate(s); err == nil {
			t.Errorf("%s: simulated", path)
		}
	}
	if _, err := (SetSysctl{"net/ipv4/conf/all/no_such_key", "1"}).Simulate(s); err == nil {
		t.Error("a key that is not there: simulated")
	}
}

func TestAddressesOfDHCPAreNotTakenAway(t *testing.T) {
	s := realServer()
	for i := range s.Addresses {
		s.Addresses[i].Dynamic = true
	}
	if _, err := (DelAddress{"eth0", netip.MustParsePrefix("192.168.10.11/24")}).Undo(s); err == nil || !strings.Contains(err.Error(), "lifetime") {
		t.Error(err)
	}
}

func TestAnswersFollowTheModelOnlyWhereItWasRight(t *testing.T) {
	vip := netip.MustParseAddr("172.16.0.8")
	ask := lvs.RouteQuery{Dst: vip, Src: netip.MustParseAddr("203.0.113.5"), Iif: "eth0"}
	other := lvs.RouteQuery{Dst: netip.MustParseAddr("203.0.113.5")}
	for _, c := range []struct{ recorded, want lvs.Outcome }{
		{lvs.OutUnreachable, lvs.OutLocal}, // as the model has it
		{lvs.OutUnicast, lvs.OutUnknown},   // the kernel knows something that the snapshot does not
	} {
		s := realServer()
		s.Answers = []lvs.RouteAnswer{{RouteQuery: ask, Outcome: c.recorded}, {RouteQuery: other, Outcome: lvs.OutUnicast, Device: "tun0"}}
		after := with(s, AddAddress{Device: "lo", Prefix: netip.PrefixFrom(vip, 32)})
		if a, _ := after.Answer(ask); a.Outcome != c.want {
			t.Errorf("recorded %s: after the step %s, want %s", c.recorded, a.Outcome, c.want)
		}
		if a, _ := after.Answer(other); a.Device != "tun0" {
			t.Errorf("an answer that the step does not concern became %+v", a)
		}
	}
}
