package rules

import (
	"fmt"
	"net/netip"

	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "multi-port-affinity",
	Title: "an FTP service whose data connections go to another real server",
	Stage: lvs.Established,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS},
	Explain: probes.Explain{
		Breaks: `Some protocols use several connections that belong together: FTP opens one for each transfer, to a port that the server names. In direct routing ip_vs does not see the server's words, so the data connection is none of its
business: it is refused by the director, or scheduled to another real server. Logging in works, listing and transferring do not. HTTP and HTTPS with sessions kept on one real server are alike.`,
		ByHand: `On the director:

    ipvsadm -Ln | grep -n ':21 '
    ftp 172.16.0.8     passive: log in, ls`,
		Cure: `Mark the control port and the passive range alike and make one persistent service of the mark, on the director:

    iptables -t mangle -A PREROUTING -d 172.16.0.8 -p tcp -m multiport --dports 21,10000:20000 -j MARK --set-mark 21
    ipvsadm -A -f 21 -s rr -p 600

and the same passive range in the FTP servers. Or a persistent service for all ports: ipvsadm -A -t 172.16.0.8:0 -p 600.`,
		Source: "net/netfilter/ipvs/ip_vs_ftp.c: the helper is for masq only; ip_vs_core.c, ip_vs_sched_persist.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var out []probes.Finding
		for _, v := range services(c) {
			if v.Protocol != lvs.TCP || v.Port != 21 || !v.Address.IsValid() || v.Persistent && hasService(c, lvs.TCP, netip.AddrPortFrom(v.Address, 0)) || len(v.Destinations) == 0 || !anyGate(v) {
				continue
			}
			f := c.Finding(probes.Hazard, probes.Hint, v.Key())
			f.VIP = v.Address
			f.Title = fmt.Sprintf("data connections of FTP on %s have no service", v.Address)
			f.Why = fmt.Sprintf("There is a service for port 21 of %s by direct routing, and neither one for all ports nor one by mark that holds the connections of one client together. A passive transfer goes to a port of its own and does not reach the same real server.", v.Address)
			f.Evidence = append(f.Evidence, probes.Evidence{Fact: "services of " + v.Address.String(), Got: v.Key(), Want: "one by mark for port 21 and the passive ports, persistent", Command: "ipvsadm -Ln"})
			advise(&f, c.Name(), "mark port 21 and the passive ports alike, and make one persistent service of the mark", "ipvsadm -A -f 21 -s "+v.Scheduler+" -p 600")
			out = append(out, f)
		}
		return out
	},
})

func anyGate(v lvs.Service) bool {
	for _, d := range v.Destinations {
		if d.Forward == lvs.Gate {
			return true
		}
	}
	return false
}
