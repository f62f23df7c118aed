package rules

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"lvstui/capture"
	"lvstui/lvs"
	"lvstui/probes"
)

// This file answers what several rules ask about a director: its services and destinations, where clients come in, who else has
// a hand in its configuration.

// services are those of the host, none when they could not be read.
func services(c *probes.Case) []lvs.Service {
	if c.Snapshot.IPVS == nil {
		return nil
	}
	return c.Snapshot.IPVS.Services
}

// serviceVIPs are the addresses of the host's services, each once, without fwmark services, which have none.
func serviceVIPs(c *probes.Case) []netip.Addr {
	var out []netip.Addr
	seen := map[netip.Addr]bool{} // there may be thousands
	for _, v := range services(c) {
		if v.Address.IsValid() && !seen[v.Address] {
			seen[v.Address] = true
			out = append(out, v.Address)
		}
	}
	return out
}

// holdsVIP tells whether the director takes packets for the VIP as its own, on some way: by an address, or by a route that only packets
// with some mark or from some device take.
func holdsVIP(c *probes.Case, vip netip.Addr) (holds, known bool) {
	local, known := vipLocal(c, vip)
	if local {
		return true, true
	}
	for _, a := range c.Snapshot.Answers {
		if a.Dst == vip && a.Outcome == lvs.OutLocal {
			return true, true
		}
	}
	for _, r := range c.Snapshot.Routes {
		if r.Type == "local" && r.Dst.Contains(vip) && r.Dst.Addr().Is4() == vip.Is4() {
			return true, true
		}
	}
	return false, known
}

// owner returns the first program of that name that owns a part of the configuration.
func owner(s *lvs.Snapshot, names ...string) (lvs.Owner, bool) {
	for _, o := range s.Owners {
		if slices.Contains(names, o.Name) {
			return o, true
		}
	}
	return lvs.Owner{}, false
}

// tableOwned tells whether a program keeps the ip_vs table and would set back what is changed behind its back. What nobody could find
// out counts as owned.
func tableOwned(s *lvs.Snapshot) bool {
	return s.Owners == nil || slices.ContainsFunc(s.Owners, func(o lvs.Owner) bool {
		return slices.Contains(o.Owns, "ipvs") && !strings.HasPrefix(o.Name, "ipvsadm")
	})
}

// movers are the programs that move VIPs between directors: on a standby the VIP is rightly missing.
var movers = []string{"keepalived", "pacemaker", "pacemakerd", "corosync", "heartbeat", "ucarp", "kube-vip", "kube-router", "kube-proxy", "metallb", "exabgp", "bird", "vrrpd"}

// clusterOwners keep virtual services for a container cluster, where one without destinations is an everyday thing.
var clusterOwners = []string{"kube-proxy", "kube-router", "cilium-agent", "dockerd"}

// arrivals are the devices on which SYNs for the VIP come in: those on which flows were seen to (seen is true), else the NIC that has
// the VIP, else every link it may be.
func arrivals(c *probes.Case, vip netip.Addr) (devices []string, seen bool) {
	add := func(dev string) {
		if dev != "" && !slices.Contains(devices, dev) {
			devices = append(devices, dev)
		}
	}
	for _, f := range c.RecentFlowsTo(vip) {
		add(arrival(f))
	}
	if len(devices) > 0 {
		return devices, true
	}
	for _, a := range c.HoldsOnWire(vip) {
		add(a.Device)
	}
	if len(devices) == 0 {
		for _, l := range addressedLinks(c.Host) {
			add(l.Name)
		}
	}
	return devices, false
}

// arrival is the device on which a flow's SYN came in to the director, "" when that was not seen.
func arrival(f capture.Flow) string {
	if sight := f.Stage(lvs.SynAtDirector); sight.State == lvs.Seen && f.Vantage == lvs.RoleDirector && sight.Direction != capture.Out {
		return sight.Interface
	}
	return ""
}

// got tells whether a flow got past a stage, and whether it was due to; a flow still in its time is neither.
func got(f capture.Flow, stage lvs.Stage) (past, due bool) {
	switch f.Stage(stage).State {
	case lvs.Seen, lvs.Implied:
		return true, true
	case lvs.Missing:
		return false, true
	}
	return false, false
}

// badDestinations is what is wrong with some destinations for one reason, over all services that use them.
type badDestinations struct {
	rips     []netip.Addr
	vips     []netip.Addr
	services []string
	outage   bool // some service has no other destination left
	evidence []probes.Evidence
}

// add notes a destination as bad. With vip valid the service's.
func (b *badDestinations) add(v lvs.Service, d lvs.Destination, evidence probes.Evidence) {
	if !slices.Contains(b.rips, d.Address) {
		b.rips = append(b.rips, d.Address)
		if len(b.evidence) < 8 {
			b.evidence = append(b.evidence, evidence)
		}
	}
	if v.Address.IsValid() && !slices.Contains(b.vips, v.Address) {
		b.vips = append(b.vips, v.Address)
	}
	if !slices.Contains(b.services, v.Name()) {
		b.services = append(b.services, v.Name())
	}
}

// severity is outage when a service has lost all its destinations.
func (b *badDestinations) severity() probes.Severity {
	if b.outage {
		return probes.Outage
	}
	return probes.Degraded
}

// collectBad puts the destinations that take part, weight above 0, before a judge who gives the reason's key for a bad one, "" for a good
// one. The groups come back in the order of their keys.
func collectBad(c *probes.Case, judge func(v lvs.Service, d lvs.Destination) (key string, e probes.Evidence)) (keys []string, bad map[string]*badDestinations) {
	bad = map[string]*badDestinations{}
	for _, v := range services(c) {
		active, lost := 0, []string{}
		for _, d := range v.Destinations {
			if d.Weight <= 0 {
				continue
			}
			active++
			key, e := judge(v, d)
			if key == "" {
				continue
			}
			if bad[key] == nil {
				bad[key] = &badDestinations{}
				keys = append(keys, key)
			}
			bad[key].add(v, d, e)
			lost = append(lost, key)
		}
		if active > 0 && len(lost) == active {
			for _, key := range lost {
				bad[key].outage = true
			}
		}
	}
	slices.Sort(keys)
	for _, b := range bad {
		slices.SortFunc(b.rips, netip.Addr.Compare)
		slices.SortFunc(b.vips, netip.Addr.Compare)
	}
	return keys, bad
}

// word is a string with a String method, for list.
type word string

func (w word) String() string { return string(w) }

func listWords(all []string) string {
	words := make([]word, 0, len(all))
	for _, s := range all {
		words = append(words, word(s))
	}
	return list(words)
}

// plural picks the word for n things.
func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// ipvsadmService is the service as ipvsadm's options have it: "-t 172.16.0.8:80".
func ipvsadmService(v lvs.Service) string {
	if v.FWMark != 0 {
		return strings.TrimSpace(fmt.Sprintf("-f %d %s", v.FWMark, map[bool]string{true: "-6"}[v.IPv6]))
	}
	flag := map[lvs.Protocol]string{lvs.TCP: "-t", lvs.UDP: "-u", lvs.SCTP: "--sctp-service"}[v.Protocol]
	return cmp.Or(flag, "-t") + " " + v.Name()
}

// ipvsadmDestination is the destination as ipvsadm's -r has it.
func ipvsadmDestination(d lvs.Destination) string {
	return netip.AddrPortFrom(d.Address, d.Port).String()
}
