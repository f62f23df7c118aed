package probes

import (
	"fmt"
	"slices"

	"lvstui/lvs"
)

// Rule judges one host at a time. Rules are independent of each other and of their order: what is a symptom of what
// is said by DependsOn, never by which rule ran first. A rule is one file in probes/rules.
type Rule struct {
	// ID is the finding's id, from the catalogue of failures, kept for ever: "rs-answers-arp".
	ID string
	// Title is the finding in one line, without addresses, for lists and for explain.
	Title string
	// Stage is where along the handshake path it breaks.
	Stage lvs.Stage
	// Roles are the roles of hosts that are judged; a host with none of them is passed over.
	Roles []lvs.Role
	// Needs are the sources without which the rule can say nothing: then it is Undecided.
	Needs []lvs.Source
	// DependsOn are the ids of causes: when one of them is found for the same VIP, this finding is its symptom.
	DependsOn []string
	// Explain is the page of documentation.
	Explain Explain
	// Judge is nil for what no host's facts show: those ids are only ever suspects of a flow that stalls.
	//
	// Judge looks at one host that has the role and the sources. It is pure and must not keep or change the Case.
	Judge func(*Case) []Finding
}

// Explain is a rule's page, in plain words: what a person in trouble needs.
type Explain struct {
	Breaks string // what breaks and what the client sees
	ByHand string // how to see it without lvstui: commands and what to look for
	Cure   string // how to cure it now and for the next boot
	Apart  string // the experiment that tells it from what looks alike, where facts alone do not
	Source string // kernel file or document behind it
}

// Case is one host before one rule, with all that is known of the others.
type Case struct {
	*Host
	Cluster *Cluster

	rule      *Rule
	undecided []lvs.Source
	unclear   string
}

// Unclear says that the facts at hand, though all were read, can not clear the rule's stage, and why: only a capture or another host could.
// The stage is then unknown instead of ok; the verdict does not suffer.
func (c *Case) Unclear(why string) { c.unclear = why }

// CannotTell records that a rule could not judge the host for want of a source, so that its stage is not called ok.
// Rules call it for what Needs can't express: a single value that is not there.
func (c *Case) CannotTell(src lvs.Source) {
	if !slices.Contains(c.undecided, src) {
		c.undecided = append(c.undecided, src)
	}
}

// Finding starts a finding of the rule on this host. Severity and certainty are the rule's to set.
func (c *Case) Finding(severity Severity, certainty Certainty, subject string) Finding {
	return Finding{ID: c.rule.ID, Title: c.rule.Title, Stage: c.rule.Stage, Severity: severity, Certainty: certainty,
		Host: c.Snapshot.Host, Subject: subject, Evidence: []Evidence{}, SymptomOf: []string{}}
}

// Check refuses rules that would make a Report lie: an id twice, a stage that does not exist, a cause nobody reports.
func Check(rules []Rule) error {
	ids := map[string]bool{}
	for _, r := range rules {
		switch {
		case r.ID == "" || ids[r.ID]:
			return fmt.Errorf("rule id %q is empty or used twice", r.ID)
		case r.Stage.Index() < 0:
			return fmt.Errorf("rule %s: no stage %q", r.ID, r.Stage)
		case r.Judge == nil || r.Title == "":
			return fmt.Errorf("rule %s: Title and Judge are needed", r.ID)
		}
		ids[r.ID] = true
	}
	for _, r := range rules {
		for _, cause := range r.DependsOn {
			if !ids[cause] {
				return fmt.Errorf("rule %s depends on %s, which is no rule", r.ID, cause)
			}
		}
	}
	return nil
}
