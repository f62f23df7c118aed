package capture

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"lvstui/lvs"
)

// datagram makes a request or reply of the article's hosts over UDP.
func datagram(h hop, way int, d time.Duration, length int32) Packet {
	p := at(h, way, d, 0, length)
	p.Kind, p.Proto, p.Seq, p.Ack, p.Flags = UDP, protoUDP, 0, 0, 0
	return p
}

var article53 = Config{UDP: []netip.AddrPort{articleVirtual}}

func TestDatagrams(t *testing.T) {
	const ms = time.Millisecond
	routerHops := seenBy[lvs.RoleRouter]
	unreachable := func(dir Direction) Packet {
		p := icmpAbout(dir, "172.16.0.8", ms, 3, 3)
		p.Quote.Proto, p.Quote.Seq = protoUDP, 0
		return p
	}
	request, reply := func(h hop) Packet { return datagram(h, toVirtual, 0, 40) }, func(h hop) Packet { return datagram(h, toClient, 2*ms, 90) }
	for name, c := range map[string]struct {
		vantage            lvs.Vantage
		packets            []Packet
		wait               time.Duration
		outcome            Outcome
		reached, stalledAt lvs.Stage
	}{
		"client served":         {lvs.RoleClient, []Packet{request(cliOut), reply(cliIn)}, time.Minute, Established, lvs.SynAckAtClient, ""},
		"client waits":          {lvs.RoleClient, []Packet{request(cliOut)}, ms, Pending, lvs.SynSent, ""},
		"client in vain":        {lvs.RoleClient, []Packet{request(cliOut)}, 4 * time.Second, Stalled, lvs.SynSent, lvs.SynAckAtClient},
		"client refused":        {lvs.RoleClient, []Packet{request(cliOut), unreachable(In)}, 0, Refused, lvs.SynSent, lvs.SynAckAtClient},
		"director forwards":     {lvs.RoleDirector, []Packet{request(dirIn), datagram(dirOut, toVirtual, 1, 40)}, time.Minute, Pending, lvs.SynForwarded, ""},
		"director swallows":     {lvs.RoleDirector, []Packet{request(dirIn)}, 4 * time.Second, Stalled, lvs.SynAtDirector, lvs.SynForwarded},
		"director refuses":      {lvs.RoleDirector, []Packet{request(dirIn), unreachable(Out)}, 0, Refused, lvs.SynAtDirector, lvs.SynScheduled},
		"real server answers":   {lvs.RoleRealServer, []Packet{request(rsIn), reply(rsOut)}, time.Minute, Established, lvs.SynAckSent, ""},
		"real server silent":    {lvs.RoleRealServer, []Packet{request(rsIn)}, 4 * time.Second, Stalled, lvs.SynAtRealServer, lvs.SynAckSent},
		"real server refuses":   {lvs.RoleRealServer, []Packet{request(rsIn), unreachable(Out)}, 0, Refused, lvs.SynAtRealServer, lvs.SynAccepted},
		"router passes":         {lvs.RoleRouter, []Packet{request(routerHops[0][0]), datagram(routerHops[0][1], toVirtual, 1, 40), reply(routerHops[1][0]), datagram(routerHops[1][1], toClient, 2*ms+1, 90)}, 0, Established, lvs.SynAckAtClient, ""},
		"router drops answer":   {lvs.RoleRouter, []Packet{request(routerHops[0][0]), datagram(routerHops[0][1], toVirtual, 1, 40), reply(routerHops[1][0])}, 4 * time.Second, Stalled, lvs.SynAckSent, lvs.SynAckAtClient},
		"only the reply is met": {lvs.RoleClient, []Packet{reply(cliIn)}, 0, Established, lvs.SynAckAtClient, ""},
	} {
		cfg := article53
		cfg.Vantage = c.vantage
		tr := NewTracker(cfg)
		feed(tr, c.packets)
		tr.Advance(tr.Now().Add(c.wait))
		if tr.Len() != 1 {
			t.Errorf("%s: %d flows", name, tr.Len())
			continue
		}
		f := tr.Flows()[0]
		if f.Protocol != lvs.UDP || f.Client != articleClient || f.Outcome != c.outcome || f.Reached != c.reached || f.StalledAt != c.stalledAt ||
			f.SynRetransmits != 0 || f.MidStream != (name == "only the reply is met") {
			t.Errorf("%s: %s, reached %s, stalled at %q: %+v", name, f.Outcome, f.Reached, f.StalledAt, f)
		}
		if c.outcome == Established && !f.MidStream && (f.Handshake != 2*ms || f.BytesToVirtual != 40 || f.BytesToClient != 90) {
			t.Errorf("%s: %s, %d and %d bytes", name, f.Handshake, f.BytesToVirtual, f.BytesToClient)
		}
		check(t, tr, len(c.packets))
	}
}

