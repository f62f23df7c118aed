package file

import (
	"bytes"
	"encoding/binary"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lvstui/capture"
	"lvstui/lvs"
)

// recording is what one host of the lab saw of the same four connections, with real ip_vs: in the article's
// failing topology (split) and in its cure (shared). Each real server got half of the connections.
type recording struct {
	name               string
	vantage            lvs.Vantage
	flows              int
	outcome            capture.Outcome
	reached, stalledAt lvs.Stage
	suspect            string
}

var recordings = []recording{
	{"split-client", lvs.RoleClient, 4, capture.Stalled, lvs.SynSent, lvs.SynAckAtClient, ""},
	{"split-router", lvs.RoleRouter, 4, capture.Stalled, lvs.SynAckSent, lvs.SynAckAtClient, "router-urpf-or-source-guard"},
	{"split-director", lvs.RoleDirector, 4, capture.Stalled, lvs.SynForwarded, lvs.AckAtDirector, "router-urpf-or-source-guard"},
	{"split-rs1", lvs.RoleRealServer, 2, capture.Stalled, lvs.SynAckSent, lvs.SynAckAtClient, "router-urpf-or-source-guard"},
	{"shared-client", lvs.RoleClient, 4, capture.Closed, lvs.Established, "", ""},
	{"shared-router", lvs.RoleRouter, 4, capture.Closed, lvs.Established, "", ""},
	{"shared-director", lvs.RoleDirector, 4, capture.Closed, lvs.Established, "", ""},
	{"shared-rs1", lvs.RoleRealServer, 2, capture.Closed, lvs.Established, "", ""},
	// Two services, one by direct routing and one by masquerading to rs3; a service with rs1 by direct routing and rs2 in a tunnel;
	// VLANs, on the director upon a bond.
	{"masq-client", lvs.RoleClient, 4, capture.Closed, lvs.Established, "", ""},
	{"masq-director", lvs.RoleDirector, 4, capture.Closed, lvs.Established, "", ""},
	{"masq-rs3", lvs.RoleRealServer, 2, capture.Closed, lvs.Established, "", ""},
	{"ipip-client", lvs.RoleClient, 2, capture.Closed, lvs.Established, "", ""},
	{"ipip-director", lvs.RoleDirector, 2, capture.Closed, lvs.Established, "", ""},
	{"ipip-rs2", lvs.RoleRealServer, 1, capture.Closed, lvs.Established, "", ""},
	{"vlan-client", lvs.RoleClient, 2, capture.Closed, lvs.Established, "", ""},
	{"vlan-director", lvs.RoleDirector, 2, capture.Closed, lvs.Established, "", ""},
	{"vlan-rs1", lvs.RoleRealServer, 1, capture.Closed, lvs.Established, "", ""},
}

func (r recording) read(t *testing.T) []capture.Packet {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "testdata", r.name+".pcapng"))
	if err != nil {
		t.Fatal(err)
	}
	packets, s := readAll(t, data)
	if s.Skipped() != 0 {
		t.Errorf("%s: %d frames skipped", r.name, s.Skipped())
	}
	return packets
}

// check wants the recorded verdict of every flow. how says what was done to the packets.
func (r recording) check(t *testing.T, how string, packets []capture.Packet) []capture.Flow {
	t.Helper()
	flows := flowsOf(packets, capture.Config{})
	if len(flows) != r.flows {
		t.Errorf("%s, %s: %d flows, want %d", r.name, how, len(flows), r.flows)
	}
	for _, f := range flows {
		if f.Vantage != r.vantage || f.Outcome != r.outcome || f.Reached != r.reached || f.StalledAt != r.stalledAt {
			t.Errorf("%s, %s: %s from the %s, reached %s, stalled at %q", r.name, how, f.Outcome, f.Vantage, f.Reached, f.StalledAt)
		}
		if r.suspect != "" && (len(f.Suspects) == 0 || f.Suspects[0] != r.suspect) {
			t.Errorf("%s, %s: suspects %v", r.name, how, f.Suspects)
		}
		if r.outcome == capture.Closed && f.SynRetransmits+f.SynAckRetransmits+f.DataRetransmits > 0 {
			t.Errorf("%s, %s: forwarded packets taken for retransmissions: %+v", r.name, how, f)
		}
		if r.vantage == lvs.RoleRouter || r.vantage == lvs.RoleDirector {
			if r.outcome == capture.Closed && f.Frames != 2*f.Packets {
				t.Errorf("%s, %s: %d packets in %d frames", r.name, how, f.Packets, f.Frames)
			}
		}
	}
	return flows
}

