package probes

import (
	"net/netip"
	"slices"

	"lvstui/capture"
	"lvstui/lvs"
)

// Cluster is all observed hosts together.
type Cluster struct {
	Hosts []*Host
	// VIPs are the virtual addresses that count: the operator's, those of the virtual services of any host, and where no
	// director is at hand the addresses that look like one.
	VIPs []netip.Addr
	// Named says that the VIPs are known for certain: from a director's table or from the operator, not guessed.
	Named bool
	// Destinations are those in the tables of all directors at hand.
	Destinations []DestinationRef
	// Options is what the operator said.
	Options Options

	byVIP map[netip.Addr][]DestinationRef // there may be tens of thousands
}

// Options is what the operator said on the command line.
type Options struct {
	VIPs  []netip.Addr
	Roles []lvs.Role // of the first host
	// Gateway is the router by which clients come to the first host and are answered; invalid when nobody said.
	Gateway netip.Addr
	// Together asks about all hosts as one: the path is what any of them saw of a connection, not the first host's alone.
	Together bool
}

// assemble finds out who is who. Roles follow from facts: virtual services make a director, a VIP held without a service,
// or a RIP of some director, makes a real server; forwarding towards a VIP makes a router.
func assemble(observed []Observation, opt Options) *Cluster {
	c := &Cluster{Options: opt}
	for _, o := range observed {
		c.Hosts = append(c.Hosts, newHost(o))
	}
	c.Destinations = destinations(c.Hosts)
	c.byVIP = make(map[netip.Addr][]DestinationRef, len(c.Destinations))
	for _, ref := range c.Destinations {
		c.byVIP[ref.Service.Address] = append(c.byVIP[ref.Service.Address], ref)
		for _, h := range c.Hosts {
			// Every host has 127.0.0.1: as a destination it is the director itself.
			if h.Has(ref.Destination.Address) && (h == ref.Director || !ref.Destination.Address.IsLoopback()) {
				h.named = append(h.named, ref)
			}
		}
	}
	c.VIPs, c.Named = clusterVIPs(c.Hosts, opt)
	for i, h := range c.Hosts {
		h.Roles = rolesOf(c, h)
		if i == 0 {
			for _, r := range opt.Roles {
				if !h.Is(r) {
					h.Roles = append(h.Roles, r)
				}
			}
		}
	}
	return c
}

func clusterVIPs(hosts []*Host, opt Options) (vips []netip.Addr, named bool) {
	known := map[netip.Addr]bool{} // a director may have thousands
	add := func(ip netip.Addr) {
		if ip.IsValid() && !known[ip] {
			known[ip] = true
			vips = append(vips, ip)
		}
	}
	for _, ip := range opt.VIPs {
		add(ip)
	}
	for _, h := range hosts {
		if h.Snapshot.IPVS == nil {
			continue
		}
		marked := false
		for _, v := range h.Snapshot.IPVS.Services {
			add(v.Address)
			if v.FWMark != 0 {
				marked = true
			}
		}
		if marked { // its services have no address: what it forwards tells
			for _, f := range h.Flows {
				if f.Vantage == lvs.RoleDirector && f.Stage(lvs.SynForwarded).State == lvs.Seen {
					add(f.Virtual.Addr())
				}
			}
		}
	}
	named = len(vips) > 0
	if !named {
		for _, h := range hosts {
			for _, ip := range Parked(h.Snapshot) {
				add(ip)
			}
			for _, ip := range flowVIPs(h) {
				add(ip)
			}
			for _, ip := range h.aliases() {
				add(ip)
			}
		}
	}
	slices.SortFunc(vips, netip.Addr.Compare)
	return vips, named
}

// flowVIPs are the addresses for which SYNs came in addressed to this host's MAC although it does not have them and did
// not pass them on: so a director sends them to a real server that lacks the VIP. Other flows prove nothing: a plain
// router or a host with containers passes connections to any address on.
func flowVIPs(h *Host) []netip.Addr {
	if h.forwards() {
		return nil // a router gets packets for foreign addresses all day, and may drop them for reasons of its own
	}
	var out []netip.Addr
	for _, f := range h.Flows {
		ip := f.Virtual.Addr()
		if f.Vantage == lvs.RoleRealServer && !h.routes6(ip) && !h.Has(ip) && !slices.Contains(out, ip) {
			out = append(out, ip)
		}
	}
	return out
}

