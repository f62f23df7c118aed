package apply_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"lvstui/fixes"
)

// Files outlive the boot and the journal does not: those that hold what was written are named, until somebody sees to them.
func TestFilesOfAnEarlierBootAreNamed(t *testing.T) {
	a, before, plan := host(t)
	var edits []fixes.FileEdit
	a.Root, edits = image(t)
	if c, err := a.Apply(context.Background(), plan, before, fixes.Terms{Files: edits}, nil); err != nil || c.State != fixes.Applied {
		t.Fatalf("%+v, %v", c, err)
	}
	if got := a.Earlier(); len(got) != 0 {
		t.Fatalf("of this boot: %+v", got)
	}
	now, err := os.ReadDir(a.Dir)
	if err != nil || len(now) != 1 {
		t.Fatalf("%v, %v", now, err)
	}
	earlier := filepath.Join(a.Dir, "00000000-0000-0000-0000-000000000000-1-1")
	if err := os.Rename(filepath.Join(a.Dir, now[0].Name()), earlier); err != nil {
		t.Fatal(err)
	}
	got := a.Earlier()
	if len(got) != 2 || got[0].Made || got[0].Path != edits[0].Path || !got[1].Made || got[1].Path != edits[1].Path || got[0].Title != plan.Title {
		t.Fatalf("%+v", got)
	}
	if _, err := os.Stat(got[0].Journal); err != nil {
		t.Error(err)
	}
	if list, err := a.List(context.Background()); err != nil || len(list) != 0 {
		t.Errorf("the journal of this boot has %+v, %v", list, err)
	}
	if err := os.WriteFile(filepath.Join(a.Root, edits[0].Path), []byte("mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := a.Earlier(); len(got) != 1 || got[0].Path != edits[1].Path {
		t.Errorf("one of them was changed since: %+v", got)
	}
	a.Root = ""
	if got := a.Earlier(); len(got) != 0 {
		t.Errorf("of another root: %+v", got)
	}
}
