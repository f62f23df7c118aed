package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "arp-sysctl-on-lo-only",
	Title: "the ARP sysctls are set on lo, where they do nothing",
	Stage: lvs.VIPResolved,
	Roles: []lvs.Role{lvs.RoleRealServer},
	Needs: []lvs.Source{lvs.SourceLinks, lvs.SourceAddresses, lvs.SourceSysctls},
	Explain: probes.Explain{
		Breaks: `Many instructions set arp_ignore and arp_announce on lo, because the VIP is on lo. The kernel looks at the interface
that a request comes in on, or goes out of, and at conf/all. So nothing has changed: the real server goes on answering ARP for the VIP and
asking with it, and clients' packets come to it past the director.`,
		ByHand: `Compare what is set with what counts, which is the larger of all and the network card:

    sysctl net.ipv4.conf.lo.arp_ignore net.ipv4.conf.all.arp_ignore net.ipv4.conf.eth0.arp_ignore`,
		Cure: `Set both for all interfaces:

    sysctl -w net.ipv4.conf.all.arp_ignore=1
    sysctl -w net.ipv4.conf.all.arp_announce=2

and correct the file that has the lines for lo. They do no harm there.`,
		Source: "net/ipv4/arp.c uses the in_device of the interface that the frame came in on; include/linux/inetdevice.h, IN_DEV_MAXCONF.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		ignore := setOnLo(c.Snapshot, "arp_ignore")
		announce := setOnLo(c.Snapshot, "arp_announce")
		if ignore == "" && announce == "" {
			return nil
		}
		var voices []voice
		key := "arp_ignore"
		if ignore != "" {
			voices = answeringVoices(c)
		}
		if len(voices) == 0 && announce != "" {
			voices, key = announcingVoices(c), "arp_announce"
		}
		voices = slices.DeleteFunc(voices, func(v voice) bool { return c.Snapshot.Effective(v.dev, key).Value != 0 })
		if len(voices) == 0 {
			return nil
		}
		return []probes.Finding{arpSysctlOnLoOnly(c, key, voices)}
	},
})

// setOnLo returns the loopback device on which somebody has set the key, "" when nobody has.
func setOnLo(s *lvs.Snapshot, key string) string {
	for _, l := range s.Links {
		if l.Loopback() {
			if v, ok := s.Sysctl(lvs.ConfPath(l.Name, key)); ok && v != 0 {
				return l.Name
			}
		}
	}
	return ""
}

func arpSysctlOnLoOnly(c *probes.Case, key string, voices []voice) probes.Finding {
	worst := slices.MinFunc(voices, func(a, b voice) int { return severityRank(a.severity) - severityRank(b.severity) })
	lo := setOnLo(c.Snapshot, key)
	value, _ := c.Snapshot.Sysctl(lvs.ConfPath(lo, key))
	f := c.Finding(worst.severity, worst.certainty, "ARP sysctls of "+lo)
	var vips []netip.Addr
	for _, v := range voices {
		for _, vip := range v.vips {
			if !slices.Contains(vips, vip) {
				vips = append(vips, vip)
			}
		}
	}
	about(&f, vips)
	f.Title = fmt.Sprintf("%s has %s set on %s, where it does nothing", c.Name(), key, lo)
	f.Why = fmt.Sprintf("%s=%d on %s was meant to keep this real server off ARP for %s. The kernel looks at the interface that the ARP packet uses, "+
		"which is %s, and at conf/all; both are 0. So it talks for the VIP as if nothing were set.", key, value, lo, list(vips), worst.dev)
	f.Evidence = append(f.Evidence,
		probes.Evidence{Fact: key + " on " + lo, Got: fmt.Sprint(value), Want: "without effect, whatever it is", Command: "sysctl " + lvs.SysctlName(lvs.ConfPath(lo, key))},
		sysctlEvidence(c.Snapshot, worst.dev, key, map[string]string{"arp_ignore": "1", "arp_announce": "2"}[key]),
		askedEvidence(c, worst.vips[0], worst.dev))
	cure(&f, c.Snapshot, fixes.QuietARP(c.Snapshot, vips), "on the director: arping -U -I IFACE -c 3 "+vips[0].String()+", so that the router learns the right MAC at once")
	return f
}

// severityRank is 0 for the worst.
func severityRank(s probes.Severity) int {
	return slices.Index([]probes.Severity{probes.Outage, probes.Degraded, probes.Hazard, probes.Note}, s)
}
