package nextboot

import (
	"maps"
	"slices"

	"lvstui/fixes"
	"lvstui/lvs"
)

// This file writes what runs into the files, without changing what runs.

// KeepSysctls has the next boot set these paths below /proc/sys.
func KeepSysctls(s *lvs.Snapshot, values map[string]string) ([]fixes.FileEdit, []string) {
	e := &editor{d: newDisk(s), s: s, after: s}
	for _, path := range slices.Sorted(maps.Keys(values)) {
		if err := e.d.setSysctl(path, values[path]); err != nil {
			e.say("%v", err)
		}
	}
	return e.d.edits(), e.words
}

// KeepAddress has the next boot put an address where it is.
func KeepAddress(s *lvs.Snapshot, a lvs.Address) ([]fixes.FileEdit, []string) {
	e := &editor{d: newDisk(s), s: s, after: s}
	if words, owned := e.addressOwner(a.Device, a.Prefix, true); owned {
		return nil, []string{words}
	}
	want := Address{Device: a.Device, Prefix: a.Prefix}
	if a.Scope != "global" {
		want.Scope = a.Scope
	}
	if a.Label != a.Device && a.Prefix.Addr().Is4() {
		want.Label = a.Label
	}
	e.persistAddress(want, true)
	return e.d.edits(), e.words
}

// manyServices is from how many on a table is left to ipvsadm-save, which keeps no comments.
const manyServices = 200

// KeepTable has ipvsadm's service restore the ip_vs table as it is, and nothing else.
func KeepTable(s *lvs.Snapshot) ([]fixes.FileEdit, []string) {
	e := &editor{d: newDisk(s), s: s, after: s}
	if s.IPVS == nil {
		return nil, nil
	}
	if file := e.d.tableFile(); file != "" && len(s.IPVS.Services) > manyServices {
		return nil, []string{"ipvsadm-save -n > " + file}
	}
	for _, v := range s.IPVS.Services {
		if err := e.d.setService(fixes.NameOf(v), &v); err != nil {
			e.say("%v", err)
			return e.d.edits(), e.words
		}
	}
	if t := e.d.savedTable(); t != nil {
		for _, v := range t.Services {
			if !slices.ContainsFunc(s.IPVS.Services, func(o lvs.Service) bool { return fixes.NameOf(o) == fixes.NameOf(v) }) {
				if err := e.d.setService(fixes.NameOf(v), nil); err != nil {
					e.say("%v", err)
				}
			}
		}
	}
	return e.d.edits(), e.words
}

// RestoreTable has ipvsadm's service restore its save file at boot, as it is.
func RestoreTable(s *lvs.Snapshot) ([]fixes.FileEdit, []string) {
	d := newDisk(s)
	t := d.savedTable()
	if t == nil || t.On {
		return nil, nil
	}
	if err := d.turnOn(t.File, &lvs.Service{}); err != nil {
		return nil, []string{err.Error()}
	}
	return d.edits(), nil
}

// Knows says which system configures a device at boot; ok is false where none that lvstui knows does.
func (b Boot) Knows(device string) (name string, ok bool) {
	if sys := b.disk.systemOf(device); sys != nil {
		return sys.name(), true
	}
	return "", false
}

// Written are the files once the edits are made.
func Written(files []lvs.ConfigFile, edits []fixes.FileEdit) []lvs.ConfigFile {
	out := slices.Clone(files)
	for _, e := range edits {
		out = slices.DeleteFunc(out, func(f lvs.ConfigFile) bool { return f.Path == e.Path })
		if e.After != nil {
			out = append(out, lvs.ConfigFile{Path: e.Path, Text: *e.After, Mode: e.Mode})
		}
	}
	return out
}
