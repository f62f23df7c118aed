package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "stale-rs-neighbour",
	Title: "the director sends to a MAC that the real server does not have",
	Stage: lvs.SynForwarded,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS, lvs.SourceNeighbours},
	Explain: probes.Explain{
		Breaks: `In direct routing the real server is whoever has the MAC that the director knows for its address. An entry that was made permanent (ip neigh … nud permanent, arp -f /etc/ethers) outlives the machine: after it was rebuilt, or its card
changed, frames go to a MAC that nobody has. Everything looks configured.`,
		ByHand: `On the director and on the real server; the MACs have to be the same:

    ip neigh show 192.168.10.11
    ip -o link show`,
		Cure: `Take the entry out, and whatever puts it in at boot:

    ip neigh del 192.168.10.11 dev eth0`,
		Source: "net/core/neighbour.c: NUD_PERMANENT is never confirmed.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		permanent := map[string]lvs.Neighbour{}
		keys, bad := collectBad(c, func(_ lvs.Service, d lvs.Destination) (string, probes.Evidence) {
			rs := c.Cluster.Holder(d.Address)
			if rs == nil || rs == c.Host || rs.Snapshot.Links == nil || d.Forward != lvs.Gate {
				return "", probes.Evidence{}
			}
			for _, n := range c.Snapshot.Neighbours {
				if n.Address != d.Address || n.MAC == "" || n.Proxy || n.Dead() || n.State == "noarp" || ownMACText(rs, n.MAC) || !hasWireMAC(rs) {
					continue
				}
				if n.State != "permanent" {
					continue // it may be in the middle of a change; the kernel finds out by itself
				}
				permanent[d.Address.String()] = n
				return d.Address.String(), probes.Evidence{Fact: "neighbour " + d.Address.String(), Got: fmt.Sprintf("%s, %s", n.MAC, n.State), Want: "a MAC of " + rs.Name(), Command: "ip neigh show to " + d.Address.String()}
			}
			return "", probes.Evidence{}
		})
		var out []probes.Finding
		for _, key := range keys {
			out = append(out, staleNeighbour(c, permanent[key], bad[key]))
		}
		return out
	},
})

// staleNeighbour says how bad a wrong MAC is by whose it is. Another real server of the same service takes what comes, so that clients
// notice nothing. Somebody who is not at hand, or who bridges or routes, may still know where to pass it on.
func staleNeighbour(c *probes.Case, n lvs.Neighbour, b *badDestinations) probes.Finding {
	severity, certainty, where := b.severity(), probes.Strong, "to nobody, or to somebody else"
	who := c.Cluster.HostOfMAC(n.MAC)
	switch {
	case who != nil && who.Snapshot.Addresses == nil:
		severity, where = probes.Hazard, "to "+who.Name()
	case who != nil && !slices.ContainsFunc(b.vips, func(vip netip.Addr) bool { return !who.Has(vip) }) && who.Is(lvs.RoleRealServer):
		severity, certainty, where = probes.Hazard, probes.Certain, "to "+who.Name()+", which has the address too and answers in its place"
	case answersLately(c, n.Address):
		severity, where = probes.Hazard, "on all the same, to somebody who knows where that host is: its clients were answered lately"
	case who != nil && !passesFramesOn(who):
		certainty, where = probes.Certain, "to "+who.Name()+", which drops them"
	}
	key := n.Address.String()
	f := c.Finding(severity, certainty, key)
	about(&f, b.vips)
	f.Title = fmt.Sprintf("%s sends what is for %s to %s, which is none of its MACs", c.Name(), key, n.MAC)
	f.Why = fmt.Sprintf("The neighbour entry for %s is permanent, and its MAC is of no card of that host. Packets for %s that are scheduled to it go %s.", key, listWords(b.services), where)
	f.Evidence = append(f.Evidence, b.evidence...)
	advise(&f, c.Name(), "take out as well whatever puts it in at boot (/etc/ethers, a script)", fmt.Sprintf("ip neigh del %s dev %s", key, n.Device))
	return f
}

// answersLately says that clients of a destination were answered after the last one that waits in vain, as the connection table has it.
func answersLately(c *probes.Case, rip netip.Addr) bool {
	if c.Snapshot.IPVS.Connections == nil {
		return false
	}
	answered, waiting := 0, 0 // seconds since the latest packet, 0 for none
	for _, conn := range c.Snapshot.IPVS.Connections.Sample {
		if conn.Destination.Addr() != rip {
			continue
		}
		latest := &waiting
		age, served := quietFor(conn, c.Snapshot.IPVS.Timeouts)
		if served {
			latest = &answered
		} else if conn.State != "SYN_RECV" {
			continue
		}
		if *latest == 0 || age < *latest {
			*latest = age
		}
	}
	return answered > 0 && (waiting == 0 || answered < waiting)
}

// passesFramesOn says that a host may send on what is not for itself: it routes, has bridges, or nobody knows.
func passesFramesOn(h *probes.Host) bool {
	fwd, known := h.Snapshot.Sysctl("net/ipv4/ip_forward")
	return !known || fwd != 0 || slices.ContainsFunc(h.Snapshot.Links, func(l lvs.Link) bool { return l.Kind == "bridge" || l.Master != "" })
}

// hasWireMAC says that the host's MACs were read: a redacted or partial snapshot has none.
func hasWireMAC(h *probes.Host) bool {
	for _, l := range h.WireLinks() {
		if l.MAC != "" {
			return true
		}
	}
	return false
}
