package rules

import (
	"fmt"
	"net/netip"

	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "vip-on-lo-director-arp-ignore",
	Title: "the director has the VIP on lo and keeps silent about it",
	Stage: lvs.VIPResolved,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS, lvs.SourceLinks, lvs.SourceAddresses, lvs.SourceSysctls},
	Explain: probes.Explain{
		Breaks: `A host that is a real server, or was one, has the VIP on lo and arp_ignore=1, so that it does not answer ARP for it. As the director it has to answer. With the VIP on lo or a dummy
interface only, and arp_ignore above 0 on the card, nobody answers, and the router finds no MAC for the VIP. It is well when the router has a route to the VIP through the
director's own address, because then nobody asks.`,
		ByHand: `On the director:

    ip -o address show to 172.16.0.8
    sysctl net.ipv4.conf.all.arp_ignore net.ipv4.conf.eth0.arp_ignore
    tcpdump -eni eth0 arp and host 172.16.0.8`,
		Cure: `Give the director that is in charge the VIP on the card that faces the router:

    ip addr add 172.16.0.8/32 dev eth0
    arping -U -c 3 -I eth0 172.16.0.8

keepalived does so when the address is a virtual_ipaddress. Or let the router send the VIP to the director's own address:

    ip route add 172.16.0.8/32 via DIP`,
		Source: "net/ipv4/arp.c, arp_ignore case 1.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		if asStandby(c) { // another one is in charge now, or something here moves the address
			return nil
		}
		var all []mute
		for _, vip := range lookedUp(c) {
			if len(c.HoldsOnWire(vip)) > 0 || !c.Has(vip) || heldByPeer(c, vip) {
				continue
			}
			if m, ok := silentOnLo(c, vip); ok {
				all = addMute(all, m, vip)
			}
		}
		var out []probes.Finding
		for _, m := range all {
			out = append(out, hiddenVIP(c, m))
		}
		return out
	},
})

// silentOnLo tells whether the VIP is looked for on some link and no link answers for it. An address that lies where everybody looks for it may
// still be routed: then it is a hazard.
func silentOnLo(c *probes.Case, vip netip.Addr) (mute, bool) {
	var m mute
	for _, l := range c.WireLinks() {
		who, ok := whoAsks(c, vip, l.Name)
		if !c.HasIPv4(l.Name) && !ok {
			continue // one that lost the VIP, its only address, is asked all the same
		}
		answers, known := answersARP(c.Host, vip, l.Name)
		switch {
		case !known:
			c.CannotTell(lvs.SourceSysctls)
			return mute{}, false
		case answers:
			return mute{}, false
		}
		if !ok || m.certainty == probes.Certain {
			continue
		}
		m = mute{dev: l.Name, severity: probes.Hazard, certainty: probes.Strong, proof: []probes.Evidence{who.proof}}
		if who.sure {
			m.severity, m.certainty = probes.Outage, probes.Certain
		}
	}
	return m, m.dev != ""
}

func hiddenVIP(c *probes.Case, m mute) probes.Finding {
	f := m.finding(c)
	f.Title = fmt.Sprintf("%s hides %s on %s", c.Name(), list(m.vips), c.AddressesOf(m.vips[0])[0].Device)
	f.Why = fmt.Sprintf("%s is not on a network card, and arp_ignore keeps this host from answering for addresses of other interfaces on %s. That is right for a real server; as the director it is looked for "+
		"by ARP, and nobody answers.", list(m.vips), m.dev)
	f.Evidence = append(f.Evidence, addressEvidence(c.Snapshot, m.vips[0], "on the card that faces the router, or routed to this host"), sysctlEvidence(c.Snapshot, m.dev, "arp_ignore", "0, or the VIP on the card"))
	var commands []string
	for _, vip := range m.vips[:min(len(m.vips), 4)] {
		commands = append(commands, fmt.Sprintf("ip addr add %s/%d dev %s", vip, vip.BitLen(), m.dev), fmt.Sprintf("arping -U -c 3 -I %s %s", m.dev, vip))
	}
	advise(&f, c.Name(), "make sure that no other director has the VIP, then add it to the card; or let the router send it to this host's own address", commands...)
	return f
}
