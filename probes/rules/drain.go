package rules

import (
	"fmt"
	"net/netip"

	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
)

// drain is how clients are kept from destinations that can not serve them, as long as nobody can cure these: weight 0, in every service of which
// another destination is left. The plan is empty where it is for somebody else to decide, and where nobody would be left.
func drain(c *probes.Case, b *badDestinations) (plan fixes.Plan, commands []string) {
	if b.severity() == probes.Outage {
		return plan, nil // it would only turn waiting into refusal
	}
	bad := map[netip.Addr]bool{} // there may be thousands
	for _, rip := range b.rips {
		bad[rip] = true
	}
	for _, v := range services(c) {
		for _, d := range v.Destinations {
			if d.Weight <= 0 || d.Forward != lvs.Gate || !bad[d.Address] {
				continue
			}
			plan.Steps = append(plan.Steps, fixes.EditDestination{Service: fixes.NameOf(v), Address: d.Address, Port: d.Port, Forward: d.Forward,
				UpperThreshold: d.UpperThreshold, LowerThreshold: d.LowerThreshold})
		}
	}
	plan.Title = fmt.Sprintf("send no clients to %s", list(b.rips))
	commands = plan.Commands()
	if tableOwned(c.Snapshot) || tooMuch(plan, c.Snapshot) {
		plan.Steps = nil
	}
	return plan, commands[:min(len(commands), 4)]
}
