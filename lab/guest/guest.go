// Package guest boots a kernel of its own for machines that lack ip_vs or where we are not root:
// Debian's kernel package under qemu, with this very executable as init and everything it needs in
// an initramfs. The guest shares no file system with the machine and has neither disk nor network
// device, so whatever happens in it cannot touch the machine.
//
// Prepare collects kernel and tools once into a cache, Boot starts a guest from them, and VM.Run runs
// commands in it over one virtio-serial port.
package guest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"
)

// Options say how to prepare an Image. The zero value is right for most.
type Options struct {
	// Init is the executable that becomes the guest's init; it must call Init when IsInit says so,
	// and be linked statically. Empty: the running executable.
	Init string
	// Cache is the folder for kernel and tools. Empty: $LVSTUI_CACHE/guest, else the user's cache folder.
	Cache string
	// Sets name tools that are packed besides those of every guest: see moreTools.
	Sets []string
	// Log receives a line for each slow thing that is done. Nil: nowhere.
	Log io.Writer
}

// Image is what a guest is booted from.
type Image struct {
	Kernel  string   // path of the compressed kernel
	Base    string   // path of the archive with modules and tools
	Release string   // kernel release, "6.1.0-56-cloud-amd64"
	Missing []string // tools that this machine's package archive did not have
	Init    string   // path of the executable packed as /init
	Cache   string
	QEMU    string // path of qemu-system-x86_64
}

// manifest is the part of an Image that the cache keeps.
type manifest struct {
	Kernel  string   `json:"kernel"` // file names within the cache
	Base    string   `json:"base"`
	Release string   `json:"release"`
	Missing []string `json:"missing,omitempty"`
}

// Prepare finds kernel and tools in the cache, or downloads and packs them: once, some 50 MB, without
// root. Nothing is installed on the machine.
func Prepare(ctx context.Context, o Options) (Image, error) {
	if runtime.GOARCH != "amd64" {
		return Image{}, fmt.Errorf("the guest kernel needs an amd64 machine, this one is %s; a director with ip_vs and root can run the lab without a guest", runtime.GOARCH)
	}
	qemu, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		return Image{}, errors.New("qemu-system-x86_64 is not installed, and the lab's guest kernel runs in it; type: sudo apt-get install qemu-system-x86")
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	if o.Init == "" {
		if o.Init, err = os.Executable(); err != nil {
			return Image{}, fmt.Errorf("which executable to pack as init: %w", err)
		}
	}
	if err := checkStatic(o.Init); err != nil {
		return Image{}, err
	}
	if o.Cache == "" {
		if o.Cache, err = defaultCache(); err != nil {
			return Image{}, err
		}
	}
	if err := os.MkdirAll(o.Cache, 0o755); err != nil {
		return Image{}, fmt.Errorf("the guest's cache folder: %w", err)
	}
	m, err := loadOrBuild(ctx, o)
	if err != nil {
		return Image{}, err
	}
	return Image{
		Kernel:  filepath.Join(o.Cache, m.Kernel),
		Base:    filepath.Join(o.Cache, m.Base),
		Release: m.Release,
		Missing: m.Missing,
		Init:    o.Init,
		Cache:   o.Cache,
		QEMU:    qemu,
	}, nil
}

// UserDir is the folder of this user where the lab keeps what it needs: LVSTUI_CACHE, or lvstui in the user's cache.
// It may not exist yet.
func UserDir() (string, error) {
	dir := os.Getenv("LVSTUI_CACHE")
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("no folder for the lab: %w; set LVSTUI_CACHE to one", err)
		}
		dir = filepath.Join(user, "lvstui")
	}
	return filepath.Abs(dir)
}

func defaultCache() (string, error) {
	dir, err := UserDir()
	return filepath.Join(dir, "guest"), err
}

