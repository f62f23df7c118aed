package fixes

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"lvstui/internal/arrange"
	"lvstui/lvs"
)

const (
	kindAddRoute     = "route-add"
	kindReplaceRoute = "route-replace"
	kindDelRoute     = "route-del"
)

// AddRoute adds a route by one next hop to a table that is not the local one.
type AddRoute struct {
	Table   int          `json:"table"`
	Dst     netip.Prefix `json:"dst"`              // 0.0.0.0/0 or ::/0 is a default route
	Gateway netip.Addr   `json:"gateway,omitzero"` // invalid when on-link
	Device  string       `json:"device"`
	Source  netip.Addr   `json:"source,omitzero"`  // preferred source
	Metric  int          `json:"metric,omitempty"` // 0 is 1024 with IPv6, as the kernel has it (IP6_RT_PRIO_USER)
	// Protocol is "boot" (also when empty), which is what ip(8) gives, or "static".
	Protocol string `json:"protocol,omitempty"`
	OnLink   bool   `json:"onlink,omitempty"`
}

// ReplaceRoute puts a route in the place of the one with the same prefix and metric, or adds it where there is none.
type ReplaceRoute AddRoute

// DelRoute removes exactly this route.
type DelRoute AddRoute

// Kind is "route-add".
func (st AddRoute) Kind() string { return kindAddRoute }

// Kind is "route-replace".
func (st ReplaceRoute) Kind() string { return kindReplaceRoute }

// Kind is "route-del".
func (st DelRoute) Kind() string { return kindDelRoute }

// Command is the ip(8) command line.
func (st AddRoute) Command() string { return st.ip() + " route add " + st.words() }

// Command is the ip(8) command line.
func (st ReplaceRoute) Command() string {
	return AddRoute(st).ip() + " route replace " + AddRoute(st).words()
}

// Command is the ip(8) command line.
func (st DelRoute) Command() string { return AddRoute(st).ip() + " route del " + AddRoute(st).words() }

func (st AddRoute) ip() string { return ipCommand(st.Dst.Addr().Is6()) }

func ipCommand(six bool) string {
	if six {
		return "ip -6"
	}
	return "ip"
}

func (st AddRoute) words() string {
	out := st.Dst.String()
	if st.Dst.Bits() == 0 {
		out = "default"
	}
	if st.Gateway.IsValid() {
		out += " via " + st.Gateway.String()
	}
	out += " dev " + shellWord(st.Device)
	if st.Table != lvs.TableMain {
		out += fmt.Sprintf(" table %d", st.Table)
	}
	if st.Source.IsValid() {
		out += " src " + st.Source.String()
	}
	if st.Metric != 0 {
		out += fmt.Sprintf(" metric %d", st.Metric)
	}
	if st.Protocol == "static" {
		out += " proto static"
	}
	if st.OnLink {
		out += " onlink"
	}
	return out
}

// Validate refuses what the kernel could not have, and what lvstui does not do.
func (st AddRoute) Validate() error {
	if err := validDevice(st.Device); err != nil {
		return err
	}
	if err := validPrefix(st.Dst); err != nil {
		return err
	}
	if st.Dst != st.Dst.Masked() {
		return fmt.Errorf("%s is no prefix of a route", st.Dst)
	}
	for _, a := range []netip.Addr{st.Gateway, st.Source} {
		if a.IsValid() && (a.Is4() != st.Dst.Addr().Is4() || validHost(a) != nil) {
			return fmt.Errorf("%s can not be the gateway or the source of a route to %s", a, st.Dst)
		}
	}
	if st.Table <= 0 || st.Table == lvs.TableLocal || st.Table > 1<<31-1 || st.Metric < 0 || st.Metric > 1<<31-1 {
		return fmt.Errorf("no route with metric %d goes into table %d", st.Metric, st.Table)
	}
	if st.Protocol != "" && st.Protocol != "boot" && st.Protocol != "static" {
		return fmt.Errorf("routes of the protocol %q belong to somebody else", st.Protocol)
	}
	if st.OnLink && !st.Gateway.IsValid() {
		return fmt.Errorf("onlink is about a gateway, and there is none")
	}
	return nil
}

// Validate refuses what the kernel could not have, and what lvstui does not do.
func (st ReplaceRoute) Validate() error { return AddRoute(st).Validate() }

// Validate refuses what the kernel could not have, and what lvstui does not do.
func (st DelRoute) Validate() error { return AddRoute(st).Validate() }

