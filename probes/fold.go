package probes

import (
	"cmp"
	"fmt"
	"net/netip"

	"lvstui/internal/arrange"
)

// Alike is how many findings of one rule on one host are told one by one. A host that lacks ten thousand VIPs has one fault, and a report of
// ten thousand findings hides all others.
const Alike = 16

// fold makes one finding of those above Alike that one rule has on one host, by severity and certainty.
func fold(found []Finding) []Finding {
	if len(found) <= Alike {
		return found
	}
	type weight struct {
		severity  Severity
		certainty Certainty
	}
	groups := map[weight][]Finding{}
	var order []weight
	for _, f := range found {
		w := weight{f.Severity, f.Certainty}
		if groups[w] == nil {
			order = append(order, w)
		}
		groups[w] = append(groups[w], f)
	}
	var out []Finding
	for _, w := range order {
		group := groups[w]
		if len(group) <= Alike {
			out = append(out, group...)
			continue
		}
		arrange.By(group, func(a, b Finding) int { return cmp.Or(a.VIP.Compare(b.VIP), cmp.Compare(a.Subject, b.Subject)) })
		out = append(out, group[:Alike]...)
		out = append(out, folded(group[Alike:]))
	}
	return out
}

// folded stands for all the findings given, which are alike: its words are those of the first.
func folded(rest []Finding) Finding {
	f := rest[0]
	f.VIP = netip.Addr{}
	last := rest[len(rest)-1]
	f.Subject = fmt.Sprintf("%s to %s: %d", f.Subject, last.Subject, len(rest))
	f.Title = fmt.Sprintf("%s, and %d more like it", f.Title, len(rest)-1)
	if f.Fix != nil {
		fix := *f.Fix
		fix.Automatic, fix.Plan.Steps, fix.FromFiles = false, nil, nil
		fix.Words = fmt.Sprintf("the same for %d more: cure the others, and look again", len(rest)-1)
		f.Fix = &fix
	}
	return f
}
