package rules

import (
	"fmt"
	"net/netip"

	"lvstui/lvs"
	"lvstui/probes"
)

// This file judges what came of the SYNs that a director was told to send to its real servers: check --probe dsr.

// tried are the answers of the active test on this host that are not about a host at hand, whose own facts say more.
func tried(c *probes.Case, keep func(lvs.DSRProbe) bool) []lvs.DSRProbe {
	var out []lvs.DSRProbe
	if c.Snapshot.Probed == nil || !c.Is(lvs.RoleDirector) {
		return nil
	}
	for _, p := range c.Snapshot.Probed.DSR {
		if c.Cluster.Holder(p.RealServer) == nil && keep(p) {
			out = append(out, p)
		}
	}
	return out
}

// severityOf is that of a destination which does not serve: one of weight 0 gets no new clients.
func severityOf(c *probes.Case, p lvs.DSRProbe) probes.Severity {
	for _, ref := range c.Cluster.Destinations {
		if ref.Destination.Address == p.RealServer && ref.Service.Address == p.Virtual.Addr() && ref.Service.Port == p.Virtual.Port() && ref.Destination.Weight > 0 {
			return probes.Outage
		}
	}
	return probes.Hazard
}

func triedEvidence(p lvs.DSRProbe, got, want string) probes.Evidence {
	return probes.Evidence{Fact: fmt.Sprintf("a SYN for %s, sent to %s at %s", p.Virtual, p.RealServer, p.MAC), Got: got, Want: want,
		Command: "lvstui check --probe dsr --vip " + p.Virtual.Addr().String()}
}

// vipsRefused are the real servers that sent the SYN for the VIP on, or took no notice of it although they answer for their own address.
func vipsRefused(c *probes.Case) []probes.Finding {
	var out []probes.Finding
	done := map[[2]netip.Addr]bool{}
	for _, p := range tried(c, func(p lvs.DSRProbe) bool { return p.Result == lvs.DSRForwards || p.Result == lvs.DSRSilent }) {
		key := [2]netip.Addr{p.Virtual.Addr(), p.RealServer}
		if done[key] || p.Result == lvs.DSRSilent && p.Direct != lvs.DSRAccepts && p.Direct != lvs.DSRRefuses {
			continue // one that is mute altogether says nothing of the VIP
		}
		done[key] = true
		out = append(out, vipRefused(c, p))
	}
	return out
}

func vipRefused(c *probes.Case, p lvs.DSRProbe) probes.Finding {
	f := c.Finding(severityOf(c, p), probes.Strong, p.Virtual.Addr().String())
	f.Host, f.VIP = p.RealServer.String(), p.Virtual.Addr()
	f.Title = fmt.Sprintf("%s does not take packets for %s", p.RealServer, p.Virtual.Addr())
	f.Why = fmt.Sprintf("With direct routing packets arrive there with %s as destination, unchanged. A SYN for it got no answer, while one for %s did: "+
		"the host is up and the port is let through, but the VIP is not taken for its own. If the VIP is there, a packet filter stops it.", p.Virtual.Addr(), p.RealServer)
	got := fmt.Sprintf("no answer to %d", p.Sent)
	if p.Result == lvs.DSRForwards {
		f.Title = fmt.Sprintf("%s does not have %s", p.RealServer, p.Virtual.Addr())
		f.Why = fmt.Sprintf("A SYN for %s that was sent to %s came back: that host passed it on as a router does, so it does not take the address for its own. "+
			"Clients that are scheduled there get no answer.", p.Virtual.Addr(), p.RealServer)
		got = "sent on, with its TTL lowered"
		if p.Type != 0 {
			got = fmt.Sprintf("sent on: ICMP type %d", p.Type)
		}
		if !anyLocal(c) { // a destination of its own gets back what another director schedules
			f.Certainty = probes.Certain
		}
	}
	f.Evidence = append(f.Evidence, triedEvidence(p, got, "SYN-ACK from "+p.Virtual.String()))
	if p.Direct != "" {
		f.Evidence = append(f.Evidence, probes.Evidence{Fact: "the same SYN for " + netip.AddrPortFrom(p.RealServer, p.Virtual.Port()).String(), Got: string(p.Direct),
			Want: string(lvs.DSRAccepts), Command: fmt.Sprintf("nc -vz %s %d", p.RealServer, p.Virtual.Port())})
	}
	length := "/32"
	if p.Virtual.Addr().Is6() {
		length = "/128"
	}
	advise(&f, p.RealServer.String(), "see which it is with lvstui check on that host",
		"sysctl -w net.ipv4.conf.all.arp_ignore=1", "sysctl -w net.ipv4.conf.all.arp_announce=2", "ip addr add "+p.Virtual.Addr().String()+length+" dev lo")
	return f
}

// anyLocal tells whether some destination of this director is the director itself.
func anyLocal(c *probes.Case) bool {
	for _, ref := range c.Cluster.Destinations {
		if c.Has(ref.Destination.Address) {
			return true
		}
	}
	return false
}

// portsRefused are the services whose SYN was answered with a RST.
func portsRefused(c *probes.Case) []probes.Finding {
	var out []probes.Finding
	for _, p := range tried(c, func(p lvs.DSRProbe) bool { return p.Result == lvs.DSRRefuses }) {
		f := c.Finding(severityOf(c, p), probes.Strong, "tcp "+p.Virtual.String())
		f.Host, f.VIP = p.RealServer.String(), p.Virtual.Addr()
		f.Title = fmt.Sprintf("nothing on %s listens on %s", p.RealServer, p.Virtual)
		f.Why = fmt.Sprintf("A SYN for %s that was sent to %s was answered with a RST: that host has the VIP, and no socket takes the port. Clients that are scheduled there see \"connection refused\".",
			p.Virtual, p.RealServer)
		f.Evidence = append(f.Evidence, triedEvidence(p, fmt.Sprintf("RST, TTL %d, from %s", p.TTL, p.From), "SYN-ACK from "+p.Virtual.String()))
		advise(&f, p.RealServer.String(), fmt.Sprintf("let the program listen on all addresses or on %s, and start it anew", p.Virtual), fmt.Sprintf("ss -ltnp 'sport = :%d'", p.Virtual.Port()))
		out = append(out, f)
	}
	return out
}
