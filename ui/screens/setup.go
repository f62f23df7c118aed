package screens

import (
	"net/netip"

	tea "charm.land/bubbletea/v2"

	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
	"lvstui/ui/keys"
	"lvstui/ui/kit"
	"lvstui/ui/theme"
	"lvstui/ui/wizard"
)

// Setup makes the host a director or a real server: a sheet of answers, of which most are found, questions for the others,
// and the plan, which opens in the same box as every fix.
type Setup struct {
	facts Facts
	sheet wizard.Sheet
	cur   cursor
	// plan and problems are what the answers give on the facts of now.
	plan     fixes.Plan
	problems []fixes.Problem
	stale    bool // they are of older facts: they are worked out when the screen is looked at

	field *wizard.Field // the question that is asked just now, nil when none is
	// walk says that one question follows the other; asked are those that were answered on the way, for esc.
	walk   bool
	asked  []wizard.ID
	drafts map[wizard.ID]string // what was typed before esc
	scroll scroll
}

// NewSetup makes the screen.
func NewSetup() *Setup { return &Setup{drafts: map[wizard.ID]string{}} }

// Title of the tab.
func (s *Setup) Title() string { return "Setup" }

// Typing says that a question has the keys.
func (s *Setup) Typing() bool { return s.field != nil }

// TypingHint is what the footer says meanwhile.
func (s *Setup) TypingHint() string {
	switch {
	case s.field == nil || s.field.Typed:
		return "enter takes it   ctrl+u clears it   esc goes back, nothing is lost"
	case s.field.Many():
		return "↑↓ choose   space marks   enter takes the marked   esc goes back, nothing is lost"
	}
	return "↑↓ choose   enter takes it   esc goes back, nothing is lost"
}

// planRow is the identity of the last row, which opens the plan.
const planRow = "plan"

// SetFacts keeps the answers that were given on the same host.
func (s *Setup) SetFacts(f Facts) {
	if f.Host != s.facts.Host {
		*s = *NewSetup()
	}
	s.facts = f
	known := wizard.Facts{Snapshot: f.Snapshot, Roles: f.Report.Roles, VIPs: f.VIPs}
	seen := map[netip.AddrPort]bool{}
	for i := range f.Flows {
		if v := f.Flows[i].Virtual; !seen[v] && len(known.Virtuals) < 16 {
			seen[v] = true
			known.Virtuals = append(known.Virtuals, v)
		}
	}
	s.sheet.SetFacts(known)
	s.stale = true
}

// fresh works the plan out for the facts of now, if that was not done yet.
func (s *Setup) fresh() {
	if s.stale {
		s.refresh()
	}
}

// refresh works the plan out anew.
func (s *Setup) refresh() {
	s.plan, s.problems, s.stale = fixes.Plan{}, nil, false
	if len(s.sheet.Open()) == 0 {
		s.plan, s.problems = s.sheet.Plan()
	}
	var ids []string
	for _, q := range s.sheet.Questions() {
		ids = append(ids, string(q))
	}
	s.cur.rows(append(ids, planRow))
}

// ready says that there is something to do and nothing against it.
func (s *Setup) ready() bool {
	return s.facts.Snapshot != nil && len(s.sheet.Open()) == 0 && len(s.problems) == 0
}

// Update gives the keys to the question that is asked.
func (s *Setup) Update(msg tea.Msg) (Screen, tea.Cmd) {
	press, ok := msg.(tea.KeyPressMsg)
	if !ok || s.field == nil {
		return s, nil
	}
	if press.String() == "esc" {
		s.back()
		return s, nil
	}
	s.field.Update(press) // its commands only move between fields and blink
	if press.String() == "enter" && s.field.Error() == nil {
		s.answered()
	}
	return s, nil
}

// ask puts a question. typed asks for a line even where there is something to choose from.
func (s *Setup) ask(q wizard.ID, typed bool, draft string) {
	if draft == "" {
		draft = s.drafts[q]
	}
	f := s.sheet.NewField(q, typed, draft)
	f.WithKeyMap(wizard.Keys())
	f.WithTheme(huhTheme)
	f.WithWidth(76)
	f.Focus() // its command would blink: a redraw twice a second for nothing
	s.field = f
}

// answered takes the answer and puts the next question.
func (s *Setup) answered() {
	q := s.field.ID
	text, wantsToType := s.field.Value()
	if wantsToType {
		s.ask(q, true, text)
		return
	}
	delete(s.drafts, q)
	if text != s.sheet.Answer(q).Text || s.sheet.Answer(q).Given {
		s.sheet.Give(q, text)
	}
	s.field = nil
	s.asked = append(s.asked, q)
	s.refresh()
	if s.walk {
		s.next()
	}
}

