package nextboot

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"lvstui/fixes"
	"lvstui/lvs"
)

// laterFiles are the names for settings that a file after fixes.SysctlFile would override.
var laterFiles = []string{fixes.SysctlFile, "/etc/sysctl.d/99-zz-lvstui.conf", "/etc/sysctl.d/zzz-lvstui.conf"}

const sysctlHeader = "# Written by lvstui for LVS direct routing. Later files may override it: sysctl.d(5).\n"

// setting is one line of a file of sysctl.d(5).
type setting struct {
	path  string // below /proc/sys, with slashes; may hold wildcards
	value string
	// exempt is a line "-KEY" without a value: no wildcard is to set the key.
	exempt bool
	file   string
	line   int // from 0
}

// parseSysctl reads a file of sysctl.d(5). Lines that are no setting are passed over, as the programs do.
func parseSysctl(file, text string) []setting {
	var out []setting
	for i, line := range lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		key = strings.TrimSpace(key)
		name, dash := strings.CutPrefix(key, "-")
		if !ok && !dash {
			continue
		}
		name = sysctlPath(strings.TrimSpace(name))
		if name == "" || strings.ContainsAny(name, " \t\x00") {
			continue
		}
		out = append(out, setting{path: name, value: strings.Join(strings.Fields(value), "\t"), exempt: !ok, file: file, line: i})
	}
	return out
}

// sysctlPath is a key as a path below /proc/sys: where a dot comes before the first slash they change places.
func sysctlPath(key string) string {
	key = strings.TrimPrefix(key, "/")
	if i := strings.IndexAny(key, "./"); i >= 0 && key[i] == '.' {
		key = strings.NewReplacer(".", "/", "/", ".").Replace(key)
	}
	return key
}

// sysctlSettings are the settings in the order in which they are made at boot.
func (d *disk) sysctlSettings() []setting {
	var out []setting
	for _, name := range d.layered(".conf", "/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d") {
		text, _ := d.read(name)
		out = append(out, parseSysctl(name, text)...)
	}
	if text, ok := d.read("/etc/sysctl.conf"); ok && !d.systemd() { // systemd-sysctl reads it only where a link in sysctl.d leads there
		out = append(out, parseSysctl("/etc/sysctl.conf", text)...)
	}
	return out
}

// decisive is the setting that counts for a path: the last one by its name, else the last one by a wildcard.
func decisive(all []setting, path string) (setting, bool) {
	var byPattern *setting
	for i := range slices.Backward(all) {
		st := &all[i]
		switch {
		case st.path == path && st.exempt:
			return setting{}, false
		case st.path == path:
			return *st, true
		case byPattern == nil && !st.exempt && matchPath(st.path, path):
			byPattern = st
		}
	}
	if byPattern == nil {
		return setting{}, false
	}
	return *byPattern, true
}

func matchPath(pattern, name string) bool {
	if !strings.ContainsAny(pattern, `*?[`) {
		return false
	}
	ok, err := path.Match(pattern, name)
	return err == nil && ok
}

// sysctlAtBoot is what the files give a path.
func (d *disk) sysctlAtBoot(path string) (setting, bool) { return decisive(d.sysctlSettings(), path) }

// setSysctl makes the next boot set path to value.
func (d *disk) setSysctl(path, value string) error {
	value = strings.Join(strings.Fields(value), "\t")
	why := fmt.Sprintf("the next boot sets %s = %s", lvs.SysctlName(path), value)
	if err := d.loadAtBoot(path); err != nil {
		return err
	}
	if err := d.quietSysctlConf(path, value, why); err != nil {
		return err
	}
	if at, ok := d.sysctlAtBoot(path); ok && at.value == value {
		return nil
	}
	if err := d.dropOwnSysctl(path, why); err != nil {
		return err
	}
	if at, ok := d.sysctlAtBoot(path); ok && at.value == value {
		return nil // others set it as it should be
	}
	for i, name := range laterFiles {
		text, there := d.read(name)
		if !there {
			text = sysctlHeader
		}
		reason := why
		if at, ok := d.sysctlAtBoot(path); i > 0 && ok {
			reason += fmt.Sprintf("; %s line %d sets %s, so ours has to come later", at.file, at.line+1, at.value)
		}
		if err := d.write(name, withLine(text, fixes.SysctlLine(path, value)), 0o644, reason); err != nil {
			return err
		}
		if at, ok := d.sysctlAtBoot(path); ok && at.value == value {
			return nil
		}
		if err := d.dropOwnSysctl(path, why); err != nil {
			return err
		}
	}
	at, _ := d.sysctlAtBoot(path)
	return fmt.Errorf("%s line %d sets %s = %s after every file of ours: change it there to %s", at.file, at.line+1, lvs.SysctlName(path), at.value, value)
}

