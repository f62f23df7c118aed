package rules

import (
	"fmt"
	"net/netip"

	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:        "rs-rp-filter",
	Title:     "a real server drops the SYN by its reverse path filter",
	Stage:     lvs.SynAccepted,
	Roles:     []lvs.Role{lvs.RoleRealServer},
	Needs:     []lvs.Source{lvs.SourceLinks, lvs.SourceAddresses, lvs.SourceSysctls},
	DependsOn: []string{"rs-no-route-to-client"},
	Explain: probes.Explain{
		Breaks: `The director delivers the client's SYN on one card of the real server, and the route back to the client leaves by another one.
With rp_filter=1 the kernel takes such a packet for forged and drops it without a word. A capture on the real server shows the SYN and
nothing else; the client times out.`,
		ByHand: `On the real server, with a client's address and the card that the SYN arrives on:

    ip route get 172.16.0.8 from 188.88.88.10 iif eth0
    sysctl net.ipv4.conf.all.rp_filter net.ipv4.conf.eth0.rp_filter
    nstat -az TcpExtIPReversePathFilter

The first must say "local". Of the two values the larger counts: with all=1, setting eth0 to 0 changes nothing.`,
		Cure: `Loosen the filter on that card; the larger value counts, and 2 is the loose one:

    sysctl -w net.ipv4.conf.eth0.rp_filter=2

or let answers from the VIP leave by the card that requests come in on:

    ip rule add from 172.16.0.8/32 lookup 100
    ip route add default via ROUTER dev eth0 table 100`,
		Source: "net/ipv4/fib_frontend.c, __fib_validate_source; include/linux/inetdevice.h, IN_DEV_RPFILTER.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var out []probes.Finding
		vips, weight := drVIPs(c)
		for _, vip := range vips {
			if local, known := vipLocal(c, vip); !known || !local {
				continue
			}
			for _, f := range rsRPFilter(c, vip) {
				if weight[vip] == 0 {
					f.Severity = probes.Hazard
				}
				out = append(out, f)
			}
		}
		return out
	},
})

// rsRPFilter judges the devices on which SYNs are known to arrive. Where none is known nothing is said: a second card for
// management refuses clients' addresses on most hosts, and rightly.
func rsRPFilter(c *probes.Case, vip netip.Addr) []probes.Finding {
	clients, assumed := judgedClients(c, vip)
	var out []probes.Finding
	for _, dev := range arrivalDevices(c, vip) {
		var refused []lvs.RouteAnswer
		for _, client := range clients {
			a := c.Asked(lvs.RouteQuery{Dst: vip, Src: client, Iif: dev})
			switch {
			case a.Outcome == lvs.OutUnknown:
				cannotRoute(c)
			case a.Outcome == lvs.OutRejected && leavesElsewhere(c, vip, client, dev):
				refused = append(refused, a)
			}
		}
		if len(refused) > 0 && !servedNow(c, vip) {
			out = append(out, filteredOn(c, vip, dev, refused, len(clients), assumed))
		}
	}
	return out
}

// leavesElsewhere tells whether the answer to a client leaves by another device, or other hop, than dev: that is what strict filtering is about.
func leavesElsewhere(c *probes.Case, vip, client netip.Addr, dev string) bool {
	e := c.Snapshot.Effective(dev, "rp_filter")
	if !e.Known {
		c.CannotTell(lvs.SourceSysctls)
		return false
	}
	a := reply(c, vip, client)
	return e.Value == 1 && a.Outcome == lvs.OutUnicast && a.Device != dev
}

func filteredOn(c *probes.Case, vip netip.Addr, dev string, refused []lvs.RouteAnswer, all int, assumed bool) probes.Finding {
	counted := c.Counter("TcpExt.IPReversePathFilter")
	severity, certainty := probes.Outage, probes.Certain
	switch {
	case assumed: // the counter proves nothing: where there are two cards something is always dropped
		severity, certainty = probes.Hazard, probes.Strong
	case len(refused) < all:
		severity = probes.Degraded
	}
	back := reply(c, vip, refused[0].Src)
	f := c.Finding(severity, certainty, fmt.Sprintf("%s on %s", vip, dev))
	f.VIP = vip
	f.Title = fmt.Sprintf("%s drops SYNs for %s on %s by reverse path", c.Name(), vip, dev)
	f.Why = fmt.Sprintf("SYNs for %s arrive on %s, but the route back to %s leaves by %s. With rp_filter=1 on %s the kernel drops them as forged before any program "+
		"or packet filter rule sees them.", vip, dev, refused[0].Src, back.Device, dev)
	f.Evidence = append(f.Evidence,
		routeEvidence("a SYN from "+refused[0].Src.String()+" on "+dev, refused[0], "delivered to this host"),
		routeEvidence("the way back", back, "by "+dev),
		sysctlEvidence(c.Snapshot, dev, "rp_filter", "2 or 0"))
	if counted > 0 {
		f.Evidence = append(f.Evidence, probes.Evidence{Fact: "packets dropped by reverse path since boot", Got: fmt.Sprint(counted), Want: "not rising", Command: "nstat -az TcpExtIPReversePathFilter"})
	}
	cure(&f, c.Snapshot, fixes.Plan{Title: "reverse path filter of " + dev + " loose", Steps: []fixes.Step{
		fixes.SetSysctl{Path: lvs.ConfPath(dev, "rp_filter"), Value: "2"}}})
	return f
}
