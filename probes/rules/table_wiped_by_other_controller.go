package rules

import (
	"fmt"
	"slices"

	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "table-wiped-by-other-controller",
	Title: "two programs keep one table of virtual services",
	Stage: lvs.SynScheduled,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS, lvs.SourceOwners, lvs.SourceLinks},
	Explain: probes.Explain{
		Breaks: `kube-proxy in ipvs mode, kube-router and others take the whole table for theirs: what they do not know they delete, every few seconds. A service that keepalived or a person added works for a moment and is gone; clients are refused by the
director itself.`,
		ByHand: `Add a service and watch it vanish:

    watch -n1 ipvsadm -Ln
    pgrep -a 'kube-proxy|kube-router|keepalived|ldirectord'`,
		Cure: `Tell kube-proxy to leave the VIPs alone, in its configuration, or run the two on different hosts or in different network namespaces:

    ipvs:
      excludeCIDRs: ["172.16.0.8/32"]`,
		Source: "pkg/proxy/ipvs/proxier.go of Kubernetes, cleanLegacyService.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		_, own := owner(c.Snapshot, "keepalived", "ldirectord", "ipvsadm.service", "pacemakerd")
		other, wipes := owner(c.Snapshot, "kube-router")
		if o, ok := owner(c.Snapshot, "kube-proxy"); ok && slices.ContainsFunc(c.Snapshot.Links, func(l lvs.Link) bool { return l.Name == "kube-ipvs0" }) {
			other, wipes = o, true // in ipvs mode: it has made its device
		}
		if !own || !wipes {
			return nil
		}
		mine, _ := owner(c.Snapshot, "keepalived", "ldirectord", "ipvsadm.service", "pacemakerd")
		f := c.Finding(probes.Hazard, probes.Hint, mine.Name+" and "+other.Name)
		f.Title = fmt.Sprintf("%s and %s both keep the table of %s", mine.Name, other.Name, c.Name())
		f.Why = fmt.Sprintf("%s takes the whole ip_vs table for its own and deletes services that it does not know, unless it is told to leave them (excludeCIDRs). What %s adds may vanish within seconds.", other.Name, mine.Name)
		f.Evidence = append(f.Evidence, probes.Evidence{Fact: "who keeps the table", Got: mine.Evidence + "; " + other.Evidence, Want: "one of them, or VIPs that the other one leaves alone", Command: "watch -n1 ipvsadm -Ln"})
		advise(&f, c.Name(), "exclude the VIPs in "+other.File+", or keep the two apart")
		return []probes.Finding{f}
	},
})
