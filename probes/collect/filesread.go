package collect

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"lvstui/fixes"
	"lvstui/internal/arrange"
	"lvstui/lvs"
)

const (
	fileCount = 1024
	fileBytes = 8 << 20
	dirCount  = 2048 // entries of one folder that are looked at
)

// fileReader reads configuration files below a root: regular ones only, so many and so long at most, and never what a link
// leads to outside the root.
type fileReader struct {
	root  string
	files map[string]lvs.ConfigFile
	bytes int
	late  func() bool

	dirs   map[string][]string // listed folders
	denied []string
	odd    []string // could not be read for another reason, with it
	full   bool     // a bound was reached
}

func newFileReader(root string, late func() bool) *fileReader {
	return &fileReader{root: filepath.Clean(root), files: map[string]lvs.ConfigFile{}, dirs: map[string][]string{}, late: late}
}

// open opens a file or folder by its name on the host. Opening changes nothing and never waits: a FIFO or a device would.
func (r *fileReader) open(name string, flags int) (*os.File, error) {
	flags |= unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY
	if r.root == "/" {
		return os.OpenFile(name, flags, 0)
	}
	dir, err := os.Open(r.root)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	fd, err := unix.Openat2(int(dir.Fd()), strings.TrimPrefix(name, "/"), &unix.OpenHow{Flags: uint64(flags), Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) && flags&unix.O_DIRECTORY == 0 { // before Linux 5.6, or a seccomp filter
		inside, err := os.OpenRoot(r.root)
		if err != nil {
			return nil, err
		}
		defer inside.Close()
		return inside.OpenFile(strings.TrimPrefix(name, "/"), flags, 0)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// list is the names in a folder, sorted; none when it is not there.
func (r *fileReader) list(dir string) []string {
	if names, ok := r.dirs[dir]; ok {
		return names
	}
	var names []string
	f, err := r.open(dir, unix.O_DIRECTORY)
	if err == nil {
		names, err = f.Readdirnames(dirCount)
		f.Close()
		if errors.Is(err, io.EOF) {
			err = nil
		}
		r.full = r.full || len(names) == dirCount
	}
	r.note(dir, err)
	slices.Sort(names)
	r.dirs[dir] = names
	return names
}

// note remembers why something could not be read. What is not there is no fault.
func (r *fileReader) note(name string, err error) {
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
	case errors.Is(err, fs.ErrPermission):
		r.denied = append(r.denied, name)
	default:
		var in *fs.PathError
		if errors.As(err, &in) {
			err = in.Err
		}
		r.odd = append(r.odd, name+": "+err.Error())
	}
}

// glob lists the names that match a pattern, in any component but the first; the order is that of the names.
func (r *fileReader) glob(pattern string) []string {
	found := []string{"/"}
	for part := range strings.SplitSeq(strings.Trim(path.Clean(pattern), "/"), "/") {
		var next []string
		for _, dir := range found {
			if !strings.ContainsAny(part, `*?[\`) {
				next = append(next, path.Join(dir, part))
				continue
			}
			for _, name := range r.list(dir) {
				if ok, err := path.Match(part, name); err == nil && ok && (name[0] != '.' || part[0] == '.') {
					next = append(next, path.Join(dir, name))
				}
			}
		}
		if len(next) > fileCount {
			next, r.full = next[:fileCount], true
		}
		found = next
	}
	return found
}

// cleaner takes out of a file's text what must not enter a Snapshot and says whether it did.
type cleaner func(text string) (string, bool)

// add reads what matches the pattern.
func (r *fileReader) add(pattern string, clean cleaner) {
	for _, name := range r.glob(pattern) {
		r.read(name, clean)
	}
}

// read reads one file and returns its text as it was kept. What is there already stays.
func (r *fileReader) read(name string, clean cleaner) (string, bool) {
	if f, ok := r.files[name]; ok {
		return f.Text, true
	}
	if len(r.files) >= fileCount || r.bytes >= fileBytes || r.late() {
		r.full = true
		return "", false
	}
	file, err := r.readRegular(name)
	if err != nil {
		r.note(name, err)
		return "", false
	}
	if clean != nil {
		text, cut := clean(file.Text)
		file.Text, file.Cut = text, file.Cut || cut
	}
	r.bytes += len(file.Text)
	r.files[name] = file
	return file.Text, true
}

var errNotRegular = errors.New("not a regular file")

func (r *fileReader) readRegular(name string) (lvs.ConfigFile, error) {
	out := lvs.ConfigFile{Path: name}
	f, err := r.open(name, 0)
	if err != nil {
		if r.masks(name) {
			return out, nil
		}
		return out, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return out, err
	}
	if !info.Mode().IsRegular() {
		switch {
		case r.masks(name):
			return out, nil
		case info.IsDir():
			return out, fs.ErrNotExist // a folder of that name is none of ours
		}
		return out, errNotRegular
	}
	b, err := io.ReadAll(io.LimitReader(f, fixes.FileLimit+1))
	if err != nil {
		return out, err
	}
	if len(b) > fixes.FileLimit {
		// The last line may be half of one, and half an address is another one.
		b, out.Cut = b[:1+strings.LastIndexByte(string(b[:fixes.FileLimit]), '\n')], true
		r.odd = append(r.odd, fmt.Sprintf("%s: longer than %d KiB, only its beginning was read", name, fixes.FileLimit>>10))
	}
	if strings.ContainsRune(string(b), 0) {
		return out, errors.New("not a text file")
	}
	out.Text, out.Mode, out.Link = string(b), uint32(info.Mode().Perm()), r.link(name)
	return out, nil
}

// link is what a name leads to when it is a symbolic link.
func (r *fileReader) link(name string) string {
	target, err := os.Readlink(filepath.Join(r.root, name))
	if err != nil || target == "" {
		return ""
	}
	if !path.IsAbs(target) {
		target = path.Join(path.Dir(name), target)
	}
	return path.Clean(target)
}

// masks says that a name is a link to /dev/null, by which it hides files of its name in other folders (sysctl.d(5)).
func (r *fileReader) masks(name string) bool {
	target, err := os.Readlink(filepath.Join(r.root, name))
	return err == nil && target == "/dev/null"
}

// sorted is what was read, by path.
func (r *fileReader) sorted() []lvs.ConfigFile {
	out := make([]lvs.ConfigFile, 0, len(r.files))
	for _, f := range r.files {
		out = append(out, f)
	}
	arrange.By(out, func(a, b lvs.ConfigFile) int { return cmp.Compare(a.Path, b.Path) })
	return out
}
