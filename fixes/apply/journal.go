package apply

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"lvstui/fixes"
	"lvstui/lvs"
)

// recordSchema is the version of a journal file. Version 1 is the same without a wait and files; a file of another version is not
// touched.
const recordSchema = 2

// maxRecord bounds what is read of a journal file.
const maxRecord = 4 << 20

// How far a change has come. On disk a phase that is not settled means that lvstui ended in the middle.
// Waiting is the exception: nobody has to be at it.
const (
	phaseApplying = "applying"
	phaseWaiting  = "waiting" // done, verified, and to be confirmed before the deadline
	phaseKeeping  = "keeping" // confirmed: the files for the next boot are being written
	phaseUndoing  = "undoing"
	phaseSettled  = "settled"
)

// How far a step has come. Begun and returning are written before the kernel is told, done and back after.
const (
	stepPlanned   = "planned"
	stepBegun     = "begun"
	stepDone      = "done"
	stepReturning = "returning"
	stepBack      = "back"
)

// record is one journal file: a change, its steps, and the way back of each.
type record struct {
	Schema int          `json:"schema"`
	Change fixes.Change `json:"change"`
	Phase  string       `json:"phase"`
	Wait   *wait        `json:"wait,omitempty"` // nil: it is kept without asking
	Steps  []entry      `json:"steps"`
	Files  []fileEntry  `json:"files,omitempty"`
	Root   string       `json:"root,omitempty"` // what the paths of Files are below, "/" when empty
	Course fixes.Course `json:"course"`

	onDisk string // the phase that the file has
}

type entry struct {
	Do    json.RawMessage   `json:"do"`
	Undo  []json.RawMessage `json:"undo"`
	State string            `json:"state"`

	step fixes.Step
	undo []fixes.Step
}

func newRecord(plan, undo fixes.Plan, course fixes.Course, s *lvs.Snapshot, terms fixes.Terms) (*record, error) {
	r := &record{Schema: recordSchema, Phase: phaseApplying, Course: course, Change: fixes.Change{
		Host: s.Host, NetNS: s.NetNS, PlanID: plan.ID, Title: plan.Title, AppliedAt: time.Now().UTC().Truncate(time.Second),
		AsFiles: plan.AsFiles, State: fixes.Interrupted, Commands: plan.Commands(), UndoCommands: undo.Commands()}}
	for _, st := range plan.Steps {
		back, err := st.Undo(s)
		if err != nil {
			return nil, err
		}
		e := entry{State: stepPlanned, step: st, undo: back}
		if e.Do, err = fixes.EncodeStep(st); err != nil {
			return nil, err
		}
		for _, b := range back {
			raw, err := fixes.EncodeStep(b)
			if err != nil {
				return nil, err
			}
			e.Undo = append(e.Undo, raw)
		}
		r.Steps = append(r.Steps, e)
		if s, err = st.Simulate(s); err != nil {
			return nil, err
		}
	}
	for _, edit := range terms.Files {
		r.Files = append(r.Files, fileEntry{FileEdit: edit, State: filePlanned})
		r.Change.Files = append(r.Change.Files, edit.Path)
	}
	if terms.ConfirmWithin > 0 {
		r.Wait = &wait{Within: terms.ConfirmWithin, Deadline: sinceBoot() + terms.ConfirmWithin}
	}
	return r, nil
}

// wayBack is all steps that taking back may need.
func (r *record) wayBack() fixes.Plan {
	p := fixes.Plan{ID: r.Change.PlanID, Host: r.Change.Host, Title: r.Change.Title}
	for _, e := range slices.Backward(r.Steps) {
		p.Steps = append(p.Steps, e.undo...)
	}
	return p
}

// journal is the changes of one network namespace since boot: a folder with a file each, and a lock.
type journal struct {
	dir  string
	lock *os.File
}

// open opens the journal of this thread's namespace for writing. Only one lvstui has it at a time.
func (a *Applier) open() (*journal, error) {
	j, err := a.openUnlocked()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(j.dir, 0o700); err != nil {
		if errors.Is(err, os.ErrPermission) {
			return nil, &lackError{fmt.Sprintf("not permitted: the journal %s needs root", j.dir)}
		}
		return nil, fmt.Errorf("make the journal: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(j.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the journal: %w", err)
	}
	if err := lockFile(f, patience); err != nil {
		f.Close()
		if err == unix.EWOULDBLOCK {
			return nil, errBusy
		}
		return nil, fmt.Errorf("lock the journal %s: %w", j.dir, err)
	}
	j.lock = f
	return j, nil
}

// openExisting is open for what needs a change that is there: it makes no journal. Without one all is empty and Close has nothing to do.
func (a *Applier) openExisting() (*journal, []*record, error) {
	j, err := a.openUnlocked()
	if err != nil {
		return nil, nil, err
	}
	if _, err := os.Stat(j.dir); errors.Is(err, os.ErrNotExist) {
		return j, nil, nil
	}
	if j, err = a.open(); err != nil {
		return nil, nil, err
	}
	all, err := j.read()
	if err != nil {
		j.Close()
		return nil, nil, err
	}
	return j, all, nil
}

