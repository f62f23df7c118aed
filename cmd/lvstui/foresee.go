package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
	"lvstui/probes/active"
	"lvstui/ui/kit"
)

// inTheWay are findings that would keep clients from being served once the plan is done, by what this host alone can tell: a packet
// filter, or somebody's sysctl. Setting up takes away nothing of that kind.
func inTheWay(plan fixes.Plan, s *lvs.Snapshot, role lvs.Role, vip netip.Addr) []probes.Finding {
	after, err := plan.After(s)
	if err != nil {
		return nil
	}
	report := diagnose([]probes.Observation{{Snapshot: after}}, checkOptions{vips: addrs{vip}, roles: roles{role}})
	return slices.DeleteFunc(report.Findings, func(f probes.Finding) bool {
		return f.Severity != probes.Outage || f.Certainty == probes.Hint || f.Host != s.Host || f.ID == "service-not-listening-on-vip" // said beside the plan
	})
}

// sayInTheWay says what is left to do before clients are served.
func sayInTheWay(found []probes.Finding) {
	for _, f := range found {
		note("still in the way then: %s", kit.Clean(f.Title))
		switch {
		case f.Fix != nil && f.Fix.Automatic:
			note("  do: lvstui fix %s", f.ID)
		case f.Fix != nil && f.Fix.Words != "":
			note("  do: %s", kit.Clean(f.Fix.Words))
		default:
			note("  do: lvstui explain %s", f.ID)
		}
	}
}

// askWhoHasVIP asks the segment, as everybody has to who takes an address (RFC 5227, 2.1), and writes what came of it into the snapshot. Without the
// capability nobody is asked, and what the neighbour table knows has to do.
func askWhoHasVIP(ctx context.Context, plan fixes.Plan, s *lvs.Snapshot) error {
	if !slices.Contains(s.Capabilities, "CAP_NET_RAW") {
		return nil
	}
	for _, st := range plan.Steps {
		announce, ok := st.(fixes.Announce)
		if !ok {
			continue
		}
		note("asking whether somebody has %s on %s already …", announce.Address, announce.Device)
		p := active.Prepare(s, []active.Test{active.ARP}, active.Options{VIPs: []netip.Addr{announce.Address}, Interfaces: []string{announce.Device}})
		return thisMachine(func() (err error) {
			if s.Probed, err = p.Run(ctx); err != nil {
				err = fmt.Errorf("ask who has %s: %w", announce.Address, err)
			}
			return err
		})
	}
	return nil
}
