package probes

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"lvstui/capture"
	"lvstui/lvs"
)

var hosts = map[lvs.Vantage]*lvs.Snapshot{
	lvs.RoleClient: with(bare("client"), "eth0 188.88.88.10/24"), lvs.RoleRouter: router(),
	lvs.RoleDirector: director(), lvs.RoleRealServer: realServer("rs1", "192.168.10.11"),
}

// Served clients make every stage ok, wherever one looks from.
func TestServedFromEveryVantage(t *testing.T) {
	for vantage, s := range hosts {
		r := Diagnose(nil, []Observation{{Snapshot: s, Flows: many(0, 10, vantage, capture.Closed, served[vantage])}}, Options{VIPs: addrs(vip)})
		for _, p := range r.Path {
			if p.Status != lvs.StageOK || p.Reached != 10 || p.Due != 10 || p.Note != "10 of 10" {
				t.Errorf("%s: %s is %s, %d of %d, %q", vantage, p.Stage, p.Status, p.Reached, p.Due, p.Note)
			}
		}
		if r.Verdict != VerdictOK {
			t.Errorf("%s: verdict %s: %s", vantage, r.Verdict, r.Summary)
		}
		if !slices.Contains(r.Roles, vantage) {
			t.Errorf("%s: roles %v", vantage, r.Roles)
		}
	}
}

// The article's failing cluster: up to where each host can see all is ok, and the first stage it can prove to fail is broken.
func TestUnansweredFromEveryVantage(t *testing.T) {
	broken := map[lvs.Vantage]lvs.Stage{lvs.RoleClient: lvs.SynAckAtClient, lvs.RoleRouter: lvs.SynAckAtClient,
		lvs.RoleDirector: lvs.AckAtDirector, lvs.RoleRealServer: lvs.SynAckAtClient}
	lastOK := map[lvs.Vantage]lvs.Stage{lvs.RoleClient: lvs.SynSent, lvs.RoleRouter: lvs.SynAckSent,
		lvs.RoleDirector: lvs.SynForwarded, lvs.RoleRealServer: lvs.SynAckSent}
	for vantage, s := range hosts {
		r := Diagnose(nil, []Observation{{Snapshot: s, Flows: many(0, 24, vantage, capture.Stalled, unanswered[vantage])}}, Options{VIPs: addrs(vip)})
		for i, p := range r.Path {
			want := lvs.StageUnknown
			switch {
			case i <= lastOK[vantage].Index():
				want = lvs.StageOK
			case p.Stage == broken[vantage]:
				want = lvs.StageBroken
			}
			if p.Status != want {
				t.Errorf("%s: %s is %s, want %s", vantage, p.Stage, p.Status, want)
			}
		}
		if p := statusOf(r, lastOK[vantage]); p.Note != "24 of 24" {
			t.Errorf("%s: %s says %q", vantage, p.Stage, p.Note)
		}
		if p := statusOf(r, broken[vantage]); p.Note != "0 of 24" {
			t.Errorf("%s: %s says %q", vantage, p.Stage, p.Note)
		}
		if r.Verdict != VerdictBroken || r.Summary != "handshakes stop at "+broken[vantage].Title()+", 0 of 24 got there" {
			t.Errorf("%s: verdict %s: %s", vantage, r.Verdict, r.Summary)
		}
	}
}

// A director and a real server that both listened: what the director can not see, the real server's flows show.
func TestPathOfSeveralListeners(t *testing.T) {
	var all []Observation
	for _, vantage := range []lvs.Vantage{lvs.RoleDirector, lvs.RoleRealServer} {
		flows := many(0, 24, vantage, capture.Stalled, unanswered[vantage])
		for i := range flows {
			flows[i].Reached, flows[i].StalledAt = lvs.SynForwarded, lvs.AckAtDirector
			if vantage == lvs.RoleRealServer {
				flows[i].Reached, flows[i].StalledAt = lvs.SynAckSent, lvs.SynAckAtClient
			}
		}
		all = append(all, Observation{Snapshot: hosts[vantage], Flows: flows})
	}
	r := Diagnose(nil, all, Options{VIPs: addrs(vip), Together: true})
	if p := statusOf(r, lvs.SynAckSent); p.Status != lvs.StageOK || p.Note != "24 of 24" {
		t.Errorf("%s is %s, %q", p.Stage, p.Status, p.Note)
	}
	if want := "handshakes stop at SYN-ACK at client, 0 of 24 got there"; r.Summary != want {
		t.Errorf("summary %q, want %q", r.Summary, want)
	}
}

