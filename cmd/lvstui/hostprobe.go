package main

import (
	"context"
	"time"

	"lvstui/lvs"
	"lvstui/probes/active"
)

// probedFor is how long the answers of active tests are judged with what is read afresh: hosts change.
const probedFor = time.Minute

// planProbe works out both tests on the host as it is now.
func (h *liveHost) planProbe(ctx context.Context) (*active.Plan, error) {
	s, err := h.collect(ctx, nil)
	if err != nil {
		return nil, err
	}
	return active.Prepare(s, []active.Test{active.ARP, active.DSR}, active.Options{VIPs: h.opt.VIPs}), nil
}

// PlanProbe says what the active tests would send from the host.
func (h *liveHost) PlanProbe(ctx context.Context) (words, left []string, err error) {
	p, err := h.planProbe(ctx)
	if err != nil {
		return nil, nil, err
	}
	return p.Words(), p.Left(), nil
}

// Probe makes the active tests.
func (h *liveHost) Probe(ctx context.Context) (out *lvs.Probed, err error) {
	p, err := h.planProbe(ctx)
	if err != nil {
		return nil, err
	}
	err = h.do(func() error {
		out, err = p.Run(ctx)
		return err
	})
	if err == nil {
		h.keepProbed(out)
	}
	return out, err
}

// keepProbed remembers the answers for the next looks; nil forgets them.
func (h *liveHost) keepProbed(p *lvs.Probed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.probed = p
}

// recentlyProbed is what the active tests found, while it may still be true. h.mu is held.
func (h *liveHost) recentlyProbed() *lvs.Probed {
	if h.probed == nil || time.Since(h.probed.At) > probedFor {
		return nil
	}
	return h.probed
}
