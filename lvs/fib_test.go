package lvs

import (
	"net/netip"
	"testing"
)

// The model is held against the kernel in fixes/apply. Here is what a kernel cannot be brought to: snapshots that lack something.

func routed() *Snapshot {
	s := &Snapshot{
		Links: []Link{{Index: 1, Name: "lo", Type: "loopback", Up: true}, {Index: 2, Name: "eth0", Type: "ether", Up: true}},
		Addresses: []Address{{Device: "lo", Prefix: netip.MustParsePrefix("172.16.0.8/32"), Scope: "global"},
			{Device: "eth0", Prefix: netip.MustParsePrefix("192.168.10.11/24"), Scope: "global"}},
		Routes: []Route{
			{Table: TableLocal, Type: "local", Dst: netip.MustParsePrefix("172.16.0.8/32"), Device: "lo", Protocol: "kernel"},
			{Table: TableLocal, Type: "local", Dst: netip.MustParsePrefix("192.168.10.11/32"), Device: "eth0", Protocol: "kernel"},
			{Table: TableMain, Type: "unicast", Dst: netip.MustParsePrefix("192.168.10.0/24"), Device: "eth0", Protocol: "kernel", Source: netip.MustParseAddr("192.168.10.11"), Scope: "link"},
			{Table: TableMain, Type: "unicast", Dst: netip.MustParsePrefix("0.0.0.0/0"), Device: "eth0", Gateway: netip.MustParseAddr("192.168.10.1"), Protocol: "static"},
		},
		PolicyRules: []PolicyRule{{Priority: 0, Table: TableLocal, Action: "table", Family: 4},
			{Priority: 32766, Table: TableMain, Action: "table", Family: 4}, {Priority: 32767, Table: TableDefault, Action: "table", Family: 4}},
		Sysctls: map[string]string{},
	}
	for _, dev := range []string{"all", "lo", "eth0"} {
		for _, key := range []string{"rp_filter", "accept_local", "forwarding", "route_localnet", "send_redirects"} {
			s.Sysctls[ConfPath(dev, key)] = "0"
		}
	}
	return s
}

var (
	vipToClient = RouteQuery{Dst: netip.MustParseAddr("188.88.88.10"), Src: netip.MustParseAddr("172.16.0.8")}
	clientToVIP = RouteQuery{Dst: netip.MustParseAddr("172.16.0.8"), Src: netip.MustParseAddr("188.88.88.10"), Iif: "eth0"}
	toGateway   = RouteQuery{Dst: netip.MustParseAddr("192.168.10.1")}
)

