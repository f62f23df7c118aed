package kit

import (
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"lvstui/ui/theme"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"eth0":                      "eth0",
		"a\x1b[31mb":                "a?[31mb",
		"a\r\nb\tc":                 "a??b?c",
		"\u009b2J":                  "?2J",
		"abc\u202edef":              "abc?def",
		"zero\u200bwidth\ufeff":     "zero?width?",
		"not utf-8 \xff\xfe":        "not utf-8 ??",
		"Müller 漢字 ✓":               "Müller 漢字 ✓",
		"e\u0301 \U000e0041 \ue000": "e? ? ?",
	} {
		if got := Clean(in); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("\x1b]0;title\x07")
	f.Add("\xc2\x9b31m")
	f.Fuzz(func(t *testing.T, s string) {
		out := Clean(s)
		if Clean(out) != out {
			t.Errorf("cleaning %q twice gives %q", s, Clean(out))
		}
		if cells(out) != ansi.StringWidth(out) {
			t.Errorf("%q takes %d cells, not %d", out, ansi.StringWidth(out), cells(out))
		}
		if ansi.Strip(out) != out {
			t.Errorf("an escape sequence is left in %q", out)
		}
		for _, w := range []int{0, 1, 2, 7, 40} {
			for _, got := range []string{Pad(s, w), PadEnd(s, w), PadLeft(s, w)} {
				if ansi.StringWidth(got) != w {
					t.Errorf("%q padded to %d cells is %q", s, w, got)
				}
			}
			for _, line := range Wrap(s, max(w, 2)) {
				if ansi.StringWidth(line) > max(w, 2) {
					t.Errorf("Wrap(%q, %d) gives %q", s, max(w, 2), line)
				}
			}
			line := Render(theme.New(theme.Options{Color: true}), []Line{L(T(s), S(theme.Bad, s))}, w, 1)
			if ansi.StringWidth(line) > w || strings.Contains(line, "\n") {
				t.Errorf("Render to %d cells gives %q", w, line)
			}
			ascii := ansi.Strip(Render(theme.New(theme.Options{ASCII: true}), []Line{L(T(s)).Fit(w)}, w, 1))
			if ansi.StringWidth(ascii) != w || strings.ContainsFunc(ascii, func(r rune) bool { return r > 0x7e }) {
				t.Errorf("ASCII of %q in %d cells: %q", s, w, ascii)
			}
		}
	})
}

// The short cut must say what the tables of Unicode say, for every rune.
func TestCells(t *testing.T) {
	for r := rune(0x20); r < 0x20000; r++ {
		if s := string(r); narrow(r) && ansi.StringWidth(s) != 1 {
			t.Errorf("%U takes %d cells", r, ansi.StringWidth(s))
		}
	}
}

func TestWrap(t *testing.T) {
	got := strings.Join(Wrap("the client never sent its ACK\n\naaaaaaaaaaaaaaaaaaaaaaa b", 12), "|")
	if want := "the client|never sent|its ACK||aaaaaaaaaaaa|aaaaaaaaaaa|b"; got != want {
		t.Errorf("Wrap: %q, want %q", got, want)
	}
}

func TestBetweenKeepsTheRightPart(t *testing.T) {
	for w := 12; w < 40; w++ {
		l := Between(L(T("a long left part")), L(T("0 dropped")), w)
		if l.Width() != w || !strings.HasSuffix(l.Plain(), " 0 dropped") {
			t.Errorf("%d: %q", w, l.Plain())
		}
	}
}

func TestBoxIsAsWideAsAsked(t *testing.T) {
	for w := 10; w < 60; w++ {
		for _, l := range Box("a title that may be too long", []Line{L(T("some text that may be too long"))}, w) {
			if l.Width() != w {
				t.Errorf("%d: %q has %d cells", w, l.Plain(), l.Width())
			}
		}
	}
}

func TestSpark(t *testing.T) {
	for _, c := range []struct {
		values []float64
		width  int
		want   string
	}{
		{nil, 3, "   "},
		{[]float64{0, 0}, 3, " ▁▁"},
		{[]float64{0, 5, 10}, 3, "▁▅█"},
		{[]float64{9, -1, 1, 1}, 3, " ██"}, // the 9 has scrolled out; -1 is not known
	} {
		if got := Spark(c.values, c.width); got != c.want {
			t.Errorf("Spark(%v, %d) = %q, want %q", c.values, c.width, got, c.want)
		}
	}
}

func TestWindowHoldsTheCursor(t *testing.T) {
	for n := range 30 {
		for height := 1; height < 12; height++ {
			for cursor := range n {
				for _, offset := range []int{0, 3, 29} {
					from, to := Window(n, cursor, offset, height)
					if cursor < from || cursor >= to || to-from > height || from < 0 || to > n || to-from < min(n, height) {
						t.Fatalf("Window(%d, %d, %d, %d) = %d, %d", n, cursor, offset, height, from, to)
					}
				}
			}
		}
	}
}
