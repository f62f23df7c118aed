package fixes

import "time"

// ChangeState is what became of a change.
type ChangeState string

const (
	// Waiting says that it was done and verified, and is taken back at Change.Deadline unless it is confirmed.
	Waiting ChangeState = "waiting"
	Applied ChangeState = "applied" // done, verified and kept
	Undone  ChangeState = "undone"  // taken back and verified
	// Failed says that a step was refused or the verification failed. Error says whether what had been done was taken back.
	Failed ChangeState = "failed"
	// Interrupted says that lvstui ended in the middle, or that a way back was not finished: undo completes it.
	Interrupted ChangeState = "interrupted"
)

// Change is a plan that was applied, as the journal remembers it.
type Change struct {
	ID    string `json:"id"`
	Host  string `json:"host"`
	NetNS string `json:"netns"` // the network namespace it was made in, "net:[4026531840]"
	// PlanID is the finding that was cured, or the role that was set up.
	PlanID    string      `json:"plan_id"`
	Title     string      `json:"title"`
	AppliedAt time.Time   `json:"applied_at"`
	State     ChangeState `json:"state"`
	// Deadline is when a change that is Waiting is taken back, by this host's clock as it is now.
	Deadline time.Time `json:"deadline,omitzero"`
	// Commands is what was done and UndoCommands what takes it back, as an operator would type them, in order.
	Commands     []string `json:"commands"`
	UndoCommands []string `json:"undo_commands"`
	// Files are those written for the next boot, or to be written once the change is kept; of one that is Undone those put back.
	Files []string `json:"files,omitempty"`
	// AsFiles says that it brought what runs to what the files say, so that the next boot gives the same.
	AsFiles bool   `json:"as_files,omitempty"`
	Error   string `json:"error,omitempty"`
	// Note is what else there is to know, in words: "not confirmed within 60 s".
	Note string `json:"note,omitempty"`
}

// Open says that the change is in force, or may be in part, and can be undone.
func (c Change) Open() bool {
	return c.State == Applied || c.State == Waiting || c.State == Interrupted
}
