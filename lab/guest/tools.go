package guest

import (
	"context"
	"debug/elf"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// tool is a package whose programs are packed for the people in the guest and for the tests that
// compare with them. lvstui itself needs none.
type tool struct {
	Package  string
	Programs []string          // base names of what to take from its bin and sbin folders
	Links    map[string]string // made besides: name → program
	Data     []string          // prefixes of further files of the package
}

var tools = []tool{
	{Package: "dash", Programs: []string{"dash"}, Links: map[string]string{"sh": "dash"}},
	{Package: "bash", Programs: []string{"bash"}},
	{Package: "iproute2", Programs: []string{"ip", "bridge", "ss", "tc", "nstat"}, Data: []string{"etc/iproute2/", "usr/share/iproute2/"}},
	{Package: "ipvsadm", Programs: []string{"ipvsadm", "ipvsadm-save", "ipvsadm-restore"}},
	{Package: "nftables", Programs: []string{"nft"}},
	{Package: "iptables",
		Programs: []string{"xtables-nft-multi", "xtables-legacy-multi"},
		Links: linksTo(map[string][]string{
			"xtables-nft-multi": {"iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore",
				"iptables-nft", "iptables-nft-save", "iptables-nft-restore", "ip6tables-nft", "arptables", "arptables-nft",
				"arptables-save", "arptables-restore", "ebtables", "ebtables-nft", "xtables-monitor"},
			"xtables-legacy-multi": {"iptables-legacy", "iptables-legacy-save", "iptables-legacy-restore", "ip6tables-legacy",
				"ip6tables-legacy-save", "ip6tables-legacy-restore"},
		}),
		Data: []string{"usr/lib/x86_64-linux-gnu/xtables/", "etc/ethertypes"}},
	{Package: "conntrack", Programs: []string{"conntrack"}},
	{Package: "iputils-arping", Programs: []string{"arping"}},
	{Package: "iputils-ping", Programs: []string{"ping"}},
	{Package: "tcpdump", Programs: []string{"tcpdump"}},
	{Package: "keepalived", Programs: []string{"keepalived"}, Data: []string{"etc/keepalived/keepalived.config-opts"}},
	{Package: "ncurses-base", Data: []string{"lib/terminfo/", "usr/lib/terminfo/", "usr/share/terminfo/"}},
	{Package: "procps", Programs: []string{"sysctl", "watch"}},
	{Package: "coreutils", Programs: []string{"env", "nice", "nohup", "timeout"}},
	{Package: "util-linux", Programs: []string{"nsenter", "setsid", "unshare"}},
	{Package: "findutils", Programs: []string{"find", "xargs"}},
	{Package: "ethtool", Programs: []string{"ethtool"}},
	{Package: "busybox-static", Programs: []string{"busybox"}},
}

// moreTools are sets of tools that only some tests need. A package names those it wants in testdata/guest-tools, one per line.
var moreTools = map[string][]tool{
	// What systems read their network configuration with.
	"netconfig": {
		{Package: "ifupdown", Programs: []string{"ifup"}, Links: map[string]string{"ifdown": "ifup", "ifquery": "ifup"}, Data: []string{"lib/ifupdown/", "usr/lib/ifupdown/"}},
		{Package: "debianutils", Programs: []string{"run-parts"}},
		{Package: "netplan.io", Data: []string{"lib/netplan/", "usr/lib/netplan/", "usr/libexec/netplan/"}},
		{Package: "systemd", Data: []string{"lib/systemd/systemd-networkd", "lib/systemd/systemd-sysctl", "usr/lib/systemd/systemd-networkd", "usr/lib/systemd/systemd-sysctl"}},
		{Package: "network-manager", Programs: []string{"nmcli"}},
	},
}

// toolsWith are the tools of every guest and those of the sets.
func toolsWith(sets []string) []tool {
	out := slices.Clone(tools)
	for _, s := range sets {
		out = append(out, moreTools[s]...)
	}
	return out
}

// applets are the names under which busybox is linked, where no other tool has the name. Its shell and
// what runs other programs (env, xargs, unshare, …) are not among them: they prefer applets to programs,
// and busybox's "ip" is not the real one.
var applets = strings.Fields(`arp awk base64 basename blockdev cat chmod chown clear cmp cp cut date dd df dirname
	dmesg du echo ed expr false free getopt grep groups gunzip gzip head hexdump hostname id ifconfig insmod install
	kill killall less ln logger ls lsmod lsof md5sum mkdir mkfifo mknod mktemp modinfo modprobe more mount mountpoint mv
	nc netstat nproc od pgrep pidof pkill printf ps pstree pwd readlink realpath renice reset resize rm rmdir rmmod
	route sed seq sha256sum sleep sort stat strings stty sync tail tar tee telnet test top touch tr traceroute true tty
	umount uname uniq uptime vi wc wget which who whoami xxd yes zcat`)

func linksTo(programs map[string][]string) map[string]string {
	out := map[string]string{}
	for program, names := range programs {
		for _, n := range names {
			out[n] = program
		}
	}
	return out
}

// toolset is what was found: paths in the guest and where their content lies here.
type toolset struct {
	programs map[string]program // by base name
	links    map[string]string  // path in the guest → what it points to
	data     map[string]string  // path in the guest → file on this machine; libraries are among them
	missing  []string
}

// program is a file on this machine and where it goes: "bin" or "sbin".
type program struct{ file, folder string }

// tools downloads all tools and the libraries they load. A tool that cannot be had is named in
// missing: the lab runs without it.
func (a *archive) tools(ctx context.Context, tools []tool) (toolset, error) {
	set := toolset{programs: map[string]program{}, links: map[string]string{}, data: map[string]string{}}
	var names []string
	for _, t := range tools {
		if !a.has(t.Package) {
			set.missing = append(set.missing, t.Package+": no such package here")
			continue
		}
		names = append(names, t.Package)
	}
	if err := a.unpack(ctx, names...); err != nil {
		return set, err
	}
	libs := &libraries{archive: a, found: map[string]library{}}
	for _, t := range tools {
		root := a.roots[t.Package]
		if root == "" {
			continue
		}
		if err := set.add(t, root); err != nil {
			return set, err
		}
		for _, p := range t.Programs {
			libs.want(t.Package, set.programs[p].file)
		}
		for name, file := range set.data {
			if (strings.Contains(name, ".so") || strings.Contains(name, "lib/systemd/") || strings.Contains(name, "/netplan/")) && strings.HasPrefix(file, root) {
				libs.want(t.Package, file)
			}
		}
	}
	if err := libs.resolve(ctx); err != nil {
		return set, err
	}
	for so, lib := range libs.found {
		set.data["usr/lib/x86_64-linux-gnu/"+so] = lib.file
		if strings.HasPrefix(so, "ld-linux") {
			set.data["usr/lib64/"+so] = lib.file
		}
	}
	set.missing = append(set.missing, libs.missing()...)
	return set, nil
}

// add takes a tool's programs, links and data from where its package was unpacked.
func (set *toolset) add(t tool, root string) error {
	all, err := files(root)
	if err != nil {
		return err
	}
	var also []string
	for _, name := range all {
		base, folder := path.Base(name), path.Base(path.Dir(name))
		isProgram := (folder == "bin" || folder == "sbin") && slices.Contains(t.Programs, base)
		isData := slices.ContainsFunc(t.Data, func(p string) bool { return strings.HasPrefix(name, p) })
		if !isProgram && !isData {
			continue
		}
		file := filepath.Join(root, name)
		info, err := os.Lstat(file)
		if err != nil {
			return err
		}
		// Links are not followed: an absolute one leads to this machine's own files.
		switch link := info.Mode()&os.ModeSymlink != 0; {
		case link && isProgram:
			also = append(also, path.Join("usr", folder, base))
		case link:
			if set.links[name], err = os.Readlink(file); err != nil {
				return err
			}
		case isProgram:
			set.programs[base] = program{file, folder}
		default:
			set.data[name] = file
		}
	}
	for _, name := range also { // /sbin/ip → /bin/ip
		set.link(name, path.Base(name))
	}
	for _, p := range t.Programs {
		if set.programs[p].file == "" {
			set.missing = append(set.missing, p+": not in the package "+t.Package)
		}
	}
	for name, program := range t.Links {
		set.link(path.Join("usr", set.programs[program].folder, name), program)
	}
	if t.Package == "busybox-static" {
		for _, name := range applets {
			set.link(path.Join("usr/bin", name), "busybox")
		}
	}
	return nil
}

// link makes a name for a program. A file or a name that is there already stays.
func (set *toolset) link(name, program string) {
	p, ok := set.programs[program]
	target := path.Join("/usr", p.folder, program)
	if _, taken := set.links[name]; ok && !taken && "/"+name != target {
		set.links[name] = target
	}
}

// checkStatic refuses an executable that would need a loader before anything is there.
func checkStatic(file string) error {
	f, err := elf.Open(file)
	if err != nil {
		return fmt.Errorf("%s cannot be the guest's init: %w", file, err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s cannot be the guest's init: it is linked dynamically; build it with CGO_ENABLED=0", file)
		}
	}
	return nil
}
