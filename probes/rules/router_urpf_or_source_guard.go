package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/lvs"
	"lvstui/probes"
	"lvstui/probes/filter"
)

var _ = register(probes.Rule{
	ID:        "router-urpf-or-source-guard",
	Title:     "the SYN-ACK does not reach the client",
	Stage:     lvs.SynAckAtClient,
	Roles:     []lvs.Role{lvs.RoleRouter, lvs.RoleRealServer, lvs.RoleDirector},
	Needs:     []lvs.Source{lvs.SourceLinks, lvs.SourceAddresses},
	DependsOn: []string{"forward-method-not-dr", "rs-not-on-link", "masquerade-postrouting", "rs-input-firewall", "rs-output-filter-src-must-be-rip", "rs-policy-route", "no-route-to-vip-on-router"},
	Explain: probes.Explain{
		Breaks: `Real servers answer straight to the client, with the VIP as source. When the VIP's subnet hangs on another interface of the router than the
real servers do, the router gets a packet from the VIP on an interface where the VIP does not live. Strict reverse path filtering takes it for forged
and drops it; so may an ACL, a zone firewall, DHCP snooping or the source guard of a switch or a cloud. The SYN arrives everywhere, the SYN-ACK leaves the real
server, and the client waits in vain and resends its SYN.`,
		ByHand: `On the real server watch the SYN-ACK leave again and again without an ACK coming back:

    tcpdump -eni any 'host 172.16.0.8 and tcp[tcpflags] & tcp-syn != 0'

Ping the client from both addresses: when the second is answered and the first is not, something between here and the client drops the VIP:

    ping -c 2 -I 172.16.0.8 188.88.88.10
    ping -c 2 -I 192.168.10.11 188.88.88.10

On a Linux router ask for the answer's way, on the interface of the real servers, and see the counter rise:

    ip route get 188.88.88.10 from 172.16.0.8 iif eth2
    nstat -az TcpExtIPReversePathFilter`,
		Cure: `On a Linux router filter loosely on that interface; 2 wins over an "all" of 1:

    sysctl -w net.ipv4.conf.eth2.rp_filter=2

On others choose loose uRPF (ip verify unicast source reachable-via any), or permit the VIP as a source there. Or let both subnets live on one interface of the
router, or give each real server a leg in the VIP's subnet and send what comes from the VIP out there (ip rule add from 172.16.0.8 lookup 100).`,
		Source: "net/ipv4/fib_frontend.c, __fib_validate_source; RFC 3704 for the kinds of reverse path filtering.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		if c.Is(lvs.RoleRouter) {
			return routerDrops(c)
		}
		return unanswered(c)
	},
})

// dropping is a leg of the router on which answers of real servers are refused.
type dropping struct {
	leg       string
	vips      []netip.Addr
	client    netip.Addr
	certainty probes.Certainty
	severity  probes.Severity
	proof     probes.Evidence
	routed    bool            // it is the routing that refuses,
	blocked   filter.Decision // or else this rule
}

// routerDrops judges a router's own facts: for each leg on which SYN-ACKs come in, would it take one from the VIP?
func routerDrops(c *probes.Case) []probes.Finding {
	byLeg := map[string]*dropping{}
	var order []string
	for _, vip := range c.Cluster.VIPs {
		if !vip.Is4() || c.Has(vip) {
			continue
		}
		legs, known := answerLegs(c, vip)
		if !known && anyLegRefuses(c, vip) {
			c.CannotTell(lvs.SourceCapture)
		}
		for _, leg := range legs {
			d, ok := legDrops(c, vip, leg)
			if !ok {
				continue
			}
			if byLeg[leg.device] == nil {
				byLeg[leg.device] = &d
				order = append(order, leg.device)
			} else if !slices.Contains(byLeg[leg.device].vips, vip) {
				byLeg[leg.device].vips = append(byLeg[leg.device].vips, vip)
			}
		}
	}
	slices.Sort(order)
	var out []probes.Finding
	for _, leg := range order {
		out = append(out, routerFinding(c, byLeg[leg]))
	}
	return out
}

// answerLeg is a link of the router over which a real server's answers come in.
type answerLeg struct {
	device  string
	clients []netip.Addr
	// lost and passed are the flows whose SYN-ACK was seen to come in here and not, or also, to go out.
	lost, passed int
	// proof says why answers are known to come in here; sure that somebody saw them, or the real server's own routing says so.
	proof probes.Evidence
	sure  bool
}

