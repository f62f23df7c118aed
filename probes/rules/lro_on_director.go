package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "lro-on-director",
	Title: "a card of the director merges packets that it cannot pass on",
	Stage: lvs.Established,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS, lvs.SourceLinks, lvs.SourceAddresses},
	Explain: probes.Explain{
		Breaks: `Large receive offload merges the packets of a connection into one that is larger than the MTU, and cannot be taken apart again. The kernel switches it off on hosts that forward; direct routing needs no
ip_forward, so on a director it may stay on. Handshakes and small requests work, uploads are slow or stall. Generic receive offload (GRO) does no harm.`,
		ByHand: `On the director, for the card that faces the clients:

    ethtool -k eth0 | grep large-receive-offload`,
		Cure: `Switch it off; some cards lose their link for a moment:

    ethtool -K eth0 lro off

or set net.ipv4.ip_forward=1, which does the same. For the next boot write it where the card is configured (a .link file of systemd: LargeReceiveOffload=no).`,
		Source: "net/ipv4/devinet.c, inet_forward_change and dev_disable_lro; net/netfilter/ipvs/ip_vs_xmit.c, ensure_mtu_is_adequate.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		if fwd, known := c.Snapshot.Sysctl("net/ipv4/ip_forward"); known && fwd != 0 {
			return nil
		}
		var out []probes.Finding
		for _, dev := range faces(c) {
			l, _ := c.Snapshot.Link(dev)
			if !slices.Contains(l.Features, "lro") {
				continue
			}
			f := c.Finding(probes.Note, probes.Strong, dev)
			f.Title = fmt.Sprintf("%s merges packets on %s (LRO)", c.Name(), dev)
			f.Why = fmt.Sprintf("Clients' packets that come in on %s are merged into larger ones by the card (driver %s), and ip_vs can not pass those on in one piece. When uploads are slow although handshakes work, begin here.", dev, l.Driver)
			f.Evidence = append(f.Evidence, probes.Evidence{Fact: "large-receive-offload of " + dev, Got: "on", Want: "off", Command: "ethtool -k " + dev + " | grep large-receive-offload"})
			advise(&f, c.Name(), "the link may go down for a moment; write it where the card is configured", "ethtool -K "+dev+" lro off")
			out = append(out, f)
		}
		return out
	},
})

// faces are the wire devices on which clients' packets come in to a director's services, and what they are made of: the ports of a bond or bridge.
func faces(c *probes.Case) []string {
	var out []string
	add := func(dev string) {
		if !slices.Contains(out, dev) {
			out = append(out, dev)
		}
	}
	vips := serviceVIPs(c)
	if len(vips) == 0 {
		vips = []netip.Addr{{}} // services by mark: any card may be it
	}
	for _, vip := range vips[:min(len(vips), 64)] {
		devices, _ := arrivals(c, vip)
		for _, dev := range devices {
			add(dev)
			for _, l := range c.Snapshot.Links {
				if l.Master == dev {
					add(l.Name)
				}
			}
			if l, ok := c.Snapshot.Link(dev); ok && l.Parent != "" {
				add(l.Parent)
			}
		}
	}
	slices.Sort(out)
	return out
}
