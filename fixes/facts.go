package fixes

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/lvs"
)

// Course is what a plan changes, fact by fact: the value of each fact it touches before the plan, after every step, and after
// every step of the way back. A fact's name is what an operator would call it, so that a difference can be shown.
type Course struct {
	// Values has, for each fact, the values in order; all are of the same length.
	Values map[string][]string `json:"values"`
	// Steps is the number of steps of the plan: Values[name][Steps] is the value after it.
	Steps int `json:"steps"`
}

// Course simulates p and undo on s. It is an error when they cannot be simulated or undo does not end where p began.
func (p Plan) Course(s *lvs.Snapshot, undo Plan) (Course, error) {
	states := []map[string]string{facts(s)}
	for _, part := range []Plan{p, undo} {
		after, err := part.Simulate(s)
		if err != nil {
			return Course{}, err
		}
		for _, now := range after {
			states, s = append(states, facts(now)), now
		}
	}
	c := Course{Values: map[string][]string{}, Steps: len(p.Steps)}
	for _, now := range states {
		for name := range now {
			if _, ok := c.Values[name]; ok {
				continue
			}
			values := make([]string, len(states))
			for i, st := range states {
				values[i] = cleanAbsent(st[name])
			}
			if slices.ContainsFunc(values, func(v string) bool { return v != values[0] }) {
				c.Values[name] = values
			}
		}
	}
	for name, values := range c.Values {
		if values[len(values)-1] != values[0] {
			return Course{}, fmt.Errorf("could not be taken back: %s would stay %s instead of %s", name, values[len(values)-1], values[0])
		}
	}
	return c, nil
}

// Before says how s differs from where the plan began: "net.ipv4.conf.all.arp_ignore is 2, was 0".
func (c Course) Before(s *lvs.Snapshot) []string {
	return c.differs(s, func(values []string, is string) (string, bool) { return "was " + values[0], is == values[0] })
}

// After says how s differs from where the plan ends.
func (c Course) After(s *lvs.Snapshot) []string {
	return c.differs(s, func(values []string, is string) (string, bool) {
		return "lvstui left it " + values[c.Steps], is == values[c.Steps]
	})
}

// Moved says which of the facts differ between two looks at a host.
func (c Course) Moved(from, to *lvs.Snapshot) []string {
	then := facts(from)
	var out []string
	for name, is := range c.now(to) {
		if was := cleanAbsent(then[name]); was != is {
			out = append(out, fmt.Sprintf("%s is %s, was %s", name, is, was))
		}
	}
	slices.Sort(out)
	return out
}

// Foreign are the names of facts whose value in s neither the plan nor its way back ever passes: somebody else's.
func (c Course) Foreign(s *lvs.Snapshot) []string {
	var out []string
	for name, is := range c.now(s) {
		if !slices.Contains(c.Values[name], is) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// Fact is the name of the fact that a step sets.
func Fact(st Step) string {
	switch st := st.(type) {
	case SetSysctl:
		return lvs.SysctlName(st.Path)
	case AddAddress:
		return addressFact(st.Prefix, st.Device)
	case DelAddress:
		return addressFact(st.Prefix, st.Device)
	case AddService:
		return serviceFact(st.Service)
	case EditService:
		return serviceFact(st.Service)
	case DelService:
		return serviceFact(st.Service)
	case AddDestination:
		return destinationFact(st.Service, st.Address, st.Port)
	case EditDestination:
		return destinationFact(st.Service, st.Address, st.Port)
	case DelDestination:
		return destinationFact(st.Service, st.Address, st.Port)
	case AddRoute:
		return st.fact()
	case ReplaceRoute:
		return AddRoute(st).fact()
	case DelRoute:
		return AddRoute(st).fact()
	case AddRule:
		return ruleFact(st.family(), st.Priority)
	case DelRule:
		return ruleFact(AddRule(st).family(), st.Priority)
	case SetTimeouts:
		return timeoutsFact
	case AddNeighbour:
		return neighbourFact(st.Device, st.Address)
	case DelNeighbour:
		return neighbourFact(st.Device, st.Address)
	case AddAccept:
		return acceptFact(st.Family, st.Table, st.Chain, st.Comment())
	case DelAccept:
		return acceptFact(st.Family, st.Table, st.Chain, AddAccept(st).Comment())
	}
	return "" // a module may be in use by then, and an announcement leaves no trace
}

func addressFact(p netip.Prefix, device string) string { return fmt.Sprintf("%s on %s", p, device) }

// now is the facts of the course as they are in s.
func (c Course) now(s *lvs.Snapshot) map[string]string {
	all, out := facts(s), make(map[string]string, len(c.Values))
	for name := range c.Values {
		out[name] = cleanAbsent(all[name])
	}
	return out
}

func (c Course) differs(s *lvs.Snapshot, judge func(values []string, is string) (want string, ok bool)) []string {
	var out []string
	for name, is := range c.now(s) {
		if want, ok := judge(c.Values[name], is); !ok {
			out = append(out, fmt.Sprintf("%s is %s, %s", name, is, want))
		}
	}
	slices.Sort(out)
	return out
}

// facts are the things that steps change, and nothing that moves by itself.
func facts(s *lvs.Snapshot) map[string]string {
	out := make(map[string]string, len(s.Sysctls)+len(s.Addresses))
	for path, value := range s.Sysctls {
		out[lvs.SysctlName(path)] = normalValue(value)
	}
	for _, a := range s.Addresses {
		value := "there, scope " + a.Scope
		if a.Secondary {
			value += ", secondary"
		}
		if a.Label != "" && a.Label != a.Device {
			value += ", label " + a.Label
		}
		out[addressFact(a.Prefix, a.Device)] = value
	}
	ipvsFacts(s, out)
	routeFacts(s, out)
	ruleFacts(s, out)
	neighbourFacts(s, out)
	acceptFacts(s, out)
	return out
}

func cleanAbsent(value string) string {
	if value == "" {
		return "not there"
	}
	return value
}

// Check refuses a Course that does not fit a plan of that many steps, as one read from a file might.
func (c Course) Check(steps int) error {
	if c.Steps != steps {
		return fmt.Errorf("a course of %d steps for a plan of %d", c.Steps, steps)
	}
	for name, values := range c.Values {
		if len(values) <= c.Steps {
			return fmt.Errorf("the course of %s has %d values for %d steps", name, len(values), c.Steps)
		}
	}
	return nil
}
