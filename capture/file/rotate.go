package file

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"lvstui/capture"
)

// Rotating writes a capture to a file and, when that has its size, to the next: x.pcapng, x.1.pcapng, x.2.pcapng …
// Each is a whole pcapng file. Files that are there already are never overwritten.
type Rotating struct {
	name   string
	size   int64 // of a file in bytes; 0: one file
	keep   int   // files kept, the newest; 0: all
	number int
	before int64 // bytes of the files before this one
	names  map[int32]string
	files  []string // written by us and kept, oldest first
	out    *os.File
	w      *Writer
	err    error
}

// Create opens the first file. It fails if that exists.
func Create(name string, size int64, keep int) (*Rotating, error) {
	r := &Rotating{name: name, size: size, keep: keep, names: map[int32]string{}}
	return r, r.open()
}

func (r *Rotating) open() error {
	name := r.name
	if r.number > 0 {
		ext := filepath.Ext(name)
		name = fmt.Sprintf("%s.%d%s", strings.TrimSuffix(name, ext), r.number, ext)
	}
	out, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	r.out, r.files = out, append(r.files, name)
	if r.w, err = NewWriter(out, r.names); err != nil {
		return err
	}
	for r.keep > 0 && len(r.files) > r.keep {
		if err := os.Remove(r.files[0]); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		r.files = r.files[1:]
	}
	return nil
}

// AddInterface names an interface, in this file and the following ones.
func (r *Rotating) AddInterface(index int32, name string) {
	if r.err == nil {
		r.names[index] = name
		r.w.AddInterface(index, name)
	}
}

// Write adds a frame as Writer.Write does. After a failure all further calls return its error.
func (r *Rotating) Write(p *capture.Packet, frame []byte, link capture.LinkType) error {
	if r.err == nil && r.size > 0 && r.w.Size() >= r.size {
		r.before += r.w.Size()
		if r.err = r.finish(); r.err == nil {
			r.number++
			r.err = r.open()
		}
	}
	if r.err == nil {
		r.err = r.w.Write(p, frame, link)
	}
	return r.err
}

// Bytes is what was written to all files, those that are gone included.
func (r *Rotating) Bytes() int64 { return r.before + r.w.Size() }

// Files are those written and kept, the oldest first.
func (r *Rotating) Files() []string { return r.files }

// Close ends the last file with the statistics of all of them.
func (r *Rotating) Close(s Statistics) error {
	if r.err != nil {
		return errors.Join(r.err, r.out.Close())
	}
	r.err = errors.New("the capture file is closed")
	return errors.Join(r.w.End(s), r.finish())
}

func (r *Rotating) finish() error { return errors.Join(r.w.Flush(), r.out.Close()) }
