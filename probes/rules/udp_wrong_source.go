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
		var out []probes.Finding
		for _, n := range sentHere(c) {
			local, _ := vipLocal(c, n.vip)
			if n.protocol != lvs.UDP || !local || !listens(c, n) || boundTo(c, n) {
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

func boundTo(c *probes.Case, n needed) bool {
	return slices.ContainsFunc(c.Snapshot.Sockets, func(s lvs.Socket) bool {
		return s.Protocol == n.protocol && s.Port == n.port && s.Address.Unmap() == n.vip
	})
}
