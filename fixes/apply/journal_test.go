package apply_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lvstui/fixes"
)

func TestAJournalThatCannotBeReadStopsApply(t *testing.T) {
	a, before, plan := host(t)
	change, err := a.Apply(context.Background(), plan, before, fixes.Terms{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(a.Dir, "*", change.ID+".json"))
	if len(files) != 1 {
		t.Fatal(files)
	}
	good, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"cut":          string(good[:len(good)/2]),
		"empty":        "",
		"newer":        strings.Replace(string(good), `"schema": 2`, `"schema": 3`, 1),
		"unknown kind": strings.Replace(string(good), `"kind": "sysctl"`, `"kind": "reboot"`, 1),
		"other path":   strings.Replace(string(good), `"path": "net/`, `"path": "net/../kernel/`, 1),
		"other field":  strings.Replace(string(good), `"schema": 2`, `"schema": 2, "x": 1`, 1),
		"no course":    strings.Replace(string(good), `"steps": 3`, `"steps": 9`, 1),
	} {
		if bad == string(good) {
			t.Fatalf("%s: not bad at all", name)
		}
		if err := os.WriteFile(files[0], []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Undo(context.Background(), ""); err == nil {
			t.Errorf("%s: undone", name)
		}
		if _, err := a.Apply(context.Background(), plan, nil, fixes.Terms{}, nil); err == nil {
			t.Errorf("%s: applied", name)
		}
		if _, err := a.List(context.Background()); err == nil {
			t.Errorf("%s: listed", name)
		}
	}
	if err := os.WriteFile(files[0], good, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Undo(context.Background(), change.ID); err != nil {
		t.Error(err)
	}
}
