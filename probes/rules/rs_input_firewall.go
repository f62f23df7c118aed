package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/capture"
	"lvstui/lvs"
	"lvstui/probes"
	"lvstui/probes/filter"
)

var _ = register(probes.Rule{
	ID:        "rs-input-firewall",
	Title:     "a real server's packet filter stops the clients",
	Stage:     lvs.SynAccepted,
	Roles:     []lvs.Role{lvs.RoleRealServer},
	Needs:     []lvs.Source{lvs.SourceNetfilter, lvs.SourceLinks, lvs.SourceAddresses},
	DependsOn: []string{"vip-missing-on-rs"},
	Explain: probes.Explain{
		Breaks: `The director changes neither address of the packet: the real server gets it from the client's address, for the VIP. A packet filter that
opens the port for the RIP only, or for packets from the director ("only the load balancer talks to us"), drops it. Health checks go from the
director to the RIP and stay green. A capture on the real server shows the SYN and nothing behind it.`,
		ByHand: `On the real server list the chains of prerouting and input, and see which counter moves while a client tries:

    nft list ruleset
    iptables-legacy-save -c`,
		Cure: `Accept the service on the VIP, from clients:

    nft insert rule inet filter input ip daddr 172.16.0.8 tcp dport 80 accept

with firewalld:

    firewall-cmd --permanent --add-port=80/tcp
    firewall-cmd --reload

and in the file that is loaded at boot.`,
		Source: "net/netfilter/ipvs/ip_vs_xmit.c, ip_vs_dr_xmit sends the packet as it came; net/ipv4/ip_input.c, ip_local_deliver.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var out []probes.Finding
		sent := sentHere(c)
		stopped, unsure := rsStops(c, sent, lvs.SynAckSent, func(n needed, dev string, client netip.Addr) filter.Decision {
			return c.Filter().Received(filter.Packet{Iif: dev, Src: client, Dst: n.vip, Protocol: n.protocol, DstPort: n.port, State: "new"})
		}, rsDevices)
		if unsure {
			c.CannotTell(lvs.SourceNetfilter)
		}
		for _, s := range stopped {
			out = append(out, rsInputFirewall(c, s))
		}
		if len(sent) == 0 {
			out = append(out, onlyForRIP(c)...)
		}
		return out
	},
})

// sentHere are the services whose packets a director sends here unchanged: by its table, or because SYNs were seen to come in.
func sentHere(c *probes.Case) []needed {
	var out []needed
	seen := map[string]bool{} // there may be thousands
	add := func(n needed) {
		key := string(n.protocol) + netip.AddrPortFrom(n.vip, n.port).String()
		if n.vip.IsValid() && n.port != 0 && n.protocol != "" && !seen[key] {
			seen[key] = true
			out = append(out, n)
		}
	}
	for _, ref := range c.Named() {
		if ref.Director != c.Host && dr(ref) {
			add(needed{ref.Service.Address, ref.Service.Protocol, ref.Service.Port, ref.Destination.Weight, probes.Evidence{
				Fact: "who sends packets for it here", Got: fmt.Sprintf("%s, to %s by %s", ref.Director.Name(), ref.Destination.Address, ref.Destination.Forward), Command: "ipvsadm -Ln"}})
		}
	}
	served := map[netip.Addr]bool{}
	for _, vip := range servedVIPs(c) {
		served[vip] = true
	}
	stalled := map[netip.AddrPort]int{}
	for _, f := range recentFlows(c.Host) {
		vip := f.Virtual.Addr()
		sight := f.Stage(lvs.SynAtRealServer)
		if f.Vantage != lvs.RoleRealServer || sight.State != lvs.Seen || sight.Direction == capture.Out || f.Forward != "" ||
			f.Outcome != capture.Stalled || !served[vip] || namedByDirector(c, vip) {
			continue
		}
		// Without a director's table one SYN may be somebody's scan of a port that is rightly closed.
		if stalled[f.Virtual]++; stalled[f.Virtual] == probes.FewFlows {
			add(needed{vip, f.Protocol, f.Virtual.Port(), 1, probes.Evidence{
				Fact: "packets for it", Got: fmt.Sprintf("SYNs for %s came in, %s the latest", f.Virtual, f.Client), Command: fmt.Sprintf("tcpdump -ni any host %s", vip)}})
		}
	}
	return out
}

// rsDevices are the devices on which packets for a VIP come in.
func rsDevices(c *probes.Case, vip netip.Addr) []string {
	if devs := arrivalDevices(c, vip); len(devs) > 0 {
		return devs
	}
	var out []string
	for _, l := range c.WireLinks() {
		if slices.ContainsFunc(c.Snapshot.Addresses, func(a lvs.Address) bool { return a.Device == l.Name && a.Scope == "global" }) {
			out = append(out, l.Name)
		}
	}
	return out
}

