// Command demo shows the screens with sample facts, to look at them without a cluster. It is not part of lvstui.
//
//	go run ./ui/internal/demo [--ascii] [--light]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
	"lvstui/ui"
	"lvstui/ui/internal/sample"
)

// host is sample facts that move a little.
type host struct {
	name    string
	facts   func() ui.Facts
	after   func() ui.Facts // while a change is in force; may be nil
	err     error
	looks   int
	changes []fixes.Change
}

func (h *host) Name() string { return h.name }

func (h *host) Look(context.Context) (ui.Facts, error) {
	if h.err != nil {
		return ui.Facts{}, h.err
	}
	f := h.facts()
	for i := range h.changes {
		if c := &h.changes[i]; c.State == fixes.Waiting && time.Now().After(c.Deadline) {
			c.State = fixes.Undone
		}
		if h.changes[i].Open() && h.after != nil {
			f = h.after()
			f.Host = h.name
		}
	}
	h.looks++
	f.At = f.At.Add(time.Duration(h.looks) * time.Second)
	if f.Snapshot.IPVS != nil && len(f.Snapshot.IPVS.Services) > 0 {
		f.Snapshot.IPVS.Services = sample.Later(h.looks + h.looks%7*3)
	}
	f.Changes = append([]fixes.Change{}, h.changes...)
	return f, nil
}

func (h *host) Apply(_ context.Context, p fixes.Plan, _ *lvs.Snapshot, terms fixes.Terms, progress func(int, bool, error)) (fixes.Change, error) {
	for i := range p.Steps {
		progress(i, false, nil)
		time.Sleep(500 * time.Millisecond)
		progress(i, true, nil)
	}
	c := fixes.Change{ID: fmt.Sprint(len(h.changes) + 1), Host: h.name, PlanID: p.ID, Title: p.Title, AppliedAt: time.Now(), State: fixes.Applied, Commands: p.Commands()}
	if terms.ConfirmWithin > 0 {
		c.State, c.Deadline = fixes.Waiting, time.Now().Add(terms.ConfirmWithin)
	}
	h.changes = append(h.changes, c)
	return c, nil
}

func (h *host) Confirm(_ context.Context, id string) (fixes.Change, error) {
	for i := range h.changes {
		if c := &h.changes[i]; c.ID == id && c.State == fixes.Waiting {
			c.State, c.Deadline = fixes.Applied, time.Time{}
			return *c, nil
		}
	}
	return fixes.Change{}, errors.New("no change waits")
}

func (h *host) Undo(_ context.Context, id string) (fixes.Change, error) {
	for i := range h.changes {
		if h.changes[i].ID == id && h.changes[i].Open() {
			h.changes[i].State = fixes.Undone
			return h.changes[i], nil
		}
	}
	return fixes.Change{}, errors.New("nothing to undo")
}

func (h *host) Changes(context.Context) ([]fixes.Change, error) { return h.changes, nil }

func main() {
	ascii, light := flag.Bool("ascii", false, "ASCII only"), flag.Bool("light", false, "light background")
	flag.Parse()
	o := ui.Options{ConfirmWithin: 20 * time.Second, ASCII: *ascii, Light: *light, NoColor: ui.NoColor(os.Getenv), Sync: ui.SynchronizedOutput(os.Getenv),
		WhatIf:  func(f ui.Facts, _ *lvs.Snapshot) probes.Report { return sample.HealthyDirector().Report },
		Explain: func(id string, _ int) string { return "WHAT BREAKS\nAn explanation of " + id + "." },
		Hosts: []ui.Host{&host{name: "director", facts: sample.BrokenDirector}, &host{name: "rs1", facts: sample.BrokenRealServer, after: sample.CuredRealServer},
			&host{name: "router", facts: sample.BrokenRouter}, &host{name: "healthy", facts: sample.HealthyDirector},
			&host{name: "lb1", facts: sample.BareDirector}, &host{name: "web1", facts: sample.BareRealServer}, &host{name: "gap", facts: sample.Gap}, &host{name: "empty", facts: sample.Empty},
			&host{name: "error", err: errors.New("netns /run/netns/rs2: no such file; see it with: ip netns list")}}}
	if err := ui.Run(context.Background(), o, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
