package rules

import (
	"fmt"

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
				if n.Address != d.Address || n.MAC == "" || n.Proxy || n.Dead() || n.State == "noarp" || c.Cluster.HostOfMAC(n.MAC) == rs || !hasWireMAC(rs) {
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
			b := bad[key]
			n := permanent[key]
			f := c.Finding(b.severity(), probes.Certain, key)
			about(&f, b.vips)
			f.Title = fmt.Sprintf("%s sends what is for %s to %s, which is none of its MACs", c.Name(), key, n.MAC)
			f.Why = fmt.Sprintf("The neighbour entry for %s is permanent, and its MAC is of no card of that host. Packets for %s that are scheduled to it go to nobody, or to somebody else.", key, listWords(b.services))
			f.Evidence = append(f.Evidence, b.evidence...)
			advise(&f, c.Name(), "take out as well whatever puts it in at boot (/etc/ethers, a script)", fmt.Sprintf("ip neigh del %s dev %s", key, n.Device))
			out = append(out, f)
		}
		return out
	},
})

// hasWireMAC says that the host's MACs were read: a redacted or partial snapshot has none.
func hasWireMAC(h *probes.Host) bool {
	for _, l := range h.WireLinks() {
		if l.MAC != "" {
			return true
		}
	}
	return false
}