// rsStops are the rules that stop packets of services on all devices they may take.
func rsStops(c *probes.Case, sent []needed, behind lvs.Stage, decide func(n needed, dev string, client netip.Addr) filter.Decision,
	devices func(*probes.Case, netip.Addr) []string) (stopped []*stop, unsure bool) {
	var all stops
	for _, n := range sent {
		if local, known := vipLocal(c, n.vip); !known || !local || servedOn(c, n) || redirects(c, n) == matchYes {
			continue
		}
		v := lvs.Service{Protocol: n.protocol, Address: n.vip, Port: n.port}
		var worst filter.Decision
		var certainty probes.Certainty
		var at string
		through, unknown := false, false
		for _, dev := range devices(c, n.vip) {
			d, sure := passage{v, behind, func(client netip.Addr) filter.Decision { return decide(n, dev, client) }}.judge(c)
			switch {
			case d.Blocked():
				worst, certainty, at = d, sure, dev
			case d.Verdict == filter.Unknown:
				unknown = true
			default:
				through = true
			}
		}
		switch {
		case through:
		case unknown:
			unsure = true
		case worst.Blocked():
			all.add(worst, certainty, v, at, n.weight > 0)
		}
	}
	unsure = unsure || len(all.order) == 0 && len(sent) > 0 && halfRead(c.Snapshot.Netfilter)
	return all.sorted(), unsure
}

func rsInputFirewall(c *probes.Case, s *stop) probes.Finding {
	severity := probes.Outage
	if !s.lost {
		severity = probes.Hazard // weight 0: no new connections come
	}
	f := c.Finding(severity, s.certainty, s.names())
	about(&f, s.vips())
	f.Title = fmt.Sprintf("the packet filter of %s stops %s", c.Name(), s.names())
	f.Why = fmt.Sprintf("Packets for %s arrive with the client's address as source and the VIP as destination, and end at \"%s\". Rules that allow the port for the "+
		"RIP, or from the director, do not hold for them: what clients send is never delivered.", s.names(), s.decision.Where())
	f.Evidence = append(f.Evidence, s.evidence())
	letPass(&f, c, s, false, func(r *filter.Rules, v lvs.Service) filter.Decision {
		return firstStop(rsDevices(c, v.Address), func(dev string) filter.Decision {
			return r.Received(filter.Packet{Iif: dev, Dst: v.Address, Protocol: v.Protocol, DstPort: v.Port, State: "new"})
		})
	})
	return f
}

// onlyForRIP is what a real server alone can tell: a port on which something listens is open for an address of its card and closed for the VIP.
func onlyForRIP(c *probes.Case) []probes.Finding {
	var out []probes.Finding
	for _, s := range openForOwnOnly(c, rsDevices, func(n needed, dev string, own netip.Addr) filter.Decision {
		return c.Filter().Received(filter.Packet{Iif: dev, Dst: own, Protocol: n.protocol, DstPort: n.port, State: "new"})
	}) {
		f := rsInputFirewall(c, s)
		f.Certainty = probes.Strong
		f.Why += " Something listens on the port, and the port is open for this host's own address."
		out = append(out, f)
	}
	return out
}

// openForOwnOnly are the rules that stop packets of a VIP on ports on which something listens and let those of an address of the same card
// pass, whoever the client is. decide is the filter's decision on a packet for, or from, an address of this host.
func openForOwnOnly(c *probes.Case, devices func(*probes.Case, netip.Addr) []string, decide func(n needed, dev string, own netip.Addr) filter.Decision) []*stop {
	var all stops
	for _, vip := range servedVIPs(c) {
		if local, known := vipLocal(c, vip); !known || !local || len(c.HoldsOnWire(vip)) > 0 || !lvsIntended(c, vip) || servedNow(c, vip) {
			continue
		}
		for _, sock := range c.Snapshot.Sockets {
			n := needed{vip: vip, protocol: sock.Protocol, port: sock.Port}
			if sock.Protocol != lvs.TCP || !listens(c, n) || redirects(c, n) != matchNo {
				continue
			}
			if d := stoppedForVIPOnly(c, n, devices(c, vip), decide); d.Blocked() {
				all.add(d, probes.Strong, lvs.Service{Protocol: lvs.TCP, Address: vip, Port: sock.Port}, "", false)
			}
		}
	}
	return all.sorted()
}

// stoppedForVIPOnly is what stops packets of a VIP on all devices and lets those of an own address pass on one of them.
func stoppedForVIPOnly(c *probes.Case, n needed, devices []string, decide func(n needed, dev string, own netip.Addr) filter.Decision) (stopped filter.Decision) {
	for _, dev := range devices {
		d := decide(n, dev, n.vip)
		if !d.Blocked() {
			return d
		}
		for _, a := range c.Snapshot.Addresses {
			own := a.Prefix.Addr()
			if a.Device == dev && a.Scope == "global" && own.Is4() == n.vip.Is4() && own != n.vip && decide(n, dev, own).Verdict == filter.Accept {
				stopped = d
			}
		}
	}
	return stopped
}
