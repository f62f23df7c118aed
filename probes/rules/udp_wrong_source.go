package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "udp-wrong-source",
	Title: "a UDP service may answer from the RIP",
	Stage: lvs.SynAckSent,
	Roles: []lvs.Role{lvs.RoleRealServer},
	Needs: []lvs.Source{lvs.SourceSockets, lvs.SourceAddresses},
	Explain: probes.Explain{
		Breaks: `A UDP program that is bound to all addresses does not answer from the address that was asked, unless it takes care of it itself (IP_PKTINFO, as name servers do). The kernel chooses the source by the
route: the RIP. The client asked the VIP and throws an answer from another address away. TCP has no such problem.`,
		ByHand: `On the real server see what is bound, and from where it answers:

    ss -lunp
    tcpdump -ni any udp port 53`,
		Cure:   `Bind the program to the VIP, beside or instead of 0.0.0.0, and start it after the VIP is there.`,
		Source: "net/ipv4/udp.c, udp_sendmsg: no source given, so ip_route_output_flow chooses one.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		out, watched := answeredByRIP(c)
		for _, n := range sentHere(c) {
			local, _ := vipLocal(c, n.vip)
			if watched[netip.AddrPortFrom(n.vip, n.port)] || n.protocol != lvs.UDP || !local || !listens(c, n) || boundTo(c, n) {
				continue
			}
			name := netip.AddrPortFrom(n.vip, n.port).String()
			f := c.Finding(probes.Note, probes.Hint, "udp "+name)
			f.VIP = n.vip
			f.Title = fmt.Sprintf("the UDP service on %s is bound to all addresses", name)
			f.Why = fmt.Sprintf("Nothing is bound to %s itself. Unless the program sees to it, its answers leave with the RIP as source, and a client that asked %s does not take them. Many programs see to it; a capture of one answer tells.", name, n.vip)
			f.Evidence = append(f.Evidence, n.how, probes.Evidence{Fact: fmt.Sprintf("what is bound to udp port %d", n.port), Got: "all addresses only", Want: "answers with source " + n.vip.String(),
				Command: fmt.Sprintf("tcpdump -ni any udp and src port %d", n.port)})
			advise(&f, c.Name(), fmt.Sprintf("see where answers come from; when it is the RIP, bind the program to %s", n.vip))
			out = append(out, f)
		}
		return out
	},
})

// answeredByRIP are the services whose answers were seen to leave with another address of this host as source, among those that were watched.
func answeredByRIP(c *probes.Case) (out []probes.Finding, watched map[netip.AddrPort]bool) {
	said := map[netip.AddrPort]bool{}
	watched = map[netip.AddrPort]bool{}
	for _, vip := range servedVIPs(c) {
		for _, f := range c.RecentFlowsTo(vip) {
			if f.Protocol != lvs.UDP || f.Vantage != lvs.RoleRealServer {
				continue
			}
			watched[f.Virtual] = true
			if said[f.Virtual] || !c.Has(f.AnsweredFrom.Addr()) {
				continue
			}
			said[f.Virtual] = true
			finding := c.Finding(probes.Outage, probes.Certain, "udp "+f.Virtual.String())
			finding.VIP = vip
			finding.Title = fmt.Sprintf("%s answers requests for udp %s from %s", c.Name(), f.Virtual, f.AnsweredFrom.Addr())
			finding.Why = fmt.Sprintf("%s asked %s, and the answer left this host with %s as source. A client does not take an answer from an address that it did not ask. The program is bound to all addresses, "+
				"so the kernel chooses the source by the route.", f.Client, f.Virtual, f.AnsweredFrom)
			finding.Evidence = append(finding.Evidence, probes.Evidence{Fact: "source of the answer to " + f.Client.String(), Got: f.AnsweredFrom.String(), Want: f.Virtual.String(),
				Command: fmt.Sprintf("tcpdump -ni any udp and port %d", f.Virtual.Port())})
			advise(&finding, c.Name(), fmt.Sprintf("bind the program to %s, and start it after the VIP is there", vip))
			out = append(out, finding)
		}
	}
	return out, watched
}

func boundTo(c *probes.Case, n needed) bool {
	return slices.ContainsFunc(c.Snapshot.Sockets, func(s lvs.Socket) bool {
		return s.Protocol == n.protocol && s.Port == n.port && s.Address.Unmap() == n.vip
	})
}
