// Package nextboot is the pure half of what survives a reboot: it parses the configuration files of a Snapshot, says what
// they would give, and edits them with the smallest change. Nothing here reads or writes a file.
package nextboot

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"lvstui/fixes"
	"lvstui/lvs"
)

// Edits returns the configuration files to write so that the next boot of s gives what p gives now, and words for what no
// file of ours can hold because somebody else owns it. Where the files of s were not read it writes none.
func Edits(p fixes.Plan, s *lvs.Snapshot) (edits []fixes.FileEdit, words []string) {
	if p.AsFiles {
		return slices.Clone(p.Files), nil
	}
	if s.Files == nil {
		return slices.Clone(p.Files), fixes.NextBoot(p, s)
	}
	after, err := p.After(s)
	if err != nil {
		return nil, nil
	}
	e := &editor{d: newDisk(s), s: s, after: after}
	for _, f := range p.Files { // what the plan itself is about, with the rest on top
		e.d.files[f.Path] = &file{was: f.Before, text: f.After, mode: f.Mode, why: []string{f.Why}}
	}
	for _, st := range p.Steps {
		e.keep(st)
	}
	return e.d.edits(), e.words
}

// editor turns the outcome of a plan into edits.
type editor struct {
	d        *disk
	s, after *lvs.Snapshot
	device   string // of the last route or address, to which policy rules are tied
	done     map[string]bool
	words    []string
}

func (e *editor) say(format string, args ...any) {
	if w := fmt.Sprintf(format, args...); !slices.Contains(e.words, w) {
		e.words = append(e.words, w)
	}
}

// once is true the first time for a thing: a plan may touch it several times, and what counts is how it ends.
func (e *editor) once(format string, args ...any) bool {
	key := fmt.Sprintf(format, args...)
	if e.done == nil {
		e.done = map[string]bool{}
	}
	was := e.done[key]
	e.done[key] = true
	return !was
}

// keep has the outcome of one step survive.
func (e *editor) keep(st fixes.Step) {
	switch st := st.(type) {
	case fixes.SetSysctl:
		e.sysctl(st.Path)
	case fixes.AddAddress:
		e.address(st.Device, st.Prefix)
	case fixes.DelAddress:
		e.address(st.Device, st.Prefix)
	case fixes.AddRoute:
		e.route(st, true)
	case fixes.ReplaceRoute:
		e.replaceRoute(fixes.AddRoute(st))
	case fixes.DelRoute:
		e.route(fixes.AddRoute(st), false)
	case fixes.AddRule:
		e.rule(st, true)
	case fixes.DelRule:
		e.rule(fixes.AddRule(st), false)
	case fixes.LoadModule:
		if err := e.d.loadModule(st.Name, "the next boot loads "+st.Name); err != nil {
			e.say("%v", err)
		}
	case fixes.SetTimeouts:
		e.timeouts()
	case fixes.AddAccept:
		e.say("the packet filter of this host: as %s, in /etc/nftables.conf or where its owner keeps the rules", st.Command())
	case fixes.DelAccept:
		e.say("the packet filter of this host: without what %s takes out, in /etc/nftables.conf or where its owner keeps the rules", st.Command())
	case fixes.Announce, fixes.DelNeighbour, fixes.UnloadModule:
		// nothing that a boot would bring back
	default:
		if name, ok := serviceOf(st); ok {
			e.service(name)
			return
		}
		e.say("not kept for the next boot by lvstui: %s", st.Command())
	}
}

// serviceOf is the virtual service that a step is about.
func serviceOf(st fixes.Step) (fixes.VirtualService, bool) {
	switch st := st.(type) {
	case fixes.AddService:
		return st.Service, true
	case fixes.EditService:
		return st.Service, true
	case fixes.DelService:
		return st.Service, true
	case fixes.AddDestination:
		return st.Service, true
	case fixes.EditDestination:
		return st.Service, true
	case fixes.DelDestination:
		return st.Service, true
	}
	return fixes.VirtualService{}, false
}

func (e *editor) sysctl(path string) {
	value, ok := e.after.Sysctls[path]
	if !ok || !e.once("sysctl %s", path) || value == e.s.Sysctls[path] {
		return
	}
	if o, ok := ownerOf(e.s, "sysctls", "kube-proxy", "kube-router"); ok && strings.HasPrefix(path, "net/ipv4/") {
		e.say("%s: %s (%s sets the sysctls of this host; kube-proxy: ipvs.strictARP)", o.File, fixes.SysctlLine(path, value), o.Name)
		return
	}
	if err := e.d.setSysctl(path, value); err != nil {
		e.say("%v", err)
	}
}

// ownerOf is the first of these owners that runs here and owns something.
func ownerOf(s *lvs.Snapshot, what string, names ...string) (lvs.Owner, bool) {
	for _, o := range s.Owners {
		if slices.Contains(o.Owns, what) && slices.Contains(names, o.Name) {
			return o, true
		}
	}
	return lvs.Owner{}, false
}

