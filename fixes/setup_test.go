package fixes

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"lvstui/lvs"
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

var wanted = Spec{VIP: netip.MustParsePrefix("172.16.0.8/24"), Services: []Port{{lvs.TCP, 80}, {lvs.UDP, 53}}, Scheduler: "rr",
	RealServers: []RealServer{{ip("192.168.10.12"), 1}, {ip("192.168.10.13"), 2}}}

// bareHost has what a host of the article's cluster has before anybody sets up a role.
func bareHost() *lvs.Snapshot {
	s := director(rand.New(rand.NewPCG(1, 1)), 0)
	s.Neighbours, s.Owners, s.Sockets = []lvs.Neighbour{}, []lvs.Owner{}, []lvs.Socket{}
	s.Clients = []lvs.Client{{Address: ip("188.88.88.10"), Origin: "assumed"}}
	return s
}

func TestSetUpIsIdempotentFromAnyTable(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	planned := 0
	for range 300 {
		s := bareHost()
		s.IPVS = director(r, r.IntN(20)).IPVS
		for range r.IntN(4) {
			if next, err := randomStep(r, s).Simulate(s); err == nil {
				s = next
			}
		}
		for role, setUp := range map[string]func(Spec, *lvs.Snapshot) (Plan, []Problem){"director": SetUpDirector, "real server": SetUpRealServer} {
			p, problems := setUp(wanted, s)
			if len(problems) > 0 {
				if !p.Empty() {
					t.Fatalf("%s: a plan beside problems %v", role, problems)
				}
				continue
			}
			after, err := p.After(s)
			if err != nil {
				t.Fatalf("%s: %v: %v", role, p.Commands(), err)
			}
			again, problems := setUp(wanted, after)
			if len(problems) > 0 || !again.Empty() {
				t.Fatalf("%s: %v, then again %v %v", role, p.Commands(), again.Commands(), problems)
			}
			undo, err := p.Undo(s)
			if err != nil {
				t.Fatal(err)
			}
			home, err := undo.After(after)
			if err != nil {
				t.Fatal(err)
			}
			if d := same(s, home); d != "" {
				t.Fatalf("%s: %v, then %v\n%s", role, p.Commands(), undo.Commands(), d)
			}
			if len(p.Steps) > 0 {
				planned++
			}
		}
	}
	if planned < 100 {
		t.Errorf("only %d plans: the generator no longer meets what can be set up", planned)
	}
}

// No prefix of a plan lets a client come before there is somebody to send it to, or lets a real server answer for the VIP.
func TestSetUpOrder(t *testing.T) {
	s := bareHost()
	p, problems := SetUpDirector(wanted, s)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := []string{"ipvsadm -A -t 172.16.0.8:80 -s rr", "ipvsadm -a -t 172.16.0.8:80 -r 192.168.10.12:80 -g -w 1", "ipvsadm -a -t 172.16.0.8:80 -r 192.168.10.13:80 -g -w 2",
		"ipvsadm -A -u 172.16.0.8:53 -s rr", "ipvsadm -a -u 172.16.0.8:53 -r 192.168.10.12:53 -g -w 1", "ipvsadm -a -u 172.16.0.8:53 -r 192.168.10.13:53 -g -w 2",
		"ip addr add 172.16.0.8/24 dev eth0", "arping -U -c 3 -I eth0 172.16.0.8"}
	if got := p.Commands(); !slices.Equal(got, want) {
		t.Errorf("director\ngot  %q\nwant %q", got, want)
	}
	if all := strings.Join(p.Elsewhere, "\n"); !strings.Contains(all, "the real server 192.168.10.13: lvstui setup real-server --vip 172.16.0.8 --service tcp/80 --service udp/53") ||
		!strings.Contains(all, "ip route add 172.16.0.8/32 dev LEG") {
		t.Errorf("what others need:\n%s", all)
	}
	rs := s.Clone()
	if p, problems = SetUpRealServer(wanted, rs); len(problems) > 0 {
		t.Fatal(problems)
	}
	states, err := p.Simulate(rs)
	if err != nil || len(states) == 0 {
		t.Fatal(err, p.Commands())
	}
	for i, now := range states {
		if e := now.Effective("eth0", "arp_ignore"); len(now.AddressesOf(ip("172.16.0.8"))) > 0 && e.Value != 1 {
			t.Errorf("after %v the VIP is there and arp_ignore is %d", p.Commands()[:i+1], e.Value)
		}
	}
	if all := strings.Join(p.Elsewhere, "\n"); strings.Count(all, "nothing listens on") != 2 {
		t.Errorf("nobody listens, and it is not said:\n%s", all)
	}
}

