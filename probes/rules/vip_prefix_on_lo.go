package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "vip-prefix-on-lo",
	Title: "the VIP is on lo with a whole subnet",
	Stage: lvs.SynAtRealServer,
	Roles: []lvs.Role{lvs.RoleRealServer, lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceLinks, lvs.SourceAddresses},
	Explain: probes.Explain{
		Breaks: `An address on lo with a prefix shorter than /32 makes every address of that prefix local. The host then takes
the packets of the whole subnet for its own. It does not answer ARP requests that come from an address of the subnet either, because their sender
seems to be itself. When the director, the gateway or a client is in that subnet, the real server can not be reached from there and
can not reach it; the director reports "no route to host" for its share of the clients.`,
		ByHand: `Look for a prefix other than /32 on lo, and ask for an address of the subnet that is not yours:

    ip -o address show dev lo
    ip route get 172.16.0.1

The second must not say "local".`,
		Cure: `Put the same address there as a /32 first and take the other away then, so that the VIP is never missing:

    ip addr add 172.16.0.8/32 dev lo
    ip addr del 172.16.0.8/24 dev lo

Correct the prefix (netmask 255.255.255.255) where the address comes from: ifcfg-lo:0, netplan, networkd, keepalived.`,
		Source: "net/ipv4/fib_frontend.c, fib_add_ifaddr: an address of a loopback device adds its prefix to the local table.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var out []probes.Finding
		for _, a := range c.Snapshot.Addresses {
			l, ok := c.Snapshot.Link(a.Device)
			vip := a.Prefix.Addr()
			if !ok || !l.Loopback() || !l.Up || !vip.Is4() || vip.IsLoopback() || a.Prefix.IsSingleIP() || a.Secondary ||
				!slices.Contains(c.Cluster.VIPs, vip) {
				continue
			}
			out = append(out, vipPrefixOnLo(c, a))
		}
		return out
	},
})

func vipPrefixOnLo(c *probes.Case, a lvs.Address) probes.Finding {
	vip, net := a.Prefix.Addr(), a.Prefix.Masked()
	severity, certainty, victim := hitByPrefix(c, vip, net)
	f := c.Finding(severity, certainty, fmt.Sprintf("%s on %s", a.Prefix, a.Device))
	f.VIP = vip
	f.Title = fmt.Sprintf("%s takes all of %s for its own", c.Name(), net)
	f.Why = fmt.Sprintf("%s is on %s with its whole subnet, so the kernel treats every address of %s as local. ", vip, a.Device, net)
	if victim == "" {
		f.Why += "Nothing else that is known here lives in that subnet. As soon as a gateway or a client does, this host can neither answer it nor hear its ARP requests."
	} else {
		f.Why += fmt.Sprintf("That takes in %s: packets to there stay on this host, and ARP requests from there are ignored as coming from itself. The SYN does not get here, or its answer does not get back.", victim)
	}
	f.Evidence = append(f.Evidence,
		addressEvidence(c.Snapshot, vip, vip.String()+"/32"),
		probes.Evidence{Fact: "what the kernel makes of it", Got: "local " + net.String(), Want: "local " + vip.String() + " only", Command: "ip route show table local dev " + a.Device})
	cure(&f, c.Snapshot, fixes.NarrowVIP(c.Snapshot, a))
	return f
}

// hitByPrefix finds who that this host needs lives in a subnet that lo has made its own. What works for clients in spite of
// it is a hazard: neighbours that were known before are still reached for a while.
func hitByPrefix(c *probes.Case, vip netip.Addr, net netip.Prefix) (probes.Severity, probes.Certainty, string) {
	if servedNow(c, vip) {
		return probes.Hazard, probes.Certain, ""
	}
	wires := addressedLinks(c.Host)
	for _, a := range c.Snapshot.Addresses {
		l, ok := c.Snapshot.Link(a.Device)
		if ok && l.OnWire() && !a.Prefix.IsSingleIP() && net.Bits() <= a.Prefix.Bits() && net.Contains(a.Prefix.Addr()) {
			victim := fmt.Sprintf("the subnet of %s (%s)", a.Device, a.Prefix.Masked())
			if len(wires) == 1 || slices.Contains(deliveryDevices(c, vip), a.Device) {
				return probes.Outage, probes.Certain, victim
			}
			return probes.Degraded, probes.Certain, victim
		}
	}
	for _, ref := range c.Named() {
		if ref.Director != c.Host {
			for _, a := range ref.Director.Snapshot.Addresses {
				if ip := a.Prefix.Addr(); ip != vip && net.Contains(ip) && !slices.Contains(c.Cluster.VIPs, ip) && reaches(a.Prefix, ref.Destination.Address) {
					return probes.Outage, probes.Certain, fmt.Sprintf("the director (%s)", ip)
				}
			}
		}
	}
	var inside, all int
	for _, ip := range c.SeenClients(vip) {
		if all++; net.Contains(ip) {
			inside++
		}
	}
	switch {
	case inside > 0 && inside == all:
		return probes.Outage, probes.Certain, "the clients that were seen"
	case inside > 0:
		return probes.Degraded, probes.Certain, fmt.Sprintf("%d of the %d clients that were seen", inside, all)
	}
	return probes.Hazard, probes.Certain, ""
}

func reaches(p netip.Prefix, ip netip.Addr) bool { return !p.IsSingleIP() && p.Masked().Contains(ip) }
