// Package cpio writes archives in the "newc" format that the Linux kernel unpacks as an initramfs
// (Documentation/driver-api/early-userspace/buffer-format.rst). Archives may be written one after
// the other into the same stream: the kernel unpacks them in order, later files replacing earlier.
package cpio

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// File types of st_mode, as the kernel's stat.h has them.
const (
	typeDir     = 0o040000
	typeRegular = 0o100000
	typeSymlink = 0o120000
	typeChar    = 0o020000
)

// maxSize is the largest file newc can hold: its size field has eight hexadecimal digits.
const maxSize = 1<<32 - 1

// Writer writes one archive. It makes the directories above a file itself, and keeps the first
// error: a caller may check only Close.
type Writer struct {
	w      io.Writer
	offset int64
	inode  uint32
	dirs   map[string]bool
	err    error
}

// NewWriter starts an archive on w. w must be at a multiple of four bytes, which is where Close
// leaves it.
func NewWriter(w io.Writer) *Writer {
	return &Writer{w: w, dirs: map[string]bool{".": true}}
}

// Dir adds a directory and those above it. The mode of the ones above is 0755.
func (w *Writer) Dir(name string, perm fs.FileMode) error {
	name = clean(name)
	if w.dirs[name] {
		return w.err
	}
	w.parents(name)
	w.dirs[name] = true
	w.header(name, typeDir|mode(perm), 2, 0, 0, 0)
	return w.err
}

// Bytes adds a regular file.
func (w *Writer) Bytes(name string, perm fs.FileMode, data []byte) error {
	return w.File(name, perm, int64(len(data)), strings.NewReader(string(data)))
}

// File adds a regular file of exactly size bytes, read from r.
func (w *Writer) File(name string, perm fs.FileMode, size int64, r io.Reader) error {
	name = clean(name)
	if size > maxSize && w.err == nil {
		w.err = fmt.Errorf("cpio: %s is larger than 4 GiB", name)
	}
	w.parents(name)
	w.header(name, typeRegular|mode(perm), 1, size, 0, 0)
	if w.err != nil {
		return w.err
	}
	n, err := io.CopyN(w.w, r, size)
	w.offset += n
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		w.err = fmt.Errorf("cpio: %s: %w", name, err)
	}
	w.pad()
	return w.err
}

// Symlink adds a symbolic link at name that points to target.
func (w *Writer) Symlink(target, name string) error {
	name = clean(name)
	w.parents(name)
	w.header(name, typeSymlink|0o777, 1, int64(len(target)), 0, 0)
	w.write([]byte(target))
	w.pad()
	return w.err
}

// CharDevice adds a character device.
func (w *Writer) CharDevice(name string, perm fs.FileMode, major, minor uint32) error {
	name = clean(name)
	w.parents(name)
	w.header(name, typeChar|mode(perm), 1, 0, major, minor)
	return w.err
}

// Close ends the archive. It does not close the stream below.
func (w *Writer) Close() error {
	w.header("TRAILER!!!", 0, 1, 0, 0, 0)
	return w.err
}

func (w *Writer) parents(name string) {
	if dir := path.Dir(name); !w.dirs[dir] {
		w.Dir(dir, 0o755)
	}
}

func (w *Writer) header(name string, mode uint32, links int, size int64, major, minor uint32) {
	if w.err == nil && (name == "" || strings.ContainsRune(name, 0)) {
		w.err = fmt.Errorf("cpio: %q is no name for a file in an archive", name)
	}
	w.inode++
	w.write(fmt.Appendf(nil, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		w.inode, mode, 0, 0, links, 0, size, 0, 0, major, minor, len(name)+1, 0, name))
	w.pad()
}

func (w *Writer) pad() {
	if rest := w.offset % 4; rest != 0 {
		w.write(make([]byte, 4-rest))
	}
}

func (w *Writer) write(b []byte) {
	if w.err != nil {
		return
	}
	n, err := w.w.Write(b)
	w.offset += int64(n)
	if err != nil {
		w.err = fmt.Errorf("cpio: %w", err)
	}
}

// clean makes the name relative to the root of the file system and free of dots.
func clean(name string) string {
	return strings.TrimPrefix(path.Clean("/"+name), "/")
}

func mode(perm fs.FileMode) uint32 {
	m := uint32(perm.Perm())
	if perm&fs.ModeSticky != 0 {
		m |= 0o1000
	}
	if perm&fs.ModeSetuid != 0 {
		m |= 0o4000
	}
	return m
}