func TestSetUpRefuses(t *testing.T) {
	with := func(change func(*Spec)) Spec {
		spec := wanted
		spec.RealServers = slices.Clone(spec.RealServers)
		change(&spec)
		return spec
	}
	host := func(change func(*lvs.Snapshot)) *lvs.Snapshot {
		s := bareHost()
		change(s)
		return s
	}
	bare := bareHost()
	for _, c := range []struct {
		name string
		role func(Spec, *lvs.Snapshot) (Plan, []Problem)
		spec Spec
		s    *lvs.Snapshot
		want string
	}{
		{"rip behind a router", SetUpDirector, with(func(s *Spec) { s.RealServers[0].Address = ip("10.1.1.1") }), bare, "is behind 192.168.10.1"},
		{"rip of this host", SetUpDirector, with(func(s *Spec) { s.RealServers[0].Address = ip("192.168.10.11") }), bare, "address of this host itself"},
		{"rip is the vip", SetUpDirector, with(func(s *Spec) { s.RealServers[0].Address = ip("172.16.0.8") }), bare, "is the VIP"},
		{"rip twice", SetUpDirector, with(func(s *Spec) { s.RealServers[0] = s.RealServers[1] }), bare, "named twice"},
		{"no rip", SetUpDirector, with(func(s *Spec) { s.RealServers = nil }), bare, "no real server"},
		{"no service", SetUpDirector, with(func(s *Spec) { s.Services = nil }), bare, "no service"},
		{"no vip", SetUpDirector, with(func(s *Spec) { s.VIP = netip.Prefix{} }), bare, "no virtual address was named"},
		{"nothing on-link", SetUpDirector, with(func(s *Spec) { s.RealServers = []RealServer{{ip("10.1.1.1"), 1}} }), bare, "no interface of rs1"},
		{"no such interface", SetUpDirector, with(func(s *Spec) { s.Interface = "eth9" }), bare, `"eth9" is no interface`},
		{"vip is the gateway", SetUpDirector, with(func(s *Spec) { s.VIP = netip.MustParsePrefix("192.168.10.1/32") }), bare, "is a gateway of rs1"},
		{"vip is the gateway, real server", SetUpRealServer, with(func(s *Spec) { s.VIP = netip.MustParsePrefix("192.168.10.1/32") }), bare, "is a gateway of rs1"},
		{"another port", SetUpDirector, wanted, host(func(s *lvs.Snapshot) {
			s.IPVS = &lvs.IPVS{Loaded: true, Via: "netlink", Services: []lvs.Service{{Protocol: lvs.TCP, Address: ip("172.16.0.8"), Port: 80, Scheduler: "rr",
				Destinations: []lvs.Destination{{Address: wanted.RealServers[0].Address, Port: 8080, Forward: lvs.Masq, Weight: 1}}}}}
		}), "with port 8080 already (masq): direct routing changes no port"},
		{"table unread", SetUpDirector, wanted, host(func(s *lvs.Snapshot) { s.IPVS = nil }), "could not be read"},
		{"keepalived", SetUpDirector, wanted, host(func(s *lvs.Snapshot) {
			s.Owners = append(s.Owners, lvs.Owner{Name: "keepalived", Owns: []string{"ipvs"}, Evidence: "process 812 keepalived"})
		}), "keepalived keeps the ip_vs table"},
		{"vip in use", SetUpDirector, wanted, host(func(s *lvs.Snapshot) {
			s.Neighbours = append(s.Neighbours, lvs.Neighbour{Address: ip("172.16.0.8"), Device: "eth0", MAC: "02:00:00:00:00:09", State: "stale"})
		}), "is in use: 02:00:00:00:00:09"},
		{"vip of a real server", SetUpDirector, wanted, with2(bare, "lo", "172.16.0.8/32"), "as on a real server"},
		{"vip of a director", SetUpRealServer, wanted, with2(bare, "eth0", "172.16.0.8/32"), "as on a director"},
		{"no route back", SetUpRealServer, wanted, host(func(s *lvs.Snapshot) {
			s.Routes = slices.DeleteFunc(s.Routes, func(r lvs.Route) bool { return r.Dst.Bits() == 0 })
			s.Clients[0].Origin = "flow"
		}), "no route to clients"},
		{"gateway elsewhere", SetUpRealServer, with(func(s *Spec) { s.Gateway = ip("10.1.1.1") }), bare, "the gateway 10.1.1.1 is not on a segment"},
		{"card as interface", SetUpRealServer, with(func(s *Spec) { s.Interface = "eth0" }), bare, "neither lo nor a dummy"},
		{"answered when asked", SetUpDirector, wanted, host(func(s *lvs.Snapshot) {
			s.Probed = &lvs.Probed{ARP: []lvs.ARPProbe{{Address: ip("172.16.0.8"), Device: "eth0", Answers: []lvs.ARPAnswer{{MAC: "02:00:00:00:00:07"}}}}}
		}), "is in use: 02:00:00:00:00:07"},
		{"forged and no way back", SetUpDirector, wanted, host(func(s *lvs.Snapshot) {
			s.Routes = slices.DeleteFunc(s.Routes, func(r lvs.Route) bool { return r.Dst.Bits() == 0 })
			s.Clients[0].Origin = "flow"
			s.Sysctls[lvs.ConfPath("all", "rp_filter")] = "1"
		}), "would be dropped as forged"},
		{"sysctls unread", SetUpRealServer, wanted, host(func(s *lvs.Snapshot) { s.Sysctls = nil }), "sysctls"},
		{"one sysctl unread", SetUpRealServer, wanted, host(func(s *lvs.Snapshot) { delete(s.Sysctls, lvs.ConfPath("eth0", "arp_ignore")) }), "arp_ignore of eth0"},
	} {
		p, problems := c.role(c.spec, c.s)
		if !p.Empty() || !slices.ContainsFunc(problems, func(p Problem) bool { return strings.Contains(p.What, c.want) && p.Next != "" }) {
			t.Errorf("%s: plan %v, problems %q, want %q", c.name, p.Commands(), problems, c.want)
		}
	}
}

