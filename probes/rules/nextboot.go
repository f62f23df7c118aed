package rules

import (
	"fmt"
	"slices"
	"strings"

	"lvstui/fixes"
	"lvstui/fixes/nextboot"
	"lvstui/lvs"
	"lvstui/probes"
)

// This file holds what the rules about the next boot share. They compare what runs with what the files would give, and say
// nothing where not all files could be read: what was not read may hold just what is missed.

// bootOf is what the files of a host give at the next boot. It is none in a network namespace of its own or a container,
// and none where nobody knows who else configures the host.
func bootOf(c *probes.Case) (nextboot.Boot, bool) {
	if c.Snapshot.Owners == nil || slices.ContainsFunc(c.Snapshot.Gaps, func(g lvs.Gap) bool { return g.Source == lvs.SourceFiles }) {
		return nextboot.Boot{}, false
	}
	return nextboot.After(c.Snapshot)
}

// runs says that one of these programs owns a part of the configuration while it runs.
func runs(c *probes.Case, what string, names ...string) (lvs.Owner, bool) {
	for _, o := range c.Snapshot.Owners {
		if slices.Contains(o.Owns, what) && slices.Contains(names, o.Name) {
			return o, true
		}
	}
	return lvs.Owner{}, false
}

// writeDown gives a finding the cure that changes files only.
func writeDown(f *probes.Finding, c *probes.Case, title string, edits []fixes.FileEdit, words []string) {
	plan := fixes.Plan{ID: f.ID, Host: c.Name(), Title: title, Files: edits, Elsewhere: words}
	var commands []string
	for _, e := range edits {
		plan.NextBoot = append(plan.NextBoot, e.Path+": "+e.Why)
		commands = append(commands, "edit "+e.Path)
	}
	advise(f, c.Name(), strings.Join(words, "; "), commands...)
	if len(edits) > 0 && len(words) == 0 {
		f.Fix.Automatic, f.Fix.Plan = true, plan
	}
}

// fromFiles gives a finding the other way about: what runs is brought to what the files say. Where that cannot be tried or taken back, the
// commands are there to type.
func fromFiles(f *probes.Finding, s *lvs.Snapshot, plan fixes.Plan, words string, commands ...string) {
	plan.ID, plan.Host = f.ID, s.Host
	other := &probes.Fix{Host: s.Host, Words: words, Commands: commands}
	if len(plan.Steps) > 0 && !tooMuch(plan, s) {
		if _, err := plan.Undo(s); err == nil {
			other.Automatic, other.Plan, other.Commands = true, plan, plan.Commands()
		}
	}
	if len(other.Commands) > 0 {
		f.Fix.FromFiles = other
	}
}

// tooMuch says that a plan is better left to a program that reads the file: each step is tried on the whole table of virtual services, at every
// look.
func tooMuch(plan fixes.Plan, s *lvs.Snapshot) bool {
	services := 1
	if s.IPVS != nil {
		services += len(s.IPVS.Services)
	}
	return len(plan.Steps) > 400 || len(plan.Steps)*services > 20_000
}

// placeWords names a line of a file.
func placeWords(p nextboot.Place) string { return fmt.Sprintf("%s line %d", p.File, p.Line) }

// scripted says that a script, a unit or another file that is not evaluated mentions one of these words: it may well do at boot
// what nothing else does.
func scripted(b nextboot.Boot, words ...string) bool {
	for _, w := range words {
		for _, file := range b.Mentions(w) {
			if !strings.Contains(file, "/sysctl") && !strings.HasPrefix(file, "/etc/default/") && !strings.HasPrefix(file, "/etc/ipvsadm") && !strings.HasPrefix(file, "/etc/sysconfig/ipvsadm") {
				return true
			}
		}
	}
	return false
}
