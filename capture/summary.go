package capture

import (
	"time"

	"lvstui/lvs"
)

// Summary counts flows by stage, for sentences like "24 of 24". Flows met in mid-stream and those still
// without a verdict on a stage are in Flows but prove nothing.
type Summary struct {
	Vantage lvs.Vantage // of the flows counted; "" if they have several
	Flows   int         // that began at or after the time asked for, mid-stream ones left out
	Stages  []StageCount
	Outcome map[Outcome]int
	Stalled map[lvs.Stage]int // how many stalled or were refused there

	SynRetransmits, SynAckRetransmits int
}

// StageCount says in what state a stage is, for how many flows.
type StageCount struct {
	Stage                                         lvs.Stage
	Seen, Implied, Missing, Pending, Unobservable int
}

// Reached is the number of flows known to have passed the stage.
func (c StageCount) Reached() int { return c.Seen + c.Implied }

// Judged is the number of flows for which it is known whether they passed the stage.
func (c StageCount) Judged() int { return c.Seen + c.Implied + c.Missing }

func (c *StageCount) count(s lvs.StageState) {
	switch s {
	case lvs.Seen:
		c.Seen++
	case lvs.Implied:
		c.Implied++
	case lvs.Missing:
		c.Missing++
	case lvs.Pending:
		c.Pending++
	default:
		c.Unobservable++
	}
}

func newSummary() Summary {
	s := Summary{Stages: make([]StageCount, numStages), Outcome: map[Outcome]int{}, Stalled: map[lvs.Stage]int{}}
	for i := range s.Stages {
		s.Stages[i].Stage = lvs.Stages[i]
	}
	return s
}

func (s *Summary) begin(v lvs.Vantage, o Outcome) {
	if s.Flows == 0 {
		s.Vantage = v
	} else if s.Vantage != v {
		s.Vantage = ""
	}
	s.Flows++
	s.Outcome[o]++
}

// Summary counts the remembered flows that began at or after since.
func (t *Tracker) Summary(since time.Time) Summary {
	s := newSummary()
	from := since.UnixNano()
	if since.IsZero() {
		from = -1 << 63
	}
	for _, l := range []list{t.live, t.over} {
		for i := l.head; i >= 0; i = t.recs.at(i).next {
			r := t.recs.at(i)
			if r.first < from || r.midStream() {
				continue
			}
			j := t.judge(r, t.now)
			s.begin(j.vantage, j.outcome)
			for k := range numStages {
				s.Stages[k].count(j.state(k))
			}
			if (j.outcome == Stalled || j.outcome == Refused) && j.due < numStages {
				s.Stalled[lvs.Stages[j.due]]++
			}
			s.SynRetransmits += retransmits(r.synN)
			s.SynAckRetransmits += retransmits(r.synAckN)
		}
	}
	return s
}

// Summarize does the same for flows that are at hand as such, from a file or from another host.
func Summarize(flows []Flow, since time.Time) Summary {
	s := newSummary()
	for i := range flows {
		f := &flows[i]
		if f.MidStream || f.FirstSeen.Before(since) {
			continue
		}
		s.begin(f.Vantage, f.Outcome)
		for k := range s.Stages {
			s.Stages[k].count(f.Stage(lvs.Stages[k]).State)
		}
		if f.StalledAt != "" {
			s.Stalled[f.StalledAt]++
		}
		s.SynRetransmits += f.SynRetransmits
		s.SynAckRetransmits += f.SynAckRetransmits
	}
	return s
}
