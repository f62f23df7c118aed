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

// The save files of ipvsadm's service, and what turns it on.
const (
	debianRules   = "/etc/ipvsadm.rules"
	debianDefault = "/etc/default/ipvsadm"
	redHatRules   = "/etc/sysconfig/ipvsadm"
	redHatConfig  = "/etc/sysconfig/ipvsadm-config"
)

// Table is what ipvsadm's service restores at boot.
type Table struct {
	File string
	// On says that the service is turned on: else nothing is restored.
	On       bool
	Services []lvs.Service
	// SavedAtStop says that the service itself saves the running table when the host goes down, as Red Hat's does.
	SavedAtStop bool
	// Odd are lines that were not understood.
	Odd []int
}

// Service is the one of that name.
func (t *Table) Service(name fixes.VirtualService) (lvs.Service, bool) {
	i := slices.IndexFunc(t.Services, func(v lvs.Service) bool { return fixes.NameOf(v) == name })
	if i < 0 {
		return lvs.Service{}, false
	}
	return t.Services[i], true
}

// tableFile is where this host keeps the table, "" when it has no service of ipvsadm.
func (d *disk) tableFile() string {
	switch {
	case d.has(debianDefault) || d.has(debianRules):
		return debianRules
	case d.has(redHatConfig) || d.has(redHatRules):
		return redHatRules
	}
	return ""
}

func (d *disk) savedTable() *Table {
	name := d.tableFile()
	if name == "" {
		return nil
	}
	text, _ := d.read(name)
	t := &Table{File: name}
	t.Services, t.Odd = parseTable(text)
	if name == debianRules {
		text, _ := d.read(debianDefault)
		t.On = varOf(parseShellVars(text), "AUTO") == "true"
		return t
	}
	t.On = slices.ContainsFunc(d.names("/etc/"), func(n string) bool {
		return strings.HasSuffix(n, ".target.wants/ipvsadm.service") || strings.HasPrefix(n, "/etc/rc") && strings.HasSuffix(path.Base(n), "ipvsadm")
	})
	text, _ = d.read(redHatConfig)
	t.SavedAtStop = t.On && varOf(parseShellVars(text), "IPVS_SAVE_ON_STOP") != "no"
	return t
}

// parseTable reads what ipvsadm-save writes and ipvsadm-restore reads: one command per line.
func parseTable(text string) (services []lvs.Service, odd []int) {
	known := map[fixes.VirtualService]int{} // there may be thousands
	for i, line := range lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		c, ok := parseIPVSLine(words)
		if !ok {
			odd = append(odd, i)
			continue
		}
		at, there := known[fixes.NameOf(c.service)]
		switch {
		case c.add && !there:
			known[fixes.NameOf(c.service)] = len(services)
			services = append(services, c.service)
		case c.add: // ipvsadm refuses it: the first stays
		case !there:
			odd = append(odd, i)
		default:
			services[at].Destinations = append(services[at].Destinations, c.destination)
		}
	}
	return services, odd
}

// ipvsLine is one -A or -a.
type ipvsLine struct {
	add         bool // -A
	service     lvs.Service
	destination lvs.Destination
}

