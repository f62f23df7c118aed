package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// stdoutOpen refuses to work for nobody. When a program is started with descriptor 1 closed, Go's runtime opens
// /dev/null there for reading and writing (runtime.checkfds) and every write seems to succeed. A shell's >/dev/null is
// write-only, which tells the two apart.
func stdoutOpen() error {
	var st unix.Stat_t
	if err := unix.Fstat(1, &st); err != nil {
		return fmt.Errorf("standard output is closed: %w", err)
	}
	flags, err := unix.FcntlInt(1, unix.F_GETFL, 0)
	null := st.Mode&unix.S_IFMT == unix.S_IFCHR && unix.Major(st.Rdev) == 1 && unix.Minor(st.Rdev) == 3
	if err == nil && null && flags&unix.O_ACCMODE == unix.O_RDWR {
		return errors.New("standard output is closed: there is nowhere to write the answer to")
	}
	return nil
}

// writeJSON writes one object, indented, to w.
func writeJSON(w io.Writer, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return writeAll(w, append(b, '\n'))
}

func writeAll(w io.Writer, b []byte) error {
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}

// format is the value of --format.
type format string

const (
	formatText format = "text"
	formatJSON format = "json"
)

func (f *format) String() string { return string(*f) }
func (f *format) Type() string   { return "text|json" }
func (f *format) Set(s string) error {
	switch format(s) {
	case formatText, formatJSON:
		*f = format(s)
		return nil
	}
	return fmt.Errorf("%q is not a format: text or json", s)
}

// note writes a line for people to stderr.
func note(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