func TestDatagramFlowsOverTime(t *testing.T) {
	cfg := article53
	cfg.Vantage = lvs.RoleClient
	tr := NewTracker(cfg)
	for i := range 3 { // three questions within the idle time are one flow, a later one is another
		d := time.Duration(i) * 10 * time.Second
		q, a := datagram(cliOut, toVirtual, d, 40), datagram(cliIn, toClient, d+time.Millisecond, 90)
		q.IPID, a.IPID = uint16(i), uint16(100+i)
		feed(tr, []Packet{q, a})
	}
	feed(tr, []Packet{datagram(cliOut, toVirtual, 3*time.Minute, 40)})
	flows := tr.Flows()
	if len(flows) != 2 || flows[0].Packets != 6 || flows[0].BytesToVirtual != 120 || flows[1].Packets != 1 {
		t.Fatalf("%+v", flows)
	}
	f, ok := tr.Flow(Key{Client: articleClient, Virtual: articleVirtual, Protocol: lvs.UDP})
	if !ok || len(f.Events) != 1 || f.Events[0].Kind != EventDATA {
		t.Errorf("by its ends: %v %+v", ok, f)
	}
}

// TestOtherDatagrams: name lookups and the like are nobody's flow.
func TestOtherDatagrams(t *testing.T) {
	p := datagram(cliOut, toVirtual, 0, 40)
	vip := articleVirtual.Addr()
	for name, c := range map[string]struct {
		cfg  Config
		want int
	}{
		"not asked for":    {Config{}, 0},
		"only its address": {Config{Virtuals: []netip.Addr{vip}}, 0},
		"any port":         {Config{UDP: []netip.AddrPort{netip.AddrPortFrom(vip, 0)}}, 1},
		"any address":      {Config{UDP: []netip.AddrPort{netip.AddrPortFrom(netip.Addr{}, 80)}}, 1},
		"another port":     {Config{UDP: []netip.AddrPort{netip.AddrPortFrom(vip, 53)}}, 0},
		"another VIP":      {Config{Virtuals: []netip.Addr{articleClient.Addr()}, UDP: []netip.AddrPort{netip.AddrPortFrom(netip.Addr{}, 80)}}, 0},
	} {
		tr := NewTracker(c.cfg)
		tr.Add(&p)
		if tr.Len() != c.want {
			t.Errorf("%s: %d flows, want %d", name, tr.Len(), c.want)
		}
	}
}

// TestDatagramAnsweredFromElsewhere: a program bound to all addresses answers from the RIP. What else that address sends says nothing.
func TestDatagramAnsweredFromElsewhere(t *testing.T) {
	rip := netip.MustParseAddrPort("192.168.10.11:80")
	cfg := article53
	cfg.Vantage = lvs.RoleRealServer
	reply := func(src netip.AddrPort, port uint16) []Packet {
		p := datagram(rsOut, toClient, time.Millisecond, 90)
		p.Src, p.SrcPort, p.DstPort = src.Addr(), src.Port(), port
		return []Packet{datagram(rsIn, toVirtual, 0, 40), p}
	}
	asked := datagram(rsIn, toVirtual, time.Millisecond, 40) // ntpd asks all its servers from one port
	asked.Dst, asked.DstPort = rip.Addr(), rip.Port()
	for name, c := range map[string]struct {
		packets []Packet
		want    netip.AddrPort
	}{
		"which the client asked too": {slices.Insert(reply(rip, articleClient.Port()), 1, asked), netip.AddrPort{}},
		"from the RIP":               {reply(rip, articleClient.Port()), rip},
		"from the VIP":               {reply(articleVirtual, articleClient.Port()), netip.AddrPort{}},
		"another port":               {reply(netip.AddrPortFrom(rip.Addr(), 5353), articleClient.Port()), netip.AddrPort{}},
		"another client":             {reply(rip, articleClient.Port()+1), netip.AddrPort{}},
	} {
		tr := NewTracker(cfg)
		feed(tr, c.packets)
		tr.Advance(tr.Now().Add(4 * time.Second))
		flows := tr.Flows()
		if len(flows) != 1 || flows[0].AnsweredFrom != c.want {
			t.Errorf("%s: %+v", name, flows)
			continue
		}
		if got := flows[0].Suspects; c.want.IsValid() && (len(got) == 0 || got[0] != "udp-wrong-source") {
			t.Errorf("%s: suspects %v", name, got)
		}
	}
}
