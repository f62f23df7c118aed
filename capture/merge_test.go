package capture

import (
	"encoding/json"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"lvstui/lvs"
)

// viewOf tracks what one host sees, by a clock of its own, and gives its flow with events.
func viewOf(t *testing.T, v lvs.Vantage, clock time.Duration, packets []Packet) []Flow {
	t.Helper()
	packets = slices.Clone(packets)
	for i := range packets {
		packets[i].Time += int64(clock)
	}
	return []Flow{oneFlow(t, Config{Vantage: v}, packets)}
}

// clocks that are far apart: nothing may depend on them.
var clocks = map[lvs.Vantage]time.Duration{lvs.RoleClient: 0, lvs.RoleRouter: -time.Hour, lvs.RoleDirector: 17 * time.Second, lvs.RoleRealServer: -3 * time.Second}

func TestMergeHealthy(t *testing.T) {
	all := [][]Flow{}
	for _, v := range []lvs.Vantage{lvs.RoleRealServer, lvs.RoleClient, lvs.RoleDirector, lvs.RoleRouter} {
		all = append(all, viewOf(t, v, clocks[v], seen(v, articlePackets())))
	}
	list := Merge(all...)
	if len(list) != 1 {
		t.Fatalf("%d flows", len(list))
	}
	f := list[0]
	if f.Outcome != Closed || f.Reached != lvs.Established || f.StalledAt != "" || f.Packets != 10 || f.BytesToVirtual != 74 || f.BytesToClient != 274 ||
		!slices.Equal(f.Vantages, []lvs.Vantage{lvs.RoleClient, lvs.RoleRouter, lvs.RoleDirector, lvs.RoleRealServer}) || f.RealServerMAC != serverMAC ||
		f.SynFrom != directorMAC || f.SynAckTo != routerMAC {
		t.Errorf("%+v", f)
	}
	for i, s := range f.Stages {
		unseen := s.Stage == lvs.SynScheduled || s.Stage == lvs.SynAccepted
		if unseen && s.State != lvs.Implied || !unseen && (s.State != lvs.Seen || s.Vantage != stageOwner[i]) {
			t.Errorf("%s: %s by %q", s.Stage, s.State, s.Vantage)
		}
	}
	if len(f.Events) != 10+20+12+10 {
		t.Fatalf("%d events", len(f.Events))
	}
	// The SYN goes along the whole path before anything comes back.
	var syn []lvs.Vantage
	for _, e := range f.Events[:6] {
		if e.Kind != EventSYN {
			t.Fatalf("%s among the first six frames", e.Kind)
		}
		syn = append(syn, e.Vantage)
	}
	if want := []lvs.Vantage{lvs.RoleClient, lvs.RoleRouter, lvs.RoleRouter, lvs.RoleDirector, lvs.RoleDirector, lvs.RoleRealServer}; !slices.Equal(syn, want) {
		t.Errorf("the SYN's way: %v", syn)
	}
	causal(t, f.Events)
}

// causal wants each packet at each host only after the host before it on its way had it.
func causal(t *testing.T, events []Event) {
	t.Helper()
	type sent struct {
		id uint16
		at lvs.Vantage
	}
	had := map[sent]bool{}
	before := map[bool]map[lvs.Vantage]lvs.Vantage{
		true:  {lvs.RoleRouter: lvs.RoleClient, lvs.RoleDirector: lvs.RoleRouter, lvs.RoleRealServer: lvs.RoleDirector},
		false: {lvs.RoleRouter: lvs.RoleRealServer, lvs.RoleClient: lvs.RoleRouter},
	}
	for i, e := range events {
		if b := before[e.ToVirtual][e.Vantage]; b != "" && !had[sent{e.IPID, b}] {
			t.Errorf("frame %d, %s %d, is at the %s before the %s had it", i, e.Kind, e.IPID, e.Vantage, b)
		}
		had[sent{e.IPID, e.Vantage}] = true
	}
}

// TestMergeArticleFailure: what the director can only suspect, the real server's capture proves.
func TestMergeArticleFailure(t *testing.T) {
	director := viewOf(t, lvs.RoleDirector, 0, seen(lvs.RoleDirector, synOnly()))
	server := viewOf(t, lvs.RoleRealServer, time.Minute, seen(lvs.RoleRealServer, unanswered()))
	list := Merge(director, server)
	if len(list) != 1 {
		t.Fatalf("%d flows", len(list))
	}
	f := list[0]
	if f.Outcome != Stalled || f.Reached != lvs.SynAckSent || f.StalledAt != lvs.SynAckAtClient || f.SynAckRetransmits != 2 ||
		len(f.Suspects) == 0 || f.Suspects[0] != "router-urpf-or-source-guard" || slices.Contains(f.Suspects, "vip-missing-on-rs") {
		t.Errorf("%+v", f)
	}
	got := states(f)
	if got[lvs.SynAtDirector] != lvs.Seen || got[lvs.SynForwarded] != lvs.Seen || got[lvs.SynAtRealServer] != lvs.Seen || got[lvs.SynAckSent] != lvs.Seen ||
		got[lvs.SynAckAtClient] != lvs.Missing || got[lvs.AckAtDirector] != lvs.Pending {
		t.Errorf("%v", got)
	}
	b, err := json.Marshal(f)
	var back struct {
		Vantages []string `json:"vantages"`
	}
	if err != nil || json.Unmarshal(b, &back) != nil || !slices.Equal(back.Vantages, []string{"director", "real-server"}) {
		t.Errorf("%v %v", err, back)
	}
}

