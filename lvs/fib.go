package lvs

import (
	"net/netip"
	"slices"
)

// Lookup predicts what the kernel would answer to q, from the routes, rules, addresses and sysctls of the snapshot: the route
// lookup of net/ipv4/fib_frontend.c and route.c and, with q.Iif, its validation of the source. IPv6 is followed as far
// as outcome, device and gateway go. Where the snapshot cannot decide the outcome is OutUnknown. It exists so that a change
// can be judged before it is made; for the host as it is, the kernel's own word counts (Answer).
func (s *Snapshot) Lookup(q RouteQuery) RouteAnswer { return fib{s: s}.ask(q) }

func (f fib) ask(q RouteQuery) RouteAnswer {
	if q.Iif != "" {
		return f.input(q)
	}
	return f.output(q)
}

// Answer is the kernel's recorded answer to exactly this question. Its outcome may be OutUnknown: asked, and not told.
func (s *Snapshot) Answer(q RouteQuery) (RouteAnswer, bool) {
	for _, a := range s.Answers {
		if a.RouteQuery == q {
			return a, true
		}
	}
	return RouteAnswer{}, false
}

// IsLocal tells whether the host takes packets for ip as its own: an address, the prefix of an address on lo, a local route.
// known is false when neither routes nor addresses can tell.
func (s *Snapshot) IsLocal(ip netip.Addr) (local, known bool) { return fib{s: s}.isLocal(ip) }

func (f fib) isLocal(ip netip.Addr) (local, known bool) {
	switch f.ask(RouteQuery{Dst: ip}).Outcome {
	case OutLocal:
		return true, true
	case OutUnknown:
		// An address is local in any case; that there is none proves nothing.
		return f.has(ip), f.has(ip)
	}
	return false, true
}

// fib is the routing of one snapshot. Without an index it walks through all routes.
type fib struct {
	s     *Snapshot
	index *fibIndex
}

// has tells whether an address is configured on any device.
func (f fib) has(ip netip.Addr) bool {
	if f.index != nil {
		return f.index.addresses[ip]
	}
	return len(f.s.AddressesOf(ip)) > 0
}

// routes are those that a lookup in a table has to look at.
func (f fib) routes(table int, ip netip.Addr) []Route {
	if f.index != nil {
		return f.index.candidates(table, ip)
	}
	return f.s.Routes
}

// flow is the key of one lookup, as struct flowi4.
type flow struct {
	dst, src netip.Addr // src invalid means any
	iif, oif string     // iif "lo" for packets of this host
	mark     uint32
}

// result is what a lookup found: one route, or several that nothing tells apart.
type result struct {
	outcome Outcome // of the lookup itself: OutLocal, OutUnicast, OutOther, or why there is no route
	routes  []Route // never empty when outcome is OutLocal, OutUnicast or OutOther
}

func (f fib) readable() bool {
	return f.s.Routes != nil && f.s.Addresses != nil && f.s.Links != nil && f.s.PolicyRules != nil
}

// output is ip_route_output_key_hash_rcu.
func (f fib) output(q RouteQuery) RouteAnswer {
	a := RouteAnswer{RouteQuery: q, Outcome: OutUnknown}
	if !f.readable() || !q.Dst.IsValid() {
		return a
	}
	if q.Src.IsValid() && q.Src.Is4() {
		switch {
		case isMulticast(q.Src) || q.Src.As4()[0] == 0:
			a.Outcome = OutRejected
			return a
		case !f.mayBeSource(q.Src):
			a.Outcome = OutUnreachable // as the kernel puts it
			return a
		}
	}
	if isMulticast(q.Dst) {
		a.Outcome = OutOther
		return a
	}
	r := f.lookup(flow{dst: q.Dst, src: q.Src, iif: "lo", mark: q.Mark})
	a = f.fill(a, r)
	if q.Src.Is4() && q.Src.IsLoopback() && (r.outcome == OutUnicast || r.outcome == OutOther) {
		a = f.loopbackAbroad(a, r)
	}
	if !q.Src.IsValid() && q.Dst.Is4() {
		a.Source = f.preferredSource(a, r)
	}
	return a
}

// loopbackAbroad: 127/8 leaves by no other interface unless route_localnet says so (__mkroute_output).
func (f fib) loopbackAbroad(a RouteAnswer, r result) RouteAnswer {
	for _, route := range r.routes {
		if l, ok := f.s.Link(route.Device); !ok || l.Loopback() {
			continue
		}
		switch e := f.s.Effective(route.Device, "route_localnet"); {
		case !e.Known:
			return RouteAnswer{RouteQuery: a.RouteQuery, Outcome: OutUnknown}
		case e.Value == 0:
			return RouteAnswer{RouteQuery: a.RouteQuery, Outcome: OutRejected}
		}
	}
	return a
}

// mayBeSource is __ip_dev_find: an address of ours, or inside a local prefix.
func (f fib) mayBeSource(ip netip.Addr) bool {
	return f.has(ip) || f.table(TableLocal, flow{dst: ip}).outcome == OutLocal
}

