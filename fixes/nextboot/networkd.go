package nextboot

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"lvstui/fixes"
	"lvstui/lvs"
)

// networkd is systemd-networkd: systemd.network(5).
type networkd struct{}

var networkdFolders = []string{"/etc/systemd/network", "/run/systemd/network", "/usr/local/lib/systemd/network", "/usr/lib/systemd/network"}

const (
	ownDropIn    = "60-lvstui.conf"
	ownLoNetwork = "/etc/systemd/network/60-lvstui-lo.network"
	ownHeader    = "# Written by lvstui for LVS direct routing.\n"
	// loNetwork keeps the addresses that somebody else puts on lo while networkd runs: it would take them away.
	loNetwork = ownHeader + "[Match]\nName=lo\n\n[Network]\nLinkLocalAddressing=no\nKeepConfiguration=static\n"
)

func (networkd) name() string { return "systemd-networkd" }

// tri is what a condition of [Match] says of a link.
type tri int

const (
	no tri = iota
	perhaps
	yes
)

// matches evaluates a [Match] section. What needs more than a Snapshot knows is perhaps.
func matches(all []entry, l lvs.Link) tri {
	out, any := yes, false
	for _, e := range all {
		if e.section != "Match" || e.value == "" {
			continue
		}
		any = true
		got := perhaps
		switch e.key {
		case "Name":
			got = matchWords(e.value, l.Name)
		case "MACAddress", "PermanentMACAddress":
			got = no
			for _, mac := range strings.Fields(e.value) {
				mac = strings.ReplaceAll(strings.ToLower(mac), "-", ":")
				if mac == l.MAC && e.key == "MACAddress" || mac == l.PermMAC || mac == l.MAC && l.PermMAC == "" {
					got = yes
				}
			}
		case "Type":
			got = matchWords(e.value, linkType(l))
		case "Kind":
			got = matchWords(e.value, l.Kind)
		}
		out = min(out, got)
	}
	if !any {
		return perhaps
	}
	return out
}

func linkType(l lvs.Link) string {
	if l.Kind != "" && l.Type == "ether" && slices.Contains([]string{"bond", "bridge", "vlan", "dummy"}, l.Kind) {
		return l.Kind
	}
	return l.Type
}

// matchWords is a list of patterns; with a leading ! it is inverted.
func matchWords(list, name string) tri {
	list, inverted := strings.CutPrefix(list, "!")
	hit := slices.ContainsFunc(strings.Fields(list), func(p string) bool {
		ok, err := path.Match(p, name)
		return err == nil && ok
	})
	if hit != inverted {
		return yes
	}
	return no
}

// fileOf is the .network file of a device: the first that matches. sure is false when one before it might.
func (networkd) fileOf(d *disk, device string) (name string, sure bool) {
	sure = true
	for _, name := range d.layered(".network", networkdFolders...) {
		switch matches(d.networkEntries(name), d.link(device)) {
		case yes:
			return name, sure
		case perhaps:
			sure = false
		}
	}
	return "", sure
}

// networkEntries are those of a .network file and its drop-ins; line numbers are those of their files.
func (d *disk) networkEntries(name string) []entry {
	text, _ := d.read(name)
	out := parseINI(text)
	for _, dropIn := range d.dropIns(name) {
		text, _ := d.read(dropIn)
		out = append(out, parseINI(text)...)
	}
	return out
}

func (d *disk) dropIns(name string) []string {
	var folders []string
	for _, f := range networkdFolders {
		folders = append(folders, path.Join(f, path.Base(name)+".d"))
	}
	return d.layered(".conf", folders...)
}

func (n networkd) owns(d *disk, device string) bool {
	name, _ := n.fileOf(d, device)
	return name != ""
}

func (n networkd) gives(d *disk) Boot {
	var b Boot
	for _, device := range d.devices() {
		name, _ := n.fileOf(d, device)
		if name == "" {
			continue
		}
		for _, file := range append([]string{name}, d.dropIns(name)...) {
			text, _ := d.read(file)
			networkGives(&b, file, device, text)
		}
	}
	return b
}

