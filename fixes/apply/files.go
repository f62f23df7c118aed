package apply

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"lvstui/fixes"
)

// How far a file has come. Writing and returning are journalled before the file is touched, written and back after.
const (
	filePlanned   = "planned"
	fileWriting   = "writing"
	fileWritten   = "written"
	fileReturning = "returning"
	fileBack      = "back"
)

// fileEntry is a file that is written once the change is kept, and what has to be known to put it back.
type fileEntry struct {
	fixes.FileEdit
	State string `json:"state"`
	// Was is whose the file was and with which permission bits, nil when there was none.
	Was *owner `json:"was,omitempty"`
	// Dirs are the folders that were made for it, outermost first.
	Dirs []string `json:"dirs,omitempty"`
}

type owner struct {
	Mode uint32 `json:"mode"`
	UID  int    `json:"uid"`
	GID  int    `json:"gid"`
}

// check refuses an entry that would not be safe to act on.
func (e fileEntry) check() error {
	if !slices.Contains([]string{filePlanned, fileWriting, fileWritten, fileReturning, fileBack}, e.State) {
		return fmt.Errorf("%q is no state of a file", e.State)
	}
	for _, dir := range e.Dirs {
		if !strings.HasPrefix(e.Path, dir+"/") {
			return fmt.Errorf("%s is no folder of %s", dir, e.Path)
		}
	}
	return e.Validate()
}

// touched says that the file may not be as it was.
func (e fileEntry) touched() bool { return e.State != filePlanned && e.State != fileBack }

// writeFiles writes all files of a change or none: when one fails, those before are put back.
func (a *Applier) writeFiles(j *journal, r *record) error {
	if len(r.Files) == 0 {
		return nil
	}
	t, err := openTree(r.Root)
	if err != nil {
		return err
	}
	defer t.Close()
	for i := range r.Files {
		if err = a.writeFile(j, r, &r.Files[i], t); err != nil {
			break
		}
	}
	if err == nil {
		return nil
	}
	if left, back := a.returnFiles(j, r, t); back != nil {
		return fmt.Errorf("%w; and what had been written could not all be put back: %w", err, back)
	} else if left != "" {
		return fmt.Errorf("%w; %s", err, left)
	}
	return err
}

func (a *Applier) writeFile(j *journal, r *record, e *fileEntry, t *tree) error {
	is, was, err := t.read(e.Path)
	if err != nil {
		return err
	}
	if !e.touched() || e.State == fileReturning {
		e.Was = was
		if e.Dirs, err = t.missing(e.Path); err != nil {
			return err
		}
	}
	e.State = fileWriting
	if !sameText(is, e.Before) && !sameText(is, e.After) {
		t.tidy(e)
		e.State = filePlanned // theirs: nothing to put back
		return fmt.Errorf("%s is not as it was when the change was shown: not written", e.Path)
	}
	if err := j.write(r); err != nil {
		return err
	}
	a.reached("file-begun")
	if !sameText(is, e.After) {
		if err := t.put(e, e.After, a.reached); err != nil {
			return fmt.Errorf("write %s: %w", e.Path, err)
		}
	}
	if is, _, err = t.read(e.Path); err != nil || !sameText(is, e.After) {
		return fmt.Errorf("%s does not hold what was written to it (%v)", e.Path, err)
	}
	a.reached("file-moved")
	e.State = fileWritten
	return j.write(r)
}

// returnFiles puts back the files that were written, last first. What somebody else has changed since stays, and is said in left.
func (a *Applier) returnFiles(j *journal, r *record, t *tree) (left string, err error) {
	for i := range slices.Backward(r.Files) {
		e := &r.Files[i]
		if !e.touched() {
			continue
		}
		is, _, err := t.read(e.Path)
		if err != nil {
			return left, err
		}
		e.State = fileReturning
		if err := a.journalBack(j, r); err != nil {
			return left, err
		}
		a.reached("file-back-begun")
		switch {
		case sameText(is, e.After) && !sameText(is, e.Before):
			if err := t.put(e, e.Before, a.reached); err != nil {
				return left, fmt.Errorf("put back %s: %w", e.Path, err)
			}
		case !sameText(is, e.Before):
			left = joinWords(left, "left alone, because somebody else has changed it: "+e.Path)
		}
		t.tidy(e)
		a.reached("file-back-moved")
		e.State = fileBack
		if err := a.journalBack(j, r); err != nil {
			return left, err
		}
	}
	return left, nil
}

// takeBackFiles is returnFiles for a change of which files may have been touched.
func (a *Applier) takeBackFiles(j *journal, r *record) (left string, err error) {
	if !slices.ContainsFunc(r.Files, func(e fileEntry) bool { return e.State != filePlanned }) {
		r.Change.Files = nil // none was ever written
	}
	if !slices.ContainsFunc(r.Files, fileEntry.touched) {
		return "", nil
	}
	t, err := openTree(r.Root)
	if err != nil {
		return "", err
	}
	defer t.Close()
	return a.returnFiles(j, r, t)
}

