package rules

//go:generate go test -run TestDocs -update .

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lvstui/probes"
)

var update = flag.Bool("update", false, "write docs/findings anew")

const docs = "../../docs/findings"

// The pages in docs/findings are written from the rules: `go generate ./probes/rules`.
func TestDocs(t *testing.T) {
	pages := map[string]string{"README.md": probes.Index(Explained())}
	for _, r := range Explained() {
		pages[r.ID+".md"] = probes.Markdown(r)
	}
	if *update {
		if err := os.MkdirAll(docs, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range pages {
		file := filepath.Join(docs, name)
		if *update {
			if err := os.WriteFile(file, []byte(want), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != want {
			t.Errorf("docs/findings/%s is not what the rule says (%v): go generate ./probes/rules", name, err)
		}
	}
	there, err := filepath.Glob(docs + "/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range there {
		if _, ok := pages[filepath.Base(file)]; !ok {
			t.Errorf("docs/findings/%s is of no rule: remove it", filepath.Base(file))
		}
	}
}

func TestTextFitsTheTerminal(t *testing.T) {
	for _, r := range Explained() {
		for _, width := range []int{40, 78} {
			for _, line := range strings.Split(probes.Text(r, width), "\n") {
				if n := len([]rune(line)); n > width && !strings.HasPrefix(line, "    ") && strings.Contains(strings.TrimSpace(line), " ") &&
					!slices.Contains([]string{"Judged on", "May be a symptom of"}, strings.Split(line, "  ")[0]) {
					t.Errorf("%s at width %d: %q is %d wide", r.ID, width, line, n)
				}
			}
		}
	}
}