// input is ip_route_input_slow.
func (f fib) input(q RouteQuery) RouteAnswer {
	a := RouteAnswer{RouteQuery: q, Outcome: OutUnknown}
	if !f.readable() || !q.Dst.IsValid() {
		return a
	}
	if _, ok := f.s.Link(q.Iif); !ok {
		return a
	}
	if isMulticast(q.Dst) {
		a.Outcome = OutOther
		return a
	}
	if q.Dst.Is4() && (!q.Src.IsValid() || !q.Src.Is4() || q.Src.IsUnspecified() || isMulticast(q.Src)) {
		a.Outcome = OutRejected
		return a
	}
	if q.Dst.Is4() && (q.Dst.IsLoopback() || q.Src.IsLoopback()) && q.Iif != "lo" {
		e := f.s.Effective(q.Iif, "route_localnet")
		switch {
		case !e.Known:
			return a
		case e.Value == 0:
			a.Outcome = OutRejected
			return a
		}
	}
	r := f.lookup(flow{dst: q.Dst, src: q.Src, iif: q.Iif, mark: q.Mark})
	if q.Dst.Is6() {
		return f.fill(a, r) // no rp_filter, and whether it forwards is decided later
	}
	return f.accept(a, r)
}

// accept judges a received IPv4 packet that was looked up: forwarding for what is not local, and the source.
func (f fib) accept(a RouteAnswer, r result) RouteAnswer {
	if r.outcome == OutUnknown {
		return a
	}
	if r.outcome != OutLocal && r.outcome != OutOther {
		forwarding := f.s.Effective(a.Iif, "forwarding")
		switch {
		case !forwarding.Known:
			return a
		case forwarding.Value == 0:
			a.Outcome = OutUnreachable
			return a
		case r.outcome != OutUnicast:
			a.Outcome = r.outcome
			return a
		}
	}
	oif := ""
	if r.outcome == OutUnicast {
		dev, one := sameDevice(r.routes)
		if !one {
			return a
		}
		oif = dev
	}
	q := a.RouteQuery
	if r.outcome == OutOther {
		q.Dst = netip.IPv4Unspecified() // a broadcast's source is looked up without it
	}
	if a.Outcome = f.validateSource(q, oif); a.Outcome != OutLocal {
		return a // rejected, or nobody knows
	}
	return f.fill(a, r)
}

// fill writes a lookup's result into an answer.
func (f fib) fill(a RouteAnswer, r result) RouteAnswer {
	a.Outcome = r.outcome
	switch r.outcome {
	case OutLocal:
		a.Table = r.routes[0].Table
		if a.Device = "lo"; a.Dst.Is6() && a.Iif != "" {
			a.Device = r.routes[0].Device
		}
	case OutUnicast:
		first := r.routes[0]
		for _, other := range r.routes[1:] {
			if other.Device != first.Device || other.Gateway != first.Gateway {
				return RouteAnswer{RouteQuery: a.RouteQuery, Outcome: OutUnknown} // which of them is not in a snapshot
			}
		}
		a.Device, a.Gateway, a.Table = first.Device, first.Gateway, first.Table
	}
	return a
}

func sameDevice(routes []Route) (string, bool) {
	for _, r := range routes[1:] {
		if r.Device != routes[0].Device {
			return "", false
		}
	}
	return routes[0].Device, true
}

// preferredSource is fib_result_prefsrc.
func (f fib) preferredSource(a RouteAnswer, r result) netip.Addr {
	switch {
	case a.Outcome == OutLocal:
		// The source of a local route is the primary of its subnet, which for a secondary address is another one.
		if src := r.routes[0].Source; src.IsValid() {
			return src
		}
		return a.Dst
	case a.Outcome != OutUnicast:
		return netip.Addr{}
	case r.routes[0].Source.IsValid():
		return r.routes[0].Source
	}
	scope := scopeLink
	if a.Gateway.IsValid() || r.routes[0].Scope == "global" {
		scope = 0
	}
	return f.selectAddr(a.Device, a.Gateway, scope)
}

const scopeLink = 253

// selectAddr is inet_select_addr: a primary address of dev, best one whose subnet has the gateway; else one of another
// interface, in the order of their numbers.
func (f fib) selectAddr(dev string, gw netip.Addr, scope int) netip.Addr {
	var first netip.Addr
	for _, a := range f.s.Addresses {
		if a.Device != dev || a.Secondary || !a.Prefix.Addr().Is4() || min(scopeNumber(a.Scope), scopeLink) > scope {
			continue
		}
		subnet := a.Prefix
		if a.Peer.IsValid() {
			subnet = a.Peer
		}
		if !gw.IsValid() || subnet.Masked().Contains(gw) {
			return a.Prefix.Addr()
		}
		if !first.IsValid() {
			first = a.Prefix.Addr()
		}
	}
	if first.IsValid() {
		return first
	}
	links := slices.Clone(f.s.Links)
	slices.SortFunc(links, func(a, b Link) int { return a.Index - b.Index })
	for _, l := range links {
		for _, a := range f.s.Addresses {
			n := scopeNumber(a.Scope)
			if a.Device == l.Name && !a.Secondary && a.Prefix.Addr().Is4() && n != scopeLink && n <= scope {
				return a.Prefix.Addr()
			}
		}
	}
	return netip.Addr{}
}

// scopeNumber is RT_SCOPE_*.
func scopeNumber(scope string) int {
	switch scope {
	case "site":
		return 200
	case "link":
		return scopeLink
	case "host":
		return 254
	case "nowhere":
		return 255
	}
	return 0
}

func isMulticast(ip netip.Addr) bool {
	return ip.IsMulticast() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255})
}