func (e *editor) address(device string, prefix netip.Prefix) {
	e.device = cmp.Or(device, e.device)
	if !e.once("address %s %s", device, prefix) {
		return
	}
	had, was := addressOn(e.s, device, prefix)
	have, want := addressOn(e.after, device, prefix)
	if was == want && (!want || had == have) {
		return
	}
	if words, owned := e.addressOwner(device, prefix, want); owned {
		e.say("%s", words)
		return
	}
	a := Address{Device: device, Prefix: prefix}
	if have.Scope != "" && have.Scope != "global" {
		a.Scope = have.Scope
	}
	if have.Label != device && prefix.Addr().Is4() {
		a.Label = have.Label
	}
	e.persistAddress(a, want)
}

// persistAddress writes it where the host keeps addresses, and checks that the files then give it.
func (e *editor) persistAddress(a Address, want bool) {
	given := func() bool {
		return slices.ContainsFunc(e.d.boot().Addresses, func(b Address) bool { return b.Device == a.Device && b.Prefix == a.Prefix })
	}
	if given() == want {
		return
	}
	sys := e.d.systemOf(a.Device)
	verb := map[bool]string{true: "add", false: "remove"}[want]
	if sys == nil {
		e.say("the network configuration of this host: %s %s on %s", verb, a.Prefix, a.Device)
		return
	}
	before := e.d.clone()
	if err := sys.setAddress(e.d, a, want); err != nil {
		e.d.files = before
		e.say("%s: %s %s on %s: %v", sys.name(), verb, a.Prefix, a.Device, err)
		return
	}
	if given() != want {
		e.d.files = before
		e.say("%s: %s %s on %s: how is not known to lvstui on this host", sys.name(), verb, a.Prefix, a.Device)
	}
}

// clone remembers the files, for a change that does not come off.
func (d *disk) clone() map[string]*file {
	out := make(map[string]*file, len(d.files))
	for name, f := range d.files {
		c := *f
		c.why = slices.Clone(f.why)
		out[name] = &c
	}
	return out
}

func addressOn(s *lvs.Snapshot, device string, prefix netip.Prefix) (lvs.Address, bool) {
	i := slices.IndexFunc(s.Addresses, func(a lvs.Address) bool { return a.Device == device && a.Prefix == prefix })
	if i < 0 {
		return lvs.Address{}, false
	}
	return s.Addresses[i], true
}

// addressOwner says whether a daemon decides about an address, and what to change there.
func (e *editor) addressOwner(device string, prefix netip.Prefix, want bool) (string, bool) {
	vip := prefix.Addr()
	verb := map[bool]string{true: "add %s to virtual_ipaddress", false: "take %s out of virtual_ipaddress"}[want]
	if k, ok := e.d.keepalived(); ok {
		for _, i := range k.Instances {
			if slices.Contains(i.VIPs, vip) {
				return fmt.Sprintf("%s line %d, vrrp_instance %s: "+verb+", then systemctl reload keepalived", i.File, i.Line, i.Name, prefix), true
			}
		}
		o, runs := ownerOf(e.s, "addresses", "keepalived")
		if link := e.d.link(device); runs && len(k.Instances) > 0 && !link.Loopback() && link.Kind != "dummy" {
			i := k.Instances[0]
			return fmt.Sprintf("%s line %d, vrrp_instance %s: "+verb+", then systemctl reload keepalived (it moves the VIPs of this host)", cmp.Or(i.File, o.File), i.Line, i.Name, prefix), true
		}
	}
	if o, ok := ownerOf(e.s, "addresses", "kube-proxy", "kube-router", "pacemakerd"); ok && (device == "kube-ipvs0" || o.Name == "pacemakerd") {
		return fmt.Sprintf("%s: %s on %s belongs to %s", o.File, prefix, device, o.Name), true
	}
	return "", false
}

func (e *editor) route(r fixes.AddRoute, want bool) {
	e.device = cmp.Or(r.Device, e.device)
	if !want && !e.once("route %v", r) {
		return
	}
	e.persist(r.Device, want, r.Command(), func(b Boot) bool {
		return slices.ContainsFunc(b.Routes, func(o Route) bool { return sameRoute(o.AddRoute, r) })
	}, func(sys system) error { return sys.setRoute(e.d, r, want) })
}

// replaceRoute takes what had its place out of the files first. One that is not in the files came from elsewhere: from DHCP,
// perhaps, and would come back.
func (e *editor) replaceRoute(r fixes.AddRoute) {
	boot := e.d.boot()
	for _, old := range boot.Routes {
		if old.Table == r.Table && old.Dst == r.Dst && old.Metric == r.Metric && !sameRoute(old.AddRoute, r) {
			e.say("%s line %d sets another route to %s: write there %s", old.File, old.Line, r.Dst, strings.TrimPrefix(r.Command(), "ip route add "))
			return
		}
	}
	e.route(r, true)
}

