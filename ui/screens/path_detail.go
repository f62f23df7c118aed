package screens

import (
	"fmt"
	"slices"
	"strings"

	"lvstui/lvs"
	"lvstui/probes"
	"lvstui/probes/rules"
	"lvstui/ui/kit"
	"lvstui/ui/theme"
)

// heading names what the details are about: a finding by its id, or a stage.
func (p *Path) heading() string {
	r, ok := p.selected()
	if !ok {
		return "Path"
	}
	if f := p.about(r); f != nil {
		return f.ID
	}
	return r.stage.Stage.Title()
}

// about is the finding that the details of a row are about: its own, or the only cause of its stage. It is nil where the details are
// about the stage.
func (p *Path) about(r row) *probes.Finding {
	if r.finding != nil {
		return r.finding
	}
	at := p.findingsAt(r.stage.Stage)
	if len(at) == 1 || len(at) > 1 && len(at[1].SymptomOf) > 0 {
		return at[0]
	}
	return nil
}

// detail is everything about the selected stage or finding, width cells wide.
func (p *Path) detail(width int) []kit.Line {
	r, ok := p.selected()
	if !ok {
		return nil
	}
	if f := p.about(r); f != nil {
		return findingDetail(*f, p.facts, width)
	}
	return p.stageDetail(r.stage, p.findingsAt(r.stage.Stage), width)
}

// brief is the details in room lines: of a finding how bad it is, its cure, and as much of the why as fits. The list above has
// its title, the rule its id.
func (p *Path) brief(width, room int) []kit.Line {
	r, ok := p.selected()
	if !ok {
		return nil
	}
	f := p.about(r)
	if f == nil {
		return cut(compact(p.stageBrief(r.stage, width)), room)
	}
	out := []kit.Line{severityLine(*f)}
	if kit.Width(f.Title) > width-findingRoom {
		out = append(kit.Paragraph(theme.Title, f.Title, width), out...)
	}
	cure := cureLines(*f, p.facts, width)
	if f.Fix != nil && len(f.Fix.Commands) > 0 { // the words are for those who ask for more
		cure = append(cure[:1:1], commandLines(f.Fix.Commands, width)...)
	}
	return cut(append(append(out, cure...), kit.Paragraph(theme.Plain, f.Why, width)...), room)
}

// findingRoom is what a finding's row needs beside its title.
const findingRoom = 16

// stageBrief leaves out of a stage's details what the list above shows already.
func (p *Path) stageBrief(st probes.PathStage, width int) []kit.Line {
	at := p.findingsAt(st.Stage)
	if len(at) == 0 {
		return p.stageDetail(st, nil, width)
	}
	out := kit.Paragraph(theme.Plain, stageMeans[st.Stage]+" "+p.counts(st), width)
	return append(out, kit.L(kit.S(theme.Accent, "↓"), kit.T(" goes to each of the "+plural(len(at), "finding")+"; "), kit.S(theme.Accent, "f"),
		kit.T(" and "), kit.S(theme.Accent, "e"), kit.T(" here take the first.")))
}

func cut(lines []kit.Line, n int) []kit.Line { return lines[:max(0, min(n, len(lines)))] }

// stageNow is what is known of a stage now.
func (p *Path) stageNow(stage lvs.Stage, width int) []kit.Line {
	for _, st := range p.facts.Report.Path {
		if st.Stage == stage {
			return p.stageDetail(st, p.findingsAt(stage), width)
		}
	}
	return nil
}

