package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"lvstui/capture"
	"lvstui/lvs"
	"lvstui/ui"
)

// settled flows are printed while the capture goes on.
func settled(f capture.Flow) bool {
	return slices.Contains([]capture.Outcome{capture.Closed, capture.Reset, capture.Refused, capture.Stalled}, f.Outcome)
}

// lasting flows are printed before they end: most connections end so soon that one line is enough for them.
func lasting(f capture.Flow) bool {
	return f.Outcome == capture.Established && f.LastSeen.Sub(f.FirstSeen) > 2*time.Second
}

// wellEnded is what --expect established accepts.
func wellEnded(o capture.Outcome) bool { return o == capture.Established || o == capture.Closed }

// flowPrinter prints each flow when there is something new to say of it.
type flowPrinter struct {
	w      io.Writer
	format format
	colour bool
	// notices says that a program asked for more than flows: a line of JSON without it is a flow.
	notices bool
	last    map[uint64]capture.Outcome // of each flow when it was printed last
	said    map[uint64]capture.Outcome // the same, of those whose start was seen
	why     string                     // what was said last of a flow that failed
	good    int                        // flows that the tracker has forgotten since, by how they had ended
	bad     int
}

func newFlowPrinter(w io.Writer, f format, colour bool) *flowPrinter {
	return &flowPrinter{w: w, format: f, colour: colour, said: map[uint64]capture.Outcome{}, last: map[uint64]capture.Outcome{}}
}

func (p *flowPrinter) print(f capture.Flow) error {
	if p.last[f.ID] == f.Outcome {
		return nil
	}
	p.last[f.ID] = f.Outcome
	if !f.MidStream {
		p.said[f.ID] = f.Outcome
	}
	if p.format == formatJSON {
		b, err := json.Marshal(f)
		if err != nil {
			return err
		}
		return writeAll(p.w, append(b, '\n'))
	}
	why := whyLines(f)
	if why != "" && why == p.why {
		return writeAll(p.w, []byte(flowLine(f, p.colour)+fmt.Sprintf("      no %s, as above\n", f.StalledAt)))
	}
	p.why = why
	return writeAll(p.w, []byte(flowLine(f, p.colour)+why))
}

const rememberedLines = 50_000

func (p *flowPrinter) full() bool { return len(p.last) > rememberedLines }

// forget drops what was printed of flows that the tracker does not remember either, and keeps only the counts.
func (p *flowPrinter) forget(remembered []capture.Flow) {
	known := make(map[uint64]bool, len(remembered))
	for _, f := range remembered {
		known[f.ID] = true
	}
	for id := range p.last {
		if known[id] {
			continue
		}
		switch o := p.said[id]; {
		case wellEnded(o):
			p.good++
		case o != "" && o != capture.Pending:
			p.bad++
		}
		delete(p.last, id)
		delete(p.said, id)
	}
}

// expected judges the flows by --expect. Those that the capture met in mid-stream prove nothing, those that are still
// open may yet go either way.
func (p *flowPrinter) expected(what string, flows []capture.Flow) error {
	if what == "" {
		return nil
	}
	p.forget(flows)
	good, bad := p.good, p.bad
	for _, f := range flows {
		switch {
		case f.MidStream:
		case wellEnded(f.Outcome):
			good++
		case settled(f):
			bad++
		}
	}
	switch {
	case bad > 0:
		note("expected: every flow established; %d of %d were not", bad, good+bad)
	case good == 0:
		note("expected: every flow established; there was none")
	default:
		return nil
	}
	return exitStatus(statusBroken)
}

// summary says what it came to: for people on standard error, for programs that ask for it as the last line. names tell real servers by their MACs.
func (p *flowPrinter) summary(flows []capture.Flow, names map[capture.MAC]netip.Addr) error {
	list := capture.ByService(flows)
	for i := range list {
		for j := range list[i].RealServers {
			if r := &list[i].RealServers[j]; !r.RealServer.IsValid() {
				r.RealServer = names[r.MAC]
			}
		}
	}
	if p.format == formatText || isTerminal(os.Stderr) {
		fmt.Fprint(os.Stderr, summaryText(list))
	}
	if list == nil {
		list = []capture.ServiceSummary{}
	}
	return p.notice("summary", map[string]any{"services": list})
}

