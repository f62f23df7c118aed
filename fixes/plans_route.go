package fixes

import (
	"net/netip"
	"slices"

	"lvstui/lvs"
)

// vipTable is the table for the routes of a VIP's answers; another number when somebody uses it.
const vipTable = 100

// AnswersBy are the steps by which answers from a VIP alone go by a gateway, and all other routes stay: a default route in a table
// of its own, and a rule that leads there.
func AnswersBy(s *lvs.Snapshot, vip, gateway netip.Addr, device string) []Step {
	table := FreeTable(s)
	return []Step{DefaultRoute(table, gateway, device), AddRule{Priority: FreePriority(s, 32000), From: netip.PrefixFrom(vip, vip.BitLen()), Table: table}}
}

// DefaultRoute is the step that adds a default route of the gateway's family.
func DefaultRoute(table int, gateway netip.Addr, device string) AddRoute {
	all := netip.IPv4Unspecified()
	if gateway.Is6() {
		all = netip.IPv6Unspecified()
	}
	return AddRoute{Table: table, Dst: netip.PrefixFrom(all, 0), Gateway: gateway, Device: device}
}

// FreePriority is the largest priority from at downwards that no policy rule has.
func FreePriority(s *lvs.Snapshot, at int) int {
	for at > 1 && slices.ContainsFunc(s.PolicyRules, func(r lvs.PolicyRule) bool { return r.Priority == at }) {
		at--
	}
	return at
}

// FreeTable is the first routing table from 100 on that neither a route nor a rule names.
func FreeTable(s *lvs.Snapshot) int {
	n := vipTable
	for slices.ContainsFunc(s.Routes, func(r lvs.Route) bool { return r.Table == n }) ||
		slices.ContainsFunc(s.PolicyRules, func(r lvs.PolicyRule) bool { return r.Table == n }) {
		n++
	}
	return n
}
