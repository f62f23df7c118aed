package nextboot

import (
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"lvstui/fixes"
	"lvstui/lvs"
)

// Keeper is a daemon that makes the ip_vs table by its own file, and perhaps the VIPs: keepalived or ldirectord.
type Keeper struct {
	Name, File string
	Services   []KeptService
	Instances  []Instance
	// Strict is where vrrp_strict stands.
	Strict *Place
	// Odd says that something decides which lvstui does not evaluate: a condition, a definition, a range.
	Odd bool
}

// KeptService is a virtual service as the daemon's file has it.
type KeptService struct {
	Place
	Service fixes.VirtualService
	// Scheduler is "" where the file leaves it to the daemon.
	Scheduler string
	// Method is the forwarding method; MethodLine is 0 where it is the daemon's default.
	Method      lvs.Forward
	MethodLine  int
	Persistence uint32 // seconds, 0 without
	Reals       []KeptReal
	// Suspended says that the service may be left out of the table for good reason: ha_suspend, quorum.
	Suspended bool
	Sorry     netip.AddrPort
}

// KeptReal is a real server as the daemon's file has it.
type KeptReal struct {
	Place
	Address netip.Addr
	Port    uint16
	Method  lvs.Forward
	Weight  int
	// Checks are the health checks by name; CheckPorts the ports they are sent to where that is not the real server's.
	Checks     []string
	CheckPorts []uint16
	// Moving says that checks change the weight.
	Moving bool
}

// Instance is a vrrp_instance.
type Instance struct {
	Place
	Name, Interface string
	VIPs            []netip.Addr
	Accept, Refuse  bool // accept and no_accept
	NativeIPv6      bool
	strict          *Place
}

// Strict is where vrrp_strict stands inside the instance.
func (i Instance) Strict() *Place { return i.strict }

// node is a statement of keepalived.conf(5) with the block that belongs to it.
type node struct {
	words []string
	file  string
	line  int // from 1
	block []node
}

func (n node) place() Place { return Place{"keepalived", n.file, n.line} }

// find returns the statements of a name.
func find(all []node, names ...string) []node {
	var out []node
	for _, n := range all {
		if slices.Contains(names, n.words[0]) {
			out = append(out, n)
		}
	}
	return out
}

// arg is the nth word after the name, or "".
func (n node) arg(i int) string {
	if i < len(n.words) {
		return n.words[i]
	}
	return ""
}

// keepalivedFile is the configuration that the running keepalived has, or the usual one.
func (d *disk) keepalivedFile() string {
	for _, o := range d.s.Owners {
		if o.Name == "keepalived" && o.File != "" && d.has(o.File) {
			return o.File
		}
	}
	return "/etc/keepalived/keepalived.conf"
}

// Keepalived is what the files of s have keepalived do; ok is false when there is no such file.
func Keepalived(s *lvs.Snapshot) (k Keeper, ok bool) { return newDisk(s).keepalived() }

func (d *disk) keepalived() (Keeper, bool) {
	name := d.keepalivedFile()
	if !d.has(name) {
		return Keeper{}, false
	}
	p := confParser{d: d, seen: map[string]bool{}}
	top := p.file(name, 0)
	k := Keeper{Name: "keepalived", File: name, Odd: p.odd}
	// Its virtual services may be in another namespace than keepalived itself (keepalived.conf(5)).
	k.Odd = k.Odd || len(find(top, "net_namespace", "net_namespace_ipvs")) > 0
	for _, n := range find(top, "global_defs") {
		k.Odd = k.Odd || len(find(n.block, "net_namespace", "net_namespace_ipvs")) > 0
		for _, strict := range find(n.block, "vrrp_strict") {
			at := strict.place()
			k.Strict = &at
		}
	}
	groups := map[string][]node{}
	for _, n := range find(top, "virtual_server_group") {
		groups[n.arg(1)] = n.block
	}
	for _, n := range find(top, "virtual_server") {
		k.addService(n, groups)
	}
	for _, n := range find(top, "vrrp_instance") {
		k.Instances = append(k.Instances, instance(n))
	}
	return k, true
}

// confParser reads statements from a file and what it includes.
type confParser struct {
	d    *disk
	seen map[string]bool
	odd  bool

	words []word
	next  int
}

type word struct {
	text string
	line int
	end  bool // a line break
}

const confDepth = 16

