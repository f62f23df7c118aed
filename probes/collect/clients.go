package collect

import (
	"cmp"
	"net/netip"
	"slices"

	"lvstui/internal/arrange"
	"lvstui/lvs"
)

// The client that stands for all when nobody was seen: an address of the documentation networks, which no route but
// the default (or a full table) leads to, so that questions about it are answered as for the Internet at large
// (TEST-NET-2 of RFC 5737; RFC 3849).
var (
	assumedClient4 = netip.AddrFrom4([4]byte{198, 51, 100, 1})
	assumedClient6 = netip.MustParseAddr("2001:db8:ffff::1")
)

// clientLimit bounds Snapshot.Clients; the route questions take fewer.
const clientLimit = 64

// connections remembers the clients of the connection table.
func (c *collector) connections(all []lvs.Connection) {
	for _, e := range all {
		c.addClient(e.Client.Addr(), e.Virtual.Addr(), "ipvs")
	}
}

func (c *collector) addClient(ip, vip netip.Addr, origin string) {
	ip = ip.Unmap().WithZone("")
	if !ip.IsValid() || ip.IsUnspecified() || ip.IsLoopback() || ip.IsMulticast() || ip.IsLinkLocalUnicast() || c.own(ip) {
		return // this host's own connections take another way than a client's
	}
	if slices.ContainsFunc(c.clients, func(x lvs.Client) bool { return x.Address == ip }) || len(c.clients) >= clientLimit {
		return
	}
	c.clients = append(c.clients, lvs.Client{Address: ip, Virtual: vip, Origin: origin})
}

// own says that the address is one of this host's, of which there may be many thousand.
func (c *collector) own(ip netip.Addr) bool {
	if c.owned == nil {
		c.owned = map[netip.Addr]bool{}
		for _, a := range c.s.Addresses {
			c.owned[a.Prefix.Addr()] = true
		}
	}
	return c.owned[ip]
}

// readClients finds the virtual addresses and who talks to them.
func (c *collector) readClients() {
	c.vips = c.findVIPs()
	seen := c.clients // by readConnections
	c.clients = nil
	for _, ip := range c.opt.Clients {
		c.addClient(ip, netip.Addr{}, "operator")
	}
	for _, cl := range seen {
		c.addClient(cl.Address, cl.Virtual, cl.Origin)
	}
	c.socketClients()
	has4 := slices.ContainsFunc(c.clients, func(x lvs.Client) bool { return x.Address.Is4() })
	has6 := slices.ContainsFunc(c.clients, func(x lvs.Client) bool { return x.Address.Is6() })
	if !has4 {
		c.clients = append(c.clients, lvs.Client{Address: assumedClient4, Origin: "assumed"})
	}
	if !has6 && slices.ContainsFunc(c.vips, netip.Addr.Is6) {
		c.clients = append(c.clients, lvs.Client{Address: assumedClient6, Origin: "assumed"})
	}
	// This host's own connections are told, and no route is asked for them.
	c.s.Clients = slices.Concat(c.clients, c.selves[:min(len(c.selves), clientLimit)])
	arrange.By(c.s.Clients, func(a, b lvs.Client) int {
		return cmp.Or(a.Address.Compare(b.Address), cmp.Compare(a.Origin, b.Origin))
	})
	c.clients = spread(c.clients, askClients)
}

// spread chooses clients to ask routes for: one of each network of /24 or /48 first, the others while there is room.
func spread(all []lvs.Client, limit int) []lvs.Client {
	var first, rest []lvs.Client
	seen := map[netip.Prefix]bool{}
	for _, cl := range all {
		bits := 24
		if cl.Address.Is6() {
			bits = 48
		}
		net, _ := cl.Address.Prefix(bits)
		if seen[net] && cl.Origin != "operator" {
			rest = append(rest, cl)
			continue
		}
		seen[net] = true
		first = append(first, cl)
	}
	out := append(first, rest...)
	return out[:min(len(out), limit)]
}

// findVIPs lists the virtual addresses of this host as far as it shows, the surest first: those the operator named,
// the virtual services', those parked where no other host can ask for them, those made local by a route, and host
// addresses beside a network's own on a wire.
func (c *collector) findVIPs() []netip.Addr {
	var out []netip.Addr
	seen := map[netip.Addr]bool{}
	add := func(ip netip.Addr) {
		if ip.IsValid() && !ip.IsLoopback() && !ip.IsUnspecified() && !ip.IsLinkLocalUnicast() && !seen[ip] {
			seen[ip], out = true, append(out, ip)
		}
	}
	for _, ip := range c.opt.VIPs {
		add(ip.Unmap())
	}
	if c.s.IPVS != nil {
		for _, v := range c.s.IPVS.Services {
			add(v.Address)
		}
	}
	for _, a := range c.s.Addresses {
		if l, ok := c.s.Link(a.Device); ok && parkingPlace(l) {
			add(a.Prefix.Addr())
		}
	}
	for _, r := range c.s.Routes {
		if r.Type == "local" && r.Protocol != "kernel" {
			ip := r.Dst.Addr()
			if r.Dst.Bits() < ip.BitLen() {
				ip = ip.Next() // any of the prefix will do
			}
			add(ip)
		}
	}
	for _, a := range c.s.Addresses {
		if l, ok := c.s.Link(a.Device); ok && l.OnWire() && a.Prefix.Addr().Is4() && a.Prefix.IsSingleIP() && !a.Dynamic && !a.Peer.IsValid() {
			add(a.Prefix.Addr())
		}
	}
	return out
}

// parkingPlace says that addresses on the link are there to be local and not to be reached over it.
func parkingPlace(l lvs.Link) bool {
	return l.Loopback() || l.Kind == "dummy" || l.Kind == "ipip" || l.Kind == "ip6tnl" || l.Kind == "sit" || l.Type == "ipip" || l.Type == "tunnel6"
}