func TestRecordedInTheLab(t *testing.T) {
	for _, r := range recordings {
		packets := r.read(t)
		r.check(t, "as it is", packets)

		var doubled []capture.Packet
		for _, p := range packets {
			doubled = append(doubled, p, p)
		}
		r.check(t, "doubled", doubled)

		tagged := slices.Clone(packets)
		for i := range tagged {
			tagged[i].VLAN = 10
		}
		r.check(t, "on a VLAN", tagged)

		undirected := slices.Clone(packets)
		for i := range undirected {
			undirected[i].Dir = capture.Unknown
		}
		r.check(t, "without directions", undirected)
		for _, f := range flowsOf(undirected, capture.Config{Vantage: r.vantage}) {
			if f.Outcome != r.outcome || f.StalledAt != r.stalledAt {
				t.Errorf("%s, without directions, vantage told: %s at %q", r.name, f.Outcome, f.StalledAt)
			}
		}
	}
}

// TestOneConnectionOnFourHosts follows each connection by its ISN from host to host.
func TestOneConnectionOnFourHosts(t *testing.T) {
	for _, topology := range []string{"split", "shared"} {
		seen := map[uint32]map[lvs.Vantage]capture.Flow{}
		for _, r := range recordings {
			if r.name[:len(topology)] != topology {
				continue
			}
			for _, f := range flowsOf(r.read(t), capture.Config{}) {
				if seen[f.ISN] == nil {
					seen[f.ISN] = map[lvs.Vantage]capture.Flow{}
				}
				seen[f.ISN][r.vantage] = f
			}
		}
		if len(seen) != 4 {
			t.Errorf("%s: %d connections", topology, len(seen))
		}
		onRS1 := 0
		for isn, at := range seen {
			server, ok := at[lvs.RoleRealServer]
			if !ok {
				continue
			}
			onRS1++
			if at[lvs.RoleDirector].RealServerMAC != server.RealServerMAC || at[lvs.RoleRouter].RealServerMAC != server.RealServerMAC {
				t.Errorf("%s, ISN %d: the hosts disagree on the real server", topology, isn)
			}
		}
		if onRS1 != 2 {
			t.Errorf("%s: %d connections on rs1", topology, onRS1)
		}
	}
}

// TestMasqueradingInTheLab: the director sees both sides of a connection and both of its addresses, and that is one flow. Its answers
// come back through it; with direct routing, in the same capture, they do not.
func TestMasqueradingInTheLab(t *testing.T) {
	rip := netip.MustParseAddrPort("10.55.0.9:8000")
	for _, f := range flowsOf(recordingOf(t, "masq-director").read(t), capture.Config{}) {
		synAck := f.Stage(lvs.SynAckSent)
		if f.Virtual.Port() == 80 {
			if f.Forward != "" || f.RealServer.IsValid() || synAck.State != lvs.Implied || f.Packets != 6 {
				t.Errorf("by direct routing: %+v", f)
			}
			continue
		}
		if f.Forward != "masq" || f.RealServer != rip || synAck.State != lvs.Seen || synAck.Direction != capture.In || synAck.SrcMAC != f.RealServerMAC || f.Packets != 10 {
			t.Errorf("masqueraded: %+v", f)
		}
	}
	var views [][]capture.Flow
	for _, name := range []string{"masq-client", "masq-director", "masq-rs3"} {
		views = append(views, flowsOf(recordingOf(t, name).read(t), capture.Config{}))
	}
	for _, f := range views[2] {
		if f.Virtual != rip { // it never hears of the VIP
			t.Errorf("on the real server: %+v", f)
		}
	}
	merged := capture.Merge(views...)
	if len(merged) != 4 {
		t.Errorf("%d flows, want 4", len(merged))
	}
	for _, f := range merged {
		want := 2
		if f.Virtual.Port() == 8080 {
			want = 3
		}
		if f.Virtual.Addr() != netip.MustParseAddr("10.7.0.50") || len(f.Vantages) != want || f.Outcome != capture.Closed {
			t.Errorf("joined: %+v", f)
		}
	}
}

