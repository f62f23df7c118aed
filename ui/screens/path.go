package screens

import (
	"fmt"
	"slices"

	tea "charm.land/bubbletea/v2"

	"lvstui/lvs"
	"lvstui/probes"
	"lvstui/ui/kit"
	"lvstui/ui/theme"
)

// wide is the width from which Path puts list and details side by side.
const wide = 96

// listWidth is what a stage needs: mark, title, word and count.
const listWidth = 58

// Path is home: the eleven stages of the handshake, the first broken one selected, what was found there and why.
type Path struct {
	facts Facts
	cur   cursor
	// moved says that the operator chose a row. Until then the selection follows the first broken stage.
	moved bool
}

// NewPath makes the screen.
func NewPath() *Path { return &Path{} }

// Title of the tab.
func (p *Path) Title() string { return "Path" }

// Typing is false: Path has no text field.
func (p *Path) Typing() bool { return false }

// SetFacts keeps the selection on the same stage or finding.
func (p *Path) SetFacts(f Facts) {
	if f.Host != p.facts.Host {
		p.cur, p.moved = cursor{}, false
	}
	p.facts = f
	if p.moved {
		p.cur.rows(p.ids())
		return
	}
	p.cur.id = string(p.firstProblem())
	p.cur.rows(p.ids())
}

// Update has nothing to wait for.
func (p *Path) Update(tea.Msg) (Screen, tea.Cmd) { return p, nil }

// row is a stage, or a finding listed under the selected stage.
type row struct {
	stage   probes.PathStage
	finding *probes.Finding
}

func (r row) id() string {
	if r.finding != nil {
		return r.finding.Key()
	}
	return string(r.stage.Stage)
}

// rows are the stages, with the findings of the selected one below it.
func (p *Path) rows() []row {
	open := p.openStage()
	var out []row
	for _, st := range p.facts.Report.Path {
		out = append(out, row{stage: st})
		if st.Stage == open {
			for _, f := range p.findingsAt(st.Stage) {
				out = append(out, row{st, f})
			}
		}
	}
	return out
}

func (p *Path) ids() []string {
	var out []string
	for _, r := range p.rows() {
		out = append(out, r.id())
	}
	return out
}

// openStage is the stage of the selected row: its own, or that of its finding.
func (p *Path) openStage() lvs.Stage {
	if s := lvs.Stage(p.cur.id); s.Index() >= 0 {
		return s
	}
	for i := range p.facts.Report.Findings {
		if p.facts.Report.Findings[i].Key() == p.cur.id {
			return p.facts.Report.Findings[i].Stage
		}
	}
	return p.firstProblem()
}

// findingsAt are the causes found at a stage, then the symptoms, in the report's order.
func (p *Path) findingsAt(s lvs.Stage) []*probes.Finding {
	var out []*probes.Finding
	for i := range p.facts.Report.Findings {
		if f := &p.facts.Report.Findings[i]; f.Stage == s {
			out = append(out, f)
		}
	}
	slices.SortStableFunc(out, func(a, b *probes.Finding) int {
		return min(1, len(a.SymptomOf)) - min(1, len(b.SymptomOf))
	})
	return out
}

// firstProblem is where the eye shall land: the first stage that is broken or suspect. On a host where all is well it is the
// last stage that is ok, and where we could not tell the first of which nothing is known.
func (p *Path) firstProblem() lvs.Stage {
	lastOK, firstUnknown := lvs.SynSent, lvs.Stage("")
	for _, st := range p.facts.Report.Path {
		switch st.Status {
		case lvs.StageBroken, lvs.StageSuspect:
			return st.Stage
		case lvs.StageOK:
			lastOK = st.Stage
		case lvs.StageUnknown:
			if firstUnknown == "" {
				firstUnknown = st.Stage
			}
		}
	}
	if p.facts.Report.Verdict == probes.VerdictUnknown && firstUnknown != "" {
		return firstUnknown
	}
	return lastOK
}

func (p *Path) selected() (row, bool) {
	for _, r := range p.rows() {
		if r.id() == p.cur.id {
			return r, true
		}
	}
	return row{}, false
}

// finding is what f, e and y act on: the selected finding, or the first one of the selected stage.
func (p *Path) finding() (probes.Finding, bool) {
	r, ok := p.selected()
	switch {
	case !ok:
	case r.finding != nil:
		return *r.finding, true
	default:
		if at := p.findingsAt(r.stage.Stage); len(at) > 0 {
			return *at[0], true
		}
	}
	return probes.Finding{}, false
}

// View draws list and details, side by side where there is room.
func (p *Path) View(width, height int) []kit.Line {
	if len(p.facts.Report.Path) == 0 {
		return kit.Paragraph(theme.Dim, "Nothing was judged yet.", width)
	}
	if p.bystander() {
		return kit.Indent(1, p.noLVS(width-2))
	}
	if width >= wide {
		left := min(listWidth, width/2)
		list, detail := p.list(left, height), p.detail(width-left-2)
		if len(detail) > height {
			detail[height-1] = more
			detail = detail[:height]
		}
		return kit.Columns(list, detail, left, width, height)
	}
	return p.stacked(width, height)
}

// stacked puts the details below the list. In a low terminal the list's heading makes room for them, and of the details it
// shows what matters most.
func (p *Path) stacked(width, height int) []kit.Line {
	rows := len(p.rows())
	out, title, note := []kit.Line(nil), "", ""
	if height < lowPath {
		out, title, note = p.stageRows(width, min(rows, height-briefHeight)), p.heading(), p.since()
	} else {
		out = p.list(width, min(rows+1, height-briefHeight))
	}
	out = append(out, noteRule(title, note, width))
	room := height - len(out)
	detail := p.detail(width - 2)
	if len(compact(detail)) <= room {
		detail = compact(detail)
	} else if len(detail) > room {
		detail = append(p.brief(width-2, room-1), more)
	}
	return append(out, kit.Indent(1, detail)...)
}

