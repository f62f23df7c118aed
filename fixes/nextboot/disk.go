package nextboot

import (
	"path"
	"slices"
	"strings"

	"lvstui/fixes"
	"lvstui/lvs"
)

// disk is the configuration files of a host with the edits made so far. What parses and what edits works on it, so that an
// edit can be judged by what the files give afterwards.
type disk struct {
	s     *lvs.Snapshot
	files map[string]*file
}

// file is one of them. text is nil when it is not there; was is how it is on the host.
type file struct {
	was, text *string
	mode      uint32
	cut       bool   // not whole: not to be written
	link      string // what it leads to
	why       []string
}

func newDisk(s *lvs.Snapshot) *disk {
	d := &disk{s: s, files: make(map[string]*file, len(s.Files))}
	for _, f := range s.Files {
		text := f.Text
		d.files[f.Path] = &file{was: &text, text: &text, mode: f.Mode, cut: f.Cut, link: f.Link}
	}
	return d
}

// read returns a file's text; ok is false when it is not there.
func (d *disk) read(name string) (text string, ok bool) {
	f := d.files[name]
	if f == nil || f.text == nil {
		return "", false
	}
	if to := d.files[f.link]; to != nil && to.text != nil && to.link == "" {
		f = to
	}
	return *f.text, true
}

func (d *disk) has(name string) bool {
	_, ok := d.read(name)
	return ok
}

// write makes name hold text; an empty text removes it. It refuses a file that is not known whole.
func (d *disk) write(name, text string, mode uint32, why string) error {
	f := d.files[name]
	if f == nil {
		f = &file{mode: mode}
		d.files[name] = f
	}
	switch {
	case f.link != "" && d.files[f.link] != nil && d.files[f.link].link == "":
		return d.write(f.link, text, mode, why)
	case f.link != "":
		return unwritable{name, "it is a link to " + f.link}
	case f.cut:
		return unwritable{name, "it holds secrets, or is too long, and was not read in full"}
	case strings.Contains(text, "\x00"):
		return unwritable{name, "it is not a text file"}
	case len(text) > fixes.FileLimit:
		return unwritable{name, "it would become too long"}
	case text == "":
		f.text = nil
	default:
		f.text = &text
	}
	if !slices.Contains(f.why, why) {
		f.why = append(f.why, why)
	}
	return nil
}

// unwritable says why a file is left to the operator.
type unwritable struct{ name, why string }

func (e unwritable) Error() string { return e.name + " is not written by lvstui: " + e.why }

// edits are the files that differ from what is on the host.
func (d *disk) edits() []fixes.FileEdit {
	var out []fixes.FileEdit
	for _, name := range d.names("") {
		f := d.files[name]
		if same(f.was, f.text) {
			continue
		}
		out = append(out, fixes.FileEdit{Path: name, Before: f.was, After: f.text, Mode: f.mode, Why: strings.Join(f.why, "; ")})
	}
	return out
}

func same(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }

// names are the paths below a folder that were ever there, sorted.
func (d *disk) names(folder string) []string {
	var out []string
	for name := range d.files {
		if strings.HasPrefix(name, folder) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// in lists the files directly in a folder with a suffix, by name.
func (d *disk) in(folder, suffix string) []string {
	var out []string
	for _, name := range d.names(folder + "/") {
		if path.Dir(name) == folder && strings.HasSuffix(name, suffix) && d.has(name) {
			out = append(out, name)
		}
	}
	return out
}

// layered lists the files of several folders as systemd does: sorted by name across them, of equal names the one in the first
// folder, and none for a name that is masked by an empty file.
func (d *disk) layered(suffix string, folders ...string) []string {
	first := map[string]string{}
	var bases []string
	for _, folder := range folders {
		for _, name := range d.in(folder, suffix) {
			if base := path.Base(name); first[base] == "" {
				first[base] = name
				bases = append(bases, base)
			}
		}
	}
	slices.Sort(bases)
	var out []string
	for _, base := range bases {
		if text, _ := d.read(first[base]); text != "" {
			out = append(out, first[base])
		}
	}
	return out
}

// systemd says that systemd applies the sysctls at boot.
func (d *disk) systemd() bool {
	return d.has("/usr/lib/systemd/systemd-sysctl") || d.has("/lib/systemd/systemd-sysctl")
}

// lines splits a text and keeps the line breaks.
func lines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
}

// withLine appends a line to a text.
func withLine(text, line string) string {
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text + line + "\n"
}

// without removes the lines with these indices.
func without(text string, drop ...int) string {
	var kept []string
	for i, line := range strings.SplitAfter(text, "\n") {
		if !slices.Contains(drop, i) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}