func (e *editor) rule(r fixes.AddRule, want bool) {
	device := e.ruleDevice(r)
	e.persist(device, want, r.Command(), func(b Boot) bool {
		return slices.ContainsFunc(b.Rules, func(o Rule) bool { return o.AddRule == r })
	}, func(sys system) error { return sys.setRule(e.d, r, device, want) })
}

// ruleDevice is the device with whose configuration a policy rule goes: that of the routes of its table.
func (e *editor) ruleDevice(r fixes.AddRule) string {
	for _, s := range []*lvs.Snapshot{e.after, e.s} {
		for _, route := range s.Routes {
			if route.Table == r.Table && r.Table != lvs.TableLocal && route.Device != "" && route.Device != "lo" {
				return route.Device
			}
		}
	}
	return e.device
}

func (e *editor) persist(device string, want bool, command string, given func(Boot) bool, set func(system) error) {
	if given(e.d.boot()) == want {
		return
	}
	sys := e.d.systemOf(device)
	if sys == nil {
		e.say("the network configuration of this host, as %s", command)
		return
	}
	before := e.d.clone()
	err := set(sys)
	if err == nil && given(e.d.boot()) == want {
		return
	}
	e.d.files = before
	if err != nil {
		e.say("%s, as %s: %v", sys.name(), command, err)
		return
	}
	e.say("%s, as %s: how is not known to lvstui on this host", sys.name(), command)
}

// service has the outcome for one virtual service survive.
func (e *editor) service(name fixes.VirtualService) {
	if !e.once("service %s", name) || e.after.IPVS == nil {
		return
	}
	if words, owned := e.tableOwner(name); owned {
		e.say("%s", words)
		return
	}
	var v *lvs.Service
	for _, have := range e.after.IPVS.Services {
		if fixes.NameOf(have) == name {
			v = &have
		}
	}
	// The whole table is written where there was no file; it is that of afterwards.
	e.d.s = e.after
	if err := e.d.setService(name, v); err != nil {
		e.say("%v", err)
	}
	e.d.s = e.s
}

// timeouts are in no save file that ipvsadm writes, but its reader takes them.
func (e *editor) timeouts() {
	t := e.after.IPVS.Timeouts
	if !e.once("timeouts") || t == nil {
		return
	}
	line := fmt.Sprintf("--set %d %d %d", t.TCP, t.TCPFin, t.UDP)
	if k, ok := e.d.keepalived(); ok && len(k.Services) > 0 {
		if _, runs := ownerOf(e.s, "ipvs", "keepalived"); runs {
			e.say("%s, global_defs: lvs_timeouts tcp %d tcpfin %d udp %d", k.File, t.TCP, t.TCPFin, t.UDP)
			return
		}
	}
	e.say("the time-outs of ip_vs are in no file that ipvsadm saves: have ipvsadm %s run at boot, after ipvsadm's service", line)
}

// tableOwner says which daemon makes the table, and what to change there.
func (e *editor) tableOwner(name fixes.VirtualService) (string, bool) {
	o, ok := ownerOf(e.s, "ipvs", "keepalived", "ldirectord", "kube-proxy", "kube-router", "pacemakerd", "dockerd")
	if !ok {
		return "", false
	}
	for _, read := range []func(*lvs.Snapshot) (Keeper, bool){Keepalived, Ldirectord} {
		k, ok := read(e.s)
		if !ok || k.Name != o.Name {
			continue
		}
		for _, v := range k.Services {
			if v.Service == name {
				return fmt.Sprintf("%s line %d, %s: the same there, then systemctl reload %s (it makes the ip_vs table)", v.File, v.Line, block(k, name), k.Name), true
			}
		}
		if k.Name == "keepalived" && len(k.Services) == 0 && !k.Odd {
			return "", false // it moves VIPs only
		}
		return fmt.Sprintf("%s: the same there, as a %s, then systemctl reload %s (it makes the ip_vs table)", k.File, block(k, name), k.Name), true
	}
	return fmt.Sprintf("%s: the same there (%s makes the ip_vs table)", o.File, o.Name), true
}

// block is how a daemon's file heads a virtual service.
func block(k Keeper, name fixes.VirtualService) string {
	switch {
	case k.Name == "ldirectord" && name.FWMark != 0:
		return fmt.Sprintf("virtual=%d", name.FWMark)
	case k.Name == "ldirectord":
		return "virtual=" + netip.AddrPortFrom(name.Address, name.Port).String()
	case name.FWMark != 0:
		return fmt.Sprintf("virtual_server fwmark %d", name.FWMark)
	}
	return fmt.Sprintf("virtual_server %s %d", name.Address, name.Port)
}
