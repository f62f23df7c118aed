package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/capture"
	"lvstui/lvs"
	"lvstui/probes"
)

// This file answers what the rules about a director's own ARP share: on which links it has its VIPs, and who looks for them there.

// asker is somebody who looks for a VIP by ARP on a director's link.
type asker struct {
	sender netip.Addr // the address it asks with, invalid when that is not known
	sure   bool       // it was seen to ask, or its own routing says so; else it follows from the subnet
	proof  probes.Evidence
}

// whoAsks tells whether somebody looks for the VIP by ARP on a link of this director and, as far as was seen, in vain. A VIP for which clients'
// SYNs come in is found, by whatever means.
func whoAsks(c *probes.Case, vip netip.Addr, dev string) (asker, bool) {
	for _, r := range c.Cluster.With(lvs.RoleRouter) {
		if r == c.Host {
			continue
		}
		switch a := r.Asked(lvs.RouteQuery{Dst: vip}); {
		case a.Outcome != lvs.OutUnicast:
		case a.Gateway.IsValid() || !shareSegment(r, a.Device, c.Host, dev):
			return asker{}, false // it is routed here, or looked for elsewhere
		default:
			return asker{a.Source, true, probes.Evidence{Fact: "who looks for " + vip.String(), Got: fmt.Sprintf("%s, by ARP on %s, asking with %s", r.Name(), a.Device, a.Source),
				Command: routeCommand(lvs.RouteQuery{Dst: vip})}}, true
		}
	}
	for _, s := range c.ARP {
		if s.Address != vip || len(s.Answered) > 0 {
			continue
		}
		for _, h := range s.Asked {
			if h.Count >= 2 && h.Direction == capture.In && (h.Interface == dev || h.Interface == "") {
				return asker{h.IP, true, probes.Evidence{Fact: "who looks for " + vip.String(), Got: fmt.Sprintf("%s (%s) asked %d times on %s, and nobody answered", h.IP, h.MAC, h.Count, dev),
					Command: fmt.Sprintf("tcpdump -eni %s arp and host %s", dev, vip)}}, true
			}
		}
	}
	for _, s := range c.Subnets() {
		if s.Device == dev && s.Prefix.Contains(vip) {
			return asker{proof: probes.Evidence{Fact: "who looks for " + vip.String(), Got: fmt.Sprintf("it is in the subnet %s of %s, where every host looks for it by ARP", s.Prefix, dev),
				Command: "ip -o address show dev " + dev}}, true
		}
	}
	return asker{}, false
}

// lookedUp are the director's IPv4 VIPs that nobody has reached yet, as far as was seen.
func lookedUp(c *probes.Case) []netip.Addr {
	return slices.DeleteFunc(serviceVIPs(c), func(vip netip.Addr) bool { return !vip.Is4() || c.Served(vip) || arrivesHere(c, vip) })
}

// mute is VIPs for which a director keeps silent on one link, alike in weight.
type mute struct {
	dev       string
	severity  probes.Severity
	certainty probes.Certainty
	vips      []netip.Addr
	proof     []probes.Evidence
	ask       lvs.RouteQuery // for director-rp-filter-kills-arp
}

func addMute(all []mute, m mute, vip netip.Addr) []mute {
	for i := range all {
		if all[i].dev == m.dev && all[i].severity == m.severity && all[i].certainty == m.certainty {
			all[i].vips = append(all[i].vips, vip)
			return all
		}
	}
	m.vips = []netip.Addr{vip}
	return append(all, m)
}

// finding starts a finding about a silent director.
func (m mute) finding(c *probes.Case) probes.Finding {
	f := c.Finding(m.severity, m.certainty, fmt.Sprintf("%s on %s", list(m.vips), m.dev))
	about(&f, m.vips)
	f.Evidence = append(f.Evidence, m.proof...)
	return f
}
