package rules

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "vrrp-split-brain",
	Title: "two directors have the VIP at once",
	Stage: lvs.VIPResolved,
	Roles: []lvs.Role{lvs.RoleDirector, lvs.RoleRealServer, lvs.RoleRouter, lvs.RoleClient},
	Needs: []lvs.Source{lvs.SourceLinks, lvs.SourceAddresses},
	Explain: probes.Explain{
		Breaks: `Each of the two directors believes that the other one is dead, and takes the VIP: VRRP (IP protocol 112) does not get from one to the other.
Both answer for the VIP, the router's ARP entry goes back and forth, and connections end in a RST when their packets reach the director that
does not know them.`,
		ByHand: `On both directors, at the same time:

    ip -br address | grep 172.16.0.8
    tcpdump -ni eth0 proto 112

Each sees its own advertisements only. From any host of the segment:

    lvstui check --probe arp --vip 172.16.0.8`,
		Cure: `Let VRRP through on both directors, with firewalld:

    firewall-cmd --permanent --add-protocol=vrrp
    firewall-cmd --reload

with nftables:

    nft insert rule inet filter input ip protocol vrrp accept

Where the network carries no multicast (clouds, some virtual switches) name the peer with unicast_peer in keepalived.conf. virtual_router_id,
authentication, and the interface have to be the same on both. Do not take the VIP away by hand: keepalived would go on without it.`,
		Source: "RFC 5798; keepalived.conf(5), unicast_peer.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var out []probes.Finding
		seen := map[netip.Addr]bool{}
		for _, p := range secondHolders(c) {
			seen[p.vip] = true
			out = append(out, bothHold(c, p))
		}
		for _, k := range claims(c) {
			if !seen[k.vip] && (k.kind == aDirector || k.kind == someHost && movesVIPs(c)) {
				out = append(out, peerHeard(c, k))
			}
		}
		return out
	},
})

// secondHolder is another director at hand that has a VIP of this one on the same segment.
type secondHolder struct {
	vip      netip.Addr
	dev      string
	peer     *probes.Host
	peerDev  string
	evidence []probes.Evidence
}

// secondHolders are told once of each pair: by the one that comes later.
func secondHolders(c *probes.Case) []secondHolder {
	var out []secondHolder
	if !c.Is(lvs.RoleDirector) {
		return nil
	}
	for _, vip := range c.Cluster.VIPs {
		mine := c.HoldsOnWire(vip)
		if len(mine) == 0 || len(out) >= 64 {
			continue
		}
		for _, peer := range c.Cluster.With(lvs.RoleDirector) {
			if peer == c.Host {
				break // later ones tell it themselves
			}
			for _, theirs := range peer.HoldsOnWire(vip) {
				if routedPastARP(c, vip, peer) {
					break
				}
				if voiced(c.Host, vip, mine[0].Device) && voiced(peer, vip, theirs.Device) && shareSegment(peer, theirs.Device, c.Host, mine[0].Device) {
					out = append(out, secondHolder{vip, mine[0].Device, peer, theirs.Device, []probes.Evidence{
						addressEvidence(c.Snapshot, vip, "on one of the two directors"), addressEvidence(peer.Snapshot, vip, "on one of the two directors")}})
					break
				}
			}
		}
	}
	return out
}

// voiced says that the host answers for an address on a device. For IPv6 it cannot help it, unless the address is not in use yet or was
// found to be a duplicate.
func voiced(h *probes.Host, vip netip.Addr, dev string) bool {
	if vip.Is6() {
		return !slices.ContainsFunc(h.AddressesOf(vip), func(a lvs.Address) bool { return a.Device == dev && (a.Tentative || a.DADFailed) })
	}
	answers, known := answersARP(h, vip, dev)
	return answers && known
}

