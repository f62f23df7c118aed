package lvs

import (
	"cmp"
	"net/netip"
	"slices"
)

// lookup walks the policy rules as fib_rules_lookup does.
func (f fib) lookup(fl flow) result {
	rules := slices.Clone(f.s.PolicyRules)
	slices.SortStableFunc(rules, func(a, b PolicyRule) int { return cmp.Compare(a.Priority, b.Priority) })
	for _, r := range rules {
		if r.Family != familyOf(fl.dst) || !r.matches(fl) {
			continue
		}
		if r.Other {
			return result{outcome: OutUnknown}
		}
		switch r.Action {
		case "table":
			if found := f.table(r.Table, fl); found.outcome != "" {
				return found
			}
		case "nop":
		case "unreachable":
			return result{outcome: OutUnreachable}
		case "blackhole", "prohibit":
			return result{outcome: OutRejected}
		default: // goto: where to is not in a snapshot
			return result{outcome: OutUnknown}
		}
	}
	if f.incomplete() {
		return result{outcome: OutUnknown}
	}
	return result{outcome: OutUnreachable}
}

// matches is fib_rule_match and fib4_rule_match, for the selectors that a snapshot has.
func (r PolicyRule) matches(fl flow) bool {
	ok := (r.Iif == "" || r.Iif == fl.iif) && (r.Oif == "" || r.Oif == fl.oif) && (r.Mark^fl.mark)&r.Mask == 0 &&
		selects(r.From, fl.src) && selects(r.To, fl.dst)
	return ok != r.Invert
}

func selects(p netip.Prefix, ip netip.Addr) bool {
	if !p.IsValid() || p.Bits() == 0 {
		return true
	}
	return ip.IsValid() && p.Masked().Contains(ip)
}

// table is fib_table_lookup: the longest prefix, of these the smallest metric. The zero result means go on with the next rule:
// no route, or one of type throw.
func (f fib) table(table int, fl flow) result {
	var best []Route
	for _, r := range f.routes(table, fl.dst) {
		if r.Table != table || !r.Dst.IsValid() || r.Dst.Addr().Is4() != fl.dst.Is4() || !r.Dst.Contains(fl.dst) || !f.usable(r, fl) {
			continue
		}
		switch {
		case len(best) == 0 || better(r, best[0]):
			best = []Route{r}
		case !better(best[0], r):
			best = append(best, r)
		}
	}
	if len(best) == 0 {
		return f.broadcast(table, fl)
	}
	// Routes of daemons are left out of the excerpt: a longer prefix may be among them.
	if table != TableLocal && f.incomplete() && best[0].Protocol != "kernel" {
		return result{outcome: OutUnknown}
	}
	kind := typeOutcome(best[0].Type)
	for _, r := range best[1:] {
		if typeOutcome(r.Type) != kind {
			return result{outcome: OutUnknown} // the kernel takes the one that was added first
		}
	}
	if table == TableLocal && best[0].Dst.Bits() < 32 {
		if b := f.broadcast(table, fl); b.outcome != "" {
			return b
		}
	}
	if kind == "" {
		return result{}
	}
	return result{kind, best}
}

// broadcast covers the broadcast addresses of subnets, should the excerpt have left their routes out.
func (f fib) broadcast(table int, fl flow) result {
	if table != TableLocal || !fl.dst.Is4() || fl.oif != "" {
		return result{}
	}
	over := func(device string) result {
		return result{OutOther, []Route{{Table: TableLocal, Type: "broadcast", Dst: netip.PrefixFrom(fl.dst, 32), Device: device}}}
	}
	if f.index != nil {
		if device, ok := f.index.broadcasts[fl.dst]; ok {
			return over(device)
		}
		return result{}
	}
	for _, a := range f.s.Addresses {
		if !slices.Contains(broadcastsOf(a), fl.dst) {
			continue
		}
		if l, ok := f.s.Link(a.Device); ok && l.Up {
			return over(a.Device)
		}
	}
	return result{}
}

// broadcastsOf are the broadcast addresses that come with an address: the one it was given, and the last of its subnet.
func broadcastsOf(a Address) []netip.Addr {
	subnet := a.Prefix
	if a.Peer.IsValid() {
		subnet = a.Peer
	}
	if !subnet.Addr().Is4() {
		return nil
	}
	var out []netip.Addr
	if a.Broadcast.IsValid() {
		out = append(out, a.Broadcast)
	}
	if subnet.Bits() < 31 && !a.Secondary {
		out = append(out, lastAddr(subnet))
	}
	return out
}

func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.AddrFrom4(b)
}