// answerLegs finds the links: from flows, else from the real servers' own routing, else from the addresses of the destinations.
func answerLegs(c *probes.Case, vip netip.Addr) (legs []answerLeg, known bool) {
	leg := func(device string) *answerLeg {
		i := slices.IndexFunc(legs, func(l answerLeg) bool { return l.device == device })
		if i < 0 {
			i = len(legs)
			legs = append(legs, answerLeg{device: device})
		}
		return &legs[i]
	}
	for _, f := range c.RecentFlowsTo(vip) {
		sight := f.Stage(lvs.SynAckSent)
		if f.Vantage != lvs.RoleRouter || sight.State != lvs.Seen || sight.Interface == "" {
			continue
		}
		l := leg(sight.Interface)
		if !slices.Contains(l.clients, f.Client.Addr()) {
			l.clients = append(l.clients, f.Client.Addr())
		}
		past, due := got(f, lvs.SynAckAtClient)
		if past {
			l.passed++
		} else if due {
			l.lost++
		}
		l.sure = true
		l.proof = probes.Evidence{Fact: "SYN-ACKs from " + vip.String(), Got: fmt.Sprintf("%d came in on %s, %d of them went on", l.lost+l.passed, sight.Interface, l.passed),
			Want: "all go on", Command: fmt.Sprintf("tcpdump -ni any 'src host %s and tcp[tcpflags] & tcp-syn != 0'", vip)}
	}
	if len(legs) > 0 {
		return legs, true
	}
	clients := clientsAnywhere(c, vip)
	for _, ref := range c.Cluster.DestinationsOf(vip) {
		if ref.Destination.Forward != lvs.Gate || ref.Director.Has(ref.Destination.Address) {
			continue
		}
		rip := ref.Destination.Address
		a := c.Asked(lvs.RouteQuery{Dst: rip})
		if a.Outcome != lvs.OutUnicast || a.Gateway.IsValid() {
			continue // behind another router, which may send the answers another way
		}
		l := leg(a.Device)
		l.clients = clients
		l.proof = routeEvidence("the way to the real server "+rip.String(), a, "over the interface of the VIP's subnet, or with loose filtering")
		if rs := c.Cluster.Holder(rip); rs != nil && len(clients) > 0 {
			back := rs.Asked(lvs.RouteQuery{Dst: clients[0], Src: vip})
			if !back.Gateway.IsValid() || !c.Has(back.Gateway) {
				continue
			}
			l.sure = true
			l.proof = routeEvidence(fmt.Sprintf("the way of %s's answers", rs.Name()), back, "any")
		}
	}
	return legs, len(legs) > 0
}

// anyLegRefuses says that some link would not take a packet from the VIP: only then does it matter over which ones answers come. Links
// towards clients do not count.
func anyLegRefuses(c *probes.Case, vip netip.Addr) bool {
	var out []string
	for _, client := range append(clientsAnywhere(c, vip), netip.IPv4Unspecified()) {
		out = append(out, c.Asked(lvs.RouteQuery{Dst: client}).Device)
	}
	return slices.ContainsFunc(addressedLinks(c.Host), func(l lvs.Link) bool { return !slices.Contains(out, l.Name) && strictElsewhere(c, vip, l.Name) })
}

// strictElsewhere says that a leg filters strictly and the VIP's own place is another one, so that nothing from the VIP gets in there.
func strictElsewhere(c *probes.Case, vip netip.Addr, leg string) bool {
	e, to := c.Snapshot.Effective(leg, "rp_filter"), c.Asked(lvs.RouteQuery{Dst: vip})
	return e.Known && e.Value == 1 && to.Outcome == lvs.OutUnicast && to.Device != leg
}

// answerRefused is what the routing makes of a SYN-ACK that comes in on a leg. Where there is no way to the client, as for one that is
// only assumed, the leg's filter alone decides.
func answerRefused(c *probes.Case, vip, client netip.Addr, leg string) lvs.Outcome {
	a := c.Asked(lvs.RouteQuery{Dst: client, Src: vip, Iif: leg})
	if a.Outcome == lvs.OutUnreachable && strictElsewhere(c, vip, leg) {
		return lvs.OutRejected
	}
	return a.Outcome
}

// clientsAnywhere are the clients that any host at hand has seen, else those assumed here.
func clientsAnywhere(c *probes.Case, vip netip.Addr) []netip.Addr {
	clients, assumed := c.ClientsOf(vip)
	if !assumed {
		return clients
	}
	for _, h := range c.Cluster.Hosts {
		if seen := h.SeenClients(vip); len(seen) > 0 {
			return slices.DeleteFunc(slices.Clone(seen), c.Has)
		}
	}
	return clients
}

func legDrops(c *probes.Case, vip netip.Addr, leg answerLeg) (dropping, bool) {
	d := dropping{leg: leg.device, vips: []netip.Addr{vip}, severity: probes.Outage, certainty: probes.Certain, proof: leg.proof}
	refused, asked := 0, 0
	for _, client := range leg.clients {
		if !client.Is4() {
			continue
		}
		switch answerRefused(c, vip, client, leg.device) {
		case lvs.OutUnknown:
			c.CannotTell(lvs.SourceRoutes)
		case lvs.OutRejected:
			refused++
			asked++
			d.client = client
		default:
			asked++
		}
	}
	dropped := c.Counter("TcpExt.IPReversePathFilter") > 0
	switch {
	case leg.passed > 0 && (leg.lost == 0 || leg.lost < probes.FewFlows || leg.lost*4 < leg.passed):
		return d, false // they go on
	case refused > 0 && refused == asked:
		d.routed = true
		switch {
		case leg.sure:
		case dropped:
			d.certainty = probes.Strong
		default:
			d.severity, d.certainty = probes.Hazard, probes.Hint // nothing was dropped yet: answers may take another way
		}
	case leg.lost > 0:
		d.blocked = forwardBlocks(c, vip, leg)
		return d, d.blocked.Blocked()
	default:
		return d, false
	}
	return d, true
}

// forwardBlocks is the rule of the router's forward chains that stops the answers, if one does.
func forwardBlocks(c *probes.Case, vip netip.Addr, leg answerLeg) filter.Decision {
	if c.Snapshot.Netfilter == nil {
		c.CannotTell(lvs.SourceNetfilter)
		return filter.Decision{}
	}
	for _, f := range c.RecentFlowsTo(vip) {
		if past, due := got(f, lvs.SynAckAtClient); past || !due || f.Stage(lvs.SynAckSent).Interface != leg.device {
			continue
		}
		out := c.Asked(lvs.RouteQuery{Dst: f.Client.Addr()})
		p := filter.Packet{Iif: leg.device, Oif: out.Device, Src: vip, Dst: f.Client.Addr(), Protocol: f.Protocol, SrcPort: f.Virtual.Port(), DstPort: f.Client.Port()}
		if d := c.Filter().Forwarded(p); d.Blocked() {
			return d
		}
	}
	return filter.Decision{}
}
