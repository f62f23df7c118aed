package rules

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"lvstui/capture"
	"lvstui/lvs"
	"lvstui/probes"
)

// This file holds what the rules about ARP share: whether a host would answer for a VIP on a link, and whether anybody asks
// there.

// answersARP tells whether the kernel answers a request for ip that comes in on dev, by arp_ignore (net/ipv4/arp.c). The packet
// filter is not looked at. ip is local.
func answersARP(h *probes.Host, ip netip.Addr, dev string) (answers, known bool) {
	e := h.Snapshot.Effective(dev, "arp_ignore")
	onDev := slices.ContainsFunc(h.AddressesOf(ip), func(a lvs.Address) bool { return a.Device == dev })
	switch e.Value {
	case 1:
		answers = onDev
	case 2: // the asker has to be in one subnet with it
		answers = onDev && slices.Contains(h.OnLinkDevices(ip), dev)
	case 3: // not what has host scope; an address that is only routed as local has no scope that would do
		answers = slices.ContainsFunc(h.AddressesOf(ip), func(a lvs.Address) bool { return a.Scope != "host" && a.Scope != "nowhere" })
	case 8:
		answers = false
	default: // 0; 4 to 7 are reserved and do as 0 does
		answers = true
	}
	return answers, e.Known
}

// asking is how much is known of whether somebody on a link's segment asks for the VIP there.
type asking int

const (
	nobodyAsks asking = iota // it is known that the VIP is on another wire, or routed
	mayBeAsked               // nothing is known
	isAsked
)

// askedOn tells whether the VIP is asked for on the segment of one of the host's links, and how that is known.
func askedOn(c *probes.Case, vip netip.Addr, dev string) (asking, string) {
	for _, r := range c.Cluster.Hosts {
		if r == c.Host || !r.Is(lvs.RoleRouter) {
			continue
		}
		switch a := r.Asked(lvs.RouteQuery{Dst: vip}); {
		case a.Outcome != lvs.OutUnicast:
		case a.Gateway.IsValid():
			return nobodyAsks, fmt.Sprintf("%s routes %s via %s", r.Name(), vip, a.Gateway)
		case shareSegment(r, a.Device, c.Host, dev):
			return isAsked, fmt.Sprintf("%s looks for %s by ARP on the segment of %s", r.Name(), vip, dev)
		default:
			return nobodyAsks, fmt.Sprintf("%s looks for %s by ARP on another segment", r.Name(), vip)
		}
	}
	if slices.Contains(c.OnLinkDevices(vip), dev) {
		return isAsked, fmt.Sprintf("%s is in the subnet of %s, where every host looks for it by ARP", vip, dev)
	}
	elsewhere := ""
	for _, d := range c.Cluster.With(lvs.RoleDirector) {
		if d == c.Host {
			continue
		}
		for _, a := range d.HoldsOnWire(vip) {
			if shareSegment(d, a.Device, c.Host, dev) {
				return isAsked, fmt.Sprintf("%s has %s on %s, on the segment of %s", d.Name(), vip, a.Device, dev)
			}
			elsewhere = fmt.Sprintf("%s has %s on %s, on another segment", d.Name(), vip, a.Device)
		}
	}
	if elsewhere != "" {
		return nobodyAsks, elsewhere
	}
	if mac, ok := pastTheDirector(c, vip, dev); ok {
		return isAsked, fmt.Sprintf("SYNs for %s came in on %s from %s, to which the answers went too: past the director", vip, dev, mac)
	}
	return mayBeAsked, fmt.Sprintf("%s is in no subnet of %s, and no other host was looked at", vip, dev)
}

// shareSegment tells whether two links are on one segment: one has the other's MAC as a neighbour, an address inside the other's
// subnet, or a next hop that is the other.
func shareSegment(h *probes.Host, dev string, g *probes.Host, gdev string) bool {
	near := func(h *probes.Host, dev string, g *probes.Host, gdev string) bool {
		l, _ := g.Snapshot.Link(gdev)
		for _, n := range h.Snapshot.Neighbours {
			if n.Device == dev && n.MAC != "" && n.MAC == l.MAC && !n.Dead() {
				return true
			}
		}
		for _, a := range h.Snapshot.Addresses {
			if a.Device != dev || a.Prefix.IsSingleIP() || a.Prefix.Addr().IsLinkLocalUnicast() { // every link has fe80::/64
				continue
			}
			for _, b := range g.Snapshot.Addresses {
				if b.Device == gdev && a.Prefix.Masked().Contains(b.Prefix.Addr()) && a.Prefix.Addr() != b.Prefix.Addr() {
					return true
				}
			}
		}
		return slices.ContainsFunc(h.Snapshot.Routes, func(r lvs.Route) bool {
			return r.Device == dev && r.Gateway.IsValid() && !r.Gateway.IsLinkLocalUnicast() && slices.ContainsFunc(g.AddressesOf(r.Gateway), func(a lvs.Address) bool { return a.Device == gdev })
		})
	}
	return near(h, dev, g, gdev) || near(g, gdev, h, dev)
}

// pastTheDirector tells whether a client was served on a device by frames that come from where the answers go. Behind a director
// they come from it and answers go to the router.
func pastTheDirector(c *probes.Case, vip netip.Addr, dev string) (string, bool) {
	for _, f := range c.RecentFlowsTo(vip) {
		if f.Vantage != lvs.RoleRealServer || f.Outcome != capture.Established && f.Outcome != capture.Closed ||
			f.SynFrom != f.SynAckTo || deviceOf(c.Host, f.Stage(lvs.SynAtRealServer)) != dev {
			continue
		}
		mac := f.SynFrom.String()
		if h := c.Cluster.HostOfMAC(mac); mac != "" && (h == nil || !h.Is(lvs.RoleDirector)) {
			return mac, true
		}
	}
	return "", false
}

