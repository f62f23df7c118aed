package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"lvstui/capture"
	"lvstui/capture/file"
	"lvstui/lvs"
)

type flowsOptions struct {
	interfaces []string
	vips       addrs
	ports      []uint
	duration   time.Duration
	read       string
	write      string
	vantage    roles
	format     format
}

func newFlows() *cobra.Command {
	opt := flowsOptions{format: formatText}
	cmd := &cobra.Command{
		Use:   "flows",
		Short: "Follow handshakes: live, or from a capture",
		Long: "flows shows each client connection with the stages of its handshake, seen from this host.\n" +
			"A file may be pcap, pcapng, or the text of tcpdump -nn -e as people paste it; - is standard input.\n" +
			"On a live capture a flow is shown when it ends or stalls; what is still open is shown at the end.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runFlows(cmd.Context(), opt) },
	}
	f := cmd.Flags()
	f.StringArrayVarP(&opt.interfaces, "interface", "i", nil, "listen on this interface only; several are possible")
	f.Var(&opt.vips, "vip", "virtual address; the default is those this host has")
	f.UintSliceVar(&opt.ports, "port", nil, "port of the virtual service")
	f.DurationVar(&opt.duration, "duration", 0, "stop after that long; the default is until interrupted")
	f.StringVar(&opt.read, "read", "", "read packets from this file instead of the wire")
	f.StringVar(&opt.write, "write", "", "save the packets to this file as pcapng")
	f.Var(&opt.vantage, "vantage", "where it was captured: client, router, director, real-server; the default is found out from the packets")
	f.Var(&opt.format, "format", "text for people, json for programs: one object per line")
	return cmd
}

func (o flowsOptions) check() error {
	if len(o.vantage) > 1 {
		return errors.New("--vantage takes one place: client, router, director or real-server")
	}
	for _, p := range o.ports {
		if p == 0 || p > 65535 {
			return fmt.Errorf("--port %d: a port is from 1 to 65535", p)
		}
	}
	if o.duration < 0 {
		return fmt.Errorf("--duration %s: a time to listen cannot be negative", o.duration)
	}
	if o.read != "" && (len(o.interfaces) > 0 || o.duration > 0 || o.write != "") {
		return errors.New("--read takes packets from a file: -i, --duration and --write are for listening")
	}
	return nil
}

func (o flowsOptions) tracker() capture.Config {
	c := capture.Config{Virtuals: o.vips}
	for _, p := range o.ports {
		c.Ports = append(c.Ports, uint16(p))
	}
	if len(o.vantage) == 1 {
		c.Vantage = o.vantage[0]
	}
	return c
}

func runFlows(ctx context.Context, opt flowsOptions) error {
	if err := opt.check(); err != nil {
		return err
	}
	out := newFlowPrinter(os.Stdout, opt.format)
	if opt.read != "" {
		return flowsFromFile(opt, out)
	}
	return flowsLive(ctx, opt, out)
}

// flowsFromFile prints every flow of a file. A file that is damaged gives its flows up to there, and then the error.
func flowsFromFile(opt flowsOptions, out *flowPrinter) error {
	tracker, damage, err := trackFile(opt.read, opt.tracker())
	if err != nil {
		return err
	}
	for _, f := range tracker.Flows() {
		if err := out.print(f); err != nil {
			return err
		}
	}
	if err := out.end(tracker); err != nil {
		return err
	}
	return damage
}

// trackFile puts all packets of a file through a tracker. damage is an error met after some packets were good.
func trackFile(name string, cfg capture.Config) (t *capture.Tracker, damage, err error) {
	in := os.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, nil, fmt.Errorf("capture: %w", err)
		}
		defer f.Close()
		in = f
	}
	src, err := file.Open(bufio.NewReaderSize(in, 1<<16))
	if err != nil {
		return nil, nil, withHint(fmt.Errorf("%s: %w", name, err), "tcpdump -nn -e -i eth0 port 80, and paste what it prints, or tcpdump -w FILE")
	}
	t = capture.NewTracker(cfg)
	named := map[int32]bool{}
	var p capture.Packet
	for {
		if err := src.Next(&p); err != nil {
			if !errors.Is(err, io.EOF) || isDamage(err) {
				damage = fmt.Errorf("%s: %w", name, err)
			}
			break
		}
		if !named[p.Interface] {
			t.SetInterface(p.Interface, src.Interfaces()[p.Interface])
			named[p.Interface] = true
		}
		t.Add(&p)
	}
	// Whatever did not come before the file ended will not come any more, unless it was only just due.
	t.Advance(t.Now())
	if n := src.Skipped(); n > 0 {
		note("%s: %d frames or lines were not understood and left out", name, n)
	}
	return t, damage, nil
}

