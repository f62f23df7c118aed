package rules

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"lvstui/capture"
	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:        "service-not-listening-on-vip",
	Title:     "nothing listens on the VIP's port",
	Stage:     lvs.SynAccepted,
	Roles:     []lvs.Role{lvs.RoleRealServer, lvs.RoleDirector},
	Needs:     []lvs.Source{lvs.SourceSockets, lvs.SourceAddresses},
	DependsOn: []string{"vip-missing-on-rs", "service-not-in-ipvs", "port-mismatch", "localnode-binding"},
	Explain: probes.Explain{
		Breaks: `The client's packet reaches the real server with the VIP and the virtual service's port as destination. Direct routing changes
neither. When no socket listens there, the kernel answers with a RST and the client says "connection refused". It is so when the program is
bound to the RIP or to 127.0.0.1, when it listens on another port than the virtual service has, or when it is down.`,
		ByHand: `On the real server:

    ss -ltn 'sport = :80'

There has to be 0.0.0.0:80, *:80 or the VIP itself. From the director, without logging in there:

    lvstui check --probe dsr`,
		Cure: `Let the program listen on all addresses or on the VIP, and start it anew. A program that was started before the VIP was there
may also need a restart. Where it has to listen on the RIP only, or on another port, send the packets there, on the real server:

    nft add table ip lvs_vip
    nft 'add chain ip lvs_vip prerouting { type nat hook prerouting priority -100; }'
    nft add rule ip lvs_vip prerouting ip daddr 172.16.0.8 tcp dport 80 dnat to 192.168.10.11:80`,
		Source: "net/ipv4/tcp_ipv4.c, tcp_v4_rcv: __inet_lookup finds no socket, and tcp_v4_send_reset answers.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		out := portsRefused(c)
		if !c.Is(lvs.RoleRealServer) {
			return out
		}
		for _, p := range portsNeeded(c) {
			if f, ok := notListening(c, p); ok {
				out = append(out, f)
			}
		}
		return out
	},
})

// portsNeeded are the VIPs and ports that packets come in for: from directors' tables, or seen and not answered.
func portsNeeded(c *probes.Case) []needed {
	var out []needed
	seen := map[string]bool{} // there may be thousands
	add := func(n needed) {
		key := string(n.protocol) + netip.AddrPortFrom(n.vip, n.port).String()
		if n.vip.IsValid() && n.port != 0 && (n.protocol == lvs.TCP || n.protocol == lvs.UDP) && !seen[key] {
			seen[key] = true
			out = append(out, n)
		}
	}
	for _, ref := range c.Named() {
		// What is local on a director goes to its own socket, whatever its method is called (ip_vs_null_xmit, or a local route).
		if !dr(ref) && ref.Destination.Forward != lvs.IPIP {
			continue
		}
		add(needed{ref.Service.Address, ref.Service.Protocol, ref.Service.Port, ref.Destination.Weight, probes.Evidence{
			Fact: "who sends packets for it here", Got: fmt.Sprintf("%s, to %s by %s", ref.Director.Name(), ref.Destination.Address, ref.Destination.Forward), Command: "ipvsadm -Ln"}})
	}
	served := map[netip.Addr]bool{}
	for _, vip := range servedVIPs(c) {
		served[vip] = true
	}
	for _, f := range recentFlows(c.Host) {
		// With a director at hand, or on one, its table says which ports matter; what else is refused is somebody's scan.
		vip := f.Virtual.Addr()
		if f.Vantage == lvs.RoleRealServer && served[vip] && !c.Is(lvs.RoleDirector) && !namedByDirector(c, vip) && rstSentHere(c.Host, f) {
			add(needed{f.Virtual.Addr(), f.Protocol, f.Virtual.Port(), 1, probes.Evidence{
				Fact: "what happened", Got: fmt.Sprintf("a SYN from %s to %s was answered with a RST from here", f.Client, f.Virtual),
				Command: fmt.Sprintf("tcpdump -ni any host %s and tcp port %d", f.Virtual.Addr(), f.Virtual.Port())}})
		}
	}
	return out
}

// rstSentHere says that this host answered the SYN with a RST.
func rstSentHere(h *probes.Host, f capture.Flow) bool {
	return f.Outcome == capture.Refused && f.RST != nil && f.RST.From == f.Virtual.Addr() && f.RST.Direction == capture.Out && ownMAC(h, f.RST.SrcMAC)
}

