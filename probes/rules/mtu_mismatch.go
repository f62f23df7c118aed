package rules

import (
	"fmt"
	"slices"

	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "mtu-mismatch",
	Title: "the director's cards have different MTUs",
	Stage: lvs.SynForwarded,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS, lvs.SourceLinks, lvs.SourceAddresses},
	Explain: probes.Explain{
		Breaks: `Where the card that faces the clients takes larger packets than the one that faces the real servers, the director cannot pass large ones on. It tells the client by ICMP "fragmentation needed". As long as
that message gets through, the client sends smaller ones. Where something drops it, handshakes work and uploads stall.`,
		ByHand: `On the director compare, and watch for ICMP while a client uploads:

    ip -o link show
    tcpdump -ni any 'icmp[icmptype] == icmp-unreach and icmp[icmpcode] == 4'`,
		Cure:   `Give all hosts of the path one MTU, or see that ICMP type 3 code 4 is let through everywhere.`,
		Source: "net/netfilter/ipvs/ip_vs_xmit.c, ensure_mtu_is_adequate.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var in, out lvs.Link
		for _, v := range services(c) {
			if !v.Address.IsValid() {
				continue
			}
			devices, _ := arrivals(c, v.Address)
			if len(c.HoldsOnWire(v.Address)) != 1 && len(devices) != 1 {
				continue // nobody knows where clients come in
			}
			for _, dev := range forwardDevices(c, v) {
				to, _ := c.Snapshot.Link(dev)
				from, _ := c.Snapshot.Link(devices[0])
				if !slices.Contains(devices, dev) && to.MTU > 0 && from.MTU > to.MTU {
					in, out = from, to
				}
			}
			if out.Name != "" {
				break
			}
		}
		if out.Name == "" {
			return nil
		}
		f := c.Finding(probes.Note, probes.Strong, fmt.Sprintf("%s and %s", in.Name, out.Name))
		f.Title = fmt.Sprintf("%s takes packets of %d bytes on %s and sends %d on %s", c.Name(), in.MTU, in.Name, out.MTU, out.Name)
		f.Why = fmt.Sprintf("A client's packet of more than %d bytes that comes in on %s can not be passed on by %s. The client is told by ICMP and sends smaller ones; where that message is dropped on its way, uploads stall.", out.MTU, in.Name, out.Name)
		f.Evidence = append(f.Evidence, probes.Evidence{Fact: "MTU of " + in.Name + " and " + out.Name, Got: fmt.Sprintf("%d and %d", in.MTU, out.MTU), Want: "the same", Command: "ip -o link show"})
		advise(&f, c.Name(), "give both the same MTU, or see that ICMP \"fragmentation needed\" reaches the clients")
		return []probes.Finding{f}
	},
})
