// Package screens holds what can be looked at: the screens behind the tabs and the overlays on top of them. A screen
// is plain data with methods: it reads nothing, starts nothing and asks the root model for what it wants done by
// returning commands that carry the messages below. Adding a screen is one file here and one entry in ui.tabs.
package screens

import (
	"fmt"
	"net/netip"
	"time"

	tea "charm.land/bubbletea/v2"

	"lvstui/capture"
	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
	"lvstui/ui/keys"
	"lvstui/ui/kit"
)

// Facts is all that is known of one host after one look at it.
type Facts struct {
	Host string
	// At is when the look was taken. Ages are counted from it, so that the same Facts always give the same picture.
	At time.Time
	// Snapshot is nil where there is only a capture, from a file.
	Snapshot *lvs.Snapshot
	// Others are further hosts that are judged together with this one.
	Others []*lvs.Snapshot
	// Flows are the flows seen on this host, with Events where the ladder shall have something to show.
	Flows   []capture.Flow
	Capture Capture
	Report  probes.Report
	// ReadOnly forbids every change here; ReadOnlyWhy says why, for the person who pressed the key.
	ReadOnly    bool
	ReadOnlyWhy string
	// ChangesElsewhere says where the journal is, when this is no host with one of its own: a file, or several hosts as one.
	ChangesElsewhere string
	// VIPs are the virtual addresses that the operator named.
	VIPs []netip.Addr
	// Changes is the journal of this host. The root fills it in from Host.Changes.
	Changes    []fixes.Change
	ChangesErr string
}

// CaptureMode is where flows come from.
type CaptureMode string

const (
	CaptureOff    CaptureMode = "off"
	CaptureLive   CaptureMode = "live"
	CaptureFile   CaptureMode = "file"
	CaptureFailed CaptureMode = "failed"
)

// Capture says how the listening goes. Drops are always on screen: a flow that is not seen may have been dropped.
type Capture struct {
	Mode       CaptureMode
	Interfaces []string
	Packets    uint64     // since the start
	Dropped    uint64     // packets the kernel could not hand over
	Sampled    int        // one flow in Sampled is followed; 0 or 1 means all
	Name       string     // of the file
	Recording  *Recording // what is being written to a file, nil when nothing is
	Notice     string     // what just became of an interface that is listened to, in words; "" when nothing did
	Err        string     // why it is off or failed, and what to type
}

// Recording is a capture file that is being written, or was.
type Recording struct {
	File    string // the first of them
	Files   int
	Packets uint64
	Bytes   int64
	Err     string // why nothing more is written
}

// Screen is one thing that fills the part between header and footer.
type Screen interface {
	// Title is the word in the tab line, or the heading of an overlay.
	Title() string
	// SetFacts gives the screen what is known now. The root calls it for every look and when the host changes.
	SetFacts(Facts)
	// Update takes messages that are not keys of Actions: results of commands, and typed text while Typing.
	Update(tea.Msg) (Screen, tea.Cmd)
	// View draws at most height lines of width cells.
	View(width, height int) []kit.Line
	// Actions are the keys that are valid now.
	Actions() []keys.Action
	// Typing says that letters go to a text field and are not keys.
	Typing() bool
}

// What screens ask of the root model.
type (
	// OpenMsg puts an overlay on top.
	OpenMsg struct{ Screen Screen }
	// CloseMsg takes the uppermost overlay away.
	CloseMsg struct{}
	// SayMsg shows a sentence in the footer for a few seconds.
	SayMsg struct{ Text string }
	// CopyMsg puts Text on the terminal's clipboard; What names it.
	CopyMsg struct{ Text, What string }
	// ExplainMsg opens the explanation of a finding.
	ExplainMsg struct{ ID string }
	// SwitchHostMsg changes the host that is looked at.
	SwitchHostMsg struct{ Index int }
	// ApplyMsg makes a change, judged on the snapshot Seen.
	ApplyMsg struct {
		Plan  fixes.Plan
		Seen  *lvs.Snapshot
		Files []fixes.FileEdit // written for the next boot, once the change is kept
	}
	// ConfirmMsg keeps the change that waits for it.
	ConfirmMsg struct{ ID string }
	// UndoMsg takes back a change.
	UndoMsg struct{ ID string }
	// RecordMsg begins to write packets to a file that must not exist. Want chooses them, nil means all.
	RecordMsg struct {
		Name string
		Want func(*capture.Packet) bool
	}
	// RearmMsg asks for ArmedMsg after a time: something new is to be read before keys count.
	RearmMsg struct{ After time.Duration }
)

// What the root tells the screen that asked for a change.
type (
	// StepMsg is the progress of ApplyMsg: step begins (Done false), or ended with Err or without.
	StepMsg struct {
		Step int
		Done bool
		Err  error
	}
	// AppliedMsg ends ApplyMsg, UndoneMsg ends UndoMsg. Now is when, by the clock of ClockMsg.
	AppliedMsg struct {
		Change fixes.Change
		Now    time.Time
		Err    error
	}
	UndoneMsg struct {
		Change fixes.Change
		Err    error
	}
	// RecordedMsg says that RecordMsg has begun a file, or why not.
	RecordedMsg struct {
		Name string
		Err  error
	}
	// KeptMsg ends ConfirmMsg.
	KeptMsg struct {
		Change fixes.Change
		Err    error
	}
	// ClockMsg comes once a second while a change waits to be kept.
	ClockMsg struct{ Now time.Time }
)

func ask(m tea.Msg) func() tea.Cmd { return func() tea.Cmd { return send(m) } }

func send(m tea.Msg) tea.Cmd { return func() tea.Msg { return m } }

// age writes a duration in the two or three digits that matter.
func age(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	}
	return fmt.Sprintf("%d h", int(d.Hours()))
}
