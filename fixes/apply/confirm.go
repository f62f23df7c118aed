package apply

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"lvstui/fixes"
)

// Confirm keeps the change that waits for it, the one with that id or, when it is empty, the last one, and then writes its files for the
// next boot. After the deadline it takes the change back instead, as the watchdog would have.
//
// An error with a Change that is Applied says that it is kept, but for now only: the files could not be written, and those
// that had been are as they were.
func (a *Applier) Confirm(ctx context.Context, id string) (fixes.Change, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	j, all, err := a.openExisting()
	if err != nil {
		return fixes.Change{}, explainAs(err, "sudo lvstui confirm")
	}
	defer j.Close()
	r, err := chooseWaiting(all, id)
	if err != nil {
		return fixes.Change{}, err
	}
	if r.Phase == phaseWaiting && r.overdue() {
		late := fmt.Errorf("too late: change %s was to be confirmed within %s", r.Change.ID, short(r.Wait.Within))
		if err := a.expire(ctx, j, r); err != nil {
			return j.change(r), fmt.Errorf("%w; %w", late, err)
		}
		return j.change(r), fmt.Errorf("%w; it is taken back, and the host is as before", late)
	}
	a.reached("confirming")
	err = a.keep(j, r)
	if r.onDisk == phaseWaiting {
		err = fmt.Errorf("change %s not confirmed: %w; it is taken back in %s unless that is put right", r.Change.ID, err, short(r.Wait.Deadline-sinceBoot()))
	}
	return j.change(r), err
}

func chooseWaiting(all []*record, id string) (*record, error) {
	for _, r := range slices.Backward(all) {
		switch {
		case id != "" && r.Change.ID != id:
		case r.Phase == phaseWaiting || r.Phase == phaseKeeping:
			return r, nil
		case id != "" && r.Change.State == fixes.Applied:
			return nil, fmt.Errorf("change %s is kept already", id)
		case id != "":
			return nil, fmt.Errorf("change %s is %s: there is nothing to confirm", id, stateNow(r))
		}
	}
	if id != "" {
		return nil, fmt.Errorf("there is no change %s in this network namespace; see `lvstui undo --list`", id)
	}
	if last := len(all) - 1; last >= 0 && all[last].Change.State == fixes.Undone {
		return nil, fmt.Errorf("no change waits to be confirmed: the last one, %s, is %s; see `lvstui undo --list`", all[last].Change.ID, stateNow(all[last]))
	}
	return nil, errors.New("no change waits to be confirmed in this network namespace; see `lvstui undo --list`")
}

// stateNow says what became of a change, and why it was taken back: who confirms too late wants to know that it is gone.
func stateNow(r *record) string {
	switch {
	case r.Change.State != fixes.Undone:
		return string(r.Change.State)
	case r.Change.Note != "":
		return "taken back (" + r.Change.Note + ")"
	}
	return "taken back"
}

// keep settles a change that is not to be taken back any more, and writes its files. From the first write on it is kept: killed after
// that, the next Confirm or the watchdog completes it.
func (a *Applier) keep(j *journal, r *record) error {
	var cause error
	state := fixes.Applied
	if len(r.Files) > 0 {
		r.Phase, r.Change.State = phaseKeeping, fixes.Interrupted
		if err := j.write(r); err != nil {
			return err
		}
		a.reached("kept")
		if err := a.writeFiles(j, r); err != nil {
			cause = fmt.Errorf("change %s is kept, but for now only, until the next boot: %w", r.Change.ID, err)
			if len(r.Steps) == 0 {
				cause, state = fmt.Errorf("not written for the next boot: %w", err), fixes.Failed
			}
			r.Change.Error, r.Change.Files = cause.Error(), nil
		}
	}
	r.Phase, r.Change.State = phaseSettled, state
	if err := j.write(r); err != nil {
		return errors.Join(cause, err)
	}
	a.reached("settled")
	return cause
}

// expire takes back a change that was not confirmed, or not even done.
func (a *Applier) expire(ctx context.Context, j *journal, r *record) error {
	switch {
	case r.Phase == phaseWaiting:
		r.Change.Note = "not confirmed within " + short(r.Wait.Within)
	case r.Change.Note == "":
		r.Change.Note = "lvstui ended in the middle"
	}
	now, err := a.lookAt(ctx, r.allSteps())
	if err != nil {
		return fmt.Errorf("look at the host before changing it: %w", err)
	}
	left, err := a.takeBack(ctx, j, r, now)
	if err != nil {
		return fmt.Errorf("change %s not all taken back: %w; try `lvstui undo %s`", r.Change.ID, err, r.Change.ID)
	}
	a.reached("back-verified")
	r.Change.State, r.Phase, r.Change.Error = fixes.Undone, phaseSettled, left
	if err := j.write(r); err != nil {
		return fmt.Errorf("change %s is taken back, but the journal could not be written: %w", r.Change.ID, err)
	}
	a.reached("back-settled")
	return nil
}

// short is a duration as people say it: "60 s", "5 min".
func short(d time.Duration) string {
	switch d = d.Round(time.Second); {
	case d >= 2*time.Minute && d%time.Minute == 0:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d > 3*time.Minute:
		return d.String()
	}
	return fmt.Sprintf("%d s", max(0, d/time.Second))
}
