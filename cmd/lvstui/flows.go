package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lvstui/capture"
	"lvstui/capture/file"
)

type flowsOptions struct {
	interfaces []string
	vips       addrs
	ports      []uint
	duration   time.Duration
	read       []string
	write      string
	writeSize  byteSize
	writeFiles int
	vantage    roles
	expect     string
	notices    bool
	format     format
}

func newFlows() *cobra.Command {
	var opt flowsOptions
	cmd := &cobra.Command{
		Use:   "flows",
		Short: "Follow handshakes: live, or from a capture",
		Long: "flows shows each client connection with the stages of its handshake, seen from this host; with --vip or\n" +
			"--port, and on a director of such services, also requests over UDP and their replies.\n\n" +
			"A file may be pcap, pcapng, or the text of tcpdump -nn -e as people paste it, also compressed with gzip;\n" +
			"- is standard input. Files of several hosts (--read director.pcapng --read rs1.pcapng) give one flow each\n" +
			"with what all of them saw.\n\nOn a live capture a flow is shown when it ends or stalls; what is still open is\n" +
			"shown at the end. What becomes of the capture itself, interfaces that go and come, drops, sampling under\n" +
			"load, is said on standard error; in JSON each line is a flow, and with --notices there are lines with the\n" +
			"field \"notice\" for all of this and, as the last, the summary. With --expect established the exit status is 0 only if\n" +
			"at least one flow was seen from its start and each of them that came to an end was established, 2 otherwise.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return withHint(fmt.Errorf("flows takes no argument %q", args[0]), "lvstui flows --read %s", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return runFlows(cmd.Context(), opt) },
	}
	f := cmd.Flags()
	f.StringArrayVarP(&opt.interfaces, "interface", "i", nil, "listen on this interface only; several are possible")
	f.Var(&opt.vips, "vip", "virtual address; the default is those this host has")
	f.UintSliceVar(&opt.ports, "port", nil, "port of the virtual service")
	f.DurationVar(&opt.duration, "duration", 0, "stop after that long; the default is until interrupted")
	f.StringArrayVar(&opt.read, "read", nil, "read packets from this file instead of the wire; several, of other hosts, are joined")
	f.StringVar(&opt.write, "write", "", "save the packets to this file as pcapng")
	f.Var(&opt.writeSize, "write-size", "begin another file (x.1.pcapng, x.2.pcapng …) at this size: 500K, 100M, 1G")
	f.IntVar(&opt.writeFiles, "write-files", 0, "with --write-size: keep only so many files, the newest")
	f.StringVar(&opt.expect, "expect", "", "what every handshake is to come to: established, else the exit status is 2")
	f.BoolVar(&opt.notices, "notices", false, "in JSON: also lines with the field notice: interfaces, drops and sampling, the summary")
	f.Var(&opt.vantage, "vantage", "where it was captured: client, router, director, real-server; the default is found out from the packets")
	f.Var(&opt.format, "format", "text for people, json for programs: one object per line; the default is text on a terminal, else json")
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
	if len(o.read) > 0 && (len(o.interfaces) > 0 || o.duration > 0 || o.write != "") {
		return errors.New("--read takes packets from a file: -i, --duration and --write are for listening")
	}
	switch {
	case o.write == "" && (o.writeSize != 0 || o.writeFiles != 0):
		return errors.New("--write-size and --write-files say how to save: --write FILE says where")
	case o.writeFiles < 0:
		return fmt.Errorf("--write-files %d: how many files to keep cannot be negative", o.writeFiles)
	case o.writeFiles > 0 && o.writeSize == 0:
		return errors.New("--write-files needs --write-size: without it there is one file")
	}
	if o.expect != "" && o.expect != string(capture.Established) {
		return fmt.Errorf("--expect %s: what can be expected is established", o.expect)
	}
	return nil
}

