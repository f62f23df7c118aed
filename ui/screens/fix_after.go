package screens

import (
	"fmt"
	"strings"
	"time"

	"lvstui/capture"
	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
	"lvstui/ui/kit"
	"lvstui/ui/theme"
)

// progress says how the change goes, and what happens unless somebody decides. It is always in view.
func (s *Fix) progress(width int) []kit.Line {
	var out []kit.Line
	switch s.state {
	case fixRunning:
		return []kit.Line{kit.Text(theme.Warn, "… The change is being made and then verified")}
	case fixKeeping:
		return []kit.Line{kit.Text(theme.Warn, "… It is being kept")}
	case fixUndoing:
		return []kit.Line{kit.Text(theme.Warn, "… It is being taken back")}
	case fixFailed:
		return kit.Item(kit.S(theme.Bad, "✗ failed: "), theme.Bad, s.failed, width)
	case fixWaiting:
		out = s.countdown(width)
	case fixKept:
		text := "done: applied, verified and kept"
		switch {
		case s.change.AsFiles:
			text += "; as the files say, so for the next boot too"
		case len(s.change.Files) > 0 && s.refusal == "":
			text += "; for the next boot too, in " + strings.Join(s.change.Files, ", ")
		case len(s.edits) > 0:
			text += "; for now: the next boot does not have it"
		}
		out = append(out, kit.Item(kit.S(theme.OK, "✓ "), theme.OK, text, width)...)
		out = append(out, kit.L(kit.S(theme.Accent, "z"), kit.T(" takes it back, "), kit.S(theme.Accent, "esc"), kit.T(" goes back to where you were")))
	case fixUndone:
		text := "taken back and verified: everything is as it was"
		if !s.change.Deadline.IsZero() && s.refusal == "" && s.expired() {
			text = "nobody kept it, so it was taken back: everything is as it was"
		}
		out = kit.Item(kit.S(theme.OK, "✓ "), theme.OK, text, width)
	}
	if s.refusal != "" {
		out = append(out, kit.Item(kit.S(theme.Bad, "✗ "), theme.Bad, s.refusal, width)...)
	}
	return out
}

func (s *Fix) expired() bool { return !s.clock.Before(s.change.Deadline) }

// countdown says how long is left, which key decides, and that quitting is no answer.
func (s *Fix) countdown(width int) []kit.Line {
	left := LeftWords(s.change, s.clock)
	if s.expired() {
		return []kit.Line{kit.Text(theme.Warn, "! "+left)}
	}
	out := []kit.Line{kit.L(mark(theme.Warn), kit.S(theme.Warn, " done and verified; "+left+"."), kit.T(" Does it work?")),
		kit.L(kit.S(theme.Accent, "c"), kit.T(" keeps it, "), kit.S(theme.Accent, "z"), kit.T(" takes it back now, "), kit.S(theme.Accent, "esc"),
			kit.T(" leaves it waiting"))}
	return append(out, kit.Paragraph(theme.Dim, "If you quit, or this session is cut, it is taken back as well.", width)...)
}

// LeftWords say how long a change still waits to be kept.
func LeftWords(c fixes.Change, now time.Time) string {
	left := c.Deadline.Sub(now)
	if left <= 0 {
		return "the time is up: it is being taken back"
	}
	return fmt.Sprintf("taken back in %d s unless you keep it", int((left+time.Second-1)/time.Second))
}

