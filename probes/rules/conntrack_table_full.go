package rules

import (
	"fmt"
	"slices"

	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "conntrack-table-full",
	Title: "the table of tracked connections is full",
	Stage: lvs.SynScheduled,
	Roles: []lvs.Role{lvs.RoleDirector, lvs.RoleRealServer},
	Needs: []lvs.Source{lvs.SourceSysctls},
	Explain: probes.Explain{
		Breaks: `Where the packet filter tracks connections every new one needs an entry. When the table is full the packet is dropped in PREROUTING, before ip_vs or a socket gets it. Under load
some clients get through and some time out. On a director the entries are of no use for what ip_vs forwards.`,
		ByHand: `Compare the two, and look for "table full" in the kernel's log:

    sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max
    dmesg | grep nf_conntrack`,
		Cure: `Make the table larger:

    sysctl -w net.netfilter.nf_conntrack_max=262144

or keep the VIP out of connection tracking, with a notrack rule in the raw table, and accept it in the filter.`,
		Source: "net/netfilter/nf_conntrack_core.c, __nf_conntrack_alloc.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		count, ok1 := c.Snapshot.Sysctl("net/netfilter/nf_conntrack_count")
		limit, ok2 := c.Snapshot.Sysctl("net/netfilter/nf_conntrack_max")
		if !ok1 || !ok2 || limit <= 0 || count < limit-limit/10 { // absent: nothing is tracked
			return nil
		}
		severity, certainty, state := probes.Hazard, probes.Strong, "nearly full"
		if count >= limit {
			severity, certainty, state = probes.Degraded, probes.Certain, "full"
		}
		if certainty == probes.Certain && untracks(c.Snapshot.Netfilter) {
			severity, certainty = probes.Hazard, probes.Hint // perhaps not for the VIP
		}
		f := c.Finding(severity, certainty, "nf_conntrack")
		f.Title = fmt.Sprintf("the connection tracking table of %s is %s", c.Name(), state)
		f.Why = fmt.Sprintf("%d of %d entries are in use. When there is none left, a packet that opens a connection is dropped before ip_vs or a socket gets it, so clients time out now and then.", count, limit)
		if !c.Is(lvs.RoleDirector) {
			f.Stage = lvs.SynAccepted
		}
		f.Evidence = append(f.Evidence, probes.Evidence{Fact: "tracked connections", Got: fmt.Sprintf("%d of %d", count, limit), Want: "well below",
			Command: "sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max"})
		if n := c.Counter("nf_conntrack.drop"); n > 0 {
			f.Evidence = append(f.Evidence, probes.Evidence{Fact: "packets dropped for want of an entry since boot", Got: fmt.Sprint(n), Want: "not rising", Command: "cat /proc/net/stat/nf_conntrack"})
		}
		advise(&f, c.Name(), "make the table larger, also in the file that is loaded at boot, or keep the VIP out of connection tracking",
			fmt.Sprintf("sysctl -w net.netfilter.nf_conntrack_max=%d", 2*limit))
		if limit <= maxConntrack/2 { // each entry takes about 320 bytes
			cureIfPossible(&f, c.Snapshot, fixes.Plan{Title: "twice as many tracked connections",
				Steps: []fixes.Step{fixes.SetSysctl{Path: "net/netfilter/nf_conntrack_max", Value: fmt.Sprint(2 * limit)}}})
		}
		return []probes.Finding{f}
	},
})

// maxConntrack is the largest table that a plan makes.
const maxConntrack = 1 << 20

// untracks says that some packets are kept out of connection tracking, or that nobody knows.
func untracks(nf *lvs.Netfilter) bool {
	return nf == nil || slices.ContainsFunc(nf.Chains, func(ch lvs.Chain) bool {
		return slices.ContainsFunc(ch.Rules, func(r lvs.FilterRule) bool { return r.Verdict == "notrack" })
	})
}
