package file

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

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