func rolesOf(c *Cluster, h *Host) []lvs.Role {
	roles := []lvs.Role{}
	s := h.Snapshot
	director := s.IPVS != nil && len(s.IPVS.Services) > 0
	if director {
		roles = append(roles, lvs.RoleDirector)
	}
	if isRealServer(c, h, director) {
		roles = append(roles, lvs.RoleRealServer)
	}
	if !director && len(roles) == 0 && isRouter(c, h) {
		roles = append(roles, lvs.RoleRouter)
	}
	if len(roles) == 0 && slices.ContainsFunc(c.VIPs, func(vip netip.Addr) bool { return isClient(h, vip) }) {
		roles = append(roles, lvs.RoleClient)
	}
	return roles
}

func isRealServer(c *Cluster, h *Host, director bool) bool {
	// A destination that is the director's own address is a local one: that host is both.
	if len(h.named) > 0 {
		return true
	}
	if director {
		return false
	}
	if h.LacksVIP() {
		return true
	}
	for _, vip := range c.VIPs {
		held := h.Has(vip)
		if !held {
			held, _ = h.RoutedLocal(vip) // a local route without an address will do
		}
		if held && !anotherHoldsServiceOn(c, h, vip) {
			return true
		}
		if !h.forwards() && !h.routes6(vip) && (swallows(h, vip) || h == c.Hosts[0] && slices.Contains(c.Options.VIPs, vip) && h.keepsQuiet()) {
			return true
		}
	}
	return false
}

// swallows tells whether SYNs for the VIP came in here and did not go on.
func swallows(h *Host, vip netip.Addr) bool {
	return slices.ContainsFunc(h.Flows, func(f capture.Flow) bool {
		return f.Vantage == lvs.RoleRealServer && f.Virtual.Addr() == vip
	})
}

// keepsQuiet tells whether somebody has set the ARP sysctls as real servers need them on some wire: together with the operator's
// word that the VIP is served here that makes a real server, also of a host that lost its VIP.
func (h *Host) keepsQuiet() bool {
	return slices.ContainsFunc(h.WireLinks(), func(l lvs.Link) bool {
		ignore, announce := h.Snapshot.Effective(l.Name, "arp_ignore"), h.Snapshot.Effective(l.Name, "arp_announce")
		return ignore.Known && announce.Known && ignore.Value >= 1 && announce.Value == 2
	})
}

// aliases are addresses on a card that look like a VIP which somebody put in the wrong place: a single address, not by DHCP, beside the card's own, on a
// host that keeps quiet about ARP as real servers do, and on which nothing moves addresses about. It is a guess.
func (h *Host) aliases() []netip.Addr {
	if h.forwards() || len(h.parked) > 0 || h.Snapshot.IPVS == nil || h.Snapshot.IPVS.Loaded || h.Snapshot.Owners == nil || !h.keepsQuiet() || h.movesAddresses() {
		return nil
	}
	var out []netip.Addr
	for _, a := range h.Snapshot.Addresses {
		ip := a.Prefix.Addr()
		if ip.Is4() && a.Prefix.IsSingleIP() && a.Scope == "global" && !a.Dynamic && slices.ContainsFunc(h.subnets, func(s Subnet) bool { return s.Device == a.Device && s.Prefix.Addr().Is4() }) {
			out = append(out, ip)
		}
	}
	return out
}

func (h *Host) movesAddresses() bool {
	return slices.ContainsFunc(h.Snapshot.Owners, func(o lvs.Owner) bool {
		return slices.Contains([]string{"keepalived", "pacemaker", "pacemakerd", "corosync", "heartbeat", "ucarp", "kube-vip", "kube-router", "kube-proxy", "metallb"}, o.Name)
	})
}

// LacksVIP says that the host looks like a real server that has lost its VIP: it keeps quiet about ARP as they do, has no address but those of its cards, forwards
// nothing, and packets for foreign addresses came to it. It is a guess, and the address is not known.
func (h *Host) LacksVIP() bool {
	return !h.forwards() && len(h.parked) == 0 && h.Snapshot.IPVS != nil && !h.Snapshot.IPVS.Loaded && h.keepsQuiet() && !h.movesAddresses() &&
		len(h.aliases()) == 0 && h.Counter("Ip.InAddrErrors") >= fewStrays && h.Snapshot.Links != nil && h.Snapshot.Addresses != nil
}

