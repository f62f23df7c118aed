package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"lvstui/fixes"
	"lvstui/lab"
	"lvstui/lvs"
	"lvstui/probes"

	"lvstui/probes/rules"
	"lvstui/ui/screens"
)

// together is several hosts judged as one cluster: what one hints at, two prove.
type together struct {
	name  string
	hosts []*liveHost // the first is the one asked about
}

func (t *together) Name() string { return t.name }

func (t *together) Look(ctx context.Context) (screens.Facts, error) {
	var all []probes.Observation
	for _, h := range t.hosts {
		o, err := h.observe(ctx)
		if err != nil {
			return screens.Facts{}, fmt.Errorf("%s: %w", h.name, err)
		}
		all = append(all, o)
	}
	var others []*lvs.Snapshot
	for _, o := range all[1:] {
		others = append(others, o.Snapshot)
	}
	f := t.hosts[0].facts(all[0], probes.Diagnose(rules.All(), all, t.hosts[0].opt))
	f.Others = others
	f.Host, f.ReadOnly, f.ReadOnlyWhy = t.name, true, "this is all hosts together: go to the host itself (h) to change it"
	return f, nil
}

var errElsewhere = errors.New("go to the host itself to change it")

func (t *together) Apply(context.Context, fixes.Plan, *lvs.Snapshot, fixes.Terms, func(int, bool, error)) (fixes.Change, error) {
	return fixes.Change{}, errElsewhere
}

func (t *together) Confirm(context.Context, string) (fixes.Change, error) {
	return fixes.Change{}, errElsewhere
}

func (t *together) Undo(context.Context, string) (fixes.Change, error) {
	return fixes.Change{}, errElsewhere
}

func (t *together) Changes(context.Context) ([]fixes.Change, error) { return nil, nil }

// labHosts are the lab's hosts, and all of them together.
func labHosts(l *lab.Lab) (hosts []*liveHost, all *together) {
	vip := []netip.Addr{netip.MustParseAddr(l.VIP())}
	for _, h := range l.Hosts() {
		hosts = append(hosts, &liveHost{name: h.Name, do: h.Do, blocks: 32, opt: probes.Options{VIPs: vip}})
	}
	order := []*liveHost{}
	for _, h := range hosts {
		if h.name == lab.Director {
			order = append([]*liveHost{h}, order...)
		} else {
			order = append(order, h)
		}
	}
	return hosts, &together{"all hosts", order}
}

// warmUp lets every host listen from the start, so that there is something to see when one switches to it.
func warmUp(ctx context.Context, hosts []*liveHost) {
	for _, h := range hosts {
		if ctx.Err() != nil {
			return
		}
		lookCtx, cancel := context.WithTimeout(ctx, 10*time.Second)
		_, _ = h.observe(lookCtx) // an error is shown when the host is looked at
		cancel()
	}
}