// route is what a snapshot has of the route.
func (st AddRoute) route() lvs.Route {
	scope := "global"
	if !st.Gateway.IsValid() && st.Dst.Addr().Is4() {
		scope = "link"
	}
	return lvs.Route{Table: st.Table, Type: "unicast", Dst: st.Dst, Gateway: st.Gateway, Device: st.Device, Source: st.Source, Scope: scope,
		Protocol: cmp.Or(st.Protocol, "boot"), Metric: st.metric(), OnLink: st.OnLink}
}

func (st AddRoute) metric() int {
	if st.Dst.Addr().Is6() {
		return cmp.Or(st.Metric, 1024)
	}
	return st.Metric
}

// routeStep is the step that gives r back. It is an error where r is nothing that AddRoute can say.
func routeStep(r lvs.Route) (AddRoute, error) {
	st := AddRoute{Table: r.Table, Dst: r.Dst, Gateway: r.Gateway, Device: r.Device, Source: r.Source, Metric: r.Metric, Protocol: r.Protocol, OnLink: r.OnLink}
	if err := st.Validate(); err != nil {
		return st, fmt.Errorf("could not be taken back: %w", err)
	}
	if r != st.route() {
		return st, fmt.Errorf("could not be taken back: the route %s is of a kind that lvstui does not set", routeWords(r))
	}
	return st, nil
}

// rivals are the routes with the same prefix and metric in the same table: the kernel keeps one of them, or hops of one.
func (st AddRoute) rivals(s *lvs.Snapshot) []lvs.Route {
	var out []lvs.Route
	for _, r := range s.Routes {
		if r.Table == st.Table && r.Dst == st.Dst && r.Metric == st.metric() {
			out = append(out, r)
		}
	}
	return out
}

// Was says what there is now.
func (st AddRoute) Was(s *lvs.Snapshot) string {
	if s.Routes == nil {
		return "could not be read"
	}
	var words []string
	for _, r := range st.rivals(s) {
		words = append(words, "was "+routeWords(r))
	}
	return cmp.Or(strings.Join(words, " and "), "not there")
}

// Was says what there is now.
func (st ReplaceRoute) Was(s *lvs.Snapshot) string { return AddRoute(st).Was(s) }

// Was says what there is now.
func (st DelRoute) Was(s *lvs.Snapshot) string { return AddRoute(st).Was(s) }

// Done says that the route is there, and no rival.
func (st AddRoute) Done(s *lvs.Snapshot) bool {
	rivals := st.rivals(s)
	return len(rivals) == 1 && rivals[0] == st.route()
}

// Done says that the route is there, and no rival.
func (st ReplaceRoute) Done(s *lvs.Snapshot) bool { return AddRoute(st).Done(s) }

// Done says that the route is not there. It is not done when the routes could not be read.
func (st DelRoute) Done(s *lvs.Snapshot) bool {
	return s.Routes != nil && !slices.Contains(s.Routes, AddRoute(st).route())
}

// possible refuses a next hop that the kernel would not take (fib_check_nh).
func (st AddRoute) possible(s *lvs.Snapshot) error {
	if err := st.Validate(); err != nil {
		return err
	}
	if missing := s.Missing(lvs.SourceLinks, lvs.SourceAddresses, lvs.SourceRoutes, lvs.SourceRules); len(missing) > 0 {
		return fmt.Errorf("the %s of %s could not be read", missing[0], s.Host)
	}
	link, ok := s.Link(st.Device)
	if !ok || !link.Up {
		return fmt.Errorf("there is no interface %s on %s that is up", st.Device, s.Host)
	}
	if st.Gateway.IsValid() && !st.OnLink && !(st.Gateway.Is6() && st.Gateway.IsLinkLocalUnicast()) && deviceOf(s, st.Gateway) != st.Device {
		return fmt.Errorf("the gateway %s is not on a subnet of %s", st.Gateway, st.Device)
	}
	if st.Source.IsValid() && len(s.AddressesOf(st.Source)) == 0 {
		return fmt.Errorf("the source %s is no address of %s", st.Source, s.Host)
	}
	return nil
}

// Simulate adds the route.
func (st AddRoute) Simulate(s *lvs.Snapshot) (*lvs.Snapshot, error) {
	if err := st.possible(s); err != nil || st.Done(s) {
		return s, err
	}
	if rivals := st.rivals(s); len(rivals) > 0 {
		return nil, fmt.Errorf("there is a route %s already", routeWords(rivals[0]))
	}
	return withRoutes(s, nil, []lvs.Route{st.route()}), nil
}

