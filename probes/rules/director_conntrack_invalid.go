package rules

import (
	"fmt"
	"net/netip"

	"lvstui/capture"
	"lvstui/lvs"
	"lvstui/probes"
	"lvstui/probes/filter"
)

var _ = register(probes.Rule{
	ID:    "director-conntrack-invalid",
	Title: "the director drops the client's ACK as invalid",
	Stage: lvs.Established,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS, lvs.SourceNetfilter, lvs.SourceLinks, lvs.SourceAddresses, lvs.SourceSysctls},
	Explain: probes.Explain{
		Breaks: `Connection tracking on the director keeps no entry for what ip_vs forwards, and never sees an answer. So the client's ACK, and every packet behind it, looks
like one out of nowhere. With nf_conntrack_tcp_loose=0 that is an invalid packet, and the rule "ct state invalid drop", which most firewalls have, drops it. With
loose=1 it counts as new, and a rule that drops new packets without SYN has the same effect. With net.ipv4.vs.conntrack=1 it is worse: then there is an entry, which has seen a SYN and waits for a
SYN-ACK that never comes by, so every ACK is invalid whatever nf_conntrack_tcp_loose says. The SYN-ACK comes past the director, so the client believes to be
connected, sends its request and waits in vain.`,
		ByHand: `On the director:

    sysctl net.netfilter.nf_conntrack_tcp_loose net.ipv4.vs.conntrack
    nft list ruleset | grep -n -e invalid -e 'tcp flags'
    iptables-legacy-save -c | grep -i -e invalid -e '! --syn'

and see whether the rule's counter moves while a client tries.`,
		Cure: `Let packets that connection tracking does not know pass, as is the default, and have ip_vs keep its connections out of it, as is the default too:

    sysctl -w net.netfilter.nf_conntrack_tcp_loose=1
    sysctl -w net.ipv4.vs.conntrack=0

or keep the VIP out of connection tracking and accept it:

    nft add table ip lvs
    nft add chain ip lvs prerouting '{ type filter hook prerouting priority raw; }'
    nft add rule ip lvs prerouting ip daddr 172.16.0.8 notrack
    nft insert rule inet filter input ip daddr 172.16.0.8 tcp dport 80 accept

and the same in the files that are loaded at boot.`,
		Source: "net/netfilter/nf_conntrack_proto_tcp.c, tcp_new, and tcp_conntracks: an ACK in SYN_SENT is sIV; net/netfilter/ipvs/ip_vs_xmit.c, ip_vs_notrack.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		tracked, known := c.Snapshot.Sysctl("net/ipv4/vs/conntrack")
		loose, looseKnown := c.Snapshot.Sysctl("net/netfilter/nf_conntrack_tcp_loose")
		if !known && hasTCP(c) {
			c.CannotTell(lvs.SourceSysctls)
		}
		if !known || !looseKnown { // without the second there is no connection tracking
			return nil
		}
		how := tracking{tracked != 0, loose}
		var all stops
		unsure := false
		for _, v := range services(c) {
			if holds, _ := holdsVIP(c, v.Address); v.Protocol != lvs.TCP || !v.Address.IsValid() || v.Port == 0 || !holds || established(c, v) {
				continue
			}
			d, certainty, ok := ackFate(c, v, how)
			switch {
			case !ok:
				unsure = true
			case d.Blocked():
				all.add(d, certainty, v, "", true)
			}
		}
		if unsure {
			c.CannotTell(lvs.SourceNetfilter)
		}
		var out []probes.Finding
		for _, s := range all.sorted() {
			out = append(out, conntrackInvalid(c, s, how))
		}
		return out
	},
})

func hasTCP(c *probes.Case) bool {
	for _, v := range services(c) {
		if v.Protocol == lvs.TCP {
			return true
		}
	}
	return false
}

// established says that some ACK of a client was seen to be forwarded.
func established(c *probes.Case, v lvs.Service) bool {
	for _, f := range c.FlowsTo(v.Address) {
		if f.Virtual.Port() == v.Port && (f.Outcome == capture.Established || f.Outcome == capture.Closed) {
			return true
		}
	}
	return false
}

