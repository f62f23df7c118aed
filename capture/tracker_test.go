package capture

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"lvstui/lvs"
)

// at makes a packet of the article's connection at a hop, d after the SYN.
func at(h hop, way int, d time.Duration, flags TCPFlags, payload int32) Packet {
	p := articlePackets()[0]
	if way == toClient {
		p = articlePackets()[1]
	}
	const isn, irs = 448411585, 3569473399
	switch {
	case flags.Has(RST) && way == toClient:
		p.Seq, p.Ack = 0, isn+1
	case !flags.Has(SYN) && way == toClient:
		p.Seq, p.Ack = irs+1, isn+1
	case !flags.Has(SYN):
		p.Seq, p.Ack = isn+1, irs+1
	}
	p.Time = articlePackets()[0].Time + int64(d)
	p.Flags, p.PayloadLen = flags, payload
	p.HasIPID, p.IPID = true, uint16(d/time.Microsecond)
	p.Dir, p.Interface, p.SrcMAC, p.DstMAC, p.TTL = h.dir, h.ifindex, h.src, h.dst, h.ttl
	return p
}

// icmpAbout makes the ICMP error that a host sends about the article's SYN.
func icmpAbout(dir Direction, from string, d time.Duration, typ, code uint8) Packet {
	return Packet{Time: articlePackets()[0].Time + int64(d), Kind: ICMP, Proto: protoICMP, Dir: dir, TTL: 64,
		Src: netip.MustParseAddr(from), Dst: articleClient.Addr(), SrcMAC: directorMAC, DstMAC: routerMAC, HasMAC: true,
		Quote: Quote{Type: typ, Code: code, Valid: true, Proto: protoTCP, Src: articleClient.Addr(), Dst: articleVirtual.Addr(),
			SrcPort: articleClient.Port(), DstPort: articleVirtual.Port(), Seq: 448411585}}
}

var (
	dirIn   = seenBy[lvs.RoleDirector][toVirtual][0]
	dirOut  = seenBy[lvs.RoleDirector][toVirtual][1]
	dirBack = hop{Out, 2, directorMAC, routerMAC, 64}
	rsIn    = seenBy[lvs.RoleRealServer][toVirtual][0]
	rsOut   = seenBy[lvs.RoleRealServer][toClient][0]
	cliOut  = seenBy[lvs.RoleClient][toVirtual][0]
	cliIn   = seenBy[lvs.RoleClient][toClient][0]
)