func with2(s *lvs.Snapshot, device, prefix string) *lvs.Snapshot {
	return with(s, AddAddress{Device: device, Prefix: netip.MustParsePrefix(prefix)})
}

// What lvstui adds beyond the table and the VIP, and only where it is needed.
func TestSetUpAddsWhatIsNeeded(t *testing.T) {
	bare := func(change func(*lvs.Snapshot)) *lvs.Snapshot {
		s := bareHost()
		change(s)
		return s
	}
	noDefault := func(s *lvs.Snapshot) {
		s.Routes = slices.DeleteFunc(s.Routes, func(r lvs.Route) bool { return r.Dst.Bits() == 0 })
	}
	strict := func(s *lvs.Snapshot) { s.Sysctls[lvs.ConfPath("all", "rp_filter")] = "1" }
	one := wanted
	one.Services, one.RealServers = wanted.Services[:1], wanted.RealServers[:1]
	with := func(change func(*Spec)) Spec { spec := one; change(&spec); return spec }
	table := []string{"ipvsadm -A -t 172.16.0.8:80 -s rr", "ipvsadm -a -t 172.16.0.8:80 -r 192.168.10.12:80 -g -w 1"}
	quiet := []string{"sysctl -w net.ipv4.conf.all.arp_ignore=1", "sysctl -w net.ipv4.conf.all.arp_announce=2"}
	for _, c := range []struct {
		name      string
		role      func(Spec, *lvs.Snapshot) (Plan, []Problem)
		spec      Spec
		s         *lvs.Snapshot
		want      []string
		elsewhere string
	}{
		{"module", SetUpDirector, one, bare(func(s *lvs.Snapshot) { s.IPVS = &lvs.IPVS{Services: []lvs.Service{}} }),
			slices.Concat([]string{"modprobe ip_vs"}, table, []string{"ip addr add 172.16.0.8/24 dev eth0", "arping -U -c 3 -I eth0 172.16.0.8"}), ""},
		{"routed", SetUpDirector, with(func(s *Spec) { s.Interface, s.Gateway = "lo", ip("192.168.10.1") }), bareHost(),
			slices.Concat(table, []string{"ip addr add 172.16.0.8/32 dev lo"}), "the router 192.168.10.1: ip route add 172.16.0.8/32 via 192.168.10.11"},
		{"two legs", SetUpDirector, with(func(s *Spec) { s.Interface = "eth1" }), bare(strict),
			slices.Concat([]string{"sysctl -w net.ipv4.conf.eth1.rp_filter=2"}, table, []string{"ip addr add 172.16.0.8/24 dev eth1", "arping -U -c 3 -I eth1 172.16.0.8"}),
			"sysctl -w net.ipv4.conf.LEG.rp_filter=2 on a Linux router"},
		{"two legs, no way back", SetUpDirector, with(func(s *Spec) { s.Interface, s.Gateway = "eth1", ip("172.16.0.1") }), bare(func(s *lvs.Snapshot) { strict(s); noDefault(s) }),
			slices.Concat(table, []string{"ip addr add 172.16.0.8/24 dev eth1", "arping -U -c 3 -I eth1 172.16.0.8", "ip route add default via 172.16.0.1 dev eth1"}), ""},
		{"no way to the Internet, and nobody there", SetUpDirector, one, bare(func(s *lvs.Snapshot) { strict(s); noDefault(s) }),
			slices.Concat(table, []string{"ip addr add 172.16.0.8/24 dev eth0", "arping -U -c 3 -I eth0 172.16.0.8"}), ""},
		{"route back", SetUpRealServer, with(func(s *Spec) { s.Gateway = ip("192.168.10.254") }), bare(noDefault),
			slices.Concat([]string{"ip route add default via 192.168.10.254 dev eth0"}, quiet, []string{"ip addr add 172.16.0.8/32 dev lo"}), "--real-server 192.168.10.11"},
		{"another gateway", SetUpRealServer, with(func(s *Spec) { s.Gateway = ip("192.168.10.254") }), bareHost(),
			slices.Concat([]string{"ip route add default via 192.168.10.254 dev eth0 table 100", "ip rule add from 172.16.0.8/32 lookup 100 priority 32000"}, quiet,
				[]string{"ip addr add 172.16.0.8/32 dev lo"}), ""},
		{"nobody beyond", SetUpRealServer, one, bare(noDefault), slices.Concat(quiet, []string{"ip addr add 172.16.0.8/32 dev lo"}), "here: rs1 has no route to clients such as 188.88.88.10"},
		{"IPv6", SetUpRealServer, with(func(s *Spec) { s.VIP = netip.MustParsePrefix("2001:db8::8/64"); s.RealServers = nil }), bare(func(s *lvs.Snapshot) {
			s.PolicyRules = append(s.PolicyRules, lvs.PolicyRule{Table: lvs.TableLocal, Action: "table", Family: 6}, lvs.PolicyRule{Priority: 32766, Table: lvs.TableMain, Action: "table", Family: 6})
		}),
			[]string{"ip addr add 2001:db8::8/128 dev lo"}, ""},
	} {
		p, problems := c.role(c.spec, c.s)
		if len(problems) > 0 || !slices.Equal(p.Commands(), c.want) || !strings.Contains(strings.Join(p.Elsewhere, "\n"), c.elsewhere) {
			t.Errorf("%s: problems %v\n got %q\nwant %q\nelsewhere %q, want %q", c.name, problems, p.Commands(), c.want, p.Elsewhere, c.elsewhere)
			continue
		}
		after, err := p.After(c.s)
		if err != nil {
			t.Fatal(err)
		}
		if again, problems := c.role(c.spec, after); len(problems) > 0 || !again.Empty() {
			t.Errorf("%s: again %q, %v", c.name, again.Commands(), problems)
		}
	}
}