// writable finds out before anything is changed whether the files are as they were shown and could be written.
func (a *Applier) writable(edits []fixes.FileEdit, steps bool) error {
	if len(edits) == 0 {
		return nil
	}
	t, err := openTree(a.Root)
	if err != nil {
		return err
	}
	defer t.Close()
	for _, e := range edits {
		if err := e.Validate(); err != nil {
			return err
		}
		is, _, err := t.read(e.Path)
		if err != nil {
			return err
		}
		if !sameText(is, e.Before) {
			return fmt.Errorf("not applied: %s has changed since the plan was shown; look again", e.Path)
		}
		if err := t.access(e.Path); err != nil {
			err = fmt.Errorf("not applied: %s could not be written for the next boot: %w", e.Path, err)
			if steps {
				err = fmt.Errorf("%w; the same with --no-persist changes the running host only", err)
			}
			return err
		}
	}
	return nil
}

func sameText(a, b *string) bool { return a == nil && b == nil || a != nil && b != nil && *a == *b }

func joinWords(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

// tree is the file system that the files are in. Nothing in it leads out of it.
type tree struct{ *os.Root }

func openTree(root string) (*tree, error) {
	if root == "" {
		root = "/"
	}
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, fmt.Errorf("open the root of the files: %w", err)
	}
	return &tree{r}, nil
}

func below(name string) string { return path.Clean("./" + name) }

// read returns the text of a file and whose it is, nil when there is none.
func (t *tree) read(name string) (*string, *owner, error) {
	info, err := t.Lstat(below(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return nil, nil, fmt.Errorf("%s is a symbolic link: write there by hand", name)
	}
	if !info.Mode().IsRegular() || info.Size() > fixes.FileLimit {
		return nil, nil, fmt.Errorf("%s is no file of at most %d bytes: write there by hand", name, fixes.FileLimit)
	}
	f, err := t.OpenFile(below(name), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, fixes.FileLimit+1))
	if err != nil {
		return nil, nil, err
	}
	text := string(b)
	return &text, &owner{Mode: st.Mode & 0o7777, UID: int(st.Uid), GID: int(st.Gid)}, nil
}

// missing are the folders that would have to be made for a file.
func (t *tree) missing(name string) ([]string, error) {
	var out []string
	for dir := path.Dir(name); dir != "/"; dir = path.Dir(dir) {
		_, err := t.Stat(below(dir))
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		out = append([]string{dir}, out...)
	}
	return out, nil
}

// access says whether a file could be made in its folder, or in the nearest one there is.
func (t *tree) access(name string) error {
	missing, err := t.missing(name)
	if err != nil {
		return err
	}
	dir := path.Dir(name)
	if len(missing) > 0 {
		dir = path.Dir(missing[0])
	}
	d, err := t.Open(below(dir))
	if err != nil {
		return err
	}
	defer d.Close()
	return unix.Faccessat(int(d.Fd()), ".", unix.W_OK, unix.AT_EACCESS)
}

// put makes the file hold text, or removes it: all of it or nothing, on disk for good when it returns.
func (t *tree) put(e *fileEntry, text *string, reached func(string)) error {
	dir := below(path.Dir(e.Path))
	if text == nil {
		if err := t.Remove(below(e.Path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return t.sync(dir)
	}
	if err := t.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, made := range e.Dirs {
		if err := t.sync(below(path.Dir(made))); err != nil {
			return err
		}
	}
	beside := besideName(e.Path)
	if err := t.Remove(beside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // one that was left is removed: O_EXCL below
	}
	if err := t.fill(beside, e, *text); err != nil {
		_ = t.Remove(beside)
		return err
	}
	reached("file-beside")
	if err := t.Rename(beside, below(e.Path)); err != nil {
		_ = t.Remove(beside)
		return err
	}
	return t.sync(dir)
}

// fill writes a file with the mode, the owner and the attributes of the one it is to replace.
func (t *tree) fill(name string, e *fileEntry, text string) error {
	f, err := t.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		return err
	}
	mode := e.Mode
	if e.Was != nil {
		mode = e.Was.Mode
		if err := f.Chown(e.Was.UID, e.Was.GID); err != nil {
			return err
		}
	}
	if err := unix.Fchmod(int(f.Fd()), mode); err != nil { // whatever the umask is
		return err
	}
	if old, err := t.OpenFile(below(e.Path), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0); err == nil {
		copyAttributes(old, f)
		old.Close()
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

// copyAttributes gives to the label of SELinux and the access list of from, where the file system has such.
func copyAttributes(from, to *os.File) {
	names := make([]byte, 1<<12)
	n, err := unix.Flistxattr(int(from.Fd()), names)
	if err != nil {
		return
	}
	value := make([]byte, 1<<12)
	for _, name := range strings.Split(strings.TrimRight(string(names[:n]), "\x00"), "\x00") {
		if m, err := unix.Fgetxattr(int(from.Fd()), name, value); name != "" && err == nil {
			_ = unix.Fsetxattr(int(to.Fd()), name, value[:m], 0) // what may not be set has its value by rule
		}
	}
}

// tidy removes what was made for a file and is not needed without it.
func (t *tree) tidy(e *fileEntry) {
	_ = t.Remove(besideName(e.Path)) // of a write that was killed
	if e.Before != nil {
		return
	}
	for _, dir := range slices.Backward(e.Dirs) {
		if t.Remove(below(dir)) != nil { // somebody else has something in it
			return
		}
	}
}

// besideName is where a file is written before it is renamed. It is the same each time, so that none is left behind; with the dot
// and this ending nothing reads it.
func besideName(name string) string {
	return below(path.Join(path.Dir(name), "."+path.Base(name)+".lvstui~"))
}

func (t *tree) sync(dir string) error {
	d, err := t.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
