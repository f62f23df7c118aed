package screens

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"lvstui/capture"
	"lvstui/lvs"
)

// joinedFlow is a connection that a director masquerades, as client, director and real server saw it by clocks that are hours apart.
func joinedFlow(clientPort uint16) capture.Flow {
	client, vip := netip.AddrPortFrom(netip.MustParseAddr("188.88.88.10"), clientPort), netip.MustParseAddrPort("172.16.0.8:80")
	rip := netip.MustParseAddrPort("192.168.10.11:8000")
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	view := func(v lvs.Vantage, virtual netip.AddrPort, clock time.Duration, forward string, stages map[lvs.Stage]time.Duration, events ...capture.Event) capture.Flow {
		f := capture.Flow{Client: client, Virtual: virtual, Protocol: lvs.TCP, Vantage: v, Outcome: capture.Established, Reached: lvs.Established, ISN: 7, Forward: forward,
			FirstSeen: begin.Add(clock)}
		if forward != "" {
			f.RealServer = rip
		}
		for _, s := range lvs.Stages {
			sight := capture.StageSight{Stage: s, State: lvs.Implied}
			if d, ok := stages[s]; ok {
				sight.State, sight.Time = lvs.Seen, begin.Add(clock+d)
			}
			f.Stages = append(f.Stages, sight)
		}
		for i := range events {
			events[i].Time = begin.Add(clock + time.Duration(i)*time.Millisecond)
		}
		f.Events = events
		return f
	}
	syn := capture.Event{Kind: capture.EventSYN, ToVirtual: true, Flags: capture.SYN, Seq: 7, IPID: 1}
	answer := capture.Event{Kind: capture.EventSYNACK, Flags: capture.SYN | capture.ACK, Seq: 9, Ack: 8}
	way := func(e capture.Event, d capture.Direction, again bool) capture.Event {
		e.Direction, e.Forwarded = d, again
		return e
	}
	return capture.Merge(
		[]capture.Flow{view(lvs.RoleClient, vip, 0, "", map[lvs.Stage]time.Duration{lvs.SynSent: 0, lvs.SynAckAtClient: 3 * time.Millisecond},
			way(syn, capture.Out, false), way(answer, capture.In, false))},
		[]capture.Flow{view(lvs.RoleDirector, vip, 5*time.Hour, "masq", map[lvs.Stage]time.Duration{lvs.SynAtDirector: 0, lvs.SynForwarded: time.Millisecond},
			way(syn, capture.In, false), way(syn, capture.Out, true), way(answer, capture.In, false), way(answer, capture.Out, true))},
		[]capture.Flow{view(lvs.RoleRealServer, rip, -5*time.Hour, "", map[lvs.Stage]time.Duration{lvs.SynAtRealServer: 0, lvs.SynAckSent: time.Millisecond},
			way(syn, capture.In, false), way(answer, capture.Out, false))},
	)[0]
}

func TestJoinedFlowsCompareNoClocks(t *testing.T) {
	f := joinedFlow(1000)
	screen := NewCompare(f, joinedFlow(1001), Facts{Flows: []capture.Flow{f}})
	text := plainText(screen.lines(120))
	for _, l := range strings.Split(text, "\n") {
		if strings.Contains(l, "✓ forwarded") && !strings.Contains(l, "seen there") || strings.Contains(l, "✓ SYN sent") && !strings.Contains(l, "+0.00 ms") {
			t.Error(l)
		}
	}
	for _, hours := range []string{"5 h", "300 min", "18000", "-5", "1800"} {
		if strings.Contains(text, hours) {
			t.Errorf("%q is a difference of clocks:\n%s", hours, text)
		}
	}
	for _, e := range f.Events {
		if text := plainText(packetLines(&f, []capture.Event{e}, nil, 100)); !strings.Contains(text, "0.00") || !strings.Contains(text, vantageWord(e.Vantage)) {
			t.Errorf("%s at the %s:\n%s", e.Kind, e.Vantage, text)
		}
	}
}

// With masq the answer goes back to the director, and both see it on one wire.
func TestMasqueradedAnswersOnTheLadder(t *testing.T) {
	f := joinedFlow(1000)
	legs := map[[2]int]int{}
	for _, s := range sights(f.Events, &f) {
		if s.Kind == capture.EventSYNACK {
			legs[s.leg] = 1 + len(s.also)
		}
	}
	if legs[[2]int{3, 2}] != 2 || legs[[2]int{3, 1}] != 0 || legs[[2]int{2, 0}] != 1 {
		t.Errorf("SYN-ACK between lanes: %v", legs)
	}
}

// Where flows were seen from different hosts, a stage that one of them passed unseen does not part them.
func TestFlowsPartWhereOneIsMissing(t *testing.T) {
	flow := func(reached lvs.Stage, states ...lvs.StageState) capture.Flow {
		f := capture.Flow{Client: netip.MustParseAddrPort("188.88.88.10:1"), Outcome: capture.Stalled, Reached: reached}
		for i, s := range states {
			f.Stages = append(f.Stages, capture.StageSight{Stage: lvs.Stages[i], State: s})
		}
		return f
	}
	const s, i, u, m, p = lvs.Seen, lvs.Implied, lvs.Unobservable, lvs.Missing, lvs.Pending
	stalled := flow(lvs.SynForwarded, s, i, s, i, s, u, u, u, m, p, p)
	closed := flow(lvs.Established, s, u, u, u, u, i, i, i, s, u, s)
	closed.Outcome = capture.Closed
	c := NewCompare(stalled, closed, Facts{})
	if at := c.parting(); at < 0 || lvs.Stages[at] != lvs.SynAckAtClient || !strings.HasPrefix(c.verdict(), "Both get as far as forwarded.") {
		t.Errorf("they part at %d: %s", at, c.verdict())
	}
	blind := flow(lvs.SynSent, s, u, u, u, u, u, u, u, u, u, u)
	if at := NewCompare(blind, closed, Facts{}).parting(); at != -1 {
		t.Errorf("nothing is known of one of them, and they part at %d", at)
	}
}
