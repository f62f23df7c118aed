// Package rules holds the rules, one file each: what to look for, what it means, and the cure. A rule registers
// itself, so that adding one is adding its file and its cases under testdata/<rule-id>/.
package rules

import (
	"cmp"
	"slices"

	"lvstui/internal/arrange"
	"lvstui/probes"
)

var registered, suspects []probes.Rule

// register adds a rule at start-up: `var _ = register(probes.Rule{…})`.
func register(r probes.Rule) probes.Rule {
	registered = append(registered, r)
	return r
}

// suspect adds a page about something that no host's facts show. It has no Judge: only a flow that stalls names it.
func suspect(r probes.Rule) probes.Rule {
	suspects = append(suspects, r)
	return r
}

// Explained returns everything that has a page, rules and suspects, along the handshake path and by id.
func Explained() []probes.Rule { return sorted(append(slices.Clone(registered), suspects...)) }

// All returns every rule, along the handshake path and by id, so that output does not depend on file names.
func All() []probes.Rule {
	return sorted(slices.Clone(registered))
}

func sorted(out []probes.Rule) []probes.Rule {
	arrange.By(out, func(a, b probes.Rule) int {
		return cmp.Or(cmp.Compare(a.Stage.Index(), b.Stage.Index()), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// Find returns what has a page with that id: a rule, or a suspect.
func Find(id string) (probes.Rule, bool) {
	all := Explained()
	i := slices.IndexFunc(all, func(r probes.Rule) bool { return r.ID == id })
	if i < 0 {
		return probes.Rule{}, false
	}
	return all[i], true
}
