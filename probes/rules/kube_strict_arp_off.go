package rules

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "kube-strict-arp-off",
	Title: "every node of the cluster answers ARP for the VIP",
	Stage: lvs.VIPResolved,
	Roles: []lvs.Role{lvs.RoleDirector, lvs.RoleRealServer},
	Needs: []lvs.Source{lvs.SourceLinks, lvs.SourceAddresses, lvs.SourceSysctls},
	Explain: probes.Explain{
		Breaks: `kube-proxy in its ipvs mode puts the addresses of all Services on the interface kube-ipvs0 of every node. Without strict ARP every node answers for a LoadBalancer address that lies in the nodes' own
subnet, whichever node is meant to have it. Clients and routers end up at any of them, and change when an entry is renewed.`,
		ByHand: `On a node:

    ip -o address show dev kube-ipvs0
    sysctl net.ipv4.conf.all.arp_ignore
    kubectl -n kube-system get configmap kube-proxy -o yaml | grep strictARP`,
		Cure: `Set strictARP in the configuration of kube-proxy, and restart it:

    kubectl -n kube-system edit configmap kube-proxy      (ipvs: strictARP: true)
    kubectl -n kube-system rollout restart daemonset kube-proxy

It sets arp_ignore=1 and arp_announce=2 on each node. By hand, until then:

    sysctl -w net.ipv4.conf.all.arp_ignore=1
    sysctl -w net.ipv4.conf.all.arp_announce=2`,
		Source: "net/ipv4/arp.c; kube-proxy's configuration, ipvs.strictARP.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var vips []netip.Addr
		dev := ""
		for _, a := range c.Snapshot.Addresses {
			vip := a.Prefix.Addr()
			if !strings.HasPrefix(a.Device, "kube-ipvs") || !vip.Is4() || slices.Contains(vips, vip) || len(vips) >= 64 {
				continue
			}
			on := c.OnLinkDevices(vip)
			if len(on) == 0 || len(c.HoldsOnWire(vip)) > 0 { // an address of the cluster's own is asked for nowhere
				continue
			}
			e := c.Snapshot.Effective(on[0], "arp_ignore")
			if !e.Known {
				c.CannotTell(lvs.SourceSysctls)
			} else if e.Value == 0 {
				vips, dev = append(vips, vip), on[0]
			}
		}
		if len(vips) == 0 {
			return nil
		}
		f := c.Finding(probes.Hazard, probes.Strong, fmt.Sprintf("%s on %s", list(vips), dev))
		about(&f, vips)
		f.Title = fmt.Sprintf("%s answers ARP for %s, as every node does", c.Name(), list(vips))
		f.Why = fmt.Sprintf("%s is on kube-ipvs0, as on every node of the cluster, and lies in the subnet of %s, where it is asked for. With arp_ignore=0 each node answers, and clients come to whichever they believe.", list(vips), dev)
		f.Evidence = append(f.Evidence, sysctlEvidence(c.Snapshot, dev, "arp_ignore", "1"), addressEvidence(c.Snapshot, vips[0], "on kube-ipvs0, silently"))
		plan := fixes.QuietARP(c.Snapshot, vips)
		cure(&f, c.Snapshot, plan, "for good: strictARP: true in the configuration of kube-proxy")
		return []probes.Finding{f}
	},
})
