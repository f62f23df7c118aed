package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/capture"
	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:        "vip-not-on-director",
	Title:     "the director does not have the VIP",
	Stage:     lvs.VIPResolved,
	Roles:     []lvs.Role{lvs.RoleDirector},
	Needs:     []lvs.Source{lvs.SourceIPVS, lvs.SourceAddresses, lvs.SourceLinks},
	DependsOn: []string{"vip-flushed-by-network-manager"},
	Explain: probes.Explain{
		Breaks: `ipvsadm takes any address for a virtual service, whether the host has it or not. When no director has the VIP nobody answers
the ARP request for it, and clients wait in vain or are told that there is no route. When the VIP is routed to the director, the SYN does
arrive, but a packet that is not for this host never comes to ip_vs: it is dropped, or forwarded like any other.`,
		ByHand: `On the director ask where the VIP is and what the kernel would do with a packet for it:

    ip -o address show to 172.16.0.8
    ip route get 172.16.0.8

The second must begin with "local". Where keepalived, pacemaker or the like moves the VIP, exactly one director has it: look at the others
before you add it here, two owners are worse than none. See also whether networkd or NetworkManager was restarted lately: both take away
addresses they do not know.`,
		Cure: `Where keepalived or pacemaker owns the VIP let it put it there (systemctl reload keepalived). Otherwise add it to the NIC that faces
the router and tell the neighbours:

    ip address add 172.16.0.8/32 dev eth0
    arping -U -c 3 -I eth0 172.16.0.8

For the next boot write it into the network configuration. With systemd-networkd set KeepConfiguration=static, so that a restart leaves it.`,
		Source: "net/netfilter/ipvs/ip_vs_core.c, ip_vs_ops4: ip_vs takes packets at LOCAL_IN, where only packets for the host itself come by.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var missing, standby []netip.Addr
		for _, vip := range serviceVIPs(c) {
			holds, known := holdsVIP(c, vip)
			switch {
			case holds || c.Served(vip):
			case !known:
				c.CannotTell(lvs.SourceRoutes)
			case heldByPeer(c, vip):
			case !asStandby(c) || arrivesHere(c, vip):
				missing = append(missing, vip)
			case !c.Snapshot.Has(lvs.SourceOwners):
				c.CannotTell(lvs.SourceOwners)
			default:
				standby = append(standby, vip)
			}
		}
		var out []probes.Finding
		if len(missing) > 0 {
			out = append(out, vipMissing(c, missing))
		}
		if len(standby) > 0 {
			out = append(out, vipElsewhere(c, standby))
		}
		return out
	},
})

// heldByPeer says that another host at hand has the VIP on the wire and is no real server for it: then this one is the standby, and well.
func heldByPeer(c *probes.Case, vip netip.Addr) bool {
	return slices.ContainsFunc(c.Cluster.Hosts, func(h *probes.Host) bool {
		return h != c.Host && len(h.HoldsOnWire(vip)) > 0 && !slices.ContainsFunc(c.Cluster.DestinationsOf(vip), func(ref probes.DestinationRef) bool {
			return ref.Director == c.Host && h.Has(ref.Destination.Address)
		})
	})
}

// allRead says that the addresses of all hosts at hand are known.
func allRead(c *probes.Case) bool {
	return !slices.ContainsFunc(c.Cluster.Hosts, func(h *probes.Host) bool {
		return !h.Snapshot.Has(lvs.SourceAddresses) || !h.Snapshot.Has(lvs.SourceLinks)
	})
}

// asStandby says that this may be a director in reserve: something here moves VIPs, or takes over connections of another one.
func asStandby(c *probes.Case) bool {
	if _, ok := owner(c.Snapshot, movers...); ok || !c.Snapshot.Has(lvs.SourceOwners) {
		return true
	}
	return slices.ContainsFunc(c.Snapshot.IPVS.Daemons, func(d lvs.SyncDaemon) bool { return d.State == "backup" })
}

// arrivesHere says that clients' SYNs for the VIP were seen to come to this host.
func arrivesHere(c *probes.Case, vip netip.Addr) bool {
	return slices.ContainsFunc(c.RecentFlowsTo(vip), func(f capture.Flow) bool {
		past, _ := got(f, lvs.SynAtDirector)
		return past && f.Vantage == lvs.RoleDirector
	})
}

