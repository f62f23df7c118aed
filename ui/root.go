package ui

import (
	"context"
	"strconv"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"lvstui/ui/keys"
	"lvstui/ui/kit"
	"lvstui/ui/screens"
	"lvstui/ui/theme"
)

// tabs are the screens in the order of the tab line. A new screen is one file in package screens and one entry here.
func tabs() []screens.Screen {
	return []screens.Screen{screens.NewPath(), screens.NewFlows(), screens.NewServices(), screens.NewHost(), screens.NewSetup(), screens.NewChanges()}
}

// The smallest terminal in which everything has its place.
const (
	minWidth  = 80
	minHeight = 24
)

// root routes messages. It holds what is known of each host and which screen is on top.
type root struct {
	ctx   context.Context
	o     Options
	theme theme.Theme

	width, height int
	hosts         []*hostState
	cur           int // index of the host that is looked at
	gen           int // of the current host's looks: a tick of an older generation comes too late
	paused        bool

	tabs     []screens.Screen
	tab      int
	overlays []screens.Screen // the last one is on top

	// after sends a message some time later, and now is the time. Tests let time pass as they like.
	after func(time.Duration, tea.Msg) tea.Cmd
	now   func() time.Time

	// clock is the time by which a countdown is drawn; ticking says that its next second is under way.
	clock   time.Time
	ticking bool

	// stirred is when a key was pressed or a handshake heard of last, and latest is that handshake's time; dozing says that looks are rare.
	stirred, latest time.Time
	dozing          bool

	say    string // sentence in the footer
	saySeq int
}

// hostState is what is known of one host.
type hostState struct {
	host  Host
	facts *Facts // of the last look that came in time; nil before
	held  *Facts // came while paused
	err   error  // of the last look
	at    time.Time
	// looking says that a look is under way; late, that its result is not wanted any more.
	looking, late bool
}

func newRoot(ctx context.Context, o Options) *root {
	if o.Refresh <= 0 {
		o.Refresh = time.Second
	}
	m := &root{ctx: ctx, o: o, tabs: tabs(), cur: max(0, min(o.Start, len(o.Hosts)-1)), width: o.Width, height: o.Height,
		theme: theme.New(theme.Options{Color: !o.NoColor, Light: o.Light, ASCII: o.ASCII})}
	m.now = time.Now
	m.after = func(d time.Duration, msg tea.Msg) tea.Cmd {
		return tea.Tick(d, func(time.Time) tea.Msg { return msg })
	}
	for i, t := range m.tabs {
		if t.Title() == o.Screen {
			m.tab = i
		}
	}
	for _, h := range o.Hosts {
		m.hosts = append(m.hosts, &hostState{host: h})
	}
	return m
}

// Init looks at the first host.
func (m *root) Init() tea.Cmd {
	if m.o.Sync {
		return tea.Batch(m.look(), func() tea.Msg {
			return tea.ModeReportMsg{Mode: ansi.ModeSynchronizedOutput, Value: ansi.ModeReset}
		})
	}
	return m.look()
}

// Update hands each message to whom it concerns.
func (m *root) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		return m, tea.Batch(m.stir(), m.press(msg))
	case tea.PasteMsg: // pasted text is for a text field, never a row of keys
		return m, m.paste(msg)
	case lookedMsg:
		return m, m.looked(msg)
	case tickMsg:
		if msg.gen == m.gen {
			return m, m.look()
		}
	case clockMsg:
		return m, m.tock()
	case forgetMsg:
		if msg.seq == m.saySeq {
			m.say = ""
		}
	default:
		return m, m.asked(msg)
	}
	return m, nil
}

// top is the screen that has the keys.
func (m *root) top() screens.Screen {
	if n := len(m.overlays); n > 0 {
		return m.overlays[n-1]
	}
	return m.tabs[m.tab]
}

// replaceTop keeps what a screen's Update returned.
func (m *root) replaceTop(s screens.Screen) {
	if n := len(m.overlays); n > 0 {
		m.overlays[n-1] = s
		return
	}
	m.tabs[m.tab] = s
}

func (m *root) press(k tea.KeyPressMsg) tea.Cmd {
	if keys.QuitNow.Matches(k) {
		return tea.Quit
	}
	if m.tooSmall() {
		if keys.Quit.Matches(k) {
			return tea.Quit
		}
		return nil
	}
	m.say = ""
	if m.top().Typing() {
		s, cmd := m.top().Update(k)
		m.replaceTop(s)
		return cmd
	}
	action, ok := keys.Find(append(m.screenActions(), m.globalActions()...), k)
	switch {
	case !ok:
		return nil
	case action.Why != "":
		return m.tell(action.Show + " " + action.Short + ": " + action.Why)
	}
	return action.Do()
}

func (m *root) paste(p tea.PasteMsg) tea.Cmd {
	if !m.top().Typing() {
		return nil
	}
	var cmds []tea.Cmd
	for _, r := range p.Content {
		s, cmd := m.top().Update(tea.KeyPressMsg{Code: r, Text: string(r)})
		m.replaceTop(s)
		cmds = append(cmds, cmd)
	}
	return tea.Batch(cmds...)
}

