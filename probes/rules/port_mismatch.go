package rules

import (
	"fmt"
	"slices"

	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "port-mismatch",
	Title: "a destination has another port than its virtual service",
	Stage: lvs.SynAccepted,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS},
	Explain: probes.Explain{
		Breaks: `Direct routing leaves the packet as it is, the port included. A destination RIP:8080 of a service VIP:80 gets its packets on port 80 all the same; the 8080 in the table means nothing.
When the program listens on 8080 only, the real server answers with a RST and the client says "connection refused". ipvsadm and newer keepalived put the service's port in its place; older ones and
programs that talk to the kernel themselves do not.`,
		ByHand: `On the director compare the ports, on the real server see what listens:

    ipvsadm -Ln
    ss -ltn`,
		Cure: `Let the program listen on the service's port, or redirect it on the real server:

    nft add rule ip nat prerouting ip daddr 172.16.0.8 tcp dport 80 redirect to :8080

or forward by masq, which does change ports. Then correct the port in the director's configuration, so that nobody is misled.`,
		Source: "net/netfilter/ipvs/ip_vs_xmit.c, ip_vs_dr_xmit: nothing is rewritten.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var out []probes.Finding
		for _, v := range services(c) {
			var odd []lvs.Destination
			for _, d := range v.Destinations {
				if v.FWMark == 0 && v.Port != 0 && d.Port != 0 && d.Port != v.Port && (d.Forward == lvs.Gate || d.Forward == lvs.IPIP || d.Forward == lvs.Local) {
					odd = append(odd, d)
				}
			}
			if len(odd) > 0 && len(out) < 16 {
				out = append(out, portMismatch(c, v, odd))
			}
		}
		return out
	},
})

// portMismatch is a hazard as long as nobody knows what listens on the real servers, and a note when it works nevertheless.
func portMismatch(c *probes.Case, v lvs.Service, odd []lvs.Destination) probes.Finding {
	severity, certainty := probes.Hazard, probes.Strong
	closed, open := 0, 0
	for _, d := range odd {
		h := c.Cluster.Holder(d.Address)
		if h == nil || h.Snapshot.Sockets == nil {
			continue
		}
		if takesPort(h, v, v.Port) {
			open++
		} else if takesPort(h, v, d.Port) {
			closed++
		}
	}
	switch {
	case c.Served(v.Address) && closed == 0, open == len(odd):
		severity, certainty = probes.Note, probes.Certain
	case closed > 0 && closed == len(v.Destinations):
		severity, certainty = probes.Outage, probes.Strong // something may redirect the port
	case closed > 0:
		severity, certainty = probes.Degraded, probes.Strong
	}
	f := c.Finding(severity, certainty, v.Key())
	f.VIP = v.Address
	names := make([]string, 0, len(odd))
	for _, d := range odd {
		names = append(names, ipvsadmDestination(d))
	}
	f.Title = fmt.Sprintf("%s sends to port %d, not to that of %s", v.Name(), v.Port, listWords(names))
	f.Why = fmt.Sprintf("The port of a destination means nothing with direct routing: packets for %s arrive at %s with port %d as destination. A program that listens on the other port only never gets them.",
		v.Name(), listWords(names), v.Port)
	f.Evidence = append(f.Evidence, probes.Evidence{Fact: "destinations of " + v.Name(), Got: listWords(names), Want: fmt.Sprintf("port %d", v.Port), Command: "ipvsadm -Ln " + ipvsadmService(v)})
	if open+closed > 0 {
		f.Evidence = append(f.Evidence, probes.Evidence{Fact: "real servers that listen on the service's port", Got: fmt.Sprintf("%d of %d that were looked at", open, open+closed), Want: "all",
			Command: fmt.Sprintf("ss -ltn 'sport = :%d'", v.Port)})
	}
	advise(&f, c.Name(), fmt.Sprintf("let the program on %s listen on port %d, or redirect that port there; then correct the port in the director's configuration", listWords(names), v.Port))
	return f
}

// takesPort tells whether a socket on the host would take packets for the service's address and a port.
func takesPort(h *probes.Host, v lvs.Service, port uint16) bool {
	return slices.ContainsFunc(h.Snapshot.Sockets, func(s lvs.Socket) bool {
		return s.Protocol == v.Protocol && s.Port == port && (s.Address.IsUnspecified() || s.Address.Unmap() == v.Address)
	})
}