// The connections that an active test opened from here are nobody's.
func TestOwnTestsAreNoClients(t *testing.T) {
	s := director()
	flows := many(0, 4, lvs.RoleDirector, capture.Stalled, unanswered[lvs.RoleDirector])
	s.Probed = &lvs.Probed{At: start, DSR: []lvs.DSRProbe{{Source: flows[3].Client}}}
	r := Diagnose(nil, []Observation{{Snapshot: s, Flows: flows}}, Options{VIPs: addrs(vip)})
	if p := statusOf(r, lvs.SynForwarded); p.Note != "3 of 3" {
		t.Errorf("%s says %q", p.Stage, p.Note)
	}
}

func TestStatusByFlows(t *testing.T) {
	ok, lost, flying := served[lvs.RoleDirector], unanswered[lvs.RoleDirector], stages{lvs.SynAtDirector: lvs.Seen, lvs.SynForwarded: lvs.Seen, lvs.AckAtDirector: lvs.Pending}
	mid := flow(3, lvs.RoleDirector, capture.Stalled, lost)
	mid.MidStream = true
	own := flow(4, lvs.RoleDirector, capture.Stalled, lost)
	own.Client = mustAddrPort("192.168.10.2:50000")
	other := flow(5, lvs.RoleDirector, capture.Stalled, lost)
	other.Virtual = mustAddrPort("192.168.10.2:22")
	for _, tt := range []struct {
		name  string
		flows []capture.Flow
		want  lvs.StageStatus
	}{
		{"nobody listened", nil, lvs.StageUnknown},
		{"nobody came", []capture.Flow{}, lvs.StageUnknown},
		{"still on its way", d(flying, 3, 0), lvs.StageUnknown},
		{"one stranger", d(lost, 1, 0), lvs.StageSuspect},
		{"two", d(lost, 2, 0), lvs.StageSuspect},
		{"three", d(lost, 3, 0), lvs.StageBroken},
		{"a stranger among clients", append(d(ok, 4, 0), d(lost, 1, 4)...), lvs.StageOK},
		{"a scanner's twenty among eighty", append(d(lost, 20, 0), d(ok, 80, 0)...), lvs.StageOK},
		{"every second", turns(20, ok, lost), lvs.StageSuspect},
		{"every third", turns(21, ok, lost, ok), lvs.StageSuspect},
		{"cured a moment ago", append(d(lost, 20, 0), d(ok, CuredFlows, 20)...), lvs.StageOK},
		{"cured just now", append(d(lost, 20, 0), d(ok, CuredFlows-1, 20)...), lvs.StageSuspect},
		{"broken a moment ago", append(d(ok, 8, 0), d(lost, 6, 8)...), lvs.StageSuspect},
		{"cured two minutes ago", append(d(lost, 10, 0), d(ok, 2, 130)...), lvs.StageOK},
		{"met in mid-stream", []capture.Flow{mid, mid, mid}, lvs.StageUnknown},
		{"from the director itself", []capture.Flow{own, own, own}, lvs.StageUnknown},
		{"to another address", []capture.Flow{other, other, other}, lvs.StageUnknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := Diagnose(nil, []Observation{{Snapshot: director(), Flows: tt.flows}}, Options{})
			if p := statusOf(r, lvs.AckAtDirector); p.Status != tt.want {
				t.Errorf("%s is %s (%s), want %s", p.Stage, p.Status, p.Note, tt.want)
			}
			slices.Reverse(tt.flows)
			if p := statusOf(Diagnose(nil, []Observation{{Snapshot: director(), Flows: tt.flows}}, Options{}), lvs.AckAtDirector); p.Status != tt.want {
				t.Errorf("flows in another order: %s is %s, want %s", p.Stage, p.Status, tt.want)
			}
		})
	}
}

