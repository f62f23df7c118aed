package rules

import (
	"fmt"
	"net/netip"

	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "director-arps-with-vip-source",
	Title: "the director looks for real servers in the name of the VIP",
	Stage: lvs.SynForwarded,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS, lvs.SourceLinks, lvs.SourceAddresses, lvs.SourceNeighbours},
	Explain: probes.Explain{
		Breaks: `A director that has no address of its own on the card that faces the real servers, or has the VIP there as the first of the subnet, sends its ARP requests with the VIP as sender. A real
server has that address itself: to it the request is forged, and it keeps silent. The neighbour entry fails, and after about three seconds the client is told that the host is
unreachable. It works as long as an entry is left over from before.`,
		ByHand: `On the director; "src" must not be a VIP:

    ip route get 192.168.10.11
    ip neigh show to 192.168.10.11
    tcpdump -eni eth0 arp and host 192.168.10.11`,
		Cure: `Give the card an address of the director's own in the real servers' subnet, and the VIP after it, with prefix /32:

    ip addr add 192.168.10.2/24 dev eth0

An address that was added first stays the first of its subnet: take the VIP away and add it again as /32.`,
		Source: "net/ipv4/arp.c, arp_solicit and arp_process (ip_route_input_noref); net/ipv4/devinet.c, inet_select_addr.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		vips := map[netip.Addr]bool{}
		for _, vip := range serviceVIPs(c) {
			vips[vip] = true
		}
		undecided := false
		keys, bad := collectBad(c, func(v lvs.Service, d lvs.Destination) (string, probes.Evidence) {
			if d.Forward != lvs.Gate || c.Has(d.Address) || !d.Address.Is4() {
				return "", probes.Evidence{}
			}
			a := c.Asked(lvs.RouteQuery{Dst: d.Address})
			if a.Outcome == lvs.OutUnknown {
				undecided = true
			}
			if a.Outcome != lvs.OutUnicast || a.Gateway.IsValid() || !a.Source.IsValid() || !vips[a.Source] {
				return "", probes.Evidence{}
			}
			return a.Device + " " + a.Source.String(), probes.Evidence{Fact: "address the director asks " + d.Address.String() + " with", Got: a.Source.String(),
				Want: "an address of its own on " + a.Device, Command: routeCommand(a.RouteQuery)}
		})
		if undecided {
			c.CannotTell(lvs.SourceAnswers)
		}
		var out []probes.Finding
		for _, key := range keys {
			out = append(out, asksWithVIP(c, bad[key]))
		}
		return out
	},
})

func asksWithVIP(c *probes.Case, b *badDestinations) probes.Finding {
	a := c.Asked(lvs.RouteQuery{Dst: b.rips[0]})
	dead := 0
	for _, rip := range b.rips {
		if _, is := deadNeighbour(c, lvs.Destination{Address: rip}); is {
			dead++
		}
	}
	severity, certainty := probes.Hazard, probes.Strong // entries are left: it works until they are asked for again
	switch {
	case dead == len(b.rips):
		severity, certainty = b.severity(), probes.Certain
	case dead > 0:
		severity, certainty = probes.Degraded, probes.Certain
	}
	f := c.Finding(severity, certainty, fmt.Sprintf("%s on %s", a.Source, a.Device))
	about(&f, b.vips)
	f.Title = fmt.Sprintf("%s looks for %s in the name of %s", c.Name(), list(b.rips), a.Source)
	f.Why = fmt.Sprintf("The address that %s sends ARP requests with on %s is %s, the VIP. A real server that has the VIP takes such a request for forged and does not answer, so SYNs for it can not be addressed.",
		c.Name(), a.Device, a.Source)
	f.Evidence = append(f.Evidence, b.evidence...)
	f.Evidence = append(f.Evidence, probes.Evidence{Fact: "real servers without an answer", Got: fmt.Sprintf("%d of %d", dead, len(b.rips)), Want: "none", Command: "ip neigh show dev " + a.Device})
	advise(&f, c.Name(), fmt.Sprintf("give %s an address of its own in the subnet of %s on %s, in front of the VIP, and the VIP with prefix /32; also where the addresses are configured", c.Name(), list(b.rips), a.Device))
	return f
}
