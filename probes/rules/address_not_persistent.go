package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/fixes"
	"lvstui/fixes/nextboot"
	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "address-not-persistent",
	Title: "the VIP is in no configuration file",
	Stage: lvs.SynAccepted,
	Roles: []lvs.Role{lvs.RoleRealServer, lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceAddresses},
	Explain: probes.Explain{
		Breaks: `The VIP was put on this host by hand, with "ip addr add". It works until the next boot, or until the daemon that configures the
network restarts and takes away what it does not know. Then a real server without its VIP drops the SYN or forwards it, and a
director without it is not asked any more.`,
		ByHand: `Look for the VIP in the files that configure the network, and in scripts:

    ip -o address show to 172.16.0.8
    grep -rn 172.16.0.8 /etc/network /etc/netplan /etc/systemd/network /etc/NetworkManager /etc/sysconfig/network-scripts /etc/keepalived`,
		Cure: `Write it where this host keeps its addresses; lvstui fix does so in a file of its own where there can be one. With
ifupdown, in /etc/network/interfaces.d/60-lvstui:

    iface lo inet static
        address 172.16.0.8/32

netplan takes addresses under ethernets: lo:, systemd-networkd a .network file with Name=lo, NetworkManager (1.42 or newer) a
connection of type loopback, Red Hat's network scripts an ifcfg-lo:0. If the VIP is not to stay, take it off, as lvstui fix
address-not-persistent --from-files does:

    ip addr del 172.16.0.8/32 dev lo`,
		Source: "interfaces(5), netplan(5), systemd.network(5), nm-settings-keyfile(5).",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		b, ok := bootOf(c)
		if !ok {
			return nil
		}
		// These keep addresses elsewhere than in files that are read here.
		if _, theirs := runs(c, "addresses", "kube-proxy", "kube-router", "pacemakerd", "ucarp", "zebra", "bird", "dockerd"); theirs {
			return nil
		}
		if k, there := nextboot.Keepalived(c.Snapshot); there && k.Odd {
			return nil
		} else if _, running := runs(c, "addresses", "keepalived"); running && !there {
			return nil
		}
		mentioned := b.Mentioned()
		groups := map[string][]lvs.Address{}
		var devices []string
		for _, vip := range c.Cluster.VIPs {
			for _, a := range c.AddressesOf(vip) {
				if !mentioned[vip] && unwritten(c, b, a) {
					if groups[a.Device] == nil {
						devices = append(devices, a.Device)
					}
					groups[a.Device] = append(groups[a.Device], a)
				}
			}
		}
		var out []probes.Finding
		slices.Sort(devices)
		for _, dev := range devices {
			out = append(out, addressNotPersistent(c, dev, groups[dev]))
		}
		return out
	},
})

// unwritten says that an address that no file mentions was meant for LVS and should be in one.
func unwritten(c *probes.Case, b nextboot.Boot, a lvs.Address) bool {
	vip := a.Prefix.Addr()
	if a.Dynamic {
		return false
	}
	if _, known := b.Knows(a.Device); !known {
		return false // whatever configures it is unknown to us
	}
	return lvsIntended(c, vip)
}

// tooManyToWrite is from how many on it is left to the administrator to write them down, and tooManyToDrop to take them off: each one that goes
// is tried on all addresses and routes.
const (
	tooManyToWrite = 64
	tooManyToDrop  = 16
)

func addressNotPersistent(c *probes.Case, dev string, all []lvs.Address) probes.Finding {
	var vips []netip.Addr
	for _, a := range all {
		vips = append(vips, a.Prefix.Addr())
	}
	f := c.Finding(probes.Hazard, probes.Strong, list(vips)+" on "+dev)
	about(&f, vips)
	if !c.Is(lvs.RoleRealServer) {
		f.Stage = lvs.VIPResolved
	}
	f.Title = fmt.Sprintf("%s loses %s at the next boot", c.Name(), list(vips))
	f.Why = fmt.Sprintf("No configuration file and no script of this host mentions %s: it was put on %s by hand. It works now; after the next boot, or when "+
		"the network is configured anew, it is gone, and with it this host's part in the service.", list(vips), dev)
	b, _ := bootOf(c)
	system, _ := b.Knows(dev)
	f.Evidence = append(f.Evidence,
		addressEvidence(c.Snapshot, vips[0], "there, and in a file as well"),
		probes.Evidence{Fact: "files that mention " + vips[0].String(), Got: "none", Want: "one of " + system,
			Command: "grep -rn " + vips[0].String() + " /etc"})
	var drop fixes.Plan
	var away []string
	for _, a := range all[:min(len(all), 4)] {
		away = append(away, fixes.DelAddress{Device: a.Device, Prefix: a.Prefix}.Command())
	}
	if len(all) <= tooManyToDrop && len(c.Snapshot.Addresses) <= 16*tooManyToDrop {
		drop = fixes.DropAddresses(c.Snapshot, all)
	}
	drop.Title = fmt.Sprintf("take %s off %s, as the next boot does", list(vips), dev)
	var edits []fixes.FileEdit
	var words []string
	s := *c.Snapshot
	if len(all) > tooManyToWrite {
		all, words = nil, []string{fmt.Sprintf("%d addresses on %s belong into the configuration of %s", len(vips), dev, system)}
	}
	for _, a := range all {
		more, say := nextboot.KeepAddress(&s, a)
		words = append(words, say...)
		edits, s.Files = mergeEdits(edits, more), nextboot.Written(s.Files, more)
	}
	writeDown(&f, c, fmt.Sprintf("write %s down for the next boot", list(vips)), edits, words)
	fromFiles(&f, c.Snapshot, drop, fmt.Sprintf("the other way about, %s leaves this host now, as the files have it, and its part in the service ends", list(vips)), away...)
	return f
}

// mergeEdits puts later edits of the same file on top of earlier ones.
func mergeEdits(edits, more []fixes.FileEdit) []fixes.FileEdit {
	for _, e := range more {
		i := slices.IndexFunc(edits, func(o fixes.FileEdit) bool { return o.Path == e.Path })
		if i < 0 {
			edits = append(edits, e)
			continue
		}
		edits[i].After = e.After
		edits[i].Why += "; " + e.Why
	}
	return edits
}
