package theme

import (
	"testing"

	"github.com/charmbracelet/x/ansi"
)

// What is written once per role must be what Lip Gloss would write for each text.
func TestRenderIsLipGloss(t *testing.T) {
	for _, o := range []Options{{}, {Color: true}, {Color: true, Light: true}} {
		th := New(o)
		for role, style := range styles(o) {
			for _, text := range []string{"broken", " 24 of 24 ", "✗ a — b", "漢字"} {
				if got, want := th.Render(Role(role), text), style.Render(text); got != want {
					t.Errorf("%+v role %d: %q, want %q", o, role, got, want)
				}
			}
		}
		if th.Render(Bad, "") != "" {
			t.Error("an empty text is styled")
		}
	}
}

func TestASCIIKeepsTheWidth(t *testing.T) {
	for r, c := range ascii {
		if ansi.StringWidth(string(r)) != 1 || c < 0x20 || c > 0x7e {
			t.Errorf("%c becomes %q", r, c)
		}
	}
	for in, want := range map[string]string{"plain": "plain", "✓ ok · 漢 é": "+ ok . ?? ?", "👩\u200d💻x": "??x"} {
		if got := toASCII(in); got != want {
			t.Errorf("toASCII(%q) = %q, want %q", in, got, want)
		}
	}
}
