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
	ID:    "vip-on-rs-nic",
	Title: "a real server has the VIP on a network card",
	Stage: lvs.VIPResolved,
	Roles: []lvs.Role{lvs.RoleRealServer},
	Needs: []lvs.Source{lvs.SourceLinks, lvs.SourceAddresses, lvs.SourceSysctls},
	Explain: probes.Explain{
		Breaks: `An address on the network card itself, or on an alias of it such as eth0:0, is answered for by ARP even with
arp_ignore=1, because 1 only silences addresses of other interfaces. Director and real server then both answer, and clients' packets go
to whoever answered first. A network manager that brings the address up may announce it to the whole segment as well.`,
		ByHand: `Look where the VIP is:

    ip -o address show to 172.16.0.8

It belongs on lo or on a dummy interface.`,
		Cure: `Keep the real server quiet, put the VIP on lo, and only then take it off the card:

    sysctl -w net.ipv4.conf.all.arp_ignore=1
    sysctl -w net.ipv4.conf.all.arp_announce=2
    ip addr add 172.16.0.8/32 dev lo
    ip addr del 172.16.0.8/32 dev eth0

Do the same where the card's addresses are configured. When the VIP is the first address of its subnet on the card, deleting it takes the
others along unless promote_secondaries is 1: look before you do it over SSH.`,
		Source: "net/ipv4/arp.c, arp_ignore case 1: inet_confirm_addr on the receiving device.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var out []probes.Finding
		for _, vip := range servedVIPs(c) {
			for _, a := range c.HoldsOnWire(vip) {
				if f, ok := vipOnRSNIC(c, vip, a); ok {
					if len(out) <= probes.Alike { // more are not told one by one
						moveToLo(c, &f, a)
					}
					out = append(out, f)
				}
			}
		}
		return out
	},
})

func vipOnRSNIC(c *probes.Case, vip netip.Addr, a lvs.Address) (probes.Finding, bool) {
	sure := knownRealServer(c, vip)
	if !sure && c.Cluster.Named || inCharge(c, vip) {
		return probes.Finding{}, false
	}
	answers, known := answersARP(c.Host, vip, a.Device)
	if !known {
		c.CannotTell(lvs.SourceSysctls)
		return probes.Finding{}, false
	}
	level, ok := exposedLinks(c, vip)[a.Device]
	if !answers || !ok {
		return probes.Finding{}, false
	}
	severity, certainty := weigh(c, vip, level)
	if !sure {
		severity, certainty = probes.Note, probes.Hint
	}
	if certainty, ok = pastFilter(c, a.Device, vip, certainty); !ok {
		return probes.Finding{}, false
	}
	if c.Snapshot.IPVS == nil && certainty == probes.Certain {
		certainty = probes.Strong // it may be a director for the VIP itself, and a real server of another one
	}
	f := c.Finding(severity, certainty, fmt.Sprintf("%s on %s", vip, a.Device))
	f.VIP = vip
	f.Title = fmt.Sprintf("%s has %s on %s and answers ARP for it", c.Name(), vip, a.Device)
	f.Why = fmt.Sprintf("%s is configured on the network card %s of a real server, so this host answers ARP for it there whether arp_ignore is 0 or 1. "+
		"Who believes the answer sends clients' packets here directly, past the director.", vip, a.Device)
	if !sure {
		f.Title = fmt.Sprintf("%s answers ARP for %s on %s: wrong, if this is a real server", c.Name(), vip, a.Device)
		f.Why += " That this is a real server is a guess: it keeps quiet about ARP for other addresses, as real servers do. With --role real-server it is judged as one."
	}
	f.Evidence = append(f.Evidence,
		addressEvidence(c.Snapshot, vip, vip.String()+"/32 on lo"),
		sysctlEvidence(c.Snapshot, a.Device, "arp_ignore", "does not matter for an address of the card itself"),
		askedEvidence(c, vip, a.Device))
	return f, true
}

// inCharge says that the host is the director that has the VIP on the wire, although another director's table knows it as a real server
// too: of two directors that are each other's real servers the active one looks so.
func inCharge(c *probes.Case, vip netip.Addr) bool {
	return ownsService(c.Host, vip) && !slices.ContainsFunc(c.Cluster.With(lvs.RoleDirector), func(h *probes.Host) bool {
		return h != c.Host && ownsService(h, vip) && len(h.HoldsOnWire(vip)) > 0
	})
}

// manyAddresses is from how many on a plan, which is tried out step by step, takes longer than anybody waits.
const manyAddresses = 1000

func moveToLo(c *probes.Case, f *probes.Finding, a lvs.Address) {
	if len(c.Snapshot.Addresses) > manyAddresses {
		advise(f, c.Name(), "keep this host quiet first (arp_ignore=1, arp_announce=2), put the VIP on lo, and only then take it off the card",
			fmt.Sprintf("ip addr add %s/%d dev lo", f.VIP, f.VIP.BitLen()), fmt.Sprintf("ip addr del %s dev %s", a.Prefix, a.Device))
		return
	}
	cure(f, c.Snapshot, fixes.MoveVIPToLo(c.Snapshot, a), "on the director: arping -U -I IFACE -c 3 "+f.VIP.String()+", so that the router learns the right MAC at once")
}

// knownRealServer says that the host is a real server by more than having the VIP on its card: a director whose
// table is empty looks the same.
func knownRealServer(c *probes.Case, vip netip.Addr) bool {
	if slices.Contains(c.Cluster.Options.Roles, lvs.RoleRealServer) && c.Cluster.Hosts[0] == c.Host {
		return true
	}
	if c.IsParked(vip) {
		return true
	}
	return namedByDirector(c, vip)
}
