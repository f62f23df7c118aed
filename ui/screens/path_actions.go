package screens

import (
	"slices"

	tea "charm.land/bubbletea/v2"

	"lvstui/lvs"
	"lvstui/probes"
	"lvstui/ui/keys"
	"lvstui/ui/kit"
	"lvstui/ui/theme"
)

// Actions of the path.
func (p *Path) Actions() []keys.Action {
	if p.bystander() {
		return nil
	}
	f, ok := p.finding()
	acts := append([]keys.Action{keys.Enter.Do(p.openDetail)}, p.findingActions(f, ok)...)
	if suspects := p.suspects(); !ok && len(suspects) > 0 {
		acts[2] = keys.Explain.Do(func() tea.Cmd { return send(ExplainMsg{suspects[0]}) })
		acts[2].Long = "explain the first suspect"
	}
	if p.testable() {
		acts = append(acts, keys.Test.Do(ask(ProbeMsg{})))
	}
	return append(acts, p.cur.actions(func() {
		p.moved = true
		p.cur.rows(p.ids())
	})...)
}

// testable says that an active test from here may tell more than what is known: on a director, unless the cause is certain.
func (p *Path) testable() bool {
	r := p.facts.Report
	certain := slices.ContainsFunc(r.Findings, func(f probes.Finding) bool { return f.Severity == probes.Outage && f.Certainty == probes.Certain })
	return !certain && !p.facts.ReadOnly && r.Verdict != probes.VerdictOK && slices.Contains(r.Roles, lvs.RoleDirector)
}

// suspects are those of the flows, where the selected stage lists them.
func (p *Path) suspects() []string {
	r, ok := p.selected()
	if !ok || r.finding != nil || r.stage.Status != lvs.StageBroken && r.stage.Status != lvs.StageSuspect {
		return nil
	}
	return FlowSuspects(p.facts)
}

// findingActions are what can be done about a finding, if there is one.
func (p *Path) findingActions(f probes.Finding, ok bool) []keys.Action {
	noFinding, noFix := "", ""
	if !ok {
		noFinding = "nothing is found at this stage; ↑↓ goes to another"
		noFix = noFinding
	} else if f.Fix == nil {
		noFix = "there is no cure to offer for this finding; e explains it"
	}
	return []keys.Action{
		keys.Fix.Do(func() tea.Cmd {
			facts := p.facts
			return func() tea.Msg { return OpenMsg{NewFix(f, facts)} } // simulates the plan: not in Update
		}).Unless(noFix),
		keys.Explain.Do(func() tea.Cmd { return send(ExplainMsg{f.ID}) }).Unless(noFinding),
		keys.Copy.Quietly(func() tea.Cmd { return send(CopyMsg{FindingText(f), "finding " + f.ID}) }).Unless(noFinding),
	}
}

// openDetail shows all of the selected stage or finding. What is read stays the same thing, whatever is found meanwhile.
func (p *Path) openDetail() tea.Cmd {
	p.moved = true
	r, ok := p.selected()
	if !ok {
		return nil
	}
	f := p.about(r)
	if f == nil {
		stage := r.stage.Stage
		return send(OpenMsg{NewReader(p.heading(), func(width int) []kit.Line { return p.stageNow(stage, width) })})
	}
	known := *f
	now := func() (probes.Finding, bool) {
		for _, f := range p.facts.Report.Findings {
			if f.Key() == known.Key() {
				return f, true
			}
		}
		return known, false
	}
	reader := NewReader(known.ID, func(width int) []kit.Line {
		f, there := now()
		if there {
			return findingDetail(f, p.facts, width)
		}
		gone := kit.L(mark(theme.OK), kit.S(theme.OK, " This is no longer found. It was:"))
		return append([]kit.Line{gone, {}}, findingDetail(f, p.facts, width)...)
	})
	return send(OpenMsg{reader.With(func() []keys.Action {
		f, there := now()
		acts := p.findingActions(f, true)
		if !there {
			acts[0] = acts[0].Unless("this is no longer found")
		}
		return acts
	})})
}
