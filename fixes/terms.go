package fixes

import "time"

// Terms is under which conditions a plan is applied.
type Terms struct {
	// ConfirmWithin is how long the change waits, once verified, to be confirmed. Not confirmed it is taken back, whatever has become
	// of the process that made it. 0 keeps it without asking.
	ConfirmWithin time.Duration
	// Files are written for the next boot once the change is kept, and put back when it is undone.
	Files []FileEdit
}
