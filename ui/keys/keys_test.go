package keys

import (
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write the generated page")

const page = "../../docs/keys.md"

func TestMarkdownIsFresh(t *testing.T) {
	want := Markdown()
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the key table says; run: go generate ./ui/keys", page)
	}
}

// A key must not mean two things in one place.
func TestTableIsUnambiguous(t *testing.T) {
	everywhere := Table()[0].Bindings
	for i, s := range Table() {
		seen := map[string]string{}
		add := func(b Binding) {
			if b.Show == "" || b.Short == "" || b.Long == "" || len(b.Keys) == 0 {
				t.Errorf("%s: %+v lacks words", s.Title, b)
			}
			for _, k := range b.Keys {
				if other, dup := seen[k]; dup && other != b.Short {
					t.Errorf("%s: %q is %q and %q", s.Title, k, other, b.Short)
				}
				seen[k] = b.Short
			}
		}
		for _, b := range s.Bindings {
			add(b)
		}
		if i > 0 {
			for _, b := range everywhere {
				add(b)
			}
		}
	}
}
