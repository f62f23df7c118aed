package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lvstui/lvs"
	"lvstui/probes"
	"lvstui/probes/active"
	"lvstui/probes/rules"
)

type checkOptions struct {
	format     format
	vips       addrs
	roles      roles
	from       []string
	listen     time.Duration
	interfaces []string
	probe      []string
	gateway    addrs  // one
	root       string // what configuration files are below, "" for /
}

func newCheck() *cobra.Command {
	opt := checkOptions{format: formatText}
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Diagnose this host once",
		Long: "check looks at this host, or at the hosts recorded in snapshot files, and says what is wrong.\n\n" +
			"Looking sends nothing. --probe does, and says on standard error what it sends before it does: arp asks who has the\n" +
			"VIP, in a way that misleads nobody, and counts the MACs that answer; dsr sends a SYN for the VIP to every real\n" +
			"server's MAC and tells who takes it, past the table, the weights and the scheduler. Both need CAP_NET_RAW.\n\n" +
			"Exit status: 0 nothing wrong, 1 warning, 2 broken, 3 could not tell or wrong usage.",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && len(opt.from) == 0 {
				return withHint(fmt.Errorf("check takes no argument %q", args[0]), "lvstui check --from %s", args[0])
			}
			opt.from = append(opt.from, args...)
			return runCheck(cmd.Context(), opt)
		},
	}
	f := cmd.Flags()
	f.Var(&opt.format, "format", "text for people, json for programs")
	f.Var(&opt.vips, "vip", "a virtual address that this host is to serve")
	f.Var(&opt.roles, "role", "what this host is: client, router, director, real-server")
	f.StringArrayVar(&opt.from, "from", nil, "judge this snapshot instead of this host; several are judged together, the first is the one asked about")
	f.DurationVar(&opt.listen, "flows", 0, "listen to the handshakes for that long as well, such as 10s")
	f.StringArrayVarP(&opt.interfaces, "interface", "i", nil, "listen, and send what --probe sends, on this interface only")
	f.StringSliceVar(&opt.probe, "probe", nil, "active tests: arp (who answers for the VIP), dsr (does each real server take the VIP's connections)")
	return cmd
}

func runCheck(ctx context.Context, opt checkOptions) error {
	if opt.listen < 0 {
		return fmt.Errorf("--flows %s: a time to listen cannot be negative", opt.listen)
	}
	if len(opt.from) > 0 && opt.listen > 0 {
		return withHint(fmt.Errorf("--flows listens on this host, --from judges recorded ones: not both"), "lvstui flows --read FILE")
	}
	tests, err := active.Parse(opt.probe)
	if err != nil {
		return withHint(err, "lvstui check --probe arp,dsr")
	}
	if len(tests) > 0 && len(opt.from) > 0 {
		return withHint(errors.New("--probe sends from this host, --from judges recorded ones: not both"), "lvstui check --probe %s", strings.Join(opt.probe, ","))
	}
	observed, err := observe(ctx, opt)
	if err != nil {
		return err
	}
	if len(tests) > 0 {
		if err := probe(ctx, observed[0].Snapshot, tests, opt); err != nil {
			return err
		}
	}
	report := probes.Diagnose(rules.All(), observed, probes.Options{VIPs: opt.vips, Roles: opt.roles})
	if opt.format == formatJSON {
		err = writeJSON(os.Stdout, report)
	} else {
		var b bytes.Buffer
		printReport(&b, report)
		printNext(&b, report, opt)
		err = writeAll(os.Stdout, b.Bytes())
	}
	if err != nil {
		return err
	}
	if code := report.Verdict.ExitStatus(); code != 0 {
		return exitStatus(code)
	}
	return nil
}

// observe gives what check judges: recorded hosts, or this one.
func observe(ctx context.Context, opt checkOptions) ([]probes.Observation, error) {
	if len(opt.from) > 0 {
		var out []probes.Observation
		for _, name := range opt.from {
			s, err := loadSnapshot(name)
			if err != nil {
				return nil, err
			}
			out = append(out, probes.Observation{Snapshot: s})
		}
		return out, nil
	}
	if opt.listen == 0 {
		s, err := thisHost{vips: opt.vips, root: opt.root}.look(ctx)
		return []probes.Observation{{Snapshot: s}}, err
	}
	return listenAndLook(ctx, opt)
}

// listenAndLook follows the handshakes first and looks afterwards, so that the routes are asked for the clients that were seen
// and the counters have moved.
func listenAndLook(ctx context.Context, opt checkOptions) ([]probes.Observation, error) {
	before, err := look(ctx, opt.vips, nil)
	if err != nil {
		return nil, err
	}
	ear, err := openEar(before, opt.interfaces)
	if err != nil {
		s := before.Clone()
		s.Gaps = append(s.Gaps, lvs.Gap{Source: lvs.SourceCapture, Reason: err.Error(), Capability: "CAP_NET_RAW"})
		return []probes.Observation{{Snapshot: s}}, nil
	}
	listenCtx, cancel := context.WithTimeout(ctx, opt.listen)
	defer cancel()
	note("listening for %s …", opt.listen)
	if err := ear.run(listenCtx); err != nil {
		return nil, err
	}
	after, err := look(ctx, opt.vips, clientsOf(ear.flows()))
	if err != nil {
		return nil, err
	}
	return []probes.Observation{ear.observation(after, 0)}, nil
}