// TestDecoder goes through the handshake-stage decoder: what is seen, and what it must lead to.
func TestDecoder(t *testing.T) {
	const ms = time.Millisecond
	syn := func(h hop) Packet { return at(h, toVirtual, 0, SYN, 0) }
	loop := []Packet{syn(dirIn), at(dirOut, toVirtual, 1, SYN, 0)}
	for i := range uint8(5) {
		in, out := loop[0], loop[1]
		in.Time, out.Time = in.Time+int64(i+1)*int64(ms), out.Time+int64(i+1)*int64(ms)
		in.TTL, out.TTL = in.TTL-2*(i+1), out.TTL-2*(i+1)
		loop = append(loop, in, out)
	}
	gateway := dirOut
	gateway.dst = routerMAC
	toDirector := rsOut
	toDirector.dst = directorMAC
	cases := []struct {
		name               string
		vantage            lvs.Vantage
		packets            []Packet
		wait               time.Duration
		outcome            Outcome
		reached, stalledAt lvs.Stage
		suspect            string
	}{
		{"director answers with RST", lvs.RoleDirector, []Packet{syn(dirIn), at(dirBack, toClient, ms, RST|ACK, 0)}, 0,
			Refused, lvs.SynAtDirector, lvs.SynScheduled, "service-not-in-ipvs"},
		{"director answers port unreachable", lvs.RoleDirector, []Packet{syn(dirIn), icmpAbout(Out, "172.16.0.8", ms, 3, 3)}, 0,
			Refused, lvs.SynAtDirector, lvs.SynScheduled, "no-available-dest"},
		{"director answers prohibited", lvs.RoleDirector, []Packet{syn(dirIn), icmpAbout(Out, "172.16.0.8", ms, 3, 13)}, 0,
			Refused, lvs.SynAtDirector, lvs.SynScheduled, "director-input-firewall"},
		{"director finds no neighbour", lvs.RoleDirector, []Packet{syn(dirIn), icmpAbout(Out, "192.168.10.2", 3000*ms, 3, 1)}, 0,
			Refused, lvs.SynAtDirector, lvs.SynForwarded, "rs-neigh-failed"},
		{"director is silent", lvs.RoleDirector, []Packet{syn(dirIn), at(dirIn, toVirtual, 1000*ms, SYN, 0)}, 0,
			Stalled, lvs.SynAtDirector, lvs.SynForwarded, "director-input-firewall"},
		{"SYN loops", lvs.RoleDirector, loop, 4 * time.Second, Stalled, lvs.SynForwarded, lvs.AckAtDirector, "director-loop"},
		{"SYN goes to the gateway", lvs.RoleDirector, []Packet{syn(dirIn), at(gateway, toVirtual, 1, SYN, 0)}, 4 * time.Second,
			Stalled, lvs.SynForwarded, lvs.AckAtDirector, "rs-not-on-link"},
		{"SYN-ACK comes in at the director", lvs.RoleDirector, []Packet{syn(dirIn), at(dirOut, toVirtual, 1, SYN, 0),
			at(hop{In, 2, serverMAC, directorMAC, 64}, toClient, ms, SYN|ACK, 0)}, 4 * time.Second,
			Stalled, lvs.SynAckSent, lvs.AckAtDirector, "rs-gateway-is-director"},
		{"ACK is not forwarded", lvs.RoleDirector, []Packet{syn(dirIn), at(dirOut, toVirtual, 1, SYN, 0), at(dirIn, toVirtual, 4*ms, ACK, 0)}, 4 * time.Second,
			Stalled, lvs.AckAtDirector, lvs.Established, "director-conntrack-invalid"},
		{"real server answers with RST", lvs.RoleRealServer, []Packet{syn(rsIn), at(rsOut, toClient, ms, RST|ACK, 0)}, 0,
			Refused, lvs.SynAtRealServer, lvs.SynAccepted, "service-not-listening-on-vip"},
		{"real server is silent", lvs.RoleRealServer, []Packet{syn(rsIn)}, 4 * time.Second,
			Stalled, lvs.SynAtRealServer, lvs.SynAckSent, "vip-missing-on-rs"},
		{"real server sends it on", lvs.RoleRealServer, []Packet{syn(rsIn), at(hop{Out, 2, serverMAC, routerMAC, 61}, toVirtual, 1, SYN, 0)}, 4 * time.Second,
			Stalled, lvs.SynAtRealServer, lvs.SynAckSent, "rs-forwards-back"},
		{"SYN-ACK goes to whom the SYN came from", lvs.RoleRealServer, []Packet{syn(rsIn), at(toDirector, toClient, ms, SYN|ACK, 0),
			at(toDirector, toClient, 1000*ms, SYN|ACK, 0)}, 0, Stalled, lvs.SynAckSent, lvs.SynAckAtClient, "rs-gateway-is-director"},
		{"client is refused", lvs.RoleClient, []Packet{syn(cliOut), at(cliIn, toClient, ms, RST|ACK, 0)}, 0,
			Refused, lvs.SynSent, lvs.SynAckAtClient, "service-not-in-ipvs"},
		{"client gets port unreachable", lvs.RoleClient, []Packet{syn(cliOut), icmpAbout(In, "172.16.0.8", ms, 3, 3)}, 0,
			Refused, lvs.SynSent, lvs.SynAckAtClient, "no-available-dest"},
		{"client gets host unreachable", lvs.RoleClient, []Packet{syn(cliOut), icmpAbout(In, "192.168.10.2", ms, 3, 1)}, 0,
			Refused, lvs.SynSent, lvs.SynAckAtClient, "rs-neigh-failed"},
		{"client gets time exceeded", lvs.RoleClient, []Packet{syn(cliOut), icmpAbout(In, "192.168.10.1", ms, 11, 0)}, 0,
			Refused, lvs.SynSent, lvs.SynAckAtClient, "rs-not-on-link"},
		{"client connects and nobody hears it", lvs.RoleClient, []Packet{syn(cliOut), at(cliIn, toClient, ms, SYN|ACK, 0), at(cliOut, toVirtual, 2*ms, ACK, 0),
			at(cliOut, toVirtual, 3*ms, ACK|PSH, 74), at(cliOut, toVirtual, 300*ms, ACK|PSH, 74)}, 0,
			Stalled, lvs.SynAckAtClient, lvs.Established, "director-conntrack-invalid"},
		{"router drops the SYN", lvs.RoleRouter, []Packet{at(seenBy[lvs.RoleRouter][toVirtual][0], toVirtual, 0, SYN, 0)}, 4 * time.Second,
			Stalled, lvs.SynSent, lvs.VIPResolved, "no-route-to-vip-on-router"},
		{"fragmentation needed refuses nothing", lvs.RoleClient, []Packet{syn(cliOut), icmpAbout(In, "192.168.10.1", ms, 3, 4)}, 0,
			Pending, lvs.SynSent, "", ""},
		{"SYN-ACK on lo", lvs.RoleRealServer, []Packet{syn(rsIn), at(hop{Out, 1, MAC{}, MAC{}, 64}, toClient, ms, SYN|ACK, 0)}, 4 * time.Second,
			Stalled, lvs.SynAckSent, lvs.SynAckAtClient, "vip-prefix-on-lo"},
		{"RST after the handshake", lvs.RoleClient, []Packet{syn(cliOut), at(cliIn, toClient, ms, SYN|ACK, 0), at(cliOut, toVirtual, 2*ms, ACK, 0),
			at(cliIn, toClient, 3*ms, RST, 0)}, 0, Reset, lvs.SynAckAtClient, "", ""},
	}
	for _, c := range cases {
		tr := NewTracker(Config{Vantage: c.vantage, Interfaces: map[int32]string{1: "lo", 2: "eth0"}})
		feed(tr, c.packets)
		tr.Advance(tr.Now().Add(c.wait))
		flows := tr.Flows()
		if len(flows) != 1 {
			t.Errorf("%s: %d flows", c.name, len(flows))
			continue
		}
		f := flows[0]
		if f.Outcome != c.outcome || f.Reached != c.reached || f.StalledAt != c.stalledAt {
			t.Errorf("%s: %s, reached %s, stalled at %q; want %s, %s, %q", c.name, f.Outcome, f.Reached, f.StalledAt, c.outcome, c.reached, c.stalledAt)
		}
		if c.suspect == "" && len(f.Suspects) > 0 || c.suspect != "" && (len(f.Suspects) == 0 || f.Suspects[0] != c.suspect) {
			t.Errorf("%s: suspects %v, want first %q", c.name, f.Suspects, c.suspect)
		}
		if c.outcome == Refused && f.RST == nil && f.ICMP == nil {
			t.Errorf("%s: refused by nobody", c.name)
		}
	}
}

