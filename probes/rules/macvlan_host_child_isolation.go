package rules

import (
	"fmt"
	"slices"

	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "macvlan-host-child-isolation",
	Title: "a real server is a macvlan child of the director's own card",
	Stage: lvs.SynForwarded,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS, lvs.SourceLinks, lvs.SourceNeighbours, lvs.SourceAddresses},
	Explain: probes.Explain{
		Breaks: `A macvlan or ipvlan child, as containers use it, shares its parent's card and cannot talk to the parent itself: what the host sends leaves by the card and never comes back to its own children. A director on the host and a real
server in such a container see everybody but each other.`,
		ByHand: `On the host, and in the container:

    ip neigh show 192.168.10.11
    ip -details link show type macvlan`,
		Cure: `Put the director on a macvlan of the same parent too, in mode bridge, and the VIP and DIP on that:

    ip link add lvs0 link eth0 type macvlan mode bridge

or connect the containers by a bridge.`,
		Source: "drivers/net/macvlan.c, macvlan_start_xmit: frames of the lower device are not looked at.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		child := map[string]string{}
		keys, bad := collectBad(c, func(_ lvs.Service, d lvs.Destination) (string, probes.Evidence) {
			n, dead := deadNeighbour(c, d)
			rs := c.Cluster.Holder(d.Address)
			if !dead || rs == nil || rs == c.Host || d.Forward != lvs.Gate {
				return "", probes.Evidence{}
			}
			parent, _ := c.Snapshot.Link(n.Device)
			for _, a := range rs.AddressesOf(d.Address) {
				l, _ := rs.Snapshot.Link(a.Device)
				if slices.Contains([]string{"macvlan", "ipvlan", "macvtap"}, l.Kind) && l.ParentElsewhere == parent.Index && parent.Kind != l.Kind && rs.Snapshot.Kernel == c.Snapshot.Kernel {
					child[d.Address.String()] = parent.Name
					return d.Address.String(), probes.Evidence{Fact: "link of " + rs.Name(), Got: fmt.Sprintf("%s, a %s whose parent is interface %d of the host", l.Name, l.Kind, l.ParentElsewhere), Want: "no child of " + parent.Name, Command: "ip -details link show dev " + l.Name}
				}
			}
			return "", probes.Evidence{}
		})
		var out []probes.Finding
		for _, key := range keys {
			b := bad[key]
			f := c.Finding(b.severity(), probes.Strong, key)
			about(&f, b.vips)
			f.Title = fmt.Sprintf("%s is behind a child of %s, which this host can not reach", key, child[key])
			f.Why = fmt.Sprintf("%s is on a macvlan or ipvlan of %s. What this host sends by %s never reaches its children, so nobody answers ARP for %s.", key, child[key], child[key], key)
			f.Evidence = append(f.Evidence, b.evidence...)
			advise(&f, c.Name(), "put the director's addresses on a macvlan of the same parent, in mode bridge, or connect the containers by a bridge", fmt.Sprintf("ip link add lvs0 link %s type macvlan mode bridge", child[key]))
			out = append(out, f)
		}
		return out
	},
})