// exposedLinks are the links on which ARP for the VIP matters, each with how much is known. Where some are known to be asked the
// others do not count.
func exposedLinks(c *probes.Case, vip netip.Addr) map[string]asking {
	out := map[string]asking{}
	busy := deliveryDevices(c, vip)
	asked := false
	for _, l := range addressedLinks(c.Host) {
		a, _ := askedOn(c, vip, l.Name)
		asked = asked || a == isAsked
		if a == isAsked || a == mayBeAsked && (len(busy) == 0 || slices.Contains(busy, l.Name)) {
			out[l.Name] = a
		}
	}
	for dev, a := range out {
		if asked && a != isAsked {
			delete(out, dev)
		}
	}
	return out
}

// weigh turns what is known of a segment into severity and certainty of a host that talks for the VIP there. Where nobody has
// mentioned LVS an address on lo may just as well be that of a router or of an anycast service.
func weigh(c *probes.Case, vip netip.Addr, known asking) (probes.Severity, probes.Certainty) {
	switch {
	case known == isAsked:
		return probes.Degraded, probes.Certain
	case lvsIntended(c, vip):
		return probes.Hazard, probes.Strong
	}
	if fwd, _ := c.Snapshot.Sysctl("net/ipv4/ip_forward"); fwd != 0 {
		return probes.Note, probes.Hint
	}
	return probes.Hazard, probes.Hint
}

// lvsIntended says that something besides the address itself speaks of LVS: the operator, a director, flows, or ARP sysctls
// that somebody has set.
func lvsIntended(c *probes.Case, vip netip.Addr) bool {
	if c.Cluster.Named || len(c.Cluster.Options.Roles) > 0 {
		return true
	}
	if slices.ContainsFunc(c.FlowsTo(vip), func(f capture.Flow) bool { return f.Vantage == lvs.RoleRealServer }) {
		return true
	}
	for key, value := range c.Snapshot.Sysctls {
		if strings.HasPrefix(key, "net/ipv4/conf/") && (strings.HasSuffix(key, "/arp_ignore") || strings.HasSuffix(key, "/arp_announce")) &&
			strings.TrimSpace(value) != "0" {
			return true
		}
	}
	return false
}

// voice is VIPs for which a host talks on one device, alike in weight.
type voice struct {
	dev       string
	severity  probes.Severity
	certainty probes.Certainty
	vips      []netip.Addr
}

func (v voice) subject() string { return list(v.vips) + " on " + v.dev }

// addVoice groups: a hundred VIPs on one interface are one fault.
func addVoice(all []voice, v voice, vip netip.Addr) []voice {
	for i := range all {
		if all[i].dev == v.dev && all[i].severity == v.severity && all[i].certainty == v.certainty {
			all[i].vips = append(all[i].vips, vip)
			return all
		}
	}
	v.vips = []netip.Addr{vip}
	return append(all, v)
}

// answeringVoices are the VIPs that the host would answer ARP for, by link, leaving out links that have the VIP themselves. What
// can not be told is recorded with the case.
func answeringVoices(c *probes.Case) []voice {
	var out []voice
	for _, vip := range servedVIPs(c) {
		local, known := vipLocal(c, vip)
		if !known {
			c.CannotTell(lvs.SourceRoutes)
		}
		if !local {
			continue
		}
		exposed := exposedLinks(c, vip)
		for _, l := range addressedLinks(c.Host) {
			level, ok := exposed[l.Name]
			if !ok || holdsOn(c.Host, vip, l.Name) {
				continue
			}
			answers, known := answersARP(c.Host, vip, l.Name)
			if !known {
				c.CannotTell(lvs.SourceSysctls)
				continue
			}
			if !answers {
				continue
			}
			severity, certainty := weigh(c, vip, level)
			certainty, ok = pastFilter(c, l.Name, vip, certainty)
			if ok {
				out = addVoice(out, voice{dev: l.Name, severity: severity, certainty: certainty}, vip)
			}
		}
	}
	return out
}

// pastFilter takes the packet filter into account: ok is false when it silences the host, or may do so. An unreadable one
// lowers the certainty only: rules against ARP are rare.
func pastFilter(c *probes.Case, dev string, vip netip.Addr, certainty probes.Certainty) (probes.Certainty, bool) {
	if c.Snapshot.Netfilter == nil {
		if certainty == probes.Certain {
			certainty = probes.Strong
		}
		return certainty, true
	}
	switch arpFate(c.Snapshot.Netfilter, dev, vip) {
	case dropped:
		return certainty, false
	case perhaps:
		c.CannotTell(lvs.SourceNetfilter)
		return certainty, false
	}
	return certainty, true
}

func holdsOn(h *probes.Host, ip netip.Addr, dev string) bool {
	return slices.ContainsFunc(h.AddressesOf(ip), func(a lvs.Address) bool { return a.Device == dev })
}

// askedEvidence says why it matters on a link.
func askedEvidence(c *probes.Case, vip netip.Addr, dev string) probes.Evidence {
	_, how := askedOn(c, vip, dev)
	return probes.Evidence{Fact: "whether the VIP is asked for on " + dev, Got: how,
		Command: fmt.Sprintf("tcpdump -eni %s arp and host %s", dev, vip)}
}
