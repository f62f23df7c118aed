package capture

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"lvstui/lvs"
)

// hop is where a host of the article's topology sees a packet: between which MACs, which way, with which TTL.
type hop struct {
	dir      Direction
	ifindex  int32
	src, dst MAC
	ttl      uint8
}

// seenBy lists the hops at which a host sees packets to the VIP and to the client. The director is one-armed.
var seenBy = map[lvs.Vantage][2][]hop{
	lvs.RoleClient: {
		toVirtual: {{Out, 2, clientMAC, routerMAC, 64}},
		toClient:  {{In, 2, routerMAC, clientMAC, 63}},
	},
	lvs.RoleRouter: {
		toVirtual: {{In, 2, clientMAC, routerMAC, 64}, {Out, 3, routerMAC, directorMAC, 63}},
		toClient:  {{In, 3, serverMAC, routerMAC, 64}, {Out, 2, routerMAC, clientMAC, 63}},
	},
	lvs.RoleDirector: {
		toVirtual: {{In, 2, routerMAC, directorMAC, 63}, {Out, 2, directorMAC, serverMAC, 62}},
	},
	lvs.RoleRealServer: {
		toVirtual: {{In, 2, directorMAC, serverMAC, 62}},
		toClient:  {{Out, 2, serverMAC, routerMAC, 64}},
	},
}

// ways of the article's ten packets.
func wayOf(p *Packet) int {
	if p.Src == articleClient.Addr() {
		return toVirtual
	}
	return toClient
}

// seen gives packets as a host sees them.
func seen(v lvs.Vantage, packets []Packet) []Packet {
	var list []Packet
	for i, p := range packets {
		p.HasIPID, p.IPID = true, uint16(1000+i)
		for k, h := range seenBy[v][wayOf(&p)] {
			q := p
			q.Time += int64(k) * 20_000
			q.Dir, q.Interface, q.SrcMAC, q.DstMAC, q.TTL = h.dir, h.ifindex, h.src, h.dst, h.ttl
			list = append(list, q)
		}
	}
	return list
}

// synOnly gives the SYN and its retransmissions after 1 and 3 seconds, as in the article's failing capture.
func synOnly() []Packet {
	var list []Packet
	for _, after := range []time.Duration{0, time.Second, 3 * time.Second} {
		p := articlePackets()[0]
		p.Time += int64(after)
		list = append(list, p)
	}
	return list
}

// unanswered gives what is on the wire behind the director in the failing case: SYNs and SYN-ACKs, no ACK.
func unanswered() []Packet {
	var list []Packet
	for _, after := range []time.Duration{0, time.Second, 3 * time.Second} {
		syn, synAck := articlePackets()[0], articlePackets()[1]
		syn.Time += int64(after)
		synAck.Time = syn.Time + 100_000
		list = append(list, syn, synAck)
	}
	return list
}

func states(f Flow) map[lvs.Stage]lvs.StageState {
	m := map[lvs.Stage]lvs.StageState{}
	for _, s := range f.Stages {
		m[s.Stage] = s.State
	}
	return m
}

// oneFlow tracks packets and wants exactly one flow.
func oneFlow(t *testing.T, cfg Config, packets []Packet) Flow {
	t.Helper()
	tr := NewTracker(cfg)
	feed(tr, packets)
	flows := tr.Flows()
	if len(flows) != 1 {
		t.Fatalf("got %d flows, want 1: %+v", len(flows), flows)
	}
	f, ok := tr.FlowByID(flows[0].ID)
	if !ok || f.Outcome != flows[0].Outcome {
		t.Fatalf("FlowByID differs from Flows: %+v", f)
	}
	return f
}

func TestHealthyFromEveryVantage(t *testing.T) {
	wantSeen := map[lvs.Vantage][]lvs.Stage{
		lvs.RoleClient:     {lvs.SynSent, lvs.SynAckAtClient, lvs.Established},
		lvs.RoleRouter:     {lvs.SynSent, lvs.VIPResolved, lvs.SynAckSent, lvs.SynAckAtClient, lvs.Established},
		lvs.RoleDirector:   {lvs.SynAtDirector, lvs.SynForwarded, lvs.AckAtDirector, lvs.Established},
		lvs.RoleRealServer: {lvs.SynAtRealServer, lvs.SynAckSent, lvs.Established},
	}
	for v := range seenBy {
		for _, cfg := range []Config{{}, {Vantage: v}} {
			f := oneFlow(t, cfg, seen(v, articlePackets()))
			if f.Vantage != v || f.Outcome != Closed || f.StalledAt != "" || f.Suspects != nil || f.Reached != lvs.Established {
				t.Errorf("%s: %+v", v, f)
			}
			for stage, state := range states(f) {
				want := lvs.Implied
				switch {
				case slices.Contains(wantSeen[v], stage):
					want = lvs.Seen
				case v == lvs.RoleClient && directors(stage):
					want = lvs.Unobservable // its router answers it, whoever answered that
				}
				if state != want {
					t.Errorf("%s: %s is %s, want %s", v, stage, state, want)
				}
			}
			packets, frames, toClientBytes := 10, 10, uint64(274)
			switch v {
			case lvs.RoleRouter:
				frames = 20
			case lvs.RoleDirector:
				packets, frames, toClientBytes = 6, 12, 0
			}
			if f.Packets != packets || f.Frames != frames || f.BytesToVirtual != 74 || f.BytesToClient != toClientBytes ||
				f.SynRetransmits+f.SynAckRetransmits+f.DataRetransmits != 0 || len(f.Events) != frames {
				t.Errorf("%s: %d packets, %d frames, %d and %d bytes, %d events, %d %d %d resent", v, f.Packets, f.Frames,
					f.BytesToVirtual, f.BytesToClient, len(f.Events), f.SynRetransmits, f.SynAckRetransmits, f.DataRetransmits)
			}
			for _, e := range f.Events {
				if e.Retransmission || e.Forwarded != (e.Direction == Out && frames > packets) {
					t.Errorf("%s: event %+v", v, e)
				}
			}
			if want := (MAC{}); v != lvs.RoleClient && f.RealServerMAC != serverMAC || v == lvs.RoleClient && f.RealServerMAC != want {
				t.Errorf("%s: real server's MAC %s", v, f.RealServerMAC)
			}
		}
	}
}

