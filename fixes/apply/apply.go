// Package apply does the steps of a plan to the kernel of the calling thread's network namespace, with netlink and writes below
// /proc/sys. It is the only package of lvstui that changes a host. What it is going to do, and how to take it back,
// is in a journal on disk before the first write; the journal belongs to the network namespace it was made in.
package apply

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"lvstui/fixes"
	"lvstui/lvs"
)

// DefaultDir is where the journal is kept unless Applier.Dir says otherwise.
const DefaultDir = "/var/lib/lvstui"

// Applier changes the host whose network namespace the calling thread is in, and takes changes back.
type Applier struct {
	// Dir holds the journal, DefaultDir when empty. It must survive lvstui, not a reboot: changes do not either.
	Dir string
	// Root is what the paths of the files of a new change are below, "/" when empty.
	Root string
	// Look takes a fresh snapshot of the calling thread's network namespace.
	Look func(context.Context) (*lvs.Snapshot, error)

	// at is called before and after whatever moves the kernel or the journal, with a word for the place. Tests end the
	// process there.
	at func(place string)
}

// Apply does a plan: it looks again and refuses when what the plan changes is not as it was when the plan was shown (seen, which may be
// nil), journals the way back, does the steps, and looks again whether everything is as simulated. When anything
// fails it takes back what was done, and says so in the error and in the Change. progress, which may be nil, is called before
// (done false) and after each step, counted from 0.
//
// With terms.ConfirmWithin a watchdog, a process of its own, is there before the first write, and the change that is returned is
// Waiting: it is taken back unless Confirm comes in time, whatever becomes of this process. Without, it is kept at once, and an error
// with a Change that is Applied says that it is kept for now only, as with Confirm. The files of the plan itself are written where terms
// has none.
func (a *Applier) Apply(ctx context.Context, plan fixes.Plan, seen *lvs.Snapshot, terms fixes.Terms,
	progress func(step int, done bool, err error)) (fixes.Change, error) {
	if plan.Empty() {
		return fixes.Change{}, fmt.Errorf("nothing to do for %s on this host", plan.ID)
	}
	if len(terms.Files) == 0 {
		terms.Files = plan.Files
	}
	if len(plan.Steps) == 0 {
		terms.ConfirmWithin = 0 // what runs does not change: there is nothing to lock oneself out with
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	j, err := a.open()
	if err != nil {
		return fixes.Change{}, a.explain(err, plan.ID)
	}
	defer j.Close()

	r, fresh, err := a.prepare(ctx, j, plan, seen, terms)
	if err != nil {
		return fixes.Change{}, a.explain(err, plan.ID)
	}
	if progress == nil {
		progress = func(int, bool, error) {}
	}
	if r.Wait != nil {
		err = a.arm(j, r)
	}
	if err == nil {
		err = a.perform(ctx, j, r, fresh, progress)
	}
	if err == nil {
		err = a.verify(ctx, r)
	}
	if err != nil {
		return a.retreat(ctx, j, r, a.explain(err, plan.ID))
	}
	a.reached("verified")
	if r.Wait == nil {
		err = a.keep(j, r)
	} else {
		err = a.await(j, r)
	}
	if r.onDisk == phaseApplying {
		return a.retreat(ctx, j, r, err)
	}
	return j.change(r), err
}

// await lets a change wait for its confirmation. The time runs from now on.
func (a *Applier) await(j *journal, r *record) error {
	r.Change.State, r.Phase = fixes.Waiting, phaseWaiting
	r.Wait.Deadline = sinceBoot() + r.Wait.Within
	if err := j.write(r); err != nil {
		return err
	}
	a.reached("waiting")
	return nil
}

// prepare looks again, computes the way back, and writes both down. Nothing has been changed when it returns.
func (a *Applier) prepare(ctx context.Context, j *journal, plan fixes.Plan, seen *lvs.Snapshot, terms fixes.Terms) (*record, *lvs.Snapshot, error) {
	all, err := j.read()
	if err != nil {
		return nil, nil, fmt.Errorf("the journal has to be readable before anything is changed: %w", err)
	}
	for _, r := range all {
		if err := a.inTheWay(ctx, j, r); err != nil {
			return nil, nil, err
		}
	}
	fresh, err := a.Look(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("look at the host before changing it: %w", err)
	}
	undo, err := plan.Undo(fresh)
	if err != nil {
		return nil, nil, fmt.Errorf("not applied: %w", err)
	}
	course, err := plan.Course(fresh, undo)
	if err != nil {
		return nil, nil, fmt.Errorf("not applied: %w", err)
	}
	if err := unchanged(plan, course, seen, fresh); err != nil {
		return nil, nil, err
	}
	if err := permitted(plan, fresh); err != nil {
		return nil, nil, err
	}
	if err := a.writable(terms.Files, len(plan.Steps) > 0); err != nil {
		return nil, nil, err
	}
	r, err := newRecord(plan, undo, course, fresh, terms)
	if err != nil {
		return nil, nil, err
	}
	if r.Root = a.Root; r.Root != "" {
		if r.Root, err = filepath.Abs(r.Root); err != nil {
			return nil, nil, err
		}
	}
	a.reached("planned")
	return r, fresh, j.add(r, all)
}

// inTheWay says why nothing new can be done before an earlier change is settled. One that should have been taken back by now is.
func (a *Applier) inTheWay(ctx context.Context, j *journal, r *record) error {
	id, title := r.Change.ID, r.Change.Title
	switch {
	case r.Phase == phaseSettled:
		return nil
	case r.Phase == phaseWaiting && r.overdue():
		if err := a.expire(ctx, j, r); err != nil {
			return err
		}
		return fmt.Errorf("not applied: change %s (%s) was not confirmed in time and has only now been taken back; look again", id, title)
	case r.Phase == phaseWaiting:
		return fmt.Errorf("not applied: change %s (%s) waits to be confirmed: first `lvstui confirm %s`, or `lvstui undo %s`", id, title, id, id)
	case r.Phase == phaseKeeping:
		return fmt.Errorf("not applied: the files of change %s (%s) are not all written: first `lvstui confirm %s`, or `lvstui undo %s`", id, title, id, id)
	}
	return fmt.Errorf("change %s (%s) was interrupted: take it back first with `lvstui undo %s`", id, title, id)
}

// unchanged refuses a plan when a fact it changes is not what the operator was shown.
func unchanged(plan fixes.Plan, course fixes.Course, seen, fresh *lvs.Snapshot) error {
	if seen == nil {
		return nil
	}
	if seen.NetNS != fresh.NetNS {
		return fmt.Errorf("not applied: the plan was made for the network namespace %s and this is %s", seen.NetNS, fresh.NetNS)
	}
	undo, err := plan.Undo(seen)
	if err != nil {
		return fmt.Errorf("not applied: %w", err)
	}
	shown, err := plan.Course(seen, undo)
	if err != nil {
		return fmt.Errorf("not applied: %w", err)
	}
	// It may touch more now than it did then, or less.
	diffs := append(shown.Moved(seen, fresh), course.Moved(seen, fresh)...)
	slices.Sort(diffs)
	diffs = slices.Compact(diffs)
	if len(diffs) > 0 {
		return fmt.Errorf("not applied: the host has changed since the plan was shown: %s; look again", strings.Join(diffs, "; "))
	}
	return nil
}

// perform does the steps, each journalled before and after. now follows by simulation.
func (a *Applier) perform(ctx context.Context, j *journal, r *record, now *lvs.Snapshot, progress func(int, bool, error)) error {
	k, err := openKernel(r.Change.NetNS)
	if err != nil {
		return err
	}
	defer k.Close()
	for i := range r.Steps {
		e := &r.Steps[i]
		progress(i, false, nil)
		if err := a.performStep(ctx, j, r, e, k); err != nil {
			progress(i, false, err)
			return fmt.Errorf("step %d, %s: %w", i+1, e.step.Command(), err)
		}
		progress(i, true, nil)
	}
	return nil
}

func (a *Applier) performStep(ctx context.Context, j *journal, r *record, e *entry, k *kernel) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e.State = stepBegun
	if err := j.write(r); err != nil {
		return err
	}
	a.reached("begun")
	if err := k.do(e.step); err != nil {
		e.State = stepPlanned // refused: nothing to take back
		return err
	}
	a.reached("moved")
	e.State = stepDone
	return j.write(r)
}

