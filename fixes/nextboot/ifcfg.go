package nextboot

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"lvstui/fixes"
	"lvstui/lvs"
)

// ifcfg is Red Hat's /etc/sysconfig/network-scripts, which network.service and NetworkManager's ifcfg-rh read.
type ifcfg struct{}

const ifcfgDir = "/etc/sysconfig/network-scripts"

func (ifcfg) name() string { return "ifcfg" }

// shellVar is one assignment of a file that a shell reads.
type shellVar struct {
	key, value string
	line       int
}

func parseShellVars(text string) []shellVar {
	var out []shellVar
	for i, line := range lines(text) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "export ")
		key, value, ok := strings.Cut(line, "=")
		if !ok || key == "" || strings.ContainsAny(key, " \t#") {
			continue
		}
		value, _, _ = strings.Cut(strings.TrimSpace(value), " #")
		value = strings.TrimSpace(value)
		if len(value) > 1 && (value[0] == '"' || value[0] == '\'') && value[len(value)-1] == value[0] {
			value = value[1 : len(value)-1]
		}
		out = append(out, shellVar{key, value, i})
	}
	return out
}

func varOf(all []shellVar, key string) string {
	for _, v := range slices.Backward(all) { // the last one counts, as for a shell
		if v.key == key {
			return v.value
		}
	}
	return ""
}

// ifcfgFiles are the files of a device: ifcfg-eth0 and its aliases ifcfg-eth0:1.
func (d *disk) ifcfgFiles(device string) []string {
	var out []string
	for _, name := range d.in(ifcfgDir, "") {
		base, ok := strings.CutPrefix(path.Base(name), "ifcfg-")
		if !ok || strings.HasSuffix(base, "~") || strings.HasSuffix(base, ".bak") || strings.Contains(base, ".rpm") || strings.HasSuffix(base, ".orig") {
			continue
		}
		text, _ := d.read(name)
		of := varOf(parseShellVars(text), "DEVICE")
		if of == "" {
			of = base
		}
		if of, _, _ = strings.Cut(of, ":"); of == device {
			out = append(out, name)
		}
	}
	return out
}

func (ifcfg) owns(d *disk, device string) bool {
	files := d.ifcfgFiles(device)
	if device == "lo" { // ifcfg-lo is on every Red Hat host, also where NetworkManager configures it
		files = slices.DeleteFunc(files, func(f string) bool { return path.Base(f) == "ifcfg-lo" })
	}
	return len(files) > 0
}

func (ifcfg) gives(d *disk) Boot {
	var b Boot
	for _, device := range d.devices() {
		for _, name := range d.ifcfgFiles(device) {
			text, _ := d.read(name)
			ifcfgGives(&b, name, device, parseShellVars(text))
		}
		for _, kind := range []string{"route-", "rule-"} {
			name := path.Join(ifcfgDir, kind+device)
			text, _ := d.read(name)
			for i, line := range lines(text) {
				words := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "add "))
				if len(words) == 0 || words[0][0] == '#' {
					continue
				}
				at := Place{"ifcfg", name, i + 1}
				if r, ok := parseRouteWords(words); ok && kind == "route-" {
					if r.Device == "" {
						r.Device = device
					}
					b.Routes = append(b.Routes, Route{at, r})
				}
				if r, ok := parseRuleWords(words); ok && kind == "rule-" {
					b.Rules = append(b.Rules, Rule{at, r})
				}
			}
		}
	}
	return b
}

func ifcfgGives(b *Boot, name, device string, all []shellVar) {
	if strings.EqualFold(varOf(all, "ONBOOT"), "no") {
		return
	}
	label := ""
	if of := varOf(all, "DEVICE"); strings.Contains(of, ":") {
		label = of
	}
	for _, v := range all {
		at := Place{"ifcfg", name, v.line + 1}
		nth, isAddress := strings.CutPrefix(v.key, "IPADDR")
		if _, err := strconv.Atoi(nth); isAddress && (nth == "" || err == nil) {
			mask := varOf(all, "PREFIX"+nth)
			if mask == "" {
				mask = varOf(all, "NETMASK"+nth)
			}
			if p, ok := prefixOf(v.value, mask); ok {
				b.Addresses = append(b.Addresses, Address{Place: at, Device: device, Prefix: p, Label: label})
			}
		}
		switch v.key {
		case "GATEWAY":
			if gw, err := netip.ParseAddr(v.value); err == nil {
				b.Routes = append(b.Routes, Route{at, fixes.AddRoute{Table: lvs.TableMain, Dst: defaultRoute, Gateway: gw, Device: device}})
			}
		case "IPV6ADDR", "IPV6ADDR_SECONDARIES":
			for _, text := range strings.Fields(v.value) {
				if p, ok := parsePrefix(text); ok {
					b.Addresses = append(b.Addresses, Address{Place: at, Device: device, Prefix: p})
				}
			}
		}
	}
}

