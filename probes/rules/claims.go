package rules

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"lvstui/capture"
	"lvstui/lvs"
	"lvstui/probes"
)

// This file holds what the rules share that hear others answer for a VIP: in answer to an active test, or by listening.

// claim is a station, not this host, that gives a VIP as its own although somebody else has it.
type claim struct {
	vip       netip.Addr
	dev       string
	mac       string
	certainty probes.Certainty // that it answers while another does too
	evidence  probes.Evidence
	kind      claimant
	host      string // what it is called, as far as known: a host's name, an address, a MAC
	rival     string // who else has it
}

// claimant is what a station that claims a VIP is.
type claimant int

const (
	someHost claimant = iota
	aRealServer
	aDirector
	aRouter
)

// claims are the stations that answer for a VIP beside the one that has it. On a host that has the VIP on the wire every other is one;
// elsewhere it takes two.
func claims(c *probes.Case) []claim {
	var out []claim
	add := func(k claim) {
		i := slices.IndexFunc(out, func(o claim) bool { return o.vip == k.vip && o.mac == k.mac })
		switch {
		case i < 0 && len(out) < 64:
			out = append(out, k)
		case i >= 0 && out[i].certainty != probes.Certain && k.certainty == probes.Certain:
			out[i] = k
		}
	}
	if p := c.Snapshot.Probed; p != nil {
		for _, a := range p.ARP {
			for _, k := range probedClaims(c, a) {
				add(k)
			}
		}
	}
	for i := range c.ARP {
		for _, k := range heardClaims(c, &c.ARP[i]) {
			add(k)
		}
	}
	return out
}

// probedClaims are those of an active test: whoever answered, answers.
func probedClaims(c *probes.Case, a lvs.ARPProbe) []claim {
	var macs []string
	for _, m := range a.Answers {
		if !ownMACText(c.Host, m.MAC) && !slices.Contains(macs, m.MAC) {
			macs = append(macs, m.MAC)
		}
	}
	command := fmt.Sprintf("arping -D -I %s -c 3 %s", a.Device, a.Address)
	if a.Address.Is6() {
		command = fmt.Sprintf("ndisc6 -m %s %s", a.Address, a.Device)
	}
	station := func(mac string) netip.Addr {
		for _, m := range a.Answers {
			if m.MAC == mac {
				return m.Station
			}
		}
		return netip.Addr{}
	}
	return rivals(c, a.Address, a.Device, macs, station, a.Holds || len(c.HoldsOnWire(a.Address)) > 0, func(mac string) (probes.Certainty, probes.Evidence) {
		n := 0
		for _, m := range a.Answers {
			if m.MAC == mac {
				n += m.Ordinary + m.DAD
			}
		}
		return probes.Certain, probes.Evidence{Fact: "who answers for " + a.Address.String() + " on " + a.Device,
			Got: fmt.Sprintf("%s, to %d of %d requests", mac, n, a.Sent), Want: "the director alone", Command: command}
	})
}

// heardClaims are those of a capture. A VIP that moves to another director changes its MAC once, so it takes one that comes back.
func heardClaims(c *probes.Case, s *capture.ARPSighting) []claim {
	holds := len(c.HoldsOnWire(s.Address)) > 0
	var macs []string
	dev := ""
	last := map[string]time.Time{}
	for _, h := range s.Answered {
		mac := h.MAC.String()
		if h.Direction == capture.Out || mac == "" || ownMACText(c.Host, mac) {
			continue
		}
		if !slices.Contains(macs, mac) {
			macs = append(macs, mac)
		}
		dev = h.Interface
		if h.Last.After(last[mac]) {
			last[mac] = h.Last
		}
	}
	if !s.ComesBack() {
		return nil
	}
	latest := s.Changes[len(s.Changes)-1].Time
	macs = slices.DeleteFunc(macs, func(mac string) bool { return latest.Sub(last[mac]) > probes.FlowWindow }) // silent since: cured
	nobody := func(string) netip.Addr { return netip.Addr{} }
	return rivals(c, s.Address, dev, macs, nobody, holds, func(mac string) (probes.Certainty, probes.Evidence) {
		return probes.Strong, probes.Evidence{Fact: "who answers for " + s.Address.String() + " on " + dev,
			Got:  fmt.Sprintf("%s, last at %s, in turn with another; it changed %d times", mac, last[mac].UTC().Format("15:04:05"), len(s.Changes)),
			Want: "the director alone", Command: fmt.Sprintf("tcpdump -eni %s arp and host %s", dev, s.Address)}
	})
}

