package screens

import (
	"slices"
	"strings"
	"time"

	"lvstui/capture"
	"lvstui/lvs"
)

// sight is a frame, and which hosts saw it on the same leg of the way: of a flow that was joined from captures of several hosts
// each end of a wire may have it.
type sight struct {
	capture.Event
	leg  [2]int
	also []lvs.Vantage // further hosts, in the order of the way
}

// sights are the frames of a flow with their legs. What two hosts saw of one frame on one leg is one sight.
func sights(events []capture.Event, f *capture.Flow) []sight {
	out := make([]sight, 0, len(events))
	for _, e := range events {
		leg := legOf(e, vantageOf(e, f))
		if e.Vantage != "" {
			leg = innerLeg(e, leg, f)
			if i := slices.IndexFunc(out, func(s sight) bool { return s.same(e, leg) }); i >= 0 {
				out[i].also = append(out[i].also, e.Vantage)
				continue
			}
		}
		out = append(out, sight{Event: e, leg: leg})
	}
	return out
}

// same tells whether e is the frame of s, seen at the other end of the wire.
func (s sight) same(e capture.Event, leg [2]int) bool {
	return s.leg == leg && s.Kind == e.Kind && s.ToVirtual == e.ToVirtual && s.Seq == e.Seq && s.Ack == e.Ack && s.Length == e.Length && s.IPID == e.IPID &&
		s.Vantage != e.Vantage && !slices.Contains(s.also, e.Vantage)
}

func vantageOf(e capture.Event, f *capture.Flow) lvs.Vantage {
	if e.Vantage != "" {
		return e.Vantage
	}
	return f.Vantage
}

// innerLeg shortens a leg to the next hop where that is among the hosts that looked, and leads answers to masqueraded requests back to the
// director.
func innerLeg(e capture.Event, leg [2]int, f *capture.Flow) [2]int {
	if e.Vantage == lvs.RoleRealServer && !e.ToVirtual && f.Forward == string(lvs.Masq) {
		return [2]int{3, 2}
	}
	if e.Vantage == lvs.RoleDirector && slices.Contains(f.Vantages, lvs.RoleRouter) {
		switch leg {
		case [2]int{0, 2}:
			return [2]int{1, 2}
		case [2]int{2, 0}:
			return [2]int{2, 1}
		}
	}
	return leg
}

// clocks are when each host saw its first frame: times of different hosts are never compared.
func clocks(events []capture.Event, f *capture.Flow) map[lvs.Vantage]time.Time {
	out := map[lvs.Vantage]time.Time{}
	for _, e := range events {
		v := vantageOf(e, f)
		if first, ok := out[v]; !ok || e.Time.Before(first) {
			out[v] = e.Time
		}
	}
	return out
}

// alsoWords name all the hosts that saw a frame: "seen by client, router".
func (s sight) alsoWords() string {
	if s.Vantage == "" {
		return ""
	}
	names := []string{vantageWord(s.Vantage)}
	for _, v := range s.also {
		names = append(names, vantageWord(v))
	}
	return "seen by " + strings.Join(names, ", ")
}

func vantageWord(v lvs.Vantage) string { return strings.ReplaceAll(string(v), "-", " ") }