func parseIPVSLine(words []string) (ipvsLine, bool) {
	c := ipvsLine{service: lvs.Service{Scheduler: "wlc"}, destination: lvs.Destination{Forward: lvs.Gate, Weight: 1}}
	known := false
	var rip string
	for i := 0; i < len(words); i++ {
		word, arg := words[i], ""
		if i+1 < len(words) {
			arg = words[i+1]
		}
		takes := true // the word has an argument
		switch word {
		case "-A", "--add-service":
			c.add, takes = true, false
		case "-a", "--add-server":
			takes = false
		case "-t", "--tcp-service", "-u", "--udp-service", "--sctp-service":
			c.service.Protocol = map[string]lvs.Protocol{"-t": lvs.TCP, "-u": lvs.UDP, "--tcp-service": lvs.TCP, "--udp-service": lvs.UDP, "--sctp-service": lvs.SCTP}[word]
			at, ok := parseVirtual(arg)
			if !ok {
				return c, false
			}
			c.service.Address, c.service.Port, known = at.Addr(), at.Port(), true
		case "-f", "--fwmark-service":
			mark, err := strconv.ParseUint(arg, 0, 32)
			if err != nil || mark == 0 {
				return c, false
			}
			c.service.FWMark, known = uint32(mark), true
		case "-6", "--ipv6":
			c.service.IPv6, takes = true, false
		case "-s", "--scheduler":
			c.service.Scheduler = arg
		case "-p", "--persistent":
			c.service.Persistent, c.service.Timeout = true, 360 // ipvsadm.c's default
			if n, err := strconv.ParseUint(arg, 10, 32); err == nil {
				c.service.Timeout = uint32(n)
			} else {
				takes = false
			}
		case "-M", "--netmask":
			c.service.Netmask = arg
		case "-o", "--ops":
			c.service.OnePacket, takes = true, false
		case "-b", "--sched-flags":
			c.service.Flags |= schedFlags(arg)
		case "-r", "--real-server":
			rip = arg
		case "-g", "--gatewaying":
			c.destination.Forward, takes = lvs.Gate, false
		case "-i", "--ipip":
			c.destination.Forward, takes = lvs.IPIP, false
		case "-m", "--masquerading":
			c.destination.Forward, takes = lvs.Masq, false
		case "-w", "--weight":
			c.destination.Weight, _ = strconv.Atoi(arg)
		case "-x", "--u-threshold":
			n, _ := strconv.ParseUint(arg, 10, 32)
			c.destination.UpperThreshold = uint32(n)
		case "-y", "--l-threshold":
			n, _ := strconv.ParseUint(arg, 10, 32)
			c.destination.LowerThreshold = uint32(n)
		case "-n", "--numeric":
			takes = false
		default:
			return c, false
		}
		if takes {
			i++
		}
	}
	if c.add == (rip != "") || !known {
		return c, false
	}
	if c.add {
		return c, true
	}
	at, ok := parseVirtual(rip)
	c.destination.Address, c.destination.Port = at.Addr(), at.Port()
	if at.Port() == 0 || c.destination.Forward != lvs.Masq {
		c.destination.Port = c.service.Port // ipvsadm forces it
	}
	return c, ok
}

// parseVirtual reads "172.16.0.8:80", "[2001:db8::8]:80" or an address alone.
func parseVirtual(text string) (netip.AddrPort, bool) {
	if at, err := netip.ParseAddrPort(text); err == nil {
		return at, !at.Addr().Is4In6()
	}
	ip, err := netip.ParseAddr(strings.Trim(text, "[]"))
	return netip.AddrPortFrom(ip, 0), err == nil && !ip.Is4In6()
}

func schedFlags(text string) uint32 {
	var out uint32
	for _, f := range strings.Split(text, ",") {
		switch f {
		case "flag-1", "sh-fallback", "mh-fallback":
			out |= 0x8
		case "flag-2", "sh-port", "mh-port":
			out |= 0x10
		case "flag-3":
			out |= 0x20
		}
	}
	return out
}

// SameService compares what a save file can hold of two services, destinations in any order; a weight of 0 is told apart only
// when strict.
func SameService(a, b lvs.Service, weights bool) bool {
	mask := func(v lvs.Service) string {
		if v.Netmask == "255.255.255.255" || v.Netmask == "128" {
			return ""
		}
		return v.Netmask
	}
	const kept = 0x8 | 0x10 | 0x20
	if a.Scheduler != b.Scheduler || a.Persistent != b.Persistent || a.Persistent && a.Timeout != b.Timeout || mask(a) != mask(b) ||
		a.OnePacket != b.OnePacket || a.Flags&kept != b.Flags&kept || len(a.Destinations) != len(b.Destinations) {
		return false
	}
	for _, d := range a.Destinations {
		i := slices.IndexFunc(b.Destinations, func(o lvs.Destination) bool { return o.Address == d.Address && o.Port == d.Port })
		if i < 0 || !sameForward(d.Forward, b.Destinations[i].Forward) || weights && d.Weight != b.Destinations[i].Weight {
			return false
		}
	}
	return true
}

// sameForward: a destination on this host itself is shown as local whatever was asked for.
func sameForward(a, b lvs.Forward) bool { return a == b || a == lvs.Local || b == lvs.Local }

// saved are the lines of a service as ipvsadm-save -n writes them; thresholds, which it forgets, are added.
func saved(v lvs.Service) []string {
	add, dest := fixes.SaveLines(v)
	return append([]string{add}, dest...)
}

