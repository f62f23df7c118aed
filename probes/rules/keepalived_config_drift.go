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
	ID:    "keepalived-config-drift",
	Title: "the ip_vs table is not what its daemon's configuration says",
	Stage: lvs.SynScheduled,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS},
	Explain: probes.Explain{
		Breaks: `keepalived, or ldirectord, makes the ip_vs table from its own file, and here the two say different things: the file was changed
and not reloaded, a reload did not do all of it, or somebody used ipvsadm beside the daemon. It works as the table says now: a service that
"ipvsadm -C" took away stays away, and its clients are refused, because the daemon does not look again. The next
reload, restart or failover makes it what the file says: a hand-made service is gone, or the forwarding method is another. keepalived's
default is NAT: a file without lvs_method DR gives masquerading.`,
		ByHand: `Compare the two:

    ipvsadm -Ln
    grep -nE 'virtual_server|real_server|lvs_method|lb_kind|lvs_sched|lb_algo' /etc/keepalived/keepalived.conf

A real server of the file that is missing in the table, or has weight 0 there, may have failed its health check: that is none.`,
		Cure: `Decide which of the two is right. If it is the table, write into the file what the table has, and check it:

    keepalived -t && systemctl reload keepalived

If it is the file, reload; where that changes nothing (forwarding methods, before keepalived 2.0), restart, which moves the VIPs to
the other director for a moment:

    systemctl restart keepalived`,
		Source: "keepalived.conf(5), ldirectord(8).",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		if _, ok := bootOf(c); !ok {
			return nil
		}
		var out []probes.Finding
		for name, read := range map[string]func(*lvs.Snapshot) (nextboot.Keeper, bool){"keepalived": nextboot.Keepalived, "ldirectord": nextboot.Ldirectord} {
			_, running := runs(c, "ipvs", name)
			k, ok := read(c.Snapshot)
			if !running || !ok || k.Odd || len(k.Services) == 0 {
				continue
			}
			out = append(out, daemonDrift(c, k)...)
		}
		return out
	},
})

// daemonDrift compares the table with a daemon's file, one finding per virtual service.
func daemonDrift(c *probes.Case, k nextboot.Keeper) []probes.Finding {
	var out []probes.Finding
	kept := map[fixes.VirtualService]nextboot.KeptService{}
	for _, v := range k.Services {
		kept[v.Service] = v
	}
	_, others := runs(c, "ipvs", "kube-proxy", "kube-router", "dockerd", "pacemakerd")
	for _, v := range c.Snapshot.IPVS.Services {
		want, ok := kept[fixes.NameOf(v)]
		if !ok {
			if !others {
				f := driftFinding(c, k, v)
				f.Title = fmt.Sprintf("%s is in the ip_vs table and not in %s", v.Key(), k.File)
				f.Evidence = append(f.Evidence, probes.Evidence{Fact: v.Key() + " in " + k.File, Got: "not there", Want: "there", Command: "grep -n '" + searched(v) + "' " + k.File})
				out = append(out, f)
			}
			continue
		}
		delete(kept, fixes.NameOf(v))
		if ev := serviceDrift(k, want, v); len(ev) > 0 {
			f := driftFinding(c, k, v)
			f.Title = fmt.Sprintf("a restart of %s changes %s: %s", k.Name, v.Key(), ev[0].Fact)
			f.Evidence = append(f.Evidence, ev...)
			out = append(out, f)
		}
	}
	for _, want := range k.Services {
		if _, missing := kept[want.Service]; missing && !want.Suspended && !others {
			out = append(out, missingService(c, k, want))
		}
	}
	return out
}

// missingService says that a virtual service of the file is not in the table, where a daemon puts it at once and leaves it also when no real
// server passes its check.
func missingService(c *probes.Case, k nextboot.Keeper, want nextboot.KeptService) probes.Finding {
	name := want.Service.String()
	f := c.Finding(probes.Hazard, probes.Strong, name)
	f.VIP = want.Service.Address
	f.Title = fmt.Sprintf("%s is in %s and not in the ip_vs table", name, k.File)
	f.Why = fmt.Sprintf("%s puts its virtual services into the table when it reads its file, and does not look again. Either somebody took %s out behind its back (ipvsadm -C, ipvsadm -D), or it was written into the file and not read since. Clients of it are refused by this host.", k.Name, name)
	f.Evidence = append(f.Evidence, probes.Evidence{Fact: name + " in the table", Got: "not there", Want: "there, as " + placeWords(want.Place) + " says", Command: "ipvsadm -Ln"})
	advise(&f, c.Name(), "have "+k.Name+" make its table anew (a restart moves the VIPs for a moment)", "systemctl restart "+k.Name)
	return f
}

