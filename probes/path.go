package probes

import (
	"fmt"
	"slices"
	"time"

	"lvstui/capture"
	"lvstui/internal/arrange"
	"lvstui/lvs"
)

// FlowWindow is how far back flows count for the path, from the latest one seen on the host. What was cured a minute ago must not
// keep the path red.
const FlowWindow = 60 * time.Second

// FewFlows is how many flows have to stop at a stage before it counts as broken: on a public address some scanner always leaves a
// handshake half open.
const FewFlows = 3

// CuredFlows is how many flows in a row, the latest ones, have to get past a stage for it to count as cured, whatever stopped there before. A
// director with that many real servers or fewer sends one of them to a broken one.
const CuredFlows = 6

// tally is what the flows of one host say of one stage.
type tally struct {
	reached, due, unobservable int
	run                        int // the latest that got past, one after the other
}

// path judges the eleven stages, from the findings and from the flows of the host asked about.
func path(r *Report, rules []Rule, c *Cluster, unclear map[lvs.Stage]string) []PathStage {
	flows, observed := tallyFlows(c)
	out := make([]PathStage, 0, len(lvs.Stages))
	for i, stage := range lvs.Stages {
		p := PathStage{Stage: stage, Status: lvs.StageUnknown, Findings: []string{}, Reached: flows[i].reached, Due: flows[i].due}
		for _, f := range r.Findings {
			if f.Stage == stage && !slices.Contains(p.Findings, f.ID) {
				p.Findings = append(p.Findings, f.ID)
			}
		}
		p.Status, p.Note = stageStatus(r, stage, flows[i], observed)
		if p.Status == lvs.StageUnknown && len(p.Findings) == 0 && factsClear(r, rules, c, stage) {
			p.Status, p.Note = lvs.StageOK, "nothing in the way here"
			if why := unclear[stage]; why != "" {
				p.Status, p.Note = lvs.StageUnknown, why
			}
		}
		out = append(out, p)
	}
	return out
}

// notLookedAt is the note of a stage of which neither flows nor facts tell.
const notLookedAt = "not looked at"

// stageStatus weighs findings at a stage against what the flows show there. A finding of an outage that was proven makes the stage
// broken even when no flow was seen; flows alone make it broken when none got past.
func stageStatus(r *Report, stage lvs.Stage, t tally, observed bool) (lvs.StageStatus, string) {
	status, note := lvs.StageUnknown, notLookedAt
	switch {
	case t.due > 0:
		status, note = flowStatus(t), fmt.Sprintf("%d of %d", t.reached, t.due)
		if t.unobservable > 0 {
			note += fmt.Sprintf(", %d unseen", t.unobservable)
		}
	case t.unobservable > 0:
		note = "not seen here"
	case observed:
		note = "no traffic yet"
	}
	for _, f := range r.Findings {
		if f.Stage != stage || len(f.SymptomOf) > 0 {
			continue
		}
		if note == notLookedAt {
			note = "by the facts"
		}
		switch {
		case f.Severity == Outage && f.Certainty != Hint:
			return lvs.StageBroken, note
		case (f.Severity == Outage || f.Severity == Degraded) && status != lvs.StageBroken:
			status = lvs.StageSuspect
		}
	}
	return status, note
}

// flowStatus: a stage that nearly every flow gets past is ok, because on any public address some scanner leaves its handshakes half
// open. So is one that all of the latest ones get past: it was cured a moment ago.
func flowStatus(t tally) lvs.StageStatus {
	switch {
	case t.reached == 0 && t.due >= FewFlows:
		return lvs.StageBroken
	case t.reached == 0:
		return lvs.StageSuspect
	case t.reached*5 >= t.due*4 || t.run >= CuredFlows:
		return lvs.StageOK
	}
	return lvs.StageSuspect
}

// tallyFlows counts, per stage, the flows to any VIP that were due to reach it and did. Flows still in their time do not count.
func tallyFlows(c *Cluster) (stages [11]tally, observed bool) {
	for _, f := range recentFlows(c) {
		for i, stage := range lvs.Stages {
			switch f.Stage(stage).State {
			case lvs.Seen, lvs.Implied:
				stages[i].due++
				stages[i].reached++
				stages[i].run++
			case lvs.Missing:
				if needNoAnswer(f, stage) {
					continue
				}
				stages[i].due++
				stages[i].run = 0
			case lvs.Unobservable:
				stages[i].unobservable++
			}
		}
	}
	return stages, slices.ContainsFunc(c.asked(), func(h *Host) bool { return h.Flows != nil })
}

// needNoAnswer tells that a flow without an answer may be as it should be: over UDP there are services that never answer, such as syslog.
func needNoAnswer(f capture.Flow, stage lvs.Stage) bool {
	return f.Protocol == lvs.UDP && (stage == lvs.SynAckSent || stage == lvs.SynAckAtClient) && f.ICMP == nil && !f.AnsweredFrom.IsValid()
}

// asked are the hosts whose flows the path is made of.
func (c *Cluster) asked() []*Host {
	if c.Options.Together {
		return c.Hosts
	}
	return c.Hosts[:min(1, len(c.Hosts))]
}

// recentFlows are the recent flows to all VIPs of the cluster, oldest first: those of the host asked about, or joined from all
// hosts, where all are asked about together.
func recentFlows(c *Cluster) []capture.Flow {
	var views [][]capture.Flow
	for _, h := range c.asked() {
		var all []capture.Flow
		for _, vip := range c.VIPs {
			all = append(all, h.RecentFlowsTo(vip)...)
		}
		if len(all) > 0 {
			views = append(views, all)
		}
	}
	var all []capture.Flow
	switch len(views) {
	case 0:
	case 1:
		all = views[0]
	default:
		all = capture.Merge(views...)
	}
	arrange.By(all, byStart)
	return all
}

// factsClear tells whether this host's facts alone show that nothing stands in the way of a stage: every outage rule of the stage was
// judged, one of them on a host with the role that passes the stage, and none found anything. The stages in which the network alone has a
// part (syn-sent, vip-resolved, and from syn-ack-at-client on) can not be cleared by facts.
func factsClear(r *Report, rules []Rule, c *Cluster, stage lvs.Stage) bool {
	role, byFacts := map[lvs.Stage]lvs.Role{
		lvs.SynScheduled: lvs.RoleDirector, lvs.SynForwarded: lvs.RoleDirector,
		lvs.SynAccepted: lvs.RoleRealServer, lvs.SynAckSent: lvs.RoleRealServer,
	}[stage]
	if !byFacts || len(c.With(role)) == 0 {
		return false
	}
	judged := false
	for _, rule := range rules {
		if rule.Stage != stage {
			continue
		}
		judged = judged || slices.Contains(rule.Roles, role)
		if slices.ContainsFunc(r.Undecided, func(u Undecided) bool { return u.Rule == rule.ID }) {
			return false
		}
	}
	return judged
}