// TestLocalDestination: the director serves the connection itself.
func TestLocalDestination(t *testing.T) {
	var packets []Packet
	for i, p := range articlePackets() {
		h := dirIn
		if wayOf(&p) == toClient {
			h = dirBack
		}
		p.Dir, p.Interface, p.SrcMAC, p.DstMAC, p.TTL, p.HasIPID, p.IPID = h.dir, h.ifindex, h.src, h.dst, h.ttl, true, uint16(i)
		packets = append(packets, p)
	}
	f := oneFlow(t, Config{Vantage: lvs.RoleDirector}, packets)
	if f.Outcome != Closed || f.Reached != lvs.Established || f.StalledAt != "" {
		t.Errorf("%+v", f)
	}
}

func TestPortReuse(t *testing.T) {
	again := articlePackets()
	for i := range again {
		p := &again[i]
		p.Time += int64(20 * time.Second)
		if wayOf(p) == toVirtual {
			p.Seq += 77777
		} else {
			p.Ack += 77777
		}
	}
	tr := NewTracker(Config{})
	feed(tr, articlePackets())
	feed(tr, again)
	flows := tr.Flows()
	if len(flows) != 2 || flows[0].ID >= flows[1].ID || flows[0].Client != flows[1].Client || flows[0].ISN == flows[1].ISN {
		t.Fatalf("%+v", flows)
	}
	for _, f := range flows {
		if f.Outcome != Closed || f.Packets != 10 || f.BytesToClient != 274 {
			t.Errorf("%+v", f)
		}
	}
	f, ok := tr.Flow(Key{Client: articleClient, Virtual: articleVirtual, Protocol: lvs.TCP})
	if !ok || f.ID != flows[1].ID || len(f.Events) != 10 {
		t.Errorf("by its ends the latest flow is to be found: %v %+v", ok, f)
	}
	straggler := articlePackets()[0] // of the first flow
	tr.Add(&straggler)
	if n := len(tr.Flows()); n != 2 {
		t.Errorf("a straggler made %d flows", n)
	}
}

