package capture

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// build serializes layers with gopacket, which shares no code with our decoder.
func build(t testing.TB, list ...gopacket.SerializableLayer) []byte {
	t.Helper()
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true}, list...); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func hw(m MAC) net.HardwareAddr { return net.HardwareAddr(m[:]) }

func ethernet(t layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: hw(clientMAC), DstMAC: hw(routerMAC), EthernetType: t}
}

func ipv4(proto layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, TTL: 63, Id: 4711, Protocol: proto, Flags: layers.IPv4DontFragment,
		SrcIP: articleClient.Addr().AsSlice(), DstIP: articleVirtual.Addr().AsSlice()}
}

func tcp() *layers.TCP {
	return &layers.TCP{SrcPort: 49672, DstPort: 80, Seq: 448411585, Ack: 7, SYN: true, PSH: true, Window: 29200,
		Options: []layers.TCPOption{{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{5, 0xb4}}}}
}

func TestDecodeTCP(t *testing.T) {
	payload := gopacket.Payload("hello")
	tag := &layers.Dot1Q{VLANIdentifier: 10, Priority: 3, Type: layers.EthernetTypeIPv4}
	outer := &layers.Dot1Q{VLANIdentifier: 99, Type: layers.EthernetTypeDot1Q}
	tunnel := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolIPv4, SrcIP: net.IP{192, 168, 10, 2}, DstIP: net.IP{192, 168, 10, 11}}
	options := ipv4(layers.IPProtocolTCP)
	options.Options = []layers.IPv4Option{{OptionType: 1}, {OptionType: 1}, {OptionType: 1}, {OptionType: 1}}
	for name, c := range map[string]struct {
		frame []byte
		vlan  uint16
	}{
		"plain":   {build(t, ethernet(layers.EthernetTypeIPv4), ipv4(layers.IPProtocolTCP), tcp(), payload), 0},
		"VLAN":    {build(t, ethernet(layers.EthernetTypeDot1Q), tag, ipv4(layers.IPProtocolTCP), tcp(), payload), 10},
		"QinQ":    {build(t, ethernet(layers.EthernetTypeQinQ), outer, tag, ipv4(layers.IPProtocolTCP), tcp(), payload), 10},
		"options": {build(t, ethernet(layers.EthernetTypeIPv4), options, tcp(), payload), 0},
		"IPIP":    {build(t, ethernet(layers.EthernetTypeIPv4), tunnel, ipv4(layers.IPProtocolTCP), tcp(), payload), 0},
	} {
		for _, cutAt := range []int{len(c.frame), len(c.frame) - 3} { // the payload may be cut, its length is known
			p := Packet{Time: 42, Interface: 7, Dir: Out, Seq: 1, Tunnel: true}
			if err := Decode(c.frame[:cutAt], LinkEthernet, &p); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if p.Kind != TCP || p.Src != articleClient.Addr() || p.Dst != articleVirtual.Addr() || p.SrcPort != 49672 || p.DstPort != 80 ||
				p.Seq != 448411585 || p.Ack != 7 || p.Flags != SYN|PSH || p.Window != 29200 || p.PayloadLen != 5 || p.TTL != 63 ||
				p.IPID != 4711 || !p.HasIPID || p.SrcMAC != clientMAC || p.DstMAC != routerMAC || !p.HasMAC || p.VLAN != c.vlan ||
				p.Time != 42 || p.Interface != 7 || p.Dir != Out || p.WireLen != int32(cutAt) || p.Tunnel != (name == "IPIP") {
				t.Errorf("%s: %+v", name, p)
			}
		}
		for n := range len(c.frame) - 5 - 4 { // the TCP options may be missing
			var p Packet
			if err := Decode(c.frame[:n], LinkEthernet, &p); !errors.Is(err, ErrTruncated) {
				t.Fatalf("%s cut to %d bytes: %v", name, n, err)
			}
		}
	}
}

