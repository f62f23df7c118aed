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
	ID:    "director-rp-filter-drops-client",
	Title: "the director drops clients for their source address",
	Stage: lvs.SynScheduled,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS, lvs.SourceLinks, lvs.SourceAddresses, lvs.SourceSysctls},
	Explain: probes.Explain{
		Breaks: `With rp_filter 1 the kernel takes a packet only from the interface over which it would itself send to the packet's source; with 2 it takes it when
there is any route to the source. A director with two interfaces whose default route leads out of the other one, or one without a default
route, drops the clients' SYNs before ip_vs sees them. The client waits in vain; a capture on the director shows the SYN coming in and nothing going out.`,
		ByHand: `On the director ask what the kernel does with a packet of the client on the interface it comes in on:

    ip route get 172.16.0.8 from 188.88.88.10 iif eth1

It must say "local". The larger of all and the interface counts:

    sysctl net.ipv4.conf.all.rp_filter net.ipv4.conf.eth1.rp_filter
    nstat -az TcpExtIPReversePathFilter`,
		Cure: `Loose filtering will do where there is some route to the clients (2 wins over an "all" of 1):

    sysctl -w net.ipv4.conf.eth1.rp_filter=2

Without one add it, which is needed for ICMP to the clients too: ip route add default via 172.16.0.1. Keep it in /etc/sysctl.d and in the
network configuration.`,
		Source: "net/ipv4/fib_frontend.c, fib_validate_source; include/linux/inetdevice.h, IN_DEV_RPFILTER is the maximum.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		found := map[string]*rejection{}
		var order []string
		for _, vip := range serviceVIPs(c) {
			if holds, known := holdsVIP(c, vip); !vip.Is4() || !known || !holds {
				continue
			}
			if r := rejectedClients(c, vip); r != nil {
				if found[r.device] == nil {
					found[r.device] = r
					order = append(order, r.device)
				} else {
					found[r.device].vips = append(found[r.device].vips, vip)
				}
			}
		}
		slices.Sort(order)
		var out []probes.Finding
		for _, device := range order {
			out = append(out, dropsClients(c, found[device]))
		}
		return out
	},
})

// rejection is clients whose SYNs the routing refuses on a device.
type rejection struct {
	device    string
	clients   []netip.Addr
	vips      []netip.Addr
	severity  probes.Severity
	certainty probes.Certainty
}

// rejectedClients judges the clients of one VIP. What was seen to come in and not go on counts most; a client that is only known by name counts when no
// link would take it.
func rejectedClients(c *probes.Case, vip netip.Addr) *rejection {
	if r, flows := rejectedFlows(c, vip); flows {
		return r
	}
	if c.Served(vip) {
		return nil
	}
	// Nobody saw where clients come in. Only when no link would take them is it sure that none gets through, and only when
	// packets were dropped for their source is it worth a word: there may be no such clients.
	clients, assumed := c.ClientsOf(vip)
	links := addressedLinks(c.Host)
	if on := ownSubnet(c, vip); assumed && on != "" {
		// The router asks for the VIP by ARP in the VIP's subnet, so packets come in there.
		links = slices.DeleteFunc(slices.Clone(links), func(l lvs.Link) bool { return l.Name != on })
	}
	if len(links) == 0 || len(clients) == 0 || c.Counter("TcpExt.IPReversePathFilter") == 0 {
		return nil
	}
	for _, client := range clients {
		for _, l := range links {
			switch refuses(c, vip, client, l.Name) {
			case lvs.OutUnknown:
				c.CannotTell(lvs.SourceRoutes)
				return nil
			case lvs.OutRejected:
			default:
				return nil
			}
		}
	}
	r := &rejection{device: links[0].Name, clients: clients, vips: []netip.Addr{vip}, severity: probes.Outage, certainty: probes.Strong}
	if assumed {
		r.severity, r.certainty = probes.Hazard, probes.Hint
	}
	return r
}

// ownSubnet is the link that has the VIP with the prefix of a subnet, "" when there is not exactly one.
func ownSubnet(c *probes.Case, vip netip.Addr) string {
	on := ""
	for _, a := range c.HoldsOnWire(vip) {
		if on != "" || a.Prefix.IsSingleIP() {
			return ""
		}
		on = a.Device
	}
	return on
}