// dropOwnSysctl takes a path out of our own files, and removes one that says nothing else.
func (d *disk) dropOwnSysctl(path, why string) error {
	for _, name := range laterFiles {
		text, ok := d.read(name)
		if !ok {
			continue
		}
		all := parseSysctl(name, text)
		var drop []int
		for _, st := range all {
			if st.path == path {
				drop = append(drop, st.line)
			}
		}
		switch {
		case len(drop) == 0:
			continue
		case len(drop) == len(all) && strings.HasPrefix(text, sysctlHeader):
			text = ""
		default:
			text = without(text, drop...)
		}
		if err := d.write(name, text, 0o644, why); err != nil {
			return err
		}
	}
	return nil
}

// quietSysctlConf changes a setting of /etc/sysctl.conf that contradicts: it is applied last by "sysctl --system" and by systems
// without systemd, and through a link in sysctl.d by others.
func (d *disk) quietSysctlConf(path, value, why string) error {
	const name = "/etc/sysctl.conf"
	text, _ := d.read(name)
	all := parseSysctl(name, text)
	at, ok := decisive(all, path)
	if !ok || at.value == value || at.path != path {
		return nil
	}
	split := strings.SplitAfter(text, "\n")
	key, rest, _ := strings.Cut(split[at.line], "=")
	blank := rest[:len(rest)-len(strings.TrimLeft(rest, " \t"))]
	end := rest[len(strings.TrimRight(rest, "\r\n")):]
	split[at.line] = key + "=" + blank + strings.ReplaceAll(value, "\t", " ") + end
	return d.write(name, strings.Join(split, ""), 0o644, why+" (was "+at.value+" there)")
}

// sysctlModules are the modules without which a key is not there when the sysctls are applied.
var sysctlModules = []struct{ prefix, module string }{
	{"net/ipv4/vs/", "ip_vs"}, {"net/netfilter/nf_conntrack", "nf_conntrack"}, {"net/bridge/", "br_netfilter"},
}

const modulesFile = "/etc/modules-load.d/60-lvstui.conf"

// loadAtBoot makes sure that the module of a key is loaded before the sysctls are applied: else the setting is lost.
func (d *disk) loadAtBoot(path string) error {
	for _, m := range sysctlModules {
		if strings.HasPrefix(path, m.prefix) {
			return d.loadModule(m.module, "the sysctls of "+m.module+" are there when they are set at boot")
		}
	}
	return nil
}

func (d *disk) loadModule(module, why string) error {
	if d.loadedAtBoot(module) {
		return nil
	}
	text, ok := d.read(modulesFile)
	if !ok {
		text = "# Written by lvstui: modules-load.d(5).\n"
	}
	return d.write(modulesFile, withLine(text, module), 0o644, why)
}

// loadedAtBoot says that a file has the module loaded at boot.
func (d *disk) loadedAtBoot(module string) bool {
	for _, name := range append(d.layered(".conf", "/etc/modules-load.d", "/usr/lib/modules-load.d"), "/etc/modules") {
		text, _ := d.read(name)
		for _, line := range lines(text) {
			if words := strings.Fields(line); len(words) > 0 && strings.ReplaceAll(words[0], "-", "_") == module {
				return true
			}
		}
	}
	return false
}
