package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/capture"
	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
)

// This file belongs to router-urpf-or-source-guard: its finding on the router, and what other hosts see of it.

func routerFinding(c *probes.Case, d *dropping) probes.Finding {
	f := c.Finding(d.severity, d.certainty, fmt.Sprintf("%s on %s", list(d.vips), d.leg))
	about(&f, d.vips)
	vip := d.vips[0]
	f.Title = fmt.Sprintf("%s drops answers from %s that come in on %s", c.Name(), list(d.vips), d.leg)
	f.Evidence = append(f.Evidence, d.proof)
	if !d.routed {
		f.Why = fmt.Sprintf("SYN-ACKs from %s come in on %s and do not leave this router again: they end at \"%s\". The client waits in vain.", list(d.vips), d.leg, d.blocked.Where())
		f.Evidence = append(f.Evidence, probes.Evidence{Fact: d.blocked.Where(), Got: string(d.blocked.Verdict), Want: "accept for answers from " + vip.String(), Command: d.blocked.Command()})
		advise(&f, c.Name(), fmt.Sprintf("permit %s as a source on %s in the packet filter", list(d.vips), d.leg))
		return f
	}
	to := c.Asked(lvs.RouteQuery{Dst: vip})
	f.Why = fmt.Sprintf("Real servers answer with %s as source, over %s. This router knows %s %s, and with rp_filter 1 it takes packets from there on no other interface: "+
		"the SYN-ACK is dropped as forged, the client hears nothing and resends its SYN.", list(d.vips), d.leg, vip, routeWords(to))
	f.Evidence = append(f.Evidence,
		routeEvidence(fmt.Sprintf("a SYN-ACK that comes in on %s", d.leg), c.Asked(lvs.RouteQuery{Dst: d.client, Src: vip, Iif: d.leg}), "sent on to the client"),
		sysctlEvidence(c.Snapshot, d.leg, "rp_filter", "2 (loose) or 0"))
	if n := c.Counter("TcpExt.IPReversePathFilter"); n > 0 {
		f.Evidence = append(f.Evidence, probes.Evidence{Fact: "packets dropped by rp_filter", Got: fmt.Sprint(n), Want: "no rise while clients try", Command: "nstat -az TcpExtIPReversePathFilter"})
	}
	loosen := fixes.Plan{Title: "take answers from the VIP on " + d.leg, Steps: []fixes.Step{fixes.SetSysctl{Path: lvs.ConfPath(d.leg, "rp_filter"), Value: "2"}}}
	if after, err := loosen.After(c.Snapshot); err == nil {
		if a := after.Lookup(lvs.RouteQuery{Dst: d.client, Src: vip, Iif: d.leg}); a.Outcome == lvs.OutUnicast || a.Outcome == lvs.OutUnreachable {
			cure(&f, c.Snapshot, loosen)
			return f
		}
	}
	advise(&f, c.Name(), fmt.Sprintf("filter loosely on %s, or put the VIP's subnet on that interface", d.leg),
		fixes.SetSysctl{Path: lvs.ConfPath(d.leg, "rp_filter"), Value: "2"}.Command())
	return f
}

// sighting is what a host's flows say about answers on their way to the clients.
type sighting struct {
	lost, passed int
	run          int // the latest that passed, one after the other
	earnest      int // of the lost ones those whose client asked again: no scanner does
	clients      []netip.Addr
	bad, good    []capture.MAC // the real servers, as a director knows them
}

// counts tells whether it is worth a word: enough flows failed, not a few among many, and not only some time ago.
func (s sighting) counts() bool {
	return s.run < probes.CuredFlows && (s.lost >= probes.FewFlows || s.earnest > 0) && s.lost*5 >= s.lost+s.passed
}

