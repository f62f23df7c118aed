package collect

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

// This file takes secrets out of configuration files. Lines stay in number, so that a finding can name one.

// hidden stands where a secret was.
const hidden = "(hidden)"

// secretName is what a setting is called that holds a secret.
const secretName = `["']?[\w.-]*(?:pass(?:word|wd|phrase|code)?|psk|secret|token|private[_.-]?key|preshared[_.-]?key|wep[_.-]?key\d?|wireless[_-]key\d?|key\d?)["']?`

var (
	// secretLine is a setting whose value is a secret in any of the formats, or one that was commented out: NAME = value,
	// NAME: value. secretWords is NAME value.
	secretLine  = regexp.MustCompile(`(?im)^([\t ]*[#;]*[\t ]*(?:-[\t ]+)?` + secretName + `[\t ]*[=:][\t ]*)(\S.*)$`)
	secretWords = regexp.MustCompile(`(?im)^([\t ]*` + secretName + `[\t ]+)([^\s=:].*)$`)
	// secretOption is one inside a command line: --password=x, password=x.
	secretOption = regexp.MustCompile(`(?i)((?:--[\w-]*(?:password|passwd|passphrase|secret|token|key)[= ]|(?:password|passwd|passphrase|secret|token|apikey)["']?[\t ]*[=:][\t ]*)["']?)([^\s"',;]+)`)
	// userinfo is that of a URL.
	userinfo = regexp.MustCompile(`(://)[^/\s:@]+:[^/\s@]+@`)
)

// secretHints is what one of the patterns below needs to match at all.
var secretHints = []string{"pass", "psk", "secret", "token", "key", "://"}

// notSecret are settings that secretLine would take for secrets.
var notSecret = regexp.MustCompile(`(?i)key-?(mgmt|file|id)|password-?flags|psk-flags|accept_key|keyserver`)

func withoutSecrets(text string) (string, bool) {
	if lower := strings.ToLower(text); !slices.ContainsFunc(secretHints, func(h string) bool { return strings.Contains(lower, h) }) {
		return text, false // most files; the patterns take their time
	}
	out := text
	for _, setting := range []*regexp.Regexp{secretLine, secretWords} {
		out = setting.ReplaceAllStringFunc(out, func(line string) string {
			m := setting.FindStringSubmatch(line)
			if notSecret.MatchString(m[1]) {
				return line
			}
			return m[1] + hidden
		})
	}
	out = secretOption.ReplaceAllString(out, "${1}"+hidden)
	out = userinfo.ReplaceAllString(out, "${1}"+hidden+"@")
	return out, out != text
}

// withoutYAMLSecrets also hides a secret that goes on in the lines below its key.
func withoutYAMLSecrets(text string) (string, bool) {
	lines := strings.SplitAfter(text, "\n")
	below := -1 // indentation of a secret's key
	for i, line := range lines {
		indent := len(line) - len(strings.TrimLeft(line, " "))
		if below >= 0 && (indent > below || strings.TrimSpace(line) == "") {
			if strings.TrimSpace(line) != "" {
				lines[i] = strings.Repeat(" ", indent) + "# " + hidden + ending(line)
			}
			continue
		}
		below = -1
		key, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		switch strings.Trim(key, `"' -`) {
		case "key", "keys", "password", "private", "shared", "private-key", "preshared-key", "client-key-password", "identity", "anonymous-identity":
			if value = strings.TrimSpace(value); !ok || strings.HasPrefix(value, "#") {
				continue
			}
			if value == "" || strings.ContainsAny(value[:1], "|>{[\"'&!") {
				below = indent
			}
			if value != "" {
				before, _, _ := strings.Cut(line, ":")
				lines[i] = before + ": \"" + hidden + "\"" + ending(line)
			}
		}
	}
	once := strings.Join(lines, "")
	out, _ := withoutSecrets(once)
	return out, out != text
}

// ending is the line break that a line has, or none.
func ending(line string) string { return line[len(strings.TrimSuffix(line, "\n")):] }

