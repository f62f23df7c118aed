package collect

import (
	"bufio"
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"lvstui/internal/arrange"
	"lvstui/lvs"
)

const (
	processLimit = 4096
	// processTime bounds the search for the processes behind sockets, which is a convenience.
	processTime = 20 * time.Millisecond
)

// daemon is a program that owns a part of the configuration while it runs.
type daemon struct {
	owns []string
	file string
}

// daemons are known by the name of their process, which the kernel cuts to 15 bytes.
var daemons = map[string]daemon{
	"keepalived":      {[]string{"addresses", "ipvs", "netfilter", "routes", "sysctls"}, "/etc/keepalived/keepalived.conf"},
	"ldirectord":      {[]string{"ipvs"}, "/etc/ha.d/ldirectord.cf"},
	"kube-proxy":      {[]string{"addresses", "ipvs", "netfilter", "sysctls"}, "the kube-proxy ConfigMap in namespace kube-system"},
	"kube-router":     {[]string{"addresses", "ipvs", "netfilter", "routes", "sysctls"}, "the kube-router DaemonSet in namespace kube-system"},
	"NetworkManager":  {[]string{"addresses", "routes", "sysctls"}, "/etc/NetworkManager/system-connections (nmcli connection)"},
	"systemd-network": {[]string{"addresses", "routes", "sysctls"}, "/etc/systemd/network"},
	"firewalld":       {[]string{"netfilter"}, "/etc/firewalld (firewall-cmd --permanent)"},
	"dockerd":         {[]string{"netfilter", "sysctls"}, "/etc/docker/daemon.json"},
	"pacemakerd":      {[]string{"addresses", "ipvs"}, "the cluster's CIB (pcs, crm)"},
	"ucarp":           {[]string{"addresses"}, ""},
	"bird":            {[]string{"routes"}, "/etc/bird/bird.conf"},
	"zebra":           {[]string{"addresses", "routes"}, "/etc/frr/frr.conf"},
	"dhclient":        {[]string{"addresses", "routes"}, "/etc/dhcp/dhclient.conf"},
	"dhcpcd":          {[]string{"addresses", "routes"}, "/etc/dhcpcd.conf"},
}

// ownerNames are the full names of processes whose name the kernel cuts.
var ownerNames = map[string]string{"systemd-network": "systemd-networkd"}

// configFiles are applied at boot; of a pattern the first that says something. Where enabled is set, the file lies on
// many hosts where nothing applies it, and counts only when that link exists.
var configFiles = []struct {
	name, pattern string
	owns          []string
	enabled       string
}{
	{"netplan", "etc/netplan/*.yaml", []string{"addresses", "routes"}, ""},
	{"ifupdown", "etc/network/interfaces", []string{"addresses", "routes"}, ""},
	{"ifupdown", "etc/network/interfaces.d/*", []string{"addresses", "routes"}, ""},
	{"ipvsadm.service", "etc/ipvsadm.rules", []string{"ipvs"}, ""},
	{"ipvsadm.service", "etc/sysconfig/ipvsadm", []string{"ipvs"}, ""},
	{"nftables.service", "etc/nftables.conf", []string{"netfilter"}, "etc/systemd/system/*.target.wants/nftables.service"},
	{"netfilter-persistent", "etc/iptables/rules.v4", []string{"netfilter"}, ""},
}

// readOwners finds who would undo a change made behind its back: processes of this network namespace, and files
// that are applied at boot.
func (c *collector) readOwners() {
	c.s.Owners = []lvs.Owner{}
	seen := map[string]bool{}
	for _, p := range c.processes() {
		d, ok := daemons[p.comm]
		if !ok || seen[p.comm] {
			continue
		}
		if c.elsewhere(p.pid) {
			if slices.Contains(d.owns, "ipvs") && len(c.s.Elsewhere) < 16 {
				c.s.Elsewhere = append(c.s.Elsewhere, lvs.Owner{Name: p.comm, Owns: d.owns, Evidence: "process " + strconv.Itoa(p.pid) + " " + p.comm})
			}
			continue
		}
		seen[p.comm] = true
		name := cmp.Or(ownerNames[p.comm], p.comm)
		file := d.file
		if p.comm == "keepalived" {
			file = c.optionOf(p.pid, file, "-f", "--use-file")
		}
		c.s.Owners = append(c.s.Owners, lvs.Owner{Name: name, Owns: d.owns, File: file,
			Evidence: "process " + strconv.Itoa(p.pid) + " " + name})
	}
	// Files at boot are about the namespace that init runs in.
	if c.opt.Root != "/" || !c.elsewhere(1) {
		c.s.Owners = append(c.s.Owners, ownersByFile(c.opt.Root)...)
	}
	arrange.By(c.s.Owners, func(a, b lvs.Owner) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Evidence, b.Evidence))
	})
}

