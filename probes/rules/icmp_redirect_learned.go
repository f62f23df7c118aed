package rules

import (
	"fmt"

	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "icmp-redirect-learned",
	Title: "a host goes another way because a router told it to",
	Stage: lvs.SynAckSent,
	Roles: []lvs.Role{lvs.RoleRealServer, lvs.RoleDirector, lvs.RoleRouter, lvs.RoleClient},
	Needs: []lvs.Source{lvs.SourceAnswers},
	Explain: probes.Explain{
		Breaks: `A router that sends a packet out where it came in tells the sender of a shorter way, by ICMP redirect, and the sender believes it for minutes. So a client or real server may stop using the router for one address: harmless, or the
end of a connection when a firewall on the router no longer sees both ways, or when the host it was sent to goes away.`,
		ByHand: `The answer says "cache <redirected>":

    ip route get 188.88.88.10
    tcpdump -ni eth0 'icmp[icmptype] == icmp-redirect'`,
		Cure: `Forget it here, and have the router not say it: send_redirects of all and of the interface both have to be 0.

    ip route flush cache
    sysctl -w net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.eth0.send_redirects=0     on the router`,
		Source: "net/ipv4/route.c, __ip_do_redirect and ip_rt_send_redirect.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var out []probes.Finding
		for _, a := range c.Snapshot.Answers {
			if !a.Redirected || len(out) >= probes.Alike {
				continue
			}
			f := c.Finding(probes.Note, probes.Strong, a.Dst.String())
			f.Title = fmt.Sprintf("%s goes to %s by way of %s, because a router said so", c.Name(), a.Dst, a.Gateway)
			f.Why = fmt.Sprintf("An ICMP redirect changed the way to %s: it leads by way of %s now, and not as the routes say, until it is forgotten after some minutes.", a.Dst, a.Gateway)
			f.Evidence = append(f.Evidence, routeEvidence("the way to "+a.Dst.String(), a, "as in ip route show"))
			advise(&f, c.Name(), "on the router set send_redirects of all and of the interface to 0", "ip route flush cache")
			out = append(out, f)
		}
		return out
	},
})