// unanswered finds, on a real server or a director, that SYN-ACKs do not arrive. The hosts at hand see the same thing, so only one speaks:
// the router when its facts tell; else a real server, which sees the SYN-ACK leave; else a director, which never sees it.
func unanswered(c *probes.Case) []probes.Finding {
	var out []probes.Finding
	for _, vip := range c.Cluster.VIPs {
		first, s := witness(c, vip)
		if first != c.Host || routerSpeaks(c, vip) || realServerBlamed(c, vip) {
			continue
		}
		if c.Is(lvs.RoleRealServer) && fromRealServer(c.Host, vip).counts() {
			out = append(out, realServerFinding(c, vip, s))
		} else {
			out = append(out, directorFinding(c, vip, s))
		}
	}
	return out
}

// realServerAtHand: then it would see SYN-ACKs leave, and a director need not guess.
func realServerAtHand(c *probes.Case, vip netip.Addr) bool {
	return slices.ContainsFunc(c.Cluster.DestinationsOf(vip), func(ref probes.DestinationRef) bool {
		rs := c.Cluster.Holder(ref.Destination.Address)
		return rs != nil && rs != ref.Director
	})
}

// witness is the host that sees it best, nil when none does.
func witness(c *probes.Case, vip netip.Addr) (*probes.Host, sighting) {
	for _, h := range c.Cluster.With(lvs.RoleRealServer) {
		if s := fromRealServer(h, vip); s.counts() {
			return h, s
		}
	}
	for _, h := range c.Cluster.With(lvs.RoleDirector) {
		if s := fromDirector(h, vip); s.counts() && !realServerAtHand(c, vip) {
			return h, s
		}
	}
	return nil, sighting{}
}

// routerSpeaks says that the router is at hand and knows over which of its legs the answers come: then its own facts count, whether
// they are to blame or not.
func routerSpeaks(c *probes.Case, vip netip.Addr) bool {
	return slices.ContainsFunc(c.Cluster.With(lvs.RoleRouter), func(h *probes.Host) bool {
		_, known := answerLegs(&probes.Case{Host: h, Cluster: c.Cluster}, vip)
		return known
	})
}

// realServerBlamed says that a real server at hand can not answer as it should, by its own facts: other rules say why.
func realServerBlamed(c *probes.Case, vip netip.Addr) bool {
	return slices.ContainsFunc(c.Cluster.With(lvs.RoleRealServer), func(h *probes.Host) bool {
		rs := &probes.Case{Host: h, Cluster: c.Cluster}
		if local, known := vipLocal(rs, vip); known && !local {
			return true
		}
		return slices.ContainsFunc(clientsAnywhere(rs, vip), func(client netip.Addr) bool {
			a := rs.Asked(lvs.RouteQuery{Dst: client, Src: vip})
			return a.Outcome != lvs.OutUnicast && a.Outcome != lvs.OutUnknown || a.Gateway.IsValid() && throughDirector(c, a.Gateway)
		})
	})
}

// fromRealServer counts the flows whose SYN-ACK was seen to leave on a wire, to somebody else than the SYN came from: an answer that goes back
// to the director is another story.
func fromRealServer(h *probes.Host, vip netip.Addr) sighting {
	var s sighting
	for _, f := range h.RecentFlowsTo(vip) {
		sight := f.Stage(lvs.SynAckSent)
		l, ok := h.Snapshot.Link(sight.Interface)
		if f.Vantage != lvs.RoleRealServer || sight.State != lvs.Seen || ok && !l.OnWire() || f.SynAckTo == f.SynFrom && f.SynFrom != (capture.MAC{}) {
			continue
		}
		s.count(f, lvs.SynAckAtClient)
	}
	return s
}

// fromDirector counts the flows that were forwarded and whose client never went on.
func fromDirector(h *probes.Host, vip netip.Addr) sighting {
	var s sighting
	for _, f := range h.RecentFlowsTo(vip) {
		if f.Vantage != lvs.RoleDirector || f.Stage(lvs.SynForwarded).State != lvs.Seen || f.Stage(lvs.SynAckSent).State == lvs.Seen || f.Outcome == capture.Refused {
			continue
		}
		s.count(f, lvs.AckAtDirector)
	}
	return s
}

