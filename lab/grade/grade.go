// Package grade measures how often lvstui is right: it builds clusters out of iproute2 lines, breaks them as people
// do, with ip, sysctl, ipvsadm, nft, iptables, ethtool, keepalived and the files in /etc, connects as a client, lets the real program look
// at every host, and compares what it says with what is true. Nothing here uses lvstui's own means of building, breaking
// or curing. Scenarios are data, one txtar file each below testdata; Report writes docs/grading.md.
package grade

import (
	"cmp"
	"slices"
	"strings"

	"lvstui/lvs"
	"lvstui/probes"
)

// Kind says what a scenario is there for.
type Kind string

const (
	Cluster Kind = "clusters" // something to break, that serves its client unless its text says otherwise
	Healthy Kind = "healthy"  // serves its client, and nobody must complain
	Faulty  Kind = "faults"   // one fault in one or more clusters
	Pair    Kind = "pairs"    // two faults at once: the first on the path must be found
)

// Scenario is one file of testdata.
type Scenario struct {
	Kind     Kind
	Name     string
	Title    string
	Clusters []string          // what it happens in; empty when the scenario is a cluster itself
	Pair     []string          // the two faults
	First    string            // of the pair, the one that must be found
	Vars     map[string]string // $NAME in commands
	Wires    []Wire
	Acts     []Act
	Connects []Connect
	Client   []Expect[Service]
	Finds    []Expect[Find]
	Allows   []Expect[Find]
	Told     map[string]lvs.Role // what the operator says a host is, as with --role
	Nobody   string              // roles nobody of the cluster has: "none" for hosts that have nothing to do with LVS
	Without  string              // a module that the kernel has not loaded, and nobody may cause it to: the case has a guest to itself
	Because  string              // why more cannot be proved
	Files    map[string]string

	text string // of the file
}

// Wire plugs a host's interface into a segment.
type Wire struct{ Host, NIC, Segment string }

// Act is what is done on one host, line by line.
type Act struct {
	Host  string
	Lines []string
}

// Connect is a connection the client makes: "tcp" or "udp", to where, from which host.
type Connect struct {
	From, Protocol, To string
}

// Service is what the client must get.
type Service struct {
	Kind   string // served, partly, refused, timeout, unreachable, broken, any
	Server string // by which real server alone; empty: by whichever
	Lost   string // with "partly": how the others end
}

// Expect is an expectation that holds in some clusters only.
type Expect[T any] struct {
	Want T
	In   []string // empty: in all
}

// Find is a finding that must be, or may be, at a vantage.
type Find struct {
	ID        string
	Vantages  []Vantage // those where it can be proved
	Certainty probes.Certainty
	On        string // the host that it must name; empty: any
}

// Vantage is where one looks from and with what: "rs2", "rs2+flows", "rs2+vip" (the VIP was named), "rs2+probe" (with the active
// test of ARP, where a scenario asks for it) or "all" (the snapshots of all hosts together).
type Vantage string

const All Vantage = "all"

// Host is the host of a vantage, empty for all together.
func (v Vantage) Host() string {
	host, _, _ := strings.Cut(string(v), "+")
	if v == All {
		return ""
	}
	return host
}

// holds says whether an expectation is about this cluster.
func (e Expect[T]) holds(cluster string) bool {
	return len(e.In) == 0 || slices.Contains(e.In, cluster)
}

// in picks the expectations about one cluster.
func in[T any](all []Expect[T], cluster string) []T {
	var out []T
	for _, e := range all {
		if e.holds(cluster) {
			out = append(out, e.Want)
		}
	}
	return out
}

// Case is a scenario in one cluster: what is run at a time.
type Case struct {
	Scenario *Scenario
	Base     *Scenario   // the cluster
	Faults   []*Scenario // of a pair, in the order they are put in
}

// Name tells cases apart: "faults/rs-answers-arp@shared".
func (c Case) Name() string {
	name := string(c.kind()) + "/" + c.Scenario.Name
	if c.Scenario != c.Base {
		name += "@" + c.Base.Name
	}
	return name
}

// Turn is when a case is measured: each fault first in its first cluster, its other clusters last.
func (c Case) Turn() int {
	switch {
	case c.kind() == Healthy:
		return 1
	case c.kind() == Pair:
		return 2
	case c.Base.Name == c.Scenario.Clusters[0]:
		return 0
	}
	return 3
}

// kind is the scenario's; a cluster to break is healthy by itself.
func (c Case) kind() Kind {
	if c.Scenario.Kind == Cluster {
		return Healthy
	}
	return c.Scenario.Kind
}

// Without is the module that the case's kernel must not have loaded, empty if any will do.
func (c Case) Without() string { return c.Base.Without }

// Service is what the client must get.
func (c Case) Service() Service {
	if s := in(c.Scenario.Client, c.Base.Name); len(s) > 0 {
		return s[0]
	}
	return Service{Kind: "served"}
}

// Finds are the findings that must be made, one vantage each.
func (c Case) Finds() []Find {
	var out []Find
	finds := in(c.Scenario.Finds, c.Base.Name)
	for _, f := range c.Faults {
		if f.Name == c.Scenario.First {
			finds = append(finds, in(f.Finds, c.Base.Name)...)
		}
	}
	for _, f := range finds {
		for _, v := range f.Vantages {
			f.Vantages = []Vantage{v}
			out = append(out, f)
		}
	}
	return out
}

// Allowed are the findings that are true here, whoever makes them.
func (c Case) Allowed() []Find {
	var out []Find
	for _, s := range c.scenarios() {
		out = append(out, in(s.Finds, c.Base.Name)...)
		out = append(out, in(s.Allows, c.Base.Name)...)
	}
	return out
}

// scenarios are the cluster, the faults of a pair, and the scenario itself, in the order in which they act.
func (c Case) scenarios() []*Scenario {
	out := append([]*Scenario{c.Base}, c.Faults...)
	if c.Scenario != c.Base {
		out = append(out, c.Scenario)
	}
	return out
}

// wires are all cables, each once.
func (c Case) wires() []Wire {
	var out []Wire
	for _, s := range c.scenarios() {
		for _, w := range s.Wires {
			if !slices.Contains(out, w) {
				out = append(out, w)
			}
		}
	}
	return out
}

// Connects are the connections the client makes.
func (c Case) Connects() []Connect {
	if len(c.Scenario.Connects) > 0 {
		return c.Scenario.Connects
	}
	return c.Base.Connects
}

// compareCases: by kind in the order of the report, then by name.
func compareCases(a, b Case) int {
	order := []Kind{Healthy, Faulty, Pair}
	return cmp.Or(cmp.Compare(slices.Index(order, a.kind()), slices.Index(order, b.kind())), cmp.Compare(a.Name(), b.Name()))
}
