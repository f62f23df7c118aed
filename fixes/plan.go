// Package fixes is the pure half of changing a host: the closed set of steps, plans made of them, and what a plan
// would do to a Snapshot. Nothing here touches the host; package fixes/apply does, with a journal.
package fixes

import (
	"fmt"

	"lvstui/lvs"
)

// Step is one small reversible change of one host. The set of steps is closed: every kind has its file here, with
// Simulate and Undo, and a case in fixes/apply that does it to the kernel.
type Step interface {
	// Kind is the word under which the journal stores the step: "sysctl", "address-add".
	Kind() string
	// Command is what an operator would type to do the same by hand.
	Command() string
	// Was says what the step finds in s and will replace, for the preview: "was 0", "not there".
	Was(s *lvs.Snapshot) string
	// Done tells whether s already is as the step would make it. A plan leaves such steps out.
	Done(s *lvs.Snapshot) bool
	// Simulate returns the snapshot as it would be after the step. It never changes s.
	Simulate(s *lvs.Snapshot) (*lvs.Snapshot, error)
	// Undo returns the steps that bring back what s, taken before the step, has. For a step that is Done it returns none.
	Undo(s *lvs.Snapshot) ([]Step, error)
	// Risk says what the step could do to the operator's own session, or "".
	Risk(s *lvs.Snapshot) string
}

// Plan is an ordered list of steps on one host that removes a finding or sets up a role.
type Plan struct {
	// ID is the finding the plan cures, or the role it sets up.
	ID    string
	Host  string
	Title string
	Steps []Step
	// Files are configuration files to write along with the steps, or alone where what runs is right and the next boot is not.
	Files []FileEdit
	// AsFiles says that the plan brings what runs to what the files say: the next boot gives it already, and no file is touched for its steps.
	AsFiles bool
	// NextBoot says where the same has to be written to survive a reboot.
	NextBoot []string
	// Elsewhere is what has to be done on other hosts, as words and commands.
	Elsewhere []string
}

// Empty says that there is nothing to do on this host.
func (p Plan) Empty() bool { return len(p.Steps) == 0 && len(p.Files) == 0 }

// Commands is what an operator would type, in order.
func (p Plan) Commands() []string {
	out := make([]string, 0, len(p.Steps))
	for _, st := range p.Steps {
		out = append(out, st.Command())
	}
	return out
}

// Simulate returns the snapshot after each prefix of the plan: element i is the host after steps 0 to i.
func (p Plan) Simulate(s *lvs.Snapshot) ([]*lvs.Snapshot, error) {
	out := make([]*lvs.Snapshot, 0, len(p.Steps))
	for i, st := range p.Steps {
		next, err := st.Simulate(s)
		if err != nil {
			return out, fmt.Errorf("step %d, %s: %w", i+1, st.Command(), err)
		}
		out, s = append(out, next), next
	}
	return out, nil
}

// After is the snapshot after the whole plan.
func (p Plan) After(s *lvs.Snapshot) (*lvs.Snapshot, error) {
	all, err := p.Simulate(s)
	if err != nil || len(all) == 0 {
		return s, err
	}
	return all[len(all)-1], nil
}

// Undo is the plan that takes p back, computed from the snapshot s taken before p: the steps' own undo, last first.
func (p Plan) Undo(s *lvs.Snapshot) (Plan, error) {
	back := Plan{ID: p.ID, Host: p.Host, Title: "undo: " + p.Title}
	for i, st := range p.Steps {
		undo, err := st.Undo(s)
		if err != nil {
			return Plan{}, fmt.Errorf("undo of step %d, %s: %w", i+1, st.Command(), err)
		}
		back.Steps = append(append([]Step{}, undo...), back.Steps...)
		if s, err = st.Simulate(s); err != nil {
			return Plan{}, fmt.Errorf("step %d, %s: %w", i+1, st.Command(), err)
		}
	}
	return back, nil
}