// screenActions are the keys of the screen on top; before the first look a tab has nothing to act on.
func (m *root) screenActions() []keys.Action {
	if len(m.overlays) == 0 && m.hosts[m.cur].facts == nil {
		return nil
	}
	return m.top().Actions()
}

// globalActions are the keys that are valid everywhere.
func (m *root) globalActions() []keys.Action {
	busy := m.busy()
	oneHost := ""
	if len(m.hosts) < 2 {
		oneHost = "there is only this host"
	}
	acts := []keys.Action{
		keys.Hosts.Do(m.openHosts).Unless(first(busy, oneHost)),
		keys.Pause.Do(m.pause),
		keys.Help.Do(m.openHelp),
		keys.Quit.Do(m.quit).Unless(busy),
		keys.NextTab.Quietly(func() tea.Cmd { return m.goTo((m.tab + 1) % len(m.tabs)) }).Unless(busy),
		keys.PrevTab.Quietly(func() tea.Cmd { return m.goTo((m.tab + len(m.tabs) - 1) % len(m.tabs)) }).Unless(busy),
		keys.NextHost.Quietly(func() tea.Cmd { return m.switchTo((m.cur + 1) % len(m.hosts)) }).Unless(first(busy, oneHost)),
		keys.PrevHost.Quietly(func() tea.Cmd { return m.switchTo((m.cur + len(m.hosts) - 1) % len(m.hosts)) }).Unless(first(busy, oneHost)),
		m.writeAction(busy),
		keys.Test.Quietly(m.openProbe).Unless(first(busy, m.whyNoProbe())),
		keys.Keep.Quietly(m.openKeep).Unless(first(busy, m.whyNoKeep())),
		keys.Undo.Quietly(m.openUndo).Unless(first(busy, m.whyNoUndo())),
		keys.QuitNow.Quietly(func() tea.Cmd { return tea.Quit }),
	}
	for i, t := range m.tabs {
		digit := strconv.Itoa(i + 1)
		acts = append(acts, keys.Binding{Keys: []string{digit}, Show: digit, Short: t.Title(), Long: "go to " + t.Title()}.
			Quietly(func() tea.Cmd { return m.goTo(i) }).Unless(busy))
	}
	return acts
}

func first(reasons ...string) string {
	for _, r := range reasons {
		if r != "" {
			return r
		}
	}
	return ""
}

// writeAction is w: it begins to write packets, or ends it.
func (m *root) writeAction(busy string) keys.Action {
	a := keys.Write.Quietly(m.write).Unless(first(busy, m.whyNoWrite()))
	if m.recording() != nil {
		a.Short = "end writing"
	}
	return a
}

// busy says why nobody may leave just now.
func (m *root) busy() string {
	for _, s := range m.overlays {
		if b, ok := s.(interface{ Busy() bool }); ok && b.Busy() {
			return "a change is being made; wait for it"
		}
	}
	return ""
}

func (m *root) goTo(tab int) tea.Cmd {
	m.overlays, m.tab = nil, tab
	return nil
}

func (m *root) quit() tea.Cmd {
	if len(m.overlays) > 0 {
		m.close()
		return nil
	}
	return tea.Quit
}

func (m *root) open(s screens.Screen) tea.Cmd {
	m.overlays = append(m.overlays, s)
	if g, ok := s.(screens.Guarded); ok {
		return m.after(g.Grace(), screens.ArmedMsg{})
	}
	return nil
}

func (m *root) close() {
	if n := len(m.overlays); n > 0 {
		m.overlays = m.overlays[:n-1]
	}
}

func (m *root) openHelp() tea.Cmd {
	here := m.top()
	return m.open(screens.NewHelp(here.Title(), m.screenActions(), m.globalActions()))
}

func (m *root) openUndo() tea.Cmd {
	if c, ok := screens.LastOpen(m.hosts[m.cur].facts.Changes); ok {
		return m.open(screens.NewUndo(c))
	}
	return nil
}

// whyNoUndo is the reason for which there is nothing to undo.
func (m *root) whyNoUndo() string {
	f := m.hosts[m.cur].facts
	switch {
	case f == nil:
		return "this host was not looked at yet"
	case f.ReadOnly:
		return "read-only: " + f.ReadOnlyWhy
	}
	if _, ok := screens.LastOpen(f.Changes); !ok {
		return "there is no change of this host to take back"
	}
	return ""
}

// tell shows a sentence in the footer for some seconds.
func (m *root) tell(text string) tea.Cmd {
	m.saySeq++
	m.say = text
	seq := m.saySeq
	return m.after(6*time.Second, forgetMsg{seq})
}

type forgetMsg struct{ seq int }

func (m *root) tooSmall() bool { return m.width < minWidth || m.height < minHeight }

// View draws header, the screen on top, and footer.
func (m *root) View() tea.View {
	v := tea.NewView(m.content())
	v.AltScreen = true
	v.WindowTitle = "lvstui " + kit.Clean(m.hosts[m.cur].host.Name())
	return v
}
