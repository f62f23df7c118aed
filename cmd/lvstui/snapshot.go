package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/spf13/cobra"

	"lvstui/lvs"
	"lvstui/probes/collect"
)

func newSnapshot() *cobra.Command {
	var vips, clients addrs
	redact := false
	form := formatJSON
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "Write the facts of this host as JSON",
		Long: "snapshot writes what lvstui sees of this host to standard output, to be judged elsewhere:\n" +
			"lvstui check --from FILE, or lvstui --from FILE.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := look(cmd.Context(), vips, clients)
			if err != nil {
				return err
			}
			if redact {
				s = collect.Redact(s)
			}
			for _, g := range s.Gaps {
				note("could not look at %s: %s", g.Source, g.Reason)
			}
			return writeJSON(os.Stdout, s)
		},
	}
	cmd.Flags().Var(&vips, "vip", "a virtual address that this host is to serve")
	cmd.Flags().Var(&clients, "client", "ask the routes for this client as well")
	cmd.Flags().BoolVar(&redact, "redact", false, "replace host names, public addresses and MACs, equal ones by equal ones")
	cmd.Flags().Var(&form, "format", "how it is written: json, and nothing else")
	return cmd
}

// look reads this host. It changes nothing.
func look(ctx context.Context, vips, clients []netip.Addr) (*lvs.Snapshot, error) {
	s, err := collect.Collect(ctx, collect.Options{VIPs: vips, Clients: clients})
	if err != nil {
		return nil, fmt.Errorf("looking at this host: %w", err)
	}
	return s, nil
}

// loadSnapshot reads a snapshot file, "-" for standard input.
func loadSnapshot(name string) (*lvs.Snapshot, error) {
	in := os.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, withHint(fmt.Errorf("cannot read the snapshot: %w", err), "lvstui snapshot > FILE, on the host itself")
		}
		defer f.Close()
		in = f
	}
	s, err := collect.Load(in)
	if err != nil {
		hint := "lvstui snapshot > FILE, on the host itself"
		if errors.Is(err, collect.ErrCapture) {
			hint = fmt.Sprintf("lvstui flows --read %s, or with the screen lvstui --from %s", name, name)
		}
		return nil, withHint(fmt.Errorf("%s: %w", name, err), "%s", hint)
	}
	return s, nil
}
