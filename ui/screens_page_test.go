package ui

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

//go:generate go test -run TestScreensPage -update .

// screensPage is what docs/screens.md shows: pictures out of the golden files, each with what it is.
var screensPage = []struct{ title, words, golden, keys string }{
	{"Path", "Home. Where handshakes stop, in one sentence on top; the eleven stages with what was counted at each; and for the first one that is broken what was found, why, with evidence, and the cure.",
		"broken-rs1-120x40", "1"},
	{"Fix", "`f` on a finding: what would be typed, what is there now, how each step is taken back, whether it could cut your own session, and what is written for the next boot. Nothing is done before `a`.",
		"broken-rs1-120x40", "1 f"},
	{"Waiting to be kept", "After a change the path is looked at again. Unless you keep it in time, it is taken back.",
		"waiting-120x40", "1"},
	{"Flows", "Every connection, with the stage it got to. `/` filters (`state:stalled stage:syn-ack-sent client:10.0.0.0/8`), `b` groups, `p` freezes.",
		"broken-director-120x40", "2"},
	{"One flow as a ladder", "Who sent what to whom, by which interface and with which MAC; packets that were sent again are folded.",
		"broken-director-120x40", "2 G enter"},
	{"Two flows side by side", "`m` marks one, `m` marks another: where they part.",
		"half-broken-120x40", "G m"},
	{"Services", "Virtual services and their destinations, as the director has them.",
		"healthy-120x40", "3"},
	{"Host", "Addresses, routes to what matters, and the ARP and reverse path settings as they are in effect, with where each comes from.",
		"broken-rs1-120x40", "4"},
}

// TestScreensPage holds docs/screens.md to the golden files.
func TestScreensPage(t *testing.T) {
	var b strings.Builder
	b.WriteString("# The screens\n\nThis page is generated from the pictures that the tests of the screens are held to (`go generate ./ui`). On a terminal they have colours, and\n" +
		"fit into 80×24 as well. To sit before them: `make run`.\n")
	for _, p := range screensPage {
		file := filepath.Join("testdata", "golden", p.golden+".txt")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, picture, ok := strings.Cut("\n"+string(text), "\n-- "+p.keys+" --\n")
		if !ok {
			t.Fatalf("%s has no picture for the keys %q", file, p.keys)
		}
		picture, _, _ = strings.Cut(picture, "\n-- ")
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n```\n%s\n```\n", p.title, p.words, squeeze(picture))
	}
	page := filepath.Join("..", "docs", "screens.md")
	if *update {
		if err := os.WriteFile(page, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(page); err != nil || string(got) != b.String() {
		t.Errorf("%s is not what the golden files show (%v); run: go generate ./ui", page, err)
	}
}

// squeeze leaves one of several empty rows of a picture.
func squeeze(picture string) string {
	var out []string
	empty := 0
	for _, row := range strings.Split(strings.TrimRight(picture, "\n"), "\n") {
		if strings.Trim(row, " │") == "" {
			empty++
		} else {
			empty = 0
		}
		if empty < 2 {
			out = append(out, row)
		}
	}
	return strings.Join(out, "\n")
}
