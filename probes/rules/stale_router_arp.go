package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/capture"
	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "stale-router-arp",
	Title: "the router has an old MAC for the VIP",
	Stage: lvs.VIPResolved,
	Roles: []lvs.Role{lvs.RoleRouter, lvs.RoleClient, lvs.RoleRealServer, lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceLinks, lvs.SourceAddresses, lvs.SourceNeighbours},
	DependsOn: []string{"rs-answers-arp", "rs-arp-announce-poison", "arp-sysctl-on-lo-only", "vip-on-rs-nic", "vip-scope-vs-arp-ignore-3", "kube-strict-arp-off",
		"proxy-arp-steals-vip", "duplicate-vip", "vrrp-split-brain"},
	Explain: probes.Explain{
		Breaks: `The director has the VIP, and the router still sends to the MAC that had it before: that of the other director, or of a real server whose ARP has
been cured since. The announcement of the change (gratuitous ARP) was lost, ignored or never sent; some routers keep an entry for hours. The director
sees no SYN at all.`,
		ByHand: `On the router, compare with the director's MAC:

    ip neigh show 172.16.0.8
    ip -br link            (on the director)

On the host that gets the packets instead:

    tcpdump -eni eth0 host 172.16.0.8 and 'tcp[tcpflags] & tcp-syn != 0'`,
		Cure: `On the director that has the VIP, tell the neighbours, in both forms, as routers differ in which they heed:

    arping -U -I eth0 -s 172.16.0.8 -c 5 172.16.0.8
    arping -A -I eth0 -s 172.16.0.8 -c 5 172.16.0.8

or on the router: ip neigh del 172.16.0.8 dev eth1. For next time, in keepalived.conf: garp_master_refresh 60, or use_vmac, with which the MAC moves
along.`,
		Source: "RFC 826; net/core/neighbour.c; keepalived.conf(5), garp_master_refresh.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		out := oldEntries(c)
		if c.Is(lvs.RoleRealServer) {
			out = append(out, stillSentHere(c)...)
		}
		if c.Is(lvs.RoleDirector) {
			out = append(out, sentToStandby(c)...)
		}
		return out
	},
})

// oldEntries are neighbour entries for VIPs that differ from the MAC of the director at hand, on a host that does not have the VIP.
func oldEntries(c *probes.Case) []probes.Finding {
	var out []probes.Finding
	for _, n := range c.Snapshot.Neighbours {
		if n.MAC == "" || n.Dead() || n.Proxy || !slices.Contains(c.Cluster.VIPs, n.Address) || c.Has(n.Address) {
			continue
		}
		d, dev := holderNextTo(c, n)
		if d == nil || ownMACText(d, n.MAC) {
			continue
		}
		f := c.Finding(probes.Degraded, probes.Certain, fmt.Sprintf("%s on %s", n.Address, n.Device))
		f.VIP = n.Address
		f.Title = fmt.Sprintf("%s sends packets for %s to another host than %s", c.Name(), n.Address, d.Name())
		_, who := whoIs(c, n.MAC, netip.Addr{})
		f.Why = fmt.Sprintf("The neighbour entry of %s for %s has the MAC of %s, and %s has the address on %s. So the packets go past the director.",
			c.Name(), n.Address, who, d.Name(), dev)
		l, _ := d.Snapshot.Link(dev)
		f.Evidence = append(f.Evidence,
			probes.Evidence{Fact: "neighbour entry for " + n.Address.String(), Got: fmt.Sprintf("%s, %s", n.MAC, n.State), Want: l.MAC, Command: "ip neigh show " + n.Address.String()},
			addressEvidence(d.Snapshot, n.Address, "on the director"))
		advise(&f, c.Name(), fmt.Sprintf("or on %s: arping -U -I %s -s %s -c 5 %s", d.Name(), dev, n.Address, n.Address), fmt.Sprintf("ip neigh del %s dev %s", n.Address, n.Device))
		cureIfPossible(&f, c.Snapshot, fixes.Plan{Title: fmt.Sprintf("ask anew who has %s", n.Address), Steps: []fixes.Step{fixes.DelNeighbour{Device: n.Device, Address: n.Address}}})
		out = append(out, f)
	}
	return out
}

// holderNextTo is the one director at hand that has the address of a neighbour entry on the entry's segment, and answers for it.
func holderNextTo(c *probes.Case, n lvs.Neighbour) (*probes.Host, string) {
	var found *probes.Host
	dev := ""
	for _, d := range c.Cluster.With(lvs.RoleDirector) {
		for _, a := range d.HoldsOnWire(n.Address) {
			if !voiced(d, n.Address, a.Device) || !shareSegment(d, a.Device, c.Host, n.Device) {
				continue
			}
			if found != nil && found != d {
				return nil, "" // two of them: that is the trouble
			}
			found, dev = d, a.Device
		}
	}
	return found, dev
}

