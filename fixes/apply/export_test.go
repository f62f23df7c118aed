package apply

import "time"

// StuckAfter shortens the patience with an lvstui that does not get on with its change.
func StuckAfter(d time.Duration) { stuckAfter = d }

// At has f called at every place where the kernel or the journal is about to change or has changed.
func (a *Applier) At(f func(place string)) { a.at = f }
