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
	ID:        "rs-arp-announce-poison",
	Title:     "a real server asks ARP with the VIP as its own address",
	Stage:     lvs.VIPResolved,
	Roles:     []lvs.Role{lvs.RoleRealServer},
	Needs:     []lvs.Source{lvs.SourceLinks, lvs.SourceAddresses, lvs.SourceSysctls},
	DependsOn: []string{"arp-sysctl-on-lo-only"},
	Explain: probes.Explain{
		Breaks: `Before a real server can answer a client it asks for the router's MAC. With arp_announce=0 it puts the source of the
waiting packet into the request as its own address, and that is the VIP. The router takes the sender of a request into its ARP table:
from then on it sends the VIP's packets to this real server, past the director. It works for minutes, then all traffic goes to one
real server, and comes back whenever that one asks again. A router that validates sources may also leave such a request
unanswered, and then the answers never leave.`,
		ByHand: `On the real server, for the interface towards the router (the larger of the two values counts; only 2 is safe):

    sysctl net.ipv4.conf.all.arp_announce net.ipv4.conf.eth0.arp_announce

On the wire, a request that tells the VIP:

    tcpdump -eni eth0 'arp[6:2] = 1 and arp src host 172.16.0.8'`,
		Cure: `On every real server:

    sysctl -w net.ipv4.conf.all.arp_announce=2

and the same line in a file in /etc/sysctl.d. 1 is not enough: it still tells the VIP when VIP and router are in one subnet of the
interface.`,
		Source: "net/ipv4/arp.c, arp_solicit; Documentation/networking/ip-sysctl.rst.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var out []probes.Finding
		for _, v := range announcingVoices(c) {
			out = append(out, rsARPAnnouncePoison(c, v))
		}
		return out
	},
})

// announcingVoices are the VIPs that the host would give as sender of its own ARP requests, by the link that answers leave on.
func announcingVoices(c *probes.Case) []voice {
	var out []voice
	for _, vip := range servedVIPs(c) {
		local, known := vipLocal(c, vip)
		if !known {
			c.CannotTell(lvs.SourceRoutes)
		}
		if !local {
			continue
		}
		for _, hop := range nextHops(c, vip) {
			l, ok := c.Snapshot.Link(hop.dev)
			if !ok || !l.OnWire() || holdsOn(c.Host, vip, hop.dev) {
				continue
			}
			e := c.Snapshot.Effective(hop.dev, "arp_announce")
			if !e.Known {
				c.CannotTell(lvs.SourceSysctls)
				continue
			}
			if !tellsVIP(c.Host, e.Value, vip, hop) {
				continue
			}
			severity, certainty := weighAnnounce(c, vip, hop)
			switch f := announceFate(c.Snapshot.Netfilter, hop.dev, vip); {
			case c.Snapshot.Netfilter == nil && certainty == probes.Certain:
				certainty = probes.Strong // rules against ARP are rare
			case c.Snapshot.Netfilter != nil && f == perhaps:
				c.CannotTell(lvs.SourceNetfilter)
				continue
			case f == dropped:
				continue
			}
			if severity == "" || slices.ContainsFunc(out, func(v voice) bool { return v.dev == hop.dev && v.vips[len(v.vips)-1] == vip }) {
				continue
			}
			out = addVoice(out, voice{dev: hop.dev, severity: severity, certainty: certainty}, vip)
		}
	}
	return out
}

// nextHop is whom the host asks for by ARP before it can answer a client.
type nextHop struct {
	dev     string
	address netip.Addr
}

func nextHops(c *probes.Case, vip netip.Addr) []nextHop {
	var out []nextHop
	clients, _ := c.ClientsOf(vip)
	for _, client := range clients {
		a := reply(c, vip, client)
		if a.Outcome != lvs.OutUnicast {
			continue
		}
		hop := nextHop{a.Device, a.Gateway}
		if !hop.address.IsValid() {
			hop.address = client
		}
		if !slices.Contains(out, hop) {
			out = append(out, hop)
		}
	}
	return out
}

// tellsVIP is arp_solicit: 2 picks an address of the device, 1 keeps the VIP when it is in one subnet with the target, and every
// other value takes the source of the packet.
func tellsVIP(h *probes.Host, announce int, vip netip.Addr, hop nextHop) bool {
	switch announce {
	case 2:
		return false
	case 1:
		return slices.ContainsFunc(h.Snapshot.Addresses, func(a lvs.Address) bool {
			return a.Device == hop.dev && a.Prefix.Masked().Contains(vip) && a.Prefix.Masked().Contains(hop.address)
		})
	}
	return true
}

// weighAnnounce: where the VIP is asked for on the segment the router will believe the request. Where it is not the request does no
// harm, unless the router does not answer it.
func weighAnnounce(c *probes.Case, vip netip.Addr, hop nextHop) (probes.Severity, probes.Certainty) {
	if r := c.Cluster.Holder(hop.address); r != nil && r != c.Host {
		for _, a := range r.HoldsOnWire(hop.address) {
			if r.Asked(lvs.RouteQuery{Dst: hop.address, Src: vip, Iif: a.Device}).Outcome == lvs.OutRejected && shareSegment(r, a.Device, c.Host, hop.dev) {
				return probes.Hazard, probes.Strong
			}
		}
	}
	known, _ := askedOn(c, vip, hop.dev)
	if known == nobodyAsks {
		return "", ""
	}
	return weigh(c, vip, known)
}

func rsARPAnnouncePoison(c *probes.Case, v voice) probes.Finding {
	f := c.Finding(v.severity, v.certainty, v.subject())
	about(&f, v.vips)
	f.Title = fmt.Sprintf("%s asks ARP on %s as %s", c.Name(), v.dev, list(v.vips))
	f.Why = fmt.Sprintf("Whenever this real server has to look for its next hop on %s in order to answer a client, it gives %s as its own address. "+
		"One such request is enough: who hears it writes this host's MAC beside the VIP and sends the next connections here, past the director.", v.dev, list(v.vips))
	if v.severity != probes.Degraded {
		f.Why += " A router that has the VIP elsewhere learns nothing from it, but may leave the request unanswered, and then the answers to the clients never leave this host."
	}
	f.Evidence = append(f.Evidence,
		sysctlEvidence(c.Snapshot, v.dev, "arp_announce", "2"),
		addressEvidence(c.Snapshot, v.vips[0], "anywhere but on a network card"),
		askedEvidence(c, v.vips[0], v.dev))
	cure(&f, c.Snapshot, fixes.QuietARP(c.Snapshot, v.vips), "on the director: arping -U -I IFACE -c 3 "+v.vips[0].String()+", so that the router learns the right MAC at once")
	return f
}