// stillSentHere is for a real server that gets its SYNs past the director although, as it is now, it does nothing to attract them.
func stillSentHere(c *probes.Case) []probes.Finding {
	var out []probes.Finding
	guilty := append(answeringVoices(c), announcingVoices(c)...)
	for _, vip := range servedVIPs(c) {
		if !vip.Is4() || len(c.HoldsOnWire(vip)) > 0 || slices.ContainsFunc(guilty, func(v voice) bool { return slices.Contains(v.vips, vip) }) {
			continue
		}
		for _, l := range addressedLinks(c.Host) {
			mac, past := pastTheDirector(c, vip, l.Name)
			if !past {
				continue
			}
			// Where no director is at hand this may be its MAC: it may be the gateway too, and take what comes from its own VIP.
			severity, certainty := probes.Hazard, probes.Hint
			if len(c.Cluster.With(lvs.RoleDirector)) > 0 {
				severity, certainty = probes.Degraded, probes.Strong
			}
			f := c.Finding(severity, certainty, fmt.Sprintf("%s on %s", vip, l.Name))
			_, f.Host = whoIs(c, mac, netip.Addr{})
			f.VIP = vip
			f.Title = fmt.Sprintf("%s still sends packets for %s to %s", f.Host, vip, c.Name())
			f.Why = fmt.Sprintf("SYNs for %s come in on %s from the MAC that the answers go to, so past the director. As it is now this host neither answers for the VIP nor gives it as sender: "+
				"whoever sends here has learnt the MAC before, and not been told better.", vip, l.Name)
			f.Evidence = append(f.Evidence,
				probes.Evidence{Fact: "SYNs for " + vip.String(), Got: "from " + mac + ", where the SYN-ACKs go", Want: "from the director's MAC", Command: fmt.Sprintf("tcpdump -eni %s host %s", l.Name, vip)},
				sysctlEvidence(c.Snapshot, l.Name, "arp_ignore", "1 or 2"), sysctlEvidence(c.Snapshot, l.Name, "arp_announce", "2"))
			advise(&f, f.Host, fmt.Sprintf("on the director: arping -U -I IFACE -s %s -c 5 %s, or let the router forget its entry for %s", vip, vip, vip))
			out = append(out, f)
			break
		}
	}
	return out
}

// sentToStandby is for a director that lacks the VIP, as a standby should, and is sent packets for it all the same.
func sentToStandby(c *probes.Case) []probes.Finding {
	var out []probes.Finding
	if c.Snapshot.IPVS == nil || !asStandby(c) {
		return nil
	}
	for _, vip := range serviceVIPs(c) {
		holds, known := holdsVIP(c, vip)
		if holds || !known || !vip.Is4() {
			continue
		}
		onward := c.Asked(lvs.RouteQuery{Dst: vip})
		for _, f := range slices.Backward(c.RecentFlowsTo(vip)) {
			sight, came := synArrival(f)
			if !came || !ownMAC(c.Host, sight.DstMAC) || passesOn(c.Host, vip) && onward.Outcome == lvs.OutUnicast && !hasMAC(c, onward.Gateway, sight.SrcMAC) {
				continue
			}
			out = append(out, standbyFinding(c, vip, sight))
			break
		}
	}
	return out
}

// hasMAC says that a neighbour is known by a MAC.
func hasMAC(c *probes.Case, ip netip.Addr, mac capture.MAC) bool {
	return slices.ContainsFunc(c.Snapshot.Neighbours, func(n lvs.Neighbour) bool { return n.Address == ip && n.MAC == mac.String() })
}

// synArrival is the frame with which a flow's SYN came in here, whatever the host was taken for.
func synArrival(f capture.Flow) (capture.StageSight, bool) {
	for _, s := range f.Stages {
		if s.State == lvs.Seen && s.Stage.Index() <= lvs.SynAtRealServer.Index() {
			return s, s.Direction == capture.In
		}
	}
	return capture.StageSight{}, false
}

func standbyFinding(c *probes.Case, vip netip.Addr, sight capture.StageSight) probes.Finding {
	f := c.Finding(probes.Degraded, probes.Hint, fmt.Sprintf("%s on %s", vip, sight.Interface))
	_, f.Host = whoIs(c, sight.SrcMAC.String(), netip.Addr{})
	f.VIP = vip
	f.Title = fmt.Sprintf("%s sends packets for %s to this standby", f.Host, vip)
	f.Why = fmt.Sprintf("%s does not have %s, as a standby should, and SYNs for it come in on %s addressed to its MAC. If the other director has the VIP, whoever sends them has not learnt of the change.", c.Name(), vip, sight.Interface)
	f.Evidence = append(f.Evidence, probes.Evidence{Fact: "a SYN for " + vip.String(), Got: fmt.Sprintf("from %s to %s on %s", sight.SrcMAC, sight.DstMAC, sight.Interface),
		Want: "none: the other director's MAC", Command: fmt.Sprintf("tcpdump -eni %s host %s", sight.Interface, vip)}, addressEvidence(c.Snapshot, vip, "on exactly one director"))
	advise(&f, f.Host, fmt.Sprintf("on the director that has it: arping -U -I IFACE -s %s -c 5 %s", vip, vip))
	return f
}
