package rules

import (
	"fmt"
	"slices"
	"strings"

	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "vrrp-strict-drop",
	Title: "keepalived drops what comes for its own VIP",
	Stage: lvs.SynScheduled,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS, lvs.SourceNetfilter, lvs.SourceLinks, lvs.SourceAddresses},
	Explain: probes.Explain{
		Breaks: `With vrrp_strict, or no_accept, keepalived follows the letter of VRRP: a router that is not the address's owner does not accept
packets for it. So it adds packet filter rules that drop all that comes for the VIP. ip_vs takes packets behind the filter and never sees one. The VIP
is up, it answers ARP, and neither ping nor the service answers; clients time out. The sample configuration that comes with keepalived has vrrp_strict.`,
		ByHand: `On the director that has the VIP:

    nft list table ip keepalived
    iptables-save -c | grep -i drop
    grep -rn -e vrrp_strict -e no_accept /etc/keepalived`,
		Cure: `Take vrrp_strict and no_accept out of the configuration, or put "accept" into the vrrp_instance, and restart keepalived (not reload):

    systemctl restart keepalived

The VIP moves to the other director while it restarts. To let clients in until then:

    nft insert rule ip keepalived in ip daddr 172.16.0.8 tcp dport 80 accept`,
		Source: "keepalived.conf(5), vrrp_strict and accept; net/netfilter/ipvs/ip_vs_core.c, ip_vs_ops4.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		stopped, unsure := inputStops(c)
		if unsure {
			c.CannotTell(lvs.SourceNetfilter)
		}
		var out []probes.Finding
		for _, s := range stopped {
			if keepalivedStops(c, s) {
				out = append(out, vrrpStrictDrop(c, s))
			}
		}
		return out
	},
})

// keepalivedStops tells whether the rule that stops a service is one that keepalived adds: it is in its own table or chain, or drops whatever comes
// for the VIP, by address alone, where keepalived runs.
func keepalivedStops(c *probes.Case, s *stop) bool {
	ch := s.decision.Chain
	if strings.HasPrefix(ch.Table, "keepalived") || strings.HasPrefix(strings.ToLower(ch.Name), "keepalived") {
		return true
	}
	_, runs := owner(c.Snapshot, "keepalived")
	return runs && byAddressAlone(s)
}

// byAddressAlone says that the rule drops whatever comes for a VIP, and looks at nothing else.
func byAddressAlone(s *stop) bool {
	rule := s.decision.Rule
	if rule == nil || rule.Verdict != "drop" || len(rule.Matches) != 1 {
		return false
	}
	m := rule.Matches[0]
	return (m.Field == "ip daddr" || m.Field == "ip6 daddr") && !m.Negate && m.Set == "" && slices.ContainsFunc(m.Values, func(v string) bool {
		ip, _, _ := strings.Cut(v, "/")
		return slices.ContainsFunc(s.services, func(x lvs.Service) bool { return x.Address.String() == ip })
	})
}

func vrrpStrictDrop(c *probes.Case, s *stop) probes.Finding {
	f := c.Finding(probes.Outage, s.certainty, list(s.vips()))
	about(&f, s.vips())
	f.Title = fmt.Sprintf("keepalived on %s drops what comes for %s", c.Name(), list(s.vips()))
	f.Why = fmt.Sprintf("keepalived was told vrrp_strict or no_accept and drops every packet for %s at \"%s\", before ip_vs gets it. The address is up and answers ARP, "+
		"and clients of %s wait in vain.", list(s.vips()), s.decision.Where(), s.names())
	f.Evidence = append(f.Evidence, s.evidence())
	if o, ok := owner(c.Snapshot, "keepalived"); ok {
		f.Evidence = append(f.Evidence, probes.Evidence{Fact: "keepalived", Got: o.Evidence, Want: "neither vrrp_strict nor no_accept in its configuration",
			Command: "grep -rn -e vrrp_strict -e no_accept /etc/keepalived"})
	}
	_, commands := letThrough(c, s, false)
	if strings.HasPrefix(s.decision.Chain.Table, "keepalived") {
		commands = nil
		for _, v := range s.services[:min(len(s.services), 4)] {
			commands = append(commands, fmt.Sprintf("nft insert rule %s %s %s %s daddr %s %s dport %d accept", s.decision.Chain.Family, s.decision.Chain.Table, s.decision.Chain.Name,
				map[bool]string{true: "ip", false: "ip6"}[v.Address.Is4()], v.Address, v.Protocol, v.Port))
		}
	}
	advise(&f, c.Name(), "take vrrp_strict and no_accept out of keepalived's configuration and restart it, which moves the VIP to the other director; until then accept the service in front of its rule", commands...)
	return f
}
