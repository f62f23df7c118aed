package rules

import (
	"fmt"

	"lvstui/lvs"
	"lvstui/probes"
	"lvstui/probes/filter"
)

var _ = register(probes.Rule{
	ID:    "pmtu-blackhole",
	Title: "the director drops the messages that a packet was too large",
	Stage: lvs.Established,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS, lvs.SourceNetfilter, lvs.SourceLinks, lvs.SourceAddresses},
	Explain: probes.Explain{
		Breaks: `A router that cannot pass on a real server's packet says so by ICMP "fragmentation needed". The packet had the VIP as source, so the message goes to the VIP: to the director, whose ip_vs hands it on to the real server of that
connection. A packet filter on the director that lets in only the service's port drops it. Handshakes and small answers work, large ones hang for clients behind a tunnel or another narrow link.`,
		ByHand: `On the director see whether such messages come in and go on, and what the filter does with them:

    tcpdump -eni any 'icmp[icmptype] == 3 and icmp[icmpcode] == 4'
    nft list ruleset`,
		Cure: `Let them in:

    nft insert rule inet filter input icmp type destination-unreachable accept

or keep the real servers' answers small, on each of them:

    nft add rule ip mangle postrouting ip saddr 172.16.0.8 tcp flags syn tcp option maxseg size set 1360`,
		Source: "net/netfilter/ipvs/ip_vs_core.c, ip_vs_in_icmp, behind the input filter; RFC 1191.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		return tooLargeDropped(c, true)
	},
})

var _ = register(probes.Rule{
	ID:    "v6-pmtu",
	Title: "the director drops the messages that an IPv6 packet was too big",
	Stage: lvs.Established,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS, lvs.SourceNetfilter, lvs.SourceLinks, lvs.SourceAddresses},
	Explain: probes.Explain{
		Breaks: `IPv6 routers never fragment: they send "packet too big" to the source, and the source of a real server's answer is the VIP. The message comes to the director, whose ip_vs hands it on. A packet filter that does not let
ICMPv6 in drops it, and large answers hang wherever the path is narrower than the real servers' link.`,
		ByHand: `    tcpdump -eni any 'icmp6 and ip6[40] == 2'
    nft list ruleset`,
		Cure: `Let it in; RFC 4890 says which ICMPv6 must never be dropped:

    nft insert rule inet filter input icmpv6 type packet-too-big accept`,
		Source: "net/netfilter/ipvs/ip_vs_core.c, ip_vs_in_icmp_v6; RFC 8201; RFC 4890, 4.4.1.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		return tooLargeDropped(c, false)
	},
})

// tooLargeDropped finds what keeps ICMP's word that a packet was too large from ip_vs, whoever sends it.
func tooLargeDropped(c *probes.Case, four bool) []probes.Finding {
	protocol, kind, state := lvs.Protocol("icmp"), "destination-unreachable", "invalid"
	if !four {
		protocol, kind = "ipv6-icmp", "packet-too-big"
	}
	if tracked, _ := c.Snapshot.Sysctl("net/ipv4/vs/conntrack"); tracked != 0 {
		state = "related" // there is an entry for the connection that it quotes
	}
	var all stops
	for _, v := range services(c) {
		if v.Protocol != lvs.TCP || !v.Address.IsValid() || v.Address.Is4() != four {
			continue
		}
		if holds, _ := holdsVIP(c, v.Address); !holds {
			continue
		}
		devices, _ := arrivals(c, v.Address)
		var worst filter.Decision
		for _, dev := range devices {
			d := c.Filter().BeforeIPVS(filter.Packet{Iif: dev, Dst: v.Address, Protocol: protocol, ICMP: kind, State: state})
			syn := c.Filter().BeforeIPVS(filter.Packet{Iif: dev, Dst: v.Address, Protocol: lvs.TCP, DstPort: v.Port, State: "new", Flags: "syn"})
			if !d.Blocked() || syn.Blocked() { // where clients do not come in either, that is said elsewhere
				worst = filter.Decision{}
				break
			}
			worst = d
		}
		if worst.Blocked() {
			all.add(worst, probes.Strong, v, "", true)
		}
	}
	var out []probes.Finding
	for _, s := range all.sorted() {
		out = append(out, tooLarge(c, s, kind))
	}
	return out
}

func tooLarge(c *probes.Case, s *stop, kind string) probes.Finding {
	vips := s.vips()
	f := c.Finding(probes.Note, probes.Strong, list(vips))
	about(&f, vips)
	f.Title = fmt.Sprintf("%s drops ICMP %s for %s", c.Name(), kind, list(vips))
	f.Why = fmt.Sprintf("When a real server's answer is too large for some link on the way, a router there tells %s, and that is this director. The message ends at \"%s\" before ip_vs can hand it on, so the real server goes on sending "+
		"packets that never arrive. Only clients behind narrow links suffer, and only from large answers.", list(vips), s.decision.Where())
	f.Evidence = append(f.Evidence, decisionEvidence(s.decision, "accept for ICMP "+kind))
	family, field := "icmp", "inet"
	if vips[0].Is6() {
		family = "icmpv6"
	}
	if s.decision.Chain != nil {
		field = s.decision.Chain.Family
	}
	command := fmt.Sprintf("nft insert rule %s %s %s %s type %s accept", field, tableOf(s), chainOf(s), family, kind)
	if s.decision.Chain != nil && s.decision.Chain.Backend == "legacy" {
		command = map[bool]string{true: "iptables-legacy -I INPUT -p icmp --icmp-type fragmentation-needed -j ACCEPT", false: "ip6tables-legacy -I INPUT -p ipv6-icmp --icmpv6-type packet-too-big -j ACCEPT"}[vips[0].Is4()]
	}
	advise(&f, c.Name(), "let these messages in, and in the file that is loaded at boot", command)
	return f
}

func tableOf(s *stop) string {
	if s.decision.Chain == nil {
		return "filter"
	}
	return s.decision.Chain.Table
}

func chainOf(s *stop) string {
	if s.decision.Chain == nil {
		return "input"
	}
	return s.decision.Chain.Name
}
