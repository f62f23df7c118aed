package nextboot

import (
	"crypto/sha1"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"lvstui/fixes"
	"lvstui/lvs"
)

// keyfile is NetworkManager's own format: nm-settings-keyfile(5).
type keyfile struct{}

const (
	keyfileDir = "/etc/NetworkManager/system-connections"
	ownLo      = keyfileDir + "/lvstui-lo.nmconnection"
)

func (keyfile) name() string { return "NetworkManager" }

// fileOf is the connection of a device that comes up by itself; sure is false when another one may as well.
func (keyfile) fileOf(d *disk, device string) (name string, sure bool) {
	link := d.link(device)
	var certain, possible []string
	for _, folder := range []string{keyfileDir, "/usr/lib/NetworkManager/system-connections"} {
		for _, file := range d.in(folder, "") {
			text, _ := d.read(file)
			all := parseINI(text)
			if value(all, "connection", "autoconnect") == "false" {
				continue
			}
			bound := value(all, "connection", "interface-name")
			mac := strings.ToLower(value(all, "ethernet", "mac-address") + value(all, "802-3-ethernet", "mac-address"))
			switch {
			case bound == device, bound == "" && mac != "" && mac == link.MAC && link.Kind == "":
				certain = append(certain, file)
			case bound == "" && mac == "" && value(all, "connection", "type") == "ethernet" && link.Type == "ether" && link.Kind == "":
				possible = append(possible, file)
			}
		}
	}
	switch {
	case len(certain) > 0:
		return certain[0], len(certain) == 1
	case len(possible) > 0:
		return possible[0], false
	}
	return "", true
}

func (k keyfile) owns(d *disk, device string) bool {
	name, _ := k.fileOf(d, device)
	return name != ""
}

func (k keyfile) gives(d *disk) Boot {
	var b Boot
	for _, device := range d.devices() {
		name, _ := k.fileOf(d, device)
		text, _ := d.read(name)
		all := parseINI(text)
		for _, e := range all {
			at := Place{"NetworkManager", name, e.line + 1}
			first, rest, _ := strings.Cut(e.value, ",")
			switch kind, nth := numbered(e.key); {
			case e.section != "ipv4" && e.section != "ipv6" || !usable(all, e.section):
			case kind == "address":
				p, ok := parsePrefix(first)
				if ok {
					b.Addresses = append(b.Addresses, Address{Place: at, Device: device, Prefix: p})
				}
				if gw, err := netip.ParseAddr(rest); err == nil && gw.Is4() {
					b.Routes = append(b.Routes, Route{at, fixes.AddRoute{Table: lvs.TableMain, Dst: defaultRoute, Gateway: gw, Device: device}})
				}
			case kind == "route" && e.section == "ipv4":
				if r, ok := keyfileRoute(e.value, value(all, "ipv4", "route"+nth+"_options")); ok {
					r.Device = device
					b.Routes = append(b.Routes, Route{at, r})
				}
			case kind == "gateway" && e.section == "ipv4":
				if gw, err := netip.ParseAddr(e.value); err == nil {
					b.Routes = append(b.Routes, Route{at, fixes.AddRoute{Table: lvs.TableMain, Dst: defaultRoute, Gateway: gw, Device: device}})
				}
			case kind == "routing-rule" && e.section == "ipv4":
				if r, ok := parseRuleWords(strings.Fields(e.value)); ok {
					b.Rules = append(b.Rules, Rule{at, r})
				}
			}
		}
	}
	return b
}

// numbered splits "address12" into "address" and "12".
func numbered(key string) (string, string) {
	kind := strings.TrimRight(key, "0123456789")
	return kind, key[len(kind):]
}

// usable says that the addresses of a section count.
func usable(all []entry, section string) bool {
	method := value(all, section, "method")
	return method != "disabled" && method != "ignore" && method != "link-local"
}

