package ui

import (
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"lvstui/ui/internal/sample"
)

// evil has a bit of everything a foreign string could do to a terminal, and wide and combining letters besides.
const evil = "\x1b[2J\x1b]52;c;QUFB\x07\x9b31m\u009b1m\r\n\t\x00\x7f\u202e\u2066\u200b\u2028漢字é\u0301\u0301\U0001f469\u200d\U0001f4bb\xff"

// poison appends evil to every string of v that is free text.
func poison(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		if v.Type() == reflect.TypeFor[string]() && v.CanSet() {
			v.SetString(v.String() + evil)
		}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() && v.Kind() == reflect.Pointer {
			poison(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				poison(v.Field(i))
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			poison(v.Index(i))
		}
	}
}

func hostileHosts() []*plainHost {
	hosts := append(brokenCluster(), &plainHost{name: "gap", facts: sample.Gap()}, &plainHost{name: "healthy", facts: sample.HealthyDirector()})
	for _, h := range hosts {
		poison(reflect.ValueOf(&h.facts).Elem())
		h.name += evil
		for i := range h.facts.Report.Findings { // so that the fix is still one of this host
			if fix := h.facts.Report.Findings[i].Fix; fix != nil {
				fix.Plan.Host = h.facts.Host
			}
		}
	}
	return hosts
}

// everyPicture shows what can be shown of every host.
func everyPicture(d *driver, hosts int, look func(where string)) {
	for host := range hosts {
		for _, keys := range [][]string{{"1"}, {"down"}, {"enter"}, {"1", "f"}, {"d"}, {"1", "e"}, {"2"}, {"enter"}, {"down"}, {"enter"}, {"esc"}, {"pgdown"}, {"2", "m", "down", "m"}, {"pgdown"},
			{"2", "s"}, {"b"}, {"b"}, {"enter"}, {"esc", "b", "b", "b"}, {"b"}, {"2", "/", "=client:"}, {"esc"}, {"2", "/", "=x"}, {"enter"},
			{"3"}, {"enter"}, {"4"}, {"5"}, {"enter"}, {"esc"}, {"6"}, {"?"}, {"h"}, {"1", "p"}, {"p"}} {
			d.press(keys...)
			look(d.m.hosts[d.m.cur].host.Name() + " " + strings.Join(keys, " "))
		}
		d.press("esc", "esc", "1")
		if host < hosts-1 {
			d.press("]")
		}
	}
}

var sgr = regexp.MustCompile(`\x1b\[[0-9;]*m`)

func TestNothingForeignReachesTheTerminal(t *testing.T) {
	hosts := hostileHosts()
	explain := func(id string, _ int) string { return evil + "\n" + id + evil }
	d := newDriver(t, 100, 30, Options{Hosts: hostsOf(hosts...), Explain: explain}).start()
	everyPicture(d, len(hosts), func(where string) {
		v := d.m.View()
		for _, text := range []string{sgr.ReplaceAllString(v.Content, ""), v.WindowTitle, d.clip} {
			for _, r := range text {
				if r < 0x20 && r != '\n' || r >= 0x7f && r < 0xa0 || strings.ContainsRune("\u202e\u2066\u200b\u200d\u2028\u0301�", r) {
					t.Fatalf("%s: %U reaches the terminal in %q", where, r, text)
				}
			}
		}
	})
	if !strings.Contains(d.m.content(), "漢字") {
		t.Error("letters of other alphabets must stay")
	}
	for _, h := range hosts {
		for _, r := range Plain(h.facts) {
			if r < 0x20 && r != '\n' || r >= 0x7f && r < 0xa0 || r == '\u202e' {
				t.Fatalf("Plain: %U", r)
			}
		}
	}
}

// No line is ever wider than the terminal, and the picture is never higher.
func TestPictureFitsTheTerminal(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {95, 25}, {96, 31}, {115, 24}, {116, 40}, {137, 43}, {200, 60}} {
		for name, hosts := range map[string][]*plainHost{"plain": brokenCluster(), "hostile": hostileHosts()[:3]} {
			d := newDriver(t, size[0], size[1], Options{Hosts: hostsOf(hosts...)}).start()
			everyPicture(d, len(hosts), func(where string) {
				lines := strings.Split(d.m.content(), "\n")
				if len(lines) != size[1] {
					t.Errorf("%s %v %s: %d lines", name, size, where, len(lines))
				}
				for _, l := range lines {
					if w := ansi.StringWidth(l); w > size[0] {
						t.Errorf("%s %v %s: %d cells in %q", name, size, where, w, l)
					}
				}
			})
		}
	}
}

// Resizing an open program to any size draws something that fits, and nothing panics.
func TestEverySizeOnce(t *testing.T) {
	d, _ := cluster(t)
	for w := 1; w <= 200; w++ {
		for _, h := range []int{1, 5, 23, 24, 25, 60} {
			d.m.width, d.m.height, d.m.tab = w, h, w%len(d.m.tabs)
			for _, l := range strings.Split(d.m.content(), "\n") {
				if ansi.StringWidth(l) > w {
					t.Fatalf("%d×%d: %q", w, h, l)
				}
			}
		}
	}
}

// Colour is one of the sixteen, and there is none where it is not wanted. With ASCII no other character is drawn.
func TestColour(t *testing.T) {
	attribute := regexp.MustCompile(`^(|0|1|2|7|22|27)$`)
	colour := regexp.MustCompile(`^(3[0-7]|9[0-7]|39)$`)
	for name, o := range map[string]Options{"colour": {}, "light": {Light: true}, "none": {NoColor: true}, "ascii": {ASCII: true, NoColor: true}} {
		o.Hosts = hostsOf(brokenCluster()...)
		d := newDriver(t, 120, 40, o).start()
		coloured := false
		everyPicture(d, 3, func(where string) {
			for _, code := range sgr.FindAllString(d.m.content(), -1) {
				for _, n := range strings.Split(code[2:len(code)-1], ";") {
					switch {
					case attribute.MatchString(n):
					case colour.MatchString(n) && !o.NoColor:
						coloured = true
					default:
						t.Fatalf("%s %s: %q", name, where, code)
					}
				}
			}
			if o.ASCII && strings.ContainsFunc(ansi.Strip(d.m.content()), func(r rune) bool { return r > 0x7e }) {
				t.Fatalf("%s: not ASCII:\n%s", where, d.screen())
			}
		})
		if coloured == o.NoColor {
			t.Errorf("%s: coloured is %v", name, coloured)
		}
	}
}
