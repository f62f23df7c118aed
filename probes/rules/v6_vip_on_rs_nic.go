package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "v6-vip-on-rs-nic",
	Title: "two hosts have the IPv6 VIP on their cards",
	Stage: lvs.VIPResolved,
	Roles: []lvs.Role{lvs.RoleDirector, lvs.RoleRealServer},
	Needs: []lvs.Source{lvs.SourceLinks, lvs.SourceAddresses},
	Explain: probes.Explain{
		Breaks: `IPv6 looks for duplicates before it uses an address. When the VIP is on a network card of a real server as well as on the director's, the one that came later finds it taken: it is marked "dadfailed" and
never used. It looks configured, and nothing works. Where the check is switched off both answer, and clients come to either. On lo the VIP hurts nobody: the kernel answers for addresses of the asked
card only, so IPv6 needs nothing like arp_ignore.`,
		ByHand: `On both hosts; look for "dadfailed", and for the interface:

    ip -6 -o address show to 2001:db8::8

From the director, who else answers:

    lvstui check --probe arp --vip 2001:db8::8`,
		Cure: `On the real server the VIP belongs on lo:

    ip addr add 2001:db8::8/128 dev lo
    ip addr del 2001:db8::8/128 dev eth0

Then take the failed address away on the director and add it again.`,
		Source: "net/ipv6/addrconf.c, addrconf_dad_failure; net/ipv6/ndisc.c, ndisc_recv_ns.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		known := map[netip.Addr]bool{}
		for _, vip := range c.Cluster.VIPs {
			known[vip] = true
		}
		var out []probes.Finding
		for _, a := range c.Snapshot.Addresses {
			vip := a.Prefix.Addr()
			l, _ := c.Snapshot.Link(a.Device)
			if !vip.Is6() || vip.Is4In6() || !known[vip] || !c.Cluster.Named || !l.OnWire() || len(out) >= 16 {
				continue
			}
			switch other, both := otherOnWire(c, vip); {
			case a.DADFailed:
				out = append(out, dadFailed(c, vip, a))
			case both && c.Is(lvs.RoleRealServer) && namedByDirector(c, vip) && !ownsService(c.Host, vip):
				out = append(out, bothOnWire(c, vip, a, other))
			}
		}
		for _, k := range claims(c) {
			if k.kind == aRealServer && k.vip.Is6() {
				out = append(out, rsHeardAdvertising(c, k))
			}
		}
		return out
	},
})

// rsHeardAdvertising is the finding from elsewhere: somebody heard a real server answer for the VIP, which it can only on a card.
func rsHeardAdvertising(c *probes.Case, k claim) probes.Finding {
	f := claimFinding(c, k, probes.Strong)
	f.Title = fmt.Sprintf("%s answers for %s", k.host, k.vip)
	f.Why = fmt.Sprintf("%s was heard to answer for %s, which %s has as well. A host answers for addresses of the asked card only, so it has the VIP there and not on lo. Clients come to either.", k.host, k.vip, k.rival)
	advise(&f, k.host, "put the VIP on lo and take it off the card", fmt.Sprintf("ip addr add %s/128 dev lo", k.vip), fmt.Sprintf("ip -6 -o address show to %s", k.vip))
	return f
}

// otherOnWire is another host at hand that has the VIP on a card and may use it.
func otherOnWire(c *probes.Case, vip netip.Addr) (*probes.Host, bool) {
	i := slices.IndexFunc(c.Cluster.Hosts, func(h *probes.Host) bool {
		return h != c.Host && slices.ContainsFunc(h.HoldsOnWire(vip), func(a lvs.Address) bool { return voiced(h, vip, a.Device) })
	})
	if i < 0 {
		return nil, false
	}
	return c.Cluster.Hosts[i], true
}

// dadFailed is as bad as what the other owner of the address is: another director serves in place of this one, a real server serves clients
// past the director, and who else it is nobody knows. On a real server it harms where the VIP is on lo as well.
func dadFailed(c *probes.Case, vip netip.Addr, a lvs.Address) probes.Finding {
	other, known := otherOnWire(c, vip)
	severity, harm := probes.Hazard, "Whether clients are served depends on who that is."
	switch {
	case slices.ContainsFunc(c.AddressesOf(vip), func(o lvs.Address) bool { return o != a && !o.DADFailed && !o.Tentative }):
		harm = "It has the address elsewhere as well, so it takes packets for it all the same."
	case namedByDirector(c, vip) && !ownsService(c.Host, vip):
		severity, harm = probes.Degraded, "What the director sends here for it is not taken."
	case known && other.Is(lvs.RoleDirector):
		harm = fmt.Sprintf("%s serves in its place; this director can not take over.", other.Name())
	case known && other.Snapshot.IPVS != nil:
		severity, harm = probes.Degraded, fmt.Sprintf("Clients come to %s, past the director.", other.Name())
	}
	f := c.Finding(severity, probes.Certain, fmt.Sprintf("%s on %s", vip, a.Device))
	f.VIP = vip
	f.Title = fmt.Sprintf("%s may not use %s on %s: somebody else has it", c.Name(), vip, a.Device)
	f.Why = fmt.Sprintf("When %s was added to %s, another host answered for it, so the kernel marked it as a duplicate. It is shown, and neither answered for nor used. %s", vip, a.Device, harm)
	f.Evidence = append(f.Evidence, probes.Evidence{Fact: "state of " + vip.String(), Got: "dadfailed, on " + a.Device, Want: "neither tentative nor dadfailed", Command: "ip -6 -o address show to " + vip.String()})
	if known {
		f.Evidence = append(f.Evidence, probes.Evidence{Fact: "who else has it on a card", Got: other.Name(), Want: "nobody", Command: "ip -6 -o address show to " + vip.String()})
	}
	advise(&f, c.Name(), "on real servers the VIP belongs on lo; when no other host has it on a card, add it here again",
		fmt.Sprintf("ip addr del %s dev %s", a.Prefix, a.Device), fmt.Sprintf("ip addr add %s dev %s", a.Prefix, a.Device))
	return f
}

func bothOnWire(c *probes.Case, vip netip.Addr, a lvs.Address, other *probes.Host) probes.Finding {
	f := c.Finding(probes.Degraded, probes.Strong, fmt.Sprintf("%s on %s", vip, a.Device))
	f.VIP = vip
	f.Title = fmt.Sprintf("%s has %s on %s, as %s has", c.Name(), vip, a.Device, other.Name())
	f.Why = fmt.Sprintf("Both hosts have %s on a card and answer neighbour solicitations for it, because the check for duplicates was left out. Clients come to either.", vip)
	f.Evidence = append(f.Evidence, addressEvidence(c.Snapshot, vip, vip.String()+"/128 on lo"))
	advise(&f, c.Name(), "put the VIP on lo and take it off the card", fmt.Sprintf("ip addr add %s/128 dev lo", vip), fmt.Sprintf("ip addr del %s dev %s", a.Prefix, a.Device))
	return f
}
