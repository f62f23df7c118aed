package file

import (
	"slices"
	"strings"
	"testing"
	"time"

	"lvstui/capture"
)

// TestPastedText: what tcpdump 4.99.3 prints of the recordings comes to what the recordings come to themselves, with whatever it was told to
// leave out or to print another way.
func TestPastedText(t *testing.T) {
	for text, name := range map[string]string{
		"masq-director.txt":       "masq-director", // -nn: each packet twice, and nothing but time tells that it is the same
		"split-director.txt":      "split-director",
		"shared-router.txt":       "shared-router",
		"split-router.txt":        "split-router", // two like SYN-ACKs within a millisecond, resent for two reasons
		"split-rs1.txt":           "split-rs1",
		"ipip-director.txt":       "ipip-director",
		"ipip-director-e.txt":     "ipip-director",
		"ipip-director-v.txt":     "ipip-director",
		"ipip-rs2-e.txt":          "ipip-rs2",
		"vlan-director-e.txt":     "vlan-director", // each packet on member, bond and VLAN
		"shared-director-S.txt":   "shared-director",
		"masq-director-names.txt": "masq-director", // -e without -n: makers of MACs, names of ports
		"masq-client-number.txt":  "masq-client",   // -#
		"masq-client-ttt.txt":     "masq-client",   // since the packet before
		"masq-client-ttttt.txt":   "masq-client",   // since the first packet
	} {
		packets, s := readAll(t, load(t, text))
		if s.Format() != Text {
			t.Errorf("%s: %s", text, s.Format())
		}
		got, want := flowsOf(packets, capture.Config{}), flowsOf(withoutDirections(recordingOf(t, name).read(t)), capture.Config{})
		if len(got) != len(want) {
			t.Errorf("%s: %d flows, want %d", text, len(got), len(want))
			continue
		}
		for i := range want {
			g, w := &got[i], &want[i]
			if g.Client != w.Client || g.Virtual != w.Virtual || g.Vantage != w.Vantage || g.Outcome != w.Outcome || g.Reached != w.Reached || g.StalledAt != w.StalledAt ||
				g.SynRetransmits != w.SynRetransmits || g.DataRetransmits != w.DataRetransmits || g.BytesToVirtual != w.BytesToVirtual || g.BytesToClient != w.BytesToClient || g.ISN != w.ISN || g.Forward != w.Forward || g.RealServer != w.RealServer {
				t.Errorf("%s, flow %d:\n got %+v\nwant %+v", text, i+1, g, w)
			}
			// Of two SYN-ACKs within a millisecond, both with ip.id 0, a file says that they are one, and text without ip.id that they are two.
			if w.Outcome == capture.Closed && (g.Packets != w.Packets || g.Frames != w.Frames || g.SynAckRetransmits != w.SynAckRetransmits) {
				t.Errorf("%s, flow %d: %d packets in %d frames, want %d in %d", text, i+1, g.Packets, g.Frames, w.Packets, w.Frames)
			}
			if d := g.Handshake - w.Handshake; d > 2000 || d < -2000 { // tcpdump prints microseconds
				t.Errorf("%s, flow %d: handshake %v, want %v", text, i+1, g.Handshake, w.Handshake)
			}
		}
	}
	for _, name := range []string{"client-e.txt", "client-e-v.txt", "client-e-tttt.txt", "client.txt"} { // out of a page's source, or with its spaces
		want, _ := readAll(t, load(t, name))
		got, _ := readAll(t, []byte(strings.NewReplacer(">", "&gt;", " ", "\u00a0").Replace(string(load(t, name)))))
		if !slices.Equal(got, want) {
			t.Errorf("%s from a page: %d packets, want %d", name, len(got), len(want))
		}
	}
	if packets, s := readAll(t, load(t, "masq-client-q.txt")); len(tcpOnly(packets)) != 0 || s.Skipped() != 40 {
		t.Errorf("-q, which prints no flags: %d packets, %d lines left out", len(packets), s.Skipped())
	}
}

// withoutDirections gives packets as a file without directions and interfaces does.
func withoutDirections(packets []capture.Packet) []capture.Packet {
	for i := range packets {
		packets[i].Dir, packets[i].Interface = capture.Unknown, 0
	}
	return packets
}

// TestTimesSinceTheFirstPacket: two processors may write their first packets in the wrong order, and the times are since the first one still.
func TestTimesSinceTheFirstPacket(t *testing.T) {
	for name, c := range map[string]struct{ lines, want []string }{
		"-ttttt": {[]string{"00:00:00.000000", "00:00:00.000030", "00:00:00.000009", "00:00:01.000000", "00:00:02.000000"}, []string{"0s", "30µs", "9µs", "1s", "2s"}},
		"-ttt":   {[]string{"00:00:00.000000", "00:00:01.000000", "00:00:00.000009", "00:00:01.000000"}, []string{"0s", "1s", "1.000009s", "2.000009s"}},
	} {
		var times clock
		var got []string
		for _, line := range c.lines {
			at, _, ok := times.read(line + " IP")
			if !ok {
				t.Fatalf("%s: %s is no time", name, line)
			}
			got = append(got, time.Duration(at).String())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