func networkGives(b *Boot, file, device, text string) {
	all := parseINI(text)
	place := func(e entry) Place { return Place{"systemd-networkd", file, e.line + 1} }
	for _, e := range all {
		in := func(key string) string {
			for _, o := range all {
				if o.nth == e.nth && o.key == key {
					return o.value
				}
			}
			return ""
		}
		switch e.section + "." + e.key {
		case "Network.Address", "Address.Address":
			if p, ok := parsePrefix(e.value); ok {
				a := Address{Place: place(e), Device: device, Prefix: p}
				if e.section == "Address" {
					a.Scope, a.Label = in("Scope"), in("Label")
				}
				b.Addresses = append(b.Addresses, a)
			}
		case "Network.Gateway":
			if gw, err := netip.ParseAddr(e.value); err == nil && gw.Is4() {
				b.Routes = append(b.Routes, Route{place(e), fixes.AddRoute{Table: lvs.TableMain, Dst: defaultRoute, Gateway: gw, Device: device}})
			}
		case "Route.Destination", "Route.Gateway":
			if e.key == "Gateway" && in("Destination") != "" {
				continue // told with its destination
			}
			r := fixes.AddRoute{Table: lvs.TableMain, Dst: defaultRoute, Device: device}
			if e.key == "Destination" {
				p, ok := parsePrefix(e.value)
				if !ok {
					continue
				}
				r.Dst = p.Masked()
			}
			r.Gateway, _ = netip.ParseAddr(in("Gateway"))
			r.Source, _ = netip.ParseAddr(in("PreferredSource"))
			r.Metric, _ = strconv.Atoi(in("Metric"))
			r.OnLink = isTrue(in("GatewayOnLink"))
			if table := in("Table"); table != "" {
				r.Table = tableNumber(table)
			}
			if r.Dst.Addr().Is4() && r.Table != 0 {
				b.Routes = append(b.Routes, Route{place(e), r})
			}
		case "RoutingPolicyRule.Table":
			r := fixes.AddRule{Table: tableNumber(e.value), Iif: in("IncomingInterface")}
			r.Priority, _ = strconv.Atoi(in("Priority"))
			r.From, _ = parsePrefix(in("From"))
			r.To, _ = parsePrefix(in("To"))
			b.Rules = append(b.Rules, Rule{place(e), r})
		}
	}
}

func isTrue(v string) bool {
	return slices.Contains([]string{"yes", "true", "1", "on"}, strings.ToLower(v))
}

func (n networkd) setAddress(d *disk, a Address, want bool) error {
	why := fmt.Sprintf("the next boot puts %s on %s", a.Prefix, a.Device)
	if !want {
		return n.dropAddress(d, a)
	}
	if a.Scope == "" && a.Label == "" {
		return n.add(d, a.Device, why, "Network", "Address="+a.Prefix.String())
	}
	settings := []string{"Address=" + a.Prefix.String()}
	if a.Scope != "" {
		settings = append(settings, "Scope="+a.Scope)
	}
	if a.Label != "" {
		settings = append(settings, "Label="+a.Label)
	}
	return n.add(d, a.Device, why, "Address", settings...)
}

// add writes settings into the drop-in of ours for a device.
func (n networkd) add(d *disk, device, why, section string, settings ...string) error {
	name, sure := n.fileOf(d, device)
	switch {
	case !sure:
		return fmt.Errorf("which file of systemd-networkd is for %s could not be told (networkctl status %s says it): add there [%s] %s",
			device, device, section, strings.Join(settings, " "))
	case name == "" && device != "lo":
		return fmt.Errorf("no file in /etc/systemd/network is for %s: add one with [%s] %s", device, section, strings.Join(settings, " "))
	case name == "" || name == ownLoNetwork:
		text, ok := d.read(ownLoNetwork)
		if !ok {
			text = loNetwork
		}
		return d.write(ownLoNetwork, withSettings(text, section, settings), 0o644, why)
	}
	dropIn := path.Join("/etc/systemd/network", path.Base(name)+".d", ownDropIn)
	text, ok := d.read(dropIn)
	if !ok {
		text = ownHeader
	}
	return d.write(dropIn, withSettings(text, section, settings), 0o644, why)
}

// withSettings adds to [Network], which is one section however often it is opened, or a section of its own.
func withSettings(text, section string, settings []string) string {
	if section == "Network" {
		for _, s := range settings {
			text = withKey(text, section, s)
		}
		return text
	}
	return withSection(text, section, settings...)
}

func (n networkd) dropAddress(d *disk, a Address) error {
	why := fmt.Sprintf("the next boot no longer puts %s on %s", a.Prefix, a.Device)
	return n.drop(d, a.Device, why, func(all []entry, e entry) (whole, hit bool) {
		p, ok := parsePrefix(e.value)
		return e.section == "Address", ok && p == a.Prefix && e.key == "Address" && (e.section == "Network" || e.section == "Address")
	})
}

