package fixes

import (
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"lvstui/lvs"
)

var web = VirtualService{Protocol: lvs.TCP, Address: netip.MustParseAddr("172.16.0.8"), Port: 80}

// director is a host with an ip_vs table that random steps have filled.
func director(r *rand.Rand, steps int) *lvs.Snapshot {
	s := realServer()
	s.IPVS = &lvs.IPVS{Loaded: true, Via: "netlink", Services: []lvs.Service{}, Daemons: []lvs.SyncDaemon{}}
	for range steps {
		if next, err := randomTableStep(r, s).Simulate(s); err == nil {
			s = next
		}
	}
	return s
}

func randomTableStep(r *rand.Rand, s *lvs.Snapshot) Step {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	names := []VirtualService{web, {Protocol: lvs.UDP, Address: web.Address, Port: 53}, {FWMark: 7}, {FWMark: 7, IPv6: true},
		{Protocol: lvs.TCP, Address: netip.MustParseAddr("2001:db8::8"), Port: 443}}
	name := names[r.IntN(len(names))]
	dst := AddDestination{Service: name, Address: netip.MustParseAddr(pick("192.168.10.12", "192.168.10.13", "192.168.10.11", "2001:db8::11")),
		Port: 80, Forward: lvs.Forward(pick("gate", "gate", "masq", "ipip", "local")), Weight: r.IntN(3)}
	if r.IntN(4) == 0 {
		dst.UpperThreshold, dst.LowerThreshold = 100, 50
	}
	svc := AddService{Service: name, Scheduler: pick("rr", "wlc", "sh")}
	if r.IntN(3) == 0 {
		svc.Flags, svc.Timeout = flagPersistent, 300
		if !name.Is6() {
			svc.Netmask = pick("", "255.255.255.0")
		}
	}
	switch r.IntN(8) {
	case 0:
		return DelService{name}
	case 1:
		return DelDestination{name, dst.Address, dst.Port}
	case 2:
		return EditService(svc)
	case 3:
		return EditDestination(dst)
	case 4, 5:
		return svc
	}
	return dst
}

func TestUndoGivesTheTableBack(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	undone, refused, impossible := map[string]int{}, 0, 0
	for range 700 {
		s := director(r, r.IntN(25))
		st := randomTableStep(r, s)
		kept := s.Clone()
		after, err := st.Simulate(s)
		if err != nil {
			impossible++
			continue
		}
		if !st.Done(after) {
			t.Fatalf("%s is not done after Simulate", st.Command())
		}
		if b, err := EncodeStep(st); err != nil {
			t.Fatal(err)
		} else if again, err := DecodeStep(b); err != nil || !reflect.DeepEqual(st, again) {
			t.Fatalf("%s comes back from the journal as %#v, %v", b, again, err)
		}
		back, err := st.Undo(s)
		if err != nil {
			refused++
			continue
		}
		home, err := Plan{Steps: back}.After(after)
		if err != nil {
			t.Fatalf("%s, then %v: %v", st.Command(), Plan{Steps: back}.Commands(), err)
		}
		if d := same(s, home); d != "" {
			t.Fatalf("%s, then %v\n%s", st.Command(), Plan{Steps: back}.Commands(), d)
		}
		if d := same(kept, s); d != "" {
			t.Fatalf("%s changed its argument:\n%s", st.Command(), d)
		}
		plan := Plan{Steps: []Step{st}}
		undo := Plan{Steps: back}
		c, err := plan.Course(s, undo)
		if err != nil {
			t.Fatal(err)
		}
		if same(s, after) != "" && len(c.Before(after)) == 0 {
			t.Fatalf("%s changes the table and no fact of it", st.Command())
		}
		undone[st.Kind()]++
	}
	if len(undone) != 6 || refused == 0 || impossible == 0 {
		t.Errorf("undone %v, refused %d, impossible %d: the generator no longer meets all", undone, refused, impossible)
	}
}