// loadOrBuild reads the manifest of the current recipe, or makes it under the cache's lock.
func loadOrBuild(ctx context.Context, o Options) (manifest, error) {
	name := filepath.Join(o.Cache, "image-"+recipeKey(o.Sets)+".json")
	if m, ok := readManifest(o.Cache, name); ok {
		return m, nil
	}
	unlock, err := lock(ctx, filepath.Join(o.Cache, "lock"))
	if err != nil {
		return manifest{}, err
	}
	defer unlock()
	if m, ok := readManifest(o.Cache, name); ok { // somebody else made it while we waited
		return m, nil
	}
	m, err := build(ctx, o)
	if err != nil {
		return manifest{}, err
	}
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return manifest{}, err
	}
	return m, renameio.WriteFile(name, data, 0o644)
}

func readManifest(cache, name string) (manifest, bool) {
	var m manifest
	data, err := os.ReadFile(name)
	if err != nil || json.Unmarshal(data, &m) != nil {
		return m, false
	}
	for _, f := range []string{m.Kernel, m.Base} {
		if f == "" || f != filepath.Base(f) {
			return m, false
		}
		if _, err := os.Stat(filepath.Join(cache, f)); err != nil {
			return m, false
		}
	}
	return m, true
}

// recipeKey changes with everything that decides what is packed.
func recipeKey(sets []string) string {
	h := sha256.New()
	fmt.Fprintln(h, recipeVersion, kernelPackages, moduleFolders, moduleNames, applets)
	for _, t := range toolsWith(sets) {
		fmt.Fprintln(h, t.Package, t.Programs, t.Links, t.Data)
	}
	for _, f := range baseFiles {
		fmt.Fprintln(h, f.name, f.mode, f.text)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// tidy removes what builds that were killed have left, and images of other recipes that nobody has made
// lately. The caller holds the lock.
func tidy(cache string) {
	for _, pattern := range []string{"build-*", "image-*.json", "base-*.cpio", "vmlinuz-*"} {
		names, _ := filepath.Glob(filepath.Join(cache, pattern)) // the patterns are right
		for _, name := range names {
			info, err := os.Stat(name)
			if err == nil && (pattern == "build-*" || time.Since(info.ModTime()) > 24*time.Hour) {
				os.RemoveAll(name) // what cannot be removed only takes space
			}
		}
	}
}

// build downloads, unpacks and packs. What it writes into the cache is complete or not there.
func build(ctx context.Context, o Options) (manifest, error) {
	tidy(o.Cache)
	tmp, err := os.MkdirTemp(o.Cache, "build-")
	if err != nil {
		return manifest{}, fmt.Errorf("the guest's cache folder: %w", err)
	}
	defer os.RemoveAll(tmp)
	a := &archive{dir: tmp, log: o.Log}

	wanted := slices.Clone(kernelPackages)
	for _, t := range toolsWith(o.Sets) {
		wanted = append(wanted, t.Package)
	}
	if err := a.index(ctx, wanted); err != nil {
		return manifest{}, err
	}
	root, release, err := a.kernel(ctx)
	if err != nil {
		return manifest{}, err
	}
	key := recipeKey(o.Sets)
	m := manifest{Release: release, Kernel: "vmlinuz-" + key, Base: "base-" + key + ".cpio"}
	if err := copyFile(filepath.Join(root, "boot", "vmlinuz-"+release), filepath.Join(o.Cache, m.Kernel)); err != nil {
		return manifest{}, fmt.Errorf("the kernel of %s: %w", release, err)
	}
	mods, err := chooseModules(filepath.Join(root, "lib/modules", release))
	if err != nil {
		return manifest{}, err
	}
	found, err := a.tools(ctx, toolsWith(o.Sets))
	if err != nil {
		return manifest{}, err
	}
	m.Missing = found.missing
	for _, miss := range found.missing {
		fmt.Fprintln(o.Log, "guest: not packed:", miss)
	}
	fmt.Fprintf(o.Log, "guest: packing %d kernel modules and %d programs\n", len(mods), len(found.programs))
	return m, writeBase(filepath.Join(o.Cache, m.Base), release, mods, found)
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := renameio.NewPendingFile(to, renameio.WithPermissions(0o644))
	if err != nil {
		return err
	}
	defer out.Cleanup()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.CloseAtomicallyReplace()
}

// files lists the regular files and links below dir, as paths relative to it.
func files(dir string) ([]string, error) {
	var all []string
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		all = append(all, strings.TrimPrefix(name, dir+"/"))
		return nil
	})
	return all, err
}
