package screens

import (
	"lvstui/capture"
	"lvstui/lvs"
	"lvstui/probes"
	"lvstui/ui/kit"
	"lvstui/ui/theme"
)

// mark is a glyph with the role that colours it. A word always stands beside it.
func mark(role theme.Role) kit.Span { return kit.S(role, Glyph(role)) }

// Glyph is the sign of a role: good, broken, suspect, could not look.
func Glyph(role theme.Role) string {
	switch role {
	case theme.OK:
		return "✓"
	case theme.Bad:
		return "✗"
	case theme.Warn:
		return "!"
	case theme.Unknown:
		return "?"
	}
	return "·"
}

// stageMeans is what a stage means, in a sentence.
var stageMeans = map[lvs.Stage]string{
	lvs.SynSent:         "The client sends its SYN to the VIP.",
	lvs.VIPResolved:     "On the segment exactly the director answers for the VIP, or the router has a route to it.",
	lvs.SynAtDirector:   "The SYN arrives at the director, addressed to the director's MAC.",
	lvs.SynScheduled:    "The director takes the SYN as its own, lets it through, finds the virtual service and chooses a destination.",
	lvs.SynForwarded:    "The director sends the SYN on with the real server's MAC. The IP addresses stay as they were.",
	lvs.SynAtRealServer: "The SYN arrives at the real server, from the director's MAC.",
	lvs.SynAccepted:     "The real server has the VIP, accepts the source, lets the SYN through, and a socket listens.",
	lvs.SynAckSent:      "The real server answers by itself: from the VIP, out of the right interface, to the router.",
	lvs.SynAckAtClient:  "The network carries the SYN-ACK to the client, past the director.",
	lvs.AckAtDirector:   "The client's ACK comes back through the director.",
	lvs.Established:     "The ACK reaches the same real server, and data flows.",
}

// stageHost is the role of the hosts on which a stage can be seen.
func stageHost(s lvs.Stage) string {
	switch s {
	case lvs.SynSent, lvs.SynAckAtClient:
		return "the client"
	case lvs.VIPResolved:
		return "the router"
	case lvs.SynAtDirector, lvs.SynScheduled, lvs.SynForwarded, lvs.AckAtDirector:
		return "the director"
	}
	return "a real server"
}

func statusRole(s lvs.StageStatus) theme.Role {
	switch s {
	case lvs.StageOK:
		return theme.OK
	case lvs.StageBroken:
		return theme.Bad
	case lvs.StageSuspect:
		return theme.Warn
	}
	return theme.Unknown
}

func stateRole(s lvs.StageState) theme.Role {
	switch s {
	case lvs.Seen, lvs.Implied:
		return theme.OK
	case lvs.Missing:
		return theme.Bad
	case lvs.Pending:
		return theme.Dim
	}
	return theme.Unknown
}

func outcomeRole(o capture.Outcome) theme.Role {
	switch o {
	case "established", "closed":
		return theme.OK
	case "stalled", "refused", "reset":
		return theme.Bad
	}
	return theme.Dim
}

// VerdictRole is how a verdict is marked.
func VerdictRole(v probes.Verdict) theme.Role {
	switch v {
	case probes.VerdictOK:
		return theme.OK
	case probes.VerdictWarning:
		return theme.Warn
	case probes.VerdictBroken:
		return theme.Bad
	}
	return theme.Unknown
}

// findingRole marks a finding by how bad it is; a hint is never marked as if it were known.
func findingRole(f probes.Finding) theme.Role {
	switch {
	case f.Severity == probes.Outage && f.Certainty != probes.Hint:
		return theme.Bad
	case f.Severity == probes.Note:
		return theme.Dim
	}
	return theme.Warn
}

// Outcomes are how flows can end, what an operator looks for first.
var Outcomes = []capture.Outcome{capture.Stalled, capture.Refused, capture.Reset, capture.Pending, capture.Established, capture.Closed}

// OutcomeCounts counts how many flows ended how.
func OutcomeCounts(flows []capture.Flow) map[capture.Outcome]int {
	counts := map[capture.Outcome]int{}
	for i := range flows {
		counts[flows[i].Outcome]++
	}
	return counts
}
