package rules

import (
	"fmt"
	"math"
	"net/netip"
	"slices"

	"lvstui/capture"
	"lvstui/fixes"
	"lvstui/internal/arrange"
	"lvstui/lvs"
	"lvstui/probes"
	"lvstui/probes/filter"
)

var _ = register(probes.Rule{
	ID:    "vip-missing-on-rs",
	Title: "a real server does not have the VIP",
	Stage: lvs.SynAccepted,
	Roles: []lvs.Role{lvs.RoleRealServer, lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceLinks, lvs.SourceAddresses},
	Explain: probes.Explain{
		Breaks: `With direct routing the real server gets the client's packet unchanged: the destination is the VIP. A host that does not
have the VIP takes it for a packet that came in by mistake and drops it, or, if it forwards, sends it away again. Clients that are
scheduled to this real server get no answer. Health checks that ask the RIP stay green.`,
		ByHand: `On the real server, with the address of a client and the interface that faces the director:

    ip route get 172.16.0.8 from 188.88.88.10 iif eth0

It has to say "local". While clients try, the counter of packets for foreign addresses rises:

    nstat -az IpInAddrErrors

From the director, without logging in there:

    lvstui check --probe dsr`,
		Cure: `Keep the real server off ARP first, then give it the VIP, as a /32 on lo:

    sysctl -w net.ipv4.conf.all.arp_ignore=1
    sysctl -w net.ipv4.conf.all.arp_announce=2
    ip addr add 172.16.0.8/32 dev lo

For the next boot write the address where the host's network is configured, and the sysctls in /etc/sysctl.d. A REDIRECT rule for the
VIP in the nat table does as well.`,
		Source: "net/ipv4/route.c, ip_route_input_slow: no local route, so the packet is forwarded or dropped.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		out := vipsRefused(c)
		if !c.Is(lvs.RoleRealServer) {
			return out
		}
		if c.LacksVIP() && len(c.Cluster.VIPs) == 0 {
			out = append(out, lacksVIP(c))
		}
		needs := vipsNeeded(c)
		arrange.By(needs, func(a, b needed) int { return a.vip.Compare(b.vip) })
		for _, n := range needs {
			// Of those that are not told one by one neither evidence nor a plan is needed.
			if f, ok := vipMissingOnRS(c, n, len(out) <= probes.Alike); ok {
				out = append(out, f)
			}
		}
		return out
	},
})

// needed is a VIP that packets come to this host for, and how that is known.
type needed struct {
	vip      netip.Addr
	protocol lvs.Protocol
	port     uint16
	weight   int
	how      probes.Evidence
}

// vipsNeeded are the VIPs that directors send to this host, that were seen to come in, or that the operator says it serves.
func vipsNeeded(c *probes.Case) []needed {
	var out []needed
	seen := map[netip.Addr]bool{} // there may be thousands
	add := func(n needed) {
		if n.vip.IsValid() && !seen[n.vip] {
			seen[n.vip] = true
			out = append(out, n)
		}
	}
	for _, ref := range c.Named() {
		if ref.Director == c.Host || !dr(ref) && ref.Destination.Forward != lvs.IPIP {
			continue
		}
		add(needed{ref.Service.Address, ref.Service.Protocol, ref.Service.Port, ref.Destination.Weight, probes.Evidence{
			Fact: "who sends packets for it here", Got: fmt.Sprintf("%s, to %s by %s", ref.Director.Name(), ref.Destination.Address, ref.Destination.Forward),
			Command: "ipvsadm -Ln"}})
	}
	for _, f := range recentFlows(c.Host) {
		if sight := f.Stage(lvs.SynAtRealServer); f.Vantage == lvs.RoleRealServer && sight.State == lvs.Seen && sight.Direction != capture.Out &&
			ownMAC(c.Host, sight.DstMAC) && senderIsDirector(c, f) {
			add(needed{f.Virtual.Addr(), f.Protocol, f.Virtual.Port(), 1, probes.Evidence{
				Fact: "packets for it", Got: fmt.Sprintf("a SYN for %s from %s came in on %s, addressed to this host's MAC", f.Virtual, f.Client, sight.Interface),
				Command: fmt.Sprintf("tcpdump -eni %s host %s", sight.Interface, f.Virtual.Addr())}})
		}
	}
	if opt := c.Cluster.Options; c.Cluster.Hosts[0] == c.Host {
		for _, vip := range opt.VIPs {
			if !ownsService(c.Host, vip) {
				add(needed{vip: vip, weight: 1, how: probes.Evidence{Fact: "who says that it serves the VIP", Got: "the operator", Command: "lvstui check --role real-server --vip " + vip.String()}})
			}
		}
	}
	return out
}

// recentFlows are the recent flows on the host, whatever address they are for.
func recentFlows(h *probes.Host) []capture.Flow {
	var out []capture.Flow
	seen := map[netip.Addr]bool{}
	for _, f := range h.Flows {
		if ip := f.Virtual.Addr(); !seen[ip] {
			seen[ip] = true
			out = append(out, h.RecentFlowsTo(ip)...)
		}
	}
	return out
}

func ownMAC(h *probes.Host, mac capture.MAC) bool {
	return slices.ContainsFunc(h.Snapshot.Links, func(l lvs.Link) bool { return l.MAC != "" && l.MAC == mac.String() })
}