// routedPastARP says that a host at hand sends packets for the VIP to a director's own address: then nobody asks who has it, and two
// that have it share the work.
func routedPastARP(c *probes.Case, vip netip.Addr, peer *probes.Host) bool {
	return slices.ContainsFunc(c.Cluster.Hosts, func(r *probes.Host) bool {
		if r == c.Host || r == peer || r.Has(vip) {
			return false
		}
		theirs := func(gw netip.Addr) bool { return gw.IsValid() && (c.Has(gw) || peer.Has(gw)) }
		return theirs(r.Asked(lvs.RouteQuery{Dst: vip}).Gateway) || slices.ContainsFunc(r.Snapshot.Routes, func(rt lvs.Route) bool {
			return rt.Dst.IsSingleIP() && rt.Dst.Addr() == vip && theirs(rt.Gateway)
		})
	})
}

// lookedTogether is how far apart two hosts may have been looked at for what both showed to be so at once: the VIP may have moved meanwhile.
const lookedTogether = 30 * time.Second

// bothHold is certain where VIPs move between the two, which means that one at a time may have them, or where a host at hand asks for the
// VIP by ARP. Else both may be there on purpose, behind a router that divides its packets between them.
func bothHold(c *probes.Case, p secondHolder) probes.Finding {
	severity, certainty := probes.Degraded, probes.Strong
	_, here := owner(c.Snapshot, movers...)
	_, there := owner(p.peer.Snapshot, movers...)
	asked := slices.ContainsFunc(c.Cluster.Hosts, func(h *probes.Host) bool {
		a := h.Asked(lvs.RouteQuery{Dst: p.vip})
		return (h.Is(lvs.RoleRouter) || h.Is(lvs.RoleClient)) && a.Outcome == lvs.OutUnicast && !a.Gateway.IsValid() && len(h.OnLinkDevices(p.vip)) > 0 && h.Snapshot.Routes != nil
	})
	switch {
	case !(here && there) && !asked && len(c.OnLinkDevices(p.vip))+len(p.peer.OnLinkDevices(p.vip)) == 0:
		severity, certainty = probes.Hazard, probes.Hint // it can only be routed to
	case (here && there || asked) && c.Snapshot.TakenAt.Sub(p.peer.Snapshot.TakenAt).Abs() <= lookedTogether:
		certainty = probes.Certain
	}
	f := c.Finding(severity, certainty, fmt.Sprintf("%s on %s", p.vip, p.dev))
	f.VIP = p.vip
	f.Title = fmt.Sprintf("%s and %s both have %s", p.peer.Name(), c.Name(), p.vip)
	f.Why = fmt.Sprintf("%s is on %s of %s and on %s of %s, which are on one segment. Both answer for it, and the router sends to whichever it heard last.",
		p.vip, p.peerDev, p.peer.Name(), p.dev, c.Name())
	f.Evidence = append(f.Evidence, p.evidence...)
	if o, ok := owner(c.Snapshot, movers...); ok {
		f.Evidence = append(f.Evidence, probes.Evidence{Fact: "what moves the VIP", Got: o.Name + ", " + o.Evidence, Command: "journalctl -u " + o.Name})
	}
	advise(&f, c.Name(), "let VRRP (IP protocol 112) through between the two, or name them to each other with unicast_peer; one of them then gives the address up by itself",
		"tcpdump -ni "+p.dev+" proto 112")
	return f
}

func peerHeard(c *probes.Case, k claim) probes.Finding {
	f := claimFinding(c, k, probes.Strong)
	f.Title = fmt.Sprintf("a second director answers for %s", k.vip)
	f.Why = fmt.Sprintf("%s was heard to answer for %s, which %s has. ", k.host, k.vip, k.rival)
	if k.kind == aDirector {
		f.Why += "It is a director's address: both hold the VIP."
	} else {
		f.Why += "It is neither a known real server nor the router, and something here moves VIPs between directors: it is likely the other one, which holds the VIP as well."
	}
	advise(&f, k.host, "look at both directors: exactly one may have the address. Let VRRP (IP protocol 112) through between them, or name them to each other with unicast_peer",
		"tcpdump -ni "+k.dev+" proto 112")
	return f
}
