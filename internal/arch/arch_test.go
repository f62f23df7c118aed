// Package arch holds the tests about the code base itself: which package may import which, and why.
package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "lvstui"

// forbidden edges: a package at or below From must not import one at or below To.
var forbidden = []struct {
	from, to string
	except   []string // packages below To that are allowed
	why      string
}{
	{"lvs", module, nil, "lvs is the one currency everybody shares; it imports the standard library only"},
	{"capture", module, []string{"lvs", "capture", "internal/arrange"}, "capture tracks flows from packets alone, so the same packets give the same flows anywhere"},
	{"internal/arrange", module, nil, "a tool that everybody may use knows nothing of LVS"},
	{"capture", "capture/live", nil, "only the rim opens sockets; the tracker must work on files and in tests"},
	{"capture", "capture/file", nil, "the tracker must not know where packets come from"},
	{"fixes", module, []string{"lvs", "fixes", "internal/arrange"}, "a plan is a pure function of the snapshot, so that it can be proved by simulation without root"},
	{"fixes", "fixes/apply", nil, "planning must not be able to change a host"},
	{"probes", module, []string{"lvs", "fixes", "capture", "probes", "internal/arrange"}, "judgement needs facts, flows and plans, and nothing else"},
	{"probes", "probes/collect", nil, "a rule that reads the host cannot be tested on recorded facts"},
	{"probes", "probes/active", nil, "judging must not be able to send anything; what a test found comes in the snapshot"},
	{"probes/collect", "probes/active", nil, "looking sends nothing"},
	{"ui", "probes/active", nil, "a screen asks its Host to send something; screens draw what comes back"},
	{"probes", "capture/live", nil, "a rule that listens cannot be tested on recorded flows"},
	{"probes", "capture/file", nil, "rules get flows, whatever they came from"},
	{"probes", "fixes/apply", nil, "judging must not be able to change a host"},
	{"ui", "probes/collect", nil, "screens draw what a Host gives them; I/O in a screen freezes the terminal"},
	{"ui", "capture/live", nil, "screens draw what a Host gives them"},
	{"ui", "fixes/apply", nil, "a screen asks its Host to change something; only one package does it"},
	{"ui", "lab", nil, "to the screens the lab's hosts are hosts like any other"},
	{"ui", "cmd", nil, "commands wire screens, not the other way round"},
	{"ui", "os/exec", nil, "lvstui runs no other program"},
	{"ui", "net/http", nil, "screens do no I/O"},
}

// rims are the I/O packages below a pure one: the rules above that name their parent do not bind them.
var rims = []string{"capture/live", "capture/file", "probes/collect", "probes/active", "fixes/apply"}

// pure packages must not reach the system at all.
var pure = []string{"lvs", "internal/arrange", "capture", "fixes", "fixes/nextboot", "probes", "probes/rules", "probes/filter", "ui/kit", "ui/keys", "ui/theme", "ui/screens", "ui/wizard"}

var system = []string{"os", "os/exec", "net", "net/http", "syscall", "golang.org/x/sys/unix", "github.com/vishvananda/netlink", "github.com/moby/ipvs"}

type goPackage struct {
	dir     string
	imports map[string]string // path → file
	docs    []string          // files with a package comment
}

func load(t *testing.T) map[string]*goPackage {
	t.Helper()
	root := filepath.Join("..", "..")
	packages := map[string]*goPackage{}
	files := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		files++
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		dir, _ := filepath.Rel(root, filepath.Dir(path))
		p := packages[dir]
		if p == nil {
			p = &goPackage{dir: dir, imports: map[string]string{}}
			packages[dir] = p
		}
		if strings.HasSuffix(name, "_test.go") {
			return nil
		}
		if documented(f) {
			p.docs = append(p.docs, path)
		}
		for _, im := range f.Imports {
			p.imports[strings.Trim(im.Path.Value, `"`)] = path
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 60 || len(packages) < 15 {
		t.Fatalf("only %d files in %d packages were read: the test looks in the wrong place", files, len(packages))
	}
	return packages
}

func documented(f *ast.File) bool { return f.Doc != nil && strings.TrimSpace(f.Doc.Text()) != "" }

func within(pkg, tree string) bool { return pkg == tree || strings.HasPrefix(pkg, tree+"/") }

func TestImports(t *testing.T) {
	packages := load(t)
	for _, rule := range forbidden {
		if _, err := os.Stat(filepath.Join("..", "..", rule.from)); err != nil {
			t.Errorf("the rule about %s names no package: %v", rule.from, err)
		}
		for dir, p := range packages {
			if !within(dir, rule.from) || exempt(dir, rule.from) {
				continue
			}
			for path, file := range p.imports {
				local := strings.TrimPrefix(path, module+"/")
				hit := within(path, rule.to) || strings.HasPrefix(path, module+"/") && within(local, rule.to)
				if hit && !slices.ContainsFunc(rule.except, func(e string) bool { return within(local, e) }) {
					t.Errorf("%s imports %s: %s", file, path, rule.why)
				}
			}
		}
	}
}

// exempt: an I/O package below a pure one may do what its parent may not.
func exempt(dir, from string) bool {
	return slices.ContainsFunc(rims, func(rim string) bool { return within(dir, rim) && !within(from, rim) })
}

func TestPurePackagesDoNoIO(t *testing.T) {
	packages := load(t)
	for _, dir := range pure {
		p := packages[dir]
		if p == nil {
			continue // a package that is not there cannot do I/O; TestImports checks the names that matter
		}
		for _, path := range system {
			if file, bad := p.imports[path]; bad {
				t.Errorf("%s imports %s: %s is pure, its input comes as arguments", file, path, dir)
			}
		}
	}
}

func TestLvsImportsStandardLibraryOnly(t *testing.T) {
	for path, file := range load(t)["lvs"].imports {
		if strings.Contains(strings.SplitN(path, "/", 2)[0], ".") {
			t.Errorf("%s imports %s", file, path)
		}
	}
}

func TestOnePackageComment(t *testing.T) {
	for dir, p := range load(t) {
		if len(p.imports) == 0 && len(p.docs) == 0 {
			continue // tests only
		}
		if len(p.docs) != 1 {
			t.Errorf("%s has %d package comments, want exactly one: %v", dir, len(p.docs), p.docs)
		}
	}
}

// A file that outgrew a head is split, not scrolled.
func TestFilesFitAHead(t *testing.T) {
	const limit = 500
	_ = filepath.WalkDir(filepath.Join("..", ".."), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.Contains(path, "testdata") {
			return err
		}
		b, err := os.ReadFile(path)
		if err == nil && strings.Count(string(b), "\n") > limit {
			t.Errorf("%s has %d lines, more than %d", path, strings.Count(string(b), "\n"), limit)
		}
		return err
	})
}
