package ui

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/ui/keys"
	"lvstui/ui/kit"
	"lvstui/ui/screens"
	"lvstui/ui/theme"
)

// footHeight is the lines at the bottom that are always there.
const footHeight = 2

func (m *root) content() string {
	if m.width <= 0 || m.height <= 0 {
		return "" // before the first size is known
	}
	if m.tooSmall() {
		text := fmt.Sprintf("lvstui needs a terminal of %d×%d; this one has %d×%d. Make it larger, or run: lvstui check", minWidth, minHeight, m.width, m.height)
		return kit.Render(m.theme, kit.Paragraph(theme.Plain, text, m.width), m.width, m.height)
	}
	lines := append(make([]kit.Line, 0, m.height), m.header()...)
	room := m.height - len(lines) - footHeight
	body := m.body(room)
	for len(body) < room {
		body = append(body, kit.Line{})
	}
	lines = append(lines, body[:room]...)
	lines = append(lines, m.footer()...)
	return kit.Render(m.theme, lines, m.width, m.height)
}

// header: who and how we listen; the verdict; the tabs.
func (m *root) header() []kit.Line {
	h := m.hosts[m.cur]
	left := kit.L(kit.T(" "), kit.S(theme.Title, kit.Fit(shortName(h.host), 40)))
	verdict := kit.L(kit.T(" "), kit.S(theme.Dim, "… looking at "+h.host.Name()))
	var right kit.Line
	if h.facts != nil {
		left.Spans = append(left.Spans, kit.T(" · "+placeWords(*h.facts)), kit.T("   "+vipWords(*h.facts)))
		role := screens.VerdictRole(h.facts.Report.Verdict)
		verdict = kit.L(kit.T(" "), kit.S(role, screens.Glyph(role)+" "+string(h.facts.Report.Verdict)), kit.S(theme.Plain, ": "+h.facts.Report.Summary))
		right = captureLine(h.facts.Capture, shortName(h.host), max(m.width/2-9, m.width-left.Width()-1))
	}
	if h.err != nil {
		verdict = kit.L(kit.T(" "), kit.S(theme.Unknown, "? "), kit.S(theme.Warn, "could not look: "+h.err.Error()))
	}
	if m.paused {
		verdict = kit.Between(verdict, kit.L(kit.S(theme.Warn, "‖ "+pauseWords(m.newFlows())+" ")), m.width)
	}
	if program := kit.S(theme.Dim, "lvstui  "); left.Width()+kit.Width(program.Text)+right.Width() < m.width {
		left.Spans = slices.Insert(left.Spans, 1, program)
	}
	out := []kit.Line{kit.Between(left, right, m.width), verdict, m.tabLine()}
	if c, ok := m.waiting(); ok && !m.deciding() {
		out = append(out, m.waitLine(c))
	}
	return out
}

// waitLine says on every screen that a change waits, how long, and which keys decide.
func (m *root) waitLine(c fixes.Change) kit.Line {
	left := kit.L(kit.T(" "), kit.S(theme.Warn, "! "+screens.LeftWords(c, m.clock)+": "+c.Title))
	right := kit.L(kit.S(theme.Accent, "c"), kit.T(" keep  "), kit.S(theme.Accent, "z"), kit.T(" take back "))
	return kit.Between(left, right, m.width)
}

// deciding says that a box is open that has the countdown itself.
func (m *root) deciding() bool {
	for _, s := range m.overlays {
		switch s.(type) {
		case *screens.Fix, *screens.Keep:
			return true
		}
	}
	return false
}

func pauseWords(n int) string {
	switch n {
	case 0:
		return "paused"
	case 1:
		return "paused, 1 new flow"
	}
	return fmt.Sprintf("paused, %d new flows", n)
}

// placeWords is what the host is; of a capture from a file, where it was taken.
func placeWords(f Facts) string {
	hosts := 0
	for i := range f.Flows {
		hosts = max(hosts, len(f.Flows[i].Vantages))
	}
	if hosts > 1 {
		return fmt.Sprintf("seen from %d hosts", hosts)
	}
	if len(f.Report.Roles) == 0 && len(f.Flows) > 0 && f.Flows[0].Vantage != "" {
		return "seen from the " + strings.ReplaceAll(string(f.Flows[0].Vantage), "-", " ")
	}
	return rolesWords(f.Report.Roles)
}

func rolesWords(roles []lvs.Role) string {
	if len(roles) == 0 {
		return "no role"
	}
	words := make([]string, len(roles))
	for i, r := range roles {
		words[i] = strings.ReplaceAll(string(r), "-", " ")
	}
	return strings.Join(words, ", ")
}

// vipWords names the virtual service that is looked at, and how many there are besides.
func vipWords(f Facts) string {
	var names []string
	for _, v := range f.Report.VirtualServices {
		names = append(names, v.Virtual)
	}
	if len(names) == 0 && len(f.Flows) > 0 {
		names = append(names, f.Flows[0].Virtual.String())
	}
	if len(names) == 0 {
		for _, vip := range f.VIPs {
			names = append(names, vip.String())
		}
	}
	switch len(names) {
	case 0:
		return ""
	case 1:
		return "VIP " + names[0]
	}
	return fmt.Sprintf("VIP %s +%d", names[0], len(names)-1)
}