func ownersByFile(root string) []lvs.Owner {
	var out []lvs.Owner
	for _, cfg := range configFiles {
		if cfg.enabled != "" {
			if links, _ := filepath.Glob(filepath.Join(root, cfg.enabled)); len(links) == 0 {
				continue
			}
		}
		matches, _ := filepath.Glob(filepath.Join(root, cfg.pattern))
		for _, m := range matches {
			if !hasContent(m) {
				continue
			}
			shown := "/" + strings.TrimPrefix(strings.TrimPrefix(m, filepath.Clean(root)), "/")
			out = append(out, lvs.Owner{Name: cfg.name, Owns: cfg.owns, Evidence: "file " + shown, File: shown})
			break
		}
	}
	return out
}

// hasContent says that a file says something beside comments, the inclusion of other files, and lo itself.
func hasContent(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		switch {
		case line == "", strings.HasPrefix(line, "#"), strings.HasPrefix(line, "source"), line == "auto lo",
			line == "iface lo inet loopback", line == "flush ruleset":
		default:
			return true
		}
	}
	return false
}

type process struct {
	pid  int
	comm string
}

// processes lists the running processes once, at most processLimit.
func (c *collector) processes() []process {
	if c.running == nil {
		c.running = c.listProcesses()
	}
	return c.running
}

func (c *collector) listProcesses() []process {
	d, err := os.Open(c.proc.root)
	if err != nil {
		return nil
	}
	defer d.Close()
	out := []process{}
	for len(out) < processLimit {
		names, err := d.Readdirnames(256)
		for _, name := range names {
			pid, err := strconv.Atoi(name)
			if err != nil {
				continue
			}
			if comm, err := c.proc.read(name + "/comm"); err == nil {
				out = append(out, process{pid, strings.TrimSpace(comm)})
			}
		}
		if err != nil {
			break
		}
	}
	arrange.By(out, func(a, b process) int { return a.pid - b.pid })
	return out
}

// elsewhere says that a process is known to live in another network namespace.
func (c *collector) elsewhere(pid int) bool {
	ns, err := os.Readlink(c.proc.path(strconv.Itoa(pid) + "/ns/net"))
	return err == nil && c.s.NetNS != "" && ns != c.s.NetNS
}

// optionOf finds the value of a command line option of a process.
func (c *collector) optionOf(pid int, otherwise string, options ...string) string {
	text, err := c.proc.read(strconv.Itoa(pid) + "/cmdline")
	if err != nil {
		return otherwise
	}
	args := strings.Split(text, "\x00")
	for i, arg := range args {
		for _, o := range options {
			if arg == o && i+1 < len(args) {
				return args[i+1]
			}
			if value, ok := strings.CutPrefix(arg, o+"="); ok {
				return value
			}
		}
	}
	return otherwise
}

// nameProcesses finds the processes behind sockets by their descriptors, as long as that is quick.
func (c *collector) nameProcesses(sockets []socketEntry, limit time.Duration) {
	missing := map[string][]int{}
	for i, e := range sockets {
		if e.inode != 0 {
			key := "socket:[" + strconv.FormatUint(uint64(e.inode), 10) + "]"
			missing[key] = append(missing[key], i)
		}
	}
	processes := c.processes()
	end := time.Now().Add(limit)
	for _, p := range slices.Backward(processes) { // servers are younger than the kernel's own threads
		if len(missing) == 0 || time.Now().After(end) {
			return
		}
		dir := c.proc.path(strconv.Itoa(p.pid) + "/fd")
		d, err := os.Open(dir)
		if err != nil {
			continue
		}
		names, _ := d.Readdirnames(1024)
		d.Close()
		for _, name := range names {
			target, err := os.Readlink(dir + "/" + name)
			if err != nil {
				continue
			}
			for _, i := range missing[target] {
				sockets[i].Process = p.comm
			}
			delete(missing, target)
		}
	}
}