func TestPathNotes(t *testing.T) {
	for _, tt := range []struct {
		flows []capture.Flow
		stage lvs.Stage
		want  string
	}{
		{nil, lvs.SynAtDirector, "not looked at"},
		{[]capture.Flow{}, lvs.SynAtDirector, "no traffic yet"},
		{d(unanswered[lvs.RoleDirector], 3, 0), lvs.SynAckSent, "not seen here"},
		{d(unanswered[lvs.RoleDirector], 3, 0), lvs.SynForwarded, "3 of 3"},
	} {
		r := Diagnose(nil, []Observation{{Snapshot: director(), Flows: tt.flows}}, Options{})
		if p := statusOf(r, tt.stage); p.Note != tt.want {
			t.Errorf("%d flows: %s says %q, want %q", len(tt.flows), tt.stage, p.Note, tt.want)
		}
	}
}

// Findings and flows are weighed against each other.
func TestStatusByFindings(t *testing.T) {
	ok := d(served[lvs.RoleDirector], 10, 0)
	for _, tt := range []struct {
		name      string
		severity  Severity
		certainty Certainty
		flows     []capture.Flow
		want      lvs.StageStatus
		verdict   Verdict
	}{
		{"proven outage", Outage, Certain, nil, lvs.StageBroken, VerdictBroken},
		{"probable outage", Outage, Strong, nil, lvs.StageBroken, VerdictBroken},
		{"possible outage", Outage, Hint, nil, lvs.StageSuspect, VerdictWarning},
		{"proven degradation", Degraded, Certain, nil, lvs.StageSuspect, VerdictWarning},
		{"hazard", Hazard, Certain, nil, lvs.StageUnknown, VerdictWarning},
		{"note", Note, Certain, nil, lvs.StageUnknown, VerdictOK},
		{"proven outage though flows pass", Outage, Certain, ok, lvs.StageBroken, VerdictBroken},
		{"hazard while flows pass", Hazard, Certain, ok, lvs.StageOK, VerdictWarning},
		{"possible outage where flows stop", Outage, Hint, d(unanswered[lvs.RoleDirector], 5, 0), lvs.StageBroken, VerdictBroken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rule := finds("x", lvs.AckAtDirector, tt.severity, tt.certainty)
			r := Diagnose([]Rule{rule}, []Observation{{Snapshot: director(), Flows: tt.flows}}, Options{})
			p := statusOf(r, lvs.AckAtDirector)
			if p.Status != tt.want || !slices.Equal(p.Findings, []string{"x"}) {
				t.Errorf("status %s with findings %v, want %s", p.Status, p.Findings, tt.want)
			}
			if r.Verdict != tt.verdict {
				t.Errorf("verdict %s, want %s", r.Verdict, tt.verdict)
			}
		})
	}
}

// A symptom does not make its stage broken: the cause does that at its own.
func TestSymptomsLeaveTheirStage(t *testing.T) {
	symptom := finds("symptom", lvs.SynAckAtClient, Outage, Strong)
	symptom.DependsOn = []string{"cause"}
	r := Diagnose([]Rule{symptom, finds("cause", lvs.SynScheduled, Outage, Certain)}, []Observation{{Snapshot: director()}}, Options{})
	if got := statusOf(r, lvs.SynAckAtClient).Status; got != lvs.StageUnknown {
		t.Errorf("the symptom's stage is %s", got)
	}
	if got := statusOf(r, lvs.SynScheduled).Status; got != lvs.StageBroken {
		t.Errorf("the cause's stage is %s", got)
	}
	if r.Findings[0].ID != "cause" || !slices.Equal(r.Findings[1].SymptomOf, []string{"cause"}) {
		t.Errorf("order of findings: %v", r.Findings)
	}
}