func (o flowsOptions) tracker() capture.Config {
	c := capture.Config{Virtuals: o.vips}
	for _, p := range o.ports {
		c.Ports = append(c.Ports, uint16(p))
		c.UDP = append(c.UDP, netip.AddrPortFrom(netip.Addr{}, uint16(p)))
	}
	if len(o.ports) == 0 {
		for _, vip := range o.vips {
			c.UDP = append(c.UDP, netip.AddrPortFrom(vip, 0))
		}
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
	if opt.format == "" {
		opt.format = formatJSON
		if isTerminal(os.Stdout) {
			opt.format = formatText
		}
	}
	out := newFlowPrinter(os.Stdout, opt.format, paints(os.Stdout, os.Getenv))
	out.notices = opt.notices
	if len(opt.read) > 0 {
		return flowsFromFiles(opt, out)
	}
	return flowsLive(ctx, opt, out)
}

// flowsFromFiles prints every flow of a file, or of several hosts' files together. A file that is damaged gives its
// flows up to there, and then the error.
func flowsFromFiles(opt flowsOptions, out *flowPrinter) error {
	var views [][]capture.Flow
	var damages []error
	packets := uint64(0)
	for _, name := range opt.read {
		tracker, damage, err := trackFile(name, opt.tracker())
		if err != nil {
			return err
		}
		packets += tracker.Stats().Packets
		damages = append(damages, damage)
		views = append(views, tracker.Flows())
	}
	flows := views[0]
	if len(views) > 1 {
		flows = capture.Merge(views...)
	}
	for _, f := range flows {
		if err := out.print(f); err != nil {
			return err
		}
	}
	if len(flows) == 0 {
		note("no connection in %d packets", packets)
	}
	if err := errors.Join(append(damages, out.summary(flows, nil))...); err != nil {
		return err
	}
	return out.expected(opt.expect, flows)
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
	ear, err := openEarWith(s, opt.interfaces, opt.tracker(), 0)
	if err != nil {
		return err
	}
	if opt.write != "" {
		if err := ear.saveTo(opt.write, int64(opt.writeSize), opt.writeFiles); err != nil {
			return err
		}
	}
	if opt.duration > 0 {
		var cancel func()
		ctx, cancel = context.WithTimeout(ctx, opt.duration)
		defer cancel()
	}
	note("listening on %s for %s; Ctrl-C ends", ear.where(), ear.what())
	if opt.format == formatText {
		note("%s", legend())
	}
	failed := make(chan error, 1)
	go func() { failed <- ear.run(ctx) }()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	news := captureNews{sample: 1}
	for {
		select {
		case err := <-failed:
			return errors.Join(err, news.tell(ear, out), ear.close(), endOfListening(ear, opt, out))
		case <-tick.C:
			for _, f := range ear.flows() {
				if settled(f) || lasting(f) {
					if err := out.print(f); err != nil {
						return err
					}
				}
			}
			if out.full() {
				out.forget(ear.allFlows())
			}
			if err := news.tell(ear, out); err != nil {
				return err
			}
		}
	}
}

// endOfListening prints what is still open and what it all came to.
func endOfListening(ear *ear, opt flowsOptions, out *flowPrinter) error {
	flows := ear.allFlows()
	for _, f := range flows {
		if err := out.print(f); err != nil {
			return err
		}
	}
	if len(flows) == 0 {
		note("no connection in %d packets", ear.stats().Packets)
	}
	if err := errors.Join(out.summary(flows, ear.neighbours), ear.sayLosses(out)); err != nil {
		return err
	}
	return out.expected(opt.expect, flows)
}

// byteSize is a flag that takes a size as people write it.
type byteSize int64

func (b *byteSize) Type() string { return "SIZE" }

func (b *byteSize) String() string {
	if b == nil || *b == 0 {
		return ""
	}
	return strconv.FormatInt(int64(*b), 10)
}

func (b *byteSize) Set(s string) error {
	number, unit := s, int64(1)
	for i, suffix := range []string{"K", "M", "G"} {
		if cut, ok := strings.CutSuffix(strings.ToUpper(s), suffix); ok {
			number, unit = cut, 1<<(10*(i+1))
		}
	}
	n, err := strconv.ParseInt(number, 10, 32)
	if err != nil || n <= 0 || n*unit < minFile {
		return fmt.Errorf("%q is not a size of a file: such as 500K, 100M or 1G, at least 4K", s)
	}
	*b = byteSize(n * unit)
	return nil
}

const minFile = 4 << 10