func TestDecodeIPv6(t *testing.T) {
	ip := &layers.IPv6{Version: 6, HopLimit: 61, NextHeader: layers.IPProtocolIPv6HopByHop, SrcIP: net.ParseIP("2001:db8::1"), DstIP: net.ParseIP("2001:db8::8")}
	hop := gopacket.Payload{6, 0, 1, 4, 0, 0, 0, 0}
	inner := build(t, tcp(), gopacket.Payload("hello"))
	frame := build(t, ethernet(layers.EthernetTypeIPv6), ip, hop, gopacket.Payload(inner))
	var p Packet
	if err := Decode(frame, LinkEthernet, &p); err != nil {
		t.Fatal(err)
	}
	if p.Kind != TCP || p.Src != netip.MustParseAddr("2001:db8::1") || p.Dst != netip.MustParseAddr("2001:db8::8") || p.TTL != 61 ||
		p.DstPort != 80 || p.PayloadLen != 5 || p.HasIPID {
		t.Errorf("%+v", p)
	}
}

func TestDecodeARP(t *testing.T) {
	frame := build(t, ethernet(layers.EthernetTypeARP), &layers.ARP{AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4,
		HwAddressSize: 6, ProtAddressSize: 4, Operation: 2, SourceHwAddress: directorMAC[:], SourceProtAddress: []byte{172, 16, 0, 8},
		DstHwAddress: routerMAC[:], DstProtAddress: []byte{172, 16, 0, 1}})
	var p Packet
	if err := Decode(frame, LinkEthernet, &p); err != nil {
		t.Fatal(err)
	}
	if p.Kind != ARP || p.ARP != (ARPFields{2, false, directorMAC, routerMAC}) || p.Src != articleVirtual.Addr() || p.Dst != netip.MustParseAddr("172.16.0.1") {
		t.Errorf("%+v", p)
	}
}

func TestDecodeICMP(t *testing.T) {
	quoted := build(t, ipv4(layers.IPProtocolTCP), tcp())
	back := ipv4(layers.IPProtocolICMPv4)
	back.SrcIP, back.DstIP = articleVirtual.Addr().AsSlice(), articleClient.Addr().AsSlice()
	for _, n := range []int{len(quoted), 28} { // RFC 792 asks for eight bytes behind the IP header
		frame := build(t, ethernet(layers.EthernetTypeIPv4), back,
			&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(3, 3)}, gopacket.Payload(quoted[:n]))
		var p Packet
		if err := Decode(frame, LinkEthernet, &p); err != nil {
			t.Fatal(err)
		}
		want := Quote{Type: 3, Code: 3, Valid: true, Proto: protoTCP, Src: articleClient.Addr(), Dst: articleVirtual.Addr(), SrcPort: 49672, DstPort: 80, Seq: 448411585}
		if p.Kind != ICMP || p.Quote != want || p.Src != articleVirtual.Addr() {
			t.Errorf("%+v", p)
		}
	}
	frame := build(t, ethernet(layers.EthernetTypeIPv4), back, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(3, 3)}, gopacket.Payload(quoted[:27]))
	var p Packet
	if err := Decode(frame, LinkEthernet, &p); err != nil || p.Kind != ICMP || p.Quote.Valid {
		t.Errorf("a quote that is too short: %v %+v", err, p)
	}
}

