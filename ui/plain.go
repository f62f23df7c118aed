package ui

import (
	"fmt"
	"strings"

	"lvstui/ui/kit"
	"lvstui/ui/screens"
)

// plainWidth is where lines of Plain are broken: readers for the blind and pagers break them again as they like.
const plainWidth = 100

// Plain is the whole picture as lines of text, top to bottom, without frames, colour or a screen to move about on: for
// ACCESSIBLE=1 and for a mail. Words say everything; no sign stands alone.
func Plain(f Facts) string {
	var b strings.Builder
	r := f.Report
	fmt.Fprintf(&b, "Host %s, %s.\n", kit.Clean(f.Host), rolesWords(r.Roles))
	fmt.Fprintf(&b, "Verdict %s: %s.\n", r.Verdict, strings.TrimSuffix(kit.Clean(r.Summary), "."))
	fmt.Fprintf(&b, "Capture: %s.\n", plainCapture(f.Capture))
	for _, v := range r.VirtualServices {
		fmt.Fprintf(&b, "Virtual service %s %s, scheduler %s.\n", v.Protocol, kit.Clean(v.Virtual), kit.Clean(v.Scheduler))
		for _, d := range v.Destinations {
			fmt.Fprintf(&b, "  real server %s, method %s, weight %d, %d active and %d inactive connections.\n",
				kit.Clean(d.RealServer), d.Forward, d.Weight, d.ActiveConns, d.InactiveConns)
		}
	}
	b.WriteString("\nThe handshake, stage by stage:\n")
	for i, p := range r.Path {
		fmt.Fprintf(&b, "  %d. %s: %s, %s.\n", i+1, p.Stage.Title(), p.Status, kit.Clean(p.Note))
	}
	if len(r.Findings) == 0 {
		b.WriteString("\nNothing was found.\n")
		if suspects := screens.FlowSuspects(f); len(suspects) > 0 {
			writeWrapped(&b, "The flows point to one of these, which lvstui explain ID explains: "+strings.Join(suspects, ", ")+".")
		}
	}
	for i, finding := range r.Findings {
		fmt.Fprintf(&b, "\nFinding %d of %d.\n", i+1, len(r.Findings))
		writeWrapped(&b, screens.FindingText(finding))
	}
	plainFlows(&b, f)
	for _, g := range r.Gaps {
		writeWrapped(&b, fmt.Sprintf("Could not look at %s on %s: %s", g.Source, kit.Clean(g.Host), kit.Clean(g.Reason)))
	}
	return b.String()
}

func plainCapture(c Capture) string {
	drops := fmt.Sprintf("%d packets, %d dropped", c.Packets, c.Dropped)
	if c.Sampled > 1 {
		drops += fmt.Sprintf(", one flow in %d followed", c.Sampled)
	}
	if c.Notice != "" {
		drops += "; " + kit.Clean(c.Notice)
	}
	switch c.Mode {
	case screens.CaptureLive:
		where := "all interfaces"
		if len(c.Interfaces) > 0 {
			where = strings.Join(c.Interfaces, " ")
		}
		return "live on " + kit.Clean(where) + ", " + drops
	case screens.CaptureFile:
		return "from file " + kit.Clean(c.Name) + ", " + drops
	case screens.CaptureFailed:
		return "failed, " + kit.Clean(c.Err)
	}
	return strings.TrimSuffix("off, "+kit.Clean(c.Err), ", ")
}

// maxPlainFlows bounds the list to the latest; the counts before it are of all.
const maxPlainFlows = 20

func plainFlows(b *strings.Builder, f Facts) {
	if len(f.Flows) == 0 {
		return
	}
	counts := screens.OutcomeCounts(f.Flows)
	var words []string
	for _, o := range screens.Outcomes {
		if counts[o] > 0 {
			words = append(words, fmt.Sprintf("%d %s", counts[o], o))
		}
	}
	fmt.Fprintf(b, "\nFlows seen: %d; %s.\n", len(f.Flows), strings.Join(words, ", "))
	earlier := max(0, len(f.Flows)-maxPlainFlows)
	for i := earlier; i < len(f.Flows); i++ {
		w := &f.Flows[i]
		fmt.Fprintf(b, "  %s to %s: %s, got as far as %s", w.Client, w.Virtual, w.Outcome, w.Reached.Title())
		if w.StalledAt != "" {
			fmt.Fprintf(b, ", missing %s", w.StalledAt.Title())
		}
		b.WriteString(".\n")
	}
	if earlier > 0 {
		fmt.Fprintf(b, "  and %d before these.\n", earlier)
	}
}

// writeWrapped breaks long lines and keeps each line's indentation.
func writeWrapped(b *strings.Builder, text string) {
	for _, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		body := strings.TrimLeft(line, " ")
		indent := line[:len(line)-len(body)]
		for _, w := range kit.Wrap(body, plainWidth-len(indent)) {
			b.WriteString(strings.TrimRight(indent+w, " ") + "\n")
		}
	}
}
