package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "static-vip-route-to-dead-director",
	Title: "the router routes the VIP to a director that does not have it",
	Stage: lvs.VIPResolved,
	Roles: []lvs.Role{lvs.RoleRouter},
	Needs: []lvs.Source{lvs.SourceLinks, lvs.SourceAddresses},
	Explain: probes.Explain{
		Breaks: `Where the router has a route for the VIP by way of one director's own address, nobody asks for the VIP by ARP, which is clean. But at a failover the VIP moves and that route does not: the router goes on sending SYNs to the
director that has lost it. The new one sees none.`,
		ByHand: `On the router, and then on the host that has that gateway:

    ip route get 172.16.0.8
    ip -o address show to 172.16.0.8`,
		Cure: `Route the VIP by way of an address that moves with it, such as a second virtual address of keepalived in the directors' subnet. By hand, for now:

    ip route replace 172.16.0.8/32 via DIP-OF-THE-ACTIVE-DIRECTOR

Or have the directors announce the VIP (BGP, OSPF).`,
		Source: "net/ipv4/route.c: the next hop of a static route does not move.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var out []probes.Finding
		for _, vip := range c.Cluster.VIPs {
			a, certainty := clientsWay(c, vip)
			if a.Outcome != lvs.OutUnicast || !a.Gateway.IsValid() {
				continue
			}
			hop := c.Cluster.Holder(a.Gateway)
			if hop == nil || hop == c.Host || hop.Snapshot.Addresses == nil || hop.Has(vip) || passesOn(hop, vip) {
				continue
			}
			active := activeDirector(c, vip)
			if active == nil || active == hop {
				continue
			}
			if leg, near := legTowards(c, active); near && leg != a.Device {
				continue // it leads away from the directors: no-route-to-vip-on-router
			}
			f := c.Finding(probes.Outage, certainty, vip.String())
			f.VIP = vip
			f.Title = fmt.Sprintf("%s sends packets for %s to %s, and %s has it", c.Name(), vip, hop.Name(), active.Name())
			f.Why = fmt.Sprintf("The route for %s leads by way of %s, an address of %s. That host does not have the VIP; %s has. So clients' SYNs go where nobody takes them.", vip, a.Gateway, hop.Name(), active.Name())
			f.Evidence = append(f.Evidence, routeEvidence("the way to "+vip.String(), a, "by way of an address that moves with the VIP"),
				probes.Evidence{Fact: "who has " + vip.String(), Got: active.Name(), Want: hop.Name() + ", or a route that leads to " + active.Name(), Command: "ip -o address show to " + vip.String()})
			commands := []string{}
			if dip, ok := addressTowards(active, c, a.Device); ok {
				commands = append(commands, fmt.Sprintf("ip route replace %s/%d via %s", vip, vip.BitLen(), dip))
			}
			advise(&f, c.Name(), "route the VIP by way of an address that moves with it", commands...)
			out = append(out, f)
		}
		return out
	},
})

// clientsWay is the way on which this router sends what clients send to the VIP. Its own packets need not go the same way: where policy
// rules can tell the two apart it takes a client to ask about, and without one there is no answer.
func clientsWay(c *probes.Case, vip netip.Addr) (lvs.RouteAnswer, probes.Certainty) {
	own := c.Asked(lvs.RouteQuery{Dst: vip})
	if c.Snapshot.PolicyRules == nil {
		return own, probes.Strong
	}
	if !slices.ContainsFunc(c.Snapshot.PolicyRules, func(r lvs.PolicyRule) bool { return divides(r, vip) }) {
		return own, probes.Certain
	}
	for _, client := range clientsAnywhere(c, vip) {
		from := c.Asked(lvs.RouteQuery{Dst: client})
		if from.Outcome != lvs.OutUnicast {
			continue
		}
		if a := c.Asked(lvs.RouteQuery{Dst: vip, Src: client, Iif: from.Device}); a.Outcome == lvs.OutUnicast {
			return a, probes.Strong // it may come in elsewhere, or marked
		}
	}
	return lvs.RouteAnswer{Outcome: lvs.OutUnknown}, probes.Hint
}

// divides says that a rule may send some packets for an address another way than others: it is none of the three that every host has.
func divides(r lvs.PolicyRule, ip netip.Addr) bool {
	if ip.Is4() != (r.Family == 4) || r.To.IsValid() && !r.Invert && !r.To.Contains(ip) {
		return false
	}
	plain := lvs.PolicyRule{Priority: r.Priority, Table: r.Table, Action: r.Action, Family: r.Family}
	return r != plain || r.Action != "table" || !slices.Contains([]int{lvs.TableLocal, lvs.TableMain, lvs.TableDefault}, r.Table)
}

// activeDirector is the director at hand that has the VIP and a service for it.
func activeDirector(c *probes.Case, vip netip.Addr) *probes.Host {
	for _, h := range c.Cluster.With(lvs.RoleDirector) {
		if h.Has(vip) && ownsService(h, vip) && len(h.HoldsOnWire(vip)) > 0 {
			return h
		}
	}
	return nil
}

// passesOn says that a host without the VIP sends packets for it on, as another router does, or takes them by a local route.
func passesOn(h *probes.Host, vip netip.Addr) bool {
	if local, known := h.RoutedLocal(vip); local || !known {
		return true
	}
	forwarding := "net/ipv4/ip_forward"
	if vip.Is6() {
		forwarding = "net/ipv6/conf/all/forwarding"
	}
	fwd, known := h.Snapshot.Sysctl(forwarding)
	return !known || fwd != 0
}

// addressTowards is a director's own address on the segment of the router's device.
func addressTowards(h *probes.Host, c *probes.Case, dev string) (netip.Addr, bool) {
	for _, a := range h.Snapshot.Addresses {
		ip := a.Prefix.Addr()
		if !a.Prefix.IsSingleIP() && slices.Contains(c.OnLinkDevices(ip), dev) && !slices.Contains(c.Cluster.VIPs, ip) {
			return ip, true
		}
	}
	return netip.Addr{}, false
}
