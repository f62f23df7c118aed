package cpio

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"testing"
)

// entry is what the reader below finds; it follows buffer-format.rst, not the writer.
type entry struct {
	name, data   string
	mode         uint64
	major, minor uint64
}

func (e entry) String() string {
	return fmt.Sprintf("%s %o %d:%d %q", e.name, e.mode, e.major, e.minor, e.data)
}

// read takes archives apart, several in a row, as the kernel does.
func read(t *testing.T, b []byte) (entries []entry) {
	t.Helper()
	at := 0
	for at < len(b) {
		if at%4 != 0 || len(b)-at < 110 || string(b[at:at+6]) != "070701" {
			t.Fatalf("no header at %d of %d", at, len(b))
		}
		var field [13]uint64
		for i := range field {
			n, err := strconv.ParseUint(string(b[at+6+8*i:at+14+8*i]), 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			field[i] = n
		}
		size, nameSize := int(field[6]), int(field[11])
		name := string(b[at+110 : at+110+nameSize])
		if !strings.HasSuffix(name, "\x00") {
			t.Fatalf("the name %q does not end", name)
		}
		data := (at + 110 + nameSize + 3) &^ 3
		at = (data + size + 3) &^ 3
		if name == "TRAILER!!!\x00" {
			continue
		}
		entries = append(entries, entry{strings.TrimSuffix(name, "\x00"), string(b[data : data+size]), field[1], field[9], field[10]})
	}
	return entries
}

func TestArchive(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	w.Bytes("/a/b/file", 0o640, []byte("five!"))
	w.Bytes("a/other", 0o755, nil)
	w.Dir("tmp", 0o777|fs.ModeSticky)
	w.Dir("a/b", 0o700) // is there already
	w.Symlink("usr/bin", "bin")
	w.CharDevice("dev/null", 0o666, 1, 3)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	second := NewWriter(&b)
	second.File("a/other", 0o755, 3, strings.NewReader("newer"))
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	want := []entry{
		{"a", "", 0o40755, 0, 0},
		{"a/b", "", 0o40755, 0, 0},
		{"a/b/file", "five!", 0o100640, 0, 0},
		{"a/other", "", 0o100755, 0, 0},
		{"tmp", "", 0o41777, 0, 0},
		{"bin", "usr/bin", 0o120777, 0, 0},
		{"dev", "", 0o40755, 0, 0},
		{"dev/null", "", 0o20666, 1, 3},
		{"a", "", 0o40755, 0, 0},
		{"a/other", "new", 0o100755, 0, 0},
	}
	if got := read(t, b.Bytes()); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestErrorsStay(t *testing.T) {
	for name, add := range map[string]func(*Writer) error{
		"short":  func(w *Writer) error { return w.File("f", 0o644, 10, strings.NewReader("short")) },
		"large":  func(w *Writer) error { return w.File("f", 0o644, 1<<32, strings.NewReader("")) },
		"root":   func(w *Writer) error { return w.Bytes("/", 0o644, nil) },
		"zero":   func(w *Writer) error { return w.Bytes("a\x00b", 0o644, nil) },
		"target": func(w *Writer) error { w.w = broken{}; return w.Bytes("f", 0o644, nil) },
	} {
		w := NewWriter(io.Discard)
		if add(w) == nil {
			t.Errorf("%s: no error", name)
		}
		if w.Bytes("later", 0o644, nil) == nil || w.Close() == nil {
			t.Errorf("%s: the error was forgotten", name)
		}
	}
}

func TestNamesStayInside(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	w.Bytes("../../etc/passwd", 0o644, nil)
	w.Close()
	if got := fmt.Sprint(read(t, b.Bytes())[1].name); got != "etc/passwd" {
		t.Errorf("name %q", got)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("full") }
