package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"lvstui/capture"
	"lvstui/capture/live"
	"lvstui/fixes"
	"lvstui/fixes/apply"
	"lvstui/lvs"
	"lvstui/probes"
	"lvstui/probes/collect"
	"lvstui/probes/rules"
	"lvstui/ui/screens"
)

// liveHost is a host that can be read, listened to and changed: this machine, or one of the lab's namespaces.
type liveHost struct {
	name string
	// do runs fn on a thread in the host's network namespace.
	do       func(fn func() error) error
	opt      probes.Options // VIPs and roles that are known from elsewhere
	blocks   int            // of the capture's ring, 0 for the usual number
	dir      string         // of the journal, "" for the usual one
	readOnly string         // why nothing may be changed here, "" when it may

	mu      sync.Mutex
	ear     *ear
	earErr  error
	stopEar context.CancelFunc
	heardAs string         // what the host was when the ear was opened, see earKey
	links   uint64         // changes of interfaces heard of
	changed live.LinkEvent // the latest of them
	last    *probes.Observation
	probed  *lvs.Probed // by active tests
}

// thisMachine runs fn where we are. The thread is kept for the whole of it: capabilities and namespaces are a thread's.
func thisMachine(fn func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return fn()
}

func (h *liveHost) Name() string { return h.name }

// collect reads the host.
func (h *liveHost) collect(ctx context.Context, clients []netip.Addr) (s *lvs.Snapshot, err error) {
	err = h.do(func() error {
		s, err = collect.Collect(ctx, collect.Options{VIPs: h.opt.VIPs, Clients: clients})
		return err
	})
	if err == nil && h.name != "" {
		s.Host = h.name
	}
	return s, err
}

// Look reads the host and judges it. The first look opens the capture, which goes on until stop.
func (h *liveHost) Look(ctx context.Context) (screens.Facts, error) {
	o, err := h.observe(ctx)
	if err != nil {
		return screens.Facts{}, err
	}
	return h.facts(o, probes.Diagnose(rules.All(), []probes.Observation{o}, h.opt)), nil
}

func (h *liveHost) observe(ctx context.Context) (probes.Observation, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var clients []netip.Addr
	if h.ear != nil {
		clients = clientsOf(h.ear.flows())
	}
	s, err := h.collect(ctx, clients)
	if err != nil {
		return probes.Observation{}, err
	}
	h.followRole(s)
	s.Probed = h.recentlyProbed()
	if h.ear == nil && h.earErr == nil {
		h.listen(s)
	}
	o := probes.Observation{Snapshot: s}
	if h.ear != nil {
		o = h.ear.observation(s, ladderFlows)
	} else if h.earErr != nil {
		s.Gaps = append(s.Gaps, lvs.Gap{Source: lvs.SourceCapture, Reason: h.earErr.Error(), Capability: "CAP_NET_RAW"})
	}
	h.last = &o
	return o, nil
}

// ladderFlows is how many of the latest flows are given with their frames.
const ladderFlows = 300

// followRole ends the capture when the host has become something else, as by a set-up: what is listened for, and what a packet
// proves, depends on its virtual services and addresses. h.mu is held.
func (h *liveHost) followRole(s *lvs.Snapshot) {
	if h.ear == nil || s.IPVS == nil || s.Addresses == nil || h.ear.recording() != nil || earKey(s) == h.heardAs {
		return
	}
	h.stopEar()
	h.ear = nil
}

// earKey is what of a host decides how packets are understood.
func earKey(s *lvs.Snapshot) string {
	var b strings.Builder
	if s.IPVS != nil {
		for _, v := range s.IPVS.Services {
			fmt.Fprintf(&b, "%s %s %d %d\n", v.Protocol, v.Address, v.Port, v.FWMark)
		}
	}
	for _, a := range s.Addresses {
		fmt.Fprintf(&b, "%s %s\n", a.Device, a.Prefix)
	}
	return b.String()
}

// listen opens the capture in the host's namespace and runs it in the background.
func (h *liveHost) listen(s *lvs.Snapshot) {
	h.earErr = h.do(func() (err error) {
		h.ear, err = openEarWith(s, nil, capture.Config{}, h.blocks)
		return err
	})
	if h.earErr != nil {
		return
	}
	h.heardAs = earKey(s)
	var ctx context.Context
	ctx, h.stopEar = context.WithCancel(context.Background())
	go func(e *ear) {
		if err := e.run(ctx); err != nil {
			h.mu.Lock()
			if h.ear == e {
				h.ear, h.earErr = nil, err
			}
			h.mu.Unlock()
		}
	}(h.ear)
}

