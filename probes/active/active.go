//go:build linux

// Package active carries out the tests that send something: who answers ARP for a VIP, and whether a real server takes a VIP's
// connections. Nothing here runs unless the operator asked for it by name. What will be sent is known, and can be shown, before it is.
package active

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"lvstui/capture"
	"lvstui/lvs"
)

// Test names one active test.
type Test string

const (
	ARP Test = "arp" // who answers ARP or neighbour solicitations for a VIP
	DSR Test = "dsr" // whether a real server takes the VIP's connections
)

// Tests are all there are.
var Tests = []Test{ARP, DSR}

// Options narrow a plan.
type Options struct {
	VIPs       []netip.Addr // none: those of the host's virtual services, or that look like one
	Interfaces []string     // none: those where the VIP is or should be
}

// Bounds on what one run sends.
const (
	maxARPTargets = 64
	maxDSRTargets = 256
)

// Plan is what a run will send, and what it leaves out.
type Plan struct {
	tests []Test
	arp   []arpTarget
	known []dsrTarget // real servers and routers, to tell by their MACs whose an answer is
	dsr   []dsrTarget
	left  []string
}

// wire is a link that frames go out of.
type wire struct {
	name  string
	index int
	mac   capture.MAC
}

// arpTarget is one VIP to ask for on one wire.
type arpTarget struct {
	vip    netip.Addr
	wire   wire
	sender netip.Addr // of ordinary requests; invalid: there is none
	holds  bool
}

// dsrTarget is one virtual service to try on one real server.
type dsrTarget struct {
	virtual netip.AddrPort
	rip     netip.Addr
	wire    wire
	source  netip.Addr
	mac     capture.MAC // zero: to be asked for
	why     string      // it cannot be tried
}

// Prepare works out what the tests have to send from this host. It sends nothing and reads nothing but the snapshot.
func Prepare(s *lvs.Snapshot, tests []Test, opt Options) *Plan {
	p := &Plan{tests: tests}
	pl := planner{s: s, opt: opt, routing: lvs.NewRouting(s), plan: p}
	for _, t := range tests {
		switch t {
		case ARP:
			pl.askers()
			pl.stations()
		case DSR:
			pl.tries()
		}
	}
	return p
}

// Empty says that there is nothing to send.
func (p *Plan) Empty() bool {
	return len(p.arp) == 0 && !slices.ContainsFunc(p.dsr, dsrTarget.possible)
}

func (t dsrTarget) possible() bool { return t.why == "" }

// Words say what will be sent, for the operator to read before it is.
func (p *Plan) Words() []string {
	var out []string
	for _, t := range p.arp {
		if t.vip.Is6() {
			out = append(out, fmt.Sprintf("%s: %d neighbour solicitations for %s from %s", t.wire.name, arpRounds, t.vip, t.sender))
			continue
		}
		line := fmt.Sprintf("%s: %d ARP requests for %s from 0.0.0.0", t.wire.name, arpRounds, t.vip)
		if t.sender.IsValid() {
			line += fmt.Sprintf(", %d from %s", arpRounds, t.sender)
		}
		if !t.holds {
			line += " (this host's own entry for it may change to who answers; nobody else's does)"
		}
		out = append(out, line)
	}
	unknown := 0
	for _, t := range p.known {
		if t.mac == (capture.MAC{}) {
			unknown++
		}
	}
	if unknown > 0 {
		out = append(out, fmt.Sprintf("%s: if anybody else answers, requests for the real servers and routers whose MAC is not known here (%d), to tell who it is", p.known[0].wire.name, unknown))
	}
	if len(out) > maxWords {
		out = append(out[:maxWords], fmt.Sprintf("and %d more lines like these", len(out)-maxWords))
	}
	return append(out, p.dsrWords()...)
}

// maxWords bounds what is said of one test.
const maxWords = 12

// dsrWords have one line for each virtual service.
func (p *Plan) dsrWords() []string {
	var out []string
	at := map[netip.AddrPort]int{}
	var servers [][]string
	for _, t := range p.dsr {
		if !t.possible() {
			continue
		}
		i, known := at[t.virtual]
		if !known {
			i = len(servers)
			at[t.virtual] = i
			servers = append(servers, nil)
			out = append(out, fmt.Sprintf("%s: a TCP SYN for %s from %s to the MAC of each of ", t.wire.name, t.virtual, t.source))
		}
		servers[i] = append(servers[i], t.rip.String())
	}
	for i, names := range servers {
		if n := len(names); n > 4 {
			names = append(names[:3:3], fmt.Sprintf("%d more", n-3))
		}
		out[i] += strings.Join(names, ", ")
	}
	if len(out) > maxWords {
		out = append(out[:maxWords], fmt.Sprintf("and the like for %d more services", len(out)-maxWords))
	}
	if len(out) > 0 {
		out = append(out, "(from a free high port, again after a second; a RST where it is answered; where it is not, a SYN for the real server's own address)")
	}
	return out
}