func (s *sighting) count(f capture.Flow, stage lvs.Stage) {
	past, due := got(f, stage)
	macs := &s.good
	switch {
	case past:
		s.passed++
		s.run++
	case due:
		macs = &s.bad
		s.run = 0
		s.lost++
		if f.SynRetransmits > 0 {
			s.earnest++
		}
		if !slices.Contains(s.clients, f.Client.Addr()) {
			s.clients = append(s.clients, f.Client.Addr())
		}
	default:
		return
	}
	if !slices.Contains(*macs, f.RealServerMAC) {
		*macs = append(*macs, f.RealServerMAC)
	}
}

func (s sighting) severity() probes.Severity {
	if s.passed == 0 {
		return probes.Outage
	}
	return probes.Degraded
}

func realServerFinding(c *probes.Case, vip netip.Addr, s sighting) probes.Finding {
	certainty := probes.Strong
	if s.earnest == 0 || s.passed > 0 || s.lost < probes.FewFlows && s.earnest < 2 || len(c.Cluster.With(lvs.RoleRouter)) > 0 {
		certainty = probes.Hint // it may be clients that do not want the answer, or the router at hand is not to blame
	}
	f := c.Finding(s.severity(), certainty, vip.String())
	f.VIP = vip
	f.Title = fmt.Sprintf("the SYN-ACK from %s does not reach the client", vip)
	f.Why = fmt.Sprintf("%s sends the SYN-ACK to its router and sends it again, and no ACK comes back (%d of %d handshakes). Between this host and the client something drops packets "+
		"with the source %s: a router that expects the VIP on another interface (reverse path filtering), an ACL, or the source guard of a switch or a cloud.",
		c.Name(), s.lost, s.lost+s.passed, vip)
	f.Evidence = append(f.Evidence, probes.Evidence{Fact: "SYN-ACKs answered by the client", Got: fmt.Sprintf("%d of %d", s.passed, s.lost+s.passed), Want: "all",
		Command: fmt.Sprintf("tcpdump -eni any 'host %s and tcp[tcpflags] & tcp-syn != 0'", vip)})
	if len(s.clients) > 0 {
		a := c.Asked(lvs.RouteQuery{Dst: s.clients[0], Src: vip})
		f.Evidence = append(f.Evidence, routeEvidence("the way of the answer", a, "to the router"))
	}
	advise(&f, "router", routerCure(vip))
	return f
}