func (p *Path) stageDetail(st probes.PathStage, at []*probes.Finding, width int) []kit.Line {
	role := statusRole(st.Status)
	out := []kit.Line{kit.L(kit.S(theme.Title, st.Stage.Title()), kit.T(": "), mark(role), kit.S(role, " "+string(st.Status)))}
	out = append(out, kit.Paragraph(theme.Plain, stageMeans[st.Stage]+" "+p.counts(st), width)...)
	if len(at) > 0 {
		out = append(out, kit.Line{}, kit.Between(kit.Text(theme.Title, suspectsWord(at)), kit.Text(theme.Dim, "certainty"), width))
		for _, f := range at {
			out = append(out, findingSummary(f, width)...)
		}
		out = append(out, kit.Line{}, kit.L(kit.S(theme.Accent, "↓"), kit.T(" goes to each of them.")))
	}
	switch {
	case st.Status == lvs.StageUnknown:
		out = append(out, kit.Line{})
		out = append(out, p.whyUnknown(st, width)...)
	case st.Status != lvs.StageOK && len(at) == 0:
		out = append(out, p.seeOther(st.Stage, width)...)
	}
	return append(out, p.nothingHere(width)...)
}

// seeOther points from a broken stage at which nothing was found to those where something was.
func (p *Path) seeOther(s lvs.Stage, width int) []kit.Line {
	var names []string
	for _, st := range lvs.Stages {
		if st != s && len(p.findingsAt(st)) > 0 {
			names = append(names, st.Title())
		}
	}
	if len(names) > 0 {
		text := "What was found is listed at: " + strings.Join(names, ", ") + "."
		return append([]kit.Line{{}}, kit.Paragraph(theme.Plain, text, width)...)
	}
	out := []kit.Line{{}}
	if suspects := FlowSuspects(p.facts); len(suspects) > 0 {
		out = append(out, kit.Text(theme.Title, "The flows point to one of these"))
		out = append(out, suspectLines(suspects, width)...)
	}
	return append(out, kit.Paragraph(theme.Plain, "No cause is known from here: look on the other hosts (h).", width)...)
}

// maxSuspects bounds the list to the most likely ones.
const maxSuspects = 6

// suspectLines name what may be the cause, the most likely first, each with its id for e and lvstui explain.
func suspectLines(ids []string, width int) []kit.Line {
	var out []kit.Line
	for i, id := range ids {
		if i == maxSuspects {
			return append(out, kit.Text(theme.Dim, "  and "+few(ids[i:], 4)))
		}
		title := id
		if r, ok := rules.Find(id); ok {
			title = r.Title
		}
		out = append(out, kit.Between(kit.L(kit.S(theme.Warn, "▸ "), kit.T(title)), kit.Text(theme.Dim, " "+id), width))
	}
	return out
}

// FlowSuspects are the suspects of the flows that stalled, most frequent first.
func FlowSuspects(f Facts) []string {
	count := map[string]int{}
	var out []string
	for i := range f.Flows {
		for _, id := range f.Flows[i].Suspects {
			if count[id] == 0 {
				out = append(out, id)
			}
			count[id]++
		}
	}
	slices.SortStableFunc(out, func(a, b string) int { return count[b] - count[a] })
	return out
}