// notice writes a line that is no flow for programs: it has the field "notice", which says what it is about.
func (p *flowPrinter) notice(kind string, fields map[string]any) error {
	if p.format != formatJSON || !p.notices {
		return nil
	}
	fields["notice"] = kind
	b, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	return writeAll(p.w, append(b, '\n'))
}

// maxSummaries bounds the summary: a capture of everything may hold thousands of services.
const maxSummaries = 20

func summaryText(list []capture.ServiceSummary) string {
	var b strings.Builder
	for i, s := range list {
		if i == maxSummaries {
			fmt.Fprintf(&b, "… and %d more virtual services\n", len(list)-i)
			break
		}
		fmt.Fprintf(&b, "%s %s: %s\n", s.Protocol, s.Virtual, strings.Join(counts(s.Counts), ", "))
		b.WriteString(timesText(s.Counts))
		for j, r := range s.RealServers {
			if j == maxSummaries {
				fmt.Fprintf(&b, "    … and %d more real servers\n", len(s.RealServers)-j)
				break
			}
			name := r.MAC.String()
			if r.RealServer.IsValid() {
				name = r.RealServer.String() + " (" + name + ")"
			}
			fmt.Fprintf(&b, "    real server %s: %s\n", name, strings.Join(counts(r.Counts), ", "))
			if len(s.RealServers) > 1 {
				b.WriteString(timesText(r.Counts))
			}
		}
	}
	return b.String()
}

// timesText says how long the handshakes took and how often one was sent again.
func timesText(s capture.Counts) string {
	text := ""
	if h := s.Handshake; h.Count > 0 {
		text += fmt.Sprintf("      handshake: half within %s, 95%% within %s, longest %s\n", millis(h.P50), millis(h.P95), millis(h.Max))
	}
	if s.SynRetransmits+s.SynAckRetransmits > 0 && s.Started > 0 {
		text += fmt.Sprintf("      sent again: SYN ×%d (%.2f for each start), SYN-ACK ×%d (%.2f)\n", s.SynRetransmits, s.SynRetransmitRate, s.SynAckRetransmits, s.SynAckRetransmitRate)
	}
	return text
}

func counts(s capture.Counts) []string {
	words := []string{fmt.Sprintf("%d started", s.Started), fmt.Sprintf("%d established", s.Established)}
	add := func(n int, what string) {
		if n > 0 {
			words = append(words, fmt.Sprintf("%d %s", n, what))
		}
	}
	stages := slices.SortedFunc(maps.Keys(s.StalledAt), func(a, b lvs.Stage) int { return a.Index() - b.Index() })
	for _, st := range stages {
		if st == "" {
			add(s.StalledAt[st], "stalled")
			continue
		}
		add(s.StalledAt[st], "stalled: no "+string(st))
	}
	add(s.Refused, "refused")
	add(s.Reset, "reset")
	add(s.Pending, "still open")
	add(s.MidStream, "met in mid-stream")
	return words
}

func millis(d time.Duration) string {
	return strconv.FormatFloat(float64(d)/float64(time.Millisecond), 'f', 2, 64) + " ms"
}

// verdict is one flow in one line.
func verdict(f capture.Flow) string {
	line := fmt.Sprintf("%s %s → %s %s %s", f.Protocol, f.Client, f.Virtual, f.Outcome, stageBar(f, unpainted))
	if f.StalledAt != "" {
		line += fmt.Sprintf(" no %s", f.StalledAt)
	}
	if len(f.Suspects) > 0 {
		line += " suspects: " + strings.Join(f.Suspects[:min(len(f.Suspects), maxSuspects)], ", ")
	}
	return line
}

// maxSuspects are shown of a flow; programs get all.
const maxSuspects = 3