// searched is how a daemon's file begins to name a service.
func searched(v lvs.Service) string {
	if v.FWMark != 0 {
		return fmt.Sprint(v.FWMark)
	}
	return v.Address.String()
}

func driftFinding(c *probes.Case, k nextboot.Keeper, v lvs.Service) probes.Finding {
	f := c.Finding(probes.Hazard, probes.Strong, v.Key())
	f.VIP = v.Address
	f.Why = fmt.Sprintf("%s makes the ip_vs table by %s, and the two differ. It works as the table says now; the next reload, restart or boot makes it what the file says.", k.Name, k.File)
	advise(&f, c.Name(), fmt.Sprintf("decide which is right: if it is the table, write into %s what it has; if it is the file, have %s read it again (a restart moves the VIPs for a moment)", k.File, k.Name), "systemctl reload "+k.Name)
	// It makes the table: what others change there it would not know of.
	fromFiles(&f, c.Snapshot, fixes.Plan{}, k.Name+" makes this table from its file, so it is for "+k.Name+" to read it again; where that changes nothing (forwarding methods, before keepalived 2.0), systemctl restart "+k.Name+
		", which moves the VIPs to the other director for a moment", reload(k.Name)...)
	return f
}

// reload are the commands that have a daemon read its file again.
func reload(daemon string) []string {
	if daemon == "keepalived" {
		return []string{"keepalived -t", "systemctl reload keepalived"}
	}
	return []string{"systemctl reload " + daemon}
}

// serviceDrift is in what a running service differs from the file. What health checks change is no difference.
func serviceDrift(k nextboot.Keeper, want nextboot.KeptService, v lvs.Service) []probes.Evidence {
	var out []probes.Evidence
	say := func(at nextboot.Place, what, file, table string) {
		out = append(out, probes.Evidence{Fact: what, Got: table + " in the table", Want: fmt.Sprintf("%s, as %s says", file, placeWords(at)), Command: "ipvsadm -Ln"})
	}
	for _, d := range v.Destinations {
		if want.Sorry.IsValid() && d.Address == want.Sorry.Addr() {
			continue
		}
		i := slices.IndexFunc(want.Reals, func(r nextboot.KeptReal) bool { return r.Address == d.Address })
		if i < 0 {
			say(want.Place, "the real server "+d.Name()+" is not in the file", "none", d.Name())
			continue
		}
		r := want.Reals[i]
		if d.Forward != r.Method && d.Forward != lvs.Local {
			at := r.Place
			word := methodWord(r.Method)
			if want.MethodLine == 0 && r.Method == lvs.Masq && k.Name == "keepalived" {
				at, word = want.Place, word+" (keepalived's default: no lvs_method there)"
			}
			say(at, "the forwarding method of "+d.Name(), word, methodWord(d.Forward))
		}
		same := slices.ContainsFunc(want.Reals, func(o nextboot.KeptReal) bool { return o.Address == d.Address && (o.Weight == d.Weight || o.Moving) })
		if d.Weight != 0 && !same {
			say(r.Place, "the weight of "+d.Name(), fmt.Sprint(r.Weight), fmt.Sprint(d.Weight))
		}
	}
	if want.Scheduler != "" && want.Scheduler != v.Scheduler {
		say(want.Place, "the scheduler", want.Scheduler, v.Scheduler)
	}
	if (want.Persistence != 0) != v.Persistent || v.Persistent && want.Persistence != v.Timeout {
		say(want.Place, "persistence", persistenceWord(want.Persistence), persistenceWord(map[bool]uint32{true: v.Timeout}[v.Persistent]))
	}
	return out
}

func methodWord(m lvs.Forward) string {
	switch m {
	case lvs.Gate:
		return "direct routing"
	case lvs.Masq:
		return "masquerading (NAT)"
	case lvs.IPIP:
		return "tunnelling"
	}
	return strings.ToLower(string(m))
}

func persistenceWord(seconds uint32) string {
	if seconds == 0 {
		return "none"
	}
	return fmt.Sprintf("%d s", seconds)
}