func (i ifcfg) setAddress(d *disk, a Address, want bool) error {
	switch {
	case a.Prefix.Addr().Is6():
		return fmt.Errorf("%s of %s: IPV6ADDR_SECONDARIES in %s/ifcfg-%s", a.Prefix, a.Device, ifcfgDir, a.Device)
	case !want:
		return i.drop(d, a)
	case a.Device == "lo":
		return i.alias(d, a)
	}
	files := d.ifcfgFiles(a.Device)
	if len(files) == 0 {
		return fmt.Errorf("there is no %s/ifcfg-%s", ifcfgDir, a.Device)
	}
	name := files[0]
	text, _ := d.read(name)
	all := parseShellVars(text)
	n := 0
	for ; varOf(all, "IPADDR"+suffix(n)) != ""; n++ {
	}
	if n == 0 && varOf(all, "IPADDR0") != "" {
		n = 1
	}
	text = withLine(withLine(text, fmt.Sprintf("IPADDR%s=%s", suffix(n), a.Prefix.Addr())), fmt.Sprintf("PREFIX%s=%d", suffix(n), a.Prefix.Bits()))
	return d.write(name, text, 0o644, fmt.Sprintf("the next boot puts %s on %s", a.Prefix, a.Device))
}

// suffix is how the nth address is called: IPADDR, IPADDR1, IPADDR2.
func suffix(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// alias makes the next free ifcfg-lo:N, as Red Hat's guide for real servers has it.
func (ifcfg) alias(d *disk, a Address) error {
	n := 0
	for ; d.has(fmt.Sprintf("%s/ifcfg-lo:%d", ifcfgDir, n)); n++ {
	}
	device := fmt.Sprintf("lo:%d", n)
	text := ownHeader + fmt.Sprintf("DEVICE=%s\nIPADDR=%s\nNETMASK=%s\nONBOOT=yes\nNAME=lvstui-%d\n", device, a.Prefix.Addr(), netmask(a.Prefix), n)
	return d.write(path.Join(ifcfgDir, "ifcfg-"+device), text, 0o644, fmt.Sprintf("the next boot puts %s on lo", a.Prefix))
}

func (ifcfg) drop(d *disk, a Address) error {
	why := fmt.Sprintf("the next boot no longer puts %s on %s", a.Prefix, a.Device)
	for _, have := range (ifcfg{}).gives(d).Addresses {
		if have.Device != a.Device || have.Prefix != a.Prefix {
			continue
		}
		text, _ := d.read(have.File)
		all := parseShellVars(text)
		var keys []string
		count := 0
		for _, v := range all {
			if strings.HasPrefix(v.key, "IPADDR") {
				count++
			}
			if v.line == have.Line-1 {
				nth := strings.TrimPrefix(v.key, "IPADDR")
				keys = []string{v.key, "PREFIX" + nth, "NETMASK" + nth}
			}
		}
		switch {
		case count == 1 && strings.Contains(path.Base(have.File), ":"):
			return d.write(have.File, "", 0o644, why)
		case count == 1 || keys[0] == "IPADDR" || keys[0] == "IPADDR0":
			return fmt.Errorf("%s line %d has it as the first address of %s: change it there", have.File, have.Line, a.Device)
		}
		var drop []int
		for _, v := range all {
			if slices.Contains(keys, v.key) {
				drop = append(drop, v.line)
			}
		}
		return d.write(have.File, without(text, drop...), 0o644, why)
	}
	return nil
}

func (i ifcfg) setRoute(d *disk, r fixes.AddRoute, want bool) error {
	return i.line(d, "route-"+r.Device, strings.TrimPrefix(r.Command(), "ip route add "), want, func(line string) bool {
		have, ok := parseRouteWords(strings.Fields(line))
		if have.Device == "" {
			have.Device = r.Device
		}
		return ok && sameRoute(have, r)
	})
}

func (i ifcfg) setRule(d *disk, r fixes.AddRule, device string, want bool) error {
	return i.line(d, "rule-"+device, strings.TrimPrefix(r.Command(), "ip rule add "), want, func(line string) bool {
		have, ok := parseRuleWords(strings.Fields(line))
		return ok && have == r
	})
}

func (ifcfg) line(d *disk, base, words string, want bool, is func(string) bool) error {
	name := path.Join(ifcfgDir, base)
	text, _ := d.read(name)
	if want {
		return d.write(name, withLine(text, words), 0o644, "the next boot sets "+words)
	}
	var drop []int
	for i, line := range lines(text) {
		if is(line) {
			drop = append(drop, i)
		}
	}
	if len(drop) == 0 {
		return nil
	}
	return d.write(name, without(text, drop...), 0o644, "the next boot no longer sets "+words)
}