// fewStrays is how many packets for foreign addresses may come to any host by mistake.
const fewStrays = 3

func (h *Host) forwards() bool {
	fwd, ok := h.Snapshot.Sysctl("net/ipv4/ip_forward")
	return ok && fwd != 0
}

// routes6 says that an address is IPv6 and the host a router for it, which IPv4's switch does not tell.
func (h *Host) routes6(ip netip.Addr) bool {
	fwd, ok := h.Snapshot.Sysctl("net/ipv6/conf/all/forwarding")
	return ip.Is6() && ok && fwd != 0
}

// anotherHoldsServiceOn is for a host that has a VIP but is no destination of the director at hand: a second director
// whose table is empty, say. With the director's own table at hand the table decides who is a real server.
func anotherHoldsServiceOn(c *Cluster, h *Host, vip netip.Addr) bool {
	for _, ref := range c.DestinationsOf(vip) {
		if ref.Director != h {
			return len(h.parked) == 0
		}
	}
	return false
}

// isRouter is true of a host that forwards and has a way to a VIP, or is another host's gateway: a way to the VIP may be what it lacks.
func isRouter(c *Cluster, h *Host) bool {
	if len(h.WireLinks()) == 0 || len(c.VIPs) == 0 {
		return false
	}
	return slices.ContainsFunc(c.VIPs, func(vip netip.Addr) bool {
		return (h.forwards() || h.routes6(vip)) && h.Asked(lvs.RouteQuery{Dst: vip}).Outcome == lvs.OutUnicast
	}) || h.forwards() && slices.ContainsFunc(c.Hosts, func(o *Host) bool {
		return o != h && slices.ContainsFunc(o.Snapshot.Routes, func(r lvs.Route) bool { return r.Gateway.IsValid() && h.Has(r.Gateway) })
	})
}

func isClient(h *Host, vip netip.Addr) bool {
	for _, f := range h.Flows {
		if f.Virtual.Addr() == vip && f.Vantage == lvs.RoleClient && h.ownsClient(f) {
			return true
		}
	}
	return false
}

// DestinationRef is a destination together with its service and the director whose table has it.
type DestinationRef struct {
	Director    *Host
	Service     lvs.Service
	Destination lvs.Destination
}

func destinations(hosts []*Host) []DestinationRef {
	var out []DestinationRef
	for _, h := range hosts {
		if h.Snapshot.IPVS == nil {
			continue
		}
		for _, v := range h.Snapshot.IPVS.Services {
			for _, d := range v.Destinations {
				out = append(out, DestinationRef{h, v, d})
			}
		}
	}
	return out
}

// DestinationsOf are the destinations of a VIP's services in all tables at hand.
func (c *Cluster) DestinationsOf(vip netip.Addr) []DestinationRef { return c.byVIP[vip] }

// With returns the hosts that have the role.
func (c *Cluster) With(r lvs.Role) []*Host {
	var out []*Host
	for _, h := range c.Hosts {
		if h.Is(r) {
			out = append(out, h)
		}
	}
	return out
}

// Holder returns the observed host that has the address on any device, nil when none has.
func (c *Cluster) Holder(ip netip.Addr) *Host {
	for _, h := range c.Hosts {
		if h.Has(ip) {
			return h
		}
	}
	return nil
}

// HostOfMAC returns the observed host that has a link with that MAC (lower case, colons), nil when none has.
func (c *Cluster) HostOfMAC(mac string) *Host {
	for _, h := range c.Hosts {
		for _, l := range h.Snapshot.Links {
			if mac != "" && (l.MAC == mac || l.PermMAC == mac) {
				return h
			}
		}
	}
	return nil
}

// ServedVIPs are the VIPs that this real server is a destination for. Where no director is at hand they are all VIPs
// that the host has or is sent packets for.
func (c *Cluster) ServedVIPs(h *Host) []netip.Addr {
	var out []netip.Addr
	seen := map[netip.Addr]bool{} // there may be thousands
	add := func(ip netip.Addr) {
		if ip.IsValid() && !seen[ip] {
			seen[ip] = true
			out = append(out, ip)
		}
	}
	for _, ref := range h.named {
		add(ref.Service.Address)
	}
	if len(out) > 0 {
		return out
	}
	for _, ip := range c.VIPs {
		add(ip)
	}
	return out
}
