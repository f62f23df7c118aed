package apply

import (
	"context"
	"fmt"
	"time"

	"lvstui/fixes"
	"lvstui/lvs"
)

const (
	looks     = 4
	lookPause = 500 * time.Millisecond
)

// lookAt takes a snapshot that has what tells whether steps were done. A look has a deadline, and on a machine under load a table may be
// left out: what was not read must not pass for what is not there, so it is tried again.
func (a *Applier) lookAt(ctx context.Context, steps []fixes.Step) (*lvs.Snapshot, error) {
	for try := 1; ; try++ {
		s, err := a.Look(ctx)
		if err != nil {
			return nil, err
		}
		missing := s.Missing(fixes.Sources(steps)...)
		if len(missing) == 0 {
			return s, nil
		}
		if try == looks || ctx.Err() != nil {
			why := "nobody knows why"
			for _, g := range s.Gaps {
				if g.Source == missing[0] {
					why = g.Reason
				}
			}
			return nil, fmt.Errorf("the %s could not be read: %s", missing[0], why)
		}
		time.Sleep(lookPause)
	}
}

// allSteps are those of the change and of its way back.
func (r *record) allSteps() []fixes.Step {
	var out []fixes.Step
	for _, e := range r.Steps {
		out = append(append(out, e.step), e.undo...)
	}
	return out
}