// plainSections are the sections of a NetworkManager connection that decide about addresses and routes.
var plainSections = []string{"connection", "ipv4", "ipv6", "ethernet", "802-3-ethernet", "vlan", "bridge", "bond", "team", "dummy", "loopback", "user", "proxy"}

// keyfileOfNetwork keeps those and blanks the lines of the others: secrets have many names there.
func keyfileOfNetwork(text string) (string, bool) {
	lines := strings.SplitAfter(text, "\n")
	keep := true
	for i, line := range lines {
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, "[") && strings.HasSuffix(trimmed, "]") {
			section := trimmed[1 : len(trimmed)-1]
			keep = false
			for _, s := range plainSections {
				keep = keep || s == section
			}
			continue
		}
		if !keep && trimmed != "" {
			lines[i] = "# " + hidden + ending(line)
		}
	}
	out, _ := withoutSecrets(strings.Join(lines, ""))
	return out, out != text
}

// keepalivedCommand is a setting that runs a program: its arguments may hold anything.
var keepalivedCommand = regexp.MustCompile(`(?m)^([\t ]*(?:misc_path|script|notify\w*|quorum_up|quorum_down|smtp_alert_script)[\t ]+["']?)([^\s"']+)([^\n]*)$`)

func withoutKeepalivedSecrets(text string) (string, bool) {
	out := keepalivedCommand.ReplaceAllStringFunc(text, func(line string) string {
		m := keepalivedCommand.FindStringSubmatch(line)
		rest := strings.TrimSpace(strings.Trim(strings.TrimSpace(m[3]), `"'{`))
		if rest == "" || strings.HasPrefix(rest, "#") || strings.HasPrefix(rest, "!") || strings.HasPrefix(m[2], "{") {
			return line
		}
		return m[1] + m[2] + " " + hidden + closing(m[1])
	})
	out, _ = withoutSecrets(out)
	return out, out != text
}

// closing is the quotation mark that ends what head opened.
func closing(head string) string {
	if last := head[len(head)-1]; last == '"' || last == '\'' {
		return string(last)
	}
	return ""
}

// scriptWords are what a script must mention to be about LVS, or about an address of this host that may be a VIP.
func (c *collector) scriptWords() []string {
	words := []string{"arp_ignore", "arp_announce", "rp_filter", "accept_local", "ipvsadm", "net.ipv4.vs", "net/ipv4/vs", "ip_vs", "ip rule add"}
	for _, vip := range c.vips[:min(len(c.vips), 64)] { // more are no work for a script
		words = append(words, vip.String())
	}
	return words
}

func mentions(text string, words []string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) })
}

// script reads a script and keeps the lines that mention what matters; one without any is left out.
func (r *fileReader) script(name string, words []string) {
	if !strings.HasSuffix(name, ".service") && !strings.Contains(name, "/cron") && !r.startsWith(name, "#!") {
		return
	}
	text, ok := r.read(name, func(text string) (string, bool) {
		if !mentions(text, words) {
			return "", true
		}
		var kept []string
		for line := range strings.Lines(text) {
			if trimmed := strings.TrimSpace(line); !strings.HasPrefix(trimmed, "#") && mentions(line, words) {
				kept = append(kept, strings.TrimSuffix(line, "\n"))
			}
		}
		out, _ := withoutSecrets(strings.Join(kept, "\n"))
		return out, true
	})
	if ok && text == "" {
		delete(r.files, name)
	}
}

// startsWith looks at the first bytes: many programs lie beside scripts, some of them large.
func (r *fileReader) startsWith(name, magic string) bool {
	f, err := r.open(name, 0)
	if err != nil {
		return false // scripts that may not be read are no gap: most have nothing to do with LVS
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	b := make([]byte, len(magic))
	n, _ := f.Read(b)
	return string(b[:n]) == magic
}

// otherFiles says that a process sees other files than we do.
func (c *collector) otherFiles(pid int) bool {
	theirs, err := os.Readlink(c.proc.path(fmt.Sprintf("%d/ns/mnt", pid)))
	ours, err2 := os.Readlink(c.proc.path("self/ns/mnt"))
	return err == nil && err2 == nil && theirs != ours
}
