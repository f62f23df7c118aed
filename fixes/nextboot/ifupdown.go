package nextboot

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"

	"lvstui/fixes"
)

// ifupdown is Debian's /etc/network/interfaces: interfaces(5).
type ifupdown struct{}

const interfacesFile = "/etc/network/interfaces"

func (ifupdown) name() string { return "ifupdown" }

// stanza is an iface stanza.
type stanza struct {
	file         string
	iface        string // "eth0", "lo:0"
	family       string // "inet", "inet6"
	method       string
	options      []option
	line, toLine int // from 0: the head, and the last line of its options
}

type option struct {
	key, value string
	line       int
}

func (s stanza) device() string {
	device, _, _ := strings.Cut(s.iface, ":")
	return device
}

func (s stanza) value(key string) string {
	for _, o := range s.options {
		if o.key == key {
			return o.value
		}
	}
	return ""
}

// interfaces is what the files say together.
type interfaces struct {
	stanzas []stanza
	auto    []string
	// sources are the patterns of files that are read too; folders those of source-directory.
	sources, folders []string
}

func (d *disk) interfaces() interfaces {
	var out interfaces
	d.parseInterfaces(interfacesFile, &out, map[string]bool{})
	return out
}

func (d *disk) parseInterfaces(name string, out *interfaces, seen map[string]bool) {
	text, ok := d.read(name)
	if !ok || seen[name] {
		return
	}
	seen[name] = true
	current := -1
	all := lines(text)
	for i := 0; i < len(all); i++ {
		first := i
		line := strings.TrimSpace(all[i])
		for strings.HasSuffix(line, `\`) && i+1 < len(all) {
			i++
			line = strings.TrimSpace(strings.TrimSuffix(line, `\`)) + " " + strings.TrimSpace(all[i])
		}
		if line == "" || line[0] == '#' {
			continue
		}
		words := strings.Fields(line)
		switch head := words[0]; {
		case head == "iface" && len(words) >= 2:
			st := stanza{file: name, iface: words[1], line: first, toLine: i}
			if len(words) >= 4 {
				st.family, st.method = words[2], words[3]
			}
			out.stanzas = append(out.stanzas, st)
			current = len(out.stanzas) - 1
		case head == "auto" || strings.HasPrefix(head, "allow-"):
			out.auto, current = append(out.auto, words[1:]...), -1
		case head == "source" || head == "source-directory":
			current = -1
			for _, pattern := range words[1:] {
				if !path.IsAbs(pattern) {
					pattern = path.Join(path.Dir(name), pattern)
				}
				d.parseSourced(head, path.Clean(pattern), out, seen)
			}
		case head == "mapping" || strings.HasPrefix(head, "no-auto-down") || strings.HasPrefix(head, "no-scripts") || head == "rename" || head == "template":
			current = -1
		case current >= 0:
			key, value, _ := strings.Cut(line, words[0]+" ")
			_ = key
			out.stanzas[current].options = append(out.stanzas[current].options, option{words[0], strings.TrimSpace(value), first})
			out.stanzas[current].toLine = i
		}
	}
}

func (d *disk) parseSourced(head, pattern string, out *interfaces, seen map[string]bool) {
	if head == "source-directory" {
		out.folders = append(out.folders, pattern)
		pattern = path.Join(pattern, "*")
	} else {
		out.sources = append(out.sources, pattern)
	}
	for _, file := range d.names("") {
		if ok, err := path.Match(pattern, file); err == nil && ok {
			d.parseInterfaces(file, out, seen)
		}
	}
}

func (ifupdown) owns(d *disk, device string) bool {
	return slices.ContainsFunc(d.interfaces().stanzas, func(s stanza) bool { return s.device() == device })
}

func (ifupdown) gives(d *disk) Boot {
	var b Boot
	all := d.interfaces()
	for _, s := range all.stanzas {
		if !slices.Contains(all.auto, s.iface) && s.iface != "lo" {
			continue // not brought up at boot
		}
		place := func(line int) Place { return Place{"ifupdown", s.file, line + 1} }
		for _, o := range s.options {
			switch o.key {
			case "address":
				if s.method != "static" {
					continue
				}
				if p, ok := prefixOf(o.value, s.value("netmask")); ok {
					a := Address{Place: place(o.line), Device: s.device(), Prefix: p, Scope: s.value("scope")}
					if s.iface != a.Device {
						a.Label = s.iface
					}
					b.Addresses = append(b.Addresses, a)
				}
			case "gateway":
				if gw, err := netip.ParseAddr(o.value); err == nil && gw.Is4() {
					b.Routes = append(b.Routes, Route{place(o.line), fixes.AddRoute{Table: 254, Dst: defaultRoute, Gateway: gw, Device: s.device()}})
				}
			case "up", "post-up", "pre-up":
				commandGives(&b, place(o.line), s, o.value)
			}
		}
	}
	return b
}

// commandGives reads the ip and ifconfig commands that people write into stanzas.
func commandGives(b *Boot, at Place, s stanza, command string) {
	for _, part := range strings.FieldsFunc(command, func(r rune) bool { return r == ';' || r == '&' || r == '|' }) {
		for _, name := range []string{"$IFACE", "${IFACE}", `"$IFACE"`} {
			part = strings.ReplaceAll(part, name, s.device())
		}
		words := strings.Fields(part)
		if len(words) < 3 {
			continue
		}
		if path.Base(words[0]) == "ifconfig" {
			device, label, alias := strings.Cut(words[1], ":")
			mask := ""
			if i := slices.Index(words, "netmask"); i > 0 && i+1 < len(words) {
				mask = words[i+1]
			}
			if p, ok := prefixOf(words[2], mask); ok {
				a := Address{Place: at, Device: device, Prefix: p}
				if alias {
					a.Label = device + ":" + label
				}
				b.Addresses = append(b.Addresses, a)
			}
			continue
		}
		if path.Base(words[0]) != "ip" {
			continue
		}
		words = slices.DeleteFunc(words[1:], func(w string) bool { return w == "-4" || w == "-6" || w == "-f" || w == "inet" })
		if len(words) < 3 || words[1] != "add" && words[1] != "replace" && words[1] != "a" {
			continue
		}
		switch object := words[0]; {
		case strings.HasPrefix("address", object):
			if p, ok := parsePrefix(words[2]); ok {
				a := Address{Place: at, Device: s.device(), Prefix: p}
				if i := slices.Index(words, "dev"); i > 0 && i+1 < len(words) {
					a.Device = words[i+1]
				}
				if i := slices.Index(words, "scope"); i > 0 && i+1 < len(words) {
					a.Scope = words[i+1]
				}
				b.Addresses = append(b.Addresses, a)
			}
		case strings.HasPrefix("route", object):
			if r, ok := parseRouteWords(words[2:]); ok {
				if r.Device == "" {
					r.Device = s.device()
				}
				b.Routes = append(b.Routes, Route{at, r})
			}
		case strings.HasPrefix("rule", object):
			if r, ok := parseRuleWords(words[2:]); ok {
				b.Rules = append(b.Rules, Rule{at, r})
			}
		}
	}
}

func (i ifupdown) setAddress(d *disk, a Address, want bool) error {
	if !want {
		return i.drop(d, a)
	}
	family := "inet"
	if a.Prefix.Addr().Is6() {
		family = "inet6"
	}
	iface := a.Device
	if a.Label != "" && a.Label != a.Device && family == "inet" {
		iface = a.Label
	}
	add := []string{fmt.Sprintf("iface %s %s static", iface, family), "\taddress " + a.Prefix.String()}
	if a.Scope != "" && a.Scope != "global" {
		add = append(add, "\tscope "+a.Scope)
	}
	if family == "inet6" && a.Device == "lo" {
		add = append(add, "\tdad-attempts 0") // nobody else can have it there: do not wait
	}
	return i.append(d, iface, fmt.Sprintf("the next boot puts %s on %s", a.Prefix, a.Device), add)
}

// append adds a stanza for lo to the file of ours, where the main one sources a folder for it. What is for a card goes to the
// end of the main file: stanzas are run in the order of the files, ours would come before the card has its address, and ifup
// gives up the card when a route can not be set.
func (ifupdown) append(d *disk, iface, why string, stanza []string) error {
	all := d.interfaces()
	name := interfacesFile
	for _, pattern := range append(slices.Clone(all.sources), foldersAsPatterns(all.folders)...) {
		for _, base := range []string{"60-lvstui", "60-lvstui.conf", "60-lvstui.cfg"} {
			if !strings.HasPrefix(iface, "lo") {
				break
			}
			file := path.Join(path.Dir(pattern), base)
			if ok, err := path.Match(pattern, file); err == nil && ok && strings.HasPrefix(file, "/etc/network/") {
				name = file
				break
			}
		}
		if name != interfacesFile {
			break
		}
	}
	text, there := d.read(name)
	if !there {
		text = ownHeader
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	if !slices.Contains(all.auto, iface) {
		stanza = append([]string{"auto " + iface}, stanza...)
	}
	return d.write(name, text+"\n"+strings.Join(stanza, "\n")+"\n", 0o644, why)
}

func foldersAsPatterns(folders []string) []string {
	var out []string
	for _, f := range folders {
		out = append(out, path.Join(f, "60-lvstui")) // source-directory takes no name with a dot
	}
	return out
}

// drop removes a stanza that gives nothing but the address.
func (ifupdown) drop(d *disk, a Address) error {
	why := fmt.Sprintf("the next boot no longer puts %s on %s", a.Prefix, a.Device)
	for _, have := range (ifupdown{}).gives(d).Addresses {
		if have.Device != a.Device || have.Prefix != a.Prefix {
			continue
		}
		for _, s := range d.interfaces().stanzas {
			if s.file != have.File || have.Line-1 < s.line || have.Line-1 > s.toLine {
				continue
			}
			text, _ := d.read(s.file)
			opt := s.options[slices.IndexFunc(s.options, func(o option) bool { return o.line == have.Line-1 })]
			switch others := otherOptions(s, opt); {
			case opt.key != "address":
				text = without(text, opt.line)
			case len(others) > 0:
				return fmt.Errorf("%s line %d has it with %s: take out there what is not wanted", s.file, have.Line, strings.Join(others, ", "))
			default:
				text = withoutStanza(text, s)
				if alone := !slices.ContainsFunc(d.interfaces().stanzas, func(o stanza) bool { return o.iface == s.iface && (o.file != s.file || o.line != s.line) }); alone {
					text = withoutAuto(text, s.iface) // ifup fails on a name that nothing describes
				}
			}
			if own(s.file) && len(strings.TrimSpace(strings.TrimPrefix(text, ownHeader))) == 0 {
				text = ""
			}
			return d.write(s.file, text, 0o644, why)
		}
	}
	return nil
}

// otherOptions are what else a stanza says beside an address.
func otherOptions(s stanza, but option) []string {
	var out []string
	for _, o := range s.options {
		if o != but && !slices.Contains([]string{"netmask", "scope", "broadcast", "network", "dad-attempts"}, o.key) && !slices.Contains(out, o.key) {
			out = append(out, o.key)
		}
	}
	return out
}

// withoutStanza removes a stanza, an auto line of ours directly before it for the same name, and one blank line.
func withoutStanza(text string, s stanza) string {
	all := strings.SplitAfter(text, "\n")
	from := s.line
	if from > 0 && strings.TrimSpace(all[from-1]) == "auto "+s.iface && own(s.file) {
		from--
	}
	if from > 0 && strings.TrimSpace(all[from-1]) == "" {
		from--
	}
	return strings.Join(all[:from], "") + strings.Join(all[s.toLine+1:], "")
}

// withoutAuto takes a name out of the auto and allow-… lines.
func withoutAuto(text, iface string) string {
	var out []string
	for _, line := range strings.SplitAfter(text, "\n") {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "auto" && !strings.HasPrefix(words[0], "allow-") || !slices.Contains(words[1:], iface) {
			out = append(out, line)
			continue
		}
		if words = slices.DeleteFunc(words, func(w string) bool { return w == iface }); len(words) > 1 {
			out = append(out, strings.Join(words, " ")+"\n")
		}
	}
	return strings.Join(out, "")
}

func (i ifupdown) setRoute(d *disk, r fixes.AddRoute, want bool) error {
	return i.command(d, r.Device, want, strings.TrimPrefix(r.Command(), "ip route add "), "route", func(b Boot) []Place {
		var out []Place
		for _, have := range b.Routes {
			if sameRoute(have.AddRoute, r) {
				out = append(out, have.Place)
			}
		}
		return out
	})
}

func (i ifupdown) setRule(d *disk, r fixes.AddRule, device string, want bool) error {
	return i.command(d, device, want, strings.TrimPrefix(r.Command(), "ip rule add "), "rule", func(b Boot) []Place {
		var out []Place
		for _, have := range b.Rules {
			if have.AddRule == r {
				out = append(out, have.Place)
			}
		}
		return out
	})
}

// command adds a stanza that runs a command when the device comes up, or removes the line that runs it.
func (i ifupdown) command(d *disk, device string, want bool, words, object string, places func(Boot) []Place) error {
	if want {
		return i.append(d, device, fmt.Sprintf("the next boot sets the %s %s", object, words), []string{
			"iface " + device + " inet manual",
			"\tup ip " + object + " add " + words + " || true",
			"\tdown ip " + object + " del " + words + " || true",
		})
	}
	for _, at := range places(i.gives(d)) {
		text, _ := d.read(at.File)
		all := strings.SplitAfter(text, "\n")
		if !slices.Contains([]string{"up", "post-up", "pre-up"}, firstWord(all[at.Line-1])) {
			return fmt.Errorf("%s line %d sets it: take it out there", at.File, at.Line)
		}
		drop := []int{at.Line - 1}
		if at.Line < len(all) && strings.Contains(all[at.Line], "ip "+object+" del "+words) {
			drop = append(drop, at.Line)
		}
		if err := d.write(at.File, without(text, drop...), 0o644, "the next boot no longer sets the "+object+" "+words); err != nil {
			return err
		}
	}
	return nil
}

func firstWord(line string) string {
	words := strings.Fields(line)
	if len(words) == 0 {
		return ""
	}
	return words[0]
}