func TestDecodeOddFrames(t *testing.T) {
	fragment := ipv4(layers.IPProtocolTCP)
	fragment.FragOffset = 100
	cooked := append([]byte{0, 4, 0, 1, 0, 6, 0, 0x0c, 0x29, 0x6d, 0x1a, 0x7d, 0, 0, 8, 0}, build(t, ipv4(layers.IPProtocolTCP), tcp())...)
	cooked2 := append([]byte{8, 0, 0, 0, 0, 0, 0, 3, 0, 1, 0, 6, 0, 0x0c, 0x29, 0x6d, 0x1a, 0x7d, 0, 0}, build(t, ipv4(layers.IPProtocolTCP), tcp())...)
	var p Packet
	if err := Decode(build(t, ethernet(layers.EthernetTypeIPv4), fragment, gopacket.Payload("abcdefghijklmnopqrstuvwxyz")), LinkEthernet, &p); err != nil || !p.Fragment || p.Kind != Other {
		t.Errorf("later fragment: %v %+v", err, p)
	}
	p = Packet{}
	if err := Decode(cooked, LinkLinuxSLL, &p); err != nil || p.Dir != Out || p.SrcMAC != clientMAC || p.HasMAC || p.DstPort != 80 {
		t.Errorf("cooked: %v %+v", err, p)
	}
	p = Packet{}
	if err := Decode(cooked2, LinkLinuxSLL2, &p); err != nil || p.Dir != In || p.Interface != 3 || p.DstPort != 80 {
		t.Errorf("cooked, version 2: %v %+v", err, p)
	}
	p = Packet{}
	if err := Decode(build(t, ipv4(layers.IPProtocolUDP), &layers.UDP{SrcPort: 5, DstPort: 53}, gopacket.Payload("abc")), LinkRaw, &p); err != nil || p.Kind != UDP || p.DstPort != 53 || p.PayloadLen != 3 {
		t.Errorf("raw IP, UDP: %v %+v", err, p)
	}
	if err := Decode(cooked, 200, &p); !errors.Is(err, ErrLinkType) {
		t.Errorf("unknown link type: %v", err)
	}
}

func TestDecodeAllocatesNothing(t *testing.T) {
	frame := synFrame()
	var p Packet
	if n := testing.AllocsPerRun(100, func() { _ = Decode(frame, LinkEthernet, &p) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	tr := NewTracker(Config{})
	feed(tr, articlePackets()[:3])
	ack := articlePackets()[6]
	if n := testing.AllocsPerRun(1000, func() { ack.Time++; ack.IPID++; tr.Add(&ack) }); n != 0 {
		t.Errorf("Add: %v allocations", n)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(synFrame(), uint16(LinkEthernet))
	f.Add(build(f, ethernet(layers.EthernetTypeDot1Q), &layers.Dot1Q{VLANIdentifier: 10, Type: layers.EthernetTypeIPv4}, ipv4(layers.IPProtocolTCP), tcp()), uint16(LinkEthernet))
	f.Add(build(f, ipv4(layers.IPProtocolICMPv4), &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(3, 3)}, gopacket.Payload(build(f, ipv4(layers.IPProtocolTCP), tcp()))), uint16(LinkRaw))
	f.Add([]byte{0x60, 0, 0, 0, 0, 8, 0, 64, 31: 1, 47: 1}, uint16(LinkIPv6))
	f.Add([]byte{0, 4, 0, 1, 0, 6, 15: 0}, uint16(LinkLinuxSLL))
	f.Fuzz(func(t *testing.T, frame []byte, link uint16) {
		var p Packet
		err := Decode(frame, LinkType(link), &p)
		if err == nil && p.Kind == TCP && (!p.Src.IsValid() || !p.Dst.IsValid() || p.PayloadLen < 0) {
			t.Errorf("%+v", p)
		}
		tr := NewTracker(Config{MaxFlows: 2})
		tr.Add(&p)
		tr.Flows()
	})
}

// TestChecksumsAreLeftAlone: what a host sends has the checksum that the card will put in, and may be larger than the MTU.
func TestChecksumsAreLeftAlone(t *testing.T) {
	good := build(t, ethernet(layers.EthernetTypeIPv4), ipv4(layers.IPProtocolTCP), tcp(), gopacket.Payload(make([]byte, 9000)))
	bad := slices.Clone(good)
	bad[14+10] ^= 0xff    // of the IP header
	bad[14+20+16] ^= 0xff // of the TCP header
	var a, b Packet
	if err := Decode(good, LinkEthernet, &a); err != nil {
		t.Fatal(err)
	}
	if err := Decode(bad, LinkEthernet, &b); err != nil || a != b || b.PayloadLen != 9000 {
		t.Errorf("%v %+v", err, b)
	}
}
