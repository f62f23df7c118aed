package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"lvstui/lab"
	"lvstui/lvs"
	"lvstui/probes"
	"lvstui/probes/rules"
	"lvstui/ui"
	"lvstui/ui/kit"
	"lvstui/ui/screens"
)

// tuiOptions are the flags of the terminal UI.
type tuiOptions struct {
	from     []string
	readOnly bool
	ascii    bool
	light    bool
	vips     addrs
	roles    roles
	within   withinFlag
	screen   string // the one to begin with, "" for the first
}

func (o *tuiOptions) bind(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&o.from, "from", nil, "open this snapshot or capture instead of this host; several are possible")
	f.BoolVar(&o.readOnly, "read-only", false, "allow no change")
	f.Var(&o.vips, "vip", "a virtual address that this host is to serve")
	f.Var(&o.roles, "role", "what this host is: client, router, director, real-server")
	o.bindLooks(cmd)
}

// bindLooks are the flags about the looks alone; the lab has them too.
func (o *tuiOptions) bindLooks(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.ascii, "ascii", false, "draw with ASCII characters only")
	cmd.Flags().BoolVar(&o.light, "light", false, "for a light background")
	o.within.limit = confirmWithin
	cmd.Flags().Var(&o.within, "confirm-within", "take a change back unless it is kept within this time; 0 keeps it at once")
}

// looks gives those flags back as words for another lvstui.
func (o tuiOptions) looks() []string {
	var args []string
	if o.ascii {
		args = append(args, "--ascii")
	}
	if o.light {
		args = append(args, "--light")
	}
	if o.within.limit != confirmWithin {
		args = append(args, "--confirm-within", o.within.String())
	}
	return args
}

func needTerminal(instead string) error {
	if isTerminal(os.Stdin) && isTerminal(os.Stdout) {
		return nil
	}
	return withHint(errors.New("the terminal UI needs a terminal, on standard input and output"), "%s", instead)
}

// lineByLine tells whether to write plain lines instead of drawing a screen: asked for, or the terminal knows no more.
func lineByLine() bool { return os.Getenv("ACCESSIBLE") != "" || os.Getenv("TERM") == "dumb" }

func runTUI(ctx context.Context, opt tuiOptions) error {
	if lineByLine() {
		return plain(ctx, opt)
	}
	if err := needTerminal("lvstui check"); err != nil {
		return err
	}
	hosts, stop, err := tuiHosts(opt)
	if err != nil {
		return err
	}
	defer stop()
	err = ui.Run(ctx, opt.options(hosts, len(hosts)-1), os.Stdin, os.Stdout)
	sayWaiting(hosts)
	return err
}

// sayWaiting tells whoever left the screen which changes still wait to be kept.
func sayWaiting(hosts []ui.Host) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, h := range hosts {
		changes, err := h.Changes(ctx)
		if err != nil {
			continue // it was on the screen
		}
		if c, ok := screens.LastWaiting(changes); ok {
			note("%s, made on %s, is taken back at %s unless you keep it: sudo lvstui confirm", kit.Clean(c.Title), kit.Clean(c.Host),
				c.Deadline.Local().Format(time.TimeOnly))
		}
	}
}

func (o tuiOptions) options(hosts []ui.Host, start int) ui.Options {
	known := probes.Options{VIPs: o.vips, Roles: o.roles}
	return ui.Options{Hosts: hosts, Start: start, ReadOnly: o.readOnly, ConfirmWithin: o.within.limit, Screen: o.screen, ASCII: o.ascii, Light: o.light || ui.LightBackground(os.Getenv), NoColor: ui.NoColor(os.Getenv),
		Sync: ui.SynchronizedOutput(os.Getenv), Explain: explainText,
		WhatIf: func(f ui.Facts, after *lvs.Snapshot) probes.Report {
			return probes.Diagnose(rules.All(), []probes.Observation{{Snapshot: after, Flows: f.Flows}}, known)
		}}
}

// explainText is the page of a finding, for the screen.
func explainText(id string, width int) string {
	rule, ok := rules.Find(id)
	if !ok {
		return "There is no page for " + id + " yet: it is a suspect that only traffic hints at."
	}
	return probes.Text(rule, width)
}

// tuiHosts are the hosts that the options name: files, or this machine.
func tuiHosts(opt tuiOptions) (hosts []ui.Host, stop func(), err error) {
	options := probes.Options{VIPs: opt.vips, Roles: opt.roles}
	if len(opt.from) == 0 {
		h := &liveHost{name: hostName(), do: thisMachine, opt: options}
		if opt.readOnly {
			h.readOnly = "lvstui was started with --read-only"
		}
		return []ui.Host{h}, h.stop, nil
	}
	var files []*fileHost
	for _, name := range opt.from {
		h, err := openFile(name, options)
		if err != nil {
			return nil, nil, err
		}
		files = append(files, h)
	}
	for _, h := range joinFiles(files, options) { // the last one is all of them together
		hosts = append(hosts, h)
	}
	return hosts, func() {}, nil
}

// plain prints one look as lines that a screen reader can read, without a screen to move about on.
func plain(ctx context.Context, opt tuiOptions) error {
	hosts, stop, err := tuiHosts(opt)
	if err != nil {
		return err
	}
	defer stop()
	for _, h := range hosts {
		f, err := h.Look(ctx)
		if err != nil {
			return err
		}
		if err := writeAll(os.Stdout, []byte(ui.Plain(f))); err != nil {
			return err
		}
	}
	return nil
}

// labTUI builds the lab in this kernel and opens the UI on its hosts.
func labTUI(ctx context.Context, opt labOptions) error {
	fmt.Fprintf(os.Stderr, "building the cluster, topology %s …\n", opt.topology)
	l, err := lab.Up(ctx, opt.spec())
	if err != nil {
		return err
	}
	defer l.Down()
	live, all := labHosts(l)
	hosts, start := []ui.Host{}, -1
	for i, h := range live {
		if h.name == opt.start {
			start = i
		}
		hosts = append(hosts, h)
		defer h.stop()
	}
	if start < 0 {
		return fmt.Errorf("--host %q: the lab has client, router, director, rs1 and rs2", opt.start)
	}
	warm, cancel := context.WithCancel(ctx)
	defer cancel()
	go warmUp(warm, live)
	return ui.Run(ctx, opt.tui.options(append(hosts, all), start), os.Stdin, os.Stdout)
}
