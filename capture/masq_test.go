package capture

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"lvstui/lvs"
)

var masqRIP = netip.MustParseAddrPort("192.168.10.11:8000")

// masqueraded gives packets as a director sees them that rewrites the destination of what goes to the VIP and the source of what comes back.
func masqueraded(packets []Packet) []Packet {
	var list []Packet
	for i, p := range packets {
		p.HasIPID, p.IPID, p.Interface = true, uint16(1000+i), 2
		in, out := p, p
		in.Dir, out.Dir = In, Out
		out.Time += 20_000
		if wayOf(&p) == toVirtual {
			in.SrcMAC, in.DstMAC, in.TTL = routerMAC, directorMAC, 63
			out.SrcMAC, out.DstMAC, out.TTL = directorMAC, serverMAC, 62
			out.Dst, out.DstPort = masqRIP.Addr(), masqRIP.Port()
		} else {
			in.SrcMAC, in.DstMAC, in.TTL = serverMAC, directorMAC, 64
			in.Src, in.SrcPort = masqRIP.Addr(), masqRIP.Port()
			out.SrcMAC, out.DstMAC, out.TTL = directorMAC, routerMAC, 63
		}
		list = append(list, in, out)
	}
	return list
}

// TestMasqueradedIsOneFlow: whatever is known of the host, what it rewrites is one connection with all its answers.
func TestMasqueradedIsOneFlow(t *testing.T) {
	vip := articleVirtual.Addr()
	for name, cfg := range map[string]Config{
		"nothing known": {},
		"a director":    {Vantage: lvs.RoleDirector, Virtuals: []netip.Addr{vip}, Ports: []uint16{80}},
		"its addresses": {LocalAddrs: []netip.Addr{vip}},
		"no directions": {StallAfter: time.Second},
	} {
		packets := masqueraded(articlePackets())
		if name == "no directions" {
			for i := range packets {
				packets[i].Dir = Unknown
			}
		}
		tr := NewTracker(cfg)
		feed(tr, packets)
		flows := tr.Flows()
		if len(flows) != 1 {
			t.Fatalf("%s: %d flows", name, len(flows))
		}
		f := flows[0]
		if f.Virtual != articleVirtual || f.Vantage != lvs.RoleDirector || f.Outcome != Closed || f.Forward != "masq" || f.RealServer != masqRIP ||
			f.RealServerMAC != serverMAC || f.Packets != 10 || f.Frames != 20 || f.SynRetransmits+f.SynAckRetransmits+f.DataRetransmits > 0 ||
			f.Stage(lvs.SynForwarded).State != lvs.Seen || f.Stage(lvs.SynAckSent).State != lvs.Seen {
			t.Errorf("%s: %+v", name, f)
		}
		f, _ = tr.FlowByID(f.ID)
		for i, e := range f.Events {
			if e.Forwarded != (i%2 == 1) {
				t.Errorf("%s: frame %d %s: forwarded %v", name, i, e.Kind, e.Forwarded)
			}
		}
	}
}

// TestMasqueradedInVain: with masq the director must see the answer, so it can tell that there was none.
func TestMasqueradedInVain(t *testing.T) {
	for name, c := range map[string]struct {
		packets []Packet
		outcome Outcome
		suspect string
	}{
		"silence": {articlePackets()[:1], Stalled, "forward-method-not-dr"},
		"refused": {[]Packet{articlePackets()[0], at(hop{}, toClient, time.Millisecond, RST|ACK, 0)}, Refused, "service-not-listening-on-vip"},
	} {
		tr := NewTracker(Config{Vantage: lvs.RoleDirector, Virtuals: []netip.Addr{articleVirtual.Addr()}})
		feed(tr, masqueraded(c.packets))
		tr.Advance(tr.Now().Add(5 * time.Second))
		if f := tr.Flows()[0]; f.Outcome != c.outcome || f.Reached != lvs.SynForwarded || f.StalledAt != lvs.SynAckSent || f.Suspects[0] != c.suspect {
			t.Errorf("%s: %s, reached %s, stalled at %s, suspects %v", name, f.Outcome, f.Reached, f.StalledAt, f.Suspects)
		}
	}
}

// TestRouterThatRewrites: of a host without virtual services it is a router's doing.
func TestRouterThatRewrites(t *testing.T) {
	for name, cfg := range map[string]Config{"no services": {NoServices: true}, "the VIP is not its own": {LocalAddrs: []netip.Addr{netip.MustParseAddr("192.168.10.1")}}} {
		tr := NewTracker(cfg)
		feed(tr, masqueraded(articlePackets()))
		if f := tr.Flows()[0]; len(tr.Flows()) != 1 || f.Vantage != lvs.RoleRouter || f.Forward != "" || f.RealServer != masqRIP || f.Outcome != Closed {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// TestAliasesAreForgotten: a flow's second pair of ends goes with it, and belongs to the next flow that uses it.
func TestAliasesAreForgotten(t *testing.T) {
	const kept = 16 // a power of two, so that the index is as full as it can be
	tr := NewTracker(Config{MaxFlows: kept})
	for i := range 1000 {
		packets := masqueraded(articlePackets())
		for k := range packets {
			p := &packets[k]
			p.Time += int64(i) * int64(time.Second)
			if port := uint16(2000 + i%25); p.Dst == articleClient.Addr() {
				p.DstPort, p.Ack = port, p.Ack+uint32(i)
			} else {
				p.SrcPort, p.Seq = port, p.Seq+uint32(i)
			}
		}
		feed(tr, packets)
		flows := tr.Flows()
		if len(flows) != min(i+1, kept) {
			t.Fatalf("round %d: %d flows", i, len(flows))
		}
		if f := flows[len(flows)-1]; f.Outcome != Closed || f.Packets != 10 || f.RealServer != masqRIP {
			t.Fatalf("round %d: %+v", i, f)
		}
	}
	if got := tr.index.used(); got != 2*kept {
		t.Errorf("%d places of the index are used by %d flows of two names", got, kept)
	}
}

// TestMasqueradedBatches: one by one and all at once are the same.
func TestMasqueradedBatches(t *testing.T) {
	packets := masqueraded(articlePackets())
	one, all := NewTracker(Config{}), NewTracker(Config{})
	var list []*Packet
	for _, p := range packets {
		one.Add(&p)
	}
	for i := range packets {
		list = append(list, &packets[i])
	}
	all.AddBatch(list)
	if a, b := one.Flows()[0], all.Flows()[0]; !slices.Equal(a.Stages, b.Stages) || a.Outcome != b.Outcome {
		t.Errorf("%+v\n%+v", a, b)
	}
}
