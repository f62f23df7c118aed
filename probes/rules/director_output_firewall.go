package rules

import (
	"fmt"
	"net/netip"

	"lvstui/lvs"
	"lvstui/probes"
	"lvstui/probes/filter"
)

var _ = register(probes.Rule{
	ID:    "director-output-firewall",
	Title: "the director's output rules stop what it forwards",
	Stage: lvs.SynForwarded,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS, lvs.SourceNetfilter, lvs.SourceLinks, lvs.SourceAddresses, lvs.SourceSysctls},
	Explain: probes.Explain{
		Breaks: `ip_vs sends the client's packet to the real server as if the director had made it: it passes the OUTPUT and POSTROUTING chains, not FORWARD, with
the client as source and the VIP as destination, on the card that faces the real servers. A default-drop OUTPUT chain, or egress rules that know only the
director's own connections, drop it. It is scheduled and counted, and never leaves; the client times out. Unless net.ipv4.vs.conntrack is 1 the packet
is untracked by then, so that rules for the states new and established do not hold for it either.`,
		ByHand: `On the director list the chains of output and postrouting, and see which counter moves while a client tries:

    nft list ruleset
    iptables-legacy-save -c
    ipvsadm -Ln --stats`,
		Cure: `Accept what is for the VIP in front of the rule that stops it:

    nft insert rule inet filter output ip daddr 172.16.0.8 tcp dport 80 accept

and in the file that is loaded at boot.`,
		Source: "net/netfilter/ipvs/ip_vs_xmit.c, ip_vs_send_or_cont: ip_vs_notrack, then NF_HOOK(NF_INET_LOCAL_OUT).",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var all stops
		unsure, looked := false, false
		for _, v := range services(c) {
			if holds, _ := holdsVIP(c, v.Address); !v.Address.IsValid() || !holds || v.Port == 0 || c.Served(v.Address) {
				continue
			}
			ways := forwardDevices(c, v)
			looked = looked || len(ways) > 0
			open := false
			var hit []verdictOn
			for _, dev := range ways {
				d, certainty := forwardedSYN(c, v, dev)
				switch {
				case d.Blocked():
					hit = append(hit, verdictOn{d, certainty, dev})
				case d.Verdict == filter.Unknown:
					unsure, open = true, true
				default:
					open = true
				}
			}
			for _, h := range hit {
				all.add(h.decision, h.certainty, v, h.device, !open)
			}
		}
		if unsure || looked && len(all.order) == 0 && halfRead(c.Snapshot.Netfilter) {
			c.CannotTell(lvs.SourceNetfilter)
		}
		var out []probes.Finding
		for _, s := range all.sorted() {
			out = append(out, outputFirewall(c, s))
		}
		return out
	},
})

type verdictOn struct {
	decision  filter.Decision
	certainty probes.Certainty
	device    string
}

// forwardDevices are the devices over which the service's real servers are reached by direct routing. A destination that is this host itself gets
// its packets without output.
func forwardDevices(c *probes.Case, v lvs.Service) []string {
	var out []string
	seen := map[string]bool{}
	for _, d := range v.Destinations {
		if d.Forward != lvs.Gate || d.Weight <= 0 || c.Has(d.Address) {
			continue
		}
		a := c.Asked(lvs.RouteQuery{Dst: d.Address})
		if a.Outcome == lvs.OutUnicast && a.Device != "" && !seen[a.Device] {
			seen[a.Device] = true
			out = append(out, a.Device)
		}
	}
	return out
}

// forwardedSYN is what becomes of a client's SYN on its way out. A decision that rests on the packet being untracked is not as sure as one that does not.
func forwardedSYN(c *probes.Case, v lvs.Service, dev string) (filter.Decision, probes.Certainty) {
	as := func(state string) (filter.Decision, probes.Certainty) {
		return passage{v, lvs.SynForwarded, func(client netip.Addr) filter.Decision {
			return c.Filter().Sent(filter.Packet{Oif: dev, Src: client, Dst: v.Address, Protocol: v.Protocol, DstPort: v.Port, State: state})
		}}.judge(c)
	}
	tracked, known := c.Snapshot.Sysctl("net/ipv4/vs/conntrack")
	switch {
	case !known:
		return as("")
	case tracked != 0:
		return as("new")
	}
	d, certainty := as("untracked")
	if first, _ := as("new"); d.Blocked() && !first.Blocked() && !d.Counted() {
		certainty = probes.Strong
	}
	return d, certainty
}

func outputFirewall(c *probes.Case, s *stop) probes.Finding {
	severity := probes.Outage
	if !s.lost {
		severity = probes.Degraded
	}
	f := c.Finding(severity, s.certainty, s.names()+" on "+listWords(s.devices))
	about(&f, s.vips())
	f.Title = fmt.Sprintf("the output rules of %s stop %s", c.Name(), s.names())
	f.Why = fmt.Sprintf("ip_vs schedules a SYN for %s and sends it out on %s with the client's address as source and the VIP as destination. It has to pass the chains of output "+
		"and postrouting like the director's own packets, and ends at \"%s\".", s.names(), listWords(s.devices), s.decision.Where())
	f.Evidence = append(f.Evidence, s.evidence())
	if v, known := c.Snapshot.Sysctl("net/ipv4/vs/conntrack"); known && v == 0 && s.decision.Chain != nil {
		f.Evidence = append(f.Evidence, probes.Evidence{Fact: "whether connections of ip_vs are tracked", Got: "no (0): the packet's state is untracked on its way out", Want: "accept that does not ask for a state",
			Command: "sysctl net.ipv4.vs.conntrack"})
	}
	letPass(&f, c, s, false, func(r *filter.Rules, v lvs.Service) filter.Decision {
		return firstStop(s.devices, func(dev string) filter.Decision {
			return r.Sent(filter.Packet{Oif: dev, Dst: v.Address, Protocol: v.Protocol, DstPort: v.Port, State: "untracked"})
		})
	})
	return f
}