func notListening(c *probes.Case, n needed) (probes.Finding, bool) {
	if local, known := vipLocal(c, n.vip); !known || !local {
		if !known {
			cannotRoute(c)
		}
		return probes.Finding{}, false
	}
	if listens(c, n) || servedOn(c, n) {
		return probes.Finding{}, false
	}
	certainty := probes.Certain
	if !c.Cluster.Named && servedNow(c, n.vip) {
		certainty = probes.Hint // on other ports clients are served, so this one may be nobody's
	}
	switch redirects(c, n) {
	case matchYes:
		return probes.Finding{}, false
	case matchPerhaps:
		c.CannotTell(lvs.SourceNetfilter)
		if c.Snapshot.Netfilter != nil {
			return probes.Finding{}, false
		}
		if certainty == probes.Certain {
			certainty = probes.Strong
		}
	}
	severity := probes.Outage
	if n.weight == 0 {
		severity = probes.Hazard
	}
	name := netip.AddrPortFrom(n.vip, n.port).String()
	f := c.Finding(severity, certainty, fmt.Sprintf("%s %s", n.protocol, name))
	f.VIP = n.vip
	f.Title = fmt.Sprintf("nothing on %s listens on %s", c.Name(), name)
	f.Why = fmt.Sprintf("Packets for %s reach this host unchanged, and no socket is bound to that address and port, nor to the port on all addresses. "+
		"The kernel answers the SYN with a RST, so the client sees \"connection refused\".", name)
	if n.protocol == lvs.UDP {
		f.Why = fmt.Sprintf("Datagrams for %s reach this host unchanged, and no socket is bound there. The kernel answers with ICMP port unreachable.", name)
	}
	others := sameService(c.Snapshot.Sockets, n)
	ss := map[lvs.Protocol]string{lvs.TCP: "ss -ltnp", lvs.UDP: "ss -lunp"}[n.protocol]
	f.Evidence = append(f.Evidence, n.how,
		probes.Evidence{Fact: fmt.Sprintf("what listens on %s port %d", n.protocol, n.port), Got: others, Want: fmt.Sprintf("0.0.0.0:%d or %s", n.port, name),
			Command: fmt.Sprintf("%s 'sport = :%d'", ss, n.port)},
		addressEvidence(c.Snapshot, n.vip, "local"))
	words := fmt.Sprintf("let the program listen on 0.0.0.0:%d or on %s, and start it anew", n.port, name)
	commands := commandsToListener(c, n)
	if len(commands) > 0 {
		words += "; until then its packets can be sent on to where it listens"
	}
	advise(&f, c.Name(), words, commands...)
	return f, true
}

// commandsToListener are the commands that let the program that listens on one address of this host only have the VIP's packets: it is a table of nftables
// of their own, which "nft delete table ip lvs_vip" takes away.
func commandsToListener(c *probes.Case, n needed) []string {
	if !n.vip.Is4() {
		return nil
	}
	for _, s := range c.Snapshot.Sockets {
		ip := s.Address.Unmap()
		if s.Protocol != n.protocol || s.Port != n.port || !ip.Is4() || ip.IsUnspecified() || ip.IsLoopback() || s.Device != "" || !c.Has(ip) {
			continue
		}
		return []string{"nft add table ip lvs_vip", "nft 'add chain ip lvs_vip prerouting { type nat hook prerouting priority -100; }'",
			fmt.Sprintf("nft add rule ip lvs_vip prerouting ip daddr %s %s dport %d dnat to %s", n.vip, n.protocol, n.port, netip.AddrPortFrom(ip, n.port))}
	}
	return nil
}

// listens tells whether some socket takes packets for the address and port. A socket of IPv6 takes those of IPv4 unless it says otherwise.
func listens(c *probes.Case, n needed) bool {
	devs := arrivalDevices(c, n.vip)
	return slices.ContainsFunc(c.Snapshot.Sockets, func(s lvs.Socket) bool {
		if s.Protocol != n.protocol || s.Port != n.port || s.Device != "" && len(devs) > 0 && !slices.Contains(devs, s.Device) {
			return false
		}
		any4 := s.Address.Is4() && s.Address.IsUnspecified()
		any6 := s.Address.Is6() && s.Address.IsUnspecified() && (n.vip.Is6() || !s.V6Only)
		return s.Address.Unmap() == n.vip || n.vip.Is4() && any4 || any6
	})
}

// servedOn tells whether the latest connection to the port was taken by this host, by whatever means.
func servedOn(c *probes.Case, n needed) bool {
	for _, f := range slices.Backward(c.RecentFlowsTo(n.vip)) {
		if f.Virtual.Port() == n.port && f.Protocol == n.protocol && f.Vantage == lvs.RoleRealServer && f.Outcome != capture.Pending {
			return f.Outcome == capture.Established || f.Outcome == capture.Closed
		}
	}
	return false
}

// sameService lists the sockets that have the port, but on the wrong address.
func sameService(sockets []lvs.Socket, n needed) string {
	var out []string
	for _, s := range sockets {
		if s.Protocol == n.protocol && s.Port == n.port {
			text := netip.AddrPortFrom(s.Address, s.Port).String()
			if s.Device != "" {
				text += " on " + s.Device
			}
			if s.Process != "" {
				text += " (" + s.Process + ")"
			}
			out = append(out, text)
		}
	}
	if len(out) == 0 {
		return "nothing"
	}
	return "only " + strings.Join(out[:min(len(out), 4)], ", ")
}
