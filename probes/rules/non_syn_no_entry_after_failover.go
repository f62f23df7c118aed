package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "non-syn-no-entry-after-failover",
	Title: "open connections would not outlive a failover",
	Stage: lvs.Established,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS},
	Explain: probes.Explain{
		Breaks: `A director that takes over knows nothing of the connections of the one before, unless both run the synchronisation daemon. A client's next packet finds no entry, goes to the director's own sockets and is answered with a RST: all
open connections break at once. New ones work.`,
		ByHand: `On both directors; one has to be master and one backup, with the same syncid and interface:

    ipvsadm -L --daemon
    tcpdump -ni eth0 udp port 8848`,
		Cure: `On the active one and on the other (keepalived: lvs_sync_daemon eth0):

    ipvsadm --start-daemon master --mcast-interface eth0 --syncid 1
    ipvsadm --start-daemon backup --mcast-interface eth0 --syncid 1

and let UDP port 8848 to 224.0.0.81 pass. Connections of fewer than three packets are not told; sync_threshold changes that.`,
		Source: "net/netfilter/ipvs/ip_vs_sync.c; ip_vs_proto_tcp.c, tcp_conn_schedule: a packet without SYN is not scheduled (sloppy_tcp).",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		daemons := c.Snapshot.IPVS.Daemons
		if daemons == nil || len(services(c)) == 0 {
			return nil
		}
		for _, other := range c.Cluster.With(lvs.RoleDirector) {
			if other == c.Host || other.Snapshot.IPVS == nil || other.Snapshot.IPVS.Daemons == nil || !slices.ContainsFunc(serviceVIPs(c), func(vip netip.Addr) bool { return ownsService(other, vip) }) {
				continue
			}
			if got, fits := synchronised(daemons, other.Snapshot.IPVS.Daemons); !fits && c.Name() < other.Name() { // said once
				return []probes.Finding{notSynchronised(c, other.Name(), got)}
			}
		}
		return nil
	},
})

// synchronised tells whether two directors' daemons speak with each other: one sends what the other takes.
func synchronised(here, there []lvs.SyncDaemon) (words string, fits bool) {
	if len(here) == 0 && len(there) == 0 {
		return "no daemon on either", false
	}
	for _, a := range here {
		for _, b := range there {
			if a.SyncID == b.SyncID && (a.State != b.State) {
				return "", true
			}
			if a.SyncID != b.SyncID {
				words = fmt.Sprintf("syncid %d here and %d there", a.SyncID, b.SyncID)
			} else {
				words = "both are " + a.State
			}
		}
	}
	if words == "" {
		words = "a daemon on one of them only"
	}
	return words, false
}

func notSynchronised(c *probes.Case, other, got string) probes.Finding {
	f := c.Finding(probes.Note, probes.Strong, c.Name()+" and "+other)
	f.Title = fmt.Sprintf("%s and %s do not tell each other of connections", c.Name(), other)
	f.Why = fmt.Sprintf("The two directors have the same virtual services, and their synchronisation daemons do not work together (%s). When one takes over from the other, every open connection is reset; new ones work.", got)
	f.Evidence = append(f.Evidence, probes.Evidence{Fact: "synchronisation daemons", Got: got, Want: "a master and a backup with one syncid", Command: "ipvsadm -L --daemon"})
	advise(&f, c.Name(), "start one as master on the active director and one as backup on the other (keepalived: lvs_sync_daemon)", "ipvsadm --start-daemon master --mcast-interface IFACE --syncid 1")
	return f
}
