package fixes

import (
	"slices"

	"lvstui/lvs"
)

// withAnswers carries what the kernel answered to route questions over a simulated change: an answer that the model of the
// routing gives alike before and after stays the kernel's own; one that it gives differently becomes the model's, unless the model
// had been wrong about the old one: then nobody knows.
func withAnswers(before, after *lvs.Snapshot) *lvs.Snapshot {
	after.Answers = slices.Clone(before.Answers)
	for i, recorded := range before.Answers {
		was, is := before.Lookup(recorded.RouteQuery), after.Lookup(recorded.RouteQuery)
		if sameAnswer(was, is) {
			continue
		}
		if was.Outcome != lvs.OutUnknown && was.Outcome != recorded.Outcome {
			is = lvs.RouteAnswer{RouteQuery: recorded.RouteQuery, Outcome: lvs.OutUnknown}
		}
		after.Answers[i] = is
	}
	return after
}

// sameAnswer compares what a rule may judge by.
func sameAnswer(a, b lvs.RouteAnswer) bool {
	return a.Outcome == b.Outcome && a.Device == b.Device && a.Gateway == b.Gateway && a.Source == b.Source
}