// afterLines are what the change brought: the path, the findings, the first handshake; of a set-up also what the others need.
func (s *Fix) afterLines(width int) []kit.Line {
	if s.after == nil {
		return []kit.Line{kit.Text(theme.Dim, "… looking at the path again"), {}}
	}
	role := VerdictRole(s.after.Report.Verdict)
	out := kit.Item(kit.S(role, "Now "+Glyph(role)+" "), role, string(s.after.Report.Verdict)+": "+s.after.Report.Summary, width)
	if s.watching { // it is what is waited for
		out = append(out, s.firstHandshake(width)...)
		out = append(out, kit.Line{})
		out = append(out, s.difference(width)...)
	} else {
		out = append(out, s.difference(width)...)
		out = append(out, s.firstHandshake(width)...)
	}
	if s.watching {
		out = append(out, kit.Line{}, kit.L(kit.S(theme.Title, "What the others need"), kit.S(theme.Dim, ", "), kit.S(theme.Accent, "y"), kit.S(theme.Dim, " copies it")))
		for _, e := range s.preview.Elsewhere {
			out = append(out, kit.Item(kit.S(theme.Dim, "· "), theme.Plain, e, width)...)
		}
	}
	return append(out, kit.Line{}, kit.Text(theme.Title, "What was done"))
}

// difference is which stages and findings are not as they were.
func (s *Fix) difference(width int) []kit.Line {
	var out []kit.Line
	was := map[lvs.Stage]lvs.StageStatus{}
	for _, p := range s.facts.Report.Path {
		was[p.Stage] = p.Status
	}
	for _, p := range s.after.Report.Path {
		if before := was[p.Stage]; before != p.Status && before != "" {
			out = append(out, kit.L(kit.T("  "), mark(statusRole(p.Status)), kit.T(" "+kit.Pad(p.Stage.Title(), 22)),
				kit.S(theme.Dim, string(before)+" → "), kit.S(statusRole(p.Status), string(p.Status))))
		}
	}
	had, has := keysOf(s.facts.Report), keysOf(s.after.Report)
	for _, f := range s.facts.Report.Findings {
		if !has[f.Key()] {
			out = append(out, kit.Item(kit.S(theme.OK, "  ✓ gone: "), theme.Plain, f.Title, width)...)
		} else if f.Key() == s.finding.Key() {
			out = append(out, kit.Item(kit.S(theme.Warn, "  ! still found: "), theme.Plain, f.Title, width)...)
		}
	}
	for _, f := range s.after.Report.Findings {
		if !had[f.Key()] {
			out = append(out, kit.Item(kit.S(theme.Warn, "  ! new: "), theme.Plain, f.Title, width)...)
		}
	}
	if len(out) == 0 {
		out = append(out, kit.Text(theme.Dim, "  stages and findings are as before"))
	}
	return out
}

func keysOf(r probes.Report) map[string]bool {
	out := map[string]bool{}
	for _, f := range r.Findings {
		out[f.Key()] = true
	}
	return out
}

// firstHandshake follows the first client that comes after the change: the one that got furthest, because others may have been
// under way before.
func (s *Fix) firstHandshake(width int) []kit.Line {
	best := s.bestFlow()
	if best == nil {
		if !s.watching {
			return nil
		}
		return []kit.Line{kit.Text(theme.Dim, "… waiting for the first client: nobody has come since")}
	}
	role := outcomeRole(best.Outcome)
	out := []kit.Line{kit.L(kit.S(theme.Title, "The first handshake since: "), kit.T(best.Client.String()+"  "), mark(role), kit.S(role, " "+string(best.Outcome)))}
	var words []kit.Span
	used := 2
	for _, st := range best.Stages {
		r := stateRole(st.State)
		text := Glyph(r) + " " + st.Stage.Title() + "   "
		if used+kit.Width(text) > width {
			out = append(out, kit.L(append([]kit.Span{kit.T("  ")}, words...)...))
			words, used = nil, 2
		}
		words = append(words, kit.S(r, text))
		used += kit.Width(text)
	}
	return append(out, kit.L(append([]kit.Span{kit.T("  ")}, words...)...))
}

func (s *Fix) bestFlow() *capture.Flow {
	var best *capture.Flow
	for i := range s.after.Flows {
		f := &s.after.Flows[i]
		if f.FirstSeen.Before(s.applied) || s.finding.VIP.IsValid() && f.Virtual.Addr() != s.finding.VIP {
			continue
		}
		if best == nil || f.Reached.Index() > best.Reached.Index() {
			best = f
		}
	}
	return best
}
