package collect

import (
	"bufio"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lvstui/lvs"
)

// interestingModules begin the names of the modules that a Snapshot tells of.
var interestingModules = []string{"ip_vs", "nf_conntrack", "nf_tables", "ip_tables", "iptable_", "arp_tables", "br_netfilter", "ebtable", "bonding", "8021q",
	"macvlan", "ipvlan", "ipip", "tunnel4", "dummy", "veth", "tcp_diag", "udp_diag"}

// readKernelModules tells what is loaded of what matters, and which ip_vs modules this kernel could load: without a look at the disk nobody
// knows why ipvsadm says "Protocol not available".
func (c *collector) readKernelModules() {
	loaded := []string{}
	for _, name := range slices.Sorted(maps.Keys(c.modules.loaded)) {
		if slices.ContainsFunc(interestingModules, func(start string) bool { return strings.HasPrefix(name, start) }) {
			loaded = append(loaded, name)
		}
	}
	c.s.Modules = &lvs.Modules{Loaded: loaded, Installed: installedModules(filepath.Join(c.opt.Root, "lib/modules", c.s.Kernel))}
}

// installedModules are the ip_vs modules of one kernel's folder; nil without a folder.
func installedModules(dir string) []string {
	var out []string
	for _, list := range []string{"modules.dep", "modules.builtin"} {
		f, err := os.Open(filepath.Join(dir, list))
		if err != nil {
			continue
		}
		if out == nil {
			out = []string{}
		}
		for lines := bufio.NewScanner(io.LimitReader(f, maxProcFile)); lines.Scan(); {
			file, _, _ := strings.Cut(lines.Text(), ":")
			name, _, _ := strings.Cut(filepath.Base(file), ".ko")
			if name = strings.ReplaceAll(name, "-", "_"); strings.HasPrefix(name, "ip_vs") && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
		f.Close()
	}
	slices.Sort(out)
	return out
}

// machine is what the firmware calls this machine; "" where nobody may know or there is no firmware.
func machine(root string) string {
	var words []string
	for _, name := range []string{"sys_vendor", "product_name"} {
		b, err := os.ReadFile(filepath.Join(root, "sys/class/dmi/id", name))
		if word := strings.TrimSpace(string(b)); err == nil && word != "" && len(word) <= 128 {
			words = append(words, word)
		}
	}
	return strings.Join(words, " ")
}
