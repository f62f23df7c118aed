package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/capture"
	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "rs-gateway-is-director",
	Title: "a real server answers through the director",
	Stage: lvs.SynAckSent,
	Roles: []lvs.Role{lvs.RoleRealServer},
	Needs: []lvs.Source{lvs.SourceLinks, lvs.SourceAddresses},
	Explain: probes.Explain{
		Breaks: `With direct routing real servers answer clients by way of the router. When a real server's route to the clients leads to the
director, its SYN-ACK arrives there with the VIP as source, which is the director's own address. The director drops it as forged, whatever
rp_filter says. Clients time out, and half-open entries pile up in the connection table. The route is often left over from a set-up
with masq, where it is needed.`,
		ByHand: `On the real server, with a client's address:

    ip route get 188.88.88.10 from 172.16.0.8

The "via" must not be an address of the director. On the director the dropped packets show in no counter but this one (hexadecimal, all
namespaces together), and in the kernel log when log_martians is on:

    cat /proc/net/stat/rt_cache

The log's line reads the other way round: "martian source 188.88.88.10 from 172.16.0.8" is a packet from the VIP for the client.`,
		Cure: `Give the real server the router as gateway:

    ip route replace default via ROUTER dev eth0

Over SSH, change the route of the VIP's answers only, and look before you go further:

    ip rule add from 172.16.0.8/32 lookup 100
    ip route add default via ROUTER dev eth0 table 100

The director can be made to pass the answers on (ip_forward=1, accept_local=1 and rp_filter other than 1 on its card), but then all answers go
through it again.`,
		Source: "net/ipv4/fib_frontend.c, fib_validate_source: a source that is local needs accept_local; net/ipv4/route.c, ip_handle_martian_source.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var out []probes.Finding
		vips, weight := drVIPs(c)
		for _, vip := range vips {
			if f, ok := rsGatewayIsDirector(c, vip); ok {
				if weight[vip] == 0 && f.Severity == probes.Outage {
					f.Severity = probes.Hazard
				}
				out = append(out, f)
			}
		}
		return out
	},
})

func rsGatewayIsDirector(c *probes.Case, vip netip.Addr) (probes.Finding, bool) {
	clients, assumed := judgedClients(c, vip)
	var through []lvs.RouteAnswer
	for _, client := range clients {
		a := reply(c, vip, client)
		switch {
		case a.Outcome == lvs.OutUnknown:
			cannotRoute(c)
		case a.Outcome == lvs.OutUnicast && a.Gateway.IsValid():
			through = append(through, a)
		}
	}
	for _, a := range through {
		d, dev := directorWith(c, a.Gateway, vip)
		if d == nil {
			continue
		}
		hit := slices.DeleteFunc(slices.Clone(through), func(o lvs.RouteAnswer) bool { return o.Gateway != a.Gateway })
		return answersVia(c, vip, d, dev, hit, len(clients), assumed), true
	}
	for _, a := range through {
		if f, ok := throughSender(c, vip, a); ok {
			return f, true
		}
	}
	if len(through) > 0 && !namedByDirector(c, vip) && len(c.RecentFlowsTo(vip)) == 0 {
		c.Unclear(fmt.Sprintf("is %s the router, or a director?", through[0].Gateway))
	}
	return probes.Finding{}, false
}

// directorWith returns the director for the VIP that has the address, and the device it is on.
func directorWith(c *probes.Case, ip, vip netip.Addr) (*probes.Host, string) {
	for _, d := range c.Cluster.With(lvs.RoleDirector) {
		if held := d.AddressesOf(ip); d != c.Host && len(held) > 0 && ownsService(d, vip) {
			return d, held[0].Device
		}
	}
	return nil, ""
}

