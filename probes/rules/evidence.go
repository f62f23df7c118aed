package rules

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"lvstui/fixes"
	"lvstui/fixes/nextboot"
	"lvstui/lvs"
	"lvstui/probes"
)

// sysctlEvidence is the effective value of an interface's sysctl, with what it is made of.
func sysctlEvidence(s *lvs.Snapshot, dev, key, want string) probes.Evidence {
	e := s.Effective(dev, key)
	got := fmt.Sprintf("%d (all %d, %s %d)", e.Value, e.All, dev, e.Iface)
	return probes.Evidence{Fact: key + " on " + dev, Got: got, Want: want,
		Command: fmt.Sprintf("sysctl %s %s", lvs.SysctlName(lvs.ConfPath("all", key)), lvs.SysctlName(lvs.ConfPath(dev, key)))}
}

// addressEvidence says where an address is configured.
func addressEvidence(s *lvs.Snapshot, ip netip.Addr, want string) probes.Evidence {
	var where []string
	for _, a := range s.AddressesOf(ip) {
		where = append(where, fmt.Sprintf("%s on %s, scope %s", a.Prefix, a.Device, a.Scope))
	}
	got := strings.Join(where, "; ")
	if got == "" {
		got = "on no interface"
	}
	return probes.Evidence{Fact: "where " + ip.String() + " is", Got: got, Want: want, Command: "ip -o address show to " + ip.String()}
}

// routeCommand is how to ask the kernel a routing question by hand.
func routeCommand(q lvs.RouteQuery) string {
	cmd := "ip route get " + q.Dst.String()
	if q.Src.IsValid() {
		cmd += " from " + q.Src.String()
	}
	if q.Iif != "" {
		cmd += " iif " + q.Iif
	}
	if q.Mark != 0 {
		cmd += fmt.Sprintf(" mark %d", q.Mark)
	}
	return cmd
}

// routeWords says an answer as a person would.
func routeWords(a lvs.RouteAnswer) string {
	switch a.Outcome {
	case lvs.OutUnicast:
		if a.Gateway.IsValid() {
			return fmt.Sprintf("via %s on %s", a.Gateway, a.Device)
		}
		return "directly on " + a.Device
	case lvs.OutLocal:
		return "delivered to this host"
	case lvs.OutUnreachable:
		return "no route"
	case lvs.OutRejected:
		return "refused"
	}
	return string(a.Outcome)
}

func routeEvidence(fact string, a lvs.RouteAnswer, want string) probes.Evidence {
	return probes.Evidence{Fact: fact, Got: routeWords(a), Want: want, Command: routeCommand(a.RouteQuery)}
}

// cure gives a finding the plan that this host can carry out itself. A plan that cannot be tried or taken back is shown,
// and not done.
func cure(f *probes.Finding, s *lvs.Snapshot, plan fixes.Plan, elsewhere ...string) {
	plan.ID, plan.Host = f.ID, s.Host
	edits, words := nextboot.Edits(plan, s)
	for _, e := range edits {
		plan.NextBoot = append(plan.NextBoot, e.Path+": "+e.Why)
	}
	plan.NextBoot = append(plan.NextBoot, words...)
	plan.Elsewhere = append(slices.Clone(plan.Elsewhere), elsewhere...)
	if plan.Empty() {
		return
	}
	f.Fix = &probes.Fix{Host: s.Host, Commands: plan.Commands(), Words: strings.Join(plan.Elsewhere, "; ")}
	if _, err := plan.Undo(s); err == nil {
		f.Fix.Automatic, f.Fix.Plan = true, plan
	}
}

// cureIfPossible replaces an advised cure by a plan, where that could be simulated and taken back; the words stay.
func cureIfPossible(f *probes.Finding, s *lvs.Snapshot, plan fixes.Plan) {
	if _, err := plan.Undo(s); err != nil {
		return
	}
	advised := f.Fix
	cure(f, s, plan)
	if f.Fix.Words == "" {
		f.Fix.Words = advised.Words
	}
}

// withoutDone leaves out the steps that are done already.
func withoutDone(s *lvs.Snapshot, plan fixes.Plan) fixes.Plan {
	plan.Steps = slices.DeleteFunc(slices.Clone(plan.Steps), func(st fixes.Step) bool { return st.Done(s) })
	return plan
}

// advise gives a finding a cure to type, on this or another host.
func advise(f *probes.Finding, host, words string, commands ...string) {
	if commands == nil {
		commands = []string{}
	}
	f.Fix = &probes.Fix{Host: host, Commands: commands, Words: words}
}

// list names a few of many: "172.16.0.8, 172.16.0.9 and 40 more".
func list[T fmt.Stringer](all []T) string {
	const few = 3
	var out []string
	for i, v := range all {
		if i == few && len(all) > few+1 {
			return fmt.Sprintf("%s and %d more", strings.Join(out, ", "), len(all)-few)
		}
		out = append(out, v.String())
	}
	return strings.Join(out, ", ")
}

// about writes what a finding concerns: the VIP itself when it is one.
func about(f *probes.Finding, vips []netip.Addr) {
	if len(vips) == 1 {
		f.VIP = vips[0]
	}
}
