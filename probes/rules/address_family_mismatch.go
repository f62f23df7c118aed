package rules

import (
	"fmt"
	"slices"

	"lvstui/fixes"
	"lvstui/fixes/nextboot"
	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "address-family-mismatch",
	Title: "a destination is of another address family than its service",
	Stage: lvs.SynForwarded,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS},
	Explain: probes.Explain{
		Breaks: `Direct routing hands the packet on as it is: an IPv6 packet needs a neighbour found by IPv6. So ip_vs takes a destination of the other family with a tunnel only, and refuses it otherwise. keepalived says so in its log
when it reads its file, and leaves the service without that destination; the others carry its share.`,
		ByHand: `    ipvsadm -Ln
    grep -nE 'virtual_server|real_server' /etc/keepalived/keepalived.conf
    journalctl -u keepalived | grep -i 'address family'`,
		Cure:   `Give the real server an address of the service's family and use that, or reach it through a tunnel (ipvsadm -e … -i).`,
		Source: "net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_genl_set_cmd: a mixed destination has to be IP_VS_CONN_F_TUNNEL.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var out []probes.Finding
		for _, v := range services(c) {
			for _, d := range v.Destinations {
				six := v.IPv6 || v.Address.Is6() && !v.Address.Is4In6()
				if d.Forward == lvs.IPIP || six == (d.Address.Is6() && !d.Address.Is4In6()) {
					continue
				}
				f := c.Finding(probes.Degraded, probes.Strong, v.Name()+" to "+ipvsadmDestination(d))
				f.VIP = v.Address
				f.Title = fmt.Sprintf("%s and its destination %s are of different families", v.Name(), d.Address)
				f.Why = fmt.Sprintf("A packet for %s is handed on unchanged, and %s is of the other address family: it can not be reached that way without a tunnel.", v.Name(), d.Address)
				f.Evidence = append(f.Evidence, probes.Evidence{Fact: "destination of " + v.Name(), Got: fmt.Sprintf("%s by %s", ipvsadmDestination(d), d.Forward), Want: "an address of the same family, or ipip", Command: "ipvsadm -Ln " + ipvsadmService(v)})
				advise(&f, c.Name(), "use the real server's address of the service's family", fmt.Sprintf("ipvsadm -e %s -r %s -i", ipvsadmService(v), ipvsadmDestination(d)))
				out = append(out, f)
			}
		}
		return append(out, leftOut(c)...)
	},
})

// leftOut finds the real servers of keepalived's file that it can not put into the table.
func leftOut(c *probes.Case) []probes.Finding {
	if _, ok := bootOf(c); !ok {
		return nil
	}
	k, there := nextboot.Keepalived(c.Snapshot)
	if _, running := runs(c, "ipvs", "keepalived"); !running || !there || k.Odd {
		return nil
	}
	var out []probes.Finding
	for _, v := range services(c) {
		i := slices.IndexFunc(k.Services, func(kept nextboot.KeptService) bool { return kept.Service == fixes.NameOf(v) })
		if i < 0 || !v.Address.IsValid() {
			continue
		}
		for _, r := range k.Services[i].Reals {
			if r.Method == lvs.IPIP || !r.Address.IsValid() || r.Address.Is4() == v.Address.Is4() {
				continue
			}
			f := c.Finding(probes.Hazard, probes.Strong, fmt.Sprintf("%s in %s", r.Address, k.File))
			f.VIP = v.Address
			f.Title = fmt.Sprintf("keepalived leaves %s out of %s: it is of the other address family", r.Address, v.Key())
			f.Why = fmt.Sprintf("%s names the real server %s for %s. A packet is handed on unchanged, and ip_vs takes a destination of the other family with a tunnel only, so it is not in the table, and the other real servers have its share.", k.File, r.Address, v.Key())
			f.Evidence = append(f.Evidence, probes.Evidence{Fact: placeWords(r.Place), Got: "real_server " + r.Address.String(), Want: "an address of the family of " + v.Address.String(), Command: "grep -n real_server " + k.File})
			advise(&f, c.Name(), placeWords(r.Place)+": write the real server's address of the service's family", "keepalived -t && systemctl reload keepalived")
			out = append(out, f)
		}
	}
	return out
}
