package rules

import (
	"fmt"
	"net/netip"

	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "director-rp-filter-kills-arp",
	Title: "the director's reverse path filter silences its ARP",
	Stage: lvs.VIPResolved,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS, lvs.SourceLinks, lvs.SourceAddresses, lvs.SourceSysctls},
	Explain: probes.Explain{
		Breaks: `Before the kernel answers an ARP request it checks the asker's address as it would a packet's. A router with a second address in the VIP's subnet asks with that one. A director that has the
VIP with prefix /32, and no route to that address over the card, takes the request for forged when rp_filter is 1 or 2: no answer, no error, no counter. The director looks dead to
the router.`,
		ByHand: `On the director, with the address that the router asks with:

    tcpdump -eni eth0 arp and host 172.16.0.8
    ip route get 172.16.0.8 from 172.16.0.1 iif eth0

Requests come in, no reply goes out, and the second command fails.`,
		Cure: `Give the director a route to the router's address on that card:

    ip route add 172.16.0.0/24 dev eth0

or give it the VIP with its real prefix length, also in the configuration that is loaded at boot. Turning rp_filter off on "all" and the card helps too.`,
		Source: "net/ipv4/arp.c, arp_process: ip_route_input_noref comes before the answer.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var all []mute
		for _, vip := range lookedUp(c) {
			for _, a := range c.HoldsOnWire(vip) {
				who, ok := whoAsks(c, vip, a.Device)
				if !ok || !who.sure || !who.sender.IsValid() || who.sender.IsUnspecified() || c.Has(who.sender) {
					continue
				}
				if answers, known := answersARP(c.Host, vip, a.Device); known && !answers {
					continue // director-arp-ignore-2
				}
				q := lvs.RouteQuery{Dst: vip, Src: who.sender, Iif: a.Device}
				switch answer := c.Asked(q); answer.Outcome {
				case lvs.OutUnknown:
					cannotRoute(c)
				case lvs.OutRejected:
					all = addMute(all, mute{dev: a.Device, severity: probes.Outage, certainty: probes.Certain, ask: q,
						proof: []probes.Evidence{who.proof, routeEvidence("a request from "+who.sender.String()+" on "+a.Device, answer, "delivered to this host")}}, vip)
				}
			}
		}
		var out []probes.Finding
		for _, m := range all {
			f := m.finding(c)
			f.Title = fmt.Sprintf("%s drops ARP requests for %s by reverse path", c.Name(), list(m.vips))
			f.Why = fmt.Sprintf("%s is asked for on %s with %s as the sender's address. This director has no route to that address over %s, and with rp_filter on it drops the request as forged, without an answer.",
				list(m.vips), m.dev, m.ask.Src, m.dev)
			f.Evidence = append(f.Evidence, sysctlEvidence(c.Snapshot, m.dev, "rp_filter", "0, or a route back over "+m.dev))
			advise(&f, c.Name(), "give this director a route to the asker's subnet on that card, also in the configuration that is loaded at boot",
				fmt.Sprintf("ip route add %s/32 dev %s", m.ask.Src, m.dev))
			asker := fixes.AddRoute{Table: lvs.TableMain, Dst: netip.PrefixFrom(m.ask.Src, m.ask.Src.BitLen()), Device: m.dev}
			cureIfPossible(&f, c.Snapshot, fixes.Plan{Title: fmt.Sprintf("a route to %s on %s", m.ask.Src, m.dev), Steps: []fixes.Step{asker}})
			out = append(out, f)
		}
		return out
	},
})
