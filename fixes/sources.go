package fixes

import (
	"slices"

	"lvstui/lvs"
)

// Sources are the parts of a snapshot that tell what steps have changed: without one of them nobody can say whether they were done.
func Sources(steps []Step) []lvs.Source {
	var out []lvs.Source
	for _, st := range steps {
		if src := sourceOf(st); src != "" && !slices.Contains(out, src) {
			out = append(out, src)
		}
	}
	return out
}

func sourceOf(st Step) lvs.Source {
	switch st.(type) {
	case SetSysctl:
		return lvs.SourceSysctls
	case AddAddress, DelAddress, Announce:
		return lvs.SourceAddresses
	case AddRoute, ReplaceRoute, DelRoute:
		return lvs.SourceRoutes
	case AddRule, DelRule:
		return lvs.SourceRules
	case AddNeighbour, DelNeighbour:
		return lvs.SourceNeighbours
	case AddAccept, DelAccept:
		return lvs.SourceNetfilter
	case LoadModule, UnloadModule, SetTimeouts:
		return lvs.SourceIPVS
	}
	if onIPVS(st) {
		return lvs.SourceIPVS
	}
	return ""
}