// drop removes what hit names from all files of a device: the line, or the whole section.
func (n networkd) drop(d *disk, device, why string, hit func(all []entry, e entry) (whole, hit bool)) error {
	name, _ := n.fileOf(d, device)
	if name == "" {
		return nil
	}
	for _, file := range append([]string{name}, d.dropIns(name)...) {
		text, _ := d.read(file)
		changed := false
		for again := true; again; {
			again = false
			all := parseINI(text)
			for _, e := range all {
				whole, ok := hit(all, e)
				if !ok {
					continue
				}
				if whole {
					text = withoutSection(text, e.nth)
				} else {
					text = without(text, span(e.line, e.last)...)
				}
				changed, again = true, true
				break
			}
		}
		if !changed {
			continue
		}
		if !strings.HasPrefix(file, "/etc/") {
			return fmt.Errorf("%s has it, which is not to be edited: systemctl edit, or a copy of it in /etc/systemd/network", file)
		}
		if own(file) && nothingLeft(text) {
			text = ""
		}
		if err := d.write(file, text, 0o644, why); err != nil {
			return err
		}
	}
	return nil
}

func span(from, to int) []int {
	var out []int
	for i := from; i <= to; i++ {
		out = append(out, i)
	}
	return out
}

// own says that a file is one that lvstui made.
func own(file string) bool { return strings.Contains(path.Base(file), "lvstui") }

// nothingLeft says that a file of ours gives nothing any more.
func nothingLeft(text string) bool {
	return !slices.ContainsFunc(parseINI(text), func(e entry) bool {
		return e.section != "Match" && e.key != "LinkLocalAddressing" && e.key != "KeepConfiguration"
	})
}

func (n networkd) setRoute(d *disk, r fixes.AddRoute, want bool) error {
	if !want {
		return n.drop(d, r.Device, "the next boot no longer sets the route "+r.Dst.String(), func(all []entry, e entry) (bool, bool) {
			var b Boot
			networkGives(&b, "", r.Device, sectionOnly(all, e.nth))
			return true, e.section == "Route" && len(b.Routes) == 1 && sameRoute(b.Routes[0].AddRoute, r)
		})
	}
	settings := []string{"Destination=" + r.Dst.String()}
	if r.Gateway.IsValid() {
		settings = append(settings, "Gateway="+r.Gateway.String())
	} else {
		settings = append(settings, "Scope=link")
	}
	if r.OnLink {
		settings = append(settings, "GatewayOnLink=yes")
	}
	if r.Source.IsValid() {
		settings = append(settings, "PreferredSource="+r.Source.String())
	}
	if r.Metric != 0 {
		settings = append(settings, "Metric="+strconv.Itoa(r.Metric))
	}
	if r.Table != lvs.TableMain {
		settings = append(settings, "Table="+strconv.Itoa(r.Table))
	}
	return n.add(d, r.Device, "the next boot sets the route "+r.Dst.String(), "Route", settings...)
}

// sectionOnly is the text of one section, for reading it alone.
func sectionOnly(all []entry, nth int) string {
	text := ""
	for _, e := range all {
		if e.nth == nth {
			if text == "" {
				text = "[" + e.section + "]\n"
			}
			text += e.key + "=" + e.value + "\n"
		}
	}
	return text
}

func (n networkd) setRule(d *disk, r fixes.AddRule, device string, want bool) error {
	if device == "" {
		return errors.New("no device is known to which the policy rule belongs")
	}
	if !want {
		return n.drop(d, device, "the next boot no longer sets the policy rule", func(all []entry, e entry) (bool, bool) {
			var b Boot
			networkGives(&b, "", device, sectionOnly(all, e.nth))
			return true, e.section == "RoutingPolicyRule" && len(b.Rules) == 1 && b.Rules[0].AddRule == r
		})
	}
	var settings []string
	if r.From.IsValid() {
		settings = append(settings, "From="+r.From.String())
	}
	if r.To.IsValid() {
		settings = append(settings, "To="+r.To.String())
	}
	if r.Iif != "" {
		settings = append(settings, "IncomingInterface="+r.Iif)
	}
	settings = append(settings, "Table="+strconv.Itoa(r.Table), "Priority="+strconv.Itoa(r.Priority))
	return n.add(d, device, "the next boot sets the policy rule with priority "+strconv.Itoa(r.Priority), "RoutingPolicyRule", settings...)
}