// patience is how long to wait for another lvstui: a watchdog only looks, and is gone again.
const patience = time.Second

var errBusy = errors.New("another lvstui is changing this host just now; wait until it is done")

// lockFile waits that long for a lock that ends with the process.
func lockFile(f *os.File, within time.Duration) error {
	for deadline := time.Now().Add(within); ; time.Sleep(10 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err != unix.EWOULDBLOCK && err != unix.EINTR || time.Now().After(deadline) {
			return err
		}
	}
}

// openUnlocked is for reading.
func (a *Applier) openUnlocked() (*journal, error) {
	dir := a.Dir
	if dir == "" {
		dir = DefaultDir
	}
	key, err := namespaceKey()
	if err != nil {
		return nil, err
	}
	return &journal{dir: filepath.Join(dir, key)}, nil
}

func (j *journal) Close() {
	if j.lock != nil {
		j.lock.Close()
	}
}

// read returns the changes, oldest first. Those that cannot be read are left out and told in the error.
func (j *journal) read() ([]*record, error) {
	entries, err := os.ReadDir(j.dir) // sorted by name, and names begin with a number
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if errors.Is(err, os.ErrPermission) {
		return nil, &lackError{fmt.Sprintf("not permitted: the journal %s is root's", j.dir)}
	}
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	var all []*record
	var bad []error
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok || strings.HasPrefix(id, ".") {
			continue
		}
		r, err := readRecord(filepath.Join(j.dir, e.Name()))
		if err == nil && r.Change.ID != id {
			err = fmt.Errorf("%s is the journal of change %s", e.Name(), r.Change.ID)
		}
		if err != nil {
			bad = append(bad, err)
			continue
		}
		all = append(all, r)
	}
	return all, errors.Join(bad...)
}

func readRecord(name string) (*record, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxRecord {
		return nil, fmt.Errorf("%s is no journal of lvstui", name)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var r record
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return nil, fmt.Errorf("%s is no journal of this lvstui: %w", name, err)
	}
	if err := r.decode(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	r.onDisk = r.Phase
	return &r, nil
}

// decode makes steps of what was read, and refuses what would not be safe to act on.
func (r *record) decode() error {
	if r.Schema < 1 || r.Schema > recordSchema {
		return fmt.Errorf("its version is %d, this lvstui knows 1 to %d", r.Schema, recordSchema)
	}
	if !slices.Contains([]string{phaseApplying, phaseWaiting, phaseKeeping, phaseUndoing, phaseSettled}, r.Phase) {
		return fmt.Errorf("%q is no phase of a change", r.Phase)
	}
	if r.Phase == phaseWaiting && r.Wait == nil {
		return errors.New("it waits for ever")
	}
	for _, e := range r.Files {
		if err := e.check(); err != nil {
			return err
		}
	}
	for i := range r.Steps {
		e := &r.Steps[i]
		if !slices.Contains([]string{stepPlanned, stepBegun, stepDone, stepReturning, stepBack}, e.State) {
			return fmt.Errorf("%q is no state of a step", e.State)
		}
		var err error
		if e.step, err = fixes.DecodeStep(e.Do); err != nil {
			return err
		}
		for _, raw := range e.Undo {
			st, err := fixes.DecodeStep(raw)
			if err != nil {
				return err
			}
			e.undo = append(e.undo, st)
		}
	}
	return r.Course.Check(len(r.Steps))
}

// add writes a new change under the next number.
func (j *journal) add(r *record, all []*record) error {
	next := 1
	if len(all) > 0 {
		fmt.Sscanf(all[len(all)-1].Change.ID, "%d", &next)
		next++
	}
	r.Change.ID = fmt.Sprintf("%04d-%s", next, word(r.Change.PlanID))
	return j.write(r)
}

// word is s fit for a file name.
func word(s string) string {
	s = strings.Map(func(c rune) rune {
		if c < 0x80 && (unicode.IsLetter(c) || unicode.IsDigit(c) || c == '-') {
			return c
		}
		return '-'
	}, s)
	return s[:min(len(s), 60)]
}

// write puts the record on disk for good: the file is written beside, synced and renamed, and then the folder synced.
func (j *journal) write(r *record) error {
	r.Schema = recordSchema
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	if len(b) > maxRecord {
		return fmt.Errorf("write the journal: a change of %d bytes is more than %d", len(b), maxRecord)
	}
	if err := renameio.WriteFile(filepath.Join(j.dir, r.Change.ID+".json"), b, 0o600, renameio.WithTempDir(j.dir)); err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	d, err := os.Open(j.dir)
	if err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	r.onDisk = r.Phase
	return nil
}