// Facts alone clear a stage only when every rule of the stage was judged.
func TestStageClearedByFacts(t *testing.T) {
	silent := func(id string, stage lvs.Stage, needs ...lvs.Source) Rule {
		return Rule{ID: id, Title: id, Stage: stage, Roles: []lvs.Role{lvs.RoleDirector}, Needs: needs, Judge: func(*Case) []Finding { return nil }}
	}
	cannot := silent("c", lvs.SynScheduled)
	cannot.Judge = func(c *Case) []Finding { c.CannotTell(lvs.SourceNetfilter); return nil }
	unread := director()
	unread.Netfilter = nil
	for _, tt := range []struct {
		name  string
		rules []Rule
		host  *lvs.Snapshot
		stage lvs.Stage
		want  lvs.StageStatus
	}{
		{"all judged", []Rule{silent("a", lvs.SynScheduled), silent("b", lvs.SynScheduled)}, director(), lvs.SynScheduled, lvs.StageOK},
		{"no rule", nil, director(), lvs.SynScheduled, lvs.StageUnknown},
		{"a source is missing", []Rule{silent("a", lvs.SynScheduled), silent("b", lvs.SynScheduled, lvs.SourceNetfilter)}, unread, lvs.SynScheduled, lvs.StageUnknown},
		{"a rule could not tell", []Rule{silent("a", lvs.SynScheduled), cannot}, director(), lvs.SynScheduled, lvs.StageUnknown},
		{"a hazard stands there", []Rule{silent("a", lvs.SynScheduled), finds("h", lvs.SynScheduled, Hazard, Certain)}, director(), lvs.SynScheduled, lvs.StageUnknown},
		{"no host with the role", []Rule{silent("a", lvs.SynScheduled)}, with(bare("x"), "eth0 10.0.0.1/24"), lvs.SynScheduled, lvs.StageUnknown},
		{"the network has a part", []Rule{silent("a", lvs.SynAckAtClient)}, director(), lvs.SynAckAtClient, lvs.StageUnknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := Diagnose(tt.rules, []Observation{{Snapshot: tt.host}}, Options{})
			if p := statusOf(r, tt.stage); p.Status != tt.want {
				t.Errorf("%s is %s (%s), want %s", p.Stage, p.Status, p.Note, tt.want)
			}
		})
	}
}

// The path is that of the host asked about: another host's flows do not count there.
func TestPathIsTheFirstHosts(t *testing.T) {
	good := Observation{Snapshot: director(), Flows: d(served[lvs.RoleDirector], 5, 0)}
	bad := Observation{Snapshot: realServer("rs1", "192.168.10.11"), Flows: many(0, 5, lvs.RoleRealServer, capture.Stalled, unanswered[lvs.RoleRealServer])}
	if got := statusOf(Diagnose(nil, []Observation{good, bad}, Options{}), lvs.SynAckAtClient).Status; got != lvs.StageOK {
		t.Errorf("seen from the director it is %s", got)
	}
	if got := statusOf(Diagnose(nil, []Observation{bad, good}, Options{}), lvs.SynAckAtClient).Status; got != lvs.StageBroken {
		t.Errorf("seen from rs1 it is %s", got)
	}
}

// d are n flows seen on the director, one a second from second first on.
func d(states stages, n, first int) []capture.Flow {
	return many(first, n, lvs.RoleDirector, capture.Stalled, states)
}

// turns are n flows that go by the states in turn.
func turns(n int, states ...stages) []capture.Flow {
	var out []capture.Flow
	for i := range n {
		out = append(out, flow(i, lvs.RoleDirector, capture.Stalled, states[i%len(states)]))
	}
	return out
}

// finds is a rule that finds one thing on every director.
func finds(id string, stage lvs.Stage, severity Severity, certainty Certainty) Rule {
	return Rule{ID: id, Title: "title of " + id, Stage: stage, Roles: []lvs.Role{lvs.RoleDirector},
		Judge: func(c *Case) []Finding { return []Finding{c.Finding(severity, certainty, "subject")} }}
}

func TestFlowWindow(t *testing.T) {
	flows := append(d(unanswered[lvs.RoleDirector], 3, 0), d(served[lvs.RoleDirector], 1, int(FlowWindow/time.Second)+10)...)
	h := newHost(Observation{Snapshot: director(), Flows: flows})
	if got := h.RecentFlowsTo(vip); len(got) != 1 {
		t.Errorf("%d flows are recent, want the last one", len(got))
	}
	if got := fmt.Sprint(len(h.FlowsTo(vip))); got != "4" {
		t.Errorf("%s flows in all, want 4", got)
	}
}
