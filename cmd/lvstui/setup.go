package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/ui/kit"
)

type setupOptions struct {
	role        lvs.Role
	terms       termsFlags
	format      format
	vip         vipFlag
	services    portsFlag
	realServers realServersFlag
	scheduler   string
	device      string
	gateway     addrs
}

type setUp = func(fixes.Spec, *lvs.Snapshot) (fixes.Plan, []fixes.Problem)

func newSetup() *cobra.Command {
	opt := setupOptions{format: formatText}
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Make this host a director or a real server of a cluster with direct routing",
		Long: "setup asks what this host does not show, on the Setup screen of the terminal UI; with ACCESSIBLE set line by line.\n" +
			"setup director and setup real-server take everything as flags and ask nothing but whether to do it.",
		Args: onlyCommands,
		RunE: func(cmd *cobra.Command, _ []string) error { return setupWizard(cmd.Context(), opt) },
	}
	cmd.Flags().Var(&opt.vip, "vip", "the virtual address")
	opt.terms.bind(cmd.Flags())
	cmd.AddCommand(
		newSetupRole("director", "Make this host the director: the ip_vs table, then the VIP",
			"  lvstui setup director --vip 172.16.0.8/24 --service tcp/80 \\\n    --real-server 192.168.10.11 --real-server 192.168.10.12=2", fixes.SetUpDirector),
		newSetupRole("real-server", "Make this host a real server: the ARP sysctls, then the VIP on lo",
			"  lvstui setup real-server --vip 172.16.0.8 --service tcp/80", fixes.SetUpRealServer))
	return cmd
}

func newSetupRole(role, short, example string, plan setUp) *cobra.Command {
	opt := setupOptions{role: lvs.Role(role), format: formatText}
	cmd := &cobra.Command{
		Use: role, Short: short, Example: example, Args: cobra.NoArgs,
		Long: short + ".\n\nIt shows what it would do, how it is taken back and what it risks, and asks. Run again, there is nothing left to do.\n" +
			"What cannot work is refused, with the reason. What the router and the other hosts need is printed.\n\n" + termsWords,
		RunE: func(cmd *cobra.Command, _ []string) error { return runSetup(cmd.Context(), opt, plan) },
	}
	f := cmd.Flags()
	f.Var(&opt.vip, "vip", "the virtual address, with the prefix length it is to have on the director")
	f.Var(&opt.services, "service", "what clients come for, such as tcp/80; may be given several times")
	f.Var(&opt.gateway, "gateway", "the router by which clients come and are answered; where no route leads to it, one is part of the plan")
	if role == "director" {
		f.Var(&opt.realServers, "real-server", "a real server's own address and its weight, 1 without one; may be given several times")
		f.StringVar(&opt.scheduler, "scheduler", "rr", "how clients are shared out: rr, wrr, lc, wlc, sh, …")
		f.StringVar(&opt.device, "interface", "", "where the VIP goes; without it where its subnet or the real servers are; lo when the router routes the VIP to this host")
	} else {
		f.StringVar(&opt.device, "interface", "", "where the VIP goes: lo, or a dummy interface")
	}
	opt.terms.bind(f)
	f.Var(&opt.format, "format", "text for people, json for programs")
	return cmd
}

func runSetup(ctx context.Context, opt setupOptions, setUp setUp) error {
	spec := fixes.Spec{VIP: netip.Prefix(opt.vip), Services: opt.services, RealServers: opt.realServers, Scheduler: opt.scheduler, Interface: opt.device}
	if len(opt.gateway) > 1 {
		return withHint(errors.New("there can be one gateway only"), "--gateway given once")
	}
	if len(opt.gateway) == 1 {
		spec.Gateway = opt.gateway[0]
	}
	if err := opt.terms.check(); err != nil {
		return err
	}
	h := thisHost{root: opt.terms.root}
	if spec.VIP.IsValid() {
		h.vips = addrs{spec.VIP.Addr()}
	}
	seen, err := h.look(ctx)
	if err != nil {
		return err
	}
	plan, problems := setUp(spec, seen)
	if len(problems) == 0 && !opt.terms.dryRun {
		if err := askWhoHasVIP(ctx, plan, seen); err != nil {
			return err
		}
		plan, problems = setUp(spec, seen)
	}
	if len(problems) > 0 {
		return refuseSetup(opt, problems)
	}
	if opt.format != formatJSON {
		sayInTheWay(inTheWay(plan, seen, opt.role, spec.VIP.Addr()))
	}
	preview, err := plan.Show(seen)
	if err != nil {
		return fmt.Errorf("%s: %w", plan.ID, err)
	}
	if opt.format == formatJSON && opt.terms.dryRun {
		return writeJSON(os.Stdout, map[string]any{"schema": 1, "plans": []fixes.Preview{preview}})
	}
	var change *fixes.Change
	if plan.Empty() {
		note("nothing left to do on this host")
		for _, e := range plan.Elsewhere {
			printElsewhere(os.Stderr, e)
		}
	} else if change, err = h.carryOut(ctx, opt.terms, plan, preview, seen, nil); err != nil && change == nil {
		return err
	}
	if opt.format == formatJSON {
		changes := []fixes.Change{}
		if change != nil {
			changes = append(changes, *change)
		}
		return errors.Join(writeJSON(os.Stdout, map[string]any{"schema": 1, "changes": changes, "elsewhere": preview.Elsewhere}), err)
	}
	return err
}

// refuseSetup says why the host can not be set up like this.
func refuseSetup(opt setupOptions, problems []fixes.Problem) error {
	if opt.format == formatJSON {
		if err := writeJSON(os.Stdout, map[string]any{"schema": 1, "problems": problems}); err != nil {
			return err
		}
	}
	for _, p := range problems {
		note("cannot: %s\n  do: %s", kit.Clean(p.What), kit.Clean(p.Next))
	}
	return exitStatus(statusUnknown)
}

// vipFlag is a flag that takes one address with or without a prefix length.
type vipFlag netip.Prefix

func (v *vipFlag) Type() string { return "ADDR[/LEN]" }

func (v *vipFlag) prefix() netip.Prefix { return netip.Prefix(*v) }

func (v *vipFlag) String() string {
	if !netip.Prefix(*v).IsValid() {
		return ""
	}
	return netip.Prefix(*v).String()
}

func (v *vipFlag) Set(s string) error {
	p, err := fixes.ParseVIP(s)
	if err != nil {
		return err
	}
	*v = vipFlag(p)
	return nil
}

// portsFlag is a flag that takes services, several times or separated by commas.
type portsFlag []fixes.Port

func (l *portsFlag) Type() string { return "PROTO/PORT" }

func (l *portsFlag) String() string { return joined(*l) }

func (l *portsFlag) Set(s string) error {
	for _, word := range strings.Split(s, ",") {
		port, err := fixes.ParsePort(word)
		if err != nil {
			return err
		}
		*l = append(*l, port)
	}
	return nil
}

// realServersFlag is a flag that takes RIPs with weights, several times or separated by commas.
type realServersFlag []fixes.RealServer

func (l *realServersFlag) Type() string { return "RIP[=WEIGHT]" }

func (l *realServersFlag) String() string {
	return joined(*l)
}

func (l *realServersFlag) Set(s string) error {
	for _, word := range strings.Split(s, ",") {
		rs, err := fixes.ParseRealServer(word)
		if err != nil {
			return err
		}
		*l = append(*l, rs)
	}
	return nil
}

func joined[T fmt.Stringer](list []T) string {
	words := make([]string, 0, len(list))
	for _, v := range list {
		words = append(words, v.String())
	}
	return strings.Join(words, ",")
}
