package main

import (
	"errors"
	"fmt"
	"time"

	"lvstui/capture/live"
	"lvstui/ui/kit"
)

// captureNews tells what becomes of a capture while it goes on: interfaces, drops, sampling. Nothing is told twice.
type captureNews struct {
	links   uint64
	dropped uint64
	sample  int
	told    time.Time // when drops were told of last
}

// dropsEvery is how often new drops are told of: under overload there are some every second.
const dropsEvery = 5 * time.Second

func (n *captureNews) tell(e *ear, out *flowPrinter) error {
	var errs []error
	for _, l := range e.linkEvents(&n.links) {
		note("%s %s", l.Time.Local().Format("15:04:05.000"), kit.Clean(l.String()))
		errs = append(errs, out.notice("interface", map[string]any{"time": l.Time.UTC(), "interface": l.Name, "index": l.Index, "change": l.Change, "old_name": l.Old, "heard": l.Heard}))
	}
	st := e.stats()
	newDrops := st.Dropped > n.dropped && time.Since(n.told) >= dropsEvery
	if st.Sample == n.sample && !newDrops {
		return errors.Join(errs...)
	}
	switch {
	case st.Sample > n.sample:
		note("packets come faster than they can be looked at: from now on one in %d flows is captured, whole; %d packets were dropped", st.Sample, st.Dropped)
	case st.Sample < n.sample && st.Sample == 1:
		note("the load is over: all flows are captured again")
	case st.Sample < n.sample:
		note("the load gets less: one in %d flows is captured", st.Sample)
	default:
		note("%d more packets were dropped before they could be looked at", st.Dropped-n.dropped)
	}
	n.sample, n.dropped, n.told = st.Sample, st.Dropped, time.Now()
	return errors.Join(append(errs, out.notice("capture", e.lossFields()))...)
}

// linkEvents are the changes of interfaces since the last time; seen is moved on. The tracker learns the new names.
func (e *ear) linkEvents(seen *uint64) []live.LinkEvent {
	var events []live.LinkEvent
	events, *seen = e.capture.LinkEvents(*seen)
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range events {
		if l.Change != live.LinkGone {
			e.tracker.SetInterface(l.Index, l.Name)
			if e.save != nil {
				e.save.AddInterface(l.Index, l.Name)
			}
		}
	}
	return events
}

// lossFields are the capture's counts for programs.
func (e *ear) lossFields() map[string]any {
	st := e.stats()
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.tracker.Stats()
	return map[string]any{"packets": st.Packets, "dropped": st.Dropped, "sample": max(st.Sample, 1), "flows": t.Flows, "evicted": t.Evicted, "unrelated": t.Ignored}
}

// losses say what the figures do not cover; none when they cover all.
func (e *ear) losses() (words []string) {
	st := e.stats()
	if st.Dropped > 0 {
		words = append(words, fmt.Sprintf("%d packets were dropped before they could be looked at", st.Dropped))
	}
	if st.Sample > 1 {
		words = append(words, fmt.Sprintf("under the load only one in %d flows was captured", st.Sample))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if n := e.tracker.Stats().Evicted; n > 0 {
		words = append(words, fmt.Sprintf("%d flows were forgotten to make room for newer ones: the summary is of the others", n))
	}
	return words
}

// sayLosses tells people, and programs, what the figures do not cover.
func (e *ear) sayLosses(out *flowPrinter) error {
	for _, w := range e.losses() {
		note("%s", w)
	}
	return out.notice("capture", e.lossFields())
}

// noticeFor is how long a screen shows what became of an interface.
const noticeFor = time.Minute

// notice is the latest change of an interface, in words, while it is news.
func (h *liveHost) notice() string {
	for _, l := range h.ear.linkEvents(&h.links) {
		h.changed = l
	}
	if h.changed.Time.IsZero() || time.Since(h.changed.Time) > noticeFor {
		return ""
	}
	return h.changed.String()
}
