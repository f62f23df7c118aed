package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/capture"
	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "ipvs-idle-timeout",
	Title: "the director resets connections that it has forgotten",
	Stage: lvs.Established,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS},
	Explain: probes.Explain{
		Breaks: `An open connection over which nothing is sent is forgotten after fifteen minutes, unless "ipvsadm --set" says otherwise. TCP's own keep-alive starts after two hours. The next packet belongs to no
entry and is no SYN, so ip_vs leaves it to the director's own TCP, which answers with a RST: "connection reset by peer" after a pause, with databases and the like. The real server hears nothing. It looks the same
when another director has taken over without the connections being synchronised.`,
		ByHand: `On the director:

    ipvsadm -L --timeout
    tcpdump -ni any 'src host 172.16.0.8 and tcp[tcpflags] & tcp-rst != 0'`,
		Cure: `Keep entries longer than the connections are idle; it does not outlast a reboot:

    ipvsadm --set 7500 0 0

or let clients or servers send keep-alives earlier:

    sysctl -w net.ipv4.tcp_keepalive_time=600

After a failover: run the synchronisation daemon on both directors.`,
		Source: "net/netfilter/ipvs/ip_vs_proto_tcp.c, tcp_timeouts and tcp_conn_schedule.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var vips []netip.Addr
		n := 0
		for _, f := range c.Flows {
			if vip := f.Virtual.Addr(); forgotten(c, f) {
				n++
				if !slices.Contains(vips, vip) {
					vips = append(vips, vip)
				}
			}
		}
		if n == 0 {
			return nil
		}
		f := c.Finding(probes.Hazard, probes.Hint, list(vips))
		about(&f, vips)
		f.Title = fmt.Sprintf("%s resets connections to %s that it does not know", c.Name(), list(vips))
		f.Why = fmt.Sprintf("%d %s to %s went on in the middle, and this director itself answered with a RST: it has no entry for %s. Either nothing was sent for longer than the time-out, or another director had the connection before.",
			n, plural(n, "connection", "connections"), list(vips), plural(n, "it", "them"))
		got := "could not be read"
		if t := c.Snapshot.IPVS.Timeouts; t != nil {
			got = fmt.Sprintf("%d s for an open TCP connection", t.TCP)
		}
		f.Evidence = append(f.Evidence,
			probes.Evidence{Fact: "connections that went on and were reset from here", Got: fmt.Sprint(n), Want: "none", Command: fmt.Sprintf("tcpdump -ni any 'src host %s and tcp[tcpflags] & tcp-rst != 0'", vips[0])},
			probes.Evidence{Fact: "time-out of ip_vs", Got: got, Want: "longer than connections are idle", Command: "ipvsadm -L --timeout"})
		if t := c.Snapshot.IPVS.Timeouts; t != nil && t.TCP > keepAlive {
			// Entries outlive TCP's own keep-alive, so none was forgotten.
			f.Subject += " after a failover"
			f.Why = fmt.Sprintf("%d %s to %s went on in the middle, and this director itself answered with a RST: it has no entry for %s. Entries are kept for longer than TCP's keep-alive takes, so it never had one: another director did.",
				n, plural(n, "connection", "connections"), list(vips), plural(n, "it", "them"))
			advise(&f, c.Name(), "see that the synchronisation daemon runs on both directors, so that the next failover breaks no connections", "ipvsadm -L --daemon")
			return []probes.Finding{f}
		}
		advise(&f, c.Name(), "keep entries longer than connections are idle, or send keep-alives earlier; after a failover see that the synchronisation daemon runs on both directors",
			fmt.Sprintf("ipvsadm --set %d 0 0", outlasting))
		if !tableOwned(c.Snapshot) {
			cureIfPossible(&f, c.Snapshot, fixes.Plan{Title: "keep entries for longer than TCP's keep-alive takes", Steps: []fixes.Step{fixes.SetTimeouts{TCP: outlasting}}})
		}
		return []probes.Finding{f}
	},
})

const (
	// keepAlive is after how many seconds TCP asks by itself whether the other end is still there (tcp_keepalive_time), where a program
	// asked for it and nobody changed it.
	keepAlive = 7200
	// outlasting leaves the first of its probes time to come through.
	outlasting = 7500
)

// forgotten says that the flow, to one of the director's services, was met after its handshake, and that the director itself reset it.
func forgotten(c *probes.Case, f capture.Flow) bool {
	return f.MidStream && f.Vantage == lvs.RoleDirector && f.RST != nil && !f.RST.FromClient && f.RST.Direction == capture.Out && f.RST.From == f.Virtual.Addr() &&
		ownMAC(c.Host, f.RST.SrcMAC) && slices.ContainsFunc(services(c), func(v lvs.Service) bool {
		return v.Protocol == f.Protocol && netip.AddrPortFrom(v.Address, v.Port) == f.Virtual
	})
}
