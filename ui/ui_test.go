package ui

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/ui/internal/sample"
)

// plainHost is a Host of data: it answers what it was given and remembers what was asked of it.
type plainHost struct {
	name    string
	facts   Facts
	err     error
	looks   int
	changes []fixes.Change
	applied []fixes.Plan
	seen    *lvs.Snapshot
	refuse  error // of Apply
}

func (h *plainHost) Name() string { return h.name }

func (h *plainHost) Look(context.Context) (Facts, error) {
	h.looks++
	f := h.facts
	f.Changes = append([]fixes.Change{}, h.changes...)
	return f, h.err
}

func (h *plainHost) Apply(_ context.Context, p fixes.Plan, seen *lvs.Snapshot, progress func(int, bool, error)) (fixes.Change, error) {
	h.applied, h.seen = append(h.applied, p), seen
	for i := range p.Steps {
		progress(i, false, nil)
		if h.refuse != nil {
			progress(i, true, h.refuse)
			return fixes.Change{}, h.refuse
		}
		progress(i, true, nil)
	}
	c := fixes.Change{ID: "1", Host: h.name, PlanID: p.ID, Title: p.Title, AppliedAt: sample.At, State: fixes.Applied, Commands: p.Commands()}
	h.changes = append(h.changes, c)
	return c, nil
}

func (h *plainHost) Undo(context.Context) (fixes.Change, error) {
	if len(h.changes) == 0 {
		return fixes.Change{}, errors.New("nothing to undo")
	}
	c := &h.changes[len(h.changes)-1]
	c.State = fixes.Undone
	return *c, nil
}

func (h *plainHost) Changes(context.Context) ([]fixes.Change, error) { return h.changes, nil }

// driver is the real root model with its commands run at once and in order. Time passes only when a test says so.
type driver struct {
	t     *testing.T
	m     *root
	later []tea.Msg // what timers would send
	held  []tea.Cmd // commands kept back, see hold
	hold  bool
	quit  bool
	clip  string
}

func newDriver(t *testing.T, w, h int, o Options) *driver {
	t.Helper()
	d := &driver{t: t, m: newRoot(context.Background(), o)}
	d.m.after = func(_ time.Duration, msg tea.Msg) tea.Cmd {
		return func() tea.Msg { d.later = append(d.later, msg); return nil }
	}
	d.send(tea.WindowSizeMsg{Width: w, Height: h})
	return d
}

// start looks at the first host.
func (d *driver) start() *driver {
	d.run(d.m.Init())
	return d
}

func (d *driver) send(msg tea.Msg) {
	_, cmd := d.m.Update(msg)
	d.run(cmd)
}

func (d *driver) run(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	if d.hold {
		d.held = append(d.held, cmd)
		return
	}
	switch msg := cmd().(type) {
	case nil:
	case tea.BatchMsg:
		for _, c := range msg {
			d.run(c)
		}
	case tea.QuitMsg:
		d.quit = true
	default:
		if text, ok := clipboardText(msg); ok {
			d.clip = text
			return
		}
		d.send(msg)
	}
}

// clipboardText is what tea.SetClipboard asks for; its message is a string of a type that is not exported.
func clipboardText(msg tea.Msg) (string, bool) {
	v := reflect.ValueOf(msg)
	if v.Kind() != reflect.String || msg != tea.SetClipboard(v.String())() {
		return "", false
	}
	return v.String(), true
}

// pass lets all timers end.
func (d *driver) pass() {
	now := d.later
	d.later = nil
	for _, msg := range now {
		d.send(msg)
	}
}

// press types keys: "a", "enter", "ctrl+c", or a text after "=".
func (d *driver) press(all ...string) {
	for _, k := range all {
		if text, ok := strings.CutPrefix(k, "="); ok {
			for _, r := range text {
				d.send(tea.KeyPressMsg{Code: r, Text: string(r)})
			}
			continue
		}
		d.send(key(k))
	}
}

var named = map[string]rune{"enter": tea.KeyEnter, "esc": tea.KeyEscape, "tab": tea.KeyTab, "up": tea.KeyUp, "down": tea.KeyDown,
	"home": tea.KeyHome, "end": tea.KeyEnd, "pgdown": tea.KeyPgDown, "pgup": tea.KeyPgUp, "backspace": tea.KeyBackspace}

func key(k string) tea.KeyPressMsg {
	if rest, ok := strings.CutPrefix(k, "ctrl+"); ok {
		return tea.KeyPressMsg{Code: rune(rest[0]), Mod: tea.ModCtrl}
	}
	if code, ok := named[k]; ok {
		return tea.KeyPressMsg{Code: code}
	}
	return tea.KeyPressMsg{Code: []rune(k)[0], Text: k}
}