func TestMidStream(t *testing.T) {
	f := oneFlow(t, Config{}, seen(lvs.RoleClient, articlePackets()[3:]))
	if !f.MidStream || f.Outcome != Closed || f.Client != articleClient || f.Reached != lvs.Established || f.BytesToClient != 274 {
		t.Errorf("%+v", f)
	}
	tr := NewTracker(Config{})
	rst := at(cliIn, toClient, 0, RST, 0)
	tr.Add(&rst)
	if n := tr.Len(); n != 0 {
		t.Errorf("a lone RST made %d flows", n)
	}
}

func TestOnlyVirtuals(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want int
	}{
		{Config{Virtuals: []netip.Addr{articleVirtual.Addr()}}, 1},
		{Config{Virtuals: []netip.Addr{articleVirtual.Addr()}, Ports: []uint16{443}}, 0},
		{Config{Virtuals: []netip.Addr{articleClient.Addr()}}, 0},
		{Config{Ports: []uint16{80}}, 1},
	} {
		tr := NewTracker(c.cfg)
		feed(tr, articlePackets())
		if n := tr.Len(); n != c.want {
			t.Errorf("%+v: %d flows, want %d", c.cfg, n, c.want)
		}
	}
}

// TestStackedDevices: a frame shows on eth0 and on the bond above it; it is one packet. IPv6 has no identification that would say so.
func TestStackedDevices(t *testing.T) {
	for v := range seenBy {
		for name, once := range map[string][]Packet{"IPv4": seen(v, articlePackets()), "IPv6": six(seen(v, articlePackets()))} {
			var packets []Packet
			for _, p := range once {
				q := p
				q.Interface, q.Time = 9, q.Time+1000
				packets = append(packets, p, q)
			}
			f, want := oneFlow(t, Config{}, packets), oneFlow(t, Config{}, once)
			if f.Packets != want.Packets || f.Frames != want.Frames || f.SynRetransmits+f.SynAckRetransmits+f.DataRetransmits != 0 || f.Vantage != want.Vantage {
				t.Errorf("%s, %s: %+v", v, name, f)
			}
		}
	}
}

