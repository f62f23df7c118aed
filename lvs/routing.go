package lvs

import "net/netip"

// Routing answers many routing questions about one snapshot. It gives the answers that Snapshot.Answer and Snapshot.Lookup
// give, without walking through all routes and addresses each time: a director may have thousands.
type Routing struct {
	fib     fib
	answers map[RouteQuery]RouteAnswer
}

// NewRouting indexes a snapshot, which must not change afterwards.
func NewRouting(s *Snapshot) *Routing {
	r := &Routing{fib: fib{s, newFibIndex(s)}, answers: make(map[RouteQuery]RouteAnswer, len(s.Answers))}
	for _, a := range s.Answers {
		if _, dup := r.answers[a.RouteQuery]; !dup {
			r.answers[a.RouteQuery] = a
		}
	}
	return r
}

// Answer is as Snapshot.Answer.
func (r *Routing) Answer(q RouteQuery) (RouteAnswer, bool) {
	a, ok := r.answers[q]
	return a, ok
}

// Lookup is as Snapshot.Lookup.
func (r *Routing) Lookup(q RouteQuery) RouteAnswer { return r.fib.ask(q) }

// IsLocal is as Snapshot.IsLocal.
func (r *Routing) IsLocal(ip netip.Addr) (local, known bool) { return r.fib.isLocal(ip) }

// fibIndex finds routes and addresses by what is asked for.
type fibIndex struct {
	routes     map[tablePrefix][]Route
	lengths    map[int][]int // prefix lengths that occur in a table
	broadcasts map[netip.Addr]string
	addresses  map[netip.Addr]bool
}

type tablePrefix struct {
	table int
	dst   netip.Prefix
}

func newFibIndex(s *Snapshot) *fibIndex {
	x := &fibIndex{routes: map[tablePrefix][]Route{}, lengths: map[int][]int{}, broadcasts: map[netip.Addr]string{}, addresses: map[netip.Addr]bool{}}
	has := map[[2]int]bool{}
	for _, r := range s.Routes {
		if !r.Dst.IsValid() {
			continue
		}
		key := tablePrefix{r.Table, r.Dst.Masked()}
		x.routes[key] = append(x.routes[key], r)
		if length := [2]int{r.Table, r.Dst.Bits()}; !has[length] {
			has[length] = true
			x.lengths[r.Table] = append(x.lengths[r.Table], r.Dst.Bits())
		}
	}
	up := map[string]bool{}
	for _, l := range s.Links {
		up[l.Name] = l.Up
	}
	for _, a := range s.Addresses {
		x.addresses[a.Prefix.Addr()] = true
		for _, ip := range broadcastsOf(a) {
			if _, dup := x.broadcasts[ip]; !dup && up[a.Device] {
				x.broadcasts[ip] = a.Device
			}
		}
	}
	return x
}

// candidates are the routes of a table whose prefix contains ip.
func (x *fibIndex) candidates(table int, ip netip.Addr) []Route {
	var out []Route
	for _, bits := range x.lengths[table] {
		if p, err := ip.Prefix(bits); err == nil {
			out = append(out, x.routes[tablePrefix{table, p}]...)
		}
	}
	return out
}