// ackFate is what becomes of the client's ACK on every device on which a SYN gets through. ok is false when nobody can say.
func ackFate(c *probes.Case, v lvs.Service, how tracking) (d filter.Decision, certainty probes.Certainty, ok bool) {
	state := how.ofACK()
	packet := func(dev, flag, state string) passage {
		return passage{v, lvs.Established, func(client netip.Addr) filter.Decision {
			return c.Filter().BeforeIPVS(filter.Packet{Iif: dev, Src: client, Dst: v.Address, Protocol: lvs.TCP, DstPort: v.Port, State: state, Flags: flag})
		}}
	}
	devices, _ := arrivals(c, v.Address)
	ok, certainty = true, probes.Certain
	for _, dev := range devices {
		if syn, _ := packet(dev, "syn", "new").judge(c); syn.Blocked() {
			continue // it gets no further; director-input-firewall says so
		}
		ack, sure := packet(dev, "ack", state).judge(c)
		switch {
		case ack.Verdict == filter.Accept:
			return filter.Decision{}, "", true
		case ack.Verdict == filter.Unknown:
			ok = false
		case !d.Blocked():
			d, certainty = ack, sure
		}
	}
	if state == "new" && !d.Counted() && certainty == probes.Certain {
		certainty = probes.Strong
	}
	return d, certainty, ok
}

// tracking is how connection tracking sees what ip_vs forwards.
type tracking struct {
	kept  bool // net.ipv4.vs.conntrack: an entry stays, in SYN_SENT, because no SYN-ACK comes by
	loose int  // nf_conntrack_tcp_loose: whether a packet without an entry may open one
}

// ofACK is the state of the client's ACK.
func (t tracking) ofACK() string {
	if t.kept || t.loose == 0 {
		return "invalid"
	}
	return "new"
}

func (t tracking) why() string {
	switch {
	case t.kept:
		return "invalid, because with net.ipv4.vs.conntrack=1 there is an entry that still waits for the SYN-ACK"
	case t.loose == 0:
		return "invalid, because nf_conntrack_tcp_loose is 0"
	}
	return "new, although it is no SYN"
}

func conntrackInvalid(c *probes.Case, s *stop, how tracking) probes.Finding {
	f := c.Finding(probes.Outage, s.certainty, s.names())
	about(&f, s.vips())
	f.Title = fmt.Sprintf("%s drops the client's ACK to %s", c.Name(), s.names())
	f.Why = fmt.Sprintf("The SYN for %s is forwarded, and the SYN-ACK comes to the client past the director. To connection tracking here, which never sees an answer, the ACK is %s, "+
		"and ends at \"%s\". The client believes to be connected and waits in vain for an answer.", s.names(), how.why(), s.decision.Where())
	f.Evidence = append(f.Evidence, decisionEvidence(s.decision, "accept for every packet of a client"),
		probes.Evidence{Fact: "nf_conntrack_tcp_loose", Got: fmt.Sprint(how.loose), Want: "1, and no rule that drops new packets without SYN", Command: "sysctl net.netfilter.nf_conntrack_tcp_loose"},
		probes.Evidence{Fact: "whether connections of ip_vs are tracked", Got: map[bool]string{true: "yes (1)", false: "no (0)"}[how.kept], Want: "no, and the VIP not tracked before ip_vs either", Command: "sysctl net.ipv4.vs.conntrack"})
	letPass(&f, c, s, false, func(r *filter.Rules, v lvs.Service) filter.Decision {
		devices, _ := arrivals(c, v.Address)
		return firstStop(devices, func(dev string) filter.Decision {
			return r.BeforeIPVS(filter.Packet{Iif: dev, Dst: v.Address, Protocol: lvs.TCP, DstPort: v.Port, State: how.ofACK(), Flags: "ack"})
		})
	})
	both := "either of these will do: letting the ACK count as new, or accepting the service; write it to the file that is loaded at boot"
	switch {
	case f.Fix.Automatic:
	case how.kept:
		f.Fix.Commands = append([]string{"sysctl -w net.ipv4.vs.conntrack=0", "sysctl -w net.netfilter.nf_conntrack_tcp_loose=1"}, f.Fix.Commands...)
		f.Fix.Words = both
	case how.loose == 0:
		f.Fix.Commands = append([]string{"sysctl -w net.netfilter.nf_conntrack_tcp_loose=1"}, f.Fix.Commands...)
		f.Fix.Words = both
	}
	return f
}
