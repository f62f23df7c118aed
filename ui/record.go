package ui

import (
	"context"
	"strings"

	tea "charm.land/bubbletea/v2"

	"lvstui/capture"
	"lvstui/ui/screens"
)

// Recorder is a Host whose packets can be written to a file.
type Recorder interface {
	// Record begins to write what is heard from now on to a file, which must not exist, as pcapng. want chooses the packets, nil
	// means all; it is called by another goroutine. It returns the file's whole name.
	Record(ctx context.Context, name string, want func(*capture.Packet) bool) (string, error)
	// StopRecording finishes the file.
	StopRecording(ctx context.Context) (screens.Recording, error)
}

// stoppedMsg ends a recording.
type stoppedMsg struct {
	r   screens.Recording
	err error
}

// write asks for a file, or ends what is being written.
func (m *root) write() tea.Cmd {
	host, ctx := m.hosts[m.cur].host.(Recorder), m.ctx
	if m.recording() != nil {
		return func() tea.Msg {
			r, err := host.StopRecording(ctx)
			return stoppedMsg{r, err}
		}
	}
	var flows *screens.Flows
	for _, t := range m.tabs {
		if f, ok := t.(*screens.Flows); ok {
			flows = f
		}
	}
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' {
			return r
		}
		return '-'
	}, shortName(m.hosts[m.cur].host))
	return m.open(screens.NewRecord("lvstui-"+name+"-"+m.now().Format("20060102-150405")+".pcapng", flows))
}

func (m *root) record(msg screens.RecordMsg) tea.Cmd {
	host, ctx := m.hosts[m.cur].host.(Recorder), m.ctx
	return func() tea.Msg {
		name, err := host.Record(ctx, msg.Name, msg.Want)
		return screens.RecordedMsg{Name: name, Err: err}
	}
}

// stopped says what was written.
func (m *root) stopped(msg stoppedMsg) tea.Cmd {
	text := "written: " + screens.RecordingWords(msg.r) + ", " + msg.r.File
	if msg.err != nil {
		text = "the file could not be finished: " + msg.err.Error()
	}
	return tea.Batch(m.tell(text), m.lookAgain())
}

// recording is what is being written on the current host.
func (m *root) recording() *screens.Recording {
	if f := m.hosts[m.cur].facts; f != nil {
		return f.Capture.Recording
	}
	return nil
}

// whyNoWrite is why nothing can be written.
func (m *root) whyNoWrite() string {
	h := m.hosts[m.cur]
	_, can := h.host.(Recorder)
	switch {
	case h.facts == nil:
		return "this host was not looked at yet"
	case !can:
		return "there are no live packets here; go to the host itself (h)"
	case h.facts.Capture.Mode != screens.CaptureLive:
		return "nobody listens on the wire here"
	}
	return ""
}
