package fixes

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"lvstui/internal/arrange"
	"lvstui/lvs"
)

// This file is what net/ipv4/devinet.c and fib_frontend.c do when an address comes or goes, and as much of
// net/ipv6/addrconf.c as matters here. fixes/apply holds it against the kernel.

// addressesOfDevice returns the addresses of a link in the kernel's order, which decides which secondary is promoted.
func addressesOfDevice(s *lvs.Snapshot, device string) ([]lvs.Address, error) {
	if missing := s.Missing(lvs.SourceLinks, lvs.SourceAddresses); len(missing) > 0 {
		return nil, fmt.Errorf("the %s of %s could not be read", missing[0], s.Host)
	}
	if _, ok := s.Link(device); !ok {
		return nil, fmt.Errorf("there is no interface %s on %s", device, s.Host)
	}
	out := []lvs.Address{}
	for _, a := range s.Addresses {
		if a.Device == device {
			out = append(out, a)
		}
	}
	return out, nil
}

// subnetOf is what makes addresses of one device primary and secondary: the peer's prefix where there is a peer.
func subnetOf(a lvs.Address) netip.Prefix {
	if a.Peer.IsValid() {
		return a.Peer.Masked()
	}
	return a.Prefix.Masked()
}

// insertAddress is __inet_insert_ifa.
func insertAddress(list []lvs.Address, a lvs.Address) ([]lvs.Address, error) {
	list = slices.Clone(list)
	if a.Prefix.Addr().Is6() {
		for _, b := range list {
			if b.Prefix.Addr() == a.Prefix.Addr() {
				return nil, fmt.Errorf("%s is on %s already, as %s", a.Prefix.Addr(), a.Device, b.Prefix)
			}
		}
		return append(list, a), nil
	}
	at := 0 // after the last primary of no smaller scope value
	for i, b := range list {
		if !b.Prefix.Addr().Is4() {
			continue
		}
		if !b.Secondary && scopeValue(a.Scope) <= scopeValue(b.Scope) {
			at = i + 1
		}
		if subnetOf(a) != subnetOf(b) {
			continue
		}
		switch {
		case a.Prefix.Addr() == b.Prefix.Addr():
			return nil, fmt.Errorf("%s is on %s already, with scope %s", b.Prefix, b.Device, b.Scope)
		case a.Scope != b.Scope:
			return nil, fmt.Errorf("%s on %s has scope %s: the kernel refuses %s with scope %s in the same subnet",
				b.Prefix, b.Device, b.Scope, a.Prefix, a.Scope)
		}
		a.Secondary = true
	}
	if a.Secondary {
		at = lastOfFamily4(list)
	}
	return slices.Insert(list, at, a), nil
}

// removeAddress is __inet_del_ifa, and inet6_addr_del for IPv6.
func removeAddress(list []lvs.Address, p netip.Prefix, promote bool) []lvs.Address {
	i := slices.IndexFunc(list, func(a lvs.Address) bool { return a.Prefix == p })
	gone := list[i]
	group := secondariesOf(list, gone)
	out := slices.DeleteFunc(slices.Clone(list), func(a lvs.Address) bool {
		return a == gone || !promote && slices.Contains(group, a)
	})
	if !promote || len(group) == 0 {
		return out
	}
	// The first secondary becomes primary, in the place after the last primary of no smaller scope value.
	out = slices.DeleteFunc(out, func(a lvs.Address) bool { return a == group[0] })
	at := 0
	for j, a := range out {
		if a.Prefix.Addr().Is4() && !a.Secondary && (j < i || scopeValue(gone.Scope) <= scopeValue(a.Scope)) {
			at = j + 1
		}
	}
	heir := group[0]
	heir.Secondary = false
	return slices.Insert(out, at, heir)
}

// secondariesOf returns the secondary addresses that hang on a primary one, in order.
func secondariesOf(list []lvs.Address, primary lvs.Address) []lvs.Address {
	var out []lvs.Address
	if primary.Secondary || primary.Prefix.Addr().Is6() {
		return nil
	}
	for _, a := range list {
		if a.Secondary && subnetOf(a) == subnetOf(primary) {
			out = append(out, a)
		}
	}
	return out
}

