package capture

import (
	"net/netip"
	"testing"
	"time"

	"lvstui/lvs"
)

const (
	articleISN = 448411585
	articleIRS = 3569473399
)

// A SYN that carries data (TCP fast open), whose SYN-ACK acknowledges it, from every vantage; and one whose data is refused.
func TestFastOpen(t *testing.T) {
	const ms = time.Millisecond
	for _, taken := range []bool{true, false} {
		packets := func(v lvs.Vantage) []Packet {
			h := seenBy[v]
			var list []Packet
			add := func(way int, d time.Duration, flags TCPFlags, length int32, change func(*Packet)) {
				for k, hop := range h[way] {
					p := at(hop, way, d+time.Duration(k)*20*time.Microsecond, flags, length)
					p.IPID = uint16(d / time.Millisecond)
					change(&p)
					list = append(list, p)
				}
			}
			same := func(*Packet) {}
			add(toVirtual, 0, SYN, 74, same)
			add(toClient, ms, SYN|ACK, 0, func(p *Packet) {
				if taken {
					p.Ack += 74
				}
			})
			if taken { // the server answers before the handshake is complete
				add(toClient, 2*ms, ACK|PSH, 274, func(p *Packet) { p.Ack += 74 })
			}
			add(toVirtual, 3*ms, ACK, 0, func(p *Packet) {
				if taken {
					p.Seq += 74
				}
			})
			if !taken {
				add(toVirtual, 4*ms, ACK|PSH, 74, same)
				add(toClient, 5*ms, ACK|PSH, 274, func(p *Packet) { p.Ack += 74 })
			}
			return list
		}
		for v := range seenBy {
			f := oneFlow(t, Config{Vantage: v}, packets(v))
			if f.Outcome != Established || f.SynRetransmits+f.SynAckRetransmits+f.DataRetransmits != 0 || len(f.Suspects) > 0 {
				t.Errorf("taken=%v, seen from the %s: %s, stalled at %q, %+v", taken, v, f.Outcome, f.StalledAt, f)
			}
			if v == lvs.RoleRealServer && f.Stage(lvs.SynAckSent).State != lvs.Seen {
				t.Errorf("taken=%v: the SYN-ACK is not recognised", taken)
			}
		}
	}
	// The server's early answer proves nothing of the ACK: when that is lost on the way, the real server says so.
	h := seenBy[lvs.RoleRealServer]
	early := at(h[toClient][0], toClient, 2*ms, ACK|PSH, 274)
	early.Ack += 74
	synAck := at(h[toClient][0], toClient, ms, SYN|ACK, 0)
	synAck.Ack += 74
	tr := NewTracker(Config{Vantage: lvs.RoleRealServer})
	feed(tr, []Packet{at(h[toVirtual][0], toVirtual, 0, SYN, 74), synAck, early})
	tr.Advance(tr.Now().Add(10 * time.Second))
	if f := tr.Flows()[0]; f.Outcome != Stalled || f.StalledAt != lvs.SynAckAtClient {
		t.Errorf("without the ACK: %s at %q", f.Outcome, f.StalledAt)
	}
}

// A server with SYN cookies makes each SYN-ACK anew. The client's ACK of the first one, with a number that may be anything beside that of the
// second, is no proof that data has arrived.
func TestSYNCookies(t *testing.T) {
	const ms = time.Millisecond
	for _, second := range []uint32{articleIRS - 5_000_000, articleIRS + 5_000_000} {
		again := at(cliIn, toClient, 1001*ms, SYN|ACK, 0)
		again.Seq = second
		f := oneFlow(t, Config{Vantage: lvs.RoleDirector}, []Packet{
			at(dirIn, toVirtual, 0, SYN, 0), at(dirOut, toVirtual, 1, SYN, 0),
			at(hop{In, 2, serverMAC, directorMAC, 64}, toClient, ms, SYN|ACK, 0),
			{Time: again.Time, Kind: TCP, Dir: In, Interface: 2, HasMAC: true, SrcMAC: serverMAC, DstMAC: directorMAC, TTL: 64, Src: again.Src, Dst: again.Dst,
				SrcPort: again.SrcPort, DstPort: again.DstPort, Flags: SYN | ACK, Seq: second, Ack: again.Ack, HasIPID: true, IPID: 7},
			at(dirIn, toVirtual, 1002*ms, ACK, 0),
		})
		if f.Outcome == Established || f.Stage(lvs.Established).State == lvs.Implied {
			t.Errorf("second SYN-ACK %+d: %s", int32(second-articleIRS), f.Outcome)
		}
		if f.SynAckRetransmits != 1 {
			t.Errorf("%d SYN-ACKs sent again, want 1", f.SynAckRetransmits)
		}
	}
}