// Left say what will not be tried, and why.
func (p *Plan) Left() []string {
	out := slices.Clone(p.left)
	for _, t := range p.dsr {
		if !t.possible() {
			out = append(out, fmt.Sprintf("%s on %s: %s", t.virtual, t.rip, t.why))
		}
	}
	return out
}

// planner reads the snapshot for a plan.
type planner struct {
	s       *lvs.Snapshot
	opt     Options
	routing *lvs.Routing
	plan    *Plan
}

func (p *planner) leave(format string, args ...any) {
	if len(p.plan.left) < 100 {
		p.plan.left = append(p.plan.left, fmt.Sprintf(format, args...))
	}
}

// route is the kernel's answer, or the prediction of it.
func (p *planner) route(dst netip.Addr) lvs.RouteAnswer {
	q := lvs.RouteQuery{Dst: dst}
	if a, ok := p.routing.Answer(q); ok {
		return a
	}
	return p.routing.Lookup(q)
}

// vips are those to ask for: the operator's, else those of services, else those parked on lo and its like.
func (p *planner) vips() []netip.Addr {
	if len(p.opt.VIPs) > 0 {
		return p.opt.VIPs
	}
	var out []netip.Addr
	add := func(ip netip.Addr) {
		if ip.IsValid() && !slices.Contains(out, ip) {
			out = append(out, ip)
		}
	}
	if p.s.IPVS != nil {
		for _, v := range p.s.IPVS.Services {
			add(v.Address)
		}
	}
	if len(out) > 0 {
		return out
	}
	for _, a := range p.s.Addresses {
		ip := a.Prefix.Addr()
		if l, ok := p.s.Link(a.Device); ok && !l.OnWire() && a.Prefix.IsSingleIP() && !ip.IsLoopback() && !ip.IsLinkLocalUnicast() {
			add(ip)
		}
	}
	return out
}

// wires are the links that frames can go out of, narrowed by the operator.
func (p *planner) wires() []wire {
	var out []wire
	for _, l := range p.s.Links {
		mac, err := capture.ParseMAC(l.MAC)
		if !l.OnWire() || l.Master != "" || err != nil || len(p.opt.Interfaces) > 0 && !slices.Contains(p.opt.Interfaces, l.Name) {
			continue
		}
		out = append(out, wire{l.Name, l.Index, mac})
	}
	return out
}

func (p *planner) holds(ip netip.Addr, dev string) bool {
	return slices.ContainsFunc(p.s.AddressesOf(ip), func(a lvs.Address) bool { return a.Device == dev })
}

// senderOn is an address of ours on a link to speak from: for IPv6 the link-local one; never a VIP, which lies on lo elsewhere.
func (p *planner) senderOn(dev string, not []netip.Addr, six bool) netip.Addr {
	var single netip.Addr
	for _, a := range p.s.Addresses {
		ip := a.Prefix.Addr()
		if a.Device != dev || ip.Is6() != six || six && !ip.IsLinkLocalUnicast() || slices.Contains(not, ip) || a.Tentative || a.DADFailed {
			continue
		}
		if !a.Prefix.IsSingleIP() {
			return ip
		}
		single = ip
	}
	return single
}

// askers plans test arp: on the wires that have the VIP, or its subnet, or lead to it; where none does, on all.
func (p *planner) askers() {
	vips := p.vips()
	if len(vips) == 0 {
		p.leave("arp: no VIP is known here; name one: --vip ADDR")
	}
	wires := p.wires()
	for _, vip := range vips {
		on := slices.DeleteFunc(slices.Clone(wires), func(w wire) bool { return !p.askedOn(vip, w.name) })
		if len(on) == 0 {
			on = slices.DeleteFunc(slices.Clone(wires), func(w wire) bool { return !p.senderOn(w.name, vips, vip.Is6()).IsValid() })
		}
		if len(on) == 0 {
			p.leave("arp: %s is on no Ethernet link of this host", vip)
		}
		for _, w := range on {
			t := arpTarget{vip: vip, wire: w, sender: p.senderOn(w.name, vips, vip.Is6()), holds: p.holds(vip, w.name)}
			switch {
			case vip.Is6() && !t.sender.IsValid():
				p.leave("arp: %s has no link-local address to ask for %s from", w.name, vip)
			case len(p.plan.arp) == maxARPTargets:
				p.leave("arp: only %d VIPs are asked for; narrow it down with --vip and --interface", maxARPTargets)
				return
			default:
				p.plan.arp = append(p.plan.arp, t)
			}
		}
	}
}

