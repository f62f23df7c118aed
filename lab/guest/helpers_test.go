package guest

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestModuleOrder(t *testing.T) {
	needs := map[string][]string{"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "e": {"e"}}
	got := order([]string{"a", "e", "d"}, func(n string) []string { return needs[n] })
	if want := []string{"d", "b", "c", "a", "e"}; !slices.Equal(got, want) {
		t.Errorf("order %v, want %v", got, want)
	}
}

func TestModuleIndexes(t *testing.T) {
	mods := []*module{
		{path: "kernel/a-b.ko", name: "a_b", needs: []string{"c"}, soft: []string{"d", "not_here"}, aliases: []string{"net-pf-16-proto-16-family-A"}},
		{path: "kernel/c.ko", name: "c", needs: []string{"d"}},
		{path: "kernel/d.ko", name: "d"},
	}
	dep, alias := indexes(mods)
	if want := "kernel/a-b.ko: kernel/c.ko kernel/d.ko\nkernel/c.ko: kernel/d.ko\nkernel/d.ko:\n"; dep != want {
		t.Errorf("modules.dep:\n%swant\n%s", dep, want)
	}
	if want := "alias net-pf-16-proto-16-family-A a_b\n"; alias != want {
		t.Errorf("modules.alias:\n%s", alias)
	}
}

func TestModuleNames(t *testing.T) {
	if got := fmt.Sprint(softBefore("pre: crc32c foo-bar post: late platform: x")); got != "[crc32c foo_bar]" {
		t.Errorf("soft dependencies %s", got)
	}
	if got := moduleName("kernel/net/nf-x.ko"); got != "nf_x" {
		t.Errorf("name %s", got)
	}
}

// Debian 13 compresses modules with xz; gzip is the one that is always there.
func TestCompressedModules(t *testing.T) {
	dir := t.TempDir()
	want := []string{"kernel/deep/b.ko", "kernel/plain.ko", "modules.dep.gz"}
	for _, name := range []string{"kernel/deep/b.ko.gz", "kernel/plain.ko", "modules.dep.gz"} {
		var data bytes.Buffer
		if z := gzip.NewWriter(&data); strings.HasSuffix(name, ".gz") {
			fmt.Fprint(z, "module")
			z.Close()
		} else {
			data.WriteString("module")
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := unpackModules(dir); err != nil {
		t.Fatal(err)
	}
	got, err := files(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("files %q, want %q", got, want)
	}
	if text, err := os.ReadFile(filepath.Join(dir, want[0])); err != nil || string(text) != "module" {
		t.Errorf("%q, %v", text, err)
	}

	t.Setenv("PATH", t.TempDir())
	if err := os.WriteFile(filepath.Join(dir, "c.ko.xz"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	wantError(t, unpackModules(dir), "xz is not installed", "sudo apt-get install xz-utils")
}

func TestPackageNamesThatFollowFromLibraries(t *testing.T) {
	for so, pkg := range map[string]string{
		"libnl-3.so.200": "libnl-3-200", "libpcap.so.0.8": "libpcap0.8t64", "libelf.so.1": "libelf1",
		"libnl-genl-3.so.200": "libnl-genl-3-200", "libpcre2-8.so.0": "libpcre2-8-0", "libdb-5.3.so": "libdb5.3",
	} {
		if !likely(pkg, so) {
			t.Errorf("%s was not looked for in %s", so, pkg)
		}
	}
	for _, pkg := range []string{"libnl-genl-3-200", "libnl-3-dev", "libc6"} {
		if likely(pkg, "libnl-3.so.200") {
			t.Errorf("libnl-3.so.200 was looked for in %s", pkg)
		}
	}
}

func TestLaterEnvironmentWins(t *testing.T) {
	got := environment([]string{"PATH=/a", "HOME=/root", "X=1"}, request{UID: Nobody, Env: []string{"X=2", "Y=3", "X=4"}})
	if want := "PATH=/a HOME=/ X=4 Y=3"; strings.Join(got, " ") != want {
		t.Errorf("%v, want %s", got, want)
	}
}

func TestForeignTextCannotMoveTheCursor(t *testing.T) {
	if got := printable("a\x1b[2Jb\r\tc\u009b1m\x7f ü"); got != "a[2Jb c1m ü" {
		t.Errorf("%q", got)
	}
}

func TestOnePreparesAtATime(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := lock(short, name); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the lock was given twice: %v", err)
	}
	unlock()
	again, err := lock(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	again()
}

func BenchmarkRunTrue(b *testing.B) {
	vm := benchGuest(b)
	for b.Loop() {
		if exit, err := vm.Run(b.Context(), Cmd{Args: []string{"true"}}); exit != 0 || err != nil {
			b.Fatal(exit, err)
		}
	}
}

func BenchmarkRunThisProgram(b *testing.B) {
	vm := benchGuest(b)
	for b.Loop() {
		if _, err := vm.Run(b.Context(), Cmd{Args: []string{Program, "shell"}}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPut16MB(b *testing.B) {
	vm := benchGuest(b)
	b.SetBytes(16 << 20)
	for b.Loop() {
		if err := vm.Put("/tmp/bench", 0o644, io.LimitReader(zeros{}, 16<<20)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet16MB(b *testing.B) {
	vm := benchGuest(b)
	if err := vm.Put("/tmp/bench", 0o644, io.LimitReader(zeros{}, 16<<20)); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(16 << 20)
	for b.Loop() {
		if n, err := io.Copy(io.Discard, vm.Get("/tmp/bench")); n != 16<<20 || err != nil {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkBoot(b *testing.B) {
	img, err := Prepare(b.Context(), Options{Init: helper})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		vm, err := Boot(b.Context(), img, Config{})
		if err != nil {
			b.Fatal(err)
		}
		vm.Close()
	}
}

func benchGuest(b *testing.B) *VM {
	b.Helper()
	img, err := Prepare(b.Context(), Options{Init: helper})
	if err != nil {
		b.Fatal(err)
	}
	vm, err := Boot(b.Context(), img, Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { vm.Close() })
	return vm
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