// rivals makes claims of the MACs that answer for a VIP. On a host that has the VIP they are all in the wrong; elsewhere the one that
// is known as the director's is in the right, and where none is known it cannot be told which.
func rivals(c *probes.Case, vip netip.Addr, dev string, macs []string, station func(mac string) netip.Addr, holds bool, proof func(mac string) (probes.Certainty, probes.Evidence)) []claim {
	if len(macs) == 0 || !holds && len(macs) < 2 || sameHost(c, macs) {
		return nil
	}
	rival, right := c.Name(), ""
	if !holds {
		for _, mac := range macs {
			if h := c.Cluster.HostOfMAC(mac); h != nil && len(h.HoldsOnWire(vip)) > 0 && h.Is(lvs.RoleDirector) {
				rival, right = h.Name(), mac
			}
		}
	}
	var out []claim
	for _, mac := range macs {
		if mac == right || answersForAll(c, dev, mac) {
			continue
		}
		k := claim{vip: vip, dev: dev, mac: mac, rival: rival}
		k.certainty, k.evidence = proof(mac)
		k.kind, k.host = whoIs(c, mac, station(mac))
		if !holds && right == "" {
			k.rival = "another host"
		}
		out = append(out, k)
	}
	return out
}

func sameHost(c *probes.Case, macs []string) bool {
	h := c.Cluster.HostOfMAC(macs[0])
	return len(macs) > 1 && h != nil && !slices.ContainsFunc(macs, func(mac string) bool { return c.Cluster.HostOfMAC(mac) != h })
}

func ownMACText(h *probes.Host, mac string) bool {
	return slices.ContainsFunc(h.Snapshot.Links, func(l lvs.Link) bool { return mac != "" && (l.MAC == mac || l.PermMAC == mac) })
}

// answersForAll is true of a station that stands for several neighbours, as the fabric of a cloud does.
func answersForAll(c *probes.Case, dev, mac string) bool {
	n := 0
	for _, nb := range c.Snapshot.Neighbours {
		if nb.Device == dev && nb.MAC == mac && nb.Address.Is4() && !nb.Dead() && !slices.Contains(c.Cluster.VIPs, nb.Address) {
			n++
		}
	}
	return n > 2
}

// vrrpMAC begins the hardware addresses of virtual routers (RFC 5798): only another director of the VIP has one.
const vrrpMAC = "00:00:5e:00:01:"

// whoIs names the host behind a MAC, by the hosts at hand, what the test found out, and the neighbour table.
func whoIs(c *probes.Case, mac string, station netip.Addr) (claimant, string) {
	if h := c.Cluster.HostOfMAC(mac); h != nil {
		switch {
		case h.Is(lvs.RoleDirector):
			return aDirector, h.Name()
		case h.Is(lvs.RoleRealServer):
			return aRealServer, h.Name()
		case h.Is(lvs.RoleRouter):
			return aRouter, h.Name()
		}
		return someHost, h.Name()
	}
	if strings.HasPrefix(mac, vrrpMAC) {
		return aDirector, mac
	}
	kind, name := someHost, mac
	neighbours := slices.Clone(c.Snapshot.Neighbours)
	if station.IsValid() {
		neighbours = append(neighbours, lvs.Neighbour{Address: station, MAC: mac, State: "reachable"})
	}
	for _, n := range neighbours {
		if n.MAC != mac || n.Dead() || slices.Contains(c.Cluster.VIPs, n.Address) {
			continue
		}
		switch {
		case slices.ContainsFunc(c.Cluster.Destinations, func(r probes.DestinationRef) bool { return r.Destination.Address == n.Address }):
			if h := c.Cluster.Holder(n.Address); h != nil {
				return aRealServer, h.Name()
			}
			return aRealServer, n.Address.String()
		case isGateway(c.Snapshot, n.Address):
			kind, name = aRouter, n.Address.String()
		case kind == someHost:
			name = n.Address.String() + " (" + mac + ")"
		}
	}
	return kind, name
}

func isGateway(s *lvs.Snapshot, ip netip.Addr) bool {
	return slices.ContainsFunc(s.Routes, func(r lvs.Route) bool { return r.Gateway == ip })
}

// claimFinding begins a finding about a station that claims a VIP.
func claimFinding(c *probes.Case, k claim, certainty probes.Certainty) probes.Finding {
	if k.certainty != probes.Certain && certainty == probes.Certain {
		certainty = k.certainty
	}
	f := c.Finding(probes.Degraded, certainty, fmt.Sprintf("%s on %s", k.vip, subjectDevice(c, k)))
	f.Host, f.VIP = k.host, k.vip
	f.Evidence = append(f.Evidence, k.evidence)
	return f
}

// subjectDevice is the interface that the claimant has the MAC on, where it is at hand; else ours, on which it was heard.
func subjectDevice(c *probes.Case, k claim) string {
	if h := c.Cluster.HostOfMAC(k.mac); h != nil {
		for _, l := range h.Snapshot.Links {
			if l.MAC == k.mac {
				return l.Name
			}
		}
	}
	return k.dev
}
