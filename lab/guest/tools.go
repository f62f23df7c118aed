package guest

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
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
	{Package: "busybox-static", Programs: []string{"busybox"}},
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
	{Package: "keepalived", Programs: []string{"keepalived"}},
	{Package: "procps", Programs: []string{"sysctl"}},
	{Package: "ethtool", Programs: []string{"ethtool"}},
}

// applets are the names under which busybox is linked, where no other tool has the name.
var applets = strings.Fields(`arp ash awk base64 basename blockdev cat chmod chown clear cmp cp cut date dd depmod df
	dirname dmesg du echo ed env expr false find free getopt grep groups gunzip gzip head hexdump hostname id ifconfig
	insmod install kill killall less ln logger ls lsmod lsof md5sum mkdir mkfifo mknod mktemp modinfo modprobe more mount
	mountpoint mv nc netstat nice nohup nproc nsenter od pgrep pidof pkill printf ps pstree pwd readlink realpath renice
	reset resize rm rmdir rmmod route sed seq setsid sh sha256sum sleep sort stat strings stty su sync tail tar tee
	telnet test time timeout top touch tr traceroute true tty umount uname uniq unshare uptime vi watch wc wget which
	who whoami xargs xxd yes zcat`)

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
	programs map[string]string // base name → file on this machine
	links    map[string]string // base name → program
	data     map[string]string // path in the guest → file on this machine; libraries are among them
	missing  []string
}

// tools downloads all tools and the libraries they load. A tool that cannot be had is named in
// missing: the lab runs without it.
func (a *archive) tools(ctx context.Context) (toolset, error) {
	set := toolset{programs: map[string]string{}, links: map[string]string{}, data: map[string]string{}}
	var names []string
	for _, t := range tools {
		if _, err := a.direct(ctx, t.Package); err != nil {
			set.missing = append(set.missing, t.Package+": no such package here")
			continue
		}
		names = append(names, t.Package)
	}
	if err := a.unpack(ctx, names...); err != nil {
		return set, err
	}
	libs := &libraries{archive: a, found: map[string]string{}}
	for _, t := range tools {
		if root := a.roots[t.Package]; root != "" {
			if err := a.addTool(ctx, t, root, &set, libs); err != nil {
				return set, err
			}
		}
	}
	for soname, file := range libs.found {
		set.data["usr/lib/x86_64-linux-gnu/"+soname] = file
		if strings.HasPrefix(soname, "ld-linux") {
			set.data["usr/lib64/"+soname] = file
		}
	}
	return set, nil
}

// addTool adds one tool's programs, links and data, with the libraries each needs.
func (a *archive) addTool(ctx context.Context, t tool, root string, set *toolset, libs *libraries) error {
	all, err := files(root)
	if err != nil {
		return err
	}
	add := func(in map[string]string, key, name string) error {
		file := filepath.Join(root, name)
		if err := libs.need(ctx, t.Package, file); err != nil {
			if ctx.Err() != nil {
				return err
			}
			set.missing = append(set.missing, fmt.Sprintf("%s: %v", path.Base(name), err))
			return nil
		}
		in[key] = file
		return nil
	}
	for _, name := range all {
		base, folder := path.Base(name), path.Base(path.Dir(name))
		switch {
		case (folder == "bin" || folder == "sbin") && slices.Contains(t.Programs, base):
			err = add(set.programs, base, name)
		case slices.ContainsFunc(t.Data, func(p string) bool { return strings.HasPrefix(name, p) }):
			err = add(set.data, name, name)
		}
		if err != nil {
			return err
		}
	}
	for _, p := range t.Programs {
		if set.programs[p] == "" {
			set.missing = append(set.missing, p+": not packed from "+t.Package)
		}
	}
	for name, program := range t.Links {
		if set.programs[program] != "" {
			set.links[name] = program
		}
	}
	if set.programs["busybox"] != "" {
		for _, name := range applets {
			set.links[name] = "busybox"
		}
	}
	return nil
}

// libraries finds shared libraries in packages, by the names programs ask for.
type libraries struct {
	archive *archive
	found   map[string]string // soname → file
}

// need makes sure that everything the ELF file loads is found, its libraries' libraries included. pkg
// is the package it came from; files that are no ELF need nothing.
func (l *libraries) need(ctx context.Context, pkg, file string) error {
	sonames, err := needed(file)
	if err != nil || len(sonames) == 0 {
		return err
	}
	for _, so := range sonames {
		if l.found[so] != "" {
			continue
		}
		from, lib, err := l.find(ctx, pkg, so)
		if err != nil {
			return err
		}
		l.found[so] = lib
		if err := l.need(ctx, from, lib); err != nil {
			delete(l.found, so)
			return err
		}
	}
	return nil
}

// find looks for a library among what pkg depends on: first in the package whose name follows from
// the library's (libnl-3.so.200 is in libnl-3-200), then in all the other lib packages.
func (l *libraries) find(ctx context.Context, pkg, so string) (from, file string, err error) {
	deps, err := l.archive.direct(ctx, pkg)
	if err != nil {
		return "", "", err
	}
	candidates := append([]string{pkg}, deps...)
	for _, dep := range candidates {
		if dep == pkg || likely(dep, so) {
			if file, err := l.in(ctx, dep, so); file != "" || err != nil {
				return dep, file, err
			}
		}
	}
	for _, dep := range candidates {
		if strings.HasPrefix(dep, "lib") || strings.HasPrefix(dep, "zlib") {
			if file, err := l.in(ctx, dep, so); file != "" || err != nil {
				return dep, file, err
			}
		}
	}
	return "", "", fmt.Errorf("no package that %s depends on has %s", pkg, so)
}

// in looks for the library in one package.
func (l *libraries) in(ctx context.Context, pkg, so string) (string, error) {
	if _, err := l.archive.direct(ctx, pkg); err != nil {
		return "", nil // a virtual package: another one provides it
	}
	if err := l.archive.unpack(ctx, pkg); err != nil {
		if ctx.Err() != nil {
			return "", err
		}
		return "", nil // a virtual package, with nothing to download
	}
	root := l.archive.roots[pkg]
	all, err := files(root)
	if err != nil {
		return "", err
	}
	for _, name := range all {
		if path.Base(name) != so {
			continue
		}
		file, err := filepath.EvalSymlinks(filepath.Join(root, name))
		if err == nil && strings.HasPrefix(file, root) {
			return file, nil
		}
	}
	return "", nil
}

var (
	soSuffix  = regexp.MustCompile(`\.so(\.([0-9.]+))?$`)
	separator = strings.NewReplacer("-", "", "_", "", ".", "", "t64", "")
)

// likely says whether a package follows Debian's naming rule for the library.
func likely(pkg, so string) bool {
	m := soSuffix.FindStringSubmatch(so)
	if m == nil {
		return false
	}
	return separator.Replace(pkg) == separator.Replace(strings.ToLower(strings.TrimSuffix(so, m[0])+m[2]))
}

// needed lists the libraries an ELF file asks for, its loader among them.
func needed(file string) ([]string, error) {
	f, err := elf.Open(file)
	if err != nil {
		var bad *elf.FormatError
		if errors.As(err, &bad) || isShort(file) {
			return nil, nil
		}
		return nil, err
	}
	defer f.Close()
	libs, err := f.ImportedLibraries()
	if errors.Is(err, elf.ErrNoSymbols) {
		err = nil
	}
	return libs, err
}

func isShort(file string) bool {
	info, err := os.Stat(file)
	return err == nil && (info.Size() < 64 || !info.Mode().IsRegular())
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
