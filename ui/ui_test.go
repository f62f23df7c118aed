package ui

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"lvstui/fixes"
	"lvstui/ui/internal/sample"
)

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

// In the smallest terminal a finding still shows its id, how bad it is, and its cure.
func TestPathInASmallTerminal(t *testing.T) {
	d := newDriver(t, 80, 24, Options{Hosts: hostsOf(brokenCluster()[1:]...)}).start()
	d.shows("─ rs-answers-arp ─", "last 60 s", "✗ outage · certain · on rs1", "Cure on this host: f shows it and can do it",
		"$ sysctl -w net.ipv4.conf.all.arp_ignore=1", "$ sysctl -w net.ipv4.conf.all.arp_announce=2", "enter shows all of it", "established")
	d.press("enter")
	d.shows("id rs-answers-arp", "Evidence")
	d.press("esc", "]")
	d.shows("─ router-urpf-or-source-guard ─")
	d.send(tea.WindowSizeMsg{Width: 80, Height: 60})
	d.shows("Handshake", "id router-urpf-or-source-guard", "Evidence")
}

// The details stay about the same finding, whatever is found meanwhile, and the keys they speak of work there.
func TestDetailsOfAFinding(t *testing.T) {
	d, hosts := cluster(t)
	d.press("]", "enter")
	d.shows("─ rs-answers-arp ─", "id rs-answers-arp", "f fix", "e explain")
	d.press("y")
	if !strings.Contains(d.clip, "finding: rs-answers-arp") {
		t.Errorf("clipboard: %q", d.clip)
	}
	d.press("f")
	d.shows("Fix: this real server answers ARP")
	d.press("esc")
	d.shows("id rs-answers-arp")
	hosts[1].facts.Report.Findings = hosts[1].facts.Report.Findings[1:]
	d.pass()
	d.shows("✓ This is no longer found. It was:", "id rs-answers-arp")
	d.press("f")
	d.shows("f fix: this is no longer found")
	d.press("e")
	d.shows("e explain: this build has no explanations")
	d.press("esc", "home", "enter")
	d.shows("─ SYN sent ─", "SYN sent: ✓ ok")
	d.press("f")
	d.shows("─ SYN sent ─")
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
	d.shows("has just come up")
	d.pass()
	before := hosts[1].looks
	d.press("a")
	if len(hosts[1].applied) != 1 || len(hosts[1].applied[0].Steps) != 2 || hosts[1].seen == nil {
		t.Fatalf("applied %v on %v", hosts[1].applied, hosts[1].seen)
	}
	d.shows("✓  sysctl -w net.ipv4.conf.all.arp_ignore=1", "✓ done: applied, verified and kept")
	if hosts[1].looks == before {
		t.Error("no fresh look after the change")
	}
	d.press("a") // a second time does nothing
	if len(hosts[1].applied) != 1 {
		t.Error("applied twice")
	}
	d.press("esc", "6")
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
	d.shows("z undo: this change is not in force: it is undone")
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
	d.shows("want one of stalled, refused, reset")
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
	d.press("enter")
	d.shows("0 packets out: with gate (direct routing) 0 is right")
	d.press("esc")
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
	d.shows("VIP leads to director") // the key did nothing behind the message
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