func (p *confParser) file(name string, depth int) []node {
	text, ok := p.d.read(name)
	if !ok || p.seen[name] || depth > 8 {
		p.odd = true
		return nil
	}
	p.seen[name] = true
	outer, at := p.words, p.next
	p.words, p.next = confWords(text), 0
	out := p.block(name, depth, 0)
	p.words, p.next = outer, at
	return out
}

// block reads statements up to the brace that closes the block.
func (p *confParser) block(file string, depth, level int) []node {
	var out []node
	for p.next < len(p.words) {
		w := p.words[p.next]
		p.next++
		switch {
		case w.end:
			continue
		case w.text == "}":
			return out
		case w.text == "{":
			inner := []node{}
			if level < confDepth {
				inner = p.block(file, depth, level+1)
			}
			if len(out) > 0 {
				out[len(out)-1].block = inner
			}
			continue
		}
		n := node{words: []string{w.text}, file: file, line: w.line}
		for p.next < len(p.words) && !p.words[p.next].end && p.words[p.next].text != "{" && p.words[p.next].text != "}" {
			n.words = append(n.words, p.words[p.next].text)
			p.next++
		}
		if strings.HasPrefix(w.text, "include") && len(w.text) <= len("includex") && len(n.words) > 1 {
			out = append(out, p.include(file, n.words[1], depth)...)
			continue
		}
		// Definitions, conditions and sequences: keepalived.conf(5), "Parameter substitution", "Conditional configuration".
		if strings.ContainsAny(w.text[:1], "@$~") || slices.ContainsFunc(n.words, func(s string) bool { return strings.Contains(s, "$") }) {
			p.odd = true
		}
		out = append(out, n)
	}
	return out
}

func (p *confParser) include(file, pattern string, depth int) []node {
	if !path.IsAbs(pattern) {
		pattern = path.Join(path.Dir(file), pattern)
	}
	var out []node
	found := false
	for _, name := range p.d.names("") {
		if ok, err := path.Match(pattern, name); err == nil && ok {
			found = true
			out = append(out, p.file(name, depth+1)...)
		}
	}
	p.odd = p.odd || !found
	return out
}

// confWords splits a file: words, braces and line breaks; # and ! begin a comment, quotation marks hold blanks together.
func confWords(text string) []word {
	var out []word
	for i, line := range lines(text) {
		var b strings.Builder
		quote, inWord := byte(0), false
		flush := func() {
			if inWord {
				out = append(out, word{text: b.String(), line: i + 1})
			}
			b.Reset()
			inWord = false
		}
	scan:
		for j := 0; j < len(line); j++ {
			c := line[j]
			switch {
			case quote != 0 && c == quote:
				quote = 0
			case quote != 0:
				b.WriteByte(c)
			case c == '"' || c == '\'':
				quote, inWord = c, true
			case c == '#' || c == '!' && !inWord:
				break scan
			case c == ' ' || c == '\t' || c == '\n' || c == '\r':
				flush()
			case c == '{' && !strings.HasSuffix(b.String(), "$") || c == '}' && !strings.Contains(b.String(), "${"):
				flush()
				out = append(out, word{text: string(c), line: i + 1})
			default:
				b.WriteByte(c)
				inWord = true
			}
		}
		flush()
		out = append(out, word{line: i + 1, end: true})
	}
	for i := range out {
		if out[i].text == "" && !out[i].end {
			out[i].text = `""`
		}
	}
	return out
}

func keptMethod(name string) (lvs.Forward, bool) {
	switch strings.ToUpper(name) {
	case "DR":
		return lvs.Gate, true
	case "NAT":
		return lvs.Masq, true
	case "TUN":
		return lvs.IPIP, true
	}
	return "", false
}

