package capture

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"lvstui/lvs"
)

var (
	client6 = netip.MustParseAddrPort("[2001:db8:88::10]:49672")
	vip6    = netip.MustParseAddrPort("[2001:db8:16::8]:80")
)

// six turns the article's packets into IPv6. IPv6 has no identification: retransmissions look alike.
func six(list []Packet) []Packet {
	list = slices.Clone(list)
	for i := range list {
		p := &list[i]
		p.HasIPID, p.IPID = false, 0
		p.Src, p.Dst = client6.Addr(), vip6.Addr()
		if p.SrcPort == articleVirtual.Port() {
			p.Src, p.Dst = vip6.Addr(), client6.Addr()
		}
	}
	return list
}

// TestSix: over IPv6 every vantage sees what it sees over IPv4.
func TestSix(t *testing.T) {
	for v := range seenBy {
		for name, packets := range map[string][]Packet{"healthy": articlePackets(), "SYN alone": synOnly(), "unanswered": unanswered()} {
			four, f := oneFlow(t, Config{Vantage: v}, seen(v, packets)), oneFlow(t, Config{Vantage: v}, six(seen(v, packets)))
			if f.Client != client6 || f.Virtual != vip6 || f.Outcome != four.Outcome || f.Reached != four.Reached || f.StalledAt != four.StalledAt ||
				f.Packets != four.Packets || f.SynRetransmits != four.SynRetransmits || f.SynAckRetransmits != four.SynAckRetransmits {
				t.Errorf("%s, %s: %+v\nover IPv4: %+v", v, name, f, four)
			}
		}
	}
}

// TestTunnel: a director that forwards by ipip sends the SYN out in a packet of its own; the flow is the inner one.
func TestTunnel(t *testing.T) {
	packets := seen(lvs.RoleDirector, articlePackets()[:4])
	for i := range packets {
		if packets[i].Dir == Out {
			packets[i].Tunnel, packets[i].OuterDst = true, netip.MustParseAddr("192.168.20.11")
		}
	}
	f := oneFlow(t, Config{}, packets)
	if f.Forward != string(lvs.IPIP) || f.Vantage != lvs.RoleDirector || f.Outcome != Established || f.Virtual != articleVirtual {
		t.Errorf("%+v", f)
	}
	for i := range packets { // and as the real server gets it
		packets[i].Dir, packets[i].TTL = In, 62
	}
	packets = slices.DeleteFunc(packets, func(p Packet) bool { return !p.Tunnel })
	answer := at(rsOut, toClient, time.Millisecond, SYN|ACK, 0)
	f = oneFlow(t, Config{}, append([]Packet{packets[0], answer}, packets[1:]...))
	if f.Forward != string(lvs.IPIP) || f.Vantage != lvs.RoleRealServer || f.Outcome != Established {
		t.Errorf("%+v", f)
	}
}

func neighbour(typ uint8, src, target netip.Addr, mac MAC) gopacket.SerializableLayer {
	opt := layers.ICMPv6Options{}
	if mac != (MAC{}) {
		kind := layers.ICMPv6OptSourceAddress
		if typ == ndAdvertise {
			kind = layers.ICMPv6OptTargetAddress
		}
		opt = append(opt, layers.ICMPv6Option{Type: layers.ICMPv6OptMTU, Data: make([]byte, 6)}, layers.ICMPv6Option{Type: kind, Data: mac[:]})
	}
	if typ == ndAdvertise {
		return &layers.ICMPv6NeighborAdvertisement{TargetAddress: target.AsSlice(), Options: opt}
	}
	return &layers.ICMPv6NeighborSolicitation{TargetAddress: target.AsSlice(), Options: opt}
}