// keyfileRoute reads "dst/len,gateway,metric" and its options "table=100,src=10.0.0.1,onlink=true".
func keyfileRoute(text, options string) (fixes.AddRoute, bool) {
	parts := strings.Split(text, ",")
	dst, ok := parsePrefix(parts[0])
	r := fixes.AddRoute{Table: lvs.TableMain, Dst: dst.Masked()}
	if !ok || !dst.Addr().Is4() {
		return r, false
	}
	if len(parts) > 1 {
		if gw, err := netip.ParseAddr(parts[1]); err == nil && !gw.IsUnspecified() {
			r.Gateway = gw
		}
	}
	if len(parts) > 2 {
		r.Metric, _ = strconv.Atoi(parts[2])
	}
	for _, o := range strings.Split(options, ",") {
		key, value, _ := strings.Cut(o, "=")
		switch key {
		case "table":
			r.Table = tableNumber(value)
		case "src":
			r.Source, _ = netip.ParseAddr(value)
		case "onlink":
			r.OnLink = isTrue(value)
		}
	}
	return r, r.Table != 0
}

// loConnection is a connection for lo, which NetworkManager knows from 1.42 on.
func loConnection() string {
	sum := sha1.Sum([]byte("lvstui lo")) // the same on every run: an UUID of version 5
	sum[6], sum[8] = sum[6]&0x0f|0x50, sum[8]&0x3f|0x80
	uuid := fmt.Sprintf("%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
	return ownHeader + "[connection]\nid=lvstui-lo\nuuid=" + uuid + "\ntype=loopback\ninterface-name=lo\n\n" +
		"[ipv4]\nmethod=manual\naddress1=127.0.0.1/8\n\n[ipv6]\nmethod=manual\naddress1=::1/128\n"
}

func section(ip netip.Addr) string {
	if ip.Is6() {
		return "ipv6"
	}
	return "ipv4"
}

func (k keyfile) setAddress(d *disk, a Address, want bool) error {
	if !want {
		return k.dropAddress(d, a)
	}
	if a.Scope != "" && a.Scope != "global" {
		return fmt.Errorf("NetworkManager knows no scope %s for %s: a script in /etc/NetworkManager/dispatcher.d has to set it", a.Scope, a.Prefix)
	}
	why := fmt.Sprintf("the next boot puts %s on %s", a.Prefix, a.Device)
	if a.Device == "lo" {
		why += " (needs NetworkManager 1.42 or newer: nmcli --version)"
	}
	return k.add(d, a.Device, why, section(a.Prefix.Addr()), "address", a.Prefix.String(), "+"+section(a.Prefix.Addr())+".addresses "+a.Prefix.String())
}

// add puts a numbered setting after the last of its kind.
func (k keyfile) add(d *disk, device, why, section, kind, what, byHand string, options ...string) error {
	name, sure := k.fileOf(d, device)
	if name == "" && device == "lo" {
		name = ownLo
	}
	text, there := d.read(name)
	if name == ownLo && !there {
		text = loConnection()
	}
	all := parseINI(text)
	byHand = "nmcli connection modify NAME-OF-THE-CONNECTION " + byHand
	switch {
	case name == "" || !sure:
		return fmt.Errorf("which connection of NetworkManager brings up %s could not be told (nmcli device says it): %s", device, byHand)
	case !usable(all, section):
		return fmt.Errorf("%s has method=%s in [%s]: %s", name, value(all, section, "method"), section, byHand)
	case d.files[name] != nil && d.files[name].cut:
		return fmt.Errorf("%s holds secrets and is not written by lvstui: %s", name, byHand)
	case strings.HasPrefix(name, "/usr/"):
		return fmt.Errorf("%s is not to be edited: %s", name, byHand)
	}
	last, highest := -1, 0
	for _, e := range all {
		if k, nth := numbered(strings.TrimSuffix(e.key, "_options")); e.section == section && k == kind {
			n, _ := strconv.Atoi(nth)
			last, highest = max(last, e.line), max(highest, n)
		}
	}
	key := kind + strconv.Itoa(highest+1)
	add := []string{key + "=" + what}
	for _, o := range options {
		add = append(add, key+"_options="+o)
	}
	switch {
	case last >= 0:
		text = insertAfter(text, last, add...)
	case len(values(all, section, "method")) > 0:
		text = insertAfter(text, values(all, section, "method")[0].line, add...)
	default:
		for _, a := range add {
			text = withKey(text, section, a)
		}
	}
	return d.write(name, text, 0o600, why)
}

func (k keyfile) dropAddress(d *disk, a Address) error {
	name, _ := k.fileOf(d, a.Device)
	text, _ := d.read(name)
	for _, e := range parseINI(text) {
		kind, _ := numbered(e.key)
		first, rest, _ := strings.Cut(e.value, ",")
		if p, ok := parsePrefix(first); !ok || p != a.Prefix || kind != "address" || !strings.HasPrefix(e.section, "ipv") {
			continue
		}
		if rest != "" {
			return fmt.Errorf("%s line %d has it with a gateway: change it there", name, e.line+1)
		}
		text = without(text, e.line)
		if name == ownLo && len(addressesBesideLo(parseINI(text))) == 0 {
			text = ""
		}
		return d.write(name, text, 0o600, fmt.Sprintf("the next boot no longer puts %s on %s", a.Prefix, a.Device))
	}
	return nil
}

// addressesBesideLo are the addresses in a connection of ours beside those that lo always has.
func addressesBesideLo(all []entry) []entry {
	return slices.DeleteFunc(slices.Clone(all), func(e entry) bool {
		kind, _ := numbered(e.key)
		return kind != "address" || e.value == "127.0.0.1/8" || e.value == "::1/128"
	})
}

func (k keyfile) setRoute(d *disk, r fixes.AddRoute, want bool) error {
	gw := "0.0.0.0"
	if r.Gateway.IsValid() {
		gw = r.Gateway.String()
	}
	what := r.Dst.String() + "," + gw
	if r.Metric != 0 {
		what += "," + strconv.Itoa(r.Metric)
	}
	var options []string
	if r.Table != lvs.TableMain {
		options = append(options, "table="+strconv.Itoa(r.Table))
	}
	if r.Source.IsValid() {
		options = append(options, "src="+r.Source.String())
	}
	if r.OnLink {
		options = append(options, "onlink=true")
	}
	if want {
		var joined []string
		if len(options) > 0 {
			joined = []string{strings.Join(options, ",")}
		}
		return k.add(d, r.Device, "the next boot sets the route "+r.Dst.String(), "ipv4", "route", what, "+ipv4.routes "+what, joined...)
	}
	return k.drop(d, r.Device, "the next boot no longer sets the route "+r.Dst.String(), func(all []entry, e entry, kind, nth string) bool {
		have, ok := keyfileRoute(e.value, value(all, "ipv4", "route"+nth+"_options"))
		have.Device = r.Device
		return kind == "route" && ok && sameRoute(have, r)
	})
}

func (k keyfile) setRule(d *disk, r fixes.AddRule, device string, want bool) error {
	what := fmt.Sprintf("priority %d", r.Priority)
	if r.From.IsValid() {
		what += " from " + r.From.String()
	}
	if r.To.IsValid() {
		what += " to " + r.To.String()
	}
	if r.Iif != "" {
		what += " iif " + r.Iif
	}
	what += fmt.Sprintf(" table %d", r.Table)
	if want {
		return k.add(d, device, "the next boot sets the policy rule with priority "+strconv.Itoa(r.Priority), "ipv4", "routing-rule", what, "+ipv4.routing-rules '"+what+"'")
	}
	return k.drop(d, device, "the next boot no longer sets the policy rule", func(_ []entry, e entry, kind, _ string) bool {
		have, ok := parseRuleWords(strings.Fields(e.value))
		return kind == "routing-rule" && ok && have == r
	})
}

// drop removes a numbered setting of [ipv4] with its options.
func (k keyfile) drop(d *disk, device, why string, is func(all []entry, e entry, kind, nth string) bool) error {
	name, _ := k.fileOf(d, device)
	text, _ := d.read(name)
	all := parseINI(text)
	var gone []int
	for _, e := range all {
		kind, nth := numbered(e.key)
		if e.section != "ipv4" || !is(all, e, kind, nth) {
			continue
		}
		gone = append(gone, e.line)
		for _, o := range values(all, "ipv4", e.key+"_options") {
			gone = append(gone, o.line)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return d.write(name, without(text, gone...), 0o600, why)
}
