package screens

import (
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"lvstui/fixes"
	"lvstui/fixes/nextboot"
	"lvstui/probes"
	"lvstui/ui/keys"
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
	way
	// other is the other way about, of a finding that what runs and what the files say differ.
	other *way

	armed   bool
	state   fixState
	steps   map[int]StepMsg
	change  fixes.Change // once it was made
	applied time.Time    // when, by the screen's clock
	clock   time.Time
	after   *Facts // of the first look after it, and each one since
	refusal string // why it was not kept or not taken back
	failed  string // why it was not made
	// watching says that the change is to bring a first handshake, which is followed.
	watching bool
	scroll
}

// way is one cure, worked out.
type way struct {
	fix     *probes.Fix
	preview fixes.Preview
	err     error // the preview could not be made
	// edits are the files that would make it so after the next boot, and words what no file of ours can hold; with persist
	// they are written once the change is kept.
	edits   []fixes.FileEdit
	words   []string
	persist bool
	refused string   // why lvstui does not do it
	dry     []string // what a dry run said
}

type fixState int

const (
	fixShown   fixState = iota
	fixRunning          // being made
	fixFailed
	fixWaiting // made and verified; taken back unless it is kept
	fixKeeping // being kept
	fixUndoing // being taken back
	fixKept
	fixUndone
)

// NewFix prepares the box.
func NewFix(f probes.Finding, facts Facts) *Fix {
	s := &Fix{finding: f, facts: facts, steps: map[int]StepMsg{}, way: newWay(f.Fix, facts)}
	if f.Fix != nil && f.Fix.FromFiles != nil {
		other := newWay(f.Fix.FromFiles, facts)
		s.other = &other
	}
	return s
}

func newWay(fix *probes.Fix, facts Facts) way {
	w := way{fix: fix}
	if fix != nil && facts.Snapshot != nil && !fix.Plan.Empty() && fix.Host == facts.Host {
		if w.preview, w.err = fix.Plan.Show(facts.Snapshot); w.err == nil {
			w.edits, w.words = nextboot.Edits(fix.Plan, facts.Snapshot)
			w.persist = len(fix.Plan.Files) > 0 // they are part of the change
		}
	}
	w.refused = w.whyNot(facts)
	return w
}

// fromFiles says that the box shows how to bring what runs to what the files say.
func (w way) fromFiles() bool { return w.fix != nil && w.fix.Plan.AsFiles }

// turn shows the other way about. What it brings is worked out at once, because it may take away what works.
func (s *Fix) turn() tea.Cmd {
	s.way, *s.other = *s.other, s.way
	s.finding.Fix, s.scroll, s.armed = s.fix, scroll{}, false
	again := send(RearmMsg{grace})
	if !s.fromFiles() || s.dry != nil {
		return again
	}
	return tea.Batch(again, send(SimulateMsg{s.fix.Plan, s.facts}))
}

// Watching makes the box follow the first handshake after the change.
func (s *Fix) Watching() *Fix {
	s.watching = true
	return s
}

// whyNot is the reason for which lvstui does not make this change itself, "" when it can.
func (w way) whyNot(facts Facts) string {
	fix := w.fix
	switch {
	case fix == nil:
		return "there is no cure to offer"
	case fix.Host != facts.Host && fix.Automatic:
		return "it is to be done on " + fix.Host + ": go there with h, then f"
	case fix.Host != facts.Host:
		return "it is to be done on " + fixHost(fix, facts) + ": type it there"
	case !fix.Automatic || fix.Plan.Empty():
		return "lvstui does not do this by itself: it is for you to decide and type"
	case facts.ReadOnly:
		return "read-only: " + facts.ReadOnlyWhy
	case facts.Snapshot == nil:
		return "nothing is known of this host"
	case w.err != nil:
		return "the change could not be worked out: " + w.err.Error()
	}
	return ""
}

// Grace is for how long a does nothing.
func (s *Fix) Grace() time.Duration { return grace }

// Title is the heading.
func (s *Fix) Title() string { return "Fix" }

// Typing is false.
func (s *Fix) Typing() bool { return false }

// SetFacts keeps the facts that the preview was made of. After the change it shows what became of the path, and of the change.
func (s *Fix) SetFacts(f Facts) {
	if s.change.ID == "" || f.Host != s.facts.Host {
		return
	}
	s.after = &f
	for _, c := range f.Changes {
		if c.ID == s.change.ID && s.state != fixKeeping && s.state != fixUndoing {
			s.follow(c)
		}
	}
}

// follow takes what the journal says of the change.
func (s *Fix) follow(c fixes.Change) {
	if c.State == s.change.State && s.state != fixRunning {
		s.change = c
		return
	}
	s.change = c
	switch c.State {
	case fixes.Waiting:
		s.state = fixWaiting
	case fixes.Applied:
		s.state = fixKept
	case fixes.Undone:
		s.state = fixUndone
	default:
		s.state, s.failed = fixFailed, string(c.State)+": "+c.Error
	}
}

// Busy says that the host is being changed.
func (s *Fix) Busy() bool {
	return s.state == fixRunning || s.state == fixKeeping || s.state == fixUndoing
}

