package guest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// kernelPackages are tried in order: Debian's small kernel for virtual machines, its general one,
// Ubuntu's.
var kernelPackages = []string{"linux-image-cloud-amd64", "linux-image-amd64", "linux-image-virtual"}

// archive downloads packages of this machine's apt sources and unpacks them below dir. It needs no
// root and installs nothing.
type archive struct {
	dir     string
	log     io.Writer
	depends map[string][]string
	roots   map[string]string // package → folder it was unpacked to
}

var packageName = regexp.MustCompile(`^[a-z0-9][a-z0-9.+-]*(:amd64)?$`)

// command runs apt or dpkg in dir and returns its output.
func (a *archive) command(ctx context.Context, name string, args ...string) (string, error) {
	if _, err := exec.LookPath(name); err != nil {
		return "", fmt.Errorf("%s is not on this machine: the guest's kernel comes from a Debian or Ubuntu package archive; copy the cache folder (LVSTUI_CACHE) of a machine that has one", name)
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = a.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, lastLines(stderr.String(), 3))
	}
	return string(out), nil
}

// options make apt keep its index of all packages in dir: without root it cannot keep it where it
// usually does, and would read the lists again for a second at every call.
func (a *archive) options() []string {
	return []string{"-o", "Dir::Cache::pkgcache=" + filepath.Join(a.dir, "pkgcache.bin"),
		"-o", "Dir::Cache::srcpkgcache=" + filepath.Join(a.dir, "srcpkgcache.bin")}
}

// index asks once for all that the packages depend on, directly and further down. A package that is
// not in it cannot be had here.
func (a *archive) index(ctx context.Context, pkgs []string) error {
	out, err := a.command(ctx, "apt-cache", slices.Concat(a.options(), []string{"depends", "--recurse", "--no-recommends",
		"--no-suggests", "--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances"}, pkgs)...)
	if err != nil {
		return fmt.Errorf("the package lists: %w; type: sudo apt-get update", err)
	}
	a.depends = map[string][]string{}
	pkg := ""
	for line := range strings.Lines(out) {
		word := strings.TrimSpace(line)
		kind, dep, isDep := strings.Cut(word, ": ")
		switch {
		case !strings.HasPrefix(line, " "):
			pkg = ""
			if packageName.MatchString(word) { // others are virtual: <awk>
				pkg = word
				a.depends[pkg] = nil
			}
		case pkg != "" && isDep && strings.HasSuffix(kind, "Depends") && packageName.MatchString(dep):
			a.depends[pkg] = append(a.depends[pkg], dep)
		}
	}
	return nil
}

func (a *archive) has(pkg string) bool {
	_, ok := a.depends[pkg]
	return ok
}

// unpack downloads packages and unpacks each into a folder of its own. Those that are there already
// cost nothing.
func (a *archive) unpack(ctx context.Context, pkgs ...string) error {
	var want []string
	for _, p := range pkgs {
		if a.roots[p] == "" {
			want = append(want, p)
		}
	}
	if len(want) == 0 {
		return nil
	}
	fmt.Fprintln(a.log, "guest: downloading", strings.Join(want, " "))
	debs, err := os.MkdirTemp(a.dir, "debs-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(debs)
	// apt's download user may not write into a folder of ours, and the packages are checked by
	// their signed hashes whoever fetches them.
	fetch := &archive{dir: debs} // apt-get writes into its working directory
	args := append(a.options(), "-o", "APT::Sandbox::User=", "download")
	if _, err := fetch.command(ctx, "apt-get", append(args, want...)...); err != nil {
		return fmt.Errorf("downloading packages for the guest: %w; if the package lists are old, type: sudo apt-get update", err)
	}
	names, err := filepath.Glob(filepath.Join(debs, "*.deb"))
	if err != nil {
		return err
	}
	for _, deb := range names {
		pkg, _, _ := strings.Cut(filepath.Base(deb), "_")
		root := filepath.Join(a.dir, "root", pkg)
		if err := os.MkdirAll(root, 0o755); err != nil {
			return err
		}
		if _, err := a.command(ctx, "dpkg-deb", "-x", deb, root); err != nil {
			return fmt.Errorf("unpacking a package for the guest: %w", err)
		}
		if a.roots == nil {
			a.roots = map[string]string{}
		}
		a.roots[pkg] = root
	}
	for _, p := range want {
		if a.roots[p] == "" {
			return fmt.Errorf("apt-get download %s left no package of that name", p)
		}
	}
	return nil
}

// kernel fetches the kernel and gives the folder with boot/ and lib/modules/, and its release.
func (a *archive) kernel(ctx context.Context) (root, release string, err error) {
	at := slices.IndexFunc(kernelPackages, a.has)
	if at < 0 {
		return "", "", fmt.Errorf("no kernel package for the guest (looked for %s): the package lists are empty or absent; type: sudo apt-get update",
			strings.Join(kernelPackages, ", "))
	}
	var image []string
	for _, d := range a.depends[kernelPackages[at]] {
		if strings.HasPrefix(d, "linux-image-") {
			image = append(image, d)
			for _, m := range a.depends[d] { // Ubuntu keeps the modules in a package beside the kernel
				if strings.HasPrefix(m, "linux-modules-") {
					image = append(image, m)
				}
			}
		}
	}
	if len(image) == 0 {
		return "", "", fmt.Errorf("%s names no kernel; type: sudo apt-get update", kernelPackages[at])
	}
	if err := a.unpack(ctx, image...); err != nil {
		return "", "", err
	}
	root = filepath.Join(a.dir, "kernel")
	for _, p := range image {
		if err := merge(a.roots[p], root); err != nil {
			return "", "", err
		}
	}
	names, err := filepath.Glob(filepath.Join(root, "boot", "vmlinuz-*"))
	if err != nil || len(names) != 1 {
		return "", "", fmt.Errorf("%s holds %d kernels, one was expected", strings.Join(image, ", "), len(names))
	}
	return root, strings.TrimPrefix(filepath.Base(names[0]), "vmlinuz-"), nil
}

// merge moves the files of one tree into another. /usr/lib/modules, where newer releases keep them,
// becomes /lib/modules.
func merge(from, to string) error {
	all, err := files(from)
	if err != nil {
		return err
	}
	for _, name := range all {
		target := filepath.Join(to, strings.TrimPrefix(name, "usr/"))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(from, name), target); err != nil {
			return err
		}
	}
	return nil
}

// lastLines gives the last n lines that are not blank, joined by "; ".
func lastLines(s string, n int) string {
	var lines []string
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-n):], "; ")
}