// setService makes the save file hold a service as v, or not at all.
func (d *disk) setService(name fixes.VirtualService, v *lvs.Service) error {
	file := d.tableFile()
	if file == "" {
		return fmt.Errorf("this host has no service that restores the ip_vs table at boot: install ipvsadm's (Debian: %s, Red Hat: %s), or keepalived", debianRules, redHatRules)
	}
	text, there := d.read(file)
	services, odd := parseTable(text)
	if len(odd) > 0 {
		return fmt.Errorf("%s line %d is no line of ipvsadm-save: set right, then ipvsadm-save -n > %s", file, odd[0]+1, file)
	}
	if !there && v != nil { // the first time: the whole table
		for _, have := range d.s.IPVS.Services {
			if fixes.NameOf(have) != name {
				services = append(services, have)
				text = withLines(text, saved(have))
			}
		}
	}
	at := slices.IndexFunc(services, func(o lvs.Service) bool { return fixes.NameOf(o) == name })
	why := fmt.Sprintf("the next boot restores %s", name)
	switch {
	case v == nil && at < 0, v != nil && at >= 0 && SameService(services[at], *v, true):
		return d.turnOn(file, v)
	case v == nil:
		why = fmt.Sprintf("the next boot no longer restores %s", name)
		text = withoutService(text, name)
	case at < 0:
		text = withLines(text, saved(*v))
	default:
		text = replaceService(text, name, *v)
	}
	if text == "" {
		text = "\n" // an empty table is not the same as no file: the service fails without one
	}
	if err := d.write(file, text, 0o644, why); err != nil {
		return err
	}
	return d.turnOn(file, v)
}

func withLines(text string, add []string) string {
	for _, l := range add {
		text = withLine(text, l)
	}
	return text
}

// ofService tells whether a line is about a service.
func ofService(line string, name fixes.VirtualService) bool {
	c, ok := parseIPVSLine(strings.Fields(line))
	return ok && fixes.NameOf(c.service) == name
}

func withoutService(text string, name fixes.VirtualService) string {
	return strings.Join(slices.DeleteFunc(strings.SplitAfter(text, "\n"), func(l string) bool { return ofService(l, name) }), "")
}

// replaceService keeps the lines that are right already where they are.
func replaceService(text string, name fixes.VirtualService, v lvs.Service) string {
	want := saved(v)
	var out []string
	last := -1
	for _, l := range strings.SplitAfter(text, "\n") {
		if !ofService(l, name) {
			out = append(out, l)
			continue
		}
		i := slices.IndexFunc(want, func(w string) bool { return sameLine(w, l) })
		if i < 0 {
			continue
		}
		// The same object: as it is, or as it should be.
		out = append(out, want[i]+"\n")
		want = slices.Delete(want, i, i+1)
		last = len(out)
	}
	if last < 0 {
		last = len(out)
	}
	for i := range want {
		want[i] += "\n"
	}
	return strings.Join(slices.Insert(out, last, want...), "")
}

// sameLine says that two lines are about the same service or the same destination of it.
func sameLine(a, b string) bool {
	x, ok1 := parseIPVSLine(strings.Fields(a))
	y, ok2 := parseIPVSLine(strings.Fields(b))
	return ok1 && ok2 && x.add == y.add && x.destination.Address == y.destination.Address && x.destination.Port == y.destination.Port
}

// turnOn has the service restore the file at boot.
func (d *disk) turnOn(file string, v *lvs.Service) error {
	if v == nil || d.savedTable() != nil && d.savedTable().On {
		return nil
	}
	if file != debianRules {
		return fmt.Errorf("nothing restores %s at boot: systemctl enable ipvsadm", file)
	}
	const why = "ipvsadm's service restores the table at boot"
	text, ok := d.read(debianDefault)
	if !ok {
		return d.write(debianDefault, ownHeader+"AUTO=\"true\"\nDAEMON=\"none\"\nIFACE=\"eth0\"\nSYNCID=\"1\"\n", 0o644, why)
	}
	for _, s := range slices.Backward(parseShellVars(text)) {
		if s.key == "AUTO" {
			all := strings.SplitAfter(text, "\n")
			all[s.line] = "AUTO=\"true\"\n"
			return d.write(debianDefault, strings.Join(all, ""), 0o644, why)
		}
	}
	return d.write(debianDefault, withLine(text, `AUTO="true"`), 0o644, why)
}
