package rules

import (
	"net/netip"
	"testing"

	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
)

// Set-ups from bare hosts never make anything worse on the way: after every prefix of the plan no rule finds an outage, or worse service, that
// was not there before. That the VIP is not here yet is what the plan is about.
func TestSetUpsNeverMakeItWorse(t *testing.T) {
	specs := map[string]fixes.Spec{
		"single": {VIP: netip.MustParsePrefix("192.168.10.8/32"), Gateway: netip.MustParseAddr("192.168.10.1")},
		"shared": {VIP: netip.MustParsePrefix("172.16.0.8/24")},
	}
	tried := 0
	for folder, hosts := range recorded(t) {
		spec, ok := specs[folder]
		if !ok {
			continue
		}
		spec.Services, spec.Scheduler = []fixes.Port{{Protocol: lvs.TCP, Port: 80}}, "rr"
		spec.RealServers = []fixes.RealServer{{Address: netip.MustParseAddr("192.168.10.11"), Weight: 1}, {Address: netip.MustParseAddr("192.168.10.12"), Weight: 1}}
		for _, h := range hosts {
			setUp := fixes.SetUpRealServer
			switch {
			case h.Snapshot.Host == "director":
				setUp = fixes.SetUpDirector
				routed := spec
				routed.Interface = "lo"
				t.Run(folder+"/director, routed", func(t *testing.T) { setUpFromBare(t, bare(t, h.Snapshot, spec.VIP.Addr()), routed, setUp) })
			case len(h.Snapshot.AddressesOf(spec.VIP.Addr())) == 0:
				continue // client and router
			}
			t.Run(folder+"/"+h.Snapshot.Host, func(t *testing.T) { setUpFromBare(t, bare(t, h.Snapshot, spec.VIP.Addr()), spec, setUp) })
			tried++
		}
	}
	if tried < 6 {
		t.Errorf("only %d hosts were set up", tried)
	}
}

// bare is a host without the VIP, virtual services and ARP sysctls.
func bare(t *testing.T, s *lvs.Snapshot, vip netip.Addr) *lvs.Snapshot {
	t.Helper()
	var strip fixes.Plan
	for _, a := range s.AddressesOf(vip) {
		strip.Steps = append(strip.Steps, fixes.DelAddress{Device: a.Device, Prefix: a.Prefix})
	}
	for _, key := range []string{"arp_ignore", "arp_announce"} {
		strip.Steps = append(strip.Steps, fixes.SetSysctl{Path: lvs.ConfPath("all", key), Value: "0"})
	}
	after, err := strip.After(s)
	if err != nil {
		t.Fatal(err)
	}
	out := after.Clone()
	if out.IPVS != nil {
		out.IPVS.Services = []lvs.Service{}
	}
	out.Owners = []lvs.Owner{}
	return out
}

func setUpFromBare(t *testing.T, s *lvs.Snapshot, spec fixes.Spec, setUp func(fixes.Spec, *lvs.Snapshot) (fixes.Plan, []fixes.Problem)) {
	plan, problems := setUp(spec, s)
	if len(problems) > 0 || plan.Empty() {
		t.Fatalf("plan %q, problems %v", plan.Commands(), problems)
	}
	states, err := plan.Simulate(s)
	if err != nil {
		t.Fatal(err)
	}
	// Roles are not given: as soon as the facts say what the host is, its rules judge it.
	judge := func(s *lvs.Snapshot) probes.Report {
		return probes.Diagnose(All(), []probes.Observation{{Snapshot: s}}, probes.Options{VIPs: []netip.Addr{spec.VIP.Addr()}})
	}
	before := judge(s)
	for i, now := range states {
		for _, g := range gained(before, judge(now)) {
			unfinished := (g.ID == "vip-not-on-director" || g.ID == "vip-missing-on-rs") && len(now.AddressesOf(spec.VIP.Addr())) == 0
			if (g.Severity == probes.Outage || g.Severity == probes.Degraded) && !unfinished {
				t.Errorf("after step %d, %s: gained %s", i+1, plan.Steps[i].Command(), wantLine(g))
			}
		}
	}
}