func directorFinding(c *probes.Case, vip netip.Addr, s sighting) probes.Finding {
	f := c.Finding(s.severity(), probes.Hint, vip.String())
	f.VIP = vip
	f.Title = fmt.Sprintf("the SYN-ACK from %s does not reach the client", vip)
	f.Why = fmt.Sprintf("%s forwards the SYN, and no ACK of the client comes (%d of %d handshakes). With direct routing the SYN-ACK does not pass here, so this host can not tell which it is: "+
		"the router drops answers from the VIP that come from the real servers' interface (reverse path filtering, ACL, source guard); or the real servers do not send any, "+
		"because they lack the VIP or their way to the client is wrong.", c.Name(), s.lost, s.lost+s.passed)
	apart := "tell them apart: lvstui check --probe dsr here (t on the screen) asks whether the real servers take the VIP's connections. " +
		"Then look on a real server (lvstui there, or tcpdump): when it sends SYN-ACKs and sends them again, the router is to blame. "
	took := acceptedAll(c, vip)
	if took > 0 {
		f.Why = fmt.Sprintf("%s forwards the SYN, and no ACK of the client comes (%d of %d handshakes). All %d real servers took a connection to the VIP from here, so they have it and "+
			"listen. With direct routing the SYN-ACK to the client does not pass here, so two are left: the router drops answers from the VIP that come from the real servers' interface "+
			"(reverse path filtering, ACL, source guard); or the real servers' way to the client is wrong.", c.Name(), s.lost, s.lost+s.passed, took)
		apart = "tell them apart: look on a real server (lvstui there, or tcpdump). When it sends SYN-ACKs and sends them again, the router is to blame. "
	}
	if s.earnest == 0 {
		f.Title = fmt.Sprintf("no ACK of clients of %s comes here", vip)
		f.Why += " No client asked again: they may well have got their SYN-ACK, and then it is the ACK that is lost on its way here, as at a firewall that sees requests and no answers (stateful-firewall-asymmetric)."
	}
	bad := slices.DeleteFunc(slices.Clone(s.bad), func(m capture.MAC) bool { return slices.Contains(s.good, m) || m == (capture.MAC{}) })
	if len(bad) > 0 && len(s.good) > 0 {
		f.Title = fmt.Sprintf("clients sent to %s get no answer", listWords(byAddress(c, vip, bad)))
		f.Why += fmt.Sprintf(" It is always the real server with the MAC %s, while others are answered: begin there.", list(bad))
	}
	f.Evidence = append(f.Evidence, probes.Evidence{Fact: "forwarded SYNs that led to an ACK", Got: fmt.Sprintf("%d of %d", s.passed, s.lost+s.passed), Want: "all",
		Command: fmt.Sprintf("tcpdump -eni any 'dst host %s and tcp'", vip)},
		probes.Evidence{Fact: "asked again by the client", Got: fmt.Sprintf("%d of %d", s.earnest, s.lost), Want: "none", Command: "ipvsadm -Lnc"})
	if took > 0 {
		f.Evidence = append(f.Evidence, probes.Evidence{Fact: "SYNs for " + vip.String() + " sent to the real servers' MACs", Got: fmt.Sprintf("%d of %d taken", took, took), Want: "all taken",
			Command: "lvstui check --probe dsr --vip " + vip.String()})
	}
	advise(&f, "router", apart+routerCure(vip))
	return f
}

// byAddress names real servers by their own addresses where the neighbour table has their MACs, else by these.
func byAddress(c *probes.Case, vip netip.Addr, macs []capture.MAC) []string {
	var out []string
	for _, m := range macs {
		name := m.String()
		for _, ref := range c.Cluster.DestinationsOf(vip) {
			if slices.ContainsFunc(c.Snapshot.Neighbours, func(n lvs.Neighbour) bool { return n.Address == ref.Destination.Address && n.MAC == m.String() }) {
				name = ref.Destination.Address.String()
			}
		}
		out = append(out, name)
	}
	return out
}

// acceptedAll counts the real servers that took a connection to the VIP when an active test tried them; 0 unless every one that gets
// clients was tried and did.
func acceptedAll(c *probes.Case, vip netip.Addr) (took int) {
	if c.Snapshot.Probed == nil {
		return 0
	}
	for _, ref := range c.Cluster.DestinationsOf(vip) {
		if ref.Destination.Weight == 0 || ref.Destination.Forward != lvs.Gate {
			continue
		}
		i := slices.IndexFunc(c.Snapshot.Probed.DSR, func(p lvs.DSRProbe) bool {
			return p.RealServer == ref.Destination.Address && p.Virtual == netip.AddrPortFrom(vip, ref.Service.Port)
		})
		if i < 0 || c.Snapshot.Probed.DSR[i].Result != lvs.DSRAccepts {
			return 0
		}
		took++
	}
	return took
}

func routerCure(vip netip.Addr) string {
	return fmt.Sprintf("On a Linux router filter loosely: sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.LEG.rp_filter=2, where LEG faces the real servers. On others: loose uRPF, "+
		"or an ACL and source guard that permit %s there. Or put the VIP's subnet on the same leg.", vip)
}
