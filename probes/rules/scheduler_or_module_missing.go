package rules

import (
	"fmt"

	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "scheduler-or-module-missing",
	Title: "the kernel of a director has no ip_vs",
	Stage: lvs.SynScheduled,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS},
	Explain: probes.Explain{
		Breaks: `A director needs the kernel module ip_vs and one for each scheduler, such as ip_vs_wrr. They are loaded when ipvsadm or keepalived first asks for them. In a container, with a minimal or cloud
kernel, or after an update of the kernel whose modules are not those of the running one, they cannot be: ipvsadm says "Can't initialize ipvs" or "Memory allocation problem", and there is no
virtual service. The director's own TCP answers clients with a RST.`,
		ByHand: `On the director:

    modprobe ip_vs
    modprobe -n -v ip_vs_wrr
    uname -r; ls /lib/modules
    ls /proc/net/ip_vs`,
		Cure: `Load it, and have it loaded at boot:

    modprobe ip_vs
    echo ip_vs > /etc/modules-load.d/ipvs.conf

When there is no such module, install the package with the kernel's further modules, or boot the kernel whose modules are there. In a container load it on the host.`,
		Source: "net/netfilter/ipvs/ip_vs_core.c, ip_vs_init; ip_vs_sched.c, ip_vs_scheduler_get.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		if c.Snapshot.IPVS.Loaded || len(services(c)) > 0 {
			return nil
		}
		// A host has this role without services only because the operator says so.
		f := c.Finding(probes.Outage, probes.Certain, "ip_vs")
		f.Title = fmt.Sprintf("the kernel of %s has no ip_vs", c.Name())
		f.Why = "This host is to be a director, and ip_vs is not loaded in its kernel: there is no virtual service, and nothing is scheduled. " +
			"It is loaded when something first asks for it; that nothing has, or that it failed, is not seen from here."
		f.Evidence = append(f.Evidence, probes.Evidence{Fact: "generic netlink family of ip_vs", Got: "not there, kernel " + c.Snapshot.Kernel, Want: "there", Command: "modprobe ip_vs; ls /proc/net/ip_vs"})
		words := "load the module, and see what it says when it does not load"
		if o, ok := owner(c.Snapshot, "keepalived", "ldirectord", "ipvsadm.service"); ok {
			words += fmt.Sprintf("; then start %s anew (%s)", o.Name, o.Evidence)
		}
		advise(&f, c.Name(), words, "modprobe ip_vs")
		cureIfPossible(&f, c.Snapshot, fixes.Plan{Title: "load ip_vs", Steps: []fixes.Step{fixes.LoadModule{Name: "ip_vs"}}})
		return []probes.Finding{f}
	},
})
