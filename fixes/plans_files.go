package fixes

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/lvs"
)

// The plans here bring what runs to what the files say, the other way about from writing down what runs. The files stay as they are.

// MatchTable brings the virtual services of s that are named to what want, a save file, has of them; one that want does not have goes. A
// service never has fewer destinations on the way than at its beginning or its end. A destination that is drained stays so, and says so: a
// weight of 0 is somebody's doing, and the file does not know of it.
func MatchTable(s *lvs.Snapshot, want []lvs.Service, names []VirtualService) Plan {
	p := Plan{Host: s.Host, AsFiles: true}
	if s.IPVS == nil {
		return p
	}
	saved := map[VirtualService]lvs.Service{}
	for _, v := range want {
		saved[NameOf(v)] = v
	}
	have := map[VirtualService]lvs.Service{}
	for _, v := range s.IPVS.Services {
		have[NameOf(v)] = v
	}
	var gone []Step
	for _, name := range names {
		v, keep := saved[name]
		now, there := have[name]
		if !keep {
			if there {
				gone = append(gone, DelService{name})
			}
			continue
		}
		p.Steps = append(p.Steps, matchService(v, now, there)...)
		steps, words := matchDestinations(v, now)
		p.Steps = append(p.Steps, steps...)
		p.Elsewhere = append(p.Elsewhere, words...)
	}
	p.Steps = append(p.Steps, gone...)
	return p
}

func matchService(v, now lvs.Service, there bool) []Step {
	st := savedService(v)
	switch {
	case !there:
		return []Step{st}
	case serviceStep(now) != st:
		return []Step{EditService(st)}
	}
	return nil
}

// savedService is the step that makes v as a save file has it, which writes flags as words and the widest netmask out.
func savedService(v lvs.Service) AddService {
	if v.OnePacket {
		v.Flags |= 0x4
	}
	if v.Netmask == "255.255.255.255" || v.Netmask == "128" {
		v.Netmask = ""
	}
	return serviceStep(v)
}

// matchDestinations adds first and takes away last.
func matchDestinations(v, now lvs.Service) (steps []Step, words []string) {
	name := NameOf(v)
	var gone []Step
	for _, d := range v.Destinations {
		i := slices.IndexFunc(now.Destinations, func(o lvs.Destination) bool { return o.Address == d.Address && o.Port == d.Port })
		if i < 0 {
			steps = append(steps, destinationStep(name, d))
			continue
		}
		have := now.Destinations[i]
		st := destinationStep(name, d)
		if have.Forward == lvs.Local || d.Forward == lvs.Local {
			st.Forward = have.Forward // one on this host itself is shown as local, whatever was asked for
		}
		if d.UpperThreshold == 0 { // ipvsadm-save leaves them out
			st.UpperThreshold, st.LowerThreshold = have.UpperThreshold, have.LowerThreshold
		}
		if have.Weight == 0 && d.Weight != 0 {
			st.Weight = 0
			words = append(words, fmt.Sprintf("here: %s of %s has weight 0, and keeps it; the file has %d: %s, once it may have clients again",
				netip.AddrPortFrom(d.Address, d.Port), name, d.Weight, EditDestination(destinationStep(name, d)).Command()))
		}
		if destinationStep(name, have) != st {
			steps = append(steps, EditDestination(st))
		}
	}
	for _, d := range now.Destinations {
		if !slices.ContainsFunc(v.Destinations, func(o lvs.Destination) bool { return o.Address == d.Address && o.Port == d.Port }) {
			gone = append(gone, DelDestination{name, d.Address, d.Port})
		}
	}
	return append(steps, gone...), words
}

// DropAddresses takes addresses off the host. Others that hang on one as the first of their subnet stay.
func DropAddresses(s *lvs.Snapshot, all []lvs.Address) Plan {
	p := Plan{Host: s.Host, AsFiles: true}
	now := s
	// The secondary ones first, so that none of ours is ever promoted.
	for _, secondary := range []bool{true, false} {
		for _, a := range all {
			if a.Secondary != secondary {
				continue
			}
			steps := keepSecondaries(now, a)
			p.Steps = append(p.Steps, steps...)
			if next, err := (Plan{Steps: steps}).After(now); err == nil {
				now = next
			}
		}
	}
	return p
}

// SetSysctls gives paths below /proc/sys the values of the files.
func SetSysctls(s *lvs.Snapshot, values map[string]string, paths []string) Plan {
	p := Plan{Host: s.Host, AsFiles: true}
	for _, path := range paths {
		if st := (SetSysctl{path, values[path]}); !st.Done(s) {
			p.Steps = append(p.Steps, st)
		}
	}
	return p
}