// captureLine says how the listening on host goes, in at most width cells. Drops are never left out; a file has none of ours.
func captureLine(c Capture, host string, width int) kit.Line {
	drops := kit.S(theme.Dim, " · 0 dropped ")
	if c.Dropped > 0 {
		drops = kit.S(theme.Warn, fmt.Sprintf(" · ! %s dropped ", kit.Count(float64(c.Dropped))))
	}
	if c.Sampled > 1 {
		drops.Text = fmt.Sprintf(" · 1 flow in %d%s", c.Sampled, drops.Text)
	}
	switch c.Mode {
	case screens.CaptureLive:
		names := strings.Join(c.Interfaces, " ")
		if len(c.Interfaces) == 0 {
			names = "all interfaces"
		}
		if r := c.Recording; r != nil {
			names = "writing " + screens.RecordingWords(*r)
			if kit.Width(names) > width-kit.Width(drops.Text)-2 {
				names = "writing " + kit.Count(float64(r.Bytes)) + "B"
			}
			if r.Err != "" {
				names = "not writing: " + r.Err
			}
			return kit.L(kit.S(theme.OK, "● "), kit.S(theme.Warn, kit.Fit(names, width-kit.Width(drops.Text)-2)), drops)
		}
		if c.Notice != "" {
			return kit.L(kit.S(theme.OK, "● "), kit.S(theme.Warn, kit.Fit("! "+c.Notice, width-kit.Width(drops.Text)-2)), drops)
		}
		if room := width - kit.Width(drops.Text) - 7; kit.Width(names) > room {
			names = fmt.Sprintf("%d interfaces", len(c.Interfaces))
		}
		return kit.L(kit.S(theme.OK, "● live "), kit.T(names), drops)
	case screens.CaptureFile:
		line := kit.L(kit.S(theme.Accent, "○ "), kit.T(kit.Fit(path.Base(c.Name), 24)+" "))
		if path.Base(c.Name) == host { // its name stands at the left
			line = kit.L(kit.S(theme.Accent, "○ capture "))
		}
		return line
	case screens.CaptureFailed:
		if text := "✗ no capture: " + c.Err + " "; kit.Width(text) <= width {
			return kit.L(kit.S(theme.Bad, text))
		}
		return kit.L(kit.S(theme.Bad, "✗ no capture ")) // Flows says why
	}
	return kit.L(kit.S(theme.Dim, "○ no capture "))
}

// tabLine is the rule below the header with the screens in it.
func (m *root) tabLine() kit.Line {
	l := kit.L(kit.S(theme.Border, "─"))
	for i, t := range m.tabs {
		text := fmt.Sprintf(" %d %s ", i+1, t.Title())
		if i == m.tab {
			l.Spans = append(l.Spans, kit.S(theme.Selected, text))
		} else {
			l.Spans = append(l.Spans, kit.T(text))
		}
		l.Spans = append(l.Spans, kit.S(theme.Border, "─"))
	}
	l.Spans = append(l.Spans, kit.S(theme.Border, strings.Repeat("─", max(0, m.width-l.Width()))))
	return l
}

// body is the overlay on top, or the screen.
func (m *root) body(height int) []kit.Line {
	h := m.hosts[m.cur]
	if len(m.overlays) == 0 && h.facts == nil {
		if h.err != nil {
			return kit.Indent(1, append([]kit.Line{{}}, kit.Item(kit.S(theme.Bad, "✗ "), theme.Plain,
				"Could not look at "+h.host.Name()+": "+h.err.Error(), m.width-2)...))
		}
		return []kit.Line{{}, kit.Text(theme.Dim, " Looking at "+h.host.Name()+" …")}
	}
	return m.top().View(m.width, height)
}

// footer is a rule and the keys that are valid now; a message takes their place for a while.
func (m *root) footer() []kit.Line {
	rule := kit.Rule("", m.width)
	if m.say != "" {
		said := kit.Indent(1, kit.Paragraph(theme.Warn, m.say, m.width-2))
		return append([]kit.Line{rule}, said...)[max(0, len(said)-1):][:footHeight]
	}
	if m.top().Typing() {
		hint := "for example state:stalled client:10.0.0.0/8 stage:syn-ack-sent !rs:10.0.0.11"
		if t, ok := m.top().(interface{ TypingHint() string }); ok {
			hint = t.TypingHint()
		}
		return []kit.Line{rule, kit.Text(theme.Dim, " "+hint)}
	}
	global := m.globalActions()
	last := footerKeys([]keys.Action{global[2], global[3]}) // help and quit are always there
	l := kit.T(" ")
	line := kit.L(l)
	for _, a := range append(m.screenActions(), global[:2]...) {
		if a.Quiet {
			continue
		}
		next := footerKeys([]keys.Action{a})
		if line.Width()+next.Width()+last.Width() > m.width {
			break
		}
		line.Spans = append(line.Spans, next.Spans...)
	}
	line.Spans = append(line.Spans, last.Spans...)
	return []kit.Line{rule, line}
}

func footerKeys(actions []keys.Action) kit.Line {
	var l kit.Line
	for _, a := range actions {
		role, words := theme.Accent, theme.Plain
		if a.Why != "" {
			role, words = theme.Dim, theme.Dim
		}
		l.Spans = append(l.Spans, kit.S(role, a.Show), kit.S(words, " "+a.Short+"   "))
	}
	return l
}