// answersVia asks the director at hand what it would do with the answers.
func answersVia(c *probes.Case, vip netip.Addr, d *probes.Host, dev string, hit []lvs.RouteAnswer, all int, assumed bool) probes.Finding {
	q := lvs.RouteQuery{Dst: hit[0].Dst, Src: vip, Iif: dev}
	onward := d.Asked(q)
	severity, certainty := probes.Outage, probes.Certain
	switch {
	case onward.Outcome == lvs.OutUnicast:
		severity = probes.Note
	case servedNow(c, vip):
		severity = probes.Note // somehow it works
	case onward.Outcome == lvs.OutUnknown:
		certainty = probes.Strong
		if e := d.Snapshot.Effective(dev, "accept_local"); e.Known && e.Value == 0 && d.Has(vip) {
			certainty = probes.Certain
		}
	}
	if severity == probes.Outage {
		switch {
		case assumed: // clients may have other routes than this one
			severity, certainty = probes.Hazard, probes.Strong
		case len(hit) < all:
			severity = probes.Degraded
		}
	}
	f := c.Finding(severity, certainty, fmt.Sprintf("answers from %s via %s", vip, hit[0].Gateway))
	f.VIP = vip
	f.Title = fmt.Sprintf("%s answers clients through the director %s", c.Name(), d.Name())
	f.Why = fmt.Sprintf("The SYN-ACK goes to %s, which is %s. It carries the source %s, an address that the director has itself, and the director drops such packets "+
		"as forged. The client never gets an answer.", hit[0].Gateway, d.Name(), vip)
	if severity == probes.Note {
		f.Why = fmt.Sprintf("Answers to clients go to %s, which is %s, and the director passes them on. It works, but the director carries both directions: "+
			"the gain of direct routing is lost.", hit[0].Gateway, d.Name())
	}
	f.Evidence = append(f.Evidence,
		routeEvidence("the way of answers to "+hit[0].Dst.String(), hit[0], "via the router"),
		probes.Evidence{Fact: "who has " + hit[0].Gateway.String(), Got: d.Name() + " on " + dev, Want: "the router", Command: "ip -o address show to " + hit[0].Gateway.String()},
		routeEvidence("what "+d.Name()+" does with them", onward, "not its business"))
	if n := d.Counter("rt_cache.in_martian_src"); n > 0 {
		f.Evidence = append(f.Evidence, probes.Evidence{Fact: "packets with a forged source that the machine of " + d.Name() + " dropped since boot",
			Got: fmt.Sprint(n), Want: "not rising", Command: "cat /proc/net/stat/rt_cache"})
	}
	advise(&f, c.Name(), "the route by which this host answers clients has to lead to the router; over SSH, try it with a rule for the VIP only (ip rule add from "+vip.String()+"/32 lookup 100)",
		routeToRouter(c, "replace"))
	if severity != probes.Note {
		answerByRouter(&f, c, vip)
	}
	return f
}

// throughSender judges by flows where no director is at hand: answers go back to the MAC that the SYN came from, and nothing
// comes of it. In direct routing that MAC is the director's, unless the router was led to this host by its ARP.
func throughSender(c *probes.Case, vip netip.Addr, a lvs.RouteAnswer) (probes.Finding, bool) {
	var back *capture.Flow
	for _, f := range c.RecentFlowsTo(vip) {
		if f.Vantage != lvs.RoleRealServer || f.Client.Addr() != a.Dst {
			continue
		}
		if f.Outcome == capture.Established || f.Outcome == capture.Closed {
			return probes.Finding{}, false
		}
		if f.Outcome == capture.Stalled && f.SynFrom.String() != "" && f.SynFrom == f.SynAckTo && f.Stage(lvs.SynAckSent).State == lvs.Seen {
			back = &f
		}
	}
	if back == nil {
		return probes.Finding{}, false
	}
	if h := c.Cluster.HostOfMAC(back.SynFrom.String()); h != nil && !h.Is(lvs.RoleDirector) {
		return probes.Finding{}, false
	}
	certainty := probes.Hint
	if answers, known := answersARP(c.Host, vip, a.Device); known && !answers {
		certainty = probes.Strong
	}
	f := c.Finding(probes.Outage, certainty, fmt.Sprintf("answers from %s via %s", vip, a.Gateway))
	f.VIP = vip
	f.Title = fmt.Sprintf("%s answers clients through the host that sent the SYN", c.Name())
	f.Why = fmt.Sprintf("The SYN-ACK goes back to the MAC that the SYN came from. In direct routing that is the director, and it drops packets with the source %s, which is "+
		"its own address. No ACK has come of it.", vip)
	f.Evidence = append(f.Evidence,
		routeEvidence("the way of answers to "+a.Dst.String(), a, "via the router"),
		probes.Evidence{Fact: "MACs of the flow from " + back.Client.String(), Got: fmt.Sprintf("SYN from %s, SYN-ACK to %s", back.SynFrom, back.SynAckTo), Want: "two different ones",
			Command: fmt.Sprintf("tcpdump -eni %s host %s", a.Device, vip)})
	advise(&f, c.Name(), "the route by which this host answers clients has to lead to the router and not to the director", routeToRouter(c, "replace"))
	answerByRouter(&f, c, vip)
	return f, true
}
