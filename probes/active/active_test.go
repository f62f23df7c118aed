package active

import (
	"net/netip"
	"strings"
	"testing"

	"lvstui/capture"
	"lvstui/lvs"
)

var (
	ours   = capture.MAC{2, 0, 0, 0, 2, 0}
	theirs = capture.MAC{2, 0, 0, 0, 0x11, 0}
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func decoded(t *testing.T, frame []byte) capture.Packet {
	t.Helper()
	var p capture.Packet
	if err := capture.Decode(frame, capture.LinkEthernet, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestARPRequestsTeachNobodyTheVIP(t *testing.T) {
	vip := ip("192.0.2.8")
	for _, target := range []arpTarget{{vip: vip, wire: wire{mac: ours}}, {vip: vip, wire: wire{mac: ours}, sender: ip("192.0.2.2")}} {
		for _, frame := range target.requests() {
			p := decoded(t, frame)
			if p.Kind != capture.ARP || p.ARP.Op != 1 || p.Dst != vip || p.Src == vip || p.ARP.SenderMAC != ours || p.DstMAC != broadcast {
				t.Errorf("request %+v", p)
			}
			if !p.Src.IsUnspecified() && p.Src != target.sender {
				t.Errorf("the sender is %s, neither 0.0.0.0 nor our own address", p.Src)
			}
		}
	}
}

// From :: the answer would go to all nodes and override their entries, so IPv6 is asked from an address of ours.
func TestSolicitationIsNotADuplicateCheck(t *testing.T) {
	p := decoded(t, solicitation(ours, ip("fe80::2"), ip("2001:db8::1:2:8")))
	if p.Kind != capture.ICMP || p.ARP.Op != 1 || p.Src != ip("fe80::2") || p.Quote.Dst != ip("2001:db8::1:2:8") ||
		p.Dst != ip("ff02::1:ff02:8") || p.DstMAC != (capture.MAC{0x33, 0x33, 0xff, 2, 0, 8}) || p.ARP.SenderMAC != ours || !p.ARP.Link || p.TTL != 255 {
		t.Errorf("solicitation %+v", p)
	}
}

func TestSegmentsAreWhole(t *testing.T) {
	for _, ends := range [][2]string{{"192.0.2.2:40000", "198.51.100.8:80"}, {"[2001:db8::2]:40000", "[2001:db8::8]:80"}} {
		src, dst := netip.MustParseAddrPort(ends[0]), netip.MustParseAddrPort(ends[1])
		frame := segment(theirs, ours, src, dst, capture.SYN, 7, 0)
		p := decoded(t, frame)
		if p.Kind != capture.TCP || p.Flags != capture.SYN || p.Seq != 7 || p.Src != src.Addr() || p.SrcPort != src.Port() || p.Dst != dst.Addr() || p.DstPort != dst.Port() ||
			p.DstMAC != theirs || p.SrcMAC != ours || p.PayloadLen != 0 || p.TTL != hops {
			t.Errorf("%s: %+v", ends[0], p)
		}
		// A receiver adds everything up again, the checksum included, and gets zero.
		header := 34
		if src.Addr().Is6() {
			header = 54
		} else if checksum(0, frame[14:34]) != 0 {
			t.Errorf("%s: the IP checksum does not add up", ends[0])
		}
		if sum := checksum(pseudo(src.Addr(), dst.Addr(), protoTCP, len(frame)-header), frame[header:]); sum != 0 {
			t.Errorf("%s: the TCP checksum does not add up: %x", ends[0], sum)
		}
	}
}

// director is a host with one VIP on eth0, three real servers, and a second wire.
func director() *lvs.Snapshot {
	on := func(dev, prefix string) lvs.Address {
		return lvs.Address{Device: dev, Prefix: netip.MustParsePrefix(prefix), Scope: "global"}
	}
	link := func(i int, name, mac string) lvs.Link {
		return lvs.Link{Index: i, Name: name, Type: "ether", MAC: mac, Up: true, Running: true}
	}
	s := &lvs.Snapshot{
		Links:     []lvs.Link{link(2, "eth0", "02:00:00:00:02:00"), link(3, "eth1", "02:00:00:00:02:01"), {Index: 1, Name: "lo", Type: "loopback", Up: true}},
		Addresses: []lvs.Address{on("eth0", "192.0.2.2/24"), on("eth0", "192.0.2.8/32"), on("eth1", "198.51.100.2/24")},
		Routes: []lvs.Route{
			{Table: lvs.TableMain, Type: "unicast", Dst: netip.MustParsePrefix("192.0.2.0/24"), Device: "eth0", Scope: "link"},
			{Table: lvs.TableMain, Type: "unicast", Dst: netip.MustParsePrefix("198.51.100.0/24"), Device: "eth1", Scope: "link"},
			{Table: lvs.TableMain, Type: "unicast", Dst: netip.MustParsePrefix("0.0.0.0/0"), Gateway: ip("192.0.2.1"), Device: "eth0"},
			{Table: lvs.TableLocal, Type: "local", Dst: netip.MustParsePrefix("192.0.2.8/32"), Device: "eth0", Scope: "host"},
		},
		PolicyRules: []lvs.PolicyRule{{Priority: 0, Table: 255, Action: "table", Family: 4}, {Priority: 32766, Table: 254, Action: "table", Family: 4}},
		Neighbours:  []lvs.Neighbour{{Address: ip("192.0.2.11"), Device: "eth0", MAC: theirs.String(), State: "stale"}},
		Sysctls:     map[string]string{},
	}
	to := func(rip string, how lvs.Forward) lvs.Destination {
		return lvs.Destination{Address: ip(rip), Port: 80, Forward: how, Weight: 1}
	}
	s.IPVS = &lvs.IPVS{Loaded: true, Services: []lvs.Service{
		{Protocol: lvs.TCP, Address: ip("192.0.2.8"), Port: 80, Destinations: []lvs.Destination{to("192.0.2.11", lvs.Gate), to("192.0.2.12", lvs.Masq), to("203.0.113.9", lvs.Gate), to("192.0.2.13", lvs.Gate)}},
		{Protocol: lvs.UDP, Address: ip("192.0.2.8"), Port: 53},
		{FWMark: 7},
	}}
	return s
}

func TestPlanSaysWhatItSendsAndWhatNot(t *testing.T) {
	p := Prepare(director(), Tests, Options{})
	words := strings.Join(p.Words(), "\n")
	for _, want := range []string{"eth0: 2 ARP requests for 192.0.2.8 from 0.0.0.0, 2 from 192.0.2.2", "eth0: a TCP SYN for 192.0.2.8:80 from 192.0.2.2 to the MAC of each of 192.0.2.11, 192.0.2.13"} {
		if !strings.Contains(words, want) {
			t.Errorf("no %q in\n%s", want, words)
		}
	}
	if strings.Contains(words, "eth1") {
		t.Errorf("the VIP is asked for on a wire that has nothing to do with it:\n%s", words)
	}
	left := strings.Join(p.Left(), "\n")
	for _, want := range []string{"is udp", "fwmark 7", "192.0.2.12: it is not reached by direct routing but by masq", "203.0.113.9: it is behind the router 192.0.2.1"} {
		if !strings.Contains(left, want) {
			t.Errorf("no %q in\n%s", want, left)
		}
	}
	if p := Prepare(director(), []Test{ARP}, Options{Interfaces: []string{"eth1"}, VIPs: []netip.Addr{ip("203.0.113.77")}}); p.Empty() || p.arp[0].wire.name != "eth1" || p.arp[0].holds {
		t.Errorf("with a VIP of nowhere and one interface the plan is %+v", p.arp)
	}
}

func TestParse(t *testing.T) {
	if got, err := Parse([]string{"arp,dsr", "arp"}); err != nil || len(got) != 2 {
		t.Errorf("arp,dsr and arp: %v %v", got, err)
	}
	if _, err := Parse([]string{"ping"}); err == nil || !strings.Contains(err.Error(), "arp") {
		t.Errorf("ping: %v, want what there is", err)
	}
}

// A SYN is answered by what names its own sequence number, and by nothing else.
func TestAnswersAreToldApart(t *testing.T) {
	src, dst := netip.MustParseAddrPort("192.0.2.2:40000"), netip.MustParseAddrPort("192.0.2.8:80")
	fresh := func() *try {
		return &try{target: &dsrTarget{}, to: dst, from: src, isn: 1000, sent: 1, mac: theirs}
	}
	s := &socket{fd: -1}
	for _, c := range []struct {
		name string
		p    capture.Packet
		want lvs.DSRResult
	}{
		{"SYN-ACK", capture.Packet{Kind: capture.TCP, Src: dst.Addr(), SrcPort: 80, Dst: src.Addr(), DstPort: 40000, Flags: capture.SYN | capture.ACK, Ack: 1001}, lvs.DSRAccepts},
		{"SYN-ACK for another SYN", capture.Packet{Kind: capture.TCP, Src: dst.Addr(), SrcPort: 80, Dst: src.Addr(), DstPort: 40000, Flags: capture.SYN | capture.ACK, Ack: 77}, ""},
		{"RST", capture.Packet{Kind: capture.TCP, Src: dst.Addr(), SrcPort: 80, Dst: src.Addr(), DstPort: 40000, Flags: capture.RST | capture.ACK, Ack: 1001}, lvs.DSRRefuses},
		{"our SYN again", capture.Packet{Kind: capture.TCP, Src: src.Addr(), SrcPort: 40000, Dst: dst.Addr(), DstPort: 80, Flags: capture.SYN, Seq: 1000, TTL: 63}, lvs.DSRForwards},
		{"admin prohibited", icmp(src, dst, 3, 13), lvs.DSRProhibits},
		{"redirect", icmp(src, dst, 5, 1), lvs.DSRForwards},
		{"from the RIP", capture.Packet{Kind: capture.TCP, Src: ip("192.0.2.11"), SrcPort: 80, Dst: src.Addr(), DstPort: 40000, Flags: capture.SYN | capture.ACK, Ack: 1001}, ""},
	} {
		x := fresh()
		c.p.Time = 1
		x.hear(s, &c.p)
		if x.result != c.want {
			t.Errorf("%s: %q, want %q", c.name, x.result, c.want)
		}
	}
}

func icmp(src, dst netip.AddrPort, typ, code uint8) capture.Packet {
	return capture.Packet{Kind: capture.ICMP, Proto: 1, Src: ip("192.0.2.11"), Dst: src.Addr(), Quote: capture.Quote{Type: typ, Code: code, Valid: true, Proto: 6,
		Src: src.Addr(), SrcPort: src.Port(), Dst: dst.Addr(), DstPort: dst.Port(), Seq: 1000}}
}
