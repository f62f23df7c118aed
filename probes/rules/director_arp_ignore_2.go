package rules

import (
	"fmt"
	"slices"

	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "director-arp-ignore-2",
	Title: "the director does not answer ARP for its VIP",
	Stage: lvs.VIPResolved,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS, lvs.SourceLinks, lvs.SourceAddresses, lvs.SourceSysctls},
	Explain: probes.Explain{
		Breaks: `arp_ignore=2, which some hardening guides set, lets the kernel answer only when the asker is in one subnet with the address that is asked for. A VIP with prefix
/32 from another subnet than the card's is in one with nobody, so the director never answers for it; with 8 it answers for nothing at all. The router gets no MAC for the
VIP, and clients are told that the host is unreachable, or time out. On a director nothing has to be silenced: the values are meant for real servers.`,
		ByHand: `On the director; of the two values the larger counts:

    sysctl net.ipv4.conf.all.arp_ignore net.ipv4.conf.eth0.arp_ignore
    tcpdump -eni eth0 arp and host 172.16.0.8

Requests come in and no reply goes out. A probe by arping -D says nothing, because it takes another way through the kernel.`,
		Cure: `Set both to 1 or less:

    sysctl -w net.ipv4.conf.all.arp_ignore=1
    sysctl -w net.ipv4.conf.eth0.arp_ignore=1

and the same in the file below /etc/sysctl.d.`,
		Source: "net/ipv4/arp.c, arp_ignore cases 2 and 8; net/ipv4/devinet.c, inet_confirm_addr.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var all []mute
		for _, vip := range lookedUp(c) {
			for _, a := range c.HoldsOnWire(vip) {
				e := c.Snapshot.Effective(a.Device, "arp_ignore")
				if !e.Known {
					c.CannotTell(lvs.SourceSysctls)
				}
				if !e.Known || e.Value != 8 && (e.Value != 2 || inSubnetOf(c, a)) {
					continue
				}
				// A VIP that is in no subnet of the card may be routed here: then nobody asks, and all is well.
				m := mute{dev: a.Device, severity: probes.Note, certainty: probes.Hint}
				if who, ok := whoAsks(c, vip, a.Device); ok {
					m.severity, m.certainty, m.proof = probes.Outage, probes.Strong, []probes.Evidence{who.proof}
					if who.sure {
						m.certainty = probes.Certain
					}
				}
				all = addMute(all, m, vip)
			}
		}
		var out []probes.Finding
		for _, m := range all {
			out = append(out, directorMute(c, m))
		}
		return out
	},
})

// inSubnetOf says that a VIP is in the subnet of some address of its own card, its own prefix included: askers there are in one with it.
func inSubnetOf(c *probes.Case, vip lvs.Address) bool {
	return slices.ContainsFunc(c.Subnets(), func(s probes.Subnet) bool {
		return s.Device == vip.Device && s.Prefix.Contains(vip.Prefix.Addr())
	})
}

func directorMute(c *probes.Case, m mute) probes.Finding {
	e := c.Snapshot.Effective(m.dev, "arp_ignore")
	f := m.finding(c)
	f.Title = fmt.Sprintf("%s does not answer ARP for %s", c.Name(), list(m.vips))
	f.Why = fmt.Sprintf("arp_ignore is %d on %s. With 2 the kernel answers only for an address that is in one subnet with the asker, and with 8 for none, so nobody learns the MAC for %s from this director.",
		e.Value, m.dev, list(m.vips))
	if m.severity == probes.Note {
		f.Why += " Where the router has a route to the VIP through this host's own address nobody asks, and all is well; no other host was looked at."
	}
	f.Evidence = append(f.Evidence, sysctlEvidence(c.Snapshot, m.dev, "arp_ignore", "0 or 1"), addressEvidence(c.Snapshot, m.vips[0], "on "+m.dev))
	var plan fixes.Plan
	plan.Title = "let " + c.Name() + " answer ARP on " + m.dev
	for _, part := range []struct {
		dev   string
		value int
	}{{"all", e.All}, {m.dev, e.Iface}} {
		if part.value > 1 {
			plan.Steps = append(plan.Steps, fixes.SetSysctl{Path: lvs.ConfPath(part.dev, "arp_ignore"), Value: "1"})
		}
	}
	cure(&f, c.Snapshot, plan)
	return f
}
