package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lvstui/lab"
	"lvstui/lab/guest"
)

type labOptions struct {
	topology string
	faults   []string
	native   bool // in namespaces of this machine
	guest    bool // in a kernel of its own
	inside   bool // we are in that kernel
	bare     bool // nothing is set up
	start    string
	tui      tuiOptions
}

func newLab() *cobra.Command {
	opt := &labOptions{}
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "The terminal UI on a cluster to try things on, with a fault of your choice",
		Long: "lab builds a client, a router, a director and two real servers out of network namespaces, with real ip_vs and real\n" +
			"packets, and opens lvstui in it. On machines without ip_vs, and for ordinary users, it does so in a kernel of its\n" +
			"own under qemu, which shares nothing with the machine.\n\n" +
			"Topologies: split fails as the article's did (the router drops the replies), shared and single work.\n\n" +
			"Faults: " + strings.Join(faultIDs(), ", "),
		Args: onlyCommands,
		RunE: func(cmd *cobra.Command, _ []string) error { return runLab(cmd.Context(), *opt) },
	}
	opt.bind(cmd)
	cmd.Flags().StringVar(&opt.start, "host", lab.Director, "open on this host: client, router, director, rs1, rs2")
	opt.tui.bindLooks(cmd)
	cmd.Flags().BoolVar(&opt.inside, "inside", false, "")
	_ = cmd.Flags().MarkHidden("inside")
	cmd.AddCommand(newLabUp(), newLabExec(), newLabDown(), newLabServe(), newLabHold(), newTestExec())
	return cmd
}

func (o *labOptions) bind(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.topology, "topology", "", "which cluster: split, shared or single (default split; with --fault one where it matters, with --bare single)")
	f.StringArrayVar(&o.faults, "fault", nil, "put this fault in, by the id of its finding; several are possible")
	f.BoolVar(&o.bare, "bare", false, "leave the cluster to be set up: no VIP, no virtual service, no ARP sysctls (lvstui setup, screen Setup)")
	f.BoolVar(&o.native, "native", false, "in namespaces of this machine (root and ip_vs needed)")
	f.BoolVar(&o.guest, "guest", false, "in a kernel of its own, even where this one has ip_vs")
}

func (o *labOptions) check() error {
	if o.native && o.guest {
		return errors.New("--native and --guest exclude each other")
	}
	for i, id := range o.faults {
		o.faults[i] = strings.TrimSpace(id)
		if !slices.Contains(faultIDs(), o.faults[i]) {
			return withHint(fmt.Errorf("there is no fault %q", id), "lvstui lab --help, which lists them")
		}
	}
	if o.bare && len(o.faults) > 0 {
		return errors.New("--bare leaves nothing for a fault to be in: one of both")
	}
	if o.topology == "" && o.bare {
		o.topology = string(lab.Single)
	}
	if o.topology == "" {
		o.topology = string(usualTopology(o.faults))
	}
	if !slices.Contains(lab.Topologies, lab.Topology(o.topology)) {
		return fmt.Errorf("there is no topology %q: split, shared or single", o.topology)
	}
	for _, f := range lab.Faults() {
		if slices.Contains(o.faults, f.ID) && !slices.Contains(f.Topologies, lab.Topology(o.topology)) {
			return fmt.Errorf("the fault %s makes no difference in topology %s: take %s", f.ID, o.topology, topologyWords(f.Topologies))
		}
	}
	return nil
}

func topologyWords(list []lab.Topology) string {
	words := make([]string, len(list))
	for i, t := range list {
		words[i] = string(t)
	}
	return strings.Join(words, " or ")
}

// usualTopology is the article's, or the first in which the first fault makes a difference.
func usualTopology(faults []string) lab.Topology {
	for _, f := range lab.Faults() {
		if len(faults) > 0 && f.ID == faults[0] && len(f.Topologies) > 0 && !slices.Contains(f.Topologies, lab.Split) {
			return f.Topologies[0]
		}
	}
	return lab.Split
}

func (o labOptions) spec() lab.Spec {
	return lab.Spec{Topology: lab.Topology(o.topology), Faults: o.faults, Bare: o.bare, Native: !o.inside}
}

// flags gives the options back as words for another lvstui.
func (o labOptions) flags() []string {
	args := []string{"--topology", o.topology}
	if o.bare {
		args = append(args, "--bare")
	}
	for _, id := range o.faults {
		args = append(args, "--fault", id)
	}
	return args
}

func faultIDs() []string {
	var ids []string
	for _, f := range lab.Faults() {
		ids = append(ids, f.ID)
	}
	return ids
}

// here tells whether the lab is built in namespaces of this kernel: asked for, or possible without loading a module.
func (o labOptions) here() bool {
	if o.inside || o.native {
		return true
	}
	_, err := os.Stat("/proc/net/ip_vs")
	return !o.guest && os.Geteuid() == 0 && err == nil
}

func runLab(ctx context.Context, opt labOptions) error {
	if err := opt.check(); err != nil {
		return err
	}
	if err := needTerminal("lvstui lab up, and lvstui lab exec director -- lvstui check"); err != nil {
		return err
	}
	if opt.here() {
		return labTUI(ctx, opt)
	}
	vm, err := bootLab(ctx, os.Stderr)
	if err != nil {
		return err
	}
	defer vm.Close()
	args := append([]string{"lvstui", "lab", "--inside", "--host", opt.start}, opt.flags()...)
	code, err := vm.Attach(ctx, guest.Cmd{Args: append(args, opt.tui.looks()...)}, os.Stdin, os.Stdout)
	if err != nil {
		return fmt.Errorf("lvstui in the lab's kernel: %w", err)
	}
	if code != 0 {
		return exitStatus(code)
	}
	return nil
}

// bootLab starts the guest kernel, with lvstui in its PATH. What takes long is told to log.
func bootLab(ctx context.Context, log *os.File) (*guest.VM, error) {
	began := time.Now()
	image, err := guest.Prepare(ctx, guest.Options{Log: log})
	if err != nil {
		return nil, fmt.Errorf("preparing the lab's kernel: %w", err)
	}
	fmt.Fprintln(log, "starting the lab's kernel", image.Release, "…")
	vm, err := guest.Boot(ctx, image, guest.Config{Hostname: "lab"})
	if err != nil {
		return nil, fmt.Errorf("starting the lab's kernel: %w", err)
	}
	if code, err := vm.Run(ctx, guest.Cmd{Args: []string{"ln", "-sf", "/init", "/usr/bin/lvstui"}, Stderr: log}); err != nil || code != 0 {
		vm.Close()
		return nil, fmt.Errorf("lvstui in the lab's PATH: exit status %d: %w", code, err)
	}
	fmt.Fprintf(log, "up after %.1f s\n", time.Since(began).Seconds())
	return vm, nil
}

func newTestExec() *cobra.Command {
	return &cobra.Command{
		Use: "test-exec BINARY [ARG…]", Short: "Run a test binary in the lab's kernel, for go test -exec", Hidden: true,
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			if code := guest.TestExec(args, os.Stdin, os.Stdout, os.Stderr); code != 0 {
				return exitStatus(code)
			}
			return nil
		},
	}
}