// TestArticleFailure is topology a: the router drops the SYN-ACK.
func TestArticleFailure(t *testing.T) {
	atRouter := seen(lvs.RoleRouter, unanswered())
	atRouter = slices.DeleteFunc(atRouter, func(p Packet) bool { return wayOf(&p) == toClient && p.Dir == Out })
	cases := []struct {
		vantage            lvs.Vantage
		packets            []Packet
		reached, stalledAt lvs.Stage
		suspect            string
		syn, synAck        int
	}{
		{lvs.RoleClient, seen(lvs.RoleClient, synOnly()), lvs.SynSent, lvs.SynAckAtClient, "vip-missing-on-rs", 2, 0},
		{lvs.RoleRouter, atRouter, lvs.SynAckSent, lvs.SynAckAtClient, "router-urpf-or-source-guard", 2, 2},
		{lvs.RoleDirector, seen(lvs.RoleDirector, synOnly()), lvs.SynForwarded, lvs.AckAtDirector, "router-urpf-or-source-guard", 2, 0},
		{lvs.RoleRealServer, seen(lvs.RoleRealServer, unanswered()), lvs.SynAckSent, lvs.SynAckAtClient, "router-urpf-or-source-guard", 2, 2},
	}
	for _, c := range cases {
		f := oneFlow(t, Config{}, c.packets)
		if f.Vantage != c.vantage || f.Outcome != Stalled || f.Reached != c.reached || f.StalledAt != c.stalledAt ||
			f.SynRetransmits != c.syn || f.SynAckRetransmits != c.synAck || f.Handshake != 0 {
			t.Errorf("%s: %+v", c.vantage, f)
		}
		if len(f.Suspects) == 0 || f.Suspects[0] != c.suspect {
			t.Errorf("%s: suspects %v, want first %s", c.vantage, f.Suspects, c.suspect)
		}
		got := states(f)
		for i, stage := range lvs.Stages {
			switch {
			case stage == c.stalledAt && got[stage] != lvs.Missing,
				i <= c.reached.Index() && got[stage] != lvs.Seen && got[stage] != lvs.Implied,
				i > c.reached.Index() && stage != c.stalledAt && got[stage] != lvs.Pending && got[stage] != lvs.Unobservable:
				t.Errorf("%s: %s is %s", c.vantage, stage, got[stage])
			}
		}
	}
	f := oneFlow(t, Config{}, seen(lvs.RoleDirector, synOnly()))
	for _, stage := range []lvs.Stage{lvs.SynAtRealServer, lvs.SynAccepted, lvs.SynAckSent, lvs.SynAckAtClient} {
		if s := f.Stage(stage).State; s != lvs.Unobservable {
			t.Errorf("director: %s is %s: with gate it cannot be seen from there", stage, s)
		}
	}
}

func TestTimeMakesMissing(t *testing.T) {
	tr := NewTracker(Config{})
	feed(tr, seen(lvs.RoleDirector, synOnly()[:1]))
	start := tr.Now()
	for _, step := range []struct {
		after time.Duration
		want  Outcome
		state lvs.StageState
	}{{0, Pending, lvs.Pending}, {2 * time.Second, Pending, lvs.Pending}, {3 * time.Second, Stalled, lvs.Missing}, {time.Second, Stalled, lvs.Missing}} {
		tr.Advance(start.Add(step.after))
		f := tr.Flows()[0]
		if f.Outcome != step.want || f.Stage(lvs.AckAtDirector).State != step.state {
			t.Errorf("after %s: %s, %s; want %s, %s", step.after, f.Outcome, f.Stage(lvs.AckAtDirector).State, step.want, step.state)
		}
	}
	late := seen(lvs.RoleDirector, articlePackets()[:4])[2:]
	for i := range late {
		late[i].Time += int64(5 * time.Second)
	}
	feed(tr, late)
	if f := tr.Flows()[0]; f.Outcome != Established || f.StalledAt != "" || f.Suspects != nil {
		t.Errorf("an ACK that comes after all: %+v", f)
	}
}

