package rules

import (
	"fmt"
	"net/netip"

	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "proxy-arp-steals-vip",
	Title: "a host answers ARP for the VIP in the director's place",
	Stage: lvs.VIPResolved,
	Roles: []lvs.Role{lvs.RoleRouter, lvs.RoleRealServer, lvs.RoleDirector, lvs.RoleClient},
	Needs: []lvs.Source{lvs.SourceLinks, lvs.SourceAddresses, lvs.SourceSysctls},
	Explain: probes.Explain{
		Breaks: `With proxy_arp a host answers ARP requests for every address to which it has a route by another card. When its route to the VIP leads out of another card than the one on the director's segment, it
answers for the VIP there as well as the director. Whoever believes it sends its packets to the wrong host.`,
		ByHand: `From a third host on the segment see how many MACs answer, and on the suspect:

    arping -I eth0 172.16.0.8
    sysctl net.ipv4.conf.all.proxy_arp net.ipv4.conf.eth0.proxy_arp
    ip route get 172.16.0.8
    ip neigh show proxy`,
		Cure: `Switch it off, on "all" and on the card; of the two either is enough to have it on:

    sysctl -w net.ipv4.conf.all.proxy_arp=0
    sysctl -w net.ipv4.conf.eth0.proxy_arp=0`,
		Source: "net/ipv4/arp.c, arp_fwd_proxy; include/linux/inetdevice.h, IN_DEV_PROXY_ARP.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var out []probes.Finding
		for _, k := range claims(c) {
			if k.kind == aRouter && !k.isStranger(c) {
				out = append(out, proxyHeard(c, k))
			}
		}
		if !c.Is(lvs.RoleRouter) && !c.Is(lvs.RoleRealServer) {
			return out
		}
		for _, ref := range holders(c) {
			for _, l := range addressedLinks(c.Host) {
				if !shareSegment(ref.director, ref.device, c.Host, l.Name) {
					continue
				}
				proxy, forwarding := c.Snapshot.Effective(l.Name, "proxy_arp"), c.Snapshot.Effective(l.Name, "forwarding")
				if !proxy.Known || !forwarding.Known {
					c.CannotTell(lvs.SourceSysctls)
					continue
				}
				if proxy.Value == 0 || forwarding.Value == 0 {
					continue
				}
				a := c.Asked(lvs.RouteQuery{Dst: ref.vip})
				if a.Outcome == lvs.OutUnicast && a.Device != l.Name {
					out = append(out, proxies(c, ref, l.Name, a, proxy))
				}
			}
		}
		return out
	},
})

// holder is a director at hand with a VIP on the wire.
type holder struct {
	director *probes.Host
	vip      netip.Addr
	device   string
}

// holders are the directors at hand that answer for a VIP which this host does not have.
func holders(c *probes.Case) []holder {
	var out []holder
	for _, vip := range c.Cluster.VIPs {
		if !vip.Is4() || c.Has(vip) || len(out) >= 64 {
			continue
		}
		for _, d := range c.Cluster.With(lvs.RoleDirector) {
			for _, a := range d.HoldsOnWire(vip) {
				if d != c.Host {
					out = append(out, holder{d, vip, a.Device})
				}
			}
		}
	}
	return out
}

func proxies(c *probes.Case, h holder, dev string, a lvs.RouteAnswer, e lvs.Effective) probes.Finding {
	f := c.Finding(probes.Degraded, probes.Strong, fmt.Sprintf("%s on %s", h.vip, dev))
	f.VIP = h.vip
	f.Title = fmt.Sprintf("%s answers ARP for %s in the place of %s", c.Name(), h.vip, h.director.Name())
	f.Why = fmt.Sprintf("proxy_arp is on for %s, on the segment where %s has %s, and this host's own route to it is %s. So it answers for the VIP on %s as well, and whoever believes it sends its packets here.",
		dev, h.director.Name(), h.vip, routeWords(a), dev)
	f.Evidence = append(f.Evidence, sysctlEvidence(c.Snapshot, dev, "proxy_arp", "0"), routeEvidence("the way from here to the VIP", a, "directly on "+dev))
	plan := fixes.Plan{Title: "no proxy ARP on " + dev}
	for _, part := range []struct {
		dev   string
		value int
	}{{"all", e.All}, {dev, e.Iface}} {
		if part.value != 0 {
			plan.Steps = append(plan.Steps, fixes.SetSysctl{Path: lvs.ConfPath(part.dev, "proxy_arp"), Value: "0"})
		}
	}
	cure(&f, c.Snapshot, plan, "on the director: arping -U -I "+h.device+" -c 3 "+h.vip.String())
	return f
}

// proxyHeard is the finding from elsewhere: the router was heard to answer.
func proxyHeard(c *probes.Case, k claim) probes.Finding {
	f := claimFinding(c, k, probes.Strong)
	f.Title = fmt.Sprintf("the router %s answers ARP for %s too", k.host, k.vip)
	f.Why = fmt.Sprintf("%s, a router of this host's, was heard to answer for %s, which %s has. It does so when proxy ARP is on and its own route to the VIP leads elsewhere, or when it has the address itself. Whoever believes it sends its packets there.", k.host, k.vip, k.rival)
	advise(&f, k.host, "switch proxy ARP off there, or take the address away; then, on the director, arping -U -I IFACE -c 3 "+k.vip.String(), "sysctl net.ipv4.conf.all.proxy_arp", "ip route get "+k.vip.String())
	return f
}
