package rules

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"lvstui/fixes"
	"lvstui/fixes/nextboot"
	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "sysctl-not-persistent",
	Title: "the ARP sysctls of a real server are gone after the next boot",
	Stage: lvs.VIPResolved,
	Roles: []lvs.Role{lvs.RoleRealServer},
	Needs: []lvs.Source{lvs.SourceLinks, lvs.SourceAddresses, lvs.SourceSysctls},
	Explain: probes.Explain{
		Breaks: `It works now: somebody has set arp_ignore and arp_announce by hand, or a file that has been changed since. The files that are
applied at boot give other values. After the next boot this real server answers ARP for the VIP, or tells the router its own MAC for
it, and the clients' packets come here past the director. Nobody will think of the reboot.`,
		ByHand: `Compare what runs with what the files say; the last file by name counts, /etc hides /run and /usr/lib, and a key by its name
beats a wildcard:

    sysctl net.ipv4.conf.all.arp_ignore net.ipv4.conf.all.arp_announce
    grep -r arp_ /etc/sysctl.conf /etc/sysctl.d /run/sysctl.d /usr/lib/sysctl.d

systemd-sysctl does not read /etc/sysctl.conf, unless a link in /etc/sysctl.d leads there.`,
		Cure: `Write them into a file that comes last by name, and try it:

    printf 'net.ipv4.conf.all.arp_ignore = 1\nnet.ipv4.conf.all.arp_announce = 2\n' > /etc/sysctl.d/60-lvstui.conf
    sysctl --system

all is enough, because the larger of all and the interface counts. lvstui fix writes it. Where the files are right, because the host is not to
be a real server any more, lvstui fix sysctl-not-persistent --from-files sets now what they give, and says what that brings.`,
		Source: "sysctl.d(5), sysctl(8); net/ipv4/arp.c, arp_ignore and arp_solicit.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		b, ok := bootOf(c)
		if !ok || !b.Sysctls() {
			return nil
		}
		if _, theirs := runs(c, "sysctls", "kube-proxy", "kube-router"); theirs || scripted(b, "arp_ignore", "arp_announce") {
			return nil
		}
		after, changed := sysctlsAfterBoot(c.Snapshot, b, "arp_ignore", "arp_announce")
		if len(changed) == 0 {
			return nil
		}
		then := c.Supposing(after)
		vips := newVoices(answeringVoices(c), answeringVoices(then))
		told := newVoices(announcingVoices(c), announcingVoices(then))
		if len(vips)+len(told) == 0 {
			return nil
		}
		return []probes.Finding{sysctlNotPersistent(c, b, vips, told, changed, after.Sysctls)}
	},
})

// sysctlsAfterBoot is s with the keys of IPv4 interfaces as the files give them, and the paths that differ. Where no file says
// anything it is the kernel's default, or for an interface that may be made later what conf/default gives.
func sysctlsAfterBoot(s *lvs.Snapshot, b nextboot.Boot, keys ...string) (*lvs.Snapshot, map[string]string) {
	next := *s
	next.Sysctls = maps.Clone(s.Sysctls)
	changed := map[string]string{}
	for path, now := range s.Sysctls {
		rest, ok := strings.CutPrefix(path, "net/ipv4/conf/")
		dev, key, ok2 := strings.Cut(rest, "/")
		if !ok || !ok2 || dev == "default" || !slices.Contains(keys, key) {
			continue
		}
		value, _, set := b.Sysctl(path)
		if !set && dev != "all" {
			if value, _, set = b.Sysctl(lvs.ConfPath("default", key)); set && value != now && dev == "lo" {
				value = now // lo is older than any file
			}
		}
		if !set {
			value = "0"
		}
		if value != now {
			next.Sysctls[path], changed[path] = value, now
		}
	}
	return &next, changed
}

// newVoices are the VIPs, by device, that come in with then.
func newVoices(now, then []voice) map[string][]netip.Addr {
	had := map[string]bool{}
	for _, v := range now {
		for _, vip := range v.vips {
			had[v.dev+" "+vip.String()] = true
		}
	}
	out := map[string][]netip.Addr{}
	for _, v := range then {
		for _, vip := range v.vips {
			if !had[v.dev+" "+vip.String()] && !slices.Contains(out[v.dev], vip) {
				out[v.dev] = append(out[v.dev], vip)
			}
		}
	}
	return out
}

func sysctlNotPersistent(c *probes.Case, b nextboot.Boot, answers, tells map[string][]netip.Addr, changed, then map[string]string) probes.Finding {
	var vips []netip.Addr
	devices := map[string]bool{}
	for _, voices := range []map[string][]netip.Addr{answers, tells} {
		for dev, list := range voices {
			devices[dev] = true
			for _, vip := range list {
				if !slices.Contains(vips, vip) {
					vips = append(vips, vip)
				}
			}
		}
	}
	slices.SortFunc(vips, netip.Addr.Compare)
	f := c.Finding(probes.Hazard, probes.Hint, list(vips)+" on "+strings.Join(slices.Sorted(maps.Keys(devices)), ", "))
	about(&f, vips)
	var broken []string
	if len(answers) > 0 {
		broken = append(broken, "answers ARP for "+list(vips))
	}
	if len(tells) > 0 {
		broken = append(broken, "tells the router its own MAC for "+list(vips))
	}
	f.Title = fmt.Sprintf("after the next boot %s %s", c.Name(), strings.Join(broken, " and "))
	f.Why = "The sysctls that keep this real server quiet are set in the running kernel only: the files that are applied at boot give others. " +
		"As it runs now it is right; from the next boot on clients' packets come here past the director."
	keep := map[string]string{}
	for _, path := range slices.Sorted(maps.Keys(changed)) {
		dev, key, _ := strings.Cut(strings.TrimPrefix(path, "net/ipv4/conf/"), "/")
		if dev != "all" && !devices[dev] || key == "arp_ignore" && len(answers) == 0 || key == "arp_announce" && len(tells) == 0 {
			continue
		}
		now := changed[path]
		keep[path] = now
		got := "0, the kernel's default: no file sets it"
		if value, at, ok := b.Sysctl(path); ok {
			got = value + ", " + placeWords(at)
			f.Certainty = probes.Strong
		}
		f.Evidence = append(f.Evidence, probes.Evidence{Fact: lvs.SysctlName(path) + " at the next boot", Got: got, Want: now + ", as now",
			Command: "grep -rn " + key + " /etc/sysctl.conf /etc/sysctl.d /run/sysctl.d /usr/lib/sysctl.d"})
	}
	edits, words := nextboot.KeepSysctls(c.Snapshot, keep)
	writeDown(&f, c, "write the ARP sysctls down for the next boot", edits, words)
	plan := fixes.SetSysctls(c.Snapshot, then, slices.Sorted(maps.Keys(keep)))
	plan.Title = "set the ARP sysctls now as the next boot does"
	fromFiles(&f, c.Snapshot, plan, fmt.Sprintf("the other way about, what the next boot brings comes now: %s %s, for a host that is not to be a real server any more", c.Name(), strings.Join(broken, " and ")), "sysctl --system")
	return f
}
