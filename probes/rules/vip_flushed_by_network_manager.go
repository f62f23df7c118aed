package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/fixes/nextboot"
	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "vip-flushed-by-network-manager",
	Title: "a network manager has taken the VIP away behind keepalived's back",
	Stage: lvs.VIPResolved,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS, lvs.SourceAddresses, lvs.SourceOwners},
	Explain: probes.Explain{
		Breaks: `systemd-networkd, when it is restarted or upgraded or renews a lease, removes addresses, routes and policy rules that are not in its own files; netplan apply and nmcli connection up do the like. keepalived puts a VIP of its own
back within seconds (2.2 does; older ones went on as master without it). One that was typed, on a director whose keepalived only keeps the services, stays away: no host answers for it.`,
		ByHand: `On the director that should be active:

    ip -o address show to 172.16.0.8
    journalctl -u systemd-networkd -u keepalived --since -1h
    networkctl cat`,
		Cure: `Have keepalived put it back, and networkd leave it alone. In the .network file of the interface and in networkd.conf:

    [Network]
    KeepConfiguration=static

    [Network]
    ManageForeignRoutes=no
    ManageForeignRoutingPolicyRules=no

then systemctl restart keepalived, which may move VIPs. A VIP that is not keepalived's belongs into the .network file. Do not restart networkd over the connection that you are on.`,
		Source: "systemd.network(5), KeepConfiguration; networkd.conf(5), ManageForeignRoutes.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		manager, managed := owner(c.Snapshot, "systemd-networkd", "NetworkManager", "netplan")
		keeper, kept := owner(c.Snapshot, "keepalived", "pacemakerd", "ucarp")
		if !managed || !kept {
			return nil
		}
		var vips []netip.Addr
		for _, vip := range serviceVIPs(c) {
			if holds, known := holdsVIP(c, vip); holds || !known || !arrivesHere(c, vip) {
				continue // a standby has no VIP either; who gets clients' SYNs is none
			}
			if !slices.ContainsFunc(c.Cluster.Hosts, func(h *probes.Host) bool { return h != c.Host && len(h.HoldsOnWire(vip)) > 0 }) {
				vips = append(vips, vip)
			}
		}
		if len(vips) == 0 {
			return nil
		}
		f := c.Finding(probes.Outage, probes.Hint, list(vips))
		about(&f, vips)
		f.Title = fmt.Sprintf("%s gets clients' packets for %s and has lost it", c.Name(), list(vips))
		f.Why = fmt.Sprintf("Clients' SYNs for %s come to this director, so it had the VIP a moment ago, and %s still keeps its services. %s runs here too, and takes away addresses that are not in its own files when it starts anew.", list(vips), keeper.Name, manager.Name)
		f.Evidence = append(f.Evidence, addressEvidence(c.Snapshot, vips[0], "on the network card"),
			probes.Evidence{Fact: "who manages addresses here", Got: keeper.Evidence + "; " + manager.Evidence, Want: manager.Name + " told to leave foreign addresses alone", Command: "journalctl -u systemd-networkd -u NetworkManager -u keepalived --since -1h"})
		if devices, _ := arrivals(c, vips[0]); typed(c, keeper, vips[0]) && len(devices) > 0 {
			f.Why += fmt.Sprintf(" %s does not have %s in its own file, so nobody puts it back.", keeper.Name, vips[0])
			advise(&f, c.Name(), "put it back, and write it where "+manager.Name+" keeps its addresses", fmt.Sprintf("ip addr add %s/%d dev %s", vips[0], vips[0].BitLen(), devices[0]))
			return []probes.Finding{f}
		}
		advise(&f, c.Name(), "let "+keeper.Name+" put it back, and tell "+manager.Name+" to leave it alone (KeepConfiguration=static)", "systemctl restart "+keeper.Name)
		return []probes.Finding{f}
	},
})

// typed says that the VIP is none of keepalived's own: it keeps the services only, and the address was put there by somebody else.
func typed(c *probes.Case, keeper lvs.Owner, vip netip.Addr) bool {
	k, there := nextboot.Keepalived(c.Snapshot)
	return keeper.Name == "keepalived" && there && !k.Odd && !slices.ContainsFunc(k.Instances, func(i nextboot.Instance) bool { return slices.Contains(i.VIPs, vip) })
}
