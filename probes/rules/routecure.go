package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
)

// This file plans routes: the way of a real server's answers to the router.

// answerByRouter gives a finding about the way of a real server's answers its cure, when it is known who the router is. Without a default
// route it adds one. In the place of one that leads astray it puts the router's, or, where the operator's own session goes by that
// one, sends the VIP's answers alone to the router.
func answerByRouter(f *probes.Finding, c *probes.Case, vip netip.Addr) {
	gateway, dev, ok := router(c)
	if !ok {
		return
	}
	route := fixes.DefaultRoute(lvs.TableMain, gateway, dev)
	old := slices.DeleteFunc(slices.Clone(c.Snapshot.Routes), func(r lvs.Route) bool { return r.Table != route.Table || r.Dst != route.Dst })
	plan := fixes.Plan{Title: fmt.Sprintf("answer clients by way of %s", gateway)}
	switch len(old) {
	case 0:
		plan.Steps = []fixes.Step{route}
	case 1:
		route.Metric, route.Protocol = old[0].Metric, old[0].Protocol
		plan.Steps = []fixes.Step{fixes.ReplaceRoute(route)}
		if plan.Steps[0].Risk(c.Snapshot) == "" && cures(c, plan, vip, gateway) {
			break
		}
		fallthrough // or the route is a daemon's, which would set it again
	default:
		plan.Title = fmt.Sprintf("answer from %s by way of %s, and leave all other routes", vip, gateway)
		plan.Steps = fixes.AnswersBy(c.Snapshot, vip, gateway, dev)
	}
	if cures(c, plan, vip, gateway) {
		cureIfPossible(f, c.Snapshot, plan)
	}
}

// cures tells whether answers from the VIP then go to the router, whoever of those that were judged asks.
func cures(c *probes.Case, plan fixes.Plan, vip, gateway netip.Addr) bool {
	after, err := plan.After(c.Snapshot)
	if err != nil {
		return false
	}
	if _, err := plan.Undo(c.Snapshot); err != nil {
		return false
	}
	clients, _ := judgedClients(c, vip)
	for _, client := range clients {
		a := after.Lookup(lvs.RouteQuery{Dst: client, Src: vip})
		if a.Outcome != lvs.OutUnicast || a.Gateway.IsValid() && a.Gateway != gateway {
			return false
		}
	}
	return len(clients) > 0
}

// sameRule cures rs-policy-route: the VIP gets the rule that the RIP has, right in front of it.
func sameRule(f *probes.Finding, c *probes.Case, vip netip.Addr, rule lvs.PolicyRule) {
	st := fixes.AddRule{Priority: fixes.FreePriority(c.Snapshot, rule.Priority-1), From: netip.PrefixFrom(vip, vip.BitLen()), Table: rule.Table}
	plan := fixes.Plan{Title: fmt.Sprintf("route answers from %s as those from the RIP", vip), Steps: []fixes.Step{st}}
	if _, err := plan.After(c.Snapshot); err == nil {
		cureIfPossible(f, c.Snapshot, plan)
	}
}
