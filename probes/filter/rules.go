package filter

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"lvstui/internal/arrange"
	"lvstui/lvs"
)

// Rules is the packet filter of a host, made ready to be asked about many packets: a director may have thousands of services, and sets with as
// many elements. It keeps what it has worked out of the rules, so it is not for several goroutines at once.
type Rules struct {
	base   map[string][]*lvs.Chain // by hook, in the order of their priorities
	chains map[chainName]*lvs.Chain
	sets   map[chainName]*lvs.Set
	lists  map[*string]*list // by the first of the values they are made of
}

type chainName struct{ backend, family, table, name string }

// Compile makes a packet filter ready. With nil there are no rules.
func Compile(nf *lvs.Netfilter) *Rules {
	if nf == nil {
		nf = &lvs.Netfilter{}
	}
	r := &Rules{base: map[string][]*lvs.Chain{}, chains: map[chainName]*lvs.Chain{}, sets: map[chainName]*lvs.Set{}, lists: map[*string]*list{}}
	for i := range nf.Chains {
		c := &nf.Chains[i]
		if c.Hook != "" {
			r.base[c.Hook] = append(r.base[c.Hook], c)
		}
		if key := (chainName{c.Backend, c.Family, c.Table, c.Name}); r.chains[key] == nil {
			r.chains[key] = c
		}
	}
	for _, chains := range r.base {
		slices.SortStableFunc(chains, func(a, b *lvs.Chain) int { return cmp.Compare(a.Priority, b.Priority) })
	}
	for i := range nf.Sets {
		s := &nf.Sets[i]
		if key := (chainName{"", s.Family, s.Table, s.Name}); r.sets[key] == nil {
			r.sets[key] = s
		}
	}
	return r
}

// values are those of a condition, in its own words or of a named set of the chain's table. complete is false when some are not known.
func (r *Rules) values(chain *lvs.Chain, m lvs.Match) (values *list, complete bool) {
	text, complete := m.Values, len(m.Values) > 0 // without any it is a condition whose value was not understood
	if m.Set != "" {
		set := r.sets[chainName{"", chain.Family, chain.Table, strings.TrimPrefix(m.Set, "@")}]
		if set == nil {
			return &list{}, false
		}
		text, complete = set.Elements, !set.Truncated
	}
	if len(text) == 0 {
		return &list{}, complete
	}
	l := r.lists[&text[0]]
	if l == nil || len(l.text) != len(text) {
		l = &list{text: text}
		r.lists[&text[0]] = l
	}
	return l, complete
}

// list is the values of a condition: alternatives.
type list struct {
	text []string

	parsed     bool
	addresses  map[netip.Addr]bool
	ranges     []addressSpan // in order, not overlapping
	unreadable bool          // some value is no address
}

type addressSpan struct{ lo, hi netip.Addr }

// holdAddress tells whether an address is among the values. Of an address that is not known only that it may be, unless all are.
func (l *list) holdAddress(ip netip.Addr) answer {
	l.parse()
	found := no
	if l.unreadable {
		found = perhaps
	}
	if !ip.IsValid() {
		if len(l.addresses) > 0 || len(l.ranges) > 0 {
			found = perhaps
		}
		for _, s := range l.ranges {
			everything := netip.PrefixFrom(s.lo, 0).Masked()
			found = max(found, known(s.lo == everything.Addr() && s.hi == lastOf(everything)))
		}
		return found
	}
	if l.addresses[ip] {
		return yes
	}
	i, exact := slices.BinarySearchFunc(l.ranges, ip, func(s addressSpan, ip netip.Addr) int { return s.lo.Compare(ip) })
	if exact || i > 0 && ip.Compare(l.ranges[i-1].hi) <= 0 {
		return yes
	}
	return found
}

func (l *list) parse() {
	if l.parsed {
		return
	}
	l.parsed, l.addresses = true, map[netip.Addr]bool{}
	var all []addressSpan
	for _, v := range l.text {
		lo, hi, ok := addressRange(strings.TrimSpace(v))
		switch {
		case !ok:
			l.unreadable = true
		case lo == hi:
			l.addresses[lo] = true
		case lo.Is4() == hi.Is4():
			all = append(all, addressSpan{lo, hi})
		}
	}
	arrange.By(all, func(a, b addressSpan) int { return a.lo.Compare(b.lo) })
	for _, s := range all {
		if n := len(l.ranges); n > 0 && s.lo.Compare(l.ranges[n-1].hi) <= 0 && s.lo.Is4() == l.ranges[n-1].lo.Is4() {
			if s.hi.Compare(l.ranges[n-1].hi) > 0 {
				l.ranges[n-1].hi = s.hi
			}
			continue
		}
		l.ranges = append(l.ranges, s)
	}
}
