package lab

import (
	"context"
	"fmt"
	"io"
	"net/netip"

	"lvstui/capture/file"
	"lvstui/capture/live"
	"lvstui/lvs"
	"lvstui/probes/collect"
)

// Record captures on the host from the moment ready is called until ctx ends, and writes pcapng: every TCP, UDP,
// ICMP and ARP packet of all interfaces but lo. It is an error when packets were lost.
func (h *Host) Record(ctx context.Context, w io.Writer, ready func()) error {
	var c *live.Capture
	err := h.Do(func() (err error) {
		c, err = open()
		return err
	})
	if err == nil {
		err = record(ctx, c, w, ready)
	}
	if err != nil {
		return fmt.Errorf("host %s: capture: %w", h.Name, err)
	}
	return nil
}

// Record does the same in the network namespace of this process.
func Record(ctx context.Context, w io.Writer, ready func()) error {
	c, err := open()
	if err != nil {
		return err
	}
	return record(ctx, c, w, ready)
}

func open() (*live.Capture, error) {
	return live.Open(live.Options{BlockSize: 64 << 10, Blocks: 128, FixedRate: true})
}

func record(ctx context.Context, c *live.Capture, w io.Writer, ready func()) error {
	defer c.Close()
	out, err := file.NewWriter(w, nil)
	if err != nil {
		return err
	}
	ready()
	var failed error
	err = c.Run(ctx, func(frames []live.Frame) {
		for i := range frames {
			f := &frames[i]
			out.AddInterface(f.Interface, c.Interfaces()[f.Interface])
			if err := out.Write(&f.Packet, f.Data, f.Link); err != nil && failed == nil {
				failed = err
			}
		}
	})
	if err == nil {
		err = failed
	}
	if err == nil {
		err = out.Flush()
	}
	if s := c.Stats(); err == nil && s.Drops > 0 {
		err = fmt.Errorf("%d of %d packets were lost", s.Drops, s.Packets)
	}
	return err
}

// Snapshot collects the host's facts, under the host's name. Routes are asked for the clients too.
func (h *Host) Snapshot(ctx context.Context, clients ...netip.Addr) (*lvs.Snapshot, error) {
	var s *lvs.Snapshot
	err := h.Do(func() (err error) {
		s, err = collect.Collect(ctx, collect.Options{Host: h.Name, Clients: clients})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("host %s: %w", h.Name, err)
	}
	return s, nil
}
