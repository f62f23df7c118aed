package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
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
	for _, h := range t.hosts {
		o, err := h.observe(ctx)
		if err != nil {
			return screens.Facts{}, fmt.Errorf("%s: %w", h.name, err)
		}
		all = append(all, o)
	}
	f := t.hosts[0].facts(all[0], probes.Diagnose(rules.All(), all, t.hosts[0].opt))
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

// fileHost is what a file holds: a snapshot to judge, or a capture to look at. It never changes.
type fileHost struct {
	name  string
	facts screens.Facts
}

func (f *fileHost) Name() string { return f.name }

func (f *fileHost) Look(context.Context) (screens.Facts, error) { return f.facts, nil }

var errFile = errors.New("this is a file: a change needs the host itself")

func (f *fileHost) Apply(context.Context, fixes.Plan, *lvs.Snapshot, fixes.Terms, func(int, bool, error)) (fixes.Change, error) {
	return fixes.Change{}, errFile
}

func (f *fileHost) Confirm(context.Context, string) (fixes.Change, error) {
	return fixes.Change{}, errFile
}

func (f *fileHost) Undo(context.Context, string) (fixes.Change, error) {
	return fixes.Change{}, errFile
}

func (f *fileHost) Changes(context.Context) ([]fixes.Change, error) { return nil, nil }

// openFile makes a host of a snapshot or of a capture.
func openFile(name string, opt probes.Options) (*fileHost, error) {
	in, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	first := make([]byte, 512)
	n, err := io.ReadFull(in, first)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("%s: %w", name, emptyIsSo(err))
	}
	if looksLikeJSON(first[:n]) {
		s, err := loadSnapshot(name)
		if err != nil {
			return nil, err
		}
		return snapshotHost(s, opt), nil
	}
	tracker, damage, err := trackFile(name, capture.Config{Virtuals: opt.VIPs})
	if err != nil {
		return nil, err
	}
	return captureHost(name, tracker, damage, opt), nil
}

func emptyIsSo(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("the file is empty")
	}
	return err
}

func looksLikeJSON(b []byte) bool {
	for _, c := range b {
		switch c {
		case ' ', '\t', '\r', '\n':
			continue
		}
		return c == '{' || c == '['
	}
	return false
}

const fileReadOnly = "this is a file: a change needs the host itself"

func snapshotHost(s *lvs.Snapshot, opt probes.Options) *fileHost {
	o := probes.Observation{Snapshot: s}
	return &fileHost{s.Host, screens.Facts{Host: s.Host, At: s.TakenAt, Snapshot: s, ReadOnly: true, ReadOnlyWhy: fileReadOnly,
		Report:  probes.Diagnose(rules.All(), []probes.Observation{o}, opt),
		Capture: screens.Capture{Mode: screens.CaptureOff, Err: "a snapshot holds no packets"}}}
}

func captureHost(name string, t *capture.Tracker, damage error, opt probes.Options) *fileHost {
	flows := t.Flows()
	for i := range flows {
		if f, ok := t.FlowByID(flows[i].ID); ok && i >= len(flows)-ladderFlows {
			flows[i] = f
		}
	}
	o := probes.Observation{Snapshot: &lvs.Snapshot{Schema: lvs.SnapshotSchema, Host: name, TakenAt: t.Now(),
		Gaps: []lvs.Gap{{Source: lvs.SourceIPVS, Reason: "only a capture was opened: there are packets to look at, but no host"}}},
		Flows: flows, ARP: t.ARP()}
	opt.VIPs = append(opt.VIPs, virtualsOf(flows)...)
	f := screens.Facts{Host: name, At: t.Now(), Flows: flows, ReadOnly: true, ReadOnlyWhy: fileReadOnly,
		Report:  probes.Diagnose(rules.All(), []probes.Observation{o}, opt),
		Capture: screens.Capture{Mode: screens.CaptureFile, Name: name, Packets: t.Stats().Packets}}
	if damage != nil {
		f.Capture.Err = damage.Error()
	}
	return &fileHost{name, f}
}

// virtualsOf takes every address that connections in a file go to for a virtual one: the file was opened to look at them.
func virtualsOf(flows []capture.Flow) (vips addrs) {
	seen := map[string]bool{}
	for _, f := range flows {
		if ip := f.Virtual.Addr(); !seen[ip.String()] && len(vips) < 16 {
			seen[ip.String()] = true
			vips = append(vips, ip)
		}
	}
	return vips
}

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
