package apply

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"lvstui/fixes"
	"lvstui/lvs"
)

// List returns the changes of this network namespace, oldest first. One that is neither applied nor settled is Interrupted: lvstui was
// killed, or another one is at it just now. Journal files that cannot be read are left out and told in the error.
func (a *Applier) List(context.Context) ([]fixes.Change, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	j, err := a.openUnlocked()
	if err != nil {
		return nil, err
	}
	all, err := j.read()
	out := make([]fixes.Change, 0, len(all))
	for _, r := range all {
		out = append(out, j.change(r))
	}
	return out, err
}

// Undo takes a change back, the last one that is open when id is empty, and verifies that everything it touched is as it was
// before. It refuses when somebody else has changed one of these things meanwhile, and says what. Undo of an interrupted
// change goes back from wherever it stopped; there it leaves alone what somebody else has changed, and Change.Error says so.
func (a *Applier) Undo(ctx context.Context, id string) (fixes.Change, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	j, all, err := a.openExisting()
	if err != nil {
		return fixes.Change{}, a.explainUndo(err)
	}
	defer j.Close()
	r, err := choose(all, id)
	if err != nil {
		return fixes.Change{}, err
	}
	now, err := a.lookAt(ctx, r.allSteps())
	if err != nil {
		return j.change(r), fmt.Errorf("look at the host before changing it: %w", err)
	}
	if diffs := r.Course.After(now); r.Phase == phaseSettled && len(diffs) > 0 && len(r.Course.Before(now)) > 0 {
		return j.change(r), fmt.Errorf("change %s not taken back: somebody else has changed the host since: %s; to take it back by hand: %s",
			r.Change.ID, strings.Join(diffs, "; "), strings.Join(r.Change.UndoCommands, " && "))
	}
	if err := onTop(all, r); err != nil {
		return j.change(r), err
	}
	if err := permitted(r.wayBack(), now); err != nil {
		return j.change(r), a.explainUndo(err)
	}
	left, err := a.takeBack(ctx, j, r, now)
	if err != nil {
		return j.change(r), fmt.Errorf("change %s not all taken back: %w; try `lvstui undo %s` again", r.Change.ID, a.explainUndo(err), r.Change.ID)
	}
	a.reached("back-verified")
	r.Change.State, r.Phase, r.Change.Error = fixes.Undone, phaseSettled, left
	if err := j.write(r); err != nil {
		return j.change(r), fmt.Errorf("change %s is taken back, but the journal could not be written: %w", r.Change.ID, err)
	}
	a.reached("back-settled")
	return j.change(r), nil
}

// onTop refuses when a later change has written a file on top of what r wrote: only its own undo gives back r's.
func onTop(all []*record, r *record) error {
	later := all[slices.Index(all, r)+1:]
	for _, mine := range r.Files {
		for _, o := range later {
			if mine.touched() && slices.ContainsFunc(o.Files, func(e fileEntry) bool { return e.Path == mine.Path && e.touched() }) {
				return fmt.Errorf("change %s not taken back: change %s has written %s after it: first `lvstui undo %s`", r.Change.ID, o.Change.ID, mine.Path, o.Change.ID)
			}
		}
	}
	return nil
}

func choose(all []*record, id string) (*record, error) {
	for _, r := range slices.Backward(all) {
		if id == "" && r.Change.Open() || id != "" && r.Change.ID == id {
			if !r.Change.Open() {
				return nil, fmt.Errorf("change %s is %s: there is nothing to take back", id, r.Change.State)
			}
			return r, nil
		}
	}
	if id == "" {
		return nil, errors.New("there is no change to take back in this network namespace")
	}
	return nil, fmt.Errorf("there is no change %s in this network namespace; see `lvstui undo --list`", id)
}

// takeBack undoes the steps that were begun, last first, and verifies. Sub-steps that are as they should be are passed over, so it can
// start again from anywhere: each step's way back ends where the step began, wherever in it one starts. What somebody
// else has set meanwhile is left alone, and said in left.
func (a *Applier) takeBack(ctx context.Context, j *journal, r *record, now *lvs.Snapshot) (left string, err error) {
	r.Phase, r.Change.State = phaseUndoing, fixes.Interrupted
	if err := a.journalBack(j, r); err != nil {
		return "", err
	}
	a.reached("back-planned")
	k, err := openKernel(r.Change.NetNS)
	if err != nil {
		return "", err
	}
	defer k.Close()
	foreign := r.Course.Foreign(now)
	for i := range slices.Backward(r.Steps) {
		if now, err = a.takeBackStep(ctx, j, r, &r.Steps[i], k, now, foreign); err != nil {
			return "", err
		}
	}
	if now, err = a.lookAt(ctx, r.allSteps()); err != nil {
		return "", fmt.Errorf("look at the host after taking back: %w", err)
	}
	// Only what was taken back here has to be as it was.
	var wrong, others []string
	for _, diff := range r.Course.Before(now) {
		returned := func(e entry) bool {
			return e.State == stepBack && slices.ContainsFunc(e.undo, func(st fixes.Step) bool {
				return strings.HasPrefix(diff, fixes.Fact(st)+" is ") && !slices.Contains(foreign, fixes.Fact(st))
			})
		}
		if slices.ContainsFunc(r.Steps, returned) {
			wrong = append(wrong, diff)
		} else {
			others = append(others, diff)
		}
	}
	if len(wrong) > 0 {
		return "", fmt.Errorf("the host is not as it was: %s", strings.Join(wrong, "; "))
	}
	if len(others) > 0 {
		left = "left alone, because somebody else has changed it: " + strings.Join(others, "; ")
	}
	leftFiles, err := a.takeBackFiles(j, r)
	return joinWords(left, leftFiles), err
}

// journalBack writes down how far a way back has come. Where the journal on disk says that the change is not settled, the way back goes on
// without when the disk is full, say: it starts again from anywhere.
func (a *Applier) journalBack(j *journal, r *record) error {
	err := j.write(r)
	if r.onDisk != "" && r.onDisk != phaseSettled {
		return nil
	}
	return err
}

func (a *Applier) takeBackStep(ctx context.Context, j *journal, r *record, e *entry, k *kernel, now *lvs.Snapshot, foreign []string) (*lvs.Snapshot, error) {
	if e.State == stepPlanned || e.State == stepBack || e.State == stepBegun && !e.step.Done(now) {
		return now, nil // never done, or done and taken back
	}
	e.State = stepReturning
	if err := a.journalBack(j, r); err != nil {
		return nil, err
	}
	for _, st := range e.undo {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if st.Done(now) || slices.Contains(foreign, fixes.Fact(st)) {
			continue
		}
		a.reached("back-begun")
		if err := k.do(st); err != nil {
			return nil, fmt.Errorf("%s: %w", st.Command(), err)
		}
		a.reached("back-moved")
		after, err := st.Simulate(now)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", st.Command(), err)
		}
		now = after
	}
	e.State = stepBack
	return now, a.journalBack(j, r)
}

func (a *Applier) explainUndo(err error) error { return explainAs(err, "sudo lvstui undo") }

// explainAs adds the command to type where the operator lacks a right.
func explainAs(err error, command string) error {
	var lack *lackError
	if errors.As(err, &lack) {
		return fmt.Errorf("%w; run: %s", err, command)
	}
	return err
}
