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
	ID:    "backup-only",
	Title: "the director in charge believes to be the backup",
	Stage: lvs.SynScheduled,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS, lvs.SourceLinks, lvs.SourceAddresses, lvs.SourceSysctls},
	Explain: probes.Explain{
		Breaks: `With net.ipv4.vs.backup_only=1 ip_vs schedules nothing as long as its synchronisation daemon runs in the state backup. That keeps two directors that are real servers too from sending packets back
and forth. On a host that has the VIP all the same, set by hand or left over from a failover that went half way, clients are answered by the host's own TCP: a RST, or its own service.
Without a daemon the value does nothing.`,
		ByHand: `On the director:

    sysctl net.ipv4.vs.backup_only
    ipvsadm -L --daemon
    ip -o address show to 172.16.0.8`,
		Cure: `Let the program that moves the VIP make this host the master, or make it so by hand:

    ipvsadm --stop-daemon backup
    ipvsadm --start-daemon master --mcast-interface eth0

To schedule while it is the backup: sysctl -w net.ipv4.vs.backup_only=0.`,
		Source: "include/net/ip_vs.h, sysctl_backup_only; net/netfilter/ipvs/ip_vs_core.c, ip_vs_in_hook.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		only, known := c.Snapshot.Sysctl("net/ipv4/vs/backup_only")
		switch {
		case len(services(c)) == 0 || known && only == 0:
			return nil
		case c.Snapshot.IPVS.Daemons == nil:
			c.CannotTell(lvs.SourceIPVS)
			return nil
		case !slices.ContainsFunc(c.Snapshot.IPVS.Daemons, func(d lvs.SyncDaemon) bool { return d.State == "backup" }):
			return nil
		case !known:
			c.CannotTell(lvs.SourceSysctls)
			return nil
		}
		var vips []netip.Addr
		for _, vip := range serviceVIPs(c) {
			if len(c.HoldsOnWire(vip)) > 0 && !c.Served(vip) || arrivesHere(c, vip) && !c.Served(vip) {
				vips = append(vips, vip)
			}
		}
		if len(vips) == 0 {
			return nil
		}
		f := c.Finding(probes.Outage, probes.Certain, list(vips))
		about(&f, vips)
		f.Title = fmt.Sprintf("%s has %s and schedules nothing: backup_only", c.Name(), list(vips))
		f.Why = fmt.Sprintf("The synchronisation daemon runs in the state backup and backup_only is 1, so ip_vs leaves every packet to the host itself. But %s is on this host's card, and clients come here.", list(vips))
		f.Evidence = append(f.Evidence,
			probes.Evidence{Fact: "net.ipv4.vs.backup_only", Got: fmt.Sprint(only), Want: "0, or this host the master", Command: "sysctl net.ipv4.vs.backup_only"},
			probes.Evidence{Fact: "state of the synchronisation daemon", Got: "backup", Want: "master", Command: "ipvsadm -L --daemon"},
			addressEvidence(c.Snapshot, vips[0], "on the director that is the master"))
		advise(&f, c.Name(), "let the program that moves the VIP settle who is the master; or, when this host is, end the backup's daemon",
			"ipvsadm --stop-daemon backup")
		if o, moves := owner(c.Snapshot, movers...); moves {
			f.Fix.Words = fmt.Sprintf("%s settles who is the master (%s): see in its log why it did not make this host one, or why it left the address here", o.Name, o.Evidence)
		} else if c.Snapshot.Owners != nil && !c.Is(lvs.RoleRealServer) {
			cureIfPossible(&f, c.Snapshot, fixes.Plan{Title: "schedule also while the synchronisation daemon is a backup",
				Steps: []fixes.Step{fixes.SetSysctl{Path: "net/ipv4/vs/backup_only", Value: "0"}}})
		}
		return []probes.Finding{f}
	},
})
