package nextboot

import (
	"net/netip"
	"slices"
	"strings"

	"lvstui/fixes"
	"lvstui/lvs"
)

// Place is where a configuration file says something.
type Place struct {
	System string // "systemd-networkd", "netplan", "NetworkManager", "ifupdown", "ifcfg"
	File   string
	Line   int // from 1, 0 where it is not known
}

// Address is an address that the next boot gives.
type Address struct {
	Place
	Device string
	Prefix netip.Prefix
	Scope  string // "" as the system chooses
	Label  string
}

// Route is an IPv4 route that the next boot gives.
type Route struct {
	Place
	fixes.AddRoute
}

// Rule is an IPv4 policy rule that the next boot gives.
type Rule struct {
	Place
	fixes.AddRule
}

// Boot is what the configuration files of a host would give at the next boot, as far as they are understood.
type Boot struct {
	Addresses []Address
	Routes    []Route
	Rules     []Rule
	// Table is what the service of ipvsadm restores, nil when it restores nothing.
	Table *Table

	disk *disk
}

// After returns what the files of s would give; ok is false when they were not read.
func After(s *lvs.Snapshot) (b Boot, ok bool) {
	if s.Files == nil {
		return Boot{}, false
	}
	return newDisk(s).boot(), true
}

func (d *disk) boot() Boot {
	b := Boot{disk: d, Table: d.savedTable()}
	for _, sys := range systems {
		got := sys.gives(d)
		b.Addresses = append(b.Addresses, got.Addresses...)
		b.Routes = append(b.Routes, got.Routes...)
		b.Rules = append(b.Rules, got.Rules...)
	}
	return b
}

// Sysctl is the value that the files give a path below /proc/sys, and where; ok is false when none does.
func (b Boot) Sysctl(path string) (value string, at Place, ok bool) {
	st, ok := b.disk.sysctlAtBoot(path)
	return st.value, Place{"sysctl.d", st.file, st.line + 1}, ok
}

// Sysctls says that there are files for sysctls at all.
func (b Boot) Sysctls() bool { return len(b.disk.sysctlSettings()) > 0 }

// AddressesOf are the places that give an address.
func (b Boot) AddressesOf(ip netip.Addr) []Address {
	var out []Address
	for _, a := range b.Addresses {
		if a.Prefix.Addr() == ip {
			out = append(out, a)
		}
	}
	return out
}

// givesNoAddress says that what reads the file puts no address on any device, whatever is written there: sysctls, modules, and virtual
// services, which name VIPs without giving them to the host.
func givesNoAddress(name string) bool {
	for _, part := range []string{"/etc/sysctl.conf", "/sysctl.d/", "/etc/modules", "/modules-load.d/", "/ipvsadm.rules", "/default/ipvsadm", "/sysconfig/ipvsadm", "/ldirectord.cf"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}

// Mentioned are the addresses in any file that may give the host one, be it as an address, as an argument or in a comment.
func (b Boot) Mentioned() map[netip.Addr]bool {
	out := map[netip.Addr]bool{}
	notAddress := func(r rune) bool {
		return r != '.' && r != ':' && (r < '0' || r > '9') && (r < 'a' || r > 'f') && (r < 'A' || r > 'F')
	}
	for _, name := range b.disk.names("") {
		if givesNoAddress(name) {
			continue
		}
		text, _ := b.disk.read(name)
		for word := range strings.FieldsFuncSeq(text, notAddress) {
			if len(word) < 3 || len(word) > 45 {
				continue
			}
			ip, err := netip.ParseAddr(strings.Trim(word, "."))
			if at, perr := netip.ParseAddrPort(word); err != nil && perr == nil {
				ip, err = at.Addr(), nil // "172.16.0.8:80"
			}
			if err == nil {
				out[ip] = true
			}
		}
	}
	return out
}

// Mentions are the files that hold a word as a whole, scripts included: where a host is configured by commands nobody can
// tell what the next boot gives.
func (b Boot) Mentions(word string) []string {
	var out []string
	for _, name := range b.disk.names("") {
		if text, ok := b.disk.read(name); ok && holdsWord(text, word) {
			out = append(out, name)
		}
	}
	return out
}

func holdsWord(text, word string) bool {
	inWord := func(c byte) bool {
		return c == '.' || c == ':' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
	}
	for from := 0; ; {
		i := strings.Index(text[from:], word)
		if i < 0 {
			return false
		}
		i += from
		end := i + len(word)
		if (i == 0 || !inWord(text[i-1])) && (end == len(text) || !inWord(text[end]) || text[end] == '.' || text[end] == ':') {
			return true
		}
		from = i + 1
	}
}

// system is one way to configure the network of a host.
type system interface {
	name() string
	// gives is what its files give at boot.
	gives(d *disk) Boot
	// owns says that its files are about the device.
	owns(d *disk, device string) bool
	// The others make the files give something, or no longer; an error says why the operator has to.
	setAddress(d *disk, a Address, want bool) error
	setRoute(d *disk, r fixes.AddRoute, want bool) error
	setRule(d *disk, r fixes.AddRule, device string, want bool) error
}

// systems in the order in which they are asked whether a device is theirs: netplan writes the files of two others.
var systems = []system{netplan{}, ifupdown{}, keyfile{}, networkd{}, ifcfg{}}

// systemOf is the system that configures a device, nil when none is known.
func (d *disk) systemOf(device string) system {
	for _, sys := range systems {
		if sys.owns(d, device) {
			return sys
		}
	}
	if device != "lo" {
		return nil
	}
	// Nothing is said of lo on most hosts: then it is for whoever configures the rest.
	switch {
	case len(d.in("/etc/netplan", ".yaml")) > 0:
		return netplan{}
	case d.runs("NetworkManager"):
		return keyfile{}
	case d.runs("systemd-networkd"):
		return networkd{}
	case d.has("/etc/network/interfaces"):
		return ifupdown{}
	case len(d.names(ifcfgDir+"/ifcfg-")) > 0:
		return ifcfg{}
	}
	return nil
}

func (d *disk) runs(owner string) bool {
	return slices.ContainsFunc(d.s.Owners, func(o lvs.Owner) bool { return o.Name == owner && strings.HasPrefix(o.Evidence, "process") })
}

// link returns what is known of a device.
func (d *disk) link(device string) lvs.Link {
	l, ok := d.s.Link(device)
	if !ok {
		l = lvs.Link{Name: device, Type: "ether"}
		if device == "lo" {
			l.Type = "loopback"
		}
	}
	return l
}
