package ui

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"lvstui/capture"
	"lvstui/ui/internal/sample"
)

// halfBroken has one working flow, of client port 49690, among the failing ones of BrokenDirector.
func halfBroken(t *testing.T, width, height int) (*driver, *plainHost) {
	host := &plainHost{name: "director", facts: sample.HalfBroken()}
	d := newDriver(t, width, height, Options{Hosts: hostsOf(host), Explain: func(string, int) string { return "" }}).start()
	d.press("2")
	return d, host
}

// ports are the client ports on the screen, from top to bottom.
func ports(screen string) string {
	var out []string
	for _, m := range regexp.MustCompile(`188\.88\.88\.10:(\d+)`).FindAllStringSubmatch(screen, -1) {
		out = append(out, m[1])
	}
	return strings.Join(out, " ")
}

func TestFlowsAreSorted(t *testing.T) {
	d, _ := halfBroken(t, 100, 40)
	for _, want := range []string{
		"49680 42314 49676 49690 49674 49672", // newest first
		"42314 49676 49674 49672 49680 49690", // stalled, pending, closed
		"49680 42314 49676 49674 49672 49690", // forwarded before established
		"49680 42314 49676 49690 49674 49672", // one client
		"49680 42314 49674 49676 49690 49672", // rs1, then rs2
		"49680 42314 49676 49690 49674 49672",
	} {
		if got := ports(d.screen()); got != want {
			t.Errorf("%s, want %s:\n%s", got, want, lineWith(d.screen(), "flows ·"))
		}
		d.press("s")
	}
	d.shows("sorted by trouble")
}

func TestFlowsAreGrouped(t *testing.T) {
	d, hosts := halfBroken(t, 100, 40)
	d.press("b")
	d.shows("by client", "› 188.88.88.10")
	d.press("b")
	for rs, want := range map[string]string{"192.168.10.11": "3 2 0 0 1 0 - 6", "192.168.10.12": "3 2 0 0 0 1 3.7 ms 6"} {
		if got := strings.Join(strings.Fields(lineWith(d.screen(), rs))[1:], " "); !strings.HasSuffix(got, want) {
			t.Errorf("%s: %q, want flows, stalled, refused, reset, pending, ok, median, resent: %q", rs, got, want)
		}
	}
	d.press("G", "enter")
	d.shows("filter rs:192.168.10.12: 3 shown")
	if got := ports(d.screen()); got != "49676 49690 49672" {
		t.Errorf("flows of rs2: %s", got)
	}
	d.press("b", "b", "b")
	d.shows("by stage reached", "forwarded", "established")
	d.press("G", "enter")
	d.shows("filter rs:192.168.10.12 reached:established: 1 shown")
	d.press("esc")
	d.shows("6 flows")
	d.hides("filter rs")
	d.press("b", "esc")
	d.hides("by client")

	hosts.facts.Flows = nil // while grouped
	d.press("b")
	d.pass()
	d.shows("No handshake was seen yet")
	d.press("enter")
	d.shows("there is no group")
}

func TestTabCompletesTheFilter(t *testing.T) {
	d, _ := halfBroken(t, 100, 40)
	d.press("/", "=rs")
	d.shows("tab rs:")
	d.press("tab", "tab")
	d.shows("filter: rs:192.168.10.1", "rs:192.168.10.11, rs:192.168.10.12")
	d.press("=9")
	d.shows("this text is looked for as it stands")
	d.press("backspace", "=2", "tab", "=state:cl", "tab", "enter")
	d.shows("filter rs:192.168.10.12 state:closed: 1 shown")
}

