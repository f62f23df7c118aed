package rules

import (
	"fmt"
	"net/netip"

	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "rs-no-route-to-client",
	Title: "a real server has no route to the clients",
	Stage: lvs.SynAckSent,
	Roles: []lvs.Role{lvs.RoleRealServer},
	Needs: []lvs.Source{lvs.SourceLinks, lvs.SourceAddresses},
	Explain: probes.Explain{
		Breaks: `With direct routing the real server answers the client itself, so it needs a route to it. A real server in a private network
often has none. Without source validation it takes the SYN and can not send the SYN-ACK; with rp_filter 1 or 2 it drops the SYN already, because
no route leads back to its source. Either way the client times out.`,
		ByHand: `On the real server, with a client's address:

    ip route get 188.88.88.10 from 172.16.0.8

"Network is unreachable" is the fault. Which of the two counters rises says where the packet is lost:

    nstat -az IpOutNoRoutes TcpExtIPReversePathFilter`,
		Cure: `Add a route by way of the router (not of the director):

    ip route add default via ROUTER dev eth0

For the next boot write it where the host's network is configured.`,
		Source: "net/ipv4/route.c, ip_route_output_key; net/ipv4/fib_frontend.c, __fib_validate_source.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var out []probes.Finding
		vips, weight := drVIPs(c)
		for _, vip := range vips {
			if local, known := vipLocal(c, vip); !known || !local {
				continue // vip-missing-on-rs
			}
			if f, ok := rsNoRouteToClient(c, vip); ok {
				if weight[vip] == 0 && f.Severity != probes.Note {
					f.Severity = probes.Hazard
				}
				out = append(out, f)
			}
		}
		return out
	},
})

func rsNoRouteToClient(c *probes.Case, vip netip.Addr) (probes.Finding, bool) {
	clients, assumed := judgedClients(c, vip)
	var cut []lvs.RouteAnswer
	for _, client := range clients {
		switch a := reply(c, vip, client); a.Outcome {
		case lvs.OutUnknown:
			cannotRoute(c)
		case lvs.OutUnreachable, lvs.OutRejected:
			cut = append(cut, a)
		}
	}
	if len(cut) == 0 {
		return probes.Finding{}, false
	}
	noRoutes, reversePath := c.Counter("Ip.OutNoRoutes"), c.Counter("TcpExt.IPReversePathFilter")
	severity, certainty := probes.Outage, probes.Certain
	switch {
	case assumed && noRoutes+reversePath == 0:
		severity, certainty = probes.Note, probes.Hint // the clients may be of this network
	case assumed && reversePath > 0:
		severity, certainty = probes.Hazard, probes.Strong
	case assumed: // a time server that is out of reach counts as well
		severity, certainty = probes.Hazard, probes.Hint
	case len(cut) < len(clients):
		severity = probes.Degraded
	}
	f := c.Finding(severity, certainty, "route for answers from "+vip.String())
	f.VIP = vip
	f.Title = fmt.Sprintf("%s has no route to client %s", c.Name(), cut[0].Dst)
	if assumed {
		f.Title = fmt.Sprintf("%s has no route to the Internet", c.Name())
	}
	if len(cut) > 1 {
		f.Title = fmt.Sprintf("%s has no route to %d of %d clients", c.Name(), len(cut), len(clients))
	}
	f.Why = fmt.Sprintf("The real server answers clients itself, and it has no route to %s. The SYN-ACK can not be sent, or with rp_filter on the SYN is dropped already, "+
		"because no route leads back to its source.", cut[0].Dst)
	if assumed {
		f.Why += " No client has been seen: if all of them are in networks that this host knows, nothing is wrong."
	}
	f.Evidence = append(f.Evidence, routeEvidence("the way of answers to "+cut[0].Dst.String(), cut[0], "via the router"))
	for _, e := range []struct {
		n    uint64
		fact string
		name string
	}{{noRoutes, "packets that no route was found for since boot", "IpOutNoRoutes"}, {reversePath, "packets dropped for want of a route back since boot", "TcpExtIPReversePathFilter"}} {
		if e.n > 0 {
			f.Evidence = append(f.Evidence, probes.Evidence{Fact: e.fact, Got: fmt.Sprint(e.n), Want: "not rising", Command: "nstat -az " + e.name})
		}
	}
	advise(&f, c.Name(), "add a route to the clients by way of the router", routeToRouter(c, "add"))
	if severity != probes.Note {
		answerByRouter(&f, c, vip)
	}
	return f, true
}
