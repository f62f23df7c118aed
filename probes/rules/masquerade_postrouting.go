package rules

import (
	"fmt"
	"net/netip"

	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
	"lvstui/probes/filter"
)

var _ = register(probes.Rule{
	ID:    "masquerade-postrouting",
	Title: "the director gives clients' packets another source address",
	Stage: lvs.SynForwarded,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS, lvs.SourceNetfilter, lvs.SourceLinks, lvs.SourceAddresses, lvs.SourceSysctls},
	Explain: probes.Explain{
		Breaks: `With net.ipv4.vs.conntrack=1 what ip_vs sends out passes the nat chains of POSTROUTING like other connections. A masquerade rule that is meant for other traffic, and is wide,
then replaces the client's address by the director's. The real server answers to the director, with the VIP as source, which the director holds itself: it
drops the answer as forged. The client times out.`,
		ByHand: `On the director:

    sysctl net.ipv4.vs.conntrack
    nft list ruleset | grep -n -e masquerade -e snat
    iptables-legacy-save -t nat

A capture on the card that faces the real servers shows SYNs that come from the director's address.`,
		Cure: `Direct routing needs no connection tracking:

    sysctl -w net.ipv4.vs.conntrack=0

or leave the VIP out in front of the masquerade rule:

    nft insert rule ip nat postrouting ip daddr 172.16.0.8 accept`,
		Source: "net/netfilter/ipvs/ip_vs_xmit.c, ip_vs_send_or_cont: only with IP_VS_CONN_F_NFCT the packet stays tracked.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		tracked, known := c.Snapshot.Sysctl("net/ipv4/vs/conntrack")
		if !known && len(services(c)) > 0 {
			c.CannotTell(lvs.SourceSysctls)
		}
		if tracked == 0 || !known {
			return nil
		}
		var all stops
		unsure := false
		for _, v := range services(c) {
			if holds, _ := holdsVIP(c, v.Address); !v.Address.IsValid() || !holds || v.Port == 0 || c.Served(v.Address) {
				continue
			}
			for _, dev := range forwardDevices(c, v) {
				d, certainty := rewritten(c, v, dev)
				switch d.Verdict {
				case filter.Rewrite:
					all.add(d, certainty, v, dev, true)
				case filter.Unknown:
					unsure = true
				}
			}
		}
		if unsure || len(all.order) == 0 && len(services(c)) > 0 && halfRead(c.Snapshot.Netfilter) {
			c.CannotTell(lvs.SourceNetfilter)
		}
		var out []probes.Finding
		for _, s := range all.sorted() {
			out = append(out, masqueraded(c, s))
		}
		return out
	},
})

// rewritten is what the nat chains do with the SYN on its way to a real server: of anybody, or, where a rule looks at the client, of those who were seen.
func rewritten(c *probes.Case, v lvs.Service, dev string) (filter.Decision, probes.Certainty) {
	p := filter.Packet{Oif: dev, Dst: v.Address, Protocol: v.Protocol, DstPort: v.Port, State: "new"}
	d := c.Filter().NewSource(p)
	if d.Verdict != filter.Unknown {
		return d, probes.Strong
	}
	clients, assumed := c.ClientsOf(v.Address)
	for _, client := range clients {
		p.Src = client
		if d = c.Filter().NewSource(p); d.Verdict != filter.Rewrite {
			return d, ""
		}
	}
	if assumed {
		return filter.Decision{Verdict: filter.Unknown}, ""
	}
	return d, probes.Strong
}

func masqueraded(c *probes.Case, s *stop) probes.Finding {
	f := c.Finding(probes.Outage, s.certainty, s.names()+" on "+listWords(s.devices))
	about(&f, s.vips())
	f.Title = fmt.Sprintf("%s replaces the client's address on the way to %s", c.Name(), s.names())
	f.Why = fmt.Sprintf("net.ipv4.vs.conntrack is 1, so what ip_vs sends out on %s passes the nat chains, and \"%s\" gives it an address of %s as source. The real server answers there, with the VIP as source, "+
		"and %s drops a packet that comes from its own address.", listWords(s.devices), s.decision.Where(), c.Name(), c.Name())
	e := decisionEvidence(s.decision, "nothing for "+s.names())
	e.Got = "a new source address"
	if s.decision.Counted() {
		e.Got += fmt.Sprintf(", %d connections so far", s.decision.Rule.Packets)
	}
	f.Evidence = append(f.Evidence, e, probes.Evidence{Fact: "net.ipv4.vs.conntrack", Got: "1", Want: "0, which is enough for direct routing", Command: "sysctl net.ipv4.vs.conntrack"})
	for _, v := range services(c) {
		for _, d := range v.Destinations {
			if d.Forward == lvs.Masq { // it may rest on it
				advise(&f, c.Name(), "leave the VIPs out in front of the masquerade rule", except(s)...)
				return f
			}
		}
	}
	cure(&f, c.Snapshot, fixes.Plan{Title: "ip_vs without connection tracking", Steps: []fixes.Step{fixes.SetSysctl{Path: "net/ipv4/vs/conntrack", Value: "0"}}})
	return f
}

// except are commands that keep the VIPs out of a nat chain.
func except(s *stop) []string {
	var out []string
	ch := s.decision.Chain
	for _, vip := range s.vips()[:min(len(s.vips()), 4)] {
		out = append(out, exceptCommand(ch, vip))
	}
	return out
}

func exceptCommand(ch *lvs.Chain, vip netip.Addr) string {
	if ch.Backend == "legacy" {
		return fmt.Sprintf("iptables-legacy -t %s -I %s -d %s -j ACCEPT", ch.Table, ch.Name, vip)
	}
	return fmt.Sprintf("nft insert rule %s %s %s %s daddr %s accept", ch.Family, ch.Table, ch.Name, map[bool]string{true: "ip", false: "ip6"}[vip.Is4()], vip)
}