// verify looks whether the host is as it was simulated.
func (a *Applier) verify(ctx context.Context, r *record) error {
	now, err := a.lookAt(ctx, r.allSteps())
	if err != nil {
		return fmt.Errorf("look at the host after the change: %w", err)
	}
	if diffs := r.Course.After(now); len(diffs) > 0 {
		return fmt.Errorf("the host is not as expected after the change: %s", strings.Join(diffs, "; "))
	}
	return nil
}

// retreat takes back what was done of a change that failed, whatever the context says by now.
func (a *Applier) retreat(ctx context.Context, j *journal, r *record, cause error) (fixes.Change, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	left := ""
	now, err := a.lookAt(ctx, r.allSteps())
	if err == nil {
		left, err = a.takeBack(ctx, j, r, now)
	}
	switch {
	case err != nil:
		r.Change.State = fixes.Interrupted
		cause = fmt.Errorf("%w; and it could not all be taken back: %w; try `lvstui undo %s`", cause, err, r.Change.ID)
	case left != "":
		r.Change.State, r.Phase = fixes.Failed, phaseSettled
		cause = fmt.Errorf("%w; what had been done was taken back; %s", cause, left)
	default:
		r.Change.State, r.Phase = fixes.Failed, phaseSettled
		cause = fmt.Errorf("%w; what had been done was taken back, and the host is as before", cause)
	}
	r.Change.Error = cause.Error()
	if err := j.write(r); err != nil {
		cause = errors.Join(cause, err)
	}
	return j.change(r), cause
}

func (a *Applier) reached(place string) {
	if a.at != nil {
		a.at(place)
	}
}

// explain adds the next command to type where the operator lacks a right.
func (a *Applier) explain(err error, id string) error {
	var lack *lackError
	if errors.As(err, &lack) && strings.HasPrefix(id, "setup-") {
		return fmt.Errorf("%w; run the same with sudo", err)
	}
	if errors.As(err, &lack) && id != "" {
		return fmt.Errorf("%w; run: sudo lvstui fix %s", err, id)
	}
	return err
}
