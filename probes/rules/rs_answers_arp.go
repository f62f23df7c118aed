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
	Roles:     []lvs.Role{lvs.RoleRealServer, lvs.RoleDirector, lvs.RoleRouter, lvs.RoleClient},
	Needs:     []lvs.Source{lvs.SourceLinks, lvs.SourceAddresses, lvs.SourceSysctls},
	DependsOn: []string{"arp-sysctl-on-lo-only", "vip-scope-vs-arp-ignore-3", "kube-strict-arp-off"},
	Explain: probes.Explain{
		Breaks: `Director and real servers all have the VIP, but only the director may answer when somebody asks for it by ARP.
Linux answers for every local address on every interface, wherever the address is configured. When a real server answers first, the
router sends it the clients' packets past the director: all load lands on one real server, the director's counters stand still, and
it changes at random when the ARP entry expires.`,
		ByHand: `On the real server, for the interface that faces the director (the larger of the two values counts):

    sysctl net.ipv4.conf.all.arp_ignore net.ipv4.conf.eth0.arp_ignore

0 answers for the VIP on lo, 1 does not. From any host of the segment see who answers; the requests mislead nobody:

    lvstui check --probe arp --vip 172.16.0.8
    arping -D -I eth0 -c 3 172.16.0.8`,
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
		if c.Is(lvs.RoleRealServer) {
			for _, v := range answeringVoices(c) {
				out = append(out, rsAnswersARP(c, v))
			}
		}
		for _, k := range claims(c) {
			if k.kind == aRealServer && k.vip.Is4() {
				out = append(out, rsHeardAnswering(c, k))
			}
		}
		return out
	},
})

// rsHeardAnswering is the finding from elsewhere: somebody heard a real server answer.
func rsHeardAnswering(c *probes.Case, k claim) probes.Finding {
	certainty := probes.Certain
	if h := c.Cluster.HostOfMAC(k.mac); h != nil && h.Snapshot.IPVS == nil {
		certainty = probes.Strong // it may be a director for all we could read
	}
	f := claimFinding(c, k, certainty)
	f.Title = fmt.Sprintf("%s answers ARP for %s", k.host, k.vip)
	f.Why = fmt.Sprintf("%s was heard to answer for %s, which %s has as well. Whoever believes it sends its packets to that real server directly: the director never sees those connections and does not balance them.",
		k.host, k.vip, k.rival)
	advise(&f, k.host, "when it is silent, on the director: arping -U -I IFACE -c 3 "+k.vip.String()+", so that the router learns the right MAC at once",
		"sysctl -w net.ipv4.conf.all.arp_ignore=1", "sysctl -w net.ipv4.conf.all.arp_announce=2")
	return f
}

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