// Both ends open at once: SYN and SYN cross, and each is answered by a SYN-ACK. It is one connection, and it is established.
func TestSimultaneousOpen(t *testing.T) {
	const ms = time.Millisecond
	theirs := at(cliIn, toClient, ms, SYN, 0)
	theirs.Ack = 0
	answer := at(cliOut, toVirtual, 2*ms, SYN|ACK, 0)
	answer.Ack = articleIRS + 1
	last := at(cliOut, toVirtual, 4*ms, ACK, 0)
	reply := at(cliIn, toClient, 5*ms, ACK|PSH, 10)
	f := oneFlow(t, Config{Vantage: lvs.RoleClient}, []Packet{at(cliOut, toVirtual, 0, SYN, 0), theirs, answer, at(cliIn, toClient, 3*ms, SYN|ACK, 0), last, reply})
	if f.Client != articleClient || f.Outcome != Established {
		t.Errorf("%s → %s: %s", f.Client, f.Virtual, f.Outcome)
	}
}

// FIN and RST from either side, and connections of which one end has gone or stays.
func TestEndsFromEitherSide(t *testing.T) {
	const ms = time.Millisecond
	open := []Packet{at(cliOut, toVirtual, 0, SYN, 0), at(cliIn, toClient, ms, SYN|ACK, 0), at(cliOut, toVirtual, 2*ms, ACK, 0)}
	fromServer, fromClient := at(cliIn, toClient, 10*ms, FIN|ACK, 0), at(cliOut, toVirtual, 10*ms, FIN|ACK, 0)
	later := func(p Packet, d time.Duration) Packet {
		p.Time += int64(d)
		p.IPID += uint16(d / ms)
		return p
	}
	for _, c := range []struct {
		name string
		rest []Packet
		want Outcome
	}{
		{"the server closes first, then the client", []Packet{fromServer, later(fromClient, ms)}, Closed},
		{"the client closes first, then the server", []Packet{fromClient, later(fromServer, ms)}, Closed},
		{"half open: the server has closed, the client lingers for an hour", []Packet{fromServer, later(at(cliOut, toVirtual, 0, ACK, 0), time.Hour)}, Established},
		{"half open: the client has closed, the server goes on sending", []Packet{fromClient, later(at(cliIn, toClient, 0, ACK|PSH, 500), 20*ms)}, Established},
		{"the client resets", []Packet{at(cliOut, toVirtual, 10*ms, RST, 0)}, Reset},
		{"the server resets", []Packet{at(cliIn, toClient, 10*ms, RST|ACK, 0)}, Reset},
	} {
		tr := NewTracker(Config{Vantage: lvs.RoleClient})
		feed(tr, append(append([]Packet{}, open...), c.rest...))
		tr.Advance(tr.Now().Add(time.Minute))
		if f := tr.Flows()[0]; f.Outcome != c.want || f.StalledAt != "" || len(f.Suspects) > 0 {
			t.Errorf("%s: %s, stalled at %q, suspects %v", c.name, f.Outcome, f.StalledAt, f.Suspects)
		}
	}
	// A client that resets what answers it took the SYN-ACK for a stranger's.
	f := oneFlow(t, Config{Vantage: lvs.RoleClient}, []Packet{open[0], open[1], at(cliOut, toVirtual, 2*ms, RST, 0)})
	if f.Outcome != Reset || f.RST == nil || !f.RST.FromClient {
		t.Errorf("reset in the handshake: %s, %+v", f.Outcome, f.RST)
	}
}

