package apply

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"lvstui/fixes"
)

// Confirm keeps the change that waits for it, the one with that id or, when it is empty, the last one.
func (a *Applier) Confirm(ctx context.Context, id string) (fixes.Change, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	j, err := a.open()
	if err != nil {
		return fixes.Change{}, err
	}
	defer j.Close()
	all, err := j.read()
	if err != nil {
		return fixes.Change{}, err
	}
	for _, r := range all {
		if id != "" && r.Change.ID == id {
			return r.Change, fmt.Errorf("change %s is %s: there is nothing to confirm", id, r.Change.State)
		}
	}
	return fixes.Change{}, errors.New("no change waits to be confirmed in this network namespace")
}