// senderIsDirector tells whether a frame came from a director at hand, or, where none is, to a host that forwards nothing: a router
// gets frames for foreign addresses all day.
func senderIsDirector(c *probes.Case, f capture.Flow) bool {
	if h := c.Cluster.HostOfMAC(f.SynFrom.String()); h != nil {
		return h.Is(lvs.RoleDirector)
	}
	forwarding := "net/ipv4/ip_forward"
	if f.Virtual.Addr().Is6() {
		forwarding = "net/ipv6/conf/all/forwarding"
	}
	fwd, ok := c.Snapshot.Sysctl(forwarding)
	return ok && fwd == 0
}

// lacksVIP is what a real server alone can tell, without a capture: that something is missing, and not what.
func lacksVIP(c *probes.Case) probes.Finding {
	strays := c.Counter("Ip.InAddrErrors")
	f := c.Finding(probes.Hazard, probes.Hint, "a VIP")
	f.Title = fmt.Sprintf("%s looks like a real server without its VIP", c.Name())
	f.Why = fmt.Sprintf("This host keeps quiet about ARP as real servers do, and has no VIP. %d packets for addresses that it does not have came to it since boot, and were dropped: "+
		"that is what becomes of clients' packets which a director sends here. A capture shows for which address they are.", strays)
	f.Evidence = append(f.Evidence,
		probes.Evidence{Fact: "packets for foreign addresses since boot", Got: fmt.Sprint(strays), Want: "not rising", Command: "nstat -az IpInAddrErrors"},
		probes.Evidence{Fact: "addresses on lo and dummy devices", Got: "none", Want: "the VIP", Command: "ip -o address show"})
	advise(&f, c.Name(), "see for which address packets come, and give this host that VIP: lvstui check --flows 10s", "lvstui setup real-server --vip VIP")
	return f
}

func vipMissingOnRS(c *probes.Case, n needed, whole bool) (probes.Finding, bool) {
	local, known := vipLocal(c, n.vip)
	if !known {
		cannotRoute(c)
	}
	if local || !known {
		return probes.Finding{}, false
	}
	if accepted, known := acceptedByRule(c, n.vip); accepted || !known {
		if !known {
			cannotRoute(c)
		}
		return probes.Finding{}, false
	}
	certainty := probes.Certain
	switch redirects(c, n) {
	case matchYes:
		return probes.Finding{}, false
	case matchPerhaps:
		c.CannotTell(lvs.SourceNetfilter)
		if c.Snapshot.Netfilter != nil {
			return probes.Finding{}, false
		}
		certainty = probes.Strong // such rules are rare
	}
	severity := probes.Outage
	if n.weight == 0 {
		severity = probes.Hazard // no new connections come
	}
	f := c.Finding(severity, certainty, n.vip.String())
	f.VIP = n.vip
	f.Title = fmt.Sprintf("%s does not have %s", c.Name(), n.vip)
	f.Why = fmt.Sprintf("With direct routing packets arrive here with %s as destination, unchanged. This host does not have that address, so the kernel drops "+
		"them, or sends them on if it forwards. Clients that are scheduled to this real server get no answer.", n.vip)
	if !whole {
		f.Evidence = append(f.Evidence, n.how)
		return f, true
	}
	f.Evidence = append(f.Evidence, n.how, addressEvidence(c.Snapshot, n.vip, n.vip.String()+" on lo, or routed as local"))
	f.Evidence = append(f.Evidence, routeEvidence("what the kernel makes of "+n.vip.String(), c.Asked(lvs.RouteQuery{Dst: n.vip}), "delivered to this host"))
	if errors := c.Counter("Ip.InAddrErrors"); errors > 0 {
		f.Evidence = append(f.Evidence, probes.Evidence{Fact: "packets for foreign addresses since boot", Got: fmt.Sprint(errors), Want: "not rising", Command: "nstat -az IpInAddrErrors"})
	}
	cure(&f, c.Snapshot, fixes.HoldVIP(c.Snapshot, n.vip))
	return f, true
}

// acceptedByRule tells whether packets for the VIP are local when they come in from somewhere, although the VIP is not an
// address: policy rules by interface lead to a table with a local route.
func acceptedByRule(c *probes.Case, vip netip.Addr) (accepted, known bool) {
	clients, _ := judgedClients(c, vip)
	devs := arrivalDevices(c, vip)
	if len(devs) == 0 {
		for _, l := range addressedLinks(c.Host) {
			devs = append(devs, l.Name)
		}
	}
	known = true
	for _, dev := range devs {
		for _, client := range clients {
			switch c.Asked(lvs.RouteQuery{Dst: vip, Src: client, Iif: dev}).Outcome {
			case lvs.OutLocal:
				return true, true
			case lvs.OutUnknown:
				known = false
			}
		}
	}
	return false, known
}

// redirects tells whether the packet filter turns packets for the VIP to another address before they are routed. That takes the
// place of having the VIP, or of listening on its port.
func redirects(c *probes.Case, n needed) matched {
	if c.Snapshot.Netfilter == nil {
		return matchPerhaps
	}
	p := filter.Packet{Dst: n.vip, Protocol: n.protocol, DstPort: n.port, State: "new"}
	if clients, _ := c.ClientsOf(n.vip); len(clients) > 0 {
		p.Src = clients[0]
	}
	if devs := arrivalDevices(c, n.vip); len(devs) > 0 {
		p.Iif = devs[0]
	}
	d := c.Filter().Hook("prerouting", math.MaxInt, p)
	switch {
	case d.Verdict != filter.Unknown:
		return matchNo
	case d.Rule != nil && (d.Rule.Verdict == "redirect" || d.Rule.Verdict == "dnat"):
		return matchYes
	}
	return matchPerhaps
}