// TestTunnelInTheLab: the outer header names the real server, on both of its ends.
func TestTunnelInTheLab(t *testing.T) {
	tunnelled := 0
	for _, name := range []string{"ipip-director", "ipip-rs2"} {
		r := recordingOf(t, name)
		for _, f := range flowsOf(r.read(t), capture.Config{}) {
			if f.Forward == "" { // by direct routing to rs1
				if f.RealServer.IsValid() {
					t.Errorf("%s: %+v", name, f)
				}
				continue
			}
			tunnelled++
			if f.Forward != "ipip" || f.RealServer != netip.MustParseAddrPort("10.7.1.2:80") {
				t.Errorf("%s: %+v", name, f)
			}
			at := f.Stage(lvs.SynForwarded)
			if r.vantage == lvs.RoleRealServer {
				at = f.Stage(lvs.SynAtRealServer)
			}
			if at.State != lvs.Seen || at.DstMAC != f.RealServerMAC {
				t.Errorf("%s: %+v", name, at)
			}
		}
	}
	if tunnelled != 2 {
		t.Errorf("%d flows in a tunnel, want one on each host", tunnelled)
	}
}

// TestVLANInTheLab: a frame on a VLAN of a bond is seen on the member, the bond and the VLAN, with its tag or without. Files keep the tag
// in the frame; the kernel hands it over beside the frame. Both must come to the same.
func TestVLANInTheLab(t *testing.T) {
	for _, name := range []string{"vlan-director", "vlan-rs1"} {
		r := recordingOf(t, name)
		inBand := r.read(t)
		data, err := os.ReadFile(filepath.Join("..", "testdata", name+".pcapng"))
		if err != nil {
			t.Fatal(err)
		}
		stripped, tags := strip(t, data)
		if tags == 0 || tags == len(stripped) {
			t.Errorf("%s: %d of %d frames have a tag", name, tags, len(stripped))
		}
		for i := range inBand {
			inBand[i].WireLen, stripped[i].WireLen = 0, 0 // four bytes less without the tag
		}
		if diff := cmp.Diff(inBand, stripped, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%s, tag in the frame (-) and beside it (+):\n%s", name, diff)
		}
		r.check(t, "tag stripped", stripped)
	}
}

// strip reads a capture as the kernel would have given it: the tag is not in the frame.
func strip(t *testing.T, data []byte) (packets []capture.Packet, tags int) {
	t.Helper()
	s, err := Open(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	for {
		var p capture.Packet
		err := s.Next(&p)
		if err == io.EOF {
			return packets, tags
		}
		if err != nil {
			t.Fatal(err)
		}
		frame, link := s.Frame()
		if binary.BigEndian.Uint16(frame[12:]) == 0x8100 {
			tags++
			p.VLAN = binary.BigEndian.Uint16(frame[14:]) & 0x0fff
			frame = slices.Concat(frame[:12], frame[16:])
			if err := capture.Decode(frame, link, &p); err != nil {
				t.Fatal(err)
			}
		}
		packets = append(packets, p)
	}
}

func recordingOf(t *testing.T, name string) recording {
	t.Helper()
	for _, r := range recordings {
		if r.name == name {
			return r
		}
	}
	t.Fatalf("there is no recording %s", name)
	return recording{}
}
