package main

import (
	"net/netip"
	"slices"
	"testing"

	"lvstui/capture"
	"lvstui/lvs"
)

func TestWhatTheCaptureMisses(t *testing.T) {
	s := &lvs.Snapshot{Links: []lvs.Link{
		{Name: "lo", Type: "loopback", Up: true}, {Name: "bond0", Type: "ether", Up: true},
		{Name: "eth0", Type: "ether", Up: true, Master: "bond0"}, {Name: "eth9", Type: "ether"},
		{Name: "vip0", Type: "ether", Kind: "dummy", Up: true},
	}}
	for _, c := range []struct {
		interfaces []string
		want       bool
	}{{nil, false}, {[]string{"bond0"}, false}, {[]string{"eth0"}, true}} {
		if got := leavesOut(s, c.interfaces); got != c.want {
			t.Errorf("-i %v leaves something out: %v, want %v", c.interfaces, got, c.want)
		}
	}
}

// TestListensForRewrittenPackets: with masq the SYN leaves for another address and port than the client's.
func TestListensForRewrittenPackets(t *testing.T) {
	vip, rip, other := netip.MustParseAddr("172.16.0.8"), netip.MustParseAddr("10.55.0.9"), netip.MustParseAddr("192.168.10.11")
	s := &lvs.Snapshot{IPVS: &lvs.IPVS{Services: []lvs.Service{
		{Protocol: lvs.TCP, Address: vip, Port: 80, Destinations: []lvs.Destination{{Address: other, Port: 80, Forward: lvs.Gate}}},
		{Protocol: lvs.TCP, Address: vip, Port: 8080, Destinations: []lvs.Destination{{Address: rip, Port: 8000, Forward: lvs.Masq}}},
	}}}
	for name, c := range map[string]struct {
		cfg       capture.Config
		addresses []netip.Addr
		ports     []uint16
	}{
		"VIP":            {capture.Config{Virtuals: []netip.Addr{vip}}, []netip.Addr{vip, rip}, nil},
		"VIP and port":   {capture.Config{Virtuals: []netip.Addr{vip}, Ports: []uint16{8080}}, []netip.Addr{vip, rip}, []uint16{8080, 8000}},
		"the other port": {capture.Config{Virtuals: []netip.Addr{vip}, Ports: []uint16{80}}, []netip.Addr{vip}, []uint16{80}},
		"everything":     {capture.Config{}, nil, nil},
	} {
		addresses, ports := withRewritten(s, c.cfg)
		if !slices.Equal(addresses, c.addresses) || !slices.Equal(ports, c.ports) {
			t.Errorf("%s: listens for %v %v", name, addresses, ports)
		}
	}
	if got, _ := withRewritten(s, capture.Config{Virtuals: []netip.Addr{other}}); len(got) != 1 {
		t.Errorf("real servers of a VIP that nobody asked for: %v", got)
	}
	for i := range 1000 {
		d := &s.IPVS.Services[1].Destinations
		*d = append(*d, lvs.Destination{Address: netip.AddrFrom4([4]byte{10, 60, byte(i >> 8), byte(i)}), Port: uint16(9000 + i), Forward: lvs.Masq})
	}
	if got, ports := withRewritten(s, capture.Config{Virtuals: []netip.Addr{vip}, Ports: []uint16{8080}}); len(got) != maxFilterVIPs+1 || len(ports) != maxFilterVIPs+1 {
		t.Errorf("1000 real servers: %d addresses, %d ports", len(got), len(ports))
	}
	if got, _ := withRewritten(&lvs.Snapshot{}, capture.Config{Virtuals: []netip.Addr{vip}}); len(got) != 1 {
		t.Errorf("no ip_vs: %v", got)
	}
}

func TestOnlyDirects(t *testing.T) {
	with := func(rips ...string) *lvs.Snapshot {
		v := lvs.Service{Protocol: lvs.TCP, Address: netip.MustParseAddr("172.16.0.8"), Port: 80}
		for _, r := range rips {
			v.Destinations = append(v.Destinations, lvs.Destination{Address: netip.MustParseAddr(r)})
		}
		return &lvs.Snapshot{IPVS: &lvs.IPVS{Services: []lvs.Service{v}},
			Addresses: []lvs.Address{{Device: "lo", Prefix: netip.MustParsePrefix("127.0.0.1/8")}, {Device: "eth0", Prefix: netip.MustParsePrefix("192.168.10.2/24")}}}
	}
	for name, c := range map[string]struct {
		s    *lvs.Snapshot
		want bool
	}{
		"no ip_vs":        {&lvs.Snapshot{}, false},
		"no services":     {&lvs.Snapshot{IPVS: &lvs.IPVS{}}, false},
		"others":          {with("192.168.10.3", "192.168.10.4"), true},
		"itself as well":  {with("192.168.10.3", "192.168.10.2"), false},
		"by way of lo":    {with("127.0.0.1"), false},
		"no destinations": {with(), true},
	} {
		if got := onlyDirects(c.s); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