// promotes tells whether deleting p from the device would promote a secondary address. It needs to know only where there is one.
func promotes(s *lvs.Snapshot, device string, list []lvs.Address, p netip.Prefix) (bool, error) {
	gone, ok := addressOn(s, device, p)
	if !ok || len(secondariesOf(list, gone)) == 0 {
		return false, nil
	}
	e := s.Effective(device, "promote_secondaries")
	if !e.Known {
		return false, fmt.Errorf("%s has secondary addresses and promote_secondaries of %s could not be read", p, device)
	}
	return e.Value != 0, nil
}

// withAddresses is s with the addresses of one device replaced, and the routes that follow.
func withAddresses(s *lvs.Snapshot, device string, list []lvs.Address) *lvs.Snapshot {
	next := *s
	at := slices.IndexFunc(s.Addresses, func(a lvs.Address) bool { return a.Device == device })
	if at < 0 {
		at = slices.IndexFunc(s.Addresses, func(a lvs.Address) bool { return a.Device > device })
	}
	rest := make([]lvs.Address, 0, len(s.Addresses)+1)
	for _, a := range s.Addresses {
		if a.Device != device {
			rest = append(rest, a)
		}
	}
	if at < 0 || at > len(rest) {
		at = len(rest)
	}
	next.Addresses = slices.Insert(rest, at, list...)
	if s.Routes != nil {
		next.Routes = routesAfter(s, &next, device)
	}
	return withAnswers(s, &next)
}

// routesAfter gives the routes once the addresses of device are those of next: the kernel's own routes of the device follow its
// addresses, routes whose preferred source has vanished are flushed (fib_sync_down_addr), and so are all of the device
// when its last address has gone (fib_disable_ip).
func routesAfter(s, next *lvs.Snapshot, device string) []lvs.Route {
	link, _ := s.Link(device)
	before, after := kernelRoutes(s, link), kernelRoutes(next, link)
	empty := lost4(s, next, device)
	out := make([]lvs.Route, 0, len(s.Routes)+2)
	for _, r := range s.Routes {
		switch {
		case containsRoute(before, r) && !containsRoute(after, r):
		case empty && r.Device == device && r.Dst.Addr().Is4():
		case r.Source.IsValid() && len(s.AddressesOf(r.Source)) > 0 && len(next.AddressesOf(r.Source)) == 0:
		default:
			out = append(out, r)
		}
	}
	for _, r := range after {
		if !containsRoute(before, r) && !containsRoute(out, r) {
			out = append(out, r)
		}
	}
	arrange.By(out, compareRoutes)
	return out
}

// lost4 says that the device had IPv4 addresses and has none any more.
func lost4(s, next *lvs.Snapshot, device string) bool {
	has := func(s *lvs.Snapshot) bool {
		return slices.ContainsFunc(s.Addresses, func(a lvs.Address) bool { return a.Device == device && a.Prefix.Addr().Is4() })
	}
	return has(s) && !has(next)
}

// kernelRoutes are the routes that the kernel itself keeps for the addresses of a link.
func kernelRoutes(s *lvs.Snapshot, link lvs.Link) []lvs.Route {
	// Some collectors leave broadcast routes out: then none may appear here either.
	broadcasts := slices.ContainsFunc(s.Routes, func(r lvs.Route) bool { return r.Type == "broadcast" })
	var out []lvs.Route
	add := func(table int, typ, scope string, dst netip.Prefix, src netip.Addr, metric int) {
		r := lvs.Route{Table: table, Type: typ, Dst: dst, Device: link.Name, Source: src, Scope: scope, Protocol: "kernel", Metric: metric}
		if !containsRoute(out, r) {
			out = append(out, r)
		}
	}
	for _, a := range s.Addresses {
		if a.Device != link.Name {
			continue
		}
		ip, subnet := a.Prefix.Addr(), subnetOf(a)
		if ip.Is6() {
			if !link.Up || a.DADFailed {
				continue
			}
			add(lvs.TableLocal, "local", "global", netip.PrefixFrom(ip, 128), netip.Addr{}, 0)
			if !a.NoPrefixRoute && !ip.IsLoopback() {
				add(lvs.TableMain, "unicast", "global", subnet, netip.Addr{}, 256)
			}
			continue
		}
		src := ip
		if a.Secondary {
			src = primaryOf(s, a)
		}
		add(lvs.TableLocal, "local", "host", netip.PrefixFrom(ip, 32), src, 0)
		if !link.Up {
			continue
		}
		if a.Broadcast.IsValid() && broadcasts {
			add(lvs.TableLocal, "broadcast", "link", netip.PrefixFrom(a.Broadcast, 32), src, 0)
		}
		if a.Secondary || subnet.Addr().As4()[0] == 0 || subnet.IsSingleIP() && subnet.Addr() == ip {
			continue
		}
		if !a.NoPrefixRoute {
			if link.Loopback() {
				add(lvs.TableLocal, "local", "host", subnet, src, 0)
			} else {
				add(lvs.TableMain, "unicast", "link", subnet, src, 0)
			}
		}
		if subnet.Bits() < 31 && broadcasts {
			add(lvs.TableLocal, "broadcast", "link", netip.PrefixFrom(lastOf(subnet), 32), src, 0)
		}
	}
	return out
}