// TestNeighbourDiscovery: who asks for the VIP, who answers, and who gives it away as a source.
func TestNeighbourDiscovery(t *testing.T) {
	gateway := netip.MustParseAddr("2001:db8:16::1")
	decode := func(typ uint8, frameMAC MAC, src, target netip.Addr, mac MAC) Packet {
		eth := ethernet(layers.EthernetTypeIPv6)
		eth.SrcMAC = hw(frameMAC)
		ip := &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6, SrcIP: src.AsSlice(), DstIP: net.ParseIP("ff02::1")}
		icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(typ, 0)}
		b := build(t, eth, ip, icmp, neighbour(typ, src, target, mac))
		var p Packet
		if err := Decode(b, LinkEthernet, &p); err != nil {
			t.Fatal(err)
		}
		for n := 54; n < len(b); n++ { // cut anywhere: no panic
			var q Packet
			Decode(b[:n], LinkEthernet, &q)
		}
		p.Dir = In
		return p
	}
	tr := NewTracker(Config{Virtuals: []netip.Addr{vip6.Addr()}})
	feed(tr, []Packet{
		decode(ndSolicit, routerMAC, gateway, vip6.Addr(), routerMAC),
		decode(ndAdvertise, directorMAC, vip6.Addr(), vip6.Addr(), directorMAC),
		decode(ndAdvertise, serverMAC, vip6.Addr(), vip6.Addr(), MAC{}), // without the option the frame tells
		decode(ndSolicit, serverMAC, vip6.Addr(), gateway, serverMAC),
		decode(ndSolicit, clientMAC, netip.IPv6Unspecified(), vip6.Addr(), MAC{}), // duplicate address detection
	})
	list := tr.ARP()
	if len(list) != 1 {
		t.Fatalf("%+v", list)
	}
	s := list[0]
	if got := s.Answerers(); !slices.Equal(got, []MAC{directorMAC, serverMAC}) {
		t.Errorf("answered by %v", got)
	}
	if len(s.Asked) != 2 || s.Asked[0].MAC != routerMAC || s.Asked[0].IP != gateway || len(s.Claimed) != 1 || s.Claimed[0].MAC != serverMAC {
		t.Errorf("%+v", s)
	}
	feed(tr, six(seen(lvs.RoleDirector, synOnly())))
	if f := tr.Flows()[0]; f.Suspects[0] != "rs-answers-arp" {
		t.Errorf("two answer for the VIP: suspects %v", f.Suspects)
	}
}

// TestAnsweredFromElsewhere: with masq the real server answers from its own address, which the client never asked.
func TestAnsweredFromElsewhere(t *testing.T) {
	rip := netip.MustParseAddrPort("192.168.10.11:80")
	answer := at(cliIn, toClient, time.Millisecond, SYN|ACK, 0)
	answer.Src = rip.Addr()
	for _, cfg := range []Config{{Vantage: lvs.RoleClient}, {Vantage: lvs.RoleClient, Virtuals: []netip.Addr{articleVirtual.Addr()}}} {
		tr := NewTracker(cfg)
		feed(tr, []Packet{at(cliOut, toVirtual, 0, SYN, 0), answer})
		tr.Advance(tr.Now().Add(5 * time.Second))
		f := tr.Flows()[0]
		if f.AnsweredFrom != rip || f.Outcome != Stalled || f.Suspects[0] != "forward-method-not-dr" {
			t.Errorf("%+v", f)
		}
	}
	other := answer
	other.Ack++ // answers another SYN
	tr := NewTracker(Config{Vantage: lvs.RoleClient})
	feed(tr, []Packet{at(cliOut, toVirtual, 0, SYN, 0), other})
	if f := tr.Flows()[0]; f.AnsweredFrom.IsValid() {
		t.Errorf("unrelated: %+v", f)
	}
	// On the director the same SYN leaves with another destination.
	rewritten := at(dirOut, toVirtual, 1, SYN, 0)
	rewritten.Dst = rip.Addr()
	tr = NewTracker(Config{Vantage: lvs.RoleDirector, Virtuals: []netip.Addr{articleVirtual.Addr()}})
	feed(tr, []Packet{at(dirIn, toVirtual, 0, SYN, 0), rewritten})
	tr.Advance(tr.Now().Add(5 * time.Second))
	if f := tr.Flows()[0]; f.Suspects[0] != "forward-method-not-dr" || tr.Len() != 1 {
		t.Errorf("%+v", f)
	}
}

// TestOpeningsAreForgotten: a flow that made room for another is not found by its SYN, and its clues go with it.
func TestOpeningsAreForgotten(t *testing.T) {
	tr := NewTracker(Config{MaxFlows: 10})
	for i := range 1000 {
		p := articlePackets()[0]
		p.SrcPort, p.Seq, p.Time = uint16(2000+i), uint32(i), p.Time+int64(i)
		tr.Add(&p)
		if got := tr.openedBy(p.Src, p.SrcPort, p.Seq); got < 0 {
			t.Fatalf("flow %d is not found by its SYN", i)
		}
		answer := articlePackets()[1]
		answer.Src = netip.MustParseAddr("192.168.10.11")
		answer.DstPort, answer.Ack = p.SrcPort, p.Seq+1
		ends := tr.index.lookup(protoTCP, answer.Src, answer.Dst, answer.SrcPort, answer.DstPort)
		tr.relate(&answer, &ends)
		if i >= 10 && tr.openedBy(p.Src, p.SrcPort-10, p.Seq-10) >= 0 {
			t.Fatalf("flow %d is found although it was evicted", i-10)
		}
	}
	if len(tr.answers) != 10 || tr.Len() != 10 {
		t.Errorf("%d answers of %d flows", len(tr.answers), tr.Len())
	}
	for _, f := range tr.Flows() {
		if f.AnsweredFrom != netip.MustParseAddrPort("192.168.10.11:80") {
			t.Errorf("%+v", f)
		}
	}
}