// addService reads a virtual_server, which may stand for several by a group.
func (k *Keeper) addService(n node, groups map[string][]node) {
	v := KeptService{Place: n.place(), Method: lvs.Masq} // NAT is keepalived's default
	protocol := lvs.TCP
	for _, st := range n.block {
		switch st.words[0] {
		case "protocol":
			protocol = lvs.Protocol(strings.ToLower(st.arg(1)))
		case "lvs_sched", "lb_algo":
			v.Scheduler = st.arg(1)
		case "lvs_method", "lb_kind":
			if m, ok := keptMethod(st.arg(1)); ok {
				v.Method, v.MethodLine = m, st.line
			}
		case "persistence_timeout":
			v.Persistence = 360
			if s, err := strconv.ParseUint(st.arg(1), 10, 32); err == nil {
				v.Persistence = uint32(s)
			}
		case "ha_suspend", "quorum", "alpha", "omega":
			v.Suspended = true
		case "sorry_server":
			if ip, err := netip.ParseAddr(st.arg(1)); err == nil {
				port, _ := strconv.ParseUint(st.arg(2), 10, 16)
				v.Sorry = netip.AddrPortFrom(ip, uint16(port))
			}
		}
	}
	for _, st := range find(n.block, "real_server") {
		if r, ok := real(st, v); ok {
			v.Reals = append(v.Reals, r)
		} else {
			k.Odd = true
		}
	}
	names, ok := serviceNames(n, protocol, groups)
	k.Odd = k.Odd || !ok
	for _, name := range names {
		one := v
		one.Service = name
		k.Services = append(k.Services, one)
	}
}

// serviceNames are what a virtual_server is about: an address and port, a mark, or all of a group.
func serviceNames(n node, protocol lvs.Protocol, groups map[string][]node) ([]fixes.VirtualService, bool) {
	one := func(words []string) (fixes.VirtualService, bool) {
		if words[0] == "fwmark" && len(words) > 1 {
			mark, err := strconv.ParseUint(words[1], 0, 32)
			return fixes.VirtualService{FWMark: uint32(mark), IPv6: slices.Contains(words, "inet6")}, err == nil && mark != 0
		}
		ip, err := netip.ParseAddr(words[0])
		port := uint64(0)
		if len(words) > 1 && err == nil {
			port, err = strconv.ParseUint(words[1], 10, 16)
		}
		return fixes.VirtualService{Protocol: protocol, Address: ip, Port: uint16(port)}, err == nil
	}
	if len(n.words) < 2 {
		return nil, false
	}
	if n.arg(1) != "group" {
		name, ok := one(n.words[1:])
		if !ok {
			return nil, false
		}
		return []fixes.VirtualService{name}, true
	}
	var out []fixes.VirtualService
	all := true
	for _, st := range groups[n.arg(2)] {
		name, ok := one(st.words)
		if ok {
			out = append(out, name)
		}
		all = all && ok
	}
	return out, all && len(out) > 0
}

// real reads a real_server.
func real(n node, v KeptService) (KeptReal, bool) {
	ip, err := netip.ParseAddr(n.arg(1))
	r := KeptReal{Place: n.place(), Address: ip, Method: v.Method, Weight: 1}
	if port, perr := strconv.ParseUint(n.arg(2), 10, 16); perr == nil {
		r.Port = uint16(port)
	}
	for _, st := range n.block {
		switch name := st.words[0]; {
		case name == "weight":
			r.Weight, _ = strconv.Atoi(st.arg(1))
		case name == "lvs_method" || name == "lb_kind":
			if m, ok := keptMethod(st.arg(1)); ok {
				r.Method = m
			}
		case strings.HasSuffix(name, "_CHECK") || strings.HasSuffix(name, "_GET"):
			r.Checks = append(r.Checks, name)
			for _, c := range st.block {
				if c.words[0] == "misc_dynamic" || c.words[0] == "weight" {
					r.Moving = true
				}
				if port, err := strconv.ParseUint(c.arg(1), 10, 16); c.words[0] == "connect_port" && err == nil && uint16(port) != r.Port {
					r.CheckPorts = append(r.CheckPorts, uint16(port))
				}
			}
		}
	}
	return r, err == nil
}

func instance(n node) Instance {
	out := Instance{Place: n.place(), Name: n.arg(1)}
	for _, st := range n.block {
		switch st.words[0] {
		case "interface":
			out.Interface = st.arg(1)
		case "accept":
			out.Accept = true
		case "no_accept":
			out.Refuse = true
		case "strict_mode":
			if !slices.Contains([]string{"off", "false", "no"}, st.arg(1)) {
				at := st.place()
				out.strict = &at
			}
		case "virtual_ipaddress", "virtual_ipaddress_excluded":
			for _, a := range st.block {
				if p, ok := parsePrefix(a.words[0]); ok {
					out.VIPs = append(out.VIPs, p.Addr())
				}
			}
		}
	}
	return out
}