func isDamage(err error) bool {
	var e *file.Error
	return errors.As(err, &e)
}

// flowsLive follows this host's handshakes until told to stop.
func flowsLive(ctx context.Context, opt flowsOptions, out *flowPrinter) error {
	s, err := look(ctx, opt.vips, nil)
	if err != nil {
		return err
	}
	ear, err := openEarWith(s, opt.interfaces, opt.tracker())
	if err != nil {
		return err
	}
	if opt.write != "" {
		if err := ear.saveTo(opt.write); err != nil {
			return err
		}
	}
	if opt.duration > 0 {
		var cancel func()
		ctx, cancel = context.WithTimeout(ctx, opt.duration)
		defer cancel()
	}
	note("listening on %s for %s; Ctrl-C ends", ear.where(), ear.what())
	failed := make(chan error, 1)
	go func() { failed <- ear.run(ctx) }()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-failed:
			for _, f := range ear.flows() {
				if err := out.print(f); err != nil {
					return err
				}
			}
			if dropped := ear.stats().Dropped; dropped > 0 {
				note("%d packets were dropped before they could be looked at", dropped)
			}
			return errors.Join(err, ear.close())
		case <-tick.C:
			for _, f := range ear.flows() {
				if settled(f) {
					if err := out.print(f); err != nil {
						return err
					}
				}
			}
		}
	}
}

// settled flows are printed while the capture goes on.
func settled(f capture.Flow) bool {
	return slices.Contains([]capture.Outcome{capture.Closed, capture.Reset, capture.Refused, capture.Stalled}, f.Outcome)
}

// flowPrinter prints each flow when there is something new to say of it.
type flowPrinter struct {
	w      io.Writer
	format format
	said   map[uint64]capture.Outcome
}

func newFlowPrinter(w io.Writer, f format) *flowPrinter {
	return &flowPrinter{w: w, format: f, said: map[uint64]capture.Outcome{}}
}

func (p *flowPrinter) print(f capture.Flow) error {
	if p.said[f.ID] == f.Outcome {
		return nil
	}
	p.said[f.ID] = f.Outcome
	if p.format == formatJSON {
		b, err := json.Marshal(f)
		if err != nil {
			return err
		}
		return writeAll(p.w, append(b, '\n'))
	}
	return writeAll(p.w, []byte(flowLine(f)))
}

// end says for people what it came to.
func (p *flowPrinter) end(t *capture.Tracker) error {
	if len(p.said) == 0 {
		note("no TCP connection in %d packets", t.Stats().Packets)
	}
	return nil
}

// flowLine is one flow for people: who, how it went, the stages in one letter each, and what is suspected.
func flowLine(f capture.Flow) string {
	line := fmt.Sprintf("%s  %s → %s  %-11s %s", f.FirstSeen.Local().Format("15:04:05.000"), f.Client, f.Virtual, f.Outcome, stageBar(f))
	if f.Handshake > 0 {
		line += fmt.Sprintf("  handshake %.2f ms", float64(f.Handshake)/float64(time.Millisecond))
	}
	if f.SynRetransmits > 0 {
		line += fmt.Sprintf("  SYN sent again ×%d", f.SynRetransmits)
	}
	if f.SynAckRetransmits > 0 {
		line += fmt.Sprintf("  SYN-ACK sent again ×%d", f.SynAckRetransmits)
	}
	line += "\n"
	if f.StalledAt != "" {
		line += fmt.Sprintf("      seen from the %s: reached %s, then nothing: no %s\n", f.Vantage, f.Reached, f.StalledAt)
	}
	for i, id := range f.Suspects {
		if i == 3 {
			break
		}
		line += fmt.Sprintf("      suspect: %s (lvstui explain %s)\n", id, id)
	}
	return line
}

// stageBar shows the eleven stages: S seen, i implied, ✗ missing, · not yet due, ? cannot be seen from here.
func stageBar(f capture.Flow) string {
	glyph := map[lvs.StageState]string{lvs.Seen: "S", lvs.Implied: "i", lvs.Missing: "✗", lvs.Pending: "·", lvs.Unobservable: "?"}
	bar := ""
	for _, st := range lvs.Stages {
		bar += glyph[f.Stage(st).State]
	}
	return "[" + bar + "]"
}
