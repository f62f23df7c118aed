// Package lab builds the article's cluster out of network namespaces: a client, a router, a director with IPVS
// and two real servers with a web server, in the topology that fails and in those that work. Faults of the
// failure catalogue can be put in and taken out by their ids. Everything the lab runs is threads of the process
// that called Up; other processes see the hosts under /run/netns and talk to that process through Ask.
package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
)

// Spec says which lab to build.
type Spec struct {
	Topology Topology
	Faults   []string // ids, see Faults
	// Native builds in the namespaces of a machine that does other things too: names get the prefix "lvstui-".
	// Without it, in the guest, they are the plain host names.
	Native bool
	// Every is the time between two connections of the client. Zero: one second.
	Every time.Duration
	// Timeout is how long the client waits for an answer. Zero: ten seconds, enough to see a SYN sent four times.
	Timeout time.Duration
	// NoClient leaves the client silent until Try is called.
	NoClient bool
	// Bare leaves the cluster to be set up: no VIP anywhere, no virtual service, no ARP sysctls. Routes and web servers are there.
	Bare bool
	// IPv6 gives the hosts of a bare cluster IPv6 addresses in place of the article's: 192.168.10.11 is 2001:db8:10::11.
	IPv6 bool
}

// Lab is a cluster that runs.
type Lab struct {
	spec   Spec
	prefix string
	plan   plan
	fabric *Host // the switches
	hosts  []*Host
	web    map[string]*webServer
	load   *loadClient
	aging  tickers
	claim  *claim
	done   chan struct{} // closed when down

	startedAt time.Time

	mu      sync.Mutex // guards what follows, and serialises Inject, Heal and Down
	healers map[string]*undo
	order   []string // faults in the order they were put in
	down    bool
}

// Up builds the lab, starts its servers and its client and puts the faults in. It needs root and, for the
// director, ip_vs. Only one lab can be up on a machine; what a killed one left behind is cleared away first.
func Up(ctx context.Context, spec Spec) (*Lab, error) {
	p, err := spec.Topology.plan()
	if err != nil {
		return nil, err
	}
	if spec.IPv6 && !spec.Bare {
		return nil, errors.New("the lab builds a cluster with IPv6 only bare, for setting it up")
	}
	if spec.Bare {
		p = p.bare()
	}
	if spec.IPv6 {
		p = p.six()
	}
	for _, id := range spec.Faults {
		if _, err := faultFor(id, spec.Topology); err != nil {
			return nil, err
		}
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("the lab makes network namespaces and needs root; type: sudo lvstui lab")
	}
	if err := needIPVS(); err != nil {
		return nil, err
	}
	l := &Lab{spec: spec, plan: p, web: map[string]*webServer{}, healers: map[string]*undo{},
		done: make(chan struct{}), startedAt: time.Now().Round(0)}
	if spec.Native {
		l.prefix = "lvstui-"
	}
	if l.claim, err = claimMachine(l.state()); err != nil {
		return nil, err
	}
	if err := l.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("lab %s: %w", spec.Topology, err), l.Down())
	}
	return l, nil
}

func (l *Lab) start(ctx context.Context) error {
	if err := l.build(); err != nil {
		return err
	}
	for _, name := range []string{RealServer1, RealServer2} {
		w, err := serveWeb(l.Host(name), l.plan.anyAddress())
		if err != nil {
			return err
		}
		l.web[name] = w
	}
	if !l.spec.Bare {
		if err := l.schedule(Port); err != nil {
			return err
		}
	}
	l.aging.every(agingTime, l.ageVIP)
	for _, id := range l.spec.Faults {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.Inject(id); err != nil {
			return err
		}
	}
	if !l.spec.NoClient {
		l.load = startClient(l, l.every(), l.timeout())
	}
	return l.claim.listen(l)
}

// Topology is the one the lab was built with.
func (l *Lab) Topology() Topology { return l.spec.Topology }

// VIP is the cluster's virtual address.
func (l *Lab) VIP() string { return l.plan.vip.String() }

// Hosts are client, router, director, rs1 and rs2, in that order.
func (l *Lab) Hosts() []*Host { return slices.Clone(l.hosts) }

// Host returns the host of that name, nil if there is none.
func (l *Lab) Host(name string) *Host {
	for _, h := range l.hosts {
		if h.Name == name {
			return h
		}
	}
	return nil
}

// Client is what the client's connections came to so far; the zero Stats when it is silent.
func (l *Lab) Client() Stats {
	if l.load == nil {
		return Stats{}
	}
	return l.load.stats()
}

// Down stops everything and removes the namespaces. It may be called again.
func (l *Lab) Down() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil
	}
	l.down = true
	if l.load != nil {
		l.load.stop()
	}
	var errs []error
	l.aging.stop()
	for _, id := range slices.Backward(l.order) {
		l.healers[id].stop() // the namespaces go, so nothing else needs undoing
	}
	for _, w := range l.web {
		w.stop()
	}
	errs = append(errs, l.claim.release())
	close(l.done)
	return errors.Join(errs...)
}

func (l *Lab) every() time.Duration   { return orDefault(l.spec.Every, time.Second) }
func (l *Lab) timeout() time.Duration { return orDefault(l.spec.Timeout, 10*time.Second) }

func orDefault(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}
