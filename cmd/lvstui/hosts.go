package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"lvstui/capture"
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
	var views [][]capture.Flow
	for _, h := range t.hosts {
		o, err := h.observe(ctx)
		if err != nil {
			return screens.Facts{}, fmt.Errorf("%s: %w", h.name, err)
		}
		all, views = append(all, o), append(views, o.Flows)
	}
	var others []*lvs.Snapshot
	for _, o := range all[1:] {
		others = append(others, o.Snapshot)
	}
	opt := t.hosts[0].opt
	opt.Together = true
	f := t.hosts[0].facts(all[0], probes.Diagnose(rules.All(), all, opt))
	f.Others, f.Flows, f.Capture = others, capture.Merge(views...), t.captureState()
	f.ChangesElsewhere = "Changes belong to one host: h goes to it."
	f.Host, f.ReadOnly, f.ReadOnlyWhy = t.name, true, "this is all hosts together: go to the host itself (h) to change it"
	return f, nil
}

// captureState is that of all hosts' captures as one.
func (t *together) captureState() screens.Capture {
	sum := screens.Capture{Mode: screens.CaptureOff}
	for _, h := range t.hosts {
		c := h.captureState()
		sum.Packets += c.Packets
		sum.Dropped += c.Dropped
		sum.Sampled = max(sum.Sampled, c.Sampled)
		if c.Notice != "" {
			sum.Notice = h.name + ": " + c.Notice
		}
		switch {
		case c.Mode == screens.CaptureLive:
			sum.Mode = c.Mode
			for _, name := range c.Interfaces {
				sum.Interfaces = append(sum.Interfaces, h.name+" "+name)
			}
		case c.Err != "":
			sum.Err, sum.Notice = h.name+": "+c.Err, "no capture on "+h.name
			if sum.Mode == screens.CaptureOff {
				sum.Mode = c.Mode
			}
		}
	}
	return sum
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
