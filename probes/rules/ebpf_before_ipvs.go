package rules

import (
	"fmt"

	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "ebpf-before-ipvs",
	Title: "a program sees the director's packets before ip_vs does",
	Stage: lvs.SynAtDirector,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS, lvs.SourceLinks, lvs.SourceAddresses},
	Explain: probes.Explain{
		Breaks: `Cilium, katran and others attach programs to a card, by XDP or by traffic control. They see a packet before netfilter and ip_vs, and may answer it, send it elsewhere or drop it. Of what an XDP program drops or sends
away not even a capture on the director shows anything, so the SYN seems not to arrive.`,
		ByHand: `On the director:

    ip -details link show dev eth0
    tc filter show dev eth0 ingress
    bpftool net`,
		Cure:   `Have the program leave the VIP alone, in the configuration of whatever attached it. Detaching it by hand may cut the card off, and its owner attaches it again.`,
		Source: "net/core/dev.c, do_xdp_generic and sch_handle_ingress, in front of ip_rcv.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var out []probes.Finding
		for _, dev := range faces(c) {
			l, _ := c.Snapshot.Link(dev)
			programs := make([]string, 0, len(l.Ingress)+1)
			if l.XDP {
				programs = append(programs, "an XDP program")
			}
			programs = append(programs, l.Ingress...)
			if len(programs) == 0 {
				continue
			}
			f := c.Finding(probes.Note, probes.Strong, dev)
			f.Title = fmt.Sprintf("on %s of %s %s sees packets before ip_vs", dev, c.Name(), listWords(programs))
			f.Why = fmt.Sprintf("Clients' packets that come in on %s pass %s before they come to netfilter and ip_vs. What it does with them can not be seen from here; when the SYN does not seem to arrive, or somebody else answers, begin here.", dev, listWords(programs))
			f.Evidence = append(f.Evidence, probes.Evidence{Fact: "what is attached to " + dev, Got: listWords(programs), Want: "nothing that takes packets for the VIP",
				Command: fmt.Sprintf("ip -details link show dev %s; tc filter show dev %s ingress", dev, dev)})
			advise(&f, c.Name(), "have it leave the VIP alone, in the configuration of whatever attached it; detaching it by hand may cut the card off")
			out = append(out, f)
		}
		return out
	},
})