// few joins the first n names and says how many there are besides.
func few(names []string, n int) string {
	if len(names) <= n {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s, +%d more", strings.Join(names[:n], ", "), len(names)-n)
}

func suspectsWord(at []*probes.Finding) string {
	if slices.ContainsFunc(at, func(f *probes.Finding) bool { return f.Certainty == probes.Certain }) {
		return "Found here"
	}
	return "Suspects"
}

func findingSummary(f *probes.Finding, width int) []kit.Line {
	certainty := string(f.Certainty)
	lines := kit.Item(kit.S(findingRole(*f), "▸ "), theme.Plain, f.Title, width-len(certainty)-1)
	lines[0] = kit.Between(lines[0], kit.Text(theme.Dim, certainty), width)
	return append(lines, kit.Text(theme.Dim, "  "+strings.Join(notEmpty(f.ID, place(*f)), " · ")))
}

// counts says in words how many handshakes got past a stage.
func (p *Path) counts(st probes.PathStage) string {
	if st.Due == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d handshakes of the last %d s got this far.", st.Reached, st.Due, int(probes.FlowWindow.Seconds()))
}

// whyUnknown tells why nothing is known of a stage and where to look instead.
func (p *Path) whyUnknown(st probes.PathStage, width int) []kit.Line {
	var out []kit.Line
	if st.Note == "not seen here" {
		out = append(out, kit.Paragraph(theme.Plain, "This cannot be seen from here: look on "+stageHost(st.Stage)+".", width)...)
		out = append(out, kit.L(kit.S(theme.Accent, "h"), kit.T(" switches the host.")))
	} else if st.Due == 0 && p.facts.Capture.Mode != CaptureLive && p.facts.Capture.Mode != CaptureFile {
		out = append(out, kit.Paragraph(theme.Plain, "Nobody listens on the wire: "+captureWhy(p.facts.Capture), width)...)
	}
	if p.facts.Capture.Mode == CaptureLive && noTraffic(p.facts.Report) {
		out = append(out, kit.Paragraph(theme.Plain, fmt.Sprintf("No client came in the last %d s. If one tries now, its SYN does not get here.",
			int(probes.FlowWindow.Seconds())), width)...)
		out = append(out, kit.L(kit.S(theme.Accent, "t"), kit.T(" asks who answers for the VIP.")))
	}
	if n := len(p.facts.Report.Undecided); n > 0 {
		var missing []string
		for _, u := range p.facts.Report.Undecided {
			for _, m := range u.Missing {
				if !slices.Contains(missing, string(m)) {
					missing = append(missing, string(m))
				}
			}
		}
		slices.Sort(missing)
		out = append(out, kit.Paragraph(theme.Plain, fmt.Sprintf("%s could not be made for want of: %s.",
			plural(n, "check"), strings.Join(missing, ", ")), width)...)
	}
	return append(out, gapLines(p.facts, width)...)
}

// noTraffic says that no handshake counts for the path.
func noTraffic(r probes.Report) bool {
	return !slices.ContainsFunc(r.Path, func(st probes.PathStage) bool { return st.Due > 0 })
}

func captureWhy(c Capture) string {
	if c.Err != "" {
		return c.Err
	}
	return "the capture is off."
}

// gapLines are the sources that could not be read, and what would help.
func gapLines(f Facts, width int) []kit.Line {
	var out []kit.Line
	for _, g := range f.Report.Gaps {
		text := string(g.Source) + ": " + g.Reason
		if g.Capability != "" && !strings.Contains(g.Reason, g.Capability) {
			text += " (needs " + g.Capability + ")"
		}
		if g.Host != f.Host && g.Host != "" {
			text = g.Host + ", " + text
		}
		out = append(out, kit.Item(kit.S(theme.Warn, "could not look: "), theme.Plain, text, width)...)
	}
	return out
}

// nothingHere ends the details when no cure is to be made on this host.
func (p *Path) nothingHere(width int) []kit.Line {
	here, elsewhere := false, []string{}
	for _, f := range p.facts.Report.Findings {
		switch {
		case f.Fix == nil || f.Severity == probes.Note:
		case f.Fix.Host == p.facts.Host:
			here = true
		case !slices.Contains(elsewhere, f.Fix.Host) && f.Fix.Host != "":
			elsewhere = append(elsewhere, f.Fix.Host)
		}
	}
	switch {
	case here:
		return nil
	case p.facts.Report.Verdict == probes.VerdictOK:
		return append([]kit.Line{{}}, kit.Paragraph(theme.OK, "Nothing was found here that needs fixing.", width)...)
	case p.facts.Report.Verdict == probes.VerdictUnknown, len(p.facts.Report.Findings) == 0:
		return nil
	case len(elsewhere) > 0:
		return append([]kit.Line{{}}, kit.Paragraph(theme.Plain, "Nothing on this host needs fixing; it is to be done on "+
			strings.Join(elsewhere, ", ")+".", width)...)
	}
	return append([]kit.Line{{}}, kit.Paragraph(theme.Plain, "Nothing on this host needs fixing.", width)...)
}

func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
