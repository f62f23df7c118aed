package nextboot

import (
	"strings"
)

// entry is one KEY=VALUE of a file with sections: systemd's and NetworkManager's formats.
type entry struct {
	section string
	nth     int // which of the sections of the file, from 0: a name may come several times
	key     string
	value   string
	line    int // the first line, from 0
	last    int // the last one, where a value goes on over several
}

// parseINI reads such a file. Lines that are nothing are passed over.
func parseINI(text string) []entry {
	var out []entry
	section, nth := "", -1
	all := lines(text)
	for i := 0; i < len(all); i++ {
		line := strings.TrimSpace(all[i])
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
			continue
		case line[0] == '[' && line[len(line)-1] == ']':
			section, nth = line[1:len(line)-1], nth+1
			continue
		}
		first := i
		for strings.HasSuffix(line, `\`) && i+1 < len(all) { // systemd.syntax(7)
			i++
			line = strings.TrimSuffix(line, `\`) + " " + strings.TrimSpace(all[i])
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || nth < 0 {
			continue
		}
		out = append(out, entry{section, nth, strings.TrimSpace(key), strings.TrimSpace(value), first, i})
	}
	return out
}

// values are those of a key in all sections of a name.
func values(all []entry, section, key string) []entry {
	var out []entry
	for _, e := range all {
		if e.section == section && e.key == key {
			out = append(out, e)
		}
	}
	return out
}

// value is the last one, or "".
func value(all []entry, section, key string) string {
	found := values(all, section, key)
	if len(found) == 0 {
		return ""
	}
	return found[len(found)-1].value
}

// sectionLines are the first and last line of the nth section of a file, its head included and blank lines and comments after
// its last setting not.
func sectionLines(text string, nth int) (from, to int) {
	from, to = -1, -1
	count := -1
	for i, line := range lines(text) {
		line = strings.TrimSpace(line)
		if line != "" && line[0] == '[' && line[len(line)-1] == ']' {
			if count++; count == nth {
				from, to = i, i
			}
			continue
		}
		if count == nth && line != "" && line[0] != '#' && line[0] != ';' {
			to = i
		}
	}
	return from, to
}

// insertAfter puts lines after the line with this index.
func insertAfter(text string, at int, add ...string) string {
	all := lines(text)
	var out []string
	for i, line := range all {
		if !strings.HasSuffix(line, "\n") {
			line += "\n"
		}
		out = append(out, line)
		if i == at {
			for _, l := range add {
				out = append(out, l+"\n")
			}
		}
	}
	return strings.Join(out, "")
}

// withKey adds KEY=VALUE to the first section of a name, which is made where there is none.
func withKey(text, section, setting string) string {
	nth := -1
	count := -1
	for _, line := range lines(text) {
		line = strings.TrimSpace(line)
		if line != "" && line[0] == '[' && line[len(line)-1] == ']' {
			if count++; nth < 0 && line == "["+section+"]" {
				nth = count
			}
		}
	}
	if nth >= 0 {
		_, to := sectionLines(text, nth)
		return insertAfter(text, to, setting)
	}
	return withSection(text, section, setting)
}

// withSection appends a section.
func withSection(text, section string, settings ...string) string {
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	if text != "" {
		text += "\n"
	}
	return text + "[" + section + "]\n" + strings.Join(settings, "\n") + "\n"
}

// withoutSection removes the nth section with the blank lines before it.
func withoutSection(text string, nth int) string {
	from, to := sectionLines(text, nth)
	if from < 0 {
		return text
	}
	all := strings.SplitAfter(text, "\n")
	for from > 0 && strings.TrimSpace(all[from-1]) == "" {
		from--
	}
	return strings.Join(all[:from], "") + strings.Join(all[to+1:], "")
}
