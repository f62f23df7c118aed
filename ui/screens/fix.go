package screens

import (
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"lvstui/fixes"
	"lvstui/probes"
	"lvstui/ui/keys"
	"lvstui/ui/kit"
	"lvstui/ui/theme"
)

// grace is how long keys that change something do not count after a box opened: they may have been typed before it was
// there to be read.
const grace = 400 * time.Millisecond

// ArmedMsg ends the grace of the uppermost box.
type ArmedMsg struct{}

// Guarded is a screen that wants ArmedMsg some time after it has opened.
type Guarded interface{ Grace() time.Duration }

// Fix is the box about the cure of one finding: commands, what was there, undo, risk, next boot, and what is to be done
// elsewhere. It applies the plan when the operator says so.
type Fix struct {
	finding probes.Finding
	facts   Facts // of the moment the box opened: what is shown is what is applied
	preview fixes.Preview
	err     error // the preview could not be made

	armed   bool
	state   fixState
	steps   map[int]StepMsg
	result  []kit.Line
	dry     []string
	refused string
	// watching says that the change is to bring a first handshake, which is followed.
	watching bool
	scroll
}

type fixState int

const (
	fixShown fixState = iota
	fixRunning
	fixEnded
)

// NewFix prepares the box.
func NewFix(f probes.Finding, facts Facts) *Fix {
	s := &Fix{finding: f, facts: facts, steps: map[int]StepMsg{}}
	if f.Fix != nil && facts.Snapshot != nil && !f.Fix.Plan.Empty() && s.isHere() {
		s.preview, s.err = f.Fix.Plan.Show(facts.Snapshot)
	}
	s.refused = s.whyNot()
	return s
}

// Watching makes the box follow the first handshake after the change.
func (s *Fix) Watching() *Fix {
	s.watching = true
	return s
}

func (s *Fix) isHere() bool { return s.finding.Fix.Host == s.facts.Host }

// whyNot is the reason for which lvstui does not make this change itself, "" when it can.
func (s *Fix) whyNot() string {
	fix := s.finding.Fix
	switch {
	case fix == nil:
		return "there is no cure to offer"
	case !s.isHere() && fix.Automatic:
		return "it is to be done on " + fix.Host + ": go there with h, then f"
	case !s.isHere():
		return "it is to be done on " + fixHost(fix, s.facts) + ": type it there"
	case !fix.Automatic || fix.Plan.Empty():
		return "lvstui does not do this by itself: it is for you to decide and type"
	case s.facts.ReadOnly:
		return "read-only: " + s.facts.ReadOnlyWhy
	case s.facts.Snapshot == nil:
		return "nothing is known of this host"
	case s.err != nil:
		return "the change could not be worked out: " + s.err.Error()
	}
	return ""
}

// Grace is for how long a does nothing.
func (s *Fix) Grace() time.Duration { return grace }

// Title is the heading.
func (s *Fix) Title() string { return "Fix" }

// Typing is false.
func (s *Fix) Typing() bool { return false }

// SetFacts keeps the facts that the preview was made of.
func (s *Fix) SetFacts(Facts) {}

// Busy says that a change is being made.
func (s *Fix) Busy() bool { return s.state == fixRunning }

// Update follows the change.
func (s *Fix) Update(msg tea.Msg) (Screen, tea.Cmd) {
	switch m := msg.(type) {
	case ArmedMsg:
		s.armed = true
	case StepMsg:
		s.steps[m.Step] = m
	case SimulatedMsg:
		s.dry = m.Lines
		s.scroll.offset = s.scroll.total + len(m.Lines) + 2 // the result is at the end; show cuts it down
	case AppliedMsg:
		s.state = fixEnded
		if m.Err != nil {
			s.result = []kit.Line{kit.L(mark(theme.Bad), kit.S(theme.Bad, " failed: "+m.Err.Error()))}
		} else {
			s.result = []kit.Line{kit.L(mark(theme.OK), kit.S(theme.OK, " done: "+m.Result)),
				kit.L(kit.S(theme.Accent, "esc"), kit.T(" goes back to the path; "), kit.S(theme.Accent, "z"), kit.T(" there takes the change back"))}
		}
	}
	return s, nil
}

// Actions of the box.
func (s *Fix) Actions() []keys.Action {
	notNow := ""
	switch {
	case s.refused != "":
		notNow = s.refused
	case s.state == fixRunning:
		notNow = "the change is being made"
	case s.state == fixEnded:
		notNow = "it was done already"
	case !s.armed:
		notNow = "the box has just opened: read it, then press a again"
	}
	cannotDry := ""
	if s.refused != "" && !s.facts.ReadOnly {
		cannotDry = s.refused
	}
	busy := ""
	if s.state == fixRunning {
		busy = "the change is being made; wait for it"
	}
	acts := []keys.Action{
		keys.Apply.Do(func() tea.Cmd {
			s.state = fixRunning
			return send(ApplyMsg{s.finding.Fix.Plan, s.facts.Snapshot})
		}).Unless(notNow),
		keys.Dry.Do(func() tea.Cmd {
			return send(SimulateMsg{s.finding.Fix.Plan, s.facts})
		}).Unless(cannotDry),
		keys.Copy.Do(func() tea.Cmd { return send(CopyMsg{s.commands(), "commands"}) }),
		keys.Leave.Do(ask(CloseMsg{})).Unless(busy),
	}
	return append(acts, s.scroll.actions()...)
}