// Simulate replaces the route. It refuses where there are several to choose from.
func (st ReplaceRoute) Simulate(s *lvs.Snapshot) (*lvs.Snapshot, error) {
	add := AddRoute(st)
	if err := add.possible(s); err != nil || st.Done(s) {
		return s, err
	}
	rivals := add.rivals(s)
	if len(rivals) > 1 {
		return nil, fmt.Errorf("there are %d routes to %s with metric %d: which one to replace is not sure", len(rivals), st.Dst, st.Metric)
	}
	return withRoutes(s, rivals, []lvs.Route{add.route()}), nil
}

// Simulate takes the route out.
func (st DelRoute) Simulate(s *lvs.Snapshot) (*lvs.Snapshot, error) {
	add := AddRoute(st)
	if err := st.Validate(); err != nil {
		return nil, err
	}
	if s.Routes == nil {
		return nil, fmt.Errorf("the routes of %s could not be read", s.Host)
	}
	if st.Done(s) {
		return s, nil
	}
	if rivals := add.rivals(s); len(rivals) > 1 {
		return nil, fmt.Errorf("there are %d routes to %s with metric %d: lvstui deletes none of several", len(rivals), st.Dst, st.Metric)
	}
	return withRoutes(s, []lvs.Route{add.route()}, nil), nil
}

func withRoutes(s *lvs.Snapshot, gone, come []lvs.Route) *lvs.Snapshot {
	next := *s
	next.Routes = slices.DeleteFunc(slices.Clone(s.Routes), func(r lvs.Route) bool { return slices.Contains(gone, r) })
	next.Routes = append(next.Routes, come...)
	arrange.By(next.Routes, compareRoutes)
	return withAnswers(s, &next)
}

// Undo deletes the route.
func (st AddRoute) Undo(s *lvs.Snapshot) ([]Step, error) {
	if st.Done(s) {
		return nil, nil
	}
	return proven(s, st, []Step{DelRoute(st)})
}

// Undo puts the old route in its place again, or deletes the new one where there was none.
func (st ReplaceRoute) Undo(s *lvs.Snapshot) ([]Step, error) {
	if st.Done(s) {
		return nil, nil
	}
	back := Step(DelRoute(st))
	if rivals := AddRoute(st).rivals(s); len(rivals) > 0 {
		old, err := routeStep(rivals[0])
		if err != nil {
			return nil, err
		}
		back = ReplaceRoute(old)
	}
	return proven(s, st, []Step{back})
}

// Undo adds the route again.
func (st DelRoute) Undo(s *lvs.Snapshot) ([]Step, error) {
	if st.Done(s) {
		return nil, nil
	}
	return proven(s, st, []Step{AddRoute(st)})
}

// Risk says when the operator's session would lose its way.
func (st AddRoute) Risk(s *lvs.Snapshot) string { return routeRisk(st, s) }

// Risk says when the operator's session would lose its way.
func (st ReplaceRoute) Risk(s *lvs.Snapshot) string { return routeRisk(st, s) }

// Risk says when the operator's session would lose its way.
func (st DelRoute) Risk(s *lvs.Snapshot) string { return routeRisk(st, s) }

func routeRisk(st Step, s *lvs.Snapshot) string {
	after, err := st.Simulate(s)
	if err != nil {
		return ""
	}
	return sessionRisk(s, after)
}

// fact is the name of the place that routes with the same prefix and metric compete for.
func (st AddRoute) fact() string { return routeFact(st.route()) }

func routeFact(r lvs.Route) string {
	return fmt.Sprintf("the route to %s with metric %d in table %d", r.Dst, r.Metric, r.Table)
}

// routeFacts adds the routes that people and configuration made. Those of the kernel follow the addresses, and those of daemons move.
func routeFacts(s *lvs.Snapshot, out map[string]string) {
	for _, r := range s.Routes {
		if r.Protocol != "boot" && r.Protocol != "static" {
			continue
		}
		name, value := routeFact(r), fmt.Sprintf("%s, %s", routeWords(r), r.Protocol)
		if r.Source.IsValid() {
			value += ", source " + r.Source.String()
		}
		if before, ok := out[name]; ok {
			value = before + " and " + value
		}
		out[name] = value
	}
}