// stations are the real servers and routers on the wires that are asked on.
func (p *planner) stations() {
	var ips []netip.Addr
	add := func(ip netip.Addr) {
		if ip.IsValid() && !slices.Contains(ips, ip) && len(ips) < maxDSRTargets {
			ips = append(ips, ip)
		}
	}
	for _, r := range p.s.Routes {
		add(r.Gateway)
	}
	if p.s.IPVS != nil {
		for _, v := range p.s.IPVS.Services {
			for _, d := range v.Destinations {
				add(d.Address)
			}
		}
	}
	for _, ip := range ips {
		if t := p.reach(ip); t.possible() && slices.ContainsFunc(p.plan.arp, func(a arpTarget) bool { return a.wire == t.wire }) {
			p.plan.known = append(p.plan.known, t)
		}
	}
}

func (p *planner) askedOn(vip netip.Addr, dev string) bool {
	if p.holds(vip, dev) {
		return true
	}
	for _, a := range p.s.Addresses {
		if a.Device == dev && !a.Prefix.IsSingleIP() && a.Prefix.Masked().Contains(vip) {
			return true
		}
	}
	a := p.route(vip)
	return a.Outcome == lvs.OutUnicast && !a.Gateway.IsValid() && a.Device == dev
}

// tries plans test dsr: every TCP service on every real server that it is directed to.
func (p *planner) tries() {
	if p.s.IPVS == nil || len(p.s.IPVS.Services) == 0 {
		p.leave("dsr: this host has no virtual services to try; run it on the director")
		return
	}
	for _, v := range p.s.IPVS.Services {
		switch {
		case len(p.opt.VIPs) > 0 && !slices.Contains(p.opt.VIPs, v.Address):
		case v.FWMark != 0:
			p.leave("dsr: service %s has no address of its own to send to", v.Name())
		case v.Protocol != lvs.TCP:
			p.leave("dsr: %s is %s, and a datagram would be a request already", v.Name(), v.Protocol)
		case v.Port == 0:
			p.leave("dsr: %s is all ports: none is known to be served", v.Name())
		default:
			for _, d := range v.Destinations {
				if len(p.plan.dsr) == maxDSRTargets {
					p.leave("dsr: only %d real servers are tried; narrow it down with --vip", maxDSRTargets)
					return
				}
				p.plan.dsr = append(p.plan.dsr, p.try(v, d))
			}
		}
	}
}

func (p *planner) try(v lvs.Service, d lvs.Destination) dsrTarget {
	t := p.reach(d.Address)
	t.virtual = netip.AddrPortFrom(v.Address, v.Port)
	if d.Forward != lvs.Gate {
		t.why = fmt.Sprintf("it is not reached by direct routing but by %s", d.Forward)
	}
	return t
}

// reach finds out how a frame gets to a host on a segment of ours.
func (p *planner) reach(ip netip.Addr) dsrTarget {
	t := dsrTarget{rip: ip}
	a := p.route(ip)
	i := slices.IndexFunc(p.wires(), func(w wire) bool { return w.name == a.Device })
	switch {
	case a.Outcome == lvs.OutLocal:
		t.why = "it is this host itself"
	case a.Outcome != lvs.OutUnicast:
		t.why = "there is no route to it"
	case a.Gateway.IsValid():
		t.why = fmt.Sprintf("it is behind the router %s, and direct routing needs it on a segment of this host's", a.Gateway)
	case i < 0:
		t.why = fmt.Sprintf("%s is no Ethernet link, or not among those asked for", a.Device)
	}
	if t.why != "" {
		return t
	}
	t.wire = p.wires()[i]
	if t.source = p.sourceTo(ip, t.wire.name); !t.source.IsValid() {
		t.why = fmt.Sprintf("%s has no address besides VIPs to try it from", t.wire.name)
		return t
	}
	for _, n := range p.s.Neighbours {
		if n.Address == ip && n.Device == t.wire.name && !n.Dead() && n.MAC != "" {
			t.mac, _ = capture.ParseMAC(n.MAC)
		}
	}
	return t
}

// sourceTo is an address of ours on the link that the real server can answer directly: one in its subnet, else any.
func (p *planner) sourceTo(rip netip.Addr, dev string) netip.Addr {
	vips := p.vips()
	var other netip.Addr
	for _, a := range p.s.Addresses {
		ip := a.Prefix.Addr()
		if a.Device != dev || ip.Is6() != rip.Is6() || ip.IsLinkLocalUnicast() != rip.IsLinkLocalUnicast() || slices.Contains(vips, ip) {
			continue
		}
		if a.Prefix.Masked().Contains(rip) {
			return ip
		}
		other = ip
	}
	return other
}

// Parse reads names of tests as a flag gives them: "arp,dsr".
func Parse(names []string) ([]Test, error) {
	var out []Test
	for _, list := range names {
		for _, name := range strings.Split(list, ",") {
			t := Test(strings.TrimSpace(name))
			if !slices.Contains(Tests, t) {
				return nil, fmt.Errorf("%q is no active test: arp (who answers ARP for the VIP) or dsr (whether real servers take it)", name)
			}
			if !slices.Contains(out, t) {
				out = append(out, t)
			}
		}
	}
	return out, nil
}