// usable: a lookup bound to an interface sees that interface's routes only, and routes over a dead link count for nothing
// where the administrator said so.
func (f fib) usable(r Route, fl flow) bool {
	if fl.oif != "" && r.Device != "" && r.Device != fl.oif {
		return false
	}
	if r.Type != "unicast" || r.Device == "" {
		return true
	}
	if ignore, ok := f.s.Sysctl(ConfPath(r.Device, "ignore_routes_with_linkdown")); ok && ignore != 0 {
		if l, ok := f.s.Link(r.Device); ok && !l.Running {
			return false
		}
	}
	return true
}

func better(a, b Route) bool {
	if a.Dst.Bits() != b.Dst.Bits() {
		return a.Dst.Bits() > b.Dst.Bits()
	}
	return a.Metric < b.Metric
}

// typeOutcome is fib_props. A blackhole is told as EINVAL, as a refused source is. Throw is "".
func typeOutcome(typ string) Outcome {
	switch typ {
	case "unicast", "":
		return OutUnicast
	case "local":
		return OutLocal
	case "throw":
		return ""
	case "unreachable":
		return OutUnreachable
	case "prohibit", "blackhole":
		return OutRejected
	}
	return OutOther
}

// incomplete says that the excerpt is known to lack routes.
func (f fib) incomplete() bool {
	return slices.ContainsFunc(f.s.Gaps, func(g Gap) bool { return g.Source == SourceRoutes })
}

func familyOf(ip netip.Addr) int {
	if ip.Is4() {
		return 4
	}
	return 6
}

// validateSource is fib_validate_source and __fib_validate_source. It returns OutLocal for a source that is accepted,
// OutRejected or OutUnknown. oif is the interface a forwarded packet would leave by.
func (f fib) validateSource(q RouteQuery, oif string) Outcome {
	rp, acceptLocal := f.s.Effective(q.Iif, "rp_filter"), f.s.Effective(q.Iif, "accept_local")
	if !rp.Known || !acceptLocal.Known {
		return OutUnknown
	}
	if rp.Value == 0 {
		redirects := f.s.Effective(q.Iif, "send_redirects")
		switch {
		case q.Iif == oif && !redirects.Known:
			return OutUnknown
		case q.Iif == oif && redirects.Value != 0: // whether to send a redirect needs the route back
		case acceptLocal.Value != 0:
			return OutLocal
		case f.custom():
		case f.has(q.Src):
			return OutRejected
		default:
			return OutLocal
		}
	}
	fl := flow{dst: q.Src, src: q.Dst, iif: "lo"}
	if oif != "" {
		fl.iif = oif
	}
	if q.Mark != 0 {
		vmark := f.s.Effective(q.Iif, "src_valid_mark")
		if !vmark.Known && f.marked() {
			return OutUnknown
		}
		if vmark.Known && vmark.Value != 0 {
			fl.mark = q.Mark
		}
	}
	back := f.lookup(fl)
	switch back.outcome {
	case OutUnknown:
		return OutUnknown
	case OutUnreachable, OutRejected:
		return lastResort(rp.Value)
	case OutLocal:
		if acceptLocal.Value == 0 {
			return OutRejected
		}
	case OutOther:
		return OutRejected
	}
	return f.reverse(q, fl, back, rp.Value)
}

// reverse compares the route back with the interface the packet came in on.
func (f fib) reverse(q RouteQuery, fl flow, back result, rp int) Outcome {
	uses := 0
	for _, r := range back.routes {
		if r.Device == q.Iif || r.Type == "local" && q.Iif == "lo" {
			uses++
		}
	}
	switch {
	case uses == len(back.routes):
		return OutLocal
	case uses > 0 && rp == 1:
		return OutUnknown // one multipath route accepts, the first of several like routes may not
	case uses > 0:
		return OutLocal
	case !slices.ContainsFunc(f.s.Addresses, func(a Address) bool { return a.Device == q.Iif && a.Prefix.Addr().Is4() }):
		return lastResort(rp)
	case rp == 1:
		return OutRejected
	}
	return OutLocal // loose: some route is enough
}

func lastResort(rp int) Outcome {
	if rp != 0 {
		return OutRejected
	}
	return OutLocal
}

// custom tells whether there are policy rules or local routes of somebody's own: then the kernel looks the source up
// although rp_filter is off. It remembers those that once were; a snapshot can't know of them.
func (f fib) custom() bool {
	for _, r := range f.s.PolicyRules {
		standard := r.Priority == 0 && r.Table == TableLocal || r.Priority == 32766 && r.Table == TableMain ||
			r.Priority == 32767 && r.Table == TableDefault
		if r.Family == 4 && !standard {
			return true
		}
	}
	return slices.ContainsFunc(f.s.Routes, func(r Route) bool {
		return r.Type == "local" && r.Dst.Addr().Is4() && r.Protocol != "kernel"
	})
}

func (f fib) marked() bool {
	return slices.ContainsFunc(f.s.PolicyRules, func(r PolicyRule) bool { return r.Mask != 0 })
}