func TestPacketDetail(t *testing.T) {
	d, host := halfBroken(t, 100, 40)
	d.press("G", "enter", "enter")
	d.shows("SYN, client to VIP, 0.000 s", "from MAC   00:0c:29:21:59:d7 (172.16.0.1)", "(director)", "TTL 63", "448411585 (first +0)", "TCP flags  SYN")
	d.press("esc", "e")
	d.shows("There is no explanation of this finding", "router-urpf-or-source-guard")
	d.press("esc", "down", "down", "enter") // the repetitions are folded into one rung
	d.shows("1.024 s after", "3.040 s after", "7.072 s after", "sent again")
	d.press("esc", "down", "enter")
	d.shows("the same packet on its way out: forwarded")
	d.press("esc", "esc", "home", "down", "down", "down", "enter", "down", "down", "enter")
	d.shows("ACK, client to VIP", "ack        1733870213", "448411586 (first +1)")
	d.press("esc", "esc")

	old := host.facts.Flows
	host.facts.Flows = append([]capture.Flow{}, old...)
	for i := range host.facts.Flows {
		host.facts.Flows[i].Events = nil
	}
	d.pass()
	d.press("enter", "enter")
	d.shows("enter packet: the packets of this flow were not kept")
}

// Down goes from packet to packet and then on through the text below; up goes back.
func TestLadderScrollsPastItsPackets(t *testing.T) {
	d, _ := halfBroken(t, 80, 24)
	d.press("G", "enter")
	d.shows("›   0.000", "more lines")
	for range 30 {
		d.press("down")
	}
	d.shows("Stages", "? SYN-ACK at client", "· established")
	d.hides("›", "more lines")
	for range 40 {
		d.press("up")
	}
	d.shows("›   0.000", "stalled: ACK at director is missing")
	d.press("G", "down") // at the end: nothing more
	d.shows("· established")
	d.press("enter")
	d.shows("Packet of")
}

func TestCompareShowsWhereFlowsPart(t *testing.T) {
	d, host := halfBroken(t, 120, 40)
	d.press("down", "down", "down", "m")
	d.shows("›*188.88.88.10:49690", "marked: m on another flow")
	d.press("G", "m")
	d.shows("✗ stalled  188.88.88.10:49672 ", "✓ closed  188.88.88.10:49690", "Both get as far as forwarded.", "Where it is lost on the way from forwarded to ACK at director",
		"SYN sent again   3×", "the same: client 188.88.88.10", "▶ SYN ×3")
	if line := lineWith(d.screen(), "they part here"); !strings.Contains(line, "ACK at director") {
		t.Errorf("they part at %q, want at ACK at director", line)
	}
	d.press("y")
	if !strings.Contains(d.clip, "they part here") {
		t.Errorf("clipboard: %q", d.clip)
	}
	d.press("esc", "up", "m") // another failing one: the mark stays
	d.shows("188.88.88.10:49674", "188.88.88.10:49690")
	d.press("esc", "up", "m")
	d.hides(" *188", "›*188")
	d.press("m", "up", "m")
	d.shows("Two flows side by side")
	host.facts.Flows, host.facts.At = nil, host.facts.At.Add(time.Second) // both are gone: what is known stays
	d.pass()
	d.shows("Two flows side by side", "188.88.88.10:49690")
}

func TestCompareOfTwoThatFailAlike(t *testing.T) {
	d, _ := cluster(t)
	d.press("2", "G", "m", "up", "m")
	d.shows("They do not part: both get as far as forwarded.", "real server")
	d.hides("they part here")
}

// The SYN came with the router's MAC and not with the director's: the drawing must not be all there is.
func TestSynPastTheDirector(t *testing.T) {
	host := &plainHost{name: "rs1", facts: sample.BrokenRealServer()}
	d := newDriver(t, 120, 40, Options{Hosts: hostsOf(host)}).start()
	d.press("2", "enter")
	d.shows("eth0 out to gateway 192.168.10.1 ")
	d.hides("past the director, unless")
	f := &host.facts.Flows[0]
	f.SynAckTo = f.Events[1].DstMAC
	f.SynFrom = f.SynAckTo
	d.pass()
	d.shows("! The SYN came from where the SYN-ACK goes, gateway 192.168.10.1", "past the director, unless")
}
