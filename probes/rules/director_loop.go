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
	ID:    "director-loop",
	Title: "a standby director that is a real server schedules again",
	Stage: lvs.SynForwarded,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS, lvs.SourceLinks, lvs.SourceAddresses, lvs.SourceSysctls},
	Explain: probes.Explain{
		Breaks: `Two directors that are each other's real servers have the same virtual services in their tables. What the active one sends to the other comes there with the VIP as destination, so the other one's
ip_vs takes it and schedules it again, perhaps back to the first. The SYN goes back and forth until its TTL is used up: part of the connections fail with "no route to host", and both hosts are busy.`,
		ByHand: `On the standby:

    ipvsadm -Ln
    ipvsadm -L --daemon
    sysctl net.ipv4.vs.backup_only
    tcpdump -evni eth0 host 172.16.0.8

The same SYN comes and goes with a smaller TTL each time.`,
		Cure: `Run the synchronisation daemon, as backup on the standby, and let ip_vs do nothing meanwhile:

    ipvsadm --start-daemon backup --mcast-interface eth0
    sysctl -w net.ipv4.vs.backup_only=1

The second does nothing without the first. Or have virtual services on the active director only, or services by a mark that packets from the other director do not get.`,
		Source: "net/netfilter/ipvs/ip_vs_core.c, ip_vs_in_hook; Documentation/networking/ipvs-sysctl.rst, backup_only.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var certain, alone []netip.Addr
		var who string
		for _, v := range services(c) {
			vip := v.Address
			if !vip.IsValid() || !c.Has(vip) || len(c.HoldsOnWire(vip)) > 0 || slices.Contains(certain, vip) || slices.Contains(alone, vip) || !sendsElsewhere(c, v) {
				continue
			}
			if d, ok := activePeer(c, v); ok {
				certain, who = append(certain, vip), d.Name()
			} else if isBackup(c) && isOwnDestination(c, v) {
				alone = append(alone, vip)
			}
		}
		if len(certain)+len(alone) == 0 {
			return nil
		}
		only, known := c.Snapshot.Sysctl("net/ipv4/vs/backup_only")
		switch {
		case c.Snapshot.IPVS.Daemons == nil:
			c.CannotTell(lvs.SourceIPVS)
			return nil
		case isBackup(c) && !known:
			c.CannotTell(lvs.SourceSysctls)
			return nil
		case isBackup(c) && only != 0:
			return nil
		}
		var out []probes.Finding
		if len(certain) > 0 {
			out = append(out, loops(c, certain, probes.Degraded, who+" sends packets for it here", only))
		}
		if len(alone) > 0 {
			out = append(out, loops(c, alone, probes.Hazard, "this host is a destination of its own table, and a backup", only))
		}
		return out
	},
})

func isBackup(c *probes.Case) bool {
	return slices.ContainsFunc(c.Snapshot.IPVS.Daemons, func(d lvs.SyncDaemon) bool { return d.State == "backup" })
}

// isOwnDestination says that the service has this host as a destination, as it has on both of two directors that are real servers.
func isOwnDestination(c *probes.Case, v lvs.Service) bool {
	return slices.ContainsFunc(v.Destinations, func(d lvs.Destination) bool { return c.Has(d.Address) && d.Weight > 0 })
}

// sendsElsewhere says that a packet may leave this host again by direct routing.
func sendsElsewhere(c *probes.Case, v lvs.Service) bool {
	return slices.ContainsFunc(v.Destinations, func(d lvs.Destination) bool { return d.Forward == lvs.Gate && d.Weight > 0 && !c.Has(d.Address) })
}

// activePeer is another director at hand that has the VIP on the wire and this host as a destination for it.
func activePeer(c *probes.Case, v lvs.Service) (*probes.Host, bool) {
	for _, ref := range c.Cluster.DestinationsOf(v.Address) {
		if ref.Director != c.Host && ref.Service.Key() == v.Key() && ref.Destination.Forward == lvs.Gate && ref.Destination.Weight > 0 &&
			c.Has(ref.Destination.Address) && len(ref.Director.HoldsOnWire(v.Address)) > 0 {
			return ref.Director, true
		}
	}
	return nil, false
}

func loops(c *probes.Case, vips []netip.Addr, severity probes.Severity, why string, only int) probes.Finding {
	f := c.Finding(severity, probes.Strong, list(vips))
	about(&f, vips)
	f.Title = fmt.Sprintf("%s schedules packets for %s a second time", c.Name(), list(vips))
	f.Why = fmt.Sprintf("This host is a standby director and a real server for %s: %s. Its own table has the service too, and nothing keeps its ip_vs from scheduling such packets again, perhaps back to where they came from.", list(vips), why)
	state := "none"
	if isBackup(c) {
		state = "backup"
	}
	f.Evidence = append(f.Evidence,
		probes.Evidence{Fact: "who sends packets here", Got: why, Want: "somebody, as long as ip_vs here leaves them alone", Command: "ipvsadm -Ln"},
		probes.Evidence{Fact: "synchronisation daemon", Got: state, Want: "backup", Command: "ipvsadm -L --daemon"},
		probes.Evidence{Fact: "net.ipv4.vs.backup_only", Got: fmt.Sprint(only), Want: "1", Command: "sysctl net.ipv4.vs.backup_only"},
		addressEvidence(c.Snapshot, vips[0], "on lo, as a real server has it"))
	commands := []string{"sysctl -w net.ipv4.vs.backup_only=1"}
	if state == "none" {
		commands = append([]string{"ipvsadm --start-daemon backup --mcast-interface IFACE"}, commands...)
	}
	advise(&f, c.Name(), "let ip_vs do nothing while this host is the backup; the sysctl needs the daemon", commands...)
	if state == "backup" {
		cureIfPossible(&f, c.Snapshot, fixes.Plan{Title: "let ip_vs do nothing while this host is the backup",
			Steps: []fixes.Step{fixes.SetSysctl{Path: "net/ipv4/vs/backup_only", Value: "1"}}})
	}
	return f
}
