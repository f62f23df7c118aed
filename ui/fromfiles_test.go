package ui

import (
	"net/netip"
	"slices"
	"testing"

	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
	"lvstui/ui/internal/sample"
)

// drifted is rs1 with a VIP that no file mentions.
func drifted() Facts {
	f := sample.CuredRealServer()
	edit := "iface lo inet static\n"
	down := fixes.Plan{ID: "address-not-persistent", Host: "rs1", Title: "write 172.16.0.8 down", Files: []fixes.FileEdit{
		{Path: "/etc/network/interfaces.d/60-lvstui", After: &edit, Mode: 0o644, Why: "the next boot puts 172.16.0.8 on lo"}}}
	var vip []lvs.Address
	for i := range f.Snapshot.Addresses {
		a := &f.Snapshot.Addresses[i]
		a.Label = a.Device // as the kernel has it: else it could not be put back
		if a.Prefix.Addr().String() == "172.16.0.8" {
			vip = append(vip, *a)
		}
	}
	away := fixes.DropAddresses(f.Snapshot, vip)
	away.ID, away.Title = down.ID, "take 172.16.0.8 off lo"
	f.Report.Findings = []probes.Finding{{ID: down.ID, Severity: probes.Hazard, Certainty: probes.Strong, Stage: lvs.SynAccepted, Host: "rs1", Subject: "172.16.0.8 on lo",
		Title: "rs1 loses 172.16.0.8 at the next boot", Why: "No file mentions it.", Fix: &probes.Fix{Host: "rs1", Commands: []string{"edit " + down.Files[0].Path}, Automatic: true, Plan: down,
			FromFiles: &probes.Fix{Host: "rs1", Words: "the other way about, 172.16.0.8 leaves this host now", Commands: away.Commands(), Automatic: true, Plan: away}}}}
	for i := range f.Report.Path {
		if f.Report.Path[i].Stage == lvs.SynAccepted {
			f.Report.Path[i].Status, f.Report.Path[i].Findings = lvs.StageSuspect, []string{down.ID}
		}
	}
	return f
}

func TestTheOtherWayAbout(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {120, 40}} {
		host := &plainHost{name: "rs1", facts: drifted()}
		brings := func(_ Facts, after *lvs.Snapshot) probes.Report {
			if len(after.AddressesOf(netip.MustParseAddr("172.16.0.8"))) != 0 {
				t.Error("what is judged still has the VIP")
			}
			return probes.Report{Findings: []probes.Finding{{ID: "vip-missing-on-rs", Title: "172.16.0.8 is not on rs1"}}}
		}
		d := newDriver(t, size[0], size[1], Options{Hosts: hostsOf(host), ConfirmWithin: minute, WhatIf: brings}).start()
		d.shows("rs1 loses 172.16.0.8 at the next boot")
		d.press("f")
		d.pass()
		d.shows("o shows the other way about: this host as the files say", "60-lvstui")
		d.press("o")
		d.shows("172.16.0.8 leaves this host now", "new: 172.16.0.8 is not on rs1", "ip addr del 172.16.0.8/32 dev lo", "o shows the other way about: what runs into the files")
		d.press("a") // typed for the way that was shown before
		if len(host.applied) > 0 {
			t.Fatal("a key that was typed for the other plan made this one")
		}
		d.pass()
		d.press("o") // back, and there again
		d.shows("60-lvstui")
		d.press("o")
		d.pass()
		d.shows("new: 172.16.0.8 is not on rs1", "the same, by the files there are")
		d.press("a")
		if len(host.applied) != 1 || !slices.Equal(host.applied[0].Commands(), []string{"ip addr del 172.16.0.8/32 dev lo"}) || len(host.terms.Files) != 0 {
			t.Fatalf("made: %+v with the files %+v", host.applied, host.terms.Files)
		}
		d.tick(1)
		d.press("c")
		d.shows("kept; as the files say, so for the next boot")
	}
}