// TestMergeLostACK: the client believes in a connection that the real server never got to know of.
func TestMergeLostACK(t *testing.T) {
	client := viewOf(t, lvs.RoleClient, 0, seen(lvs.RoleClient, articlePackets()[:3]))
	server := viewOf(t, lvs.RoleRealServer, 0, seen(lvs.RoleRealServer, unanswered()))
	f := Merge(client, server)[0]
	if f.Outcome != Stalled || f.Reached != lvs.SynAckAtClient || f.StalledAt != lvs.Established || f.Suspects[0] != "director-conntrack-invalid" {
		t.Errorf("%+v", f)
	}
	// The director's capture of one interface misses what the real server got: no failure.
	partial := slices.DeleteFunc(seen(lvs.RoleDirector, synOnly()[:2]), func(p Packet) bool { return p.Dir == Out })
	f = Merge(viewOf(t, lvs.RoleDirector, 0, partial), viewOf(t, lvs.RoleRealServer, 0, seen(lvs.RoleRealServer, articlePackets())))[0]
	if f.Outcome != Closed || f.StalledAt != "" || f.Stage(lvs.SynForwarded).State != lvs.Implied {
		t.Errorf("%+v", f)
	}
}

func TestMergeKeepsApart(t *testing.T) {
	other := articlePackets()
	for i := range other { // the same ports again, another connection
		p := &other[i]
		if wayOf(p) == toVirtual {
			p.Seq += 4242
		} else {
			p.Ack += 4242
		}
	}
	a := viewOf(t, lvs.RoleClient, 0, seen(lvs.RoleClient, articlePackets()))
	b := viewOf(t, lvs.RoleDirector, 0, seen(lvs.RoleDirector, other))
	list := Merge(a, b)
	if len(list) != 2 || list[0].Vantages != nil || list[0].ISN == list[1].ISN || list[0].ID == list[1].ID {
		t.Errorf("%+v", list)
	}
	if got := Merge(a)[0]; got.Outcome != a[0].Outcome || got.Vantage != lvs.RoleClient {
		t.Errorf("one view: %+v", got)
	}
}

// TestMergeHoldsInvariants: whatever each host's capture lost, and however often it is asked.
func TestMergeHoldsInvariants(t *testing.T) {
	vantages := []lvs.Vantage{lvs.RoleClient, lvs.RoleRouter, lvs.RoleDirector, lvs.RoleRealServer}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		base := [][]Packet{articlePackets(), synOnly(), unanswered()}[r.IntN(3)]
		var views [][]Flow
		for _, v := range vantages[r.IntN(3):] {
			packets := slices.DeleteFunc(seen(v, base), func(Packet) bool { return r.IntN(5) == 0 })
			tr := NewTracker(Config{Vantage: v})
			feed(tr, packets)
			tr.Advance(tr.Now().Add(5 * time.Second))
			flows := tr.Flows()
			for i := range flows {
				flows[i], _ = tr.FlowByID(flows[i].ID)
			}
			views = append(views, flows)
		}
		events := 0
		for _, v := range views {
			for _, f := range v {
				events += len(f.Events)
			}
		}
		first, again := Merge(views...), Merge(views...)
		a, _ := json.Marshal(first)
		b, _ := json.Marshal(again)
		if string(a) != string(b) {
			t.Fatalf("seed %d: not the same twice", seed)
		}
		for _, f := range first {
			events -= len(f.Events)
			failed := f.Outcome == Stalled || f.Outcome == Refused
			for i, s := range f.Stages {
				known := s.State == lvs.Seen || s.State == lvs.Implied
				hidden := directors(s.Stage) && s.State == lvs.Unobservable
				if known != (i <= f.Reached.Index()) && !hidden || (s.State == lvs.Missing) != (f.StalledAt != "" && s.Stage == f.StalledAt) || s.State == lvs.Missing && !failed {
					t.Fatalf("seed %d: reached %s, stalled at %q, %s is %s", seed, f.Reached, f.StalledAt, s.Stage, s.State)
				}
			}
		}
		if events != 0 {
			t.Fatalf("seed %d: %d events lost", seed, events)
		}
	}
}

// TestMergedFlowsKeepTheirIDs: captures that go on hear of new flows and forget old ones, and a screen follows one of them.
func TestMergedFlowsKeepTheirIDs(t *testing.T) {
	flow := func(port uint16, isn uint32) Flow {
		return Flow{ID: uint64(port), Client: netip.AddrPortFrom(articleClient.Addr(), port), Virtual: articleVirtual, Protocol: lvs.TCP, ISN: isn}
	}
	a, b, c := flow(1000, 1), flow(1001, 2), flow(1002, 3)
	id := func(merged []Flow, port uint16) uint64 {
		for _, f := range merged {
			if f.Client.Port() == port {
				return f.ID
			}
		}
		return 0
	}
	before, after := Merge([]Flow{a, b}, []Flow{b}), Merge([]Flow{b, c}, []Flow{c, b})
	if x := id(before, 1001); x == 0 || x != id(after, 1001) || x == id(before, 1000) || x == id(after, 1002) {
		t.Errorf("%+v\n%+v", before, after)
	}
	again := a
	again.ISN = 9 // the ports are used again
	if twice := Merge([]Flow{a, again}); len(twice) != 2 || twice[0].ID == twice[1].ID {
		t.Errorf("%+v", twice)
	}
}
