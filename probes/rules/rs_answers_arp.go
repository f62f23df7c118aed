package rules

import (
	"fmt"

	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:        "rs-answers-arp",
	Title:     "a real server answers ARP for the VIP",
	Stage:     lvs.VIPResolved,
	Roles:     []lvs.Role{lvs.RoleRealServer},
	Needs:     []lvs.Source{lvs.SourceLinks, lvs.SourceAddresses, lvs.SourceSysctls},
	DependsOn: []string{"arp-sysctl-on-lo-only", "vip-scope-vs-arp-ignore-3", "kube-strict-arp-off"},
	Explain: probes.Explain{
		Breaks: `Director and real servers all have the VIP, but only the director may answer when somebody asks for it by ARP.
Linux answers for every local address on every interface, wherever the address is configured. When a real server answers first, the
router sends it the clients' packets past the director: all load lands on one real server, the director's counters stand still, and
it changes at random when the ARP entry expires.`,
		ByHand: `On the real server, for the interface that faces the director (the larger of the two values counts):

    sysctl net.ipv4.conf.all.arp_ignore net.ipv4.conf.eth0.arp_ignore

0 answers for the VIP on lo, 1 does not. From a third host of the segment, count the MACs that answer:

    arping -I eth0 -c 3 172.16.0.8`,
		Cure: `On every real server:

    sysctl -w net.ipv4.conf.all.arp_ignore=1
    sysctl -w net.ipv4.conf.all.arp_announce=2

and the same lines in a file in /etc/sysctl.d for the next boot. Then let the router forget the wrong entry, or announce the VIP
from the director:

    arping -U -I eth0 -c 3 172.16.0.8`,
		Source: "net/ipv4/arp.c, arp_process and arp_ignore; Documentation/networking/ip-sysctl.rst.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var out []probes.Finding
		for _, v := range answeringVoices(c) {
			out = append(out, rsAnswersARP(c, v))
		}
		return out
	},
})

func rsAnswersARP(c *probes.Case, v voice) probes.Finding {
	f := c.Finding(v.severity, v.certainty, v.subject())
	about(&f, v.vips)
	f.Title = fmt.Sprintf("%s answers ARP for %s", c.Name(), list(v.vips))
	f.Why = fmt.Sprintf("Who asks for %s on the segment of %s gets an answer from this real server as well as from the director. "+
		"Whoever believes it sends its packets here directly: the director never sees those connections and does not balance them.", list(v.vips), v.dev)
	if v.severity != probes.Degraded {
		f.Why += " Whether anybody asks there is not known from here: where the router has a route to the VIP through the director, nobody does."
	}
	f.Evidence = append(f.Evidence,
		sysctlEvidence(c.Snapshot, v.dev, "arp_ignore", "1 (or 2; 3 only with the VIP in scope host)"),
		addressEvidence(c.Snapshot, v.vips[0], "anywhere but on a network card"),
		askedEvidence(c, v.vips[0], v.dev))
	cure(&f, c.Snapshot, fixes.QuietARP(c.Snapshot, v.vips), "on the director: arping -U -I IFACE -c 3 "+v.vips[0].String()+", so that the router learns the right MAC at once")
	return f
}