func primaryOf(s *lvs.Snapshot, a lvs.Address) netip.Addr {
	for _, p := range s.Addresses {
		if p.Device == a.Device && !p.Secondary && subnetOf(p) == subnetOf(a) {
			return p.Prefix.Addr()
		}
	}
	return a.Prefix.Addr()
}

// lastOf is the broadcast address of an IPv4 subnet.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.AddrFrom4(b)
}

// containsRoute compares what makes a route the same route to the kernel. Scope is left out: not every source tells it.
func containsRoute(list []lvs.Route, r lvs.Route) bool {
	return slices.ContainsFunc(list, func(k lvs.Route) bool {
		k.Scope = r.Scope
		return k == r
	})
}

func compareRoutes(a, b lvs.Route) int {
	return cmp.Or(cmp.Compare(a.Table, b.Table), boolCompare(a.Dst.Addr().Is6(), b.Dst.Addr().Is6()),
		a.Dst.Addr().Compare(b.Dst.Addr()), cmp.Compare(a.Dst.Bits(), b.Dst.Bits()), cmp.Compare(a.Metric, b.Metric),
		cmp.Compare(a.Device, b.Device), cmp.Compare(a.Type, b.Type))
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// lostBetween says in a few words what a has of addresses and routes that b has not, or the reverse; "" when they agree.
func lostBetween(a, b *lvs.Snapshot) string {
	var out []string
	for _, x := range a.Addresses {
		if !slices.Contains(b.Addresses, x) {
			out = append(out, fmt.Sprintf("the address %s on %s", x.Prefix, x.Device))
		}
	}
	for _, r := range a.Routes {
		if !slices.Contains(b.Routes, r) {
			out = append(out, "the route "+routeWords(r))
		}
		if r.Type != "unicast" || r.Source.IsValid() || !r.Dst.Addr().Is4() {
			continue
		}
		// An address that comes back comes back behind the others of its device, and the first one counts.
		q := lvs.RouteQuery{Dst: r.Dst.Addr()}
		if was, is := a.Lookup(q).Source, b.Lookup(q).Source; was != is {
			out = append(out, fmt.Sprintf("%s from its place as the source of the route %s", was, routeWords(r)))
		}
	}
	if len(out) == 0 && len(a.Addresses)+len(a.Routes) != len(b.Addresses)+len(b.Routes) {
		out = append(out, "something, and leave something else behind")
	}
	if len(out) > 3 {
		out = append(out[:3], fmt.Sprintf("%d more", len(out)-3))
	}
	return strings.Join(out, ", ")
}

func routeWords(r lvs.Route) string {
	words := r.Dst.String()
	if r.Dst.Bits() == 0 {
		words = "default"
	}
	if r.Gateway.IsValid() {
		words += " via " + r.Gateway.String()
	}
	words += " dev " + r.Device
	if r.Source.IsValid() {
		words += " src " + r.Source.String()
	}
	if r.Table != lvs.TableMain {
		words += " table " + strconv.Itoa(r.Table)
	}
	return words
}

func lastOfFamily4(list []lvs.Address) int {
	at := 0
	for i, a := range list {
		if a.Prefix.Addr().Is4() {
			at = i + 1
		}
	}
	return at
}

// scopeValue is RT_SCOPE_*.
func scopeValue(scope string) int {
	switch scope {
	case "site":
		return 200
	case "link":
		return 253
	case "host":
		return 254
	}
	return 0
}