// screen is what is drawn, without styling and trailing spaces.
func (d *driver) screen() string {
	lines := strings.Split(ansi.Strip(d.m.View().Content), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

func (d *driver) shows(parts ...string) {
	d.t.Helper()
	for _, p := range parts {
		if !strings.Contains(d.screen(), p) {
			d.t.Errorf("the screen lacks %q:\n%s", p, d.screen())
		}
	}
}

func (d *driver) hides(parts ...string) {
	d.t.Helper()
	for _, p := range parts {
		if strings.Contains(d.screen(), p) {
			d.t.Errorf("the screen must not show %q:\n%s", p, d.screen())
		}
	}
}

func hostsOf(all ...*plainHost) []Host {
	out := make([]Host, len(all))
	for i, h := range all {
		out[i] = h
	}
	return out
}

func brokenCluster() []*plainHost {
	return []*plainHost{{name: "director", facts: sample.BrokenDirector()}, {name: "rs1", facts: sample.BrokenRealServer()},
		{name: "router", facts: sample.BrokenRouter()}}
}

func cluster(t *testing.T) (*driver, []*plainHost) {
	hosts := brokenCluster()
	return newDriver(t, 100, 40, Options{Hosts: hostsOf(hosts...)}).start(), hosts
}

func TestPathSelectsTheFirstProblem(t *testing.T) {
	d, _ := cluster(t)
	d.shows("›! SYN-ACK at client     suspect", "the router drops replies", "Nothing on this host needs fixing")
	d.press("]")
	d.shows("›✗ VIP leads to director broken", "this real server answers ARP for the VIP")
}

func TestSelectionStaysOnTheSameThing(t *testing.T) {
	d, hosts := cluster(t)
	d.press("down", "down")
	d.shows("›   ▸ the real server may not have the VIP")
	r := &hosts[0].facts.Report // a finding before it goes away
	r.Findings = slices.Delete(slices.Clone(r.Findings), 0, 1)
	d.pass()
	d.shows("›   ▸ the real server may not have the VIP")
	d.press("2", "down")
	d.shows("› 188.88.88.10:42314")
	flows := &hosts[0].facts.Flows // a newer flow comes in at the top
	young := (*flows)[0]
	young.ID, young.FirstSeen = 77, sample.At
	*flows = append(slices.Clone(*flows), young)
	d.pass()
	d.shows("6 flows", "› 188.88.88.10:42314")
}

// A look that was started for one host and comes back when another is on screen must not be drawn there.
func TestLateLookOfAnotherHost(t *testing.T) {
	d, _ := cluster(t)
	d.hold = true
	d.send(tickMsg{d.m.gen})
	late := d.held
	d.held = nil
	d.press("]")
	d.hold = false
	for _, c := range d.held { // the look at rs1
		d.run(c)
	}
	d.shows("lvstui  rs1")
	for _, c := range late {
		d.run(c)
	}
	d.shows("lvstui  rs1", "›✗ VIP leads to director")
	ticks := len(d.later)
	d.send(tickMsg{d.m.gen - 1})
	if len(d.later) != ticks {
		t.Error("a tick of an older generation started a look")
	}
}

func TestPauseHoldsAndCounts(t *testing.T) {
	d, hosts := cluster(t)
	d.press("2", "p")
	d.shows("paused")
	young := hosts[0].facts.Flows[0]
	young.ID = 99
	hosts[0].facts.Flows = append(slices.Clone(hosts[0].facts.Flows), young)
	d.pass()
	d.shows("paused, 1 new flow", "5 flows")
	d.press("p")
	d.shows("6 flows")
	d.hides("paused")
}

func TestHostSwitcher(t *testing.T) {
	d, hosts := cluster(t)
	d.press("h")
	d.shows("Look at which host?", "› director     ✗ broken", "not looked at yet")
	d.press("down", "down", "enter")
	d.shows("lvstui  router · router")
	if hosts[2].looks != 1 {
		t.Errorf("the router was looked at %d times", hosts[2].looks)
	}
}

func TestFixAppliesWhatWasShown(t *testing.T) {
	d, hosts := cluster(t)
	d.press("]", "f")
	d.shows("Fix: this real server answers ARP", "1  sysctl -w net.ipv4.conf.all.arp_ignore=1", "was 0", "undo: sysctl -w",
		"risk", "next boot", "elsewhere")
	d.press("a") // typed before the box could be read
	if len(hosts[1].applied) != 0 {
		t.Fatal("a key typed before the box opened applied the change")
	}
	d.shows("has just opened")
	d.pass()
	before := hosts[1].looks
	d.press("a")
	if len(hosts[1].applied) != 1 || len(hosts[1].applied[0].Steps) != 2 || hosts[1].seen == nil {
		t.Fatalf("applied %v on %v", hosts[1].applied, hosts[1].seen)
	}
	d.shows("✓  sysctl -w net.ipv4.conf.all.arp_ignore=1", "✓ done: applied and verified")
	if hosts[1].looks == before {
		t.Error("no fresh look after the change")
	}
	d.press("a") // a second time does nothing
	if len(hosts[1].applied) != 1 {
		t.Error("applied twice")
	}
	d.press("esc", "5")
	d.shows("applied", "keep this host silent about the VIP")
	d.press("z", "y")
	if hosts[1].changes[0].State != fixes.Applied {
		t.Error("the question took a key typed before it opened")
	}
	d.pass()
	d.press("y")
	if hosts[1].changes[0].State != fixes.Undone {
		t.Error("not undone")
	}
	d.shows("taken back and verified")
	d.press("esc", "z")
	d.shows("z undo: there is no change of this host to take back")
}

func TestFixThatFails(t *testing.T) {
	d, hosts := cluster(t)
	hosts[1].refuse = errors.New("sysctl -w net.ipv4.conf.all.arp_ignore=1: permission denied")
	d.press("]", "f")
	d.pass()
	d.press("a")
	d.shows("✗  sysctl -w", "failed: sysctl -w net.ipv4.conf.all.arp_ignore=1: permission denied")
}

func TestFixIsRefusedWithAReason(t *testing.T) {
	d, hosts := cluster(t)
	d.press("f")
	d.pass()
	d.press("a")
	d.shows("a is disabled: it is to be done on router: type it there", "a apply: it is to be done on router", "$ sysctl -w net.ipv4.conf.all.rp_filter=2")
	if len(hosts[0].applied) != 0 {
		t.Error("applied on the wrong host")
	}
	for _, h := range hosts {
		h.facts.ReadOnly, h.facts.ReadOnlyWhy = true, "changing this host needs CAP_NET_ADMIN"
	}
	d.press("esc", "]", "f")
	d.pass()
	d.press("a")
	d.shows("read-only: changing this host needs CAP_NET_ADMIN")
	if len(hosts[1].applied) != 0 {
		t.Error("applied although read-only")
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	d, hosts := cluster(t)
	d.press("]", "f", "d")
	d.shows("Dry run: nothing was changed", "all 2 steps go through")
	if len(hosts[1].applied) != 0 {
		t.Error("the dry run applied")
	}
}

// While a change is made nobody leaves, but ctrl+c always works.
func TestBusyKeepsTheScreen(t *testing.T) {
	d, _ := cluster(t)
	d.press("]", "f")
	d.pass()
	d.hold = true
	d.press("a")
	d.hold = false
	for _, c := range d.held { // the request, not the work
		if msg := c(); msg != nil {
			d.hold = true
			d.send(msg)
			d.hold = false
		}
	}
	for _, k := range []string{"q", "esc", "2", "]"} {
		d.press(k)
		d.shows("Fix: this real server")
	}
	if d.quit {
		t.Error("q left while a change was being made")
	}
	d.press("ctrl+c")
	if !d.quit {
		t.Error("ctrl+c did not leave")
	}
}

func TestFlowFilter(t *testing.T) {
	d, _ := cluster(t)
	d.press("2", "/", "=state:pending", "enter")
	d.shows("filter state:pending: 1 shown", "188.88.88.10:49680")
	d.hides("42314")
	d.press("/", "ctrl+u", "=state:broken", "enter")
	d.shows("want established, closed, reset")
	d.press("esc", "esc")
	d.shows("42314", "5 flows")
	d.press("/", "=q1f", "esc") // letters are text while a filter is written
	d.shows("5 flows")
	if d.quit {
		t.Error("q in the filter left the program")
	}
}

func TestLadder(t *testing.T) {
	d, _ := cluster(t)
	d.press("2", "G", "enter")
	d.shows("188.88.88.10:49672 → 172.16.0.8:80", "[director]", "SYN ×3", "cannot be seen from a director", "192.168.10.12",
		"The client never sent its ACK, and it sent its SYN again 3 times.")
	d.press("q")
	if d.quit {
		t.Error("q left the program and not the flow")
	}
	d.shows("› 188.88.88.10:49672")
}

func TestServicesShowRates(t *testing.T) {
	d, hosts := cluster(t)
	d.press("3")
	d.shows("tcp 172.16.0.8:80", "→ 192.168.10.11:80", "gate")
	later := *hosts[0].facts.Snapshot
	ipvs := *later.IPVS
	ipvs.Services = sample.Later(4) // 24 connections more
	later.IPVS = &ipvs
	hosts[0].facts.Snapshot, hosts[0].facts.At = &later, sample.At.Add(2*time.Second)
	d.pass()
	if line := lineWith(d.screen(), "tcp 172.16.0.8:80"); !strings.Contains(line, " 12 ") || !strings.Contains(line, " 48") {
		t.Errorf("24 connections and 96 packets in 2 s are 12 and 48 per second: %q", line)
	}
}

func lineWith(screen, part string) string {
	for _, l := range strings.Split(screen, "\n") {
		if strings.Contains(l, part) {
			return l
		}
	}
	return ""
}

func TestErrorKeepsWhatIsKnown(t *testing.T) {
	d, hosts := cluster(t)
	hosts[0].err = errors.New("netlink: no buffer space")
	d.pass()
	d.shows("could not look: netlink: no buffer space", "›! SYN-ACK at client")
	hosts[0].err = nil
	d.pass()
	d.hides("could not look: netlink")
}

func TestDisabledKeysSayWhy(t *testing.T) {
	d := newDriver(t, 80, 24, Options{Hosts: hostsOf(&plainHost{name: "director", facts: sample.HealthyDirector()})}).start()
	d.press("f")
	d.shows("f fix: nothing is found at this stage")
	d.press("h")
	d.shows("h hosts: there is only this host")
	d.pass()
	d.shows("enter details")
}

func TestHelpListsEveryKeyThatIsValid(t *testing.T) {
	d, _ := cluster(t)
	want := append(d.m.screenActions(), d.m.globalActions()...)
	d.m.height = 90
	d.press("?")
	for _, a := range want {
		d.shows(strings.Fields(a.Long)[0] + " " + strings.Fields(a.Long)[1])
	}
	d.shows("never the same as ok")
}

func TestCopyGoesToTheClipboard(t *testing.T) {
	d, _ := cluster(t)
	d.press("y")
	if !strings.Contains(d.clip, "the router drops replies") || !strings.Contains(d.clip, "$ sysctl -w net.ipv4.conf.all.rp_filter=2") {
		t.Errorf("clipboard: %q", d.clip)
	}
}

func TestSmallTerminalSaysSo(t *testing.T) {
	d, _ := cluster(t)
	d.send(tea.WindowSizeMsg{Width: 60, Height: 20})
	d.shows("lvstui needs a terminal of 80×24; this one has 60×20.")
	d.press("2")
	d.send(tea.WindowSizeMsg{Width: 80, Height: 24})
	d.shows("Handshake") // the key did nothing behind the message
	d.send(tea.WindowSizeMsg{Width: 60, Height: 20})
	d.press("q")
	if !d.quit {
		t.Error("q must leave a small terminal")
	}
}

func TestPasteIsNotTyped(t *testing.T) {
	d, _ := cluster(t)
	d.send(tea.PasteMsg{Content: "q\n2"})
	if d.quit {
		t.Error("pasted text was taken for keys")
	}
	d.press("2", "/")
	d.send(tea.PasteMsg{Content: "state:stalled"})
	d.press("enter")
	d.shows("filter state:stalled: 4 shown")
}

func TestEnvironment(t *testing.T) {
	env := func(kv ...string) func(string) string {
		return func(k string) string {
			for i := 0; i < len(kv); i += 2 {
				if kv[i] == k {
					return kv[i+1]
				}
			}
			return ""
		}
	}
	if !NoColor(env("NO_COLOR", "yes")) || !NoColor(env("NO_COLOR", "0")) || NoColor(env()) {
		t.Error("NO_COLOR counts with any value that is not empty")
	}
	if !LightBackground(env("COLORFGBG", "0;15")) || LightBackground(env("COLORFGBG", "15;0")) || LightBackground(env()) {
		t.Error("COLORFGBG")
	}
	ssh := []string{"SSH_TTY", "/dev/pts/1", "TERM", "xterm-256color"}
	if !SynchronizedOutput(env(ssh...)) || SynchronizedOutput(env(append(ssh, "TMUX", "/tmp/x")...)) || SynchronizedOutput(env("TERM", "xterm")) {
		t.Error("synchronized output")
	}
}