// rejectedFlows judges by the flows: the device they came in on is known, and whether they went on. flows is false when none tell.
func rejectedFlows(c *probes.Case, vip netip.Addr) (r *rejection, flows bool) {
	r = &rejection{vips: []netip.Addr{vip}, severity: probes.Degraded, certainty: probes.Certain}
	due, passed, dropped, again := 0, 0, 0, 0
	for _, f := range c.RecentFlowsTo(vip) {
		past, isDue := got(f, lvs.SynForwarded)
		dev := arrival(f)
		if !isDue || dev == "" {
			continue
		}
		if due++; past {
			passed++
			continue
		}
		switch client := f.Client.Addr(); refuses(c, vip, client, dev) {
		case lvs.OutUnknown:
			c.CannotTell(lvs.SourceRoutes)
		case lvs.OutRejected:
			dropped++
			if f.SynRetransmits > 0 {
				again++
			}
			if r.device == "" {
				r.device = dev
			}
			if !slices.Contains(r.clients, client) {
				r.clients = append(r.clients, client)
			}
		}
	}
	switch {
	case due == 0:
		return nil, false
	case dropped == 0 || dropped*5 < due:
		return nil, true // a few: forged addresses, which is what the filter is for
	case dropped < probes.FewFlows && again == 0:
		r.certainty = probes.Hint
	}
	if passed == 0 && dropped*5 >= due*4 {
		r.severity = probes.Outage
	}
	return r, true
}

func refuses(c *probes.Case, vip, client netip.Addr, dev string) lvs.Outcome {
	if !client.Is4() {
		return lvs.OutOther
	}
	return c.Asked(lvs.RouteQuery{Dst: vip, Src: client, Iif: dev}).Outcome
}

func dropsClients(c *probes.Case, r *rejection) probes.Finding {
	f := c.Finding(r.severity, r.certainty, fmt.Sprintf("%s on %s", list(r.vips), r.device))
	about(&f, r.vips)
	client, vip := r.clients[0], r.vips[0]
	back := c.Asked(lvs.RouteQuery{Dst: client})
	f.Title = fmt.Sprintf("%s drops clients that come in on %s", c.Name(), r.device)
	f.Why = fmt.Sprintf("A SYN from %s that comes in on %s is dropped before ip_vs sees it, because the way to that address is %s: source validation (rp_filter) takes it for forged.",
		list(r.clients), r.device, routeWords(back))
	if back.Outcome == lvs.OutUnreachable {
		f.Why = fmt.Sprintf("A SYN from %s that comes in on %s is dropped before ip_vs sees it, because this host has no route to that address and rp_filter is on.", list(r.clients), r.device)
	}
	f.Evidence = append(f.Evidence,
		routeEvidence(fmt.Sprintf("a SYN from %s on %s", client, r.device), c.Asked(lvs.RouteQuery{Dst: vip, Src: client, Iif: r.device}), "delivered to this host"),
		sysctlEvidence(c.Snapshot, r.device, "rp_filter", "0, or 2 with some route to the clients"),
		routeEvidence("the way to "+client.String(), back, "over "+r.device))
	if n := c.Counter("TcpExt.IPReversePathFilter"); n > 0 {
		f.Evidence = append(f.Evidence, probes.Evidence{Fact: "packets dropped by rp_filter", Got: fmt.Sprint(n), Want: "no rise while clients try", Command: "nstat -az TcpExtIPReversePathFilter"})
	}
	loosen := fixes.Plan{Title: "take clients whatever way leads back", Steps: []fixes.Step{fixes.SetSysctl{Path: lvs.ConfPath(r.device, "rp_filter"), Value: "2"}}}
	if after, err := loosen.After(c.Snapshot); err == nil && !slices.ContainsFunc(r.clients, func(client netip.Addr) bool {
		return after.Lookup(lvs.RouteQuery{Dst: vip, Src: client, Iif: r.device}).Outcome != lvs.OutLocal
	}) {
		cure(&f, c.Snapshot, loosen)
		return f
	}
	advise(&f, c.Name(), fmt.Sprintf("give %s a route to its clients over %s (a default route, usually); loose filtering alone does not help without one", c.Name(), r.device),
		"ip route add default via ROUTER dev "+r.device)
	gateway, dev, ok := router(c)
	if !ok || dev != r.device || back.Outcome != lvs.OutUnreachable {
		return f
	}
	route := fixes.Plan{Title: fmt.Sprintf("a way to the clients, by %s", gateway), Steps: []fixes.Step{
		fixes.DefaultRoute(lvs.TableMain, gateway, dev)}}
	if after, err := route.After(c.Snapshot); err == nil && after.Lookup(lvs.RouteQuery{Dst: vip, Src: client, Iif: r.device}).Outcome == lvs.OutLocal {
		cureIfPossible(&f, c.Snapshot, route)
	}
	return f
}
