package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"lvstui/lab/grade"
)

// results are what was measured with one program, in a file beside it, as long as a run is not complete. What was measured of a
// scenario counts as long as the scenario stays as it is. A run of a few scenarios keeps nothing.
type results struct {
	mu   sync.Mutex
	all  map[string]grade.Measured
	file *os.File
}

// openResults takes up what an earlier run with the same program left, if keep is set.
func openResults(program string, keep bool) (*results, error) {
	data, err := os.ReadFile(program)
	if err != nil {
		return nil, fmt.Errorf("the program to grade: %w; type: make build", err)
	}
	r := &results{all: map[string]grade.Measured{}}
	if !keep {
		return r, nil
	}
	sum := sha256.Sum256(data)
	name := program + ".grading-" + hex.EncodeToString(sum[:6])
	if r.file, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644); err != nil {
		return nil, err
	}
	for dec := json.NewDecoder(bufio.NewReader(r.file)); ; {
		var m grade.Measured
		err := dec.Decode(&m)
		if errors.Is(err, io.EOF) {
			return r, nil
		}
		if err != nil { // a run was killed in the middle of a line
			return nil, errors.Join(fmt.Errorf("%s: %w; remove it", name, err), r.file.Close())
		}
		r.all[m.Case] = m
	}
}

// of is what a case came to, if it was measured as it is now.
func (r *results) of(c grade.Case) (grade.Measured, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, ok := r.all[c.Name()]
	return m, ok && m.Digest == c.Digest() && !m.Hurried
}

func (r *results) keep(m grade.Measured) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all[m.Case] = m
	if r.file == nil {
		return nil
	}
	line, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = r.file.Write(append(line, '\n'))
	return err
}

func (r *results) close() {
	if r.file != nil {
		r.file.Close()
	}
}

// remove forgets the results of a run that is complete.
func (r *results) remove() error {
	if err := os.Remove(r.file.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
