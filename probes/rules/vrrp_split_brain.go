package rules

import (
	"fmt"
	"net/netip"

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

// voiced says that the host answers for an address on a device, or, for IPv6, that it cannot help it.
func voiced(h *probes.Host, vip netip.Addr, dev string) bool {
	if vip.Is6() {
		return true
	}
	answers, known := answersARP(h, vip, dev)
	return answers && known
}

func bothHold(c *probes.Case, p secondHolder) probes.Finding {
	f := c.Finding(probes.Degraded, probes.Certain, fmt.Sprintf("%s on %s", p.vip, p.dev))
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
