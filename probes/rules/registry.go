// Package rules holds the rules, one file each: what to look for, what it means, and the cure. A rule registers
// itself, so that adding one is adding its file and its cases under testdata/<rule-id>/.
package rules

import (
	"cmp"
	"slices"

	"lvstui/probes"
)

var registered []probes.Rule

// register adds a rule at start-up: `var _ = register(probes.Rule{…})`.
func register(r probes.Rule) probes.Rule {
	registered = append(registered, r)
	return r
}

// All returns every rule, along the handshake path and by id, so that output does not depend on file names.
func All() []probes.Rule {
	out := slices.Clone(registered)
	slices.SortFunc(out, func(a, b probes.Rule) int {
		return cmp.Or(cmp.Compare(a.Stage.Index(), b.Stage.Index()), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// Find returns the rule with that id.
func Find(id string) (probes.Rule, bool) {
	i := slices.IndexFunc(registered, func(r probes.Rule) bool { return r.ID == id })
	if i < 0 {
		return probes.Rule{}, false
	}
	return registered[i], true
}
