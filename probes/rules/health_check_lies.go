package rules

import (
	"fmt"
	"slices"
	"strings"

	"lvstui/fixes"
	"lvstui/fixes/nextboot"
	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "health-check-lies",
	Title: "the health check does not see that a real server is dead for the VIP",
	Stage: lvs.SynScheduled,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS},
	Explain: probes.Explain{
		Breaks: `keepalived and ldirectord ask the real server under its own address, the RIP. Clients' packets come to the VIP. A real server that
has lost its VIP, or whose service listens on the RIP only, passes every check and keeps its share of the clients, who get no answer. The
same with a check that is sent to another port than the clients'.`,
		ByHand: `What is checked, and what the real server really has:

    grep -nE 'real_server|_CHECK|_GET|connect_port' /etc/keepalived/keepalived.conf
    ip -o address show to 172.16.0.8; ss -ltn 'sport = :80'        # on the real server

An answer for the RIP proves nothing of the VIP; lvstui check --probe asks for the VIP by the real server's MAC.`,
		Cure: `Cure the real server first. Then check what clients use: the same port, and the VIP. keepalived can run a program that asks
for the VIP by the real server's MAC (MISC_CHECK), or take the real server's own word for it (a local check that closes the port
when the VIP is not there).`,
		Source: "keepalived.conf(5), CHECKERS; ldirectord(8).",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		if _, ok := bootOf(c); !ok {
			return nil
		}
		var out []probes.Finding
		for name, read := range map[string]func(*lvs.Snapshot) (nextboot.Keeper, bool){"keepalived": nextboot.Keepalived, "ldirectord": nextboot.Ldirectord} {
			_, running := runs(c, "ipvs", name)
			k, ok := read(c.Snapshot)
			if !running || !ok {
				continue
			}
			for _, v := range k.Services {
				out = append(out, lyingChecks(c, k, v)...)
			}
		}
		return out
	},
})

// lyingChecks are the real servers of a service that pass their checks in spite of what another host's facts prove, and those
// that are asked on another port.
func lyingChecks(c *probes.Case, k nextboot.Keeper, kept nextboot.KeptService) []probes.Finding {
	i := slices.IndexFunc(c.Snapshot.IPVS.Services, func(v lvs.Service) bool { return fixes.NameOf(v) == kept.Service })
	if i < 0 || kept.Service.FWMark != 0 {
		return nil
	}
	v := c.Snapshot.IPVS.Services[i]
	var out []probes.Finding
	for _, d := range v.Destinations {
		r := slices.IndexFunc(kept.Reals, func(r nextboot.KeptReal) bool { return r.Address == d.Address })
		if r < 0 || d.Weight == 0 || d.Forward != lvs.Gate || len(kept.Reals[r].Checks) == 0 {
			continue
		}
		if f, ok := deadForVIP(c, k, kept.Reals[r], v, d); ok {
			out = append(out, f)
		} else if ports := kept.Reals[r].CheckPorts; len(ports) == len(kept.Reals[r].Checks) && !slices.Contains(ports, v.Port) {
			f := c.Finding(probes.Note, probes.Hint, v.Name()+" on "+d.Address.String())
			f.VIP = v.Address
			f.Title = fmt.Sprintf("%s is checked on port %d, clients use %d", d.Address, ports[0], v.Port)
			f.Why = "Where the two are different programs one may be dead while the other answers. That may be meant so."
			f.Evidence = append(f.Evidence, probes.Evidence{Fact: placeWords(kept.Reals[r].Place), Got: fmt.Sprintf("connect_port %d", ports[0]), Want: fmt.Sprint(v.Port), Command: "grep -n connect_port " + k.File})
			out = append(out, f)
		}
	}
	return out
}

// deadForVIP says that the real server's own facts show that it does not accept the VIP, though it gets clients.
func deadForVIP(c *probes.Case, k nextboot.Keeper, r nextboot.KeptReal, v lvs.Service, d lvs.Destination) (probes.Finding, bool) {
	for _, h := range c.Cluster.Hosts {
		if h == c.Host || !h.Has(d.Address) || h.Snapshot.Addresses == nil || h.Snapshot.Routes == nil {
			continue
		}
		local := h.Has(v.Address) || slices.ContainsFunc(h.Snapshot.Routes, func(r lvs.Route) bool { return r.Type == "local" && r.Dst.Contains(v.Address) })
		if local || len(h.Snapshot.Gaps) > 0 || h.Snapshot.Netfilter == nil || mayRedirect(h.Snapshot) {
			continue
		}
		f := c.Finding(probes.Hazard, probes.Certain, v.Name()+" on "+d.Address.String())
		f.VIP = v.Address
		f.Title = fmt.Sprintf("%s passes its health check and does not have %s", h.Name(), v.Address)
		f.Why = fmt.Sprintf("%s asks %s (%s), which answers; clients' packets are for %s, which is not local there. The destination keeps weight %d, and its share of the clients gets no answer.",
			k.Name, d.Address, strings.Join(r.Checks, ", "), v.Address, d.Weight)
		f.Evidence = append(f.Evidence,
			probes.Evidence{Fact: "what is checked", Got: strings.Join(r.Checks, ", ") + " to " + d.Address.String() + ", " + placeWords(r.Place), Want: "the VIP by the real server's MAC", Command: "grep -n _CHECK " + k.File},
			addressEvidence(h.Snapshot, v.Address, "on lo of "+h.Name()))
		advise(&f, h.Name(), "cure the real server; then have the check ask for the VIP", "ip addr add "+v.Address.String()+"/32 dev lo")
		return f, true
	}
	return probes.Finding{}, false
}

// mayRedirect says that a NAT rule of the real server may take the VIP's packets in without the address.
func mayRedirect(s *lvs.Snapshot) bool {
	return slices.ContainsFunc(s.Netfilter.Chains, func(ch lvs.Chain) bool { return ch.Type == "nat" && len(ch.Rules) > 0 })
}
