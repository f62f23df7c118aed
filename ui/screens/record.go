package screens

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"

	"lvstui/capture"
	"lvstui/ui/keys"
	"lvstui/ui/kit"
	"lvstui/ui/theme"
)

// Record asks for the name of a file that packets are to be written to.
type Record struct {
	field  field
	filter string
	want   func(*capture.Packet) bool
	rest   []string // words of the filter that can not choose packets
	err    string
	busy   bool
}

// NewRecord proposes a name. filtered is the screen whose filter chooses the packets.
func NewRecord(name string, flows *Flows) *Record {
	s := &Record{field: newField("file: ")}
	if flows != nil {
		s.filter = flows.filter.text
		s.want, s.rest = flows.filter.packets()
	}
	s.field.start(name)
	return s
}

// Title is the heading.
func (s *Record) Title() string { return "Write" }

// Typing says that the name is being written.
func (s *Record) Typing() bool { return s.field.on }

// TypingHint is what the footer says meanwhile.
func (s *Record) TypingHint() string {
	return "enter begins to write   ctrl+u clears it   esc leaves it"
}

// SetFacts changes nothing.
func (s *Record) SetFacts(Facts) {}

// Update takes the name, and the news that the file was begun.
func (s *Record) Update(msg tea.Msg) (Screen, tea.Cmd) {
	switch m := msg.(type) {
	case RecordedMsg:
		s.busy = false
		if m.Err != nil {
			s.err = m.Err.Error()
			s.field.on = true
			return s, nil
		}
		return s, tea.Batch(send(CloseMsg{}), send(SayMsg{"writing to " + m.Name + "; w ends it"}))
	case tea.KeyPressMsg:
		if !s.field.on {
			return s, nil
		}
		leave := m.String() == "esc"
		if !s.field.press(m) {
			return s, nil
		}
		if leave {
			return s, send(CloseMsg{})
		}
		if s.err = badName(s.field.text); s.err != "" {
			s.field.on = true
			return s, nil
		}
		s.busy = true
		return s, send(RecordMsg{strings.TrimSpace(s.field.text), s.want})
	}
	return s, nil
}

// badName says what is wrong with the name of a file; what only the file system knows, the Host says.
func badName(name string) string {
	switch name = strings.TrimSpace(name); {
	case name == "":
		return "a file needs a name"
	case strings.HasSuffix(name, "/"):
		return "that is a folder: add the name of a file"
	case strings.ContainsRune(name, 0) || len(name) > 200:
		return "that is no name of a file"
	}
	return ""
}

// Actions while the file is opened.
func (s *Record) Actions() []keys.Action { return []keys.Action{keys.Leave.Do(ask(CloseMsg{}))} }

// View draws the question.
func (s *Record) View(width, _ int) []kit.Line {
	w := min(width, 100)
	lines := kit.Paragraph(theme.Plain, "What is heard from now on is written as pcapng, with interfaces, drops and what became of the flows. "+
		"Only you can read the file; one that is there already is not touched. A new file is begun every 100 MB, and the newest ten are kept.", w-4)
	lines = append(lines, kit.Line{})
	if s.filter != "" {
		what := "the filter of Flows: " + s.filter
		if len(s.rest) > 0 {
			what += "; but packets can not be chosen by " + strings.Join(s.rest, " ") + ", which is known only later"
		}
		lines = append(lines, kit.Item(kit.S(theme.Title, "only  "), theme.Plain, what, w-4)...)
	}
	lines = append(lines, s.field.line())
	if s.err != "" {
		lines = append(lines, kit.Item(kit.S(theme.Bad, "✗ "), theme.Bad, s.err, w-4)...)
	}
	return kit.Box("Write packets to a file", lines, w)
}

// RecordingWords say how far a recording is: "1.2k packets, 3.4 MB".
func RecordingWords(r Recording) string {
	words := plural(int(r.Packets), "packet")
	if r.Packets >= 1000 {
		words = kit.Count(float64(r.Packets)) + " packets"
	}
	words += ", " + kit.Count(float64(r.Bytes)) + "B"
	if r.Files > 1 {
		words += fmt.Sprintf(" in %d files", r.Files)
	}
	return words
}
