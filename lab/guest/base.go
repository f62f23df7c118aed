package guest

import (
	"bufio"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"lvstui/lab/guest/cpio"

	"github.com/google/renameio/v2"
)

// recipeVersion is raised when the code that packs changes what it packs.
const recipeVersion = 7

type textFile struct {
	name string
	mode fs.FileMode
	text string
}

// baseFiles are the few files a Linux host is expected to have.
var baseFiles = []textFile{
	{"etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/sh\n"},
	{"etc/group", 0o644, "root:x:0:\nadm:x:4:\nnogroup:x:65534:\n"},
	{"etc/hosts", 0o644, "127.0.0.1 localhost\n::1 localhost\n"},
	{"etc/hostname", 0o644, "lvs\n"},
	{"etc/nsswitch.conf", 0o644, "passwd: files\ngroup: files\nhosts: files\n"},
	{"etc/protocols", 0o644, "ip 0 IP\nicmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\nipv6-icmp 58 IPv6-ICMP\nsctp 132 SCTP\nvrrp 112 VRRP\n"},
	{"etc/services", 0o644, "ssh 22/tcp\ndomain 53/tcp\ndomain 53/udp\nhttp 80/tcp\nhttps 443/tcp\n"},
	{"etc/os-release", 0o644, "ID=lvstui-guest\nNAME=\"lvstui guest\"\nPRETTY_NAME=\"lvstui guest\"\n"},
	{"etc/profile", 0o644, "export PATH=" + guestPath + "\nPS1='\\u@\\h:\\w\\$ '\n"},
	{"etc/sysctl.conf", 0o644, ""},
	// As systemd has it: loading a module alone makes no interface.
	{"etc/modprobe.d/systemd.conf", 0o644, "options bonding max_bonds=0\noptions dummy numdummies=0\noptions ifb numifbs=0\n"},
}

var baseFolders = []string{
	"dev", "proc", "sys", "run", "root", "mnt", "home", "etc/sysctl.d", "etc/network/interfaces.d",
	"etc/keepalived", "etc/systemd/network", "etc/netplan", "var/lib", "var/log", "var/cache",
	"usr/bin", "usr/sbin", "usr/lib/x86_64-linux-gnu", "usr/lib64",
}

const guestPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// writeBase packs everything that does not depend on our executable.
func writeBase(name, release string, mods []*module, set toolset) error {
	out, err := renameio.NewPendingFile(name, renameio.WithPermissions(0o644))
	if err != nil {
		return err
	}
	defer out.Cleanup()
	buffered := bufio.NewWriterSize(out, 1<<20)
	w := cpio.NewWriter(buffered)
	packLayout(w)
	if err := packTools(w, set); err != nil {
		return err
	}
	packModules(w, release, mods)
	if err := w.Close(); err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	return out.CloseAtomicallyReplace()
}

// packLayout makes the folders of a host of today, where /bin is /usr/bin. The writer keeps errors.
func packLayout(w *cpio.Writer) {
	for _, d := range baseFolders {
		w.Dir(d, 0o755)
	}
	w.Dir("tmp", 0o777|fs.ModeSticky)
	for _, d := range []string{"bin", "sbin", "lib", "lib64"} {
		w.Symlink("usr/"+d, d)
	}
	w.Symlink("../run", "var/run")
	w.Symlink("../tmp", "var/tmp")
	w.Symlink("/proc/self/mounts", "etc/mtab")
	w.Symlink("../bin/modprobe", "usr/sbin/modprobe") // where the kernel looks for it
	w.CharDevice("dev/console", 0o600, 5, 1)
	w.CharDevice("dev/null", 0o666, 1, 3)
	for _, f := range baseFiles {
		w.Bytes(f.name, f.mode, []byte(f.text))
	}
}

func packTools(w *cpio.Writer, set toolset) error {
	for _, name := range slices.Sorted(maps.Keys(set.programs)) {
		p := set.programs[name]
		if err := packFile(w, path.Join("usr", p.folder, name), 0o755, p.file); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(set.links)) {
		if p, isProgram := set.programs[path.Base(name)]; !isProgram || p.folder != path.Base(path.Dir(name)) {
			w.Symlink(set.links[name], merged(name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(set.data)) {
		mode := fs.FileMode(0o644)
		if info, err := os.Stat(set.data[name]); err == nil && info.Mode()&0o111 != 0 || strings.Contains(path.Base(name), ".so") {
			mode = 0o755
		}
		if err := packFile(w, merged(name), mode, set.data[name]); err != nil {
			return err
		}
	}
	return nil
}

func packModules(w *cpio.Writer, release string, mods []*module) {
	dir := "usr/lib/modules/" + release + "/"
	for _, m := range mods {
		w.Bytes(dir+m.path, 0o644, m.data)
	}
	dep, alias := indexes(mods)
	w.Bytes(dir+"modules.dep", 0o644, []byte(dep))
	w.Bytes(dir+"modules.alias", 0o644, []byte(alias))
	w.Bytes(dir+"modules.symbols", 0o644, nil)
}

// merged is the path of a file on a host where /lib is /usr/lib: writing through the link would not do,
// an archive replaces it.
func merged(name string) string {
	name = strings.TrimPrefix(name, "/")
	top, _, _ := strings.Cut(name, "/")
	if slices.Contains([]string{"bin", "sbin", "lib", "lib64"}, top) {
		return "usr/" + name
	}
	return name
}

func packFile(w *cpio.Writer, name string, mode fs.FileMode, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return w.File(name, mode, info.Size(), f)
}
