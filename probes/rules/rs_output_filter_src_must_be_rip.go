package rules

import (
	"fmt"
	"net/netip"

	"lvstui/lvs"
	"lvstui/probes"
	"lvstui/probes/filter"
)

var _ = register(probes.Rule{
	ID:        "rs-output-filter-src-must-be-rip",
	Title:     "a real server's packet filter stops the answers from the VIP",
	Stage:     lvs.SynAckSent,
	Roles:     []lvs.Role{lvs.RoleRealServer},
	Needs:     []lvs.Source{lvs.SourceNetfilter, lvs.SourceLinks, lvs.SourceAddresses},
	DependsOn: []string{"vip-missing-on-rs", "rs-input-firewall"},
	Explain: probes.Explain{
		Breaks: `The real server answers with the VIP as source. Output rules that let only packets with the host's own address leave, against forged
sources, as hardening guides, containers and cloud images have them, drop the SYN-ACK. The SYN comes in, the program accepts nothing, no SYN-ACK is on
the wire, and the client times out. Health checks of the RIP stay green.`,
		ByHand: `On the real server list the chains of output and postrouting, and see which counter moves while a client tries:

    nft list ruleset
    iptables-legacy-save -c

A capture on the card shows no SYN-ACK, because it listens behind the filter.`,
		Cure: `Let the VIP's answers leave, in front of the rule that stops them:

    nft insert rule inet filter output ip saddr 172.16.0.8 tcp sport 80 accept

and in the file that is loaded at boot.`,
		Source: "net/ipv4/ip_output.c, __ip_local_out and ip_output: the hooks LOCAL_OUT and POST_ROUTING.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		sent := sentHere(c)
		stopped, unsure := rsStops(c, sent, lvs.SynAckSent, func(n needed, dev string, client netip.Addr) filter.Decision {
			return c.Filter().Sent(filter.Packet{Oif: dev, Src: n.vip, Dst: client, Protocol: n.protocol, SrcPort: n.port, State: "established"})
		}, answerDevices)
		if unsure {
			c.CannotTell(lvs.SourceNetfilter)
		}
		var out []probes.Finding
		for _, s := range stopped {
			severity := probes.Outage
			if !s.lost {
				severity = probes.Hazard
			}
			out = append(out, answersStopped(c, s, severity))
		}
		if len(sent) == 0 {
			out = append(out, onlyFromRIP(c)...)
		}
		return out
	},
})

func answersStopped(c *probes.Case, s *stop, severity probes.Severity) probes.Finding {
	f := c.Finding(severity, s.certainty, s.names())
	about(&f, s.vips())
	f.Title = fmt.Sprintf("the packet filter of %s stops answers from %s", c.Name(), s.names())
	f.Why = fmt.Sprintf("A real server answers clients with the VIP as source. Answers from %s end at \"%s\", so no SYN-ACK leaves this host and clients wait in vain.",
		s.names(), s.decision.Where())
	f.Evidence = append(f.Evidence, decisionEvidence(s.decision, "accept for answers from "+s.names()))
	letPass(&f, c, s, true, func(r *filter.Rules, v lvs.Service) filter.Decision {
		return firstStop(answerDevices(c, v.Address), func(dev string) filter.Decision {
			return r.Sent(filter.Packet{Oif: dev, Src: v.Address, Protocol: v.Protocol, SrcPort: v.Port, State: "established"})
		})
	})
	return f
}

// onlyFromRIP is what a real server alone can tell: a packet from a port on which something listens may leave with an address of the card
// as source, and may not with the VIP, whoever the client is.
func onlyFromRIP(c *probes.Case) []probes.Finding {
	var out []probes.Finding
	for _, s := range openForOwnOnly(c, answerDevices, func(n needed, dev string, own netip.Addr) filter.Decision {
		return c.Filter().Sent(filter.Packet{Oif: dev, Src: own, Protocol: n.protocol, SrcPort: n.port, State: "established"})
	}) {
		severity := probes.Hazard
		if s.decision.Counted() {
			severity = probes.Outage // it has stopped packets, and it stops none but those
		}
		f := answersStopped(c, s, severity)
		f.Certainty = probes.Strong
		f.Why += " Something listens on the port, and what comes from this host's own address may leave."
		out = append(out, f)
	}
	return out
}

// answerDevices are the devices over which answers from a VIP leave, all that it may be where no client was seen or no route tells.
func answerDevices(c *probes.Case, vip netip.Addr) []string {
	if _, assumed := c.ClientsOf(vip); !assumed {
		if devs := replyDevices(c, vip); len(devs) > 0 {
			return devs
		}
	}
	return rsDevices(c, vip)
}
