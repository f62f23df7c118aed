package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lvstui/capture"
	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
	"lvstui/probes/rules"
	"lvstui/ui/screens"
)

// fileHost is what a file holds: a snapshot to judge, or a capture to look at. It never changes.
type fileHost struct {
	name     string
	facts    screens.Facts
	observed probes.Observation
	vips     addrs // those that the file tells of
}

func (f *fileHost) Name() string { return f.name }

func (f *fileHost) Look(context.Context) (screens.Facts, error) { return f.facts, nil }

var errFile = errors.New(fileReadOnly)

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
		return nil, withHint(fmt.Errorf("cannot read %s: %w", name, errors.Unwrap(err)), "lvstui snapshot > FILE, or lvstui flows --write FILE, on the host itself")
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
	if damage != nil && tracker.Stats().Packets == 0 { // there is nothing to look at
		return nil, withHint(damage, "tcpdump -nn -e -i eth0 port 80, and paste what it prints, or tcpdump -w FILE")
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

const (
	fileReadOnly  = "this is a file: a change needs the host itself"
	changesOfFile = "A file holds no changes: lvstui undo --list shows them, on the host itself."
)

func snapshotHost(s *lvs.Snapshot, opt probes.Options) *fileHost {
	o := probes.Observation{Snapshot: s}
	return &fileHost{name: s.Host, observed: o, facts: screens.Facts{Host: s.Host, At: s.TakenAt, Snapshot: s, ReadOnly: true, ReadOnlyWhy: fileReadOnly, ChangesElsewhere: changesOfFile,
		Report:  probes.Diagnose(rules.All(), []probes.Observation{o}, opt),
		Capture: screens.Capture{Mode: screens.CaptureOff, Err: "a snapshot holds no packets. Open a capture of the host beside it: lvstui --from " + s.Host + ".json --from " + s.Host + ".pcapng"}}}
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
	vips := virtualsOf(flows)
	opt.VIPs = append(slices.Clone(opt.VIPs), vips...)
	f := screens.Facts{Host: name, At: t.Now(), Flows: flows, ReadOnly: true, ReadOnlyWhy: fileReadOnly, ChangesElsewhere: changesOfFile,
		Report:  probes.Diagnose(rules.All(), []probes.Observation{o}, opt),
		Capture: screens.Capture{Mode: screens.CaptureFile, Name: name, Packets: t.Stats().Packets}}
	if damage != nil {
		f.Capture.Err = damage.Error()
	}
	return &fileHost{name, f, o, vips}
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

// joinFiles puts captures to the snapshots of the hosts they were taken on, which have the same name, and adds what all files tell
// together: the last host.
func joinFiles(files []*fileHost, opt probes.Options) []*fileHost {
	var hosts []*fileHost
	for _, f := range files {
		i := slices.IndexFunc(hosts, func(h *fileHost) bool {
			return baseName(h.name) == baseName(f.name) && (h.isCapture() != f.isCapture())
		})
		if i < 0 {
			hosts = append(hosts, f)
			continue
		}
		hosts[i] = hosts[i].with(f, opt)
	}
	if len(hosts) < 2 {
		return hosts
	}
	return append(hosts, allFiles(hosts, opt))
}

// baseName is the name of a host, as a file may be called after it: director.pcapng.gz.
func baseName(name string) string {
	name = filepath.Base(name)
	for _, ext := range []string{".gz", ".pcapng", ".pcap", ".cap", ".txt", ".json"} {
		name = strings.TrimSuffix(name, ext)
	}
	return name
}

func (f *fileHost) isCapture() bool { return f.facts.Snapshot == nil }

// with is a snapshot and a capture of one host as one.
func (f *fileHost) with(g *fileHost, opt probes.Options) *fileHost {
	if f.isCapture() {
		f, g = g, f
	}
	o := f.observed
	o.Flows, o.ARP = g.observed.Flows, g.observed.ARP
	facts := f.facts
	facts.Flows, facts.Capture = g.facts.Flows, g.facts.Capture
	opt.VIPs = append(slices.Clone(opt.VIPs), g.vips...)
	facts.Report = probes.Diagnose(rules.All(), []probes.Observation{o}, opt)
	return &fileHost{f.name, facts, o, g.vips}
}

// allFiles judges the files together, and joins what each of them saw of a connection.
func allFiles(hosts []*fileHost, opt probes.Options) *fileHost {
	var observed []probes.Observation
	var views [][]capture.Flow
	var snapshots []*lvs.Snapshot
	f := screens.Facts{Host: "all files", ReadOnly: true, ReadOnlyWhy: fileReadOnly, ChangesElsewhere: changesOfFile, Capture: screens.Capture{Mode: screens.CaptureOff, Err: "snapshots hold no packets. Open captures beside them: lvstui --from rs1.json --from rs1.pcapng"}}
	for _, h := range hosts {
		observed = append(observed, h.observed)
		opt.VIPs = append(slices.Clone(opt.VIPs), h.vips...)
		if !h.isCapture() {
			snapshots = append(snapshots, h.facts.Snapshot)
		}
		if h.facts.Flows != nil {
			views = append(views, h.facts.Flows)
			f.Capture = screens.Capture{Mode: screens.CaptureFile, Name: fmt.Sprintf("%d captures", len(views)), Packets: f.Capture.Packets + h.facts.Capture.Packets}
		}
		if h.facts.At.After(f.At) {
			f.At = h.facts.At
		}
	}
	if f.Flows = capture.Merge(views...); len(views) == 1 {
		f.Capture.Name = hosts[slices.IndexFunc(hosts, func(h *fileHost) bool { return h.facts.Flows != nil })].facts.Capture.Name
	}
	opt.Together = true
	f.Report = probes.Diagnose(rules.All(), observed, opt)
	for i, s := range snapshots { // the director knows most names
		if s.IPVS != nil && len(s.IPVS.Services) > 0 {
			snapshots[0], snapshots[i] = snapshots[i], snapshots[0]
			break
		}
	}
	if len(snapshots) > 0 {
		f.Snapshot, f.Others = snapshots[0], snapshots[1:]
	}
	return &fileHost{name: "all files", facts: f}
}
