package collect

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"lvstui/lvs"
)

// inits are the first processes that apply the configuration of a host. In an application container another one runs, and
// nothing there reads these files.
var inits = []string{"systemd", "init", "runit", "runit-init", "openrc-init", "dinit", "s6-svscan"}

// bootFiles are the files that decide what the next boot gives, by what is to be taken out of them.
var bootFiles = []struct {
	clean    cleaner
	patterns []string
}{
	{withoutSecrets, []string{
		"/etc/sysctl.conf", "/etc/sysctl.d/*.conf", "/run/sysctl.d/*.conf", "/usr/local/lib/sysctl.d/*.conf", "/usr/lib/sysctl.d/*.conf",
		"/etc/modules", "/etc/modules-load.d/*.conf", "/usr/lib/modules-load.d/*.conf",
		"/etc/systemd/network/*.network", "/etc/systemd/network/*.network.d/*.conf", "/etc/systemd/network/*.netdev",
		"/run/systemd/network/*.network", "/run/systemd/network/*.network.d/*.conf", "/run/systemd/network/*.netdev",
		"/usr/local/lib/systemd/network/*.network", "/usr/local/lib/systemd/network/*.network.d/*.conf",
		"/usr/lib/systemd/network/*.network", "/usr/lib/systemd/network/*.network.d/*.conf",
		"/etc/sysconfig/network-scripts/ifcfg-*", "/etc/sysconfig/network-scripts/route*-*", "/etc/sysconfig/network-scripts/rule*-*",
		"/etc/sysconfig/network/ifcfg-*", "/etc/sysconfig/network/ifroute-*",
		"/etc/ipvsadm.rules", "/etc/default/ipvsadm", "/etc/sysconfig/ipvsadm", "/etc/sysconfig/ipvsadm-config",
		"/etc/ha.d/ldirectord.cf", "/etc/ldirectord.cf",
	}},
	{withoutYAMLSecrets, []string{"/etc/netplan/*.yaml", "/run/netplan/*.yaml", "/usr/lib/netplan/*.yaml"}},
	{keyfileOfNetwork, []string{"/etc/NetworkManager/system-connections/*", "/run/NetworkManager/system-connections/*",
		"/usr/lib/NetworkManager/system-connections/*"}},
}

// enabling are links and programs that say what starts at boot. They enter a Snapshot as files without text.
var enabling = []string{"/etc/systemd/system/*.target.wants/ipvsadm.service", "/etc/rc[23].d/S[0-9][0-9]ipvsadm",
	"/etc/systemd/system/*.target.wants/keepalived.service", "/etc/systemd/system/*.target.wants/ldirectord.service",
	"/etc/rc[23].d/S[0-9][0-9]keepalived", "/etc/rc[23].d/S[0-9][0-9]ldirectord",
	"/usr/lib/systemd/systemd-sysctl", "/lib/systemd/systemd-sysctl"}

// scripts are where hosts are configured by commands. Only the lines that touch what lvstui knows of are kept.
var scripts = []string{"/etc/rc.local", "/etc/rc.d/rc.local", "/etc/init.d/*", "/etc/rc.d/init.d/*", "/etc/systemd/system/*.service",
	"/usr/local/bin/*", "/usr/local/sbin/*", "/etc/network/if-pre-up.d/*", "/etc/network/if-up.d/*",
	"/etc/NetworkManager/dispatcher.d/*", "/etc/networkd-dispatcher/*.d/*", "/etc/crontab", "/etc/cron.d/*", "/sbin/ifup-local"}

// readFiles reads the configuration that decides the next boot, or the next reload of a daemon. It is about the namespace that
// init runs in; elsewhere there is none, which is not a gap.
func (c *collector) readFiles() {
	if !c.bootsHere() {
		return
	}
	if info, err := os.Stat(c.opt.Root); err != nil || !info.IsDir() {
		c.gap(lvs.SourceFiles, "what the next boot gives is not known: %s is no folder that can be read", c.opt.Root)
		return
	}
	r := newFileReader(c.opt.Root, c.late)
	for _, kind := range bootFiles {
		for _, pattern := range kind.patterns {
			r.add(pattern, kind.clean)
		}
	}
	r.unmergedLib()
	r.interfaces("/etc/network/interfaces", 0)
	c.readKeepalived(r)
	for _, pattern := range enabling {
		for _, name := range r.glob(pattern) {
			if r.exists(name) {
				r.files[name] = lvs.ConfigFile{Path: name}
			}
		}
	}
	words := c.scriptWords()
	for _, pattern := range scripts {
		for _, name := range r.glob(pattern) {
			r.script(name, words)
		}
	}
	c.s.Files = r.sorted()
	c.fileGaps(r)
}

