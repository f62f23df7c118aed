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
	ID:        "rs-forwards-back",
	Title:     "a real server without the VIP sends packets for it on",
	Stage:     lvs.SynAccepted,
	Roles:     []lvs.Role{lvs.RoleRealServer},
	Needs:     []lvs.Source{lvs.SourceLinks, lvs.SourceAddresses, lvs.SourceSysctls},
	DependsOn: []string{"vip-missing-on-rs"},
	Explain: probes.Explain{
		Breaks: `A real server that lacks the VIP and forwards packets, as container hosts do, does not drop what the director sends it: it routes the packet to its gateway, which hands it to the director again,
which schedules the same connection to the same real server. The SYN goes round until its TTL is used up. The client hears nothing, or "time to live exceeded", and the segment
carries each packet dozens of times.`,
		ByHand: `On the real server; the first must say "local":

    ip route get 172.16.0.8 from 188.88.88.10 iif eth0
    tcpdump -vni eth0 host 172.16.0.8

The same SYN comes again and again with a smaller TTL.`,
		Cure: `Give the real server the VIP, the ARP sysctls first:

    sysctl -w net.ipv4.conf.all.arp_ignore=1
    sysctl -w net.ipv4.conf.all.arp_announce=2
    ip addr add 172.16.0.8/32 dev lo`,
		Source: "net/ipv4/route.c, ip_route_input_slow: not local, so ip_forward.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var out []probes.Finding
		for _, n := range vipsNeeded(c) {
			if local, known := vipLocal(c, n.vip); !known || local || !n.vip.Is4() || redirects(c, n) != matchNo {
				continue
			}
			if accepted, known := acceptedByRule(c, n.vip); accepted || !known {
				continue
			}
			if a, ok := sentOn(c, n.vip); ok {
				f := c.Finding(probes.Hazard, probes.Certain, n.vip.String())
				f.VIP = n.vip
				f.Title = fmt.Sprintf("%s sends packets for %s on", c.Name(), n.vip)
				f.Why = fmt.Sprintf("This host does not have %s and forwards packets, so what the director sends it goes out again %s. From there it comes back to the director, until its TTL is used up.", n.vip, routeWords(a))
				f.Evidence = append(f.Evidence, n.how, routeEvidence("a SYN from "+a.Src.String()+" on "+a.Iif, a, "delivered to this host"),
					probes.Evidence{Fact: "forwarding on " + a.Iif, Got: "1", Want: "of no matter once the VIP is there", Command: "sysctl " + lvs.SysctlName(lvs.ConfPath(a.Iif, "forwarding"))})
				cure(&f, c.Snapshot, fixes.HoldVIP(c.Snapshot, n.vip))
				out = append(out, f)
			}
		}
		return out
	},
})

// sentOn is where a packet for an address that is not here goes when it comes in, if it goes anywhere.
func sentOn(c *probes.Case, vip netip.Addr) (lvs.RouteAnswer, bool) {
	clients, _ := judgedClients(c, vip)
	devs := arrivalDevices(c, vip)
	for _, l := range addressedLinks(c.Host) {
		if len(devs) > 0 && !slices.Contains(devs, l.Name) {
			continue
		}
		for _, client := range clients {
			if a := c.Asked(lvs.RouteQuery{Dst: vip, Src: client, Iif: l.Name}); a.Outcome == lvs.OutUnicast && c.Snapshot.Effective(l.Name, "forwarding").Value != 0 {
				return a, true
			}
		}
	}
	return lvs.RouteAnswer{}, false
}