// flowLine is one flow for people: who, how it went, and the stages in one letter each.
func flowLine(f capture.Flow, colour bool) string {
	paint := unpainted
	if colour {
		paint = sgr
	}
	protocol := ""
	if f.Protocol == lvs.UDP {
		protocol = "  udp"
	}
	line := fmt.Sprintf("%s%s  %s → %s  %s %s", f.FirstSeen.Local().Format("15:04:05.000"), protocol, f.Client, f.Virtual,
		paint(outcomeColour(f.Outcome), fmt.Sprintf("%-11s", f.Outcome)), stageBar(f, paint))
	if f.Handshake > 0 {
		line += "  handshake " + millis(f.Handshake)
	}
	if f.RealServer.IsValid() {
		line += fmt.Sprintf("  %s to %s", cmp.Or(f.Forward, "rewritten"), f.RealServer)
	}
	if f.SynRetransmits > 0 {
		line += fmt.Sprintf("  SYN sent again ×%d", f.SynRetransmits)
	}
	if f.SynAckRetransmits > 0 {
		line += fmt.Sprintf("  SYN-ACK sent again ×%d", f.SynAckRetransmits)
	}
	if f.MidStream {
		line += "  met in mid-stream"
	}
	return line + "\n"
}

// whyLines say of a flow that failed how far it came and what is suspected, "" of others.
func whyLines(f capture.Flow) string {
	line := ""
	switch {
	case f.StalledAt != "" && f.Outcome == capture.Refused:
		line += fmt.Sprintf("      seen from the %s: reached %s, then %s: no %s\n", seenFrom(f), f.Reached, refusal(f), f.StalledAt)
	case f.StalledAt != "":
		line += fmt.Sprintf("      seen from the %s: reached %s, then nothing: no %s\n", seenFrom(f), f.Reached, f.StalledAt)
	}
	if n := len(f.Suspects); n > 0 {
		line += "      suspects: " + strings.Join(f.Suspects[:min(n, maxSuspects)], ", ")
		if n > maxSuspects {
			line += fmt.Sprintf(", %d more", n-maxSuspects)
		}
		line += fmt.Sprintf("; try: lvstui explain %s\n", f.Suspects[0])
	}
	return line
}

// refusal says what answered in the place of a SYN-ACK.
func refusal(f capture.Flow) string {
	r, what := f.RST, "a RST"
	if r == nil && f.ICMP != nil {
		r, what = f.ICMP, fmt.Sprintf("an ICMP error (type %d, code %d)", f.ICMP.Type, f.ICMP.Code)
	}
	if r == nil {
		return "a refusal"
	}
	what += " from " + r.From.String()
	if r.Direction == capture.Out {
		return what + ", sent here"
	}
	if r.SrcMAC != (capture.MAC{}) {
		what += " by way of " + r.SrcMAC.String()
	}
	return what
}

// legend says what the letters of a stage bar mean.
func legend() string {
	return "stages from syn-sent to established: S seen, i implied by a later one, ✗ missing, · not yet due, ? cannot be seen from here"
}

// seenFrom names the vantages of a flow.
func seenFrom(f capture.Flow) string {
	var words []string
	for _, v := range slices.Compact(slices.Clone(f.Vantages)) {
		words = append(words, strings.ReplaceAll(string(v), "-", " "))
	}
	if len(words) < 2 {
		return strings.ReplaceAll(string(f.Vantage), "-", " ")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// stageBar shows the eleven stages: S seen, i implied, ✗ missing, · not yet due, ? cannot be seen from here.
func stageBar(f capture.Flow, paint func(colour int, s string) string) string {
	glyph := map[lvs.StageState]string{lvs.Seen: "S", lvs.Implied: "i", lvs.Missing: "✗", lvs.Pending: "·", lvs.Unobservable: "?"}
	bar := ""
	for _, st := range lvs.Stages {
		switch state := f.Stage(st).State; state {
		case lvs.Seen:
			bar += paint(green, glyph[state])
		case lvs.Missing:
			bar += paint(red, glyph[state])
		default:
			bar += glyph[state]
		}
	}
	return "[" + bar + "]"
}

// Foreground colours of ECMA-48, in the terminal's own shades. Every one goes with a word or a glyph.
const (
	red    = 31
	green  = 32
	yellow = 33
)

func outcomeColour(o capture.Outcome) int {
	switch {
	case wellEnded(o):
		return green
	case o == capture.Stalled, o == capture.Refused:
		return red
	}
	return yellow
}

func unpainted(_ int, s string) string { return s }

func sgr(colour int, s string) string { return fmt.Sprintf("\x1b[%dm%s\x1b[0m", colour, s) }

// paints is true if out is a terminal that shows colours and whose owner wants them.
func paints(out *os.File, getenv func(string) string) bool {
	return isTerminal(out) && !ui.NoColor(getenv) && getenv("TERM") != "dumb"
}
