package guest

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// moduleFolders are packed whole: what the lab and the people in it may ask the kernel for.
var moduleFolders = []string{
	"kernel/net/netfilter/", "kernel/net/ipv4/", "kernel/net/ipv6/", "kernel/net/bridge/",
	"kernel/net/sched/", "kernel/net/8021q/", "kernel/net/802/", "kernel/net/llc/",
	"kernel/net/packet/", "kernel/net/netlink/", "kernel/net/unix/", "kernel/net/mpls/",
	"kernel/drivers/virtio/", "kernel/drivers/net/bonding/", "kernel/drivers/net/ipvlan/",
	"kernel/drivers/net/vxlan/",
}

// moduleNames are packed besides, wherever they are. Those a kernel has built in are not missed.
var moduleNames = []string{
	"virtio_console", "virtio_rng", "veth", "dummy", "ifb", "macvlan", "macvtap", "vrf", "tun", "tap",
	"geneve", "vxlan", "nlmon", "vmxnet3", "crc32c_generic", "crc32c_intel", "libcrc32c",
}

// module is one kernel module of the package.
type module struct {
	path    string // below lib/modules/RELEASE, without compression suffix
	name    string // with underscores, as /proc/modules has it
	data    []byte // uncompressed
	aliases []string
	needs   []string // names, direct
	soft    []string // softdep pre: names or aliases
}

// chooseModules uncompresses and reads all modules below dir and returns the wanted ones with all that they need,
// in the order of their paths.
func chooseModules(dir string) ([]*module, error) {
	if err := unpackModules(dir); err != nil {
		return nil, err
	}
	all, err := files(dir)
	if err != nil {
		return nil, fmt.Errorf("the kernel's modules: %w", err)
	}
	byName := map[string]*module{}
	for _, name := range all {
		if m, err := readModule(dir, name); err != nil {
			return nil, fmt.Errorf("kernel module %s: %w", name, err)
		} else if m != nil {
			byName[m.name] = m
		}
	}
	if byName["ip_vs"] == nil {
		return nil, fmt.Errorf("the kernel package has no ip_vs module among its %d", len(byName))
	}
	chosen := map[string]*module{}
	for _, m := range byName {
		if slices.Contains(moduleNames, m.name) || slices.ContainsFunc(moduleFolders, func(f string) bool { return strings.HasPrefix(m.path, f) }) {
			choose(m, byName, chosen)
		}
	}
	var mods []*module
	for _, m := range chosen {
		mods = append(mods, m)
	}
	slices.SortFunc(mods, func(a, b *module) int { return strings.Compare(a.path, b.path) })
	return mods, nil
}

func choose(m *module, byName, chosen map[string]*module) {
	if m == nil || chosen[m.name] != nil {
		return
	}
	chosen[m.name] = m
	for _, n := range slices.Concat(m.needs, m.soft) {
		choose(byName[n], byName, chosen)
	}
}

// order lists names and everything they need, each after what it needs itself.
func order(names []string, needs func(string) []string) []string {
	var out []string
	seen := map[string]bool{}
	var visit func(string)
	visit = func(n string) {
		if seen[n] {
			return
		}
		seen[n] = true
		for _, d := range needs(n) {
			visit(d)
		}
		out = append(out, n)
	}
	for _, n := range names {
		visit(n)
	}
	return out
}

// readModule gives nil for files that are no modules.
func readModule(dir, name string) (*module, error) {
	if !strings.HasSuffix(name, ".ko") {
		return nil, nil
	}
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("no .modinfo section")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	m := &module{path: name, name: moduleName(name), data: data}
	for entry := range strings.SplitSeq(string(info), "\x00") {
		key, value, _ := strings.Cut(entry, "=")
		switch key {
		case "alias":
			m.aliases = append(m.aliases, value)
		case "depends":
			for d := range strings.SplitSeq(value, ",") {
				if d != "" {
					m.needs = append(m.needs, underscores(d))
				}
			}
		case "softdep":
			m.soft = append(m.soft, softBefore(value)...)
		}
	}
	return m, nil
}

// softBefore reads "pre: a b post: c" and gives a and b.
func softBefore(s string) []string {
	var out []string
	before := false
	for _, word := range strings.Fields(s) {
		if strings.HasSuffix(word, ":") {
			before = word == "pre:"
		} else if before {
			out = append(out, underscores(word))
		}
	}
	return out
}

func underscores(s string) string { return strings.ReplaceAll(s, "-", "_") }

// moduleName is the name the kernel knows the module at a path by.
func moduleName(p string) string { return underscores(strings.TrimSuffix(path.Base(p), ".ko")) }

// unpackers are the programs that uncompress what distributions compress modules with, and the package that has each.
var unpackers = map[string]struct {
	command []string
	debian  string
}{
	".xz":  {[]string{"xz", "-d", "-q"}, "xz-utils"},
	".zst": {[]string{"zstd", "-d", "-q", "--rm"}, "zstd"},
	".gz":  {[]string{"gzip", "-d", "-q"}, "gzip"},
}

// unpackModules uncompresses the modules below dir in place, as Debian 13 has them: many at a time, because each start of a program costs more
// than a module.
func unpackModules(dir string) error {
	all, err := files(dir)
	if err != nil {
		return fmt.Errorf("the kernel's modules: %w", err)
	}
	packed := map[string][]string{}
	for _, name := range all {
		if ext := path.Ext(name); strings.HasSuffix(strings.TrimSuffix(name, ext), ".ko") && unpackers[ext].command != nil {
			packed[ext] = append(packed[ext], filepath.Join(dir, name))
		}
	}
	for ext, names := range packed {
		u := unpackers[ext]
		if _, err := exec.LookPath(u.command[0]); err != nil {
			return fmt.Errorf("%s is not installed, and the kernel's modules are compressed with it; type: sudo apt-get install %s", u.command[0], u.debian)
		}
		for chunk := range slices.Chunk(names, 500) {
			if out, err := exec.Command(u.command[0], slices.Concat(u.command[1:], chunk)...).CombinedOutput(); err != nil {
				return fmt.Errorf("uncompress the kernel's modules with %s: %w: %.300s", u.command[0], err, out)
			}
		}
	}
	return nil
}

// indexes writes modules.dep and modules.alias as depmod would, for modprobe and for our init.
func indexes(mods []*module) (dep, alias string) {
	byName := map[string]*module{}
	for _, m := range mods {
		byName[m.name] = m
	}
	needs := func(n string) []string {
		if m := byName[n]; m != nil {
			return slices.Concat(m.needs, m.soft)
		}
		return nil
	}
	var d, a strings.Builder
	for _, m := range mods {
		fmt.Fprintf(&d, "%s:", m.path)
		chain := order([]string{m.name}, needs)
		slices.Reverse(chain) // modprobe loads from the end
		for _, n := range chain[1:] {
			if byName[n] != nil {
				fmt.Fprintf(&d, " %s", byName[n].path)
			}
		}
		d.WriteByte('\n')
		for _, al := range m.aliases {
			fmt.Fprintf(&a, "alias %s %s\n", al, m.name)
		}
	}
	return d.String(), a.String()
}