// Update follows the change.
func (s *Fix) Update(msg tea.Msg) (Screen, tea.Cmd) {
	switch m := msg.(type) {
	case ArmedMsg:
		s.armed = true
	case ClockMsg:
		s.clock = m.Now
	case StepMsg:
		s.steps[m.Step] = m
	case SimulatedMsg:
		s.dry = m.Lines
		if !s.fromFiles() {
			s.scroll.offset = s.scroll.total + len(m.Lines) + 2 // the result is at the end; show cuts it down
		}
	case AppliedMsg:
		return s, s.made(m)
	case KeptMsg:
		s.ended(m.Change, m.Err)
	case UndoneMsg:
		s.ended(m.Change, m.Err)
	}
	return s, nil
}

// made takes the end of the change. Keys that were typed while it was made don't answer what is asked next.
func (s *Fix) made(m AppliedMsg) tea.Cmd {
	s.clock, s.scroll = m.Now, scroll{}
	if m.Err != nil {
		s.state, s.failed = fixFailed, m.Err.Error()
		return nil
	}
	s.applied = m.Now
	s.follow(m.Change)
	if s.state != fixWaiting {
		return nil
	}
	s.armed = false
	return send(RearmMsg{grace})
}

// ended takes what became of keeping or undoing. A refusal leaves things as they were, and is said.
func (s *Fix) ended(c fixes.Change, err error) {
	if err != nil {
		s.refusal = err.Error()
		if c.ID == "" {
			c = s.change
		}
		s.state = fixRunning // whatever it is now, the journal says
		s.follow(c)
		return
	}
	s.refusal = ""
	s.follow(c)
}

// Actions of the box: before the change, and once it was made.
func (s *Fix) Actions() []keys.Action {
	var acts []keys.Action
	switch s.state {
	case fixShown, fixRunning:
		acts = s.before()
	case fixWaiting, fixKeeping, fixUndoing:
		acts = s.decide()
	default:
		acts = []keys.Action{s.copy()}
		if s.state == fixKept {
			acts = append(acts, s.takeBack(s.notArmed()))
		}
	}
	busy := ""
	if s.Busy() {
		busy = "the host is being changed; wait for it"
	}
	acts = append(acts, keys.Leave.Do(ask(CloseMsg{})).Unless(busy))
	return append(acts, s.scroll.actions()...)
}

func (s *Fix) notArmed() string {
	if !s.armed {
		return "this has just come up: read it, then press the key again"
	}
	return ""
}

func (s *Fix) before() []keys.Action {
	notNow := first(s.refused, s.notArmed())
	if s.state == fixRunning {
		notNow = "the change is being made"
	}
	cannotDry := ""
	if s.refused != "" && !s.facts.ReadOnly {
		cannotDry = s.refused
	}
	noBoot := s.refused
	switch {
	case noBoot != "":
	case len(s.fix.Plan.Files) > 0:
		noBoot = "the files are part of this change"
	case s.fromFiles():
		noBoot = "the files say it already"
	case len(s.edits) == 0:
		noBoot = "no file of this host can be written for it; the box says what to write"
	}
	acts := []keys.Action{
		keys.Apply.Do(func() tea.Cmd {
			s.state = fixRunning
			m := ApplyMsg{Plan: s.finding.Fix.Plan, Seen: s.facts.Snapshot}
			if s.persist {
				m.Files = s.edits
			}
			return send(m)
		}).Unless(notNow),
		keys.Dry.Do(func() tea.Cmd {
			return send(SimulateMsg{s.finding.Fix.Plan, s.facts})
		}).Unless(cannotDry),
		keys.NextBoot.Do(func() tea.Cmd { s.persist = !s.persist; return nil }).Unless(noBoot),
	}
	if s.other != nil {
		acts = append(acts, s.turning())
	}
	return append(acts, s.copy())
}

// turning is the key for the other way about, named after where it leads.
func (s *Fix) turning() keys.Action {
	a := keys.Turn.Do(s.turn)
	if s.other.intoFiles() {
		a.Short = "into files"
	}
	if s.state == fixRunning {
		a = a.Unless("the change is being made")
	}
	return a
}

// intoFiles says that a way of two is the usual one, which writes down what runs.
func (w *way) intoFiles() bool { return w.fix.FromFiles != nil }

// decide are the keys while the change waits.
func (s *Fix) decide() []keys.Action {
	notNow := s.notArmed()
	if s.Busy() {
		notNow = "the host is being changed; wait for it"
	}
	return []keys.Action{
		keys.Keep.Do(func() tea.Cmd {
			s.state = fixKeeping
			return send(ConfirmMsg{s.change.ID})
		}).Unless(notNow),
		s.takeBack(notNow), s.copy(),
	}
}

func (s *Fix) takeBack(notNow string) keys.Action {
	a := keys.Undo.Do(func() tea.Cmd {
		s.state = fixUndoing
		return send(UndoMsg{s.change.ID})
	}).Unless(notNow)
	a.Short = "take back"
	return a
}

// copy gives the commands, or once a host was set up what the others need.
func (s *Fix) copy() keys.Action {
	if s.watching && s.change.ID != "" {
		return keys.Copy.Do(func() tea.Cmd {
			return send(CopyMsg{cleanLines(strings.Join(s.preview.Elsewhere, "\n")), "what the others need"})
		})
	}
	return keys.Copy.Do(func() tea.Cmd { return send(CopyMsg{s.commands(), "commands"}) })
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
