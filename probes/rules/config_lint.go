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
	ID:    "config-lint",
	Title: "a configuration file says something that breaks direct routing when it takes effect",
	Stage: lvs.SynScheduled,
	Roles: []lvs.Role{lvs.RoleDirector, lvs.RoleRealServer},
	Needs: []lvs.Source{lvs.SourceAddresses},
	Explain: probes.Explain{
		Breaks: `What runs now is right, and a file holds one of the well-known mistakes, which takes effect at the next reload, failover or boot:
vrrp_strict in keepalived.conf, which is in its sample file, has keepalived drop everything for the VIP; a VIP on lo with the
prefix length of its subnet makes every address of the subnet local; a real server's port that differs from the service's is not used,
because direct routing rewrites no ports.`,
		ByHand: `    grep -nE 'vrrp_strict|lvs_method|lb_kind|real_server|virtual_server' /etc/keepalived/keepalived.conf
    grep -rnA3 'iface lo\|Name=lo' /etc/network /etc/systemd/network`,
		Cure: `Take vrrp_strict out of global_defs and restart keepalived, which moves the VIP for a moment. Give the VIP on lo the length
/32, or /128. Let real_server have the port of its virtual_server, and the service listen there.`,
		Source: "keepalived.conf(5); net/ipv4/fib_frontend.c, fib_add_ifaddr; net/netfilter/ipvs/ip_vs_xmit.c, ip_vs_dr_xmit.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		b, ok := bootOf(c)
		if !ok {
			return nil
		}
		out := wideOnLo(c, b)
		if k, there := nextboot.Keepalived(c.Snapshot); there && !k.Odd {
			if _, running := runs(c, "ipvs", "keepalived"); running {
				out = append(out, strictLater(c, k)...)
				out = append(out, unusedPorts(c, k)...)
			}
		}
		return out
	},
})

// wideOnLo finds VIPs that the files put on lo with a whole subnet, while what runs has not.
func wideOnLo(c *probes.Case, b nextboot.Boot) []probes.Finding {
	var out []probes.Finding
	for _, vip := range c.Cluster.VIPs {
		for _, a := range b.AddressesOf(vip) {
			if a.Device != "lo" || a.Prefix.IsSingleIP() || !vip.Is4() || vip.IsLoopback() || a.Prefix.Bits() < 8 {
				continue
			}
			if slices.ContainsFunc(c.AddressesOf(vip), func(now lvs.Address) bool { return now.Device == "lo" && !now.Prefix.IsSingleIP() }) {
				continue // vip-prefix-on-lo says it already
			}
			f := c.Finding(probes.Hazard, probes.Strong, a.Prefix.String()+" on lo")
			f.VIP, f.Stage = vip, lvs.SynAckSent
			f.Title = fmt.Sprintf("the next boot puts %s on lo: the whole of %s becomes local", a.Prefix, a.Prefix.Masked())
			f.Why = "What runs now is right. With this file the kernel takes every address of that subnet for its own after the next boot: clients and gateway in it can not be reached any more."
			f.Evidence = append(f.Evidence, probes.Evidence{Fact: placeWords(a.Place), Got: a.Prefix.String(), Want: vip.String() + "/32", Command: "grep -n " + vip.String() + " " + a.File})
			advise(&f, c.Name(), fmt.Sprintf("%s: write %s/32", placeWords(a.Place), vip))
			out = append(out, f)
		}
	}
	return out
}

// strictLater finds vrrp_strict that is not in force yet: keepalived's rules are not there, though the VIP is.
func strictLater(c *probes.Case, k nextboot.Keeper) []probes.Finding {
	if c.Snapshot.Netfilter == nil || slices.ContainsFunc(c.Snapshot.Netfilter.Chains, func(ch lvs.Chain) bool { return ch.Table == "keepalived" }) {
		return nil
	}
	for _, i := range k.Instances {
		at := i.Strict()
		if at == nil {
			at = k.Strict
		}
		if at == nil || i.Accept {
			continue
		}
		for _, vip := range i.VIPs {
			if !c.Has(vip) || !slices.Contains(c.Cluster.VIPs, vip) || !vip.Is4() || drops(c) {
				continue
			}
			f := c.Finding(probes.Hazard, probes.Hint, "vrrp_strict for "+vip.String())
			f.VIP = vip
			f.Title = fmt.Sprintf("with vrrp_strict keepalived drops everything for %s after its next start", vip)
			f.Why = "In strict mode only the owner of an address may accept packets for it, so keepalived adds rules that drop them. They are not there now: keepalived was started before the word was written."
			f.Evidence = append(f.Evidence, probes.Evidence{Fact: placeWords(*at), Got: "vrrp_strict", Want: "not there, or accept in the instance", Command: "grep -n strict " + at.File})
			advise(&f, c.Name(), fmt.Sprintf("%s: take it out", placeWords(*at)))
			return []probes.Finding{f}
		}
	}
	return nil
}

// drops says that some rule may drop what is for the VIP already: iptables has no table of keepalived's own.
func drops(c *probes.Case) bool {
	for _, ch := range c.Snapshot.Netfilter.Chains {
		for _, r := range ch.Rules {
			if r.Verdict == "drop" {
				return true
			}
		}
	}
	return false
}

// unusedPorts finds real servers behind direct routing whose port is another than the service's.
func unusedPorts(c *probes.Case, k nextboot.Keeper) []probes.Finding {
	var out []probes.Finding
	if c.Snapshot.IPVS == nil {
		return nil
	}
	for _, v := range k.Services {
		var bad []nextboot.KeptReal
		for _, r := range v.Reals {
			if r.Method == lvs.Gate && v.Service.FWMark == 0 && v.Service.Port != 0 && r.Port != 0 && r.Port != v.Service.Port {
				bad = append(bad, r)
			}
		}
		i := slices.IndexFunc(c.Snapshot.IPVS.Services, func(s lvs.Service) bool { return fixes.NameOf(s) == v.Service })
		if len(bad) == 0 || i < 0 || slices.ContainsFunc(c.Snapshot.IPVS.Services[i].Destinations, func(d lvs.Destination) bool { return d.Port != v.Service.Port }) {
			continue // port-mismatch says it
		}
		f := c.Finding(probes.Note, probes.Certain, v.Service.String()+" in "+v.File)
		f.VIP = v.Service.Address
		f.Title = fmt.Sprintf("port %d of the real servers of %s is not used", bad[0].Port, v.Service)
		f.Why = "Direct routing rewrites no ports: packets come to the real server with the port of the virtual service, whatever the file says."
		f.Evidence = append(f.Evidence, probes.Evidence{Fact: placeWords(bad[0].Place), Got: fmt.Sprintf("real_server %s %d", bad[0].Address, bad[0].Port), Want: fmt.Sprint(v.Service.Port), Command: "grep -n real_server " + v.File})
		advise(&f, c.Name(), fmt.Sprintf("%s: write port %d", placeWords(bad[0].Place), v.Service.Port))
		out = append(out, f)
	}
	return out
}