func TestTableStepsRefuse(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	full := with(director(r, 0), AddService{Service: web, Scheduler: "rr"},
		AddDestination{Service: web, Address: netip.MustParseAddr("192.168.10.12"), Port: 80, Forward: lvs.Gate, Weight: 1})
	proc := full.Clone()
	proc.IPVS.Via = "proc"
	gone := full.Clone()
	gone.IPVS.Loaded = false
	unread := full.Clone()
	unread.IPVS = nil
	other := VirtualService{Protocol: lvs.TCP, Address: web.Address, Port: 81}
	rip := netip.MustParseAddr("192.168.10.12")
	for _, c := range []struct {
		s    *lvs.Snapshot
		st   Step
		want string
	}{
		{proc, DelService{web}, "CAP_NET_ADMIN"},
		{gone, AddService{Service: other, Scheduler: "rr"}, "modprobe ip_vs"},
		{unread, DelService{web}, "could not be read"},
		{full, AddService{Service: web, Scheduler: "wlc"}, "there already"},
		{full, EditService{Service: other, Scheduler: "rr"}, "there is no"},
		{full, EditDestination{Service: other, Address: rip, Port: 80, Forward: lvs.Gate}, "there is no"},
		{full, EditDestination{Service: web, Address: rip, Port: 81, Forward: lvs.Gate}, "there is no"},
		{full, AddDestination{Service: web, Address: rip, Port: 80, Forward: lvs.Masq}, "there already"},
		{full, AddDestination{Service: web, Address: netip.MustParseAddr("2001:db8::1"), Port: 80, Forward: lvs.Gate}, "address family"},
		{full, AddService{Service: other, Scheduler: "rr", Timeout: 5}, "persistence"},
		{full, AddService{Service: other, Scheduler: "r r"}, "no scheduler"},
	} {
		if _, err := c.st.Simulate(c.s); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.st.Command(), err, c.want)
		}
	}
}

func TestTableCommands(t *testing.T) {
	rip := netip.MustParseAddr("192.168.10.11")
	for want, st := range map[string]Step{
		"ipvsadm -A -t 172.16.0.8:80 -s rr":                                 AddService{Service: web, Scheduler: "rr"},
		"ipvsadm -E -t 172.16.0.8:80 -s wrr -p 300 -M 255.255.255.0":        EditService{Service: web, Scheduler: "wrr", Flags: 1, Timeout: 300, Netmask: "255.255.255.0"},
		"ipvsadm -A -f 7 -6 -s sh -b flag-1,flag-2":                         AddService{Service: VirtualService{FWMark: 7, IPv6: true}, Scheduler: "sh", Flags: 0x18},
		"ipvsadm -D -u 172.16.0.8:53":                                       DelService{VirtualService{Protocol: lvs.UDP, Address: web.Address, Port: 53}},
		"ipvsadm -a -t 172.16.0.8:80 -r 192.168.10.11:80 -g -w 1":           AddDestination{Service: web, Address: rip, Port: 80, Forward: lvs.Gate, Weight: 1},
		"ipvsadm -e -t 172.16.0.8:80 -r 192.168.10.11:80 -m -w 0 -x 9 -y 5": EditDestination{Service: web, Address: rip, Port: 80, Forward: lvs.Masq, UpperThreshold: 9, LowerThreshold: 5},
		"ipvsadm -d -t 172.16.0.8:80 -r 192.168.10.11:80":                   DelDestination{web, rip, 80},
		"ipvsadm -a -t [2001:db8::8]:443 -r [2001:db8::11]:443 -g -w 2":     AddDestination{Service: VirtualService{Protocol: lvs.TCP, Address: netip.MustParseAddr("2001:db8::8"), Port: 443}, Address: netip.MustParseAddr("2001:db8::11"), Port: 443, Forward: lvs.Gate, Weight: 2},
	} {
		if got := st.Command(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestServiceOnTheOperatorsPort(t *testing.T) {
	s := director(rand.New(rand.NewPCG(1, 1)), 0)
	s.Operator = &lvs.Session{Client: netip.MustParseAddrPort("10.0.0.1:5000"), Server: netip.MustParseAddrPort("172.16.0.8:80")}
	if risk := (AddService{Service: web, Scheduler: "rr"}).Risk(s); !strings.Contains(risk, "SSH") {
		t.Errorf("risk %q", risk)
	}
}