// bootsHere says that the files of the root are applied at boot to the namespace that is looked at. An ordinary user cannot ask which
// one init runs in: then it is a gap, and not a guess.
func (c *collector) bootsHere() bool {
	if c.opt.Root != "/" {
		return true // somebody named it
	}
	comm, err := c.proc.read("1/comm")
	if err != nil || !slices.Contains(inits, strings.TrimSpace(comm)) {
		return false
	}
	ns, err := os.Readlink(c.proc.path("1/ns/net"))
	if errors.Is(err, fs.ErrPermission) {
		c.s.Gaps = append(c.s.Gaps, lvs.Gap{Source: lvs.SourceFiles, Capability: "CAP_SYS_PTRACE",
			Reason: "what the next boot gives: whether it is about this network namespace, only root may see; run it as root: sudo lvstui"})
	}
	return err == nil && ns == c.s.NetNS
}

// fileGaps says what could not be read.
func (c *collector) fileGaps(r *fileReader) {
	if len(r.denied) > 0 {
		c.s.Gaps = append(c.s.Gaps, lvs.Gap{Source: lvs.SourceFiles, Capability: "CAP_DAC_READ_SEARCH", Reason: fmt.Sprintf(
			"what the next boot gives is not known in full: no permission to read %s; run it as root: sudo lvstui", few(r.denied))})
	}
	if len(r.odd) > 0 {
		c.gap(lvs.SourceFiles, "not read: %s", few(r.odd))
	}
	if r.full {
		c.gap(lvs.SourceFiles, "more configuration files than %d, or than %d MiB of them, or no time left: the others were not read", fileCount, fileBytes>>20)
	}
}

func few(names []string) string {
	slices.Sort(names)
	if len(names) > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:3], ", "), len(names)-3)
	}
	return strings.Join(names, ", ")
}

// unmergedLib reads /lib/sysctl.d of hosts where /lib is a folder of its own.
func (r *fileReader) unmergedLib() {
	lib, err := r.open("/lib/sysctl.d", 0)
	if err != nil {
		return
	}
	defer lib.Close()
	usr, err := r.open("/usr/lib/sysctl.d", 0)
	if err == nil {
		defer usr.Close()
		a, errA := lib.Stat()
		b, errB := usr.Stat()
		if errA == nil && errB == nil && os.SameFile(a, b) {
			return
		}
	}
	r.add("/lib/sysctl.d/*.conf", withoutSecrets)
	r.add("/lib/netplan/*.yaml", withoutYAMLSecrets)
}

// interfaces reads a file of ifupdown and what it sources (interfaces(5)).
func (r *fileReader) interfaces(name string, depth int) {
	if _, known := r.files[name]; known || depth > 8 {
		return
	}
	text, ok := r.read(name, withoutSecrets)
	if !ok {
		return
	}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 2 || len(words) > 64 {
			continue
		}
		for _, pattern := range words[1:] {
			if !path.IsAbs(pattern) {
				pattern = path.Join(path.Dir(name), pattern)
			}
			switch words[0] {
			case "source":
				for _, file := range r.glob(pattern) {
					r.interfaces(file, depth+1)
				}
			case "source-directory":
				for _, dir := range r.glob(pattern) {
					for _, base := range r.list(dir) {
						if plainName(base) {
							r.interfaces(path.Join(dir, base), depth+1)
						}
					}
				}
			}
		}
	}
}

// plainName is what source-directory takes: letters, digits, underscores and hyphens.
func plainName(base string) bool {
	return !strings.ContainsFunc(base, func(c rune) bool {
		return c != '_' && c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
	})
}

// exists says that the name is there, whatever it leads to.
func (r *fileReader) exists(name string) bool {
	return slices.Contains(r.list(path.Dir(name)), path.Base(name))
}

// readKeepalived reads keepalived's configuration with what it includes: that of the running process, else the usual one.
func (c *collector) readKeepalived(r *fileReader) {
	name := "/etc/keepalived/keepalived.conf"
	for _, p := range c.processes() {
		if p.comm != "keepalived" || c.elsewhere(p.pid) {
			continue
		}
		if c.otherFiles(p.pid) {
			return // a container's: its files are not ours
		}
		if used := c.optionOf(p.pid, name, "-f", "--use-file"); path.IsAbs(used) {
			name = path.Clean(used)
		}
		break
	}
	r.keepalived(name, 0)
}

func (r *fileReader) keepalived(name string, depth int) {
	if _, known := r.files[name]; known || depth > 8 {
		return
	}
	text, ok := r.read(name, withoutKeepalivedSecrets)
	if !ok {
		return
	}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		// include, includea, includem, includew, includeb (keepalived.conf(5)) differ in what is an error.
		if len(words) < 2 || !strings.HasPrefix(words[0], "include") || len(words[0]) > len("includex") {
			continue
		}
		pattern := strings.Trim(words[1], `"'`)
		if !path.IsAbs(pattern) {
			pattern = path.Join(path.Dir(name), pattern)
		}
		for _, file := range r.glob(pattern) {
			r.keepalived(file, depth+1)
		}
	}
}