// lowPath is the height from which the list keeps its heading above the details, and briefHeight what these get at least, with
// the rule above them.
const (
	lowPath     = 26
	briefHeight = 6
)

// noteRule is a rule with a title and a note at its right end.
func noteRule(title, note string, width int) kit.Line {
	if note == "" {
		return kit.Rule(title, width)
	}
	l := kit.Rule(title, width-kit.Width(note)-3)
	l.Spans = append(l.Spans, kit.S(theme.Dim, " "+note), kit.S(theme.Border, " ─"))
	return l
}

// bystander says that the host was looked at and takes no part in LVS.
func (p *Path) bystander() bool {
	r := p.facts.Report
	return r.Verdict == probes.VerdictOK && len(r.Roles) == 0 && len(r.Findings) == 0 && len(p.facts.Flows) == 0
}

func (p *Path) noLVS(width int) []kit.Line {
	out := []kit.Line{{}, kit.Text(theme.Title, "This is not an LVS host.")}
	text := "It has no virtual service, so it is no director; no VIP, so it is no real server; it forwards to none, and no handshake " +
		"with one was seen."
	out = append(out, kit.Paragraph(theme.Plain, text, min(width, 90))...)
	out = append(out, kit.Line{})
	out = append(out, gapLines(p.facts, width)...)
	out = append(out, kit.Paragraph(theme.Plain, "If it is to be a real server: lvstui --role real-server --vip 172.16.0.8. If it is the router of a cluster: lvstui --role router --vip 172.16.0.8.", min(width, 90))...)
	return append(out, kit.L(kit.S(theme.Accent, "4"), kit.T(" what was read here   "), kit.S(theme.Accent, "5"),
		kit.T(" make it a director or a real server   "), kit.S(theme.Accent, "h"), kit.T(" other hosts")))
}

// compact leaves out empty lines, where there is room for a few lines only.
func compact(lines []kit.Line) []kit.Line {
	out := lines[:0:0]
	for _, l := range lines {
		if len(l.Spans) > 0 {
			out = append(out, l)
		}
	}
	return out
}

var more = kit.L(kit.S(theme.Dim, "… "), kit.S(theme.Accent, "enter"), kit.S(theme.Dim, " shows all of it"))

// since says what the counts are of.
func (p *Path) since() string {
	if p.facts.Capture.Mode == CaptureLive || p.facts.Capture.Mode == CaptureFile {
		return fmt.Sprintf("last %d s", int(probes.FlowWindow.Seconds()))
	}
	return "from this host's facts"
}

func (p *Path) list(width, height int) []kit.Line {
	head := kit.Between(kit.Text(theme.Title, " Handshake"), kit.Text(theme.Dim, p.since()+" "), min(width, listWidth))
	return append([]kit.Line{head}, p.stageRows(width, height-1)...)
}

// stageRows are the stages with the findings of the selected one.
func (p *Path) stageRows(width, height int) []kit.Line {
	stages := min(width, listWidth) // marks and counts stay near each other
	rows := p.rows()
	out := make([]kit.Line, 0, height)
	from, to := p.cur.window(height)
	for i := from; i < to && i < len(rows); i++ {
		line := p.stageLine(rows[i].stage, stages)
		if rows[i].finding != nil {
			line = findingLine(rows[i].finding, width)
		}
		if rows[i].id() == p.cur.id {
			line = chosen(line)
		}
		out = append(out, line)
	}
	return out
}

// chosen marks the row under the cursor: by reverse video and by a sign in its first cell.
func chosen(l kit.Line) kit.Line {
	l.Cursor = true
	if len(l.Spans) > 0 && len(l.Spans[0].Text) > 0 && l.Spans[0].Text[0] == ' ' {
		l.Spans[0].Text = "›" + l.Spans[0].Text[1:]
	}
	return l
}

func (p *Path) stageLine(st probes.PathStage, width int) kit.Line {
	role := statusRole(st.Status)
	title, words := theme.Plain, theme.Plain
	switch role {
	case theme.Unknown:
		title, words = theme.Dim, theme.Dim
	case theme.Bad, theme.Warn:
		words = role
	}
	note, noted := st.Note, theme.Dim
	if st.Due > 0 { // counts are what is read first
		noted = theme.Plain
	}
	if n := p.minor(st); n != "" {
		note += " · " + n
	}
	left := kit.L(kit.T(" "), mark(role), kit.T(" "), kit.S(title, kit.Pad(st.Stage.Title(), 22)),
		kit.S(words, kit.Pad(string(st.Status), 8)))
	return kit.Between(left, kit.L(kit.S(noted, kit.Fit(note, width-35)), kit.T(" ")), width)
}

// minor counts what was found at a stage that works: hazards and notes.
func (p *Path) minor(st probes.PathStage) string {
	if st.Status != lvs.StageOK && st.Status != lvs.StageUnknown {
		return ""
	}
	if n := len(p.findingsAt(st.Stage)); n > 0 {
		return fmt.Sprintf("%d found", n)
	}
	return ""
}

func findingLine(f *probes.Finding, width int) kit.Line {
	role, certainty := findingRole(*f), string(f.Certainty)
	if len(f.SymptomOf) > 0 {
		role, certainty = theme.Dim, "symptom"
	}
	right := kit.L(kit.S(theme.Dim, certainty), kit.T(" "))
	left := kit.L(kit.T("    "), kit.S(role, "▸ "), kit.S(role, kit.Fit(f.Title, width-8-right.Width())))
	return kit.Between(left, right, width)
}
