package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "fwmark-no-local-route",
	Title: "marked packets are not for the director",
	Stage: lvs.SynScheduled,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS, lvs.SourceLinks, lvs.SourceAddresses},
	Explain: probes.Explain{
		Breaks: `A virtual service by firewall mark takes packets whatever their address, but only such as are for this host: ip_vs hooks in where packets are delivered. A director without the VIP needs a policy
rule and a local route that make marked packets local. Without them the packet is forwarded or dropped, and ip_vs is never asked. The rule is easily lost when something else rewrites the policy
database.`,
		ByHand: `On the director, with a client's address, the card and the mark; it must say "local":

    ip route get 172.16.0.8 from 188.88.88.10 iif eth0 mark 7
    ip rule show
    ip route show table 100`,
		Cure: `Make marked packets local:

    ip rule add fwmark 7 lookup 100
    ip route add local 0.0.0.0/0 dev lo table 100

and write both where they are applied at boot. Or give the director the VIP.`,
		Source: "net/netfilter/ipvs/ip_vs_core.c, ip_vs_ops4: NF_INET_LOCAL_IN.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var out []probes.Finding
		for _, v := range services(c) {
			if v.FWMark == 0 || v.IPv6 {
				continue
			}
			for _, vip := range markedVIPs(c, v) {
				if f, ok := markedNotLocal(c, v, vip); ok {
					out = append(out, f)
				}
			}
		}
		return out
	},
})

// markedVIPs are the addresses that the service is for, as far as anybody says: the operator, or the only rule that marks packets where there is
// only one such service.
func markedVIPs(c *probes.Case, v lvs.Service) []netip.Addr {
	var out []netip.Addr
	add := func(ip netip.Addr) {
		if ip.Is4() && !slices.Contains(out, ip) {
			out = append(out, ip)
		}
	}
	if c.Cluster.Hosts[0] == c.Host {
		for _, vip := range c.Cluster.Options.VIPs {
			if !ownsService(c.Host, vip) {
				add(vip)
			}
		}
	}
	alone := !slices.ContainsFunc(services(c), func(o lvs.Service) bool { return o.FWMark != 0 && o.FWMark != v.FWMark })
	if c.Snapshot.Netfilter == nil || !alone {
		return out
	}
	for _, ch := range c.Snapshot.Netfilter.Chains {
		for _, r := range ch.Rules {
			if ch.Hook != "prerouting" || r.Verdict != "mark" {
				continue
			}
			for _, m := range r.Matches {
				if m.Field == "ip daddr" && !m.Negate && m.Set == "" && len(m.Values) == 1 {
					if p, err := netip.ParsePrefix(m.Values[0]); err == nil && p.IsSingleIP() {
						add(p.Addr())
					} else if ip, err := netip.ParseAddr(m.Values[0]); err == nil {
						add(ip)
					}
				}
			}
		}
	}
	return out
}

func markedNotLocal(c *probes.Case, v lvs.Service, vip netip.Addr) (probes.Finding, bool) {
	// A director in reserve has neither the VIP nor, sometimes, the rule.
	if local, known := vipLocal(c, vip); local || !known || c.Served(vip) || asStandby(c) && !arrivesHere(c, vip) {
		return probes.Finding{}, false
	}
	clients, _ := c.ClientsOf(vip)
	devices, _ := arrivals(c, vip)
	var lost lvs.RouteAnswer
	for _, dev := range devices {
		for _, client := range clients {
			switch a := c.Asked(lvs.RouteQuery{Dst: vip, Src: client, Iif: dev, Mark: v.FWMark}); a.Outcome {
			case lvs.OutLocal:
				return probes.Finding{}, false
			case lvs.OutUnicast, lvs.OutUnreachable:
				lost = a
			case lvs.OutUnknown:
				cannotRoute(c)
				return probes.Finding{}, false
			}
		}
	}
	if lost.Outcome == "" {
		return probes.Finding{}, false
	}
	f := c.Finding(probes.Outage, probes.Strong, fmt.Sprintf("%s by mark %d", vip, v.FWMark))
	f.VIP = vip
	f.Title = fmt.Sprintf("%s does not take packets for %s with mark %d as its own", c.Name(), vip, v.FWMark)
	f.Why = fmt.Sprintf("The virtual service is by mark %d, and %s is no address of this host. Packets with the mark are not routed to it as local (%s), so they never come where ip_vs takes them.", v.FWMark, vip, routeWords(lost))
	f.Evidence = append(f.Evidence, routeEvidence(fmt.Sprintf("a SYN from %s with mark %d", lost.Src, v.FWMark), lost, "delivered to this host"),
		probes.Evidence{Fact: "policy rules for the mark", Got: markRules(c, v.FWMark), Want: "one that leads to a local route", Command: "ip rule show"})
	advise(&f, c.Name(), "make marked packets local, and write both lines where they are applied at boot",
		fmt.Sprintf("ip rule add fwmark %d lookup 100", v.FWMark), "ip route add local 0.0.0.0/0 dev lo table 100")
	return f, true
}

func markRules(c *probes.Case, mark uint32) string {
	var out []string
	for _, r := range c.Snapshot.PolicyRules {
		if r.Mask != 0 && r.Mark == mark&r.Mask {
			out = append(out, fmt.Sprintf("lookup %d", r.Table))
		}
	}
	if len(out) == 0 {
		return "none"
	}
	return listWords(out)
}