func vipMissing(c *probes.Case, vips []netip.Addr) probes.Finding {
	certainty := probes.Certain
	if asStandby(c) || !allRead(c) {
		certainty = probes.Strong
	}
	f := c.Finding(probes.Outage, certainty, list(vips))
	about(&f, vips)
	f.Title = fmt.Sprintf("%s does not have %s", c.Name(), list(vips))
	f.Why = fmt.Sprintf("%s has %s for %s, but no interface has the address and no route makes it local. Nobody answers the router's ARP request for it; "+
		"and a SYN that arrives all the same is not for this host, so ip_vs never sees it.", c.Name(), plural(len(vips), "a virtual service", "virtual services"), list(vips))
	for _, vip := range vips[:min(len(vips), 4)] {
		f.Evidence = append(f.Evidence, addressEvidence(c.Snapshot, vip, "on the interface that faces the router"),
			routeEvidence("what the kernel does with packets for "+vip.String(), c.Asked(lvs.RouteQuery{Dst: vip}), "delivered to this host"))
	}
	if o, ok := owner(c.Snapshot, movers...); ok {
		advise(&f, c.Name(), fmt.Sprintf("%s moves this address (%s): let it put it back, and see why it did not. Do not add it by hand while another director may have it.", o.Name, o.Evidence))
		return f
	}
	plan, device := holdOnDirector(c, vips)
	if plan.Empty() {
		advise(&f, c.Name(), "add the address to the interface that faces the router, with the prefix of its subnet where the router is in that subnet")
		return f
	}
	elsewhere := make([]string, 0, len(vips))
	for _, vip := range vips[:min(len(vips), 8)] {
		plan.Steps = append(plan.Steps, fixes.Announce{Device: device, Address: vip})
		elsewhere = append(elsewhere, fmt.Sprintf("make sure that no other director has %s before: clients would come to either", vip))
	}
	cure(&f, c.Snapshot, plan, elsewhere...)
	return f
}

func vipElsewhere(c *probes.Case, vips []netip.Addr) probes.Finding {
	f := c.Finding(probes.Note, probes.Hint, list(vips))
	about(&f, vips)
	f.Title = fmt.Sprintf("%s does not have %s: a standby?", c.Name(), list(vips))
	why := "its connection synchronisation runs as backup"
	if o, ok := owner(c.Snapshot, movers...); ok {
		why = fmt.Sprintf("%s, which moves addresses between directors, runs here", o.Name)
	}
	f.Why = fmt.Sprintf("%s has virtual services for %s but not the address. That is as it should be on a standby, and %s. If no other director has the "+
		"address now, nobody answers for it.", c.Name(), list(vips), why)
	for _, vip := range vips[:min(len(vips), 4)] {
		f.Evidence = append(f.Evidence, addressEvidence(c.Snapshot, vip, "on exactly one director"))
	}
	advise(&f, c.Name(), "look at the other director; exactly one has the address")
	return f
}

// holdOnDirector is the plan that adds the VIPs to the link facing the router, where it is plain which link that is and the
// clients would be accepted there.
func holdOnDirector(c *probes.Case, vips []netip.Addr) (fixes.Plan, string) {
	plan := fixes.Plan{ID: "vip-not-on-director", Host: c.Name(), Title: "take " + list(vips)}
	device := ""
	for _, vip := range vips {
		dev := facing(c, vip)
		if dev == "" || device != "" && dev != device {
			return fixes.Plan{}, ""
		}
		device = dev
		plan.Steps = append(plan.Steps, fixes.AddAddress{Device: dev, Prefix: netip.PrefixFrom(vip, vip.BitLen())})
	}
	after, err := plan.After(c.Snapshot)
	if err != nil {
		return fixes.Plan{}, ""
	}
	for _, vip := range vips {
		clients, _ := c.ClientsOf(vip)
		for _, client := range clients {
			if vip.Is4() && client.Is4() && after.Lookup(lvs.RouteQuery{Dst: vip, Src: client, Iif: device}).Outcome != lvs.OutLocal {
				return fixes.Plan{}, ""
			}
		}
	}
	return plan, device
}

// facing is the link on which the VIP belongs: the one whose subnet it is in, else the one towards the clients, else the only one.
func facing(c *probes.Case, vip netip.Addr) string {
	if on := c.OnLinkDevices(vip); len(on) > 0 {
		if len(on) == 1 {
			return on[0]
		}
		return ""
	}
	clients, _ := c.ClientsOf(vip)
	for _, client := range clients {
		a := c.Asked(lvs.RouteQuery{Dst: client})
		if l, ok := c.Snapshot.Link(a.Device); ok && a.Outcome == lvs.OutUnicast && l.OnWire() {
			return a.Device
		}
	}
	if wires := addressedLinks(c.Host); len(wires) == 1 {
		return wires[0].Name
	}
	return ""
}