// next asks what is still open, or ends at the plan.
func (s *Setup) next() {
	if open := s.sheet.Open(); len(open) > 0 {
		s.walk = true
		s.ask(open[0], false, "")
		return
	}
	s.walk, s.asked = false, nil
	s.cur.id = planRow
	s.cur.rows(s.cur.ids)
}

// back leaves the question: to the one before, or to the sheet. What was typed is there again next time.
func (s *Setup) back() {
	if s.field.Typed {
		s.drafts[s.field.ID], _ = s.field.Value()
	}
	s.cur.id = string(s.field.ID)
	s.field = nil
	if n := len(s.asked); s.walk && n > 0 {
		before := s.asked[n-1]
		s.asked = s.asked[:n-1]
		s.ask(before, false, "")
		return
	}
	s.walk = false
	s.cur.rows(s.cur.ids)
}

// Actions of the sheet.
func (s *Setup) Actions() []keys.Action {
	s.fresh()
	nothing := ""
	if s.facts.Snapshot == nil {
		nothing = "there is only a capture here, and nothing is known of a host"
	}
	notReady := nothing
	switch {
	case notReady != "":
	case len(s.sheet.Open()) > 0:
		notReady = "first answer what is open: enter asks it"
	case len(s.problems) > 0:
		notReady = "this can not work: " + s.problems[0].What
	case s.plan.Empty():
		notReady = "nothing is left to do on this host"
	}
	enter := keys.Enter.Do(s.enter).Unless(nothing)
	enter.Short = "change"
	switch {
	case len(s.sheet.Open()) > 0:
		enter.Short = "answer"
	case s.cur.id == planRow:
		enter.Short = "plan"
		enter = enter.Unless(notReady)
	}
	plan := keys.Plan.Do(s.openPlan).Unless(notReady)
	acts := []keys.Action{enter, plan,
		keys.Copy.Do(func() tea.Cmd {
			return send(CopyMsg{plainText(s.others(100)), "what the others need"})
		}).Unless(first(nothing, s.noOthers()))}
	acts = append(acts, keys.Forget.Quietly(func() tea.Cmd {
		s.sheet.Forget()
		s.drafts = map[wizard.ID]string{}
		s.refresh()
		return send(SayMsg{"your answers are forgotten; nothing on the host was changed"})
	}))
	return append(acts, s.cur.actions(nil)...)
}

func first(reasons ...string) string {
	for _, r := range reasons {
		if r != "" {
			return r
		}
	}
	return ""
}

func (s *Setup) noOthers() string {
	if !s.ready() {
		return "what the others need is known when all is answered"
	}
	return ""
}

// enter asks the selected question; as long as something is open, all that is.
func (s *Setup) enter() tea.Cmd {
	open := s.sheet.Open()
	q := wizard.ID(s.cur.id)
	switch {
	case s.cur.id != planRow && (len(open) == 0 || s.sheet.Answer(q).Text != ""):
		s.ask(q, false, "")
	case len(open) > 0:
		s.asked = nil
		s.next()
	default:
		return s.openPlan()
	}
	return nil
}

// openPlan shows the plan in the box of the fixes, which applies it.
func (s *Setup) openPlan() tea.Cmd {
	f, facts := s.asFinding(), s.facts
	return func() tea.Msg { return OpenMsg{NewFix(f, facts).Watching()} }
}

// asFinding is the plan as the cure of what is not so yet.
func (s *Setup) asFinding() probes.Finding {
	vip := s.sheet.Answer(wizard.VIP).Text
	p, _ := fixes.ParseVIP(vip)
	title := "make this host a real server of " + p.Addr().String()
	if s.sheet.RoleGiven() == lvs.RoleDirector {
		title = "make this host the director of " + p.Addr().String()
	}
	return probes.Finding{ID: s.plan.ID, Title: title, VIP: p.Addr(), Host: s.facts.Host,
		Fix: &probes.Fix{Host: s.facts.Host, Automatic: true, Plan: s.plan, Commands: s.plan.Commands()}}
}

// View draws the question, or the sheet.
func (s *Setup) View(width, height int) []kit.Line {
	s.fresh()
	if s.facts.Snapshot == nil {
		return kit.Indent(1, kit.Paragraph(theme.Plain, "There is only a capture here: nothing is known of the host, so it can not be set up.", width-2))
	}
	if s.field != nil {
		return kit.Indent(1, s.questionLines(min(width-2, 100), height))
	}
	out := kit.Indent(1, s.head(min(width-2, 100)))
	rows := s.rows(width)
	out = append(out, rows...)
	rest := kit.Indent(1, s.outcome(min(width-2, 100)))
	return append(out, s.scroll.show(rest, max(1, height-len(out)))...)
}