func TestEviction(t *testing.T) {
	tr := NewTracker(Config{MaxFlows: 10})
	client := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 1024)
	}
	for i := range 5 {
		feed(tr, conversation(client(i))[:1]) // pending
		feed(tr, conversation(client(100+i)))
	}
	for i := range 5 {
		feed(tr, conversation(client(200+i)))
	}
	count := map[Outcome]int{}
	for _, f := range tr.Flows() {
		count[f.Outcome]++
	}
	if count[Pending] != 5 || count[Closed] != 5 {
		t.Errorf("finished flows go first: %v", count)
	}
	if s := tr.Stats(); s.Flows != 15 || s.Evicted != 5 || s.Packets != 105 {
		t.Errorf("%+v", s)
	}
	for i := range 1000 {
		c := client(i % 250)
		feed(tr, conversation(netip.AddrPortFrom(c.Addr(), uint16(2000+i)))[:1+i%10])
	}
	if tr.Len() != 10 || tr.index.used() > 10 || int(tr.pages.used)-len(tr.pages.free) > 20 {
		t.Errorf("%d flows, %d keys, %d pages in use", tr.Len(), tr.index.used(), int(tr.pages.used)-len(tr.pages.free))
	}
}

func TestEventsAreBounded(t *testing.T) {
	packets := seen(lvs.RoleClient, articlePackets())
	for i := range 100 {
		p := at(cliOut, toVirtual, time.Second+time.Duration(i)*time.Millisecond, ACK|PSH, 10)
		p.Seq += uint32(1000 + 10*i)
		packets = append(packets, p)
	}
	f := oneFlow(t, Config{}, packets)
	if len(f.Events) != 64 || f.EventsDropped != 46 || f.Packets != 110 {
		t.Errorf("%d events, %d dropped, %d packets", len(f.Events), f.EventsDropped, f.Packets)
	}
	if f := oneFlow(t, Config{MaxEvents: -1}, packets); len(f.Events) != 0 {
		t.Errorf("%d events though none are wanted", len(f.Events))
	}
	kinds := []EventKind{}
	for _, e := range oneFlow(t, Config{}, articlePackets()).Events {
		kinds = append(kinds, e.Kind)
	}
	if want := []EventKind{EventSYN, EventSYNACK, EventACK, EventDATA, EventACK, EventDATA, EventACK, EventFIN, EventFIN, EventACK}; !slices.Equal(kinds, want) {
		t.Errorf("events %v", kinds)
	}
}

func TestARP(t *testing.T) {
	arp := func(op uint16, mac MAC, sender, target string) Packet {
		return Packet{Time: 1, Kind: ARP, Dir: In, Interface: 2, Src: netip.MustParseAddr(sender), Dst: netip.MustParseAddr(target),
			ARP: ARPFields{Op: op, SenderMAC: mac}}
	}
	tr := NewTracker(Config{Virtuals: []netip.Addr{articleVirtual.Addr()}, Interfaces: map[int32]string{2: "eth0"}})
	feed(tr, []Packet{
		arp(1, routerMAC, "172.16.0.1", "172.16.0.8"),
		arp(1, routerMAC, "172.16.0.1", "172.16.0.8"),
		arp(2, directorMAC, "172.16.0.8", "172.16.0.1"),
		arp(2, serverMAC, "172.16.0.8", "172.16.0.1"),
		arp(1, serverMAC, "172.16.0.8", "192.168.10.1"), // poisons: who-has gateway tell VIP
		arp(1, directorMAC, "172.16.0.8", "172.16.0.8"), // gratuitous
		arp(2, routerMAC, "10.0.0.1", "10.0.0.2"),       // of no interest
	})
	list := tr.ARP()
	if len(list) != 1 {
		t.Fatalf("%+v", list)
	}
	s := list[0]
	if s.Address != articleVirtual.Addr() || len(s.Asked) != 1 || s.Asked[0].Count != 2 || s.Asked[0].MAC != routerMAC ||
		s.Asked[0].Interface != "eth0" || len(s.Claimed) != 1 || s.Claimed[0].MAC != serverMAC {
		t.Errorf("%+v", s)
	}
	if got := s.Answerers(); !reflect.DeepEqual(got, []MAC{directorMAC, serverMAC}) {
		t.Errorf("answered by %v", got)
	}
}