func TestLookupIsUnknownWithoutTheFacts(t *testing.T) {
	for name, c := range map[string]struct {
		take func(*Snapshot)
		want map[RouteQuery]Outcome
	}{
		"all there":    {func(*Snapshot) {}, map[RouteQuery]Outcome{vipToClient: OutUnicast, clientToVIP: OutLocal, toGateway: OutUnicast}},
		"no routes":    {func(s *Snapshot) { s.Routes = nil }, map[RouteQuery]Outcome{vipToClient: OutUnknown, clientToVIP: OutUnknown}},
		"no rules":     {func(s *Snapshot) { s.PolicyRules = nil }, map[RouteQuery]Outcome{vipToClient: OutUnknown, clientToVIP: OutUnknown}},
		"no addresses": {func(s *Snapshot) { s.Addresses = nil }, map[RouteQuery]Outcome{vipToClient: OutUnknown, clientToVIP: OutUnknown}},
		"no links":     {func(s *Snapshot) { s.Links = nil }, map[RouteQuery]Outcome{vipToClient: OutUnknown, clientToVIP: OutUnknown}},
		"no rp_filter": {func(s *Snapshot) { delete(s.Sysctls, ConfPath("eth0", "rp_filter")) }, map[RouteQuery]Outcome{vipToClient: OutUnicast, clientToVIP: OutUnknown}},
		"routes cut":   {func(s *Snapshot) { s.Gaps = []Gap{{Source: SourceRoutes}} }, map[RouteQuery]Outcome{vipToClient: OutUnknown, clientToVIP: OutLocal, toGateway: OutUnicast}},
		"cut and strict": {func(s *Snapshot) {
			s.Gaps = []Gap{{Source: SourceRoutes}}
			s.Sysctls[ConfPath("all", "rp_filter")] = "1"
		}, map[RouteQuery]Outcome{clientToVIP: OutUnknown}},
		"a rule on ports": {func(s *Snapshot) {
			s.PolicyRules = append(s.PolicyRules, PolicyRule{Priority: 5, Family: 4, Action: "table", Table: 100, Other: true})
		}, map[RouteQuery]Outcome{vipToClient: OutUnknown, clientToVIP: OutUnknown}},
		"a goto": {func(s *Snapshot) {
			s.PolicyRules = append(s.PolicyRules, PolicyRule{Priority: 5, Family: 4, Action: "goto"})
		}, map[RouteQuery]Outcome{vipToClient: OutUnknown}},
		"two like routes": {func(s *Snapshot) {
			s.Routes = append(s.Routes, Route{Table: TableMain, Type: "unicast", Dst: netip.MustParsePrefix("0.0.0.0/0"), Device: "eth0", Gateway: netip.MustParseAddr("192.168.10.2")})
		}, map[RouteQuery]Outcome{vipToClient: OutUnknown}},
	} {
		s := routed()
		c.take(s)
		for q, want := range c.want {
			if got := s.Lookup(q); got.Outcome != want {
				t.Errorf("%s: %+v: got %+v, want %s", name, q, got, want)
			}
		}
	}
}

func TestIsLocal(t *testing.T) {
	vip, stranger := netip.MustParseAddr("172.16.0.8"), netip.MustParseAddr("172.16.0.9")
	s := routed()
	if local, known := s.IsLocal(vip); !local || !known {
		t.Errorf("VIP on lo: %v %v", local, known)
	}
	if local, known := s.IsLocal(stranger); local || !known {
		t.Errorf("somebody else's address: %v %v", local, known)
	}
	s.Routes = nil
	if local, known := s.IsLocal(vip); !local || !known {
		t.Errorf("VIP on lo, no routes: %v %v", local, known)
	}
	if _, known := s.IsLocal(stranger); known {
		t.Error("known to be no local address, although the local table was not read")
	}
}

func TestAnswerIsTheRecordedOne(t *testing.T) {
	s := routed()
	if _, ok := s.Answer(clientToVIP); ok {
		t.Error("an answer that nobody recorded")
	}
	s.Answers = []RouteAnswer{{RouteQuery: clientToVIP, Outcome: OutRejected, Error: "EXDEV"}}
	if a, ok := s.Answer(clientToVIP); !ok || a.Outcome != OutRejected {
		t.Errorf("%+v %v", a, ok)
	}
}

func TestLookupIPv6(t *testing.T) {
	s := routed()
	s.Routes = append(s.Routes,
		Route{Table: TableLocal, Type: "local", Dst: netip.MustParsePrefix("2001:db8::8/128"), Device: "lo", Protocol: "kernel"},
		Route{Table: TableMain, Type: "unicast", Dst: netip.MustParsePrefix("::/0"), Device: "eth0", Gateway: netip.MustParseAddr("fe80::1"), Metric: 1024})
	s.PolicyRules = append(s.PolicyRules, PolicyRule{Priority: 0, Table: TableLocal, Action: "table", Family: 6},
		PolicyRule{Priority: 32766, Table: TableMain, Action: "table", Family: 6})
	client := netip.MustParseAddr("2001:db8:1::1")
	if a := s.Lookup(RouteQuery{Dst: client}); a.Outcome != OutUnicast || a.Device != "eth0" || a.Gateway != netip.MustParseAddr("fe80::1") {
		t.Errorf("%+v", a)
	}
	if a := s.Lookup(RouteQuery{Dst: netip.MustParseAddr("2001:db8::8"), Src: client, Iif: "eth0"}); a.Outcome != OutLocal {
		t.Errorf("%+v", a)
	}
}
