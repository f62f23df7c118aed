package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "dest-removed-blackhole",
	Title: "connections to a destination that was taken out hang",
	Stage: lvs.Established,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS, lvs.SourceSysctls},
	Explain: probes.Explain{
		Breaks: `When a destination is taken out of a service, its connections stay in the table. Their packets are dropped without a word, until the entry's time is over: fifteen minutes for an open connection.
Clients hang instead of connecting anew. keepalived and ldirectord take destinations out when a check fails, unless they are told to set the weight to 0.`,
		ByHand: `On the director look for connections to a real server that the service no longer has:

    ipvsadm -Lnc
    ipvsadm -Ln
    sysctl net.ipv4.vs.expire_nodest_conn`,
		Cure: `Let such connections end at their next packet, also in a file below /etc/sysctl.d:

    sysctl -w net.ipv4.vs.expire_nodest_conn=1

Before taking a real server out, set its weight to 0 and wait for its connections to end.`,
		Source: "net/netfilter/ipvs/ip_vs_core.c, ip_vs_in_hook: !IP_VS_DEST_F_AVAILABLE; Documentation/networking/ipvs-sysctl.rst.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		expire, known := c.Snapshot.Sysctl("net/ipv4/vs/expire_nodest_conn")
		conns := c.Snapshot.IPVS.Connections
		if conns == nil || known && expire != 0 || len(services(c)) == 0 {
			return nil
		}
		var gone []netip.Addr
		var vips []netip.Addr
		n := 0
		for _, conn := range conns.Sample {
			if conn.State != "ESTABLISHED" && conn.State != "SYN_RECV" || !orphaned(c, conn) {
				continue // an entry that is on its way out anyway hurts nobody
			}
			n++
			if !slices.Contains(gone, conn.Destination.Addr()) {
				gone = append(gone, conn.Destination.Addr())
			}
			if vip := conn.Virtual.Addr(); !slices.Contains(vips, vip) {
				vips = append(vips, vip)
			}
		}
		if n == 0 {
			return nil
		}
		if !known {
			c.CannotTell(lvs.SourceSysctls)
			return nil
		}
		f := c.Finding(probes.Degraded, probes.Certain, list(gone))
		about(&f, vips)
		f.Title = fmt.Sprintf("connections to %s, which was taken out, hang", list(gone))
		f.Why = fmt.Sprintf("The connection table has open connections to %s, which is no destination of their service any more. With expire_nodest_conn=0 ip_vs drops their packets silently, so these clients hang until the "+
			"entries end by themselves.", list(gone))
		f.Evidence = append(f.Evidence,
			probes.Evidence{Fact: "open connections to a destination that is gone", Got: fmt.Sprintf("%d of the %d that were looked at", n, len(conns.Sample)), Want: "none", Command: "ipvsadm -Lnc"},
			probes.Evidence{Fact: "net.ipv4.vs.expire_nodest_conn", Got: fmt.Sprint(expire), Want: "1", Command: "sysctl net.ipv4.vs.expire_nodest_conn"})
		cure(&f, c.Snapshot, fixes.Plan{Title: "end connections whose destination is gone", Steps: []fixes.Step{fixes.SetSysctl{Path: "net/ipv4/vs/expire_nodest_conn", Value: "1"}}})
		return []probes.Finding{f}
	},
})

// orphaned says that the connection's service is there, and its destination is not among the service's. A service by mark may be anybody's.
func orphaned(c *probes.Case, conn lvs.Connection) bool {
	found := false
	for _, v := range services(c) {
		if v.FWMark != 0 {
			return false
		}
		if v.Protocol != conn.Protocol || v.Address != conn.Virtual.Addr() || v.Port != 0 && v.Port != conn.Virtual.Port() {
			continue
		}
		found = true
		if slices.ContainsFunc(v.Destinations, func(d lvs.Destination) bool { return d.Address == conn.Destination.Addr() }) {
			return false
		}
	}
	return found
}
