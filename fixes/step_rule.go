package fixes

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"lvstui/lvs"
)

const (
	kindAddRule = "rule-add"
	kindDelRule = "rule-del"
)

// AddRule adds a policy rule that looks up a table: of IPv6 when From or To is, else of IPv4.
type AddRule struct {
	// Priority is the rule's place: smaller ones are asked first. It must be free.
	Priority int          `json:"priority"`
	From     netip.Prefix `json:"from,omitzero"`
	To       netip.Prefix `json:"to,omitzero"`
	Iif      string       `json:"iif,omitempty"`
	Table    int          `json:"table"`
}

// DelRule removes exactly this rule.
type DelRule AddRule

// Kind is "rule-add".
func (st AddRule) Kind() string { return kindAddRule }

// Kind is "rule-del".
func (st DelRule) Kind() string { return kindDelRule }

// Command is the ip(8) command line.
func (st AddRule) Command() string { return ipCommand(st.six()) + " rule add " + st.words() }

// Command is the ip(8) command line.
func (st DelRule) Command() string {
	return ipCommand(AddRule(st).six()) + " rule del " + AddRule(st).words()
}

func (st AddRule) six() bool { return st.From.Addr().Is6() || st.To.Addr().Is6() }

func (st AddRule) family() int {
	if st.six() {
		return 6
	}
	return 4
}

func (st AddRule) words() string {
	out := ""
	if st.From.IsValid() {
		out += "from " + st.From.String() + " "
	}
	if st.To.IsValid() {
		out += "to " + st.To.String() + " "
	}
	if st.Iif != "" {
		out += "iif " + shellWord(st.Iif) + " "
	}
	return fmt.Sprintf("%slookup %d priority %d", out, st.Table, st.Priority)
}

// Validate refuses what the kernel could not have, and what lvstui does not do.
func (st AddRule) Validate() error {
	for _, p := range []netip.Prefix{st.From, st.To} {
		if p.IsValid() && (validPrefix(p) != nil || p.Addr().Is6() != st.six() || p != p.Masked() || p.Bits() == 0) {
			return fmt.Errorf("%s is no prefix for a policy rule of IPv%d", p, st.family())
		}
	}
	if st.Iif != "" {
		if err := validDevice(st.Iif); err != nil {
			return err
		}
	}
	// 0, 32766 and 32767 are the kernel's own.
	if st.Priority <= 0 || st.Priority >= 32766 || st.Table <= 0 || st.Table > 1<<31-1 {
		return fmt.Errorf("no rule with priority %d looks up table %d", st.Priority, st.Table)
	}
	if !st.From.IsValid() && !st.To.IsValid() && st.Iif == "" {
		return fmt.Errorf("a rule for every packet is not set by lvstui")
	}
	return nil
}

// Validate refuses what the kernel could not have, and what lvstui does not do.
func (st DelRule) Validate() error { return AddRule(st).Validate() }

func (st AddRule) rule() lvs.PolicyRule {
	return lvs.PolicyRule{Priority: st.Priority, From: st.From, To: st.To, Iif: st.Iif, Table: st.Table, Action: "table", Family: st.family()}
}

// rivals are the rules of the family at the same place, of which only the kernel knows the order.
func (st AddRule) rivals(s *lvs.Snapshot) []lvs.PolicyRule {
	return slices.DeleteFunc(slices.Clone(s.PolicyRules), func(r lvs.PolicyRule) bool { return r.Family != st.family() || r.Priority != st.Priority })
}

// Was says what there is now.
func (st AddRule) Was(s *lvs.Snapshot) string {
	switch n := len(st.rivals(s)); {
	case s.PolicyRules == nil:
		return "could not be read"
	case st.Done(s):
		return "there already"
	case n > 0:
		return fmt.Sprintf("%d other rules with priority %d", n, st.Priority)
	}
	return "not there"
}

// Was says what there is now.
func (st DelRule) Was(s *lvs.Snapshot) string { return AddRule(st).Was(s) }

// Done says that the rule is there, alone at its place.
func (st AddRule) Done(s *lvs.Snapshot) bool {
	rivals := st.rivals(s)
	return len(rivals) == 1 && rivals[0] == st.rule()
}

// Done says that the rule is not there. It is not done when the rules could not be read.
func (st DelRule) Done(s *lvs.Snapshot) bool {
	return s.PolicyRules != nil && !slices.Contains(s.PolicyRules, AddRule(st).rule())
}

// alone refuses a place that other rules have: which of them is asked first is not in a snapshot.
func (st AddRule) alone(s *lvs.Snapshot) error {
	if err := st.Validate(); err != nil {
		return err
	}
	if s.PolicyRules == nil {
		return fmt.Errorf("the policy rules of %s could not be read", s.Host)
	}
	for _, r := range st.rivals(s) {
		if r != st.rule() {
			return fmt.Errorf("there is another rule with priority %d: choose a free one", st.Priority)
		}
	}
	return nil
}

// Simulate adds the rule.
func (st AddRule) Simulate(s *lvs.Snapshot) (*lvs.Snapshot, error) {
	if err := st.alone(s); err != nil || st.Done(s) {
		return s, err
	}
	next := *s
	at, _ := slices.BinarySearchFunc(s.PolicyRules, st.rule(), func(a, b lvs.PolicyRule) int {
		return cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.Priority, b.Priority))
	})
	next.PolicyRules = slices.Insert(slices.Clone(s.PolicyRules), at, st.rule())
	return withAnswers(s, &next), nil
}

// Simulate takes the rule out.
func (st DelRule) Simulate(s *lvs.Snapshot) (*lvs.Snapshot, error) {
	if err := AddRule(st).alone(s); err != nil || st.Done(s) {
		return s, err
	}
	next := *s
	next.PolicyRules = slices.DeleteFunc(slices.Clone(s.PolicyRules), func(r lvs.PolicyRule) bool { return r == AddRule(st).rule() })
	return withAnswers(s, &next), nil
}

// Undo deletes the rule.
func (st AddRule) Undo(s *lvs.Snapshot) ([]Step, error) {
	if st.Done(s) {
		return nil, nil
	}
	return []Step{DelRule(st)}, st.alone(s)
}

// Undo adds the rule again.
func (st DelRule) Undo(s *lvs.Snapshot) ([]Step, error) {
	if st.Done(s) {
		return nil, nil
	}
	return []Step{AddRule(st)}, AddRule(st).alone(s)
}

// Risk says when the operator's session would lose its way.
func (st AddRule) Risk(s *lvs.Snapshot) string { return routeRisk(st, s) }

// Risk says when the operator's session would lose its way.
func (st DelRule) Risk(s *lvs.Snapshot) string { return routeRisk(st, s) }

func ruleFact(family, priority int) string {
	return fmt.Sprintf("the IPv%d policy rule with priority %d", family, priority)
}

// ruleFacts adds the rules that are not the kernel's own.
func ruleFacts(s *lvs.Snapshot, out map[string]string) {
	for _, r := range s.PolicyRules {
		if r.Priority == 0 || r.Priority >= 32766 {
			continue
		}
		value := fmt.Sprintf("%s, from %s to %s iif %q mark %d/%d table %d", r.Action, r.From, r.To, r.Iif, r.Mark, r.Mask, r.Table)
		if before, ok := out[ruleFact(r.Family, r.Priority)]; ok {
			value = before + " and " + value
		}
		out[ruleFact(r.Family, r.Priority)] = value
	}
}