// TestWithoutDirections takes the directions away, as pcap files and tcpdump text do.
func TestWithoutDirections(t *testing.T) {
	for v := range seenBy {
		packets := seen(v, articlePackets())
		for i := range packets {
			packets[i].Dir, packets[i].Interface = Unknown, 0
		}
		f := oneFlow(t, Config{}, packets)
		with := oneFlow(t, Config{}, seen(v, articlePackets()))
		if f.Vantage != v || f.Packets != with.Packets || f.Frames != with.Frames || f.Outcome != Closed {
			t.Errorf("%s: vantage %s, %d packets, %d frames, %s", v, f.Vantage, f.Packets, f.Frames, f.Outcome)
		}
		for i, s := range f.Stages {
			if w := with.Stages[i]; s.State != w.State || s.Direction != w.Direction {
				t.Errorf("%s: %s is %s %q, with directions %s %q", v, s.Stage, s.State, s.Direction, w.State, w.Direction)
			}
		}
		var local []MAC // naming the host's MACs gives the directions back
		for _, hops := range seenBy[v] {
			for _, h := range hops {
				if h.dir == In {
					local = append(local, h.dst)
				} else {
					local = append(local, h.src)
				}
			}
		}
		if f := oneFlow(t, Config{LocalMACs: local}, packets); f.Vantage != v || f.Stages[0].State != with.Stages[0].State {
			t.Errorf("%s with MACs known: %+v", v, f)
		}
	}
}

// TestOneNeighbourForBothWays is the hard case of inference: a real server whose gateway is the director.
func TestOneNeighbourForBothWays(t *testing.T) {
	packets := seen(lvs.RoleRealServer, articlePackets())
	for i := range packets {
		p := &packets[i]
		p.Dir = Unknown
		if p.SrcMAC == serverMAC {
			p.DstMAC = directorMAC
		}
	}
	if f := oneFlow(t, Config{}, packets); f.Vantage != lvs.RoleRealServer {
		t.Errorf("by TTL: %s", f.Vantage)
	}
	for i := range packets {
		packets[i].TTL = 0
	}
	packets[1].Time = packets[0].Time + 50_000 // the answer is at once, the ACK takes the round trip
	packets[2].Time = packets[1].Time + 3_000_000
	if f := oneFlow(t, Config{}, packets[:3]); f.Vantage != lvs.RoleRealServer {
		t.Errorf("by gaps in time: %s", f.Vantage)
	}
}

// TestLoneSYNACK: a capture that begins between a SYN and the retransmission of its answer. The answer alone
// implies every stage before it, and must not be counted as if this host had followed the connection.
func TestLoneSYNACK(t *testing.T) {
	local := []netip.Addr{netip.MustParseAddr("172.16.0.1"), netip.MustParseAddr("192.168.10.1"), netip.MustParseAddr("188.88.88.1")}
	tail := func(v lvs.Vantage, keep func(*Packet) bool) []Packet {
		return slices.DeleteFunc(seen(v, unanswered()), func(p Packet) bool { return wayOf(&p) == toVirtual || !keep(&p) })
	}
	dropped := tail(lvs.RoleRouter, func(p *Packet) bool { return p.Dir == In })
	both := tail(lvs.RoleRouter, func(*Packet) bool { return true })
	server := tail(lvs.RoleRealServer, func(*Packet) bool { return true })
	for name, c := range map[string]struct {
		packets []Packet
		want    lvs.Vantage
	}{
		"router that drops it":  {dropped, lvs.RoleRouter},
		"once":                  {dropped[:1], lvs.RoleRouter},
		"router that passes it": {both, lvs.RoleRouter},
		"real server":           {server, lvs.RoleRealServer},
	} {
		tr := NewTracker(Config{LocalAddrs: local})
		feed(tr, c.packets)
		f := tr.Flows()[0]
		if f.Vantage != c.want || !f.MidStream {
			t.Errorf("%s: vantage %s, mid-stream %v", name, f.Vantage, f.MidStream)
		}
		if s := tr.Summary(time.Time{}); s.Flows != 0 || s.Stages[lvs.SynSent.Index()].Reached() != 0 {
			t.Errorf("%s counts: %+v", name, s)
		}
	}
	// The SYN may come yet, also where the ring delivers it late.
	tr := NewTracker(Config{LocalAddrs: local})
	late := seen(lvs.RoleRouter, unanswered()[:2])
	feed(tr, append(slices.Clone(late[2:]), late[:2]...))
	if f := tr.Flows()[0]; f.MidStream || f.Vantage != lvs.RoleRouter || tr.Len() != 1 {
		t.Errorf("the SYN came after its answer: %+v", f)
	}
}
