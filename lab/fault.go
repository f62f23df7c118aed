package lab

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"lvstui/internal/arrange"
	"lvstui/lvs"
)

// Fault is one failure of the catalogue that the lab can bring about.
type Fault struct {
	ID    string // the catalogue's, and that of the rule that finds it
	Title string
	// Topologies are those in which it shows what Expect says.
	Topologies []Topology
	// Host is where the cause is.
	Host string
	// Expect is what the client and each host must then see; nil means as in the topology without a fault.
	Expect Expectation

	// inject changes the lab and registers with u how to change it back.
	inject func(l *Lab, u *undo) error
}

// Service is what the client gets from the cluster.
type Service string

const (
	Served       Service = "served"      // every connection
	PartlyServed Service = "partly"      // those that are scheduled to the sound real server
	NotServed    Service = "timeout"     // nothing comes back
	AllRefused   Service = "refused"     // RST, or ICMP port unreachable
	NoRoute      Service = "unreachable" // ICMP host unreachable
	// ServedByOne: every connection, by the real server at fault, past the director. Now and then the router
	// learns better and it is as if there were no fault, for a second.
	ServedByOne Service = "served-by-one"
)

// Expectation is what a fault looks like from each place.
type Expectation struct {
	Client Service
	// Lost is how those connections end that are not served; empty when all are.
	Lost Outcome
	// Findings are what rules must find on each host alone, with what it sees itself.
	Findings []ExpectedFinding
	// Flows are what a capture on a host must show for a connection that the fault hits.
	Flows []ExpectedFlow
	// Counters are those that rise with every connection that the fault hits: "TcpExt.IPReversePathFilter".
	Counters []ExpectedCounter
}

// TriedIn says whether tests and recordings take the fault up in a topology: in its first one, and where it makes a
// difference to the fault whether the VIP is in the subnet of the RIPs.
func (f Fault) TriedIn(t Topology) bool {
	differs := f.Expect.Client == ServedByOne || f.ID == "director-rp-filter-drops-client"
	return f.Topologies[0] == t || differs && slices.Contains(f.Topologies, t)
}

// ExpectedFinding is what a rule must find on one host, at least so certain.
type ExpectedFinding struct {
	Host      string
	ID        string
	Certainty string // "certain", "strong" or "hint"
	Together  bool   // only with the other hosts' snapshots at hand; otherwise the host alone
}

// ExpectedFlow is how a connection that the fault hits looks from one host.
type ExpectedFlow struct {
	Host      string
	Reached   lvs.Stage // the last stage seen from here; empty: the connection is not seen here at all
	StalledAt lvs.Stage // the first stage missing; empty: none is
}

// ExpectedCounter is a counter of one host.
type ExpectedCounter struct {
	Host, Name string
}

// undo collects how to take a fault out again.
type undo struct {
	tickers
	steps []func() error
}

// with registers a step; steps are taken in reverse order.
func (u *undo) with(step func() error) { u.steps = append(u.steps, step) }

func (u *undo) run() error {
	u.stop()
	var errs []error
	for _, step := range slices.Backward(u.steps) {
		errs = append(errs, step())
	}
	return errors.Join(errs...)
}

// Faults lists all faults, sorted by id.
func Faults() []Fault {
	all := slices.Concat(arpFaults, addressFaults, routeFaults, directorFaults, routerFaults)
	arrange.By(all, func(a, b Fault) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// faultFor finds a fault that makes sense in the topology.
func faultFor(id string, t Topology) (Fault, error) {
	all := Faults()
	i := slices.IndexFunc(all, func(f Fault) bool { return f.ID == id })
	if i < 0 {
		var ids []string
		for _, f := range all {
			ids = append(ids, f.ID)
		}
		return Fault{}, fmt.Errorf("the lab knows no fault %q; there are %s", id, strings.Join(ids, ", "))
	}
	if !slices.Contains(all[i].Topologies, t) {
		return Fault{}, fmt.Errorf("fault %s does not show in topology %s; take %s", id, t, names(all[i].Topologies))
	}
	return all[i], nil
}

// Inject puts a fault in. A fault that is in already is an error.
func (l *Lab) Inject(id string) error {
	f, err := faultFor(id, l.spec.Topology)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return ErrNotUp
	}
	if l.healers[id] != nil {
		return fmt.Errorf("fault %s is already in", id)
	}
	u := &undo{}
	if err := f.inject(l, u); err != nil {
		return errors.Join(fmt.Errorf("fault %s: %w", id, err), u.run())
	}
	l.healers[id] = u
	l.order = append(l.order, id)
	return writeState(l.state())
}

// Heal takes a fault out again, as far as somebody else has not done so already.
func (l *Lab) Heal(id string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.healers[id]
	if u == nil {
		return fmt.Errorf("fault %s is not in", id)
	}
	delete(l.healers, id)
	l.order = slices.DeleteFunc(l.order, func(o string) bool { return o == id })
	if err := errors.Join(u.run(), writeState(l.state())); err != nil {
		return fmt.Errorf("take fault %s out: %w", id, err)
	}
	return nil
}

// Injected lists the faults that are in, in the order they were put in.
func (l *Lab) Injected() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.order)
}

// set writes a sysctl of a host and registers its old value.
func (u *undo) set(h *Host, key, value string) error {
	old, err := h.readSysctl(key)
	if err != nil {
		return fmt.Errorf("host %s: %s: %w", h.Name, key, err)
	}
	u.with(func() error { return h.sysctl(key, old) })
	return h.sysctl(key, value)
}
