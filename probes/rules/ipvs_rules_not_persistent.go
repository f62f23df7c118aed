package rules

import (
	"fmt"
	"strings"

	"lvstui/fixes"
	"lvstui/fixes/nextboot"
	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "ipvs-rules-not-persistent",
	Title: "the ip_vs table is not what the next boot restores",
	Stage: lvs.SynScheduled,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS},
	Explain: probes.Explain{
		Breaks: `The virtual services were made with ipvsadm, and ip_vs keeps them in memory only. No daemon makes them, and what ipvsadm's
service restores at boot is something else, or nothing: after the next boot the director answers clients with a reset, or balances to
yesterday's real servers.`,
		ByHand: `Compare the table with the save file:

    ipvsadm-save -n
    cat /etc/ipvsadm.rules /etc/default/ipvsadm          # Debian
    cat /etc/sysconfig/ipvsadm; systemctl is-enabled ipvsadm   # Red Hat

On Debian nothing is restored unless AUTO="true". Red Hat's service saves the table when it is stopped, so that what runs when the host
goes down in good order is what comes back.`,
		Cure: `Write the table down and have it restored:

    ipvsadm-save -n > /etc/ipvsadm.rules
    sed -i 's/^AUTO=.*/AUTO="true"/' /etc/default/ipvsadm

lvstui fix does both, and keeps the file's comments. If the file is right and the table is not, lvstui fix ipvs-rules-not-persistent
--from-files changes what differs, and leaves the rest and its connections alone. By hand, and with all of the table gone for a moment:

    ipvsadm -C; ipvsadm -R < /etc/ipvsadm.rules`,
		Source: "ipvsadm-save(8), ipvsadm-restore(8); Debian's /etc/init.d/ipvsadm, Red Hat's ipvsadm.service.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		b, ok := bootOf(c)
		if !ok || len(c.Snapshot.IPVS.Services) == 0 {
			return nil
		}
		if _, theirs := runs(c, "ipvs", "ldirectord", "kube-proxy", "kube-router", "pacemakerd", "dockerd"); theirs || scripted(b, "ipvsadm") {
			return nil
		}
		if _, running := runs(c, "ipvs", "keepalived"); running {
			if k, there := nextboot.Keepalived(c.Snapshot); !there || k.Odd || len(k.Services) > 0 {
				return nil
			}
		}
		if b.Table != nil && b.Table.SavedAtStop {
			return nil
		}
		return ipvsRulesNotPersistent(c, b.Table)
	},
})

func ipvsRulesNotPersistent(c *probes.Case, t *nextboot.Table) []probes.Finding {
	f := c.Finding(probes.Hazard, probes.Strong, "the ip_vs table")
	services := c.Snapshot.IPVS.Services
	file := "no file"
	var differ []string
	var names []fixes.VirtualService
	switch {
	case t == nil:
		f.Title = "nothing restores the ip_vs table at the next boot"
		f.Evidence = append(f.Evidence, probes.Evidence{Fact: "what restores the table at boot", Got: "neither a daemon nor ipvsadm's service is here", Want: "one of them",
			Command: "ls /etc/ipvsadm.rules /etc/sysconfig/ipvsadm /etc/keepalived/keepalived.conf"})
	case len(t.Odd) > 0:
		return nil // somebody knows better than we what the file says
	default:
		file = t.File
		saved := map[fixes.VirtualService]lvs.Service{}
		for _, v := range t.Services {
			saved[fixes.NameOf(v)] = v
		}
		for _, v := range services {
			if s, ok := saved[fixes.NameOf(v)]; !ok || !nextboot.SameService(s, v, false) {
				differ, names = append(differ, v.Key()), append(names, fixes.NameOf(v))
			}
			delete(saved, fixes.NameOf(v))
		}
		for _, v := range t.Services {
			if _, left := saved[fixes.NameOf(v)]; left {
				differ, names = append(differ, v.Key()+" (only in the file)"), append(names, fixes.NameOf(v))
			}
		}
		if t.On && len(differ) == 0 {
			return nil
		}
		f.Title = "the next boot restores another ip_vs table than the one that runs"
		if !t.On {
			f.Title = "ipvsadm's service is turned off: the ip_vs table is empty after the next boot"
			f.Evidence = append(f.Evidence, probes.Evidence{Fact: "restored at boot", Got: "no", Want: "yes",
				Command: "grep AUTO /etc/default/ipvsadm; systemctl is-enabled ipvsadm"})
		}
	}
	f.Why = fmt.Sprintf("ip_vs keeps its table in memory, and no daemon here makes it. The %d virtual services of this director were made by hand; what is restored at boot comes from %s.",
		len(services), file)
	if len(differ) > 0 {
		f.Evidence = append(f.Evidence, probes.Evidence{Fact: "services that " + file + " has otherwise", Got: few(differ), Want: "none", Command: "ipvsadm-save -n | diff - " + file})
	}
	edits, words := nextboot.KeepTable(c.Snapshot)
	writeDown(&f, c, "write the ip_vs table down for the next boot", edits, words)
	if t != nil {
		tableFromFile(&f, c, *t, names)
	}
	return []probes.Finding{f}
}

// tableFromFile is the other way about: the services that differ are brought to the save file, and its service is turned on where it is
// off, because else the next boot would give neither.
func tableFromFile(f *probes.Finding, c *probes.Case, t nextboot.Table, names []fixes.VirtualService) {
	if len(names) == 0 || len(t.Services) == 0 && !t.On {
		return // there is no other table to have
	}
	plan := fixes.MatchTable(c.Snapshot, t.Services, names)
	plan.Title = "bring the ip_vs table to " + t.File
	if !t.On {
		edits, words := nextboot.RestoreTable(c.Snapshot)
		plan.Files = edits
		for _, w := range words {
			plan.Elsewhere = append(plan.Elsewhere, "here: "+w)
		}
	}
	fromFiles(f, c.Snapshot, plan, fmt.Sprintf("the other way about, the table becomes what %s says", t.File), "ipvsadm -C", "ipvsadm -R < "+t.File)
}

// few names a few of many words.
func few(all []string) string {
	if len(all) > 4 {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:3], ", "), len(all)-3)
	}
	return strings.Join(all, ", ")
}