// SimulateMsg asks the root what a plan would do; it answers with SimulatedMsg.
type SimulateMsg struct {
	Plan  fixes.Plan
	Facts Facts
}

// SimulatedMsg is the answer, line by line.
type SimulatedMsg struct{ Lines []string }

func (s *Fix) commands() string {
	if s.finding.Fix == nil {
		return ""
	}
	return cleanLines(strings.Join(s.finding.Fix.Commands, "\n"))
}

// View draws the box.
func (s *Fix) View(width, height int) []kit.Line {
	w := min(width, 110)
	status := append([]kit.Line{{}}, s.status(w-4)...)
	inside := s.show(s.lines(w-4), max(1, height-2-len(status)))
	return kit.Box("Fix: "+s.finding.Title, append(inside, status...), w)
}

func (s *Fix) lines(width int) []kit.Line {
	var out []kit.Line
	if len(s.preview.Lines) > 0 {
		out = s.previewLines(width)
	} else if s.finding.Fix != nil {
		out = cureLines(s.finding, s.facts, width)
	}
	for _, e := range s.elsewhere() {
		out = append(out, kit.Item(kit.S(theme.Title, "elsewhere  "), theme.Plain, e, width)...)
	}
	if len(s.dry) > 0 {
		out = append(out, kit.Line{}, kit.Text(theme.Title, "Dry run: nothing was changed"))
		for _, l := range s.dry {
			out = append(out, kit.Item(kit.S(theme.Dim, "· "), theme.Plain, l, width)...)
		}
	}
	return out
}

// status says how things stand. It is always in view, below what scrolls.
func (s *Fix) status(width int) []kit.Line {
	var out []kit.Line
	switch {
	case len(s.result) > 0:
		for _, l := range s.result {
			out = append(out, kit.Paragraph(lastRole(l), l.Plain(), width)...)
		}
	case s.refused != "":
		out = append(out, kit.Item(kit.S(theme.Warn, "a is disabled: "), theme.Plain, s.refused, width)...)
	case s.state == fixRunning:
		out = append(out, kit.Text(theme.Warn, "The change is being made and then verified …"))
	default:
		out = append(out, kit.L(kit.T("Nothing has been changed yet. "), kit.S(theme.Accent, "a"), kit.T(" applies it, "),
			kit.S(theme.Accent, "esc"), kit.T(" leaves everything as it is.")))
	}
	return out
}

func lastRole(l kit.Line) theme.Role {
	if len(l.Spans) == 0 {
		return theme.Plain
	}
	return l.Spans[len(l.Spans)-1].Role
}

func (s *Fix) elsewhere() []string {
	if len(s.preview.Lines) > 0 {
		return s.preview.Elsewhere
	}
	if s.finding.Fix == nil {
		return nil
	}
	var out []string
	for _, e := range s.finding.Fix.Plan.Elsewhere {
		if !strings.Contains(s.finding.Fix.Words, e) { // the words are shown above
			out = append(out, e)
		}
	}
	return out
}

func (s *Fix) previewLines(width int) []kit.Line {
	out := []kit.Line{kit.L(kit.S(theme.Dim, "on "+s.preview.Host))}
	for i, l := range s.preview.Lines {
		number := s.stepMark(i)
		out = append(out, kit.Item(number, theme.Title, l.Command, width)...)
		detail := strings.Join(notEmpty(l.Does, l.Was), "; ")
		out = append(out, kit.Indent(3, kit.Paragraph(theme.Dim, detail, width-3))...)
		if len(l.Undo) > 0 {
			out = append(out, kit.Indent(3, kit.Item(kit.S(theme.Dim, "undo: "), theme.Dim, strings.Join(l.Undo, "; "), width-3))...)
		}
	}
	out = append(out, kit.Line{})
	if len(s.preview.Risks) == 0 {
		out = append(out, kit.Item(kit.S(theme.Title, "risk       "), theme.Plain, "none found for your session"+s.session(), width)...)
	}
	for _, r := range s.preview.Risks {
		out = append(out, kit.Item(kit.S(theme.Warn, "! risk     "), theme.Warn, r, width)...)
	}
	for _, n := range s.preview.NextBoot {
		out = append(out, kit.Item(kit.S(theme.Title, "next boot  "), theme.Plain, n, width)...)
	}
	return out
}

// session says by which way the operator came, because that is what must not be cut.
func (s *Fix) session() string {
	if o := s.facts.Snapshot.Operator; o != nil {
		return " (you come in to " + strings.TrimSuffix(o.Server.Addr().String()+" on "+o.Interface, " on ") + ")"
	}
	return ""
}

// stepMark is the number of a step, or how it went.
func (s *Fix) stepMark(i int) kit.Span {
	st, begun := s.steps[i]
	switch {
	case begun && st.Err != nil:
		return kit.S(theme.Bad, "✗  ")
	case begun && st.Done:
		return kit.S(theme.OK, "✓  ")
	case begun:
		return kit.S(theme.Warn, "…  ")
	}
	return kit.S(theme.Dim, kit.Pad(fmt.Sprint(i+1), 3))
}
