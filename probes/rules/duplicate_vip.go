package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:        "duplicate-vip",
	Title:     "a host that has nothing to do with the cluster has the VIP",
	Stage:     lvs.VIPResolved,
	Roles:     []lvs.Role{lvs.RoleDirector, lvs.RoleRealServer, lvs.RoleRouter, lvs.RoleClient},
	Needs:     []lvs.Source{lvs.SourceLinks, lvs.SourceAddresses},
	DependsOn: []string{"proxy-arp-steals-vip"},
	Explain: probes.Explain{
		Breaks: `Another machine on the segment has the VIP as an address of its own: a leftover of an earlier set-up, a cloned virtual machine, a
DHCP server whose range covers it. Both answer when the router asks, and it believes one of them, now this one and now that. Clients are
served, refused or ignored by turns, each for as long as the router's ARP entry lasts.`,
		ByHand: `From any host of the segment, also from the director itself; requests of this kind mislead nobody:

    lvstui check --probe arp
    arping -D -I eth0 -c 3 172.16.0.8

Every MAC but the director's is one too many. Whose it is, the switch knows (show mac address-table), and the first three bytes name
the maker of the card. To see it happen:

    tcpdump -eni eth0 arp and host 172.16.0.8`,
		Cure: `Take the address off that machine, then let the director tell the neighbours:

    arping -U -I eth0 -c 3 172.16.0.8

Take the VIP out of every DHCP range.`,
		Source: "RFC 5227; net/ipv4/arp.c, arp_process.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var out []probes.Finding
		for _, k := range claims(c) {
			if k.isStranger(c) {
				out = append(out, duplicateVIP(c, k))
			}
		}
		if c.Is(lvs.RoleDirector) {
			out = append(out, strangersAtHand(c)...)
		}
		return out
	},
})

// isStranger is true of a station that is nobody of the cluster. Where something on this director moves VIPs an unknown station is
// rather its peer.
func (k claim) isStranger(c *probes.Case) bool {
	if h := c.Cluster.HostOfMAC(k.mac); h != nil && k.kind == aRouter {
		return h.Has(k.vip) // else it answers as a proxy
	}
	return k.kind == someHost && !movesVIPs(c)
}

// movesVIPs says that something here moves addresses between directors.
func movesVIPs(c *probes.Case) bool {
	_, moves := owner(c.Snapshot, movers...)
	return moves && c.Is(lvs.RoleDirector)
}

func duplicateVIP(c *probes.Case, k claim) probes.Finding {
	f := claimFinding(c, k, probes.Strong) // that it answers is certain; that it is nobody of the cluster is not
	f.Title = fmt.Sprintf("%s answers ARP for %s too", k.host, k.vip)
	f.Why = fmt.Sprintf("%s was heard to answer for %s, which %s has. Routers and clients send to whichever answered them last, so some connections go to the wrong machine.", k.host, k.vip, k.rival)
	words := fmt.Sprintf("find the machine with the MAC %s and take %s off it; then, on the director, arping -U -I IFACE -c 3 %s", k.mac, k.vip, k.vip)
	if k.rival == "another host" {
		f.Why += " Which of them is the director cannot be told from here."
		words = fmt.Sprintf("compare the MACs with the director's: ip -br link. Whoever else has %s is a real server that answers ARP (rs-answers-arp), a second director (vrrp-split-brain) or a machine that has no business with it", k.vip)
	}
	advise(&f, k.host, words)
	return f
}

// strangersAtHand are hosts at hand that have a VIP of this director on its segment and answer for it, and are neither directors nor real
// servers of it, which other rules speak of.
func strangersAtHand(c *probes.Case) []probes.Finding {
	var out []probes.Finding
	for _, vip := range serviceVIPs(c) {
		for _, mine := range c.HoldsOnWire(vip) {
			for _, h := range c.Cluster.Hosts {
				if h == c.Host || h.Snapshot.IPVS == nil || h.Is(lvs.RoleDirector) || len(out) >= probes.Alike || !voiced(c.Host, vip, mine.Device) || ownsService(h, vip) || isDestination(c, vip, h) {
					continue
				}
				for _, theirs := range h.HoldsOnWire(vip) {
					if voiced(h, vip, theirs.Device) && shareSegment(h, theirs.Device, c.Host, mine.Device) {
						out = append(out, strangerAtHand(c, vip, h, theirs.Device))
						break
					}
				}
			}
		}
	}
	return out
}

// isDestination says that a host is a real server of the VIP.
func isDestination(c *probes.Case, vip netip.Addr, h *probes.Host) bool {
	return slices.ContainsFunc(c.Cluster.DestinationsOf(vip), func(r probes.DestinationRef) bool { return h.Has(r.Destination.Address) })
}

func strangerAtHand(c *probes.Case, vip netip.Addr, h *probes.Host, dev string) probes.Finding {
	f := c.Finding(probes.Degraded, probes.Certain, fmt.Sprintf("%s on %s", vip, dev))
	f.Host, f.VIP = h.Name(), vip
	f.Title = fmt.Sprintf("%s has %s too", h.Name(), vip)
	f.Why = fmt.Sprintf("%s is on %s of %s, which is no destination of any service, and on %s. Both answer for it, and routers and clients send to whichever answered last, so some connections go to the wrong machine.",
		vip, dev, h.Name(), c.Name())
	f.Evidence = append(f.Evidence, addressEvidence(h.Snapshot, vip, "on no interface"), addressEvidence(c.Snapshot, vip, "on the director"))
	var commands []string
	for _, a := range h.AddressesOf(vip) {
		commands = append(commands, fmt.Sprintf("ip addr del %s dev %s", a.Prefix, a.Device))
	}
	advise(&f, h.Name(), fmt.Sprintf("also where it is configured; then, on the director, arping -U -I IFACE -c 3 %s", vip), commands...)
	return f
}
