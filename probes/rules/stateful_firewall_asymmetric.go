package rules

import (
	"fmt"
	"net/netip"

	"lvstui/lvs"
	"lvstui/probes"
	"lvstui/probes/filter"
)

var _ = register(probes.Rule{
	ID:    "stateful-firewall-asymmetric",
	Title: "a firewall on the way sees only one half of the connection",
	Stage: lvs.AckAtDirector,
	Roles: []lvs.Role{lvs.RoleRouter},
	Needs: []lvs.Source{lvs.SourceLinks, lvs.SourceAddresses, lvs.SourceNetfilter},
	Explain: probes.Explain{
		Breaks: `In direct routing answers do not come back the way that requests went. A firewall that keeps track of connections and sees only the requests never sees a SYN-ACK: the client's ACK is to it a packet that fits no
connection, and is dropped as invalid. One that sees only the answers drops the SYN-ACK. It is so where real servers answer by another router, or where the client is on their own segment.`,
		ByHand: `On the firewall see whether the counter of its rule for invalid packets moves, and on the real server where answers go:

    nft list ruleset | grep -n invalid
    conntrack -L -d 172.16.0.8
    ip route get CLIENT from 172.16.0.8`,
		Apart: `Capture on the client. If the SYN-ACK arrives, and the client's ACK is sent and does not come to the director, something on the way drops it: this. If no SYN-ACK arrives, look at router-urpf-or-source-guard.`,
		Cure: `Let both ways lead through the same firewall, or have it let the VIP pass without state:

    nft insert rule inet filter forward ip daddr 172.16.0.8 accept
    nft insert rule inet filter forward ip saddr 172.16.0.8 accept`,
		Source: "net/netfilter/nf_conntrack_proto_tcp.c, tcp_conntracks: an ACK in SYN_SENT is sIV, a SYN-ACK without entry too.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		if _, tracked := c.Snapshot.Sysctl("net/netfilter/nf_conntrack_count"); !tracked {
			return nil // no connection tracking here
		}
		var out []probes.Finding
		for _, vip := range c.Cluster.VIPs {
			if !vip.Is4() || c.Has(vip) || c.Served(vip) {
				continue
			}
			if f, ok := halfSeen(c, vip); ok {
				out = append(out, f)
			}
		}
		return out
	},
})

// halfSeen judges a router through which requests come, and answers do not because a real server at hand sends them another way.
func halfSeen(c *probes.Case, vip netip.Addr) (probes.Finding, bool) {
	to := c.Asked(lvs.RouteQuery{Dst: vip})
	if to.Outcome != lvs.OutUnicast || to.Device == "" {
		return probes.Finding{}, false
	}
	all, past := 0, 0
	var one lvs.RouteAnswer
	var who *probes.Host
	var stopped filter.Decision
	for _, client := range clientsAnywhere(c, vip) {
		from := c.Asked(lvs.RouteQuery{Dst: client})
		if from.Outcome != lvs.OutUnicast || from.Device == to.Device {
			continue
		}
		syn := filter.Packet{Iif: from.Device, Oif: to.Device, Src: client, Dst: vip, Protocol: lvs.TCP, State: "new", Flags: "syn"}
		ack := syn
		ack.State, ack.Flags = "invalid", "ack"
		for _, ref := range c.Cluster.DestinationsOf(vip) {
			rs := c.Cluster.Holder(ref.Destination.Address)
			if rs == nil || rs == ref.Director || ref.Destination.Weight <= 0 || ref.Destination.Forward != lvs.Gate || ref.Service.Protocol != lvs.TCP {
				continue
			}
			back := rs.Asked(lvs.RouteQuery{Dst: client, Src: vip})
			if back.Outcome != lvs.OutUnicast {
				continue
			}
			all++
			if back.Gateway.IsValid() && (c.Has(back.Gateway) || throughDirector(c, back.Gateway)) {
				continue // answers come this way, or another rule has something to say
			}
			syn.DstPort, ack.DstPort = ref.Service.Port, ref.Service.Port
			if d := c.Filter().Forwarded(ack); d.Blocked() && c.Filter().Forwarded(syn).Verdict == filter.Accept {
				past++
				one, who, stopped = back, rs, d
			}
		}
	}
	if past == 0 {
		return probes.Finding{}, false
	}
	severity := probes.Outage
	if past < all {
		severity = probes.Degraded
	}
	f := c.Finding(severity, probes.Strong, vip.String())
	f.VIP = vip
	f.Title = fmt.Sprintf("%s drops clients' ACKs to %s, because it never sees an answer", c.Name(), vip)
	f.Why = fmt.Sprintf("Clients' SYNs to %s pass this host, and the answers of %s do not: they go %s. To connection tracking here the client's ACK fits nothing, and ends at \"%s\". The client believes to be connected and waits in vain.",
		vip, who.Name(), routeWords(one), stopped.Where())
	f.Evidence = append(f.Evidence, decisionEvidence(stopped, "accept for packets of the VIP without state"), routeEvidence("the way of answers on "+who.Name(), one, "through "+c.Name()))
	advise(&f, c.Name(), "let both ways lead through this host, or let the VIP pass without state, and in the file that is loaded at boot",
		fmt.Sprintf("nft insert rule %s %s %s ip daddr %s accept", stopped.Chain.Family, stopped.Chain.Table, stopped.Chain.Name, vip))
	return f, true
}
