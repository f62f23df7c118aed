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
	ID:    "udp-sticky-dead-rs",
	Title: "UDP clients stay with a real server that is gone",
	Stage: lvs.SynScheduled,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS, lvs.SourceSysctls, lvs.SourceNeighbours},
	Explain: probes.Explain{
		Breaks: `UDP has no beginning and no end: for ip_vs packets from one address and port are one connection for as long as they keep coming, and 300 seconds longer. A name server, a syslog or RADIUS client that always sends from the same port stays with
its real server for ever, also when that is dead or out of the table. Every packet renews the entry, so waiting does not help.`,
		ByHand: `On the director look for UDP entries that lead to a dead real server:

    ipvsadm -Lnc | grep UDP
    ip neigh show`,
		Cure: `Let entries end with their destination, and schedule every packet anew where clients do not mind:

    sysctl -w net.ipv4.vs.expire_nodest_conn=1
    ipvsadm -E -u 172.16.0.8:53 -s rr --ops

or make entries short-lived: ipvsadm --set 0 0 10.`,
		Source: "net/netfilter/ipvs/ip_vs_proto_udp.c; ip_vs_core.c, ip_vs_in_hook: IP_VS_SVC_F_ONEPACKET.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		conns := c.Snapshot.IPVS.Connections
		if conns == nil {
			return nil
		}
		dead := map[netip.Addr]string{}
		expire, known := c.Snapshot.Sysctl("net/ipv4/vs/expire_nodest_conn")
		for _, v := range services(c) {
			if v.Protocol != lvs.UDP || v.OnePacket {
				continue
			}
			for _, d := range v.Destinations {
				if n, gone := deadNeighbour(c, d); gone {
					dead[d.Address] = n.State
				}
			}
		}
		var rips, vips []netip.Addr
		n := 0
		for _, conn := range conns.Sample {
			rip := conn.Destination.Addr()
			if conn.Protocol != lvs.UDP || dead[rip] == "" && !(known && expire == 0 && orphaned(c, conn)) {
				continue
			}
			n++
			if !slices.Contains(rips, rip) {
				rips = append(rips, rip)
			}
			if vip := conn.Virtual.Addr(); !slices.Contains(vips, vip) {
				vips = append(vips, vip)
			}
		}
		if n == 0 {
			return nil
		}
		f := c.Finding(probes.Degraded, probes.Strong, list(rips))
		about(&f, vips)
		f.Title = fmt.Sprintf("UDP clients of %s stay with %s, which is gone", list(vips), list(rips))
		f.Why = fmt.Sprintf("%d UDP entries lead to %s, which does not answer or is out of the table. Every packet of such a client renews its entry, so it is never scheduled to another real server.", n, list(rips))
		f.Evidence = append(f.Evidence, probes.Evidence{Fact: "UDP entries that lead there", Got: fmt.Sprintf("%d of the %d that were looked at", n, len(conns.Sample)), Want: "none", Command: "ipvsadm -Lnc | grep UDP"},
			probes.Evidence{Fact: "net.ipv4.vs.expire_nodest_conn", Got: fmt.Sprint(expire), Want: "1", Command: "sysctl net.ipv4.vs.expire_nodest_conn"})
		if known && expire == 0 {
			cure(&f, c.Snapshot, fixes.Plan{Title: "end entries whose destination is gone", Steps: []fixes.Step{fixes.SetSysctl{Path: "net/ipv4/vs/expire_nodest_conn", Value: "1"}}},
				"take the dead real server out of the service, so that its entries end; where clients do not mind, schedule each packet anew (ipvsadm --ops)")
		} else {
			advise(&f, c.Name(), "take the dead real server out of the service: with expire_nodest_conn=1 its entries end; where clients do not mind, schedule each packet anew (ipvsadm --ops)")
		}
		return []probes.Finding{f}
	},
})