// ICMPv6 has types of its own: what it says has to lead to the same suspects.
func TestICMPv6LeadsToSuspects(t *testing.T) {
	client, vip := netip.MustParseAddrPort("[2001:db8:1::10]:5000"), netip.MustParseAddrPort("[2001:db8::8]:80")
	syn := Packet{Time: 1e9, Kind: TCP, Dir: In, Interface: 2, HasMAC: true, SrcMAC: routerMAC, DstMAC: directorMAC, TTL: 63, Src: client.Addr(), Dst: vip.Addr(),
		SrcPort: client.Port(), DstPort: vip.Port(), Flags: SYN, Seq: 7}
	for _, c := range []struct {
		typ, code uint8
		stalledAt lvs.Stage
		suspect   string
	}{
		{1, 4, lvs.SynScheduled, "no-available-dest"},
		{1, 1, lvs.SynScheduled, "director-input-firewall"},
		{1, 3, lvs.SynForwarded, "rs-neigh-failed"},
		{3, 0, lvs.SynForwarded, "rs-not-on-link"},
	} {
		err := Packet{Time: 1e9 + 1e6, Kind: ICMP, Proto: protoICMPv6, Dir: Out, Interface: 2, HasMAC: true, SrcMAC: directorMAC, DstMAC: routerMAC,
			Src: vip.Addr(), Dst: client.Addr(), Quote: Quote{Type: c.typ, Code: c.code, Valid: true, Proto: protoTCP, Src: client.Addr(), Dst: vip.Addr(),
				SrcPort: client.Port(), DstPort: vip.Port(), Seq: 7}}
		f := oneFlow(t, Config{Vantage: lvs.RoleDirector}, []Packet{syn, err})
		if f.Outcome != Refused || f.StalledAt != c.stalledAt || len(f.Suspects) == 0 || f.Suspects[0] != c.suspect {
			t.Errorf("type %d code %d: %s at %q, suspects %v; want %s first", c.typ, c.code, f.Outcome, f.StalledAt, f.Suspects, c.suspect)
		}
	}
	big := Packet{Time: 1e9 + 1e6, Kind: ICMP, Proto: protoICMPv6, Dir: In, Src: vip.Addr(), Dst: client.Addr(), Quote: Quote{Type: 2, Valid: true, Proto: protoTCP,
		Src: client.Addr(), Dst: vip.Addr(), SrcPort: client.Port(), DstPort: vip.Port(), Seq: 7}}
	if f := oneFlow(t, Config{Vantage: lvs.RoleDirector}, []Packet{syn, big}); f.Outcome != Pending {
		t.Errorf("packet too big refuses nothing: %s", f.Outcome)
	}
}

// Whoever is answered from where the SYN went knows nothing of a director; a router that hands the SYN to one host and is answered by
// another does.
func TestOnlyAnotherAnswererProvesTheDirector(t *testing.T) {
	const ms = time.Millisecond
	router := seenBy[lvs.RoleRouter]
	handshake := func(server MAC) []Packet {
		answer := router[toClient][0]
		answer.src = server
		return []Packet{at(router[toVirtual][0], toVirtual, 0, SYN, 0), at(router[toVirtual][1], toVirtual, 1, SYN, 0),
			at(answer, toClient, ms, SYN|ACK, 0), at(router[toClient][1], toClient, ms+1, SYN|ACK, 0),
			at(router[toVirtual][0], toVirtual, 2*ms, ACK, 0), at(router[toVirtual][1], toVirtual, 2*ms+1, ACK, 0)}
	}
	for server, want := range map[MAC]lvs.StageState{serverMAC: lvs.Implied, directorMAC: lvs.Unobservable} {
		f := oneFlow(t, Config{Vantage: lvs.RoleRouter}, handshake(server))
		if got := f.Stage(lvs.SynScheduled).State; got != want || f.Outcome != Established {
			t.Errorf("answered by %s: scheduled is %s, %s; want %s", server, got, f.Outcome, want)
		}
	}
	f := oneFlow(t, Config{Vantage: lvs.RoleClient}, seen(lvs.RoleClient, articlePackets()))
	if f.Stage(lvs.SynScheduled).State != lvs.Unobservable || f.Stage(lvs.SynAccepted).State != lvs.Implied {
		t.Errorf("from the client: scheduled is %s, accepted %s", f.Stage(lvs.SynScheduled).State, f.Stage(lvs.SynAccepted).State)
	}
}
