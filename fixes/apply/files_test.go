package apply_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"lvstui/fixes"
)

// image is a root with files for the next boot, and edits of all three kinds: one of a file that is there and not root's, one that
// needs folders, one that removes.
func image(t *testing.T) (root string, edits []fixes.FileEdit) {
	t.Helper()
	root = t.TempDir()
	dir := filepath.Join(root, "etc/sysctl.d")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"60-lvstui.conf": "old = 1\n", "10-gone.conf": "gone = 1\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Join(dir, "60-lvstui.conf")
	if err := os.Chmod(name, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(name, 7, 8); err != nil {
		t.Fatal(err)
	}
	return root, []fixes.FileEdit{
		{Path: "/etc/sysctl.d/60-lvstui.conf", Before: ptr("old = 1\n"), After: ptr("old = 1\nnew = 2\n"), Mode: 0o644, Why: "test"},
		{Path: "/etc/systemd/network/v0.network.d/lvstui.conf", After: ptr("[Network]\n"), Mode: 0o644, Why: "test"},
		{Path: "/etc/sysctl.d/10-gone.conf", Before: ptr("gone = 1\n"), Mode: 0o644, Why: "test"},
	}
}

func ptr(s string) *string { return &s }

// tree is all there is below root: what, whose, and with which text.
func tree(t *testing.T, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		text := ""
		if d.Type()&fs.ModeSymlink != 0 {
			text, err = os.Readlink(path)
			if err != nil {
				return err
			}
		} else if !d.IsDir() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text = string(b)
		}
		out[strings.TrimPrefix(path, root)] = fmt.Sprintf("%o %d:%d %q", st.Mode, st.Uid, st.Gid, text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func sameTree(t *testing.T, want map[string]string, root, when string) {
	t.Helper()
	if d := cmp.Diff(want, tree(t, root)); d != "" {
		t.Fatalf("%s: files before -, now +\n%s", when, d)
	}
}

func TestFilesAreWrittenOnceTheChangeIsKeptAndPutBackByUndo(t *testing.T) {
	a, before, plan := host(t)
	var edits []fixes.FileEdit
	a.Root, edits = image(t)
	was := tree(t, a.Root)
	waiting(t, a, plan, before, fixes.Terms{ConfirmWithin: time.Hour, Files: edits})
	sameTree(t, was, a.Root, "not confirmed yet")
	c, err := a.Confirm(context.Background(), "")
	if err != nil || c.State != fixes.Applied || len(c.Files) != 3 {
		t.Fatalf("%+v, %v", c, err)
	}
	want := map[string]string{}
	for name, text := range was {
		want[name] = text
	}
	delete(want, "/etc/sysctl.d/10-gone.conf")
	want["/etc/sysctl.d/60-lvstui.conf"] = `100640 7:8 "old = 1\nnew = 2\n"`
	want["/etc/systemd"], want["/etc/systemd/network"], want["/etc/systemd/network/v0.network.d"] = `40755 0:0 ""`, `40755 0:0 ""`, `40755 0:0 ""`
	want["/etc/systemd/network/v0.network.d/lvstui.conf"] = `100644 0:0 "[Network]\n"`
	sameTree(t, want, a.Root, "confirmed")
	a.Root = "" // the journal knows
	if c, err := a.Undo(context.Background(), ""); err != nil || c.Error != "" {
		t.Fatalf("%+v, %v", c, err)
	}
	same(t, before, "undone")
}

func TestFilesOfAChangeThatIsNotConfirmedAreNotWritten(t *testing.T) {
	a, before, plan := host(t)
	var edits []fixes.FileEdit
	a.Root, edits = image(t)
	was := tree(t, a.Root)
	waiting(t, a, plan, before, fixes.Terms{ConfirmWithin: 300 * time.Millisecond, Files: edits})
	if c := ended(t, a); c.State != fixes.Undone || len(c.Files) != 0 {
		t.Errorf("%+v", c)
	}
	sameTree(t, was, a.Root, "taken back")
}

// What keeps the files from being written: the running change stays, and it is said that it does for now only.
func TestFilesThatCannotBeWritten(t *testing.T) {
	for name, c := range map[string]struct {
		hinder func(t *testing.T, root string)
		words  string
	}{
		"changed meanwhile": {func(t *testing.T, root string) {
			if err := os.WriteFile(filepath.Join(root, "etc/sysctl.d/10-gone.conf"), []byte("theirs = 1\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "10-gone.conf is not as it was when the change was shown"},
		"read-only":          {func(t *testing.T, root string) { remount(t, root, unix.MS_RDONLY) }, "read-only file system"},
		"disk full":          {func(t *testing.T, root string) { fill(t, filepath.Join(root, "etc/full")) }, "no space left on device"},
		"a folder elsewhere": {func(t *testing.T, root string) { link(t, filepath.Join(root, "etc/systemd"), "/etc") }, "path escapes"},
		"symbolic link": {func(t *testing.T, root string) {
			name := filepath.Join(root, "etc/sysctl.d/60-lvstui.conf")
			if err := os.Rename(name, name+".real"); err != nil {
				t.Fatal(err)
			}
			link(t, name, "60-lvstui.conf.real")
		}, "is a symbolic link"},
	} {
		t.Run(name, func(t *testing.T) {
			a, before, plan := host(t)
			root, edits := smallImage(t)
			a.Root = root
			change := waiting(t, a, plan, before, fixes.Terms{ConfirmWithin: time.Hour, Files: edits})
			after := look(t, vip)
			c.hinder(t, root)
			was := tree(t, root)
			got, err := a.Confirm(context.Background(), change.ID)
			fails(t, err, "kept, but for now only", c.words)
			if got.State != fixes.Applied || got.Error == "" || len(got.Files) != 0 {
				t.Errorf("%+v", got)
			}
			sameTree(t, was, root, "refused")
			same(t, after, "kept")
			if c, err := a.Undo(context.Background(), ""); err != nil || c.Error != "" {
				t.Fatalf("%+v, %v", c, err)
			}
			sameTree(t, was, root, "undone")
			same(t, before, "undone")
			// Asked before anything is changed, the answer comes then.
			_, err = a.Apply(context.Background(), plan, nil, fixes.Terms{Files: edits}, nil)
			if name != "disk full" {
				fails(t, err, strings.TrimPrefix(c.words, "10-gone.conf is not as it was when the change was shown"))
				same(t, before, "refused")
			}
		})
	}
}

// smallImage is image on a file system of its own that holds next to nothing.
func smallImage(t *testing.T) (string, []fixes.FileEdit) {
	t.Helper()
	from, edits := image(t)
	root := tinyDisk(t)
	if err := os.CopyFS(root, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return root, edits
}

// tinyDisk is a file system with room for a few files.
func tinyDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=128k,mode=755"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func remount(t *testing.T, dir string, flags uintptr) {
	t.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT|flags, "size=128k"); err != nil {
		t.Fatal(err)
	}
}

// fill leaves no room on the disk that name is on.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for {
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			return
		}
	}
}

func link(t *testing.T, name, to string) {
	t.Helper()
	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
}

// A plan that is about the next boot alone: there is nothing to wait for, and nothing is half done.
func TestAPlanOfFilesAlone(t *testing.T) {
	a, before, _ := host(t)
	var edits []fixes.FileEdit
	a.Root, edits = image(t)
	was := tree(t, a.Root)
	plan := fixes.Plan{ID: "sysctl-not-persistent", Title: "write it down", Files: edits}
	c, err := a.Apply(context.Background(), plan, before, fixes.Terms{ConfirmWithin: time.Minute}, nil)
	if err != nil || c.State != fixes.Applied || len(c.Files) != 3 || len(watchdogs(t)) != 0 {
		t.Fatalf("%+v, %v", c, err)
	}
	if now := tree(t, a.Root); cmp.Equal(was, now) {
		t.Error("nothing written")
	}
	undoAll(t, a, before)
	sameTree(t, was, a.Root, "undone")
	a.At(func(place string) {
		if place == "planned" {
			if err := os.WriteFile(a.Root+edits[2].Path, []byte("theirs\n"), 0o600); err != nil {
				t.Error(err)
			}
			was = tree(t, a.Root)
		}
	})
	c, err = a.Apply(context.Background(), plan, before, fixes.Terms{}, nil)
	fails(t, err, "not written for the next boot", "10-gone.conf is not as it was")
	if c.State != fixes.Failed {
		t.Errorf("%+v", c)
	}
	sameTree(t, was, a.Root, "refused")
}

func TestUndoLeavesAloneAFileThatSomebodyElseChanged(t *testing.T) {
	a, before, plan := host(t)
	var edits []fixes.FileEdit
	a.Root, edits = image(t)
	was := tree(t, a.Root)
	if _, err := a.Apply(context.Background(), plan, before, fixes.Terms{Files: edits}, nil); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(a.Root, "etc/sysctl.d/60-lvstui.conf")
	if err := os.WriteFile(name, []byte("old = 1\nnew = 2\ntheirs = 3\n"), 0); err != nil {
		t.Fatal(err)
	}
	c, err := a.Undo(context.Background(), "")
	if err != nil || c.State != fixes.Undone {
		t.Fatalf("%+v, %v", c, err)
	}
	if !strings.Contains(c.Error, "left alone") || !strings.Contains(c.Error, "60-lvstui.conf") {
		t.Errorf("%+v", c)
	}
	same(t, before, "undone")
	was["/etc/sysctl.d/60-lvstui.conf"] = `100640 7:8 "old = 1\nnew = 2\ntheirs = 3\n"`
	sameTree(t, was, a.Root, "undone")
}

// Two changes write the same file: they are taken back in the order of a stack.
func TestUndoOfAFileThatALaterChangeWroteToo(t *testing.T) {
	a, before, plan := host(t)
	var edits []fixes.FileEdit
	a.Root, edits = image(t)
	was := tree(t, a.Root)
	first, err := a.Apply(context.Background(), fixes.Plan{ID: "first", Steps: plan.Steps[:1]}, before, fixes.Terms{Files: edits[:1]}, nil)
	if err != nil {
		t.Fatal(err)
	}
	on := fixes.FileEdit{Path: edits[0].Path, Before: edits[0].After, After: ptr("old = 1\nnew = 2\nnewer = 3\n")}
	second, err := a.Apply(context.Background(), fixes.Plan{ID: "second", Steps: plan.Steps[1:]}, nil, fixes.Terms{Files: []fixes.FileEdit{on}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.Undo(context.Background(), first.ID)
	fails(t, err, second.ID, "first `lvstui undo")
	for _, id := range []string{second.ID, first.ID} {
		if c, err := a.Undo(context.Background(), id); err != nil || c.Error != "" {
			t.Fatalf("%+v, %v", c, err)
		}
	}
	same(t, before, "undone")
	sameTree(t, was, a.Root, "undone")
}
