package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "no-route-to-vip-on-router",
	Title: "the router does not know the way to the VIP",
	Stage: lvs.VIPResolved,
	Roles: []lvs.Role{lvs.RoleRouter},
	Needs: []lvs.Source{lvs.SourceLinks, lvs.SourceAddresses},
	Explain: probes.Explain{
		Breaks: `A VIP in a subnet of its own has to be known to the router: by an address of that subnet on the segment, or by a route to a director. Else the SYN goes to the router's own default gateway, or the client is told "network
unreachable". On the director neither a SYN nor an ARP request for the VIP is ever seen.`,
		ByHand: `On the router; it has to lead to the segment of the directors:

    ip route get 172.16.0.8`,
		Cure: `Give the router a route, by way of an address that moves with the VIP:

    ip route add 172.16.0.8/32 via DIP

or an address in the VIP's subnet on that segment:

    ip addr add 172.16.0.1/24 dev eth1`,
		Source: "net/ipv4/route.c, ip_route_input_slow.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var out []probes.Finding
		for _, vip := range c.Cluster.VIPs {
			active := activeDirector(c, vip)
			if active == nil || !vip.Is4() || c.Has(vip) || anotherRouterLeads(c, vip, active) {
				continue
			}
			leg, near := legTowards(c, active)
			a := c.Asked(lvs.RouteQuery{Dst: vip})
			switch {
			case !near: // another router is between
				continue
			case a.Outcome == lvs.OutUnreachable:
			case a.Outcome == lvs.OutUnicast && a.Device != leg && a.Gateway.IsValid() && endsAt(c, a.Gateway, vip) && !sharesAnyLeg(c, active, a.Device):
			default:
				continue
			}
			f := c.Finding(probes.Outage, probes.Strong, vip.String())
			f.VIP = vip
			f.Title = fmt.Sprintf("%s does not know the way to %s", c.Name(), vip)
			f.Why = fmt.Sprintf("%s, which has %s, is on the segment of %s. This router has no route that leads there: packets for the VIP go another way (%s), or nowhere.", active.Name(), vip, leg, routeWords(a))
			f.Evidence = append(f.Evidence, routeEvidence("the way to "+vip.String(), a, "over "+leg))
			via := "DIP"
			if dip, ok := addressTowards(active, c, leg); ok {
				via = dip.String()
			}
			advise(&f, c.Name(), "a next hop that moves with the VIP is better than a director's own address", fmt.Sprintf("ip route add %s/%d via %s", vip, vip.BitLen(), via))
			out = append(out, f)
		}
		return out
	},
})

// anotherRouterLeads says that some other router at hand sends packets for the VIP to the director's segment: clients' come by that one.
func anotherRouterLeads(c *probes.Case, vip netip.Addr, active *probes.Host) bool {
	return slices.ContainsFunc(c.Cluster.With(lvs.RoleRouter), func(r *probes.Host) bool {
		a := r.Asked(lvs.RouteQuery{Dst: vip})
		return r != c.Host && r != active && a.Outcome == lvs.OutUnicast && slices.ContainsFunc(active.WireLinks(), func(l lvs.Link) bool { return shareSegment(r, a.Device, active, l.Name) })
	})
}

// endsAt says that packets for the VIP come to an end at a next hop away from the directors: it is not at hand, as the provider's router, or
// has no way on either.
func endsAt(c *probes.Case, hop, vip netip.Addr) bool {
	h := c.Cluster.Holder(hop)
	return h == nil || h.Snapshot.Addresses != nil && !h.Has(vip) && (!passesOn(h, vip) || h.Asked(lvs.RouteQuery{Dst: vip}).Outcome == lvs.OutUnreachable)
}

// legTowards is the router's device that shares a subnet with a director.
func legTowards(c *probes.Case, h *probes.Host) (string, bool) {
	for _, a := range h.Snapshot.Addresses {
		if a.Prefix.IsSingleIP() || !a.Prefix.Addr().Is4() {
			continue
		}
		if devs := c.OnLinkDevices(a.Prefix.Addr()); len(devs) > 0 {
			return devs[0], true
		}
	}
	return "", false
}

// sharesAnyLeg says that the director is reached over that device of the router too.
func sharesAnyLeg(c *probes.Case, h *probes.Host, dev string) bool {
	for _, l := range h.WireLinks() {
		if shareSegment(c.Host, dev, h, l.Name) {
			return true
		}
	}
	return false
}
