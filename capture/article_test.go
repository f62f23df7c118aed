package capture

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"lvstui/lvs"
)

var (
	articleClient  = netip.MustParseAddrPort("188.88.88.10:49672")
	articleVirtual = netip.MustParseAddrPort("172.16.0.8:80")
	clientMAC      = MAC{0x00, 0x0c, 0x29, 0x6d, 0x1a, 0x7d}
	routerMAC      = MAC{0x00, 0x0c, 0x29, 0x21, 0x59, 0xd7}
	directorMAC    = MAC{0x00, 0x0c, 0x29, 0x00, 0x00, 0x0d}
	serverMAC      = MAC{0x00, 0x0c, 0x29, 0x12, 0x12, 0x0c}
)

// articlePackets is the working connection as the client saw it.
func articlePackets() []Packet {
	const isn, irs = 448411585, 3569473399
	at := func(us int64) int64 { return time.Date(1970, 1, 1, 13, 22, 28, int(us)*1000, time.UTC).UnixNano() }
	c := func(us int64, f TCPFlags, seq, ack uint32, n int32) Packet {
		return Packet{Time: at(us), Kind: TCP, Proto: protoTCP, HasMAC: true, SrcMAC: clientMAC, DstMAC: routerMAC,
			Src: articleClient.Addr(), SrcPort: articleClient.Port(), Dst: articleVirtual.Addr(), DstPort: articleVirtual.Port(),
			Flags: f, Seq: isn + seq, Ack: ack, PayloadLen: n}
	}
	v := func(us int64, f TCPFlags, seq, ack uint32, n int32) Packet {
		return Packet{Time: at(us), Kind: TCP, Proto: protoTCP, HasMAC: true, SrcMAC: routerMAC, DstMAC: clientMAC,
			Src: articleVirtual.Addr(), SrcPort: articleVirtual.Port(), Dst: articleClient.Addr(), DstPort: articleClient.Port(),
			Flags: f, Seq: irs + seq, Ack: isn + ack, PayloadLen: n}
	}
	return []Packet{
		c(360656, SYN, 0, 0, 0),
		v(364284, SYN|ACK, 0, 1, 0),
		c(364346, ACK, 1, irs+1, 0),
		c(365675, PSH|ACK, 1, irs+1, 74),
		v(367973, ACK, 1, 75, 0),
		v(369291, PSH|ACK, 1, 75, 274),
		c(369309, ACK, 75, irs+275, 0),
		c(369757, FIN|ACK, 75, irs+275, 0),
		v(371169, FIN|ACK, 275, 76, 0),
		c(371185, ACK, 76, irs+276, 0),
	}
}

func feed(t *Tracker, packets []Packet) {
	for _, p := range packets {
		t.Add(&p)
	}
}

func TestArticleWorkingTrace(t *testing.T) {
	tr := NewTracker(Config{})
	feed(tr, articlePackets())
	flows := tr.Flows()
	if len(flows) != 1 {
		t.Fatalf("got %d flows, want 1: %+v", len(flows), flows)
	}
	f := flows[0]
	if f.Client != articleClient || f.Virtual != articleVirtual || f.Vantage != lvs.RoleClient || f.Outcome != Closed ||
		f.Packets != 10 || f.BytesToVirtual != 74 || f.BytesToClient != 274 || f.Handshake != 3690*time.Microsecond ||
		f.StalledAt != "" || f.Reached != lvs.Established || f.SynRetransmits+f.SynAckRetransmits+f.DataRetransmits != 0 {
		t.Errorf("flow differs: %+v", f)
	}
	for _, s := range f.Stages {
		// The client's one neighbour is its router: whether a director had a part in it cannot be told from there.
		if s.State != lvs.Seen && s.State != lvs.Implied && !(directors(s.Stage) && s.State == lvs.Unobservable) {
			t.Errorf("stage %s is %s", s.Stage, s.State)
		}
	}
	if d := f.Stage(lvs.SynAckAtClient).Direction; d != In {
		t.Errorf("SYN-ACK at the client has direction %q", d)
	}
	b, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"handshake_ms":3.69`, `"stalled_at":null`, `"suspects":[]`, `"outcome":"closed"`,
		`"client":"188.88.88.10:49672"`, `"virtual":"172.16.0.8:80"`, `"bytes_to_virtual":74`, `"src_mac":"00:0c:29:6d:1a:7d"`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("JSON lacks %s:\n%s", want, b)
		}
	}
	var back Flow
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if back.Handshake != f.Handshake || back.StalledAt != f.StalledAt || len(back.Stages) != len(f.Stages) || back.Stages[0] != f.Stages[0] {
		t.Errorf("JSON does not round-trip:\n%+v\n%+v", f, back)
	}
}

// directors are the stages that a connection passes only by way of a director.
func directors(s lvs.Stage) bool {
	return s == lvs.VIPResolved || s == lvs.SynAtDirector || s == lvs.SynScheduled || s == lvs.SynForwarded || s == lvs.AckAtDirector
}