// stop ends the capture.
func (h *liveHost) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ear != nil && h.ear.recording() != nil {
		if r, err := h.ear.stopRecording(); err != nil {
			note("%s: %v", r.File, err)
		} else {
			note("%s: %d packets, %d bytes", r.File, r.Packets, r.Bytes)
		}
	}
	if h.stopEar != nil {
		h.stopEar()
	}
}

func (h *liveHost) facts(o probes.Observation, r probes.Report) screens.Facts {
	f := screens.Facts{Host: h.name, At: time.Now(), Snapshot: o.Snapshot, Flows: o.Flows, Report: r, VIPs: h.opt.VIPs,
		ReadOnly: h.readOnly != "", ReadOnlyWhy: h.readOnly, Capture: h.captureState()}
	if f.Host == "" {
		f.Host = o.Snapshot.Host
	}
	return f
}

func (h *liveHost) captureState() screens.Capture {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ear == nil {
		c := screens.Capture{Mode: screens.CaptureOff}
		if h.earErr != nil {
			c.Mode, c.Err = screens.CaptureFailed, h.earErr.Error()
		}
		return c
	}
	st := h.ear.stats()
	return screens.Capture{Mode: screens.CaptureLive, Interfaces: h.ear.interfaces(), Packets: st.Packets, Dropped: st.Dropped, Sampled: st.Sample,
		Recording: h.ear.recording(), Notice: h.notice()}
}

func (h *liveHost) applier() *apply.Applier {
	return &apply.Applier{Dir: h.dir, Look: func(ctx context.Context) (*lvs.Snapshot, error) {
		// Called by the applier on a thread that is in the namespace already.
		s, err := collect.Collect(ctx, collect.Options{VIPs: h.opt.VIPs})
		if err == nil && h.name != "" {
			s.Host = h.name
		}
		return s, err
	}}
}

// Apply changes the host; see apply.Applier.
func (h *liveHost) Apply(ctx context.Context, plan fixes.Plan, seen *lvs.Snapshot, terms fixes.Terms, progress func(int, bool, error)) (c fixes.Change, err error) {
	h.keepProbed(nil) // what was answered before
	doErr := h.do(func() error {
		c, err = h.applier().Apply(ctx, plan, seen, terms, progress)
		return nil
	})
	if doErr != nil {
		return c, doErr
	}
	if err == nil && c.State == fixes.Waiting {
		go h.takeBackLate(c.ID, terms.ConfirmWithin+watchdogGrace)
	}
	return c, err
}

// takeBackLate takes a change back when its watchdog has not: somebody may have killed it.
func (h *liveHost) takeBackLate(id string, after time.Duration) {
	time.Sleep(after)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	list, err := h.Changes(ctx)
	if err == nil && slices.ContainsFunc(list, func(c fixes.Change) bool { return c.ID == id && c.State == fixes.Waiting }) {
		_, _ = h.Undo(ctx, id) // what comes of it is in the journal
	}
}

// Confirm keeps the change that waits; see apply.Applier.
func (h *liveHost) Confirm(ctx context.Context, id string) (c fixes.Change, err error) {
	doErr := h.do(func() error {
		c, err = h.applier().Confirm(ctx, id)
		return nil
	})
	if doErr != nil {
		return c, doErr
	}
	return c, err
}

// Undo takes back a change of the host.
func (h *liveHost) Undo(ctx context.Context, id string) (c fixes.Change, err error) {
	h.keepProbed(nil)
	doErr := h.do(func() error {
		c, err = h.applier().Undo(ctx, id)
		return nil
	})
	if doErr != nil {
		return c, doErr
	}
	return c, err
}

// Changes is the host's journal.
func (h *liveHost) Changes(ctx context.Context) (list []fixes.Change, err error) {
	doErr := h.do(func() error {
		list, err = h.applier().List(ctx)
		return nil
	})
	if doErr != nil {
		return nil, doErr
	}
	return list, err
}

// hostName is this machine's, for the screen.
func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return "this host"
	}
	return strings.SplitN(name, ".", 2)[0]
}