// TestTwoAnswerARP: whatever the stage, two answers for the VIP are the first suspect.
func TestTwoAnswerARP(t *testing.T) {
	tr := NewTracker(Config{})
	feed(tr, seen(lvs.RoleDirector, synOnly()))
	for _, mac := range []MAC{directorMAC, serverMAC} {
		tr.Add(&Packet{Kind: ARP, Src: articleVirtual.Addr(), Dst: netip.MustParseAddr("172.16.0.1"), ARP: ARPFields{Op: 2, SenderMAC: mac}})
	}
	if f := tr.Flows()[0]; f.Suspects[0] != "rs-answers-arp" {
		t.Errorf("suspects %v", f.Suspects)
	}
}

// TestPartial: with one of its two interfaces captured, a director's silence on the other proves nothing.
func TestPartial(t *testing.T) {
	onlyIn := func(list []Packet) []Packet {
		return slices.DeleteFunc(list, func(p Packet) bool { return p.Dir == Out })
	}
	stalled := onlyIn(seen(lvs.RoleDirector, synOnly()))
	if f := oneFlow(t, Config{Vantage: lvs.RoleDirector}, stalled); f.StalledAt != lvs.SynForwarded {
		t.Errorf("all interfaces: %+v", f)
	}
	if f := oneFlow(t, Config{Vantage: lvs.RoleDirector, Partial: true}, stalled); f.Outcome != Stalled || f.StalledAt != lvs.AckAtDirector ||
		f.Stage(lvs.SynForwarded).State != lvs.Unobservable && f.Stage(lvs.SynForwarded).State != lvs.Pending {
		t.Errorf("one interface: %+v", f)
	}
	healthy := onlyIn(seen(lvs.RoleDirector, articlePackets()[:7]))
	if f := oneFlow(t, Config{Vantage: lvs.RoleDirector, Partial: true}, healthy); f.Outcome != Established || f.Reached != lvs.Established {
		t.Errorf("one interface, healthy: %+v", f)
	}
	for i := range stalled { // a file of that interface, without directions
		stalled[i].Dir = Unknown
	}
	if f := oneFlow(t, Config{}, stalled); f.Vantage != lvs.RoleDirector || f.StalledAt != lvs.AckAtDirector {
		t.Errorf("a file of one interface: %+v", f)
	}
}

func TestSummary(t *testing.T) {
	tr := NewTracker(Config{Vantage: lvs.RoleDirector})
	for i := range 24 {
		c := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 1024)
		for _, p := range seen(lvs.RoleDirector, synOnly()) {
			p.Src, p.SrcPort = c.Addr(), c.Port()
			tr.Add(&p)
		}
	}
	feed(tr, seen(lvs.RoleDirector, articlePackets()[3:])) // met in mid-stream: does not count
	for name, s := range map[string]Summary{"Summary": tr.Summary(time.Time{}), "Summarize": Summarize(tr.Flows(), time.Time{})} {
		forwarded, back := s.Stages[lvs.SynForwarded.Index()], s.Stages[lvs.AckAtDirector.Index()]
		if s.Flows != 24 || s.Vantage != lvs.RoleDirector || forwarded.Reached() != 24 || forwarded.Judged() != 24 ||
			back.Reached() != 0 || back.Missing != 24 || s.Stalled[lvs.AckAtDirector] != 24 || s.Outcome[Stalled] != 24 || s.SynRetransmits != 48 {
			t.Errorf("%s: %+v", name, s)
		}
	}
	if s := tr.Summary(tr.Now().Add(time.Second)); s.Flows != 0 {
		t.Errorf("flows of the future: %+v", s)
	}
}

func TestHandwrittenFlow(t *testing.T) {
	f := Flow{Stages: []StageSight{{Stage: lvs.AckAtDirector, State: lvs.Missing}}}
	if f.Stage(lvs.AckAtDirector).State != lvs.Missing || f.Stage(lvs.SynSent).State != lvs.Unobservable {
		t.Errorf("%+v", f)
	}
}
