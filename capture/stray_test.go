package capture

import (
	"net/netip"
	"testing"
	"time"

	"lvstui/lvs"
)

// TestStrayAnswers: what answers another connection on the same ports must not count for this one.
func TestStrayAnswers(t *testing.T) {
	other := at(cliIn, toClient, time.Millisecond, SYN|ACK, 0)
	other.Ack += 1000
	if f := oneFlow(t, Config{Vantage: lvs.RoleClient}, []Packet{at(cliOut, toVirtual, 0, SYN, 0), other}); f.Reached != lvs.SynSent {
		t.Errorf("a SYN-ACK for another SYN: reached %s", f.Reached)
	}
	late := icmpAbout(In, "172.16.0.8", time.Millisecond, 3, 3)
	late.Quote.Seq += 1000
	if f := oneFlow(t, Config{Vantage: lvs.RoleClient}, []Packet{at(cliOut, toVirtual, 0, SYN, 0), late}); f.Outcome != Pending || f.ICMP != nil {
		t.Errorf("an ICMP error about an earlier SYN: %s, %+v", f.Outcome, f.ICMP)
	}
}

// TestWhatTheHostKnows: its addresses and MACs decide what the packets alone leave open.
func TestWhatTheHostKnows(t *testing.T) {
	forwarded := seen(lvs.RoleRouter, synOnly())
	if f := oneFlow(t, Config{LocalAddrs: []netip.Addr{netip.MustParseAddr("172.16.0.1")}}, forwarded); f.Vantage != lvs.RoleRouter {
		t.Errorf("the VIP is not local: %s", f.Vantage)
	}
	if f := oneFlow(t, Config{LocalAddrs: []netip.Addr{articleVirtual.Addr()}}, forwarded); f.Vantage != lvs.RoleDirector {
		t.Errorf("the VIP is local: %s", f.Vantage)
	}
	if f := oneFlow(t, Config{LocalAddrs: []netip.Addr{articleClient.Addr()}}, seen(lvs.RoleClient, synOnly())); f.Vantage != lvs.RoleClient {
		t.Errorf("the client is local: %s", f.Vantage)
	}
	syn := at(dirIn, toVirtual, 0, SYN, 0)
	syn.Dir = Unknown
	again := syn
	again.Time += int64(time.Second)
	again.IPID++
	f := oneFlow(t, Config{Vantage: lvs.RoleDirector, LocalMACs: []MAC{directorMAC}}, []Packet{syn, again})
	if s := f.Stage(lvs.SynAtDirector); s.State != lvs.Seen || s.Direction != In || f.StalledAt != lvs.SynForwarded {
		t.Errorf("the MAC tells the direction: %+v, stalled at %s", s, f.StalledAt)
	}
}

// TestHalfViewEnds: a director sees only the client's FIN, and must still let go of the flow first.
func TestHalfViewEnds(t *testing.T) {
	tr := NewTracker(Config{MaxFlows: 2, Vantage: lvs.RoleDirector})
	for i, list := range [][]Packet{synOnly()[:1], articlePackets(), synOnly()[:1]} {
		for _, p := range seen(lvs.RoleDirector, list) {
			p.Src = netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
			tr.Add(&p)
		}
	}
	for _, f := range tr.Flows() {
		if f.Outcome != Pending {
			t.Errorf("the closed flow was kept and a pending one evicted: %+v", f)
		}
	}
}
