package probes

import (
	"strings"
	"testing"

	"lvstui/lvs"
)

// Every stage has a drawing, with one break in it, that fits a narrow terminal.
func TestDrawing(t *testing.T) {
	for _, stage := range lvs.Stages {
		got := Drawing(stage)
		picture, legend, ok := strings.Cut(got, "\n    X ")
		if !ok || strings.Count(picture, "X") != 1 || !strings.HasPrefix(legend, string(stage)+": ") {
			t.Errorf("%s:\n%s", stage, got)
		}
		for line := range strings.Lines(got) {
			if len(line) > 78 || !strings.HasPrefix(line, "    ") {
				t.Errorf("%s: %q", stage, line)
			}
		}
	}
	if got := Drawing(lvs.SynAckAtClient); !strings.Contains(got, "SYN-ACK") || strings.Contains(got, "    ACK ") {
		t.Errorf("\n%s", got)
	}
}
