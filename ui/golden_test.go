package ui

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lvstui/fixes"
	"lvstui/ui/internal/sample"
)

var update = flag.Bool("update", false, "write the golden files")

// goldenCases are the states a screen can be in, and the keys to see them by.
var goldenCases = []struct {
	name string
	host func() *plainHost
	keys [][]string // one picture each
}{
	{"loading", func() *plainHost { return &plainHost{name: "director"} }, [][]string{{"1"}, {"2"}, {"3"}, {"4"}, {"5"}, {"6"}}},
	{"error", func() *plainHost {
		return &plainHost{name: "rs2", err: errors.New("network namespace rs2: no such file; see it with: ip netns list")}
	}, [][]string{{"1"}, {"2"}, {"3"}, {"4"}, {"5"}, {"6"}}},
	{"empty", func() *plainHost { return &plainHost{name: "laptop", facts: sample.Empty()} }, [][]string{{"1"}, {"2"}, {"3"}, {"4"}, {"5"}, {"6"}}},
	{"gap", func() *plainHost { return &plainHost{name: "director", facts: sample.Gap()} },
		[][]string{{"1"}, {"1", "enter"}, {"2"}, {"3"}, {"4"}, {"5"}, {"6"}}},
	{"healthy", func() *plainHost { return &plainHost{name: "director", facts: sample.HealthyDirector()} },
		[][]string{{"1"}, {"2"}, {"2", "enter"}, {"3"}, {"4"}, {"5"}, {"6"}}},
	{"broken-director", func() *plainHost { return &plainHost{name: "director", facts: sample.BrokenDirector()} },
		[][]string{{"1"}, {"1", "down"}, {"1", "down", "enter"}, {"1", "f"}, {"2"}, {"2", "G", "enter"}, {"2", "G", "enter", "enter"}, {"2", "/", "=st"}, {"esc", "s", "s"}, {"b"}, {"b"}, {"b"}, {"3"}, {"3", "enter"}, {"4"}, {"h"}, {"?"}}},
	{"broken-rs1", func() *plainHost { return &plainHost{name: "rs1", facts: sample.BrokenRealServer()} },
		[][]string{{"1"}, {"1", "e"}, {"1", "f"}, {"1", "f", "d"}, {"1", "f", "PASS", "a"}, {"5"}, {"6"}, {"z"}, {"2"}, {"2", "enter"}, {"3"}, {"4"}}},
	{"waiting", func() *plainHost {
		return &plainHost{name: "rs1", facts: sample.CuredRealServer(), changes: []fixes.Change{{ID: "1", Host: "rs1", Title: "keep this host silent about the VIP",
			AppliedAt: sample.At, State: fixes.Waiting, Deadline: sample.At.Add(42 * minute / 60), Commands: []string{"sysctl -w net.ipv4.conf.all.arp_ignore=1"},
			UndoCommands: []string{"sysctl -w net.ipv4.conf.all.arp_ignore=0"}, Files: []string{"/etc/sysctl.d/60-lvstui.conf"}}}}
	}, [][]string{{"1"}, {"c"}, {"6"}, {"6", "enter"}, {"6", "z"}}},
	{"bare-director", func() *plainHost { return &plainHost{name: "lb1", facts: sample.BareDirector()} },
		[][]string{{"5"}, {"enter"}, {"enter"}, {"=172.16.0.8/24", "enter"}, {"=80", "enter"}, {"enter"}, {"space", "down", "space", "enter"}, {"enter"}}},
	{"bare-real-server", func() *plainHost { return &plainHost{name: "web1", facts: sample.BareRealServer()} },
		[][]string{{"5", "enter", "down", "enter"}, {"f"}, {"PASS", "a"}}},
	{"half-broken", func() *plainHost { return &plainHost{name: "director", facts: sample.HalfBroken()} },
		[][]string{{"2", "down", "down", "down", "m"}, {"G", "m"}, {"m", "pgdown"}}},
	{"broken-router", func() *plainHost { return &plainHost{name: "router", facts: sample.BrokenRouter()} },
		[][]string{{"1"}, {"1", "f"}, {"2", "enter"}, {"3"}, {"4"}}},
}

func TestGolden(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {120, 40}} {
		for _, c := range goldenCases {
			name := fmt.Sprintf("%s-%dx%d", c.name, size[0], size[1])
			t.Run(name, func(t *testing.T) {
				host := c.host()
				d := newDriver(t, size[0], size[1], Options{Hosts: hostsOf(host), Explain: func(id string, _ int) string {
					return "WHAT BREAKS\nAn explanation of " + id + "."
				}})
				if c.name != "loading" {
					d.start()
				}
				var got strings.Builder
				for _, keys := range c.keys {
					d.m.overlays, d.later = nil, nil
					for _, k := range keys {
						if k == "PASS" {
							d.pass()
							continue
						}
						d.press(k)
					}
					fmt.Fprintf(&got, "-- %s --\n%s\n", strings.Join(keys, " "), d.screen())
				}
				checkGolden(t, filepath.Join("testdata", "golden", name+".txt"), got.String())
			})
		}
	}
}

func TestGoldenPlain(t *testing.T) {
	for name, f := range map[string]Facts{"broken-director": sample.BrokenDirector(), "gap": sample.Gap(), "empty": sample.Empty()} {
		got := Plain(f)
		if strings.ContainsFunc(got, func(r rune) bool { return r > 0x7e }) {
			t.Errorf("%s: a sign that is no letter: %q", name, got)
		}
		checkGolden(t, filepath.Join("testdata", "golden", "plain-"+name+".txt"), got)
	}
}

func checkGolden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s is not what is drawn (go test ./ui -update writes it anew; look at the difference first):\n%s", file, diff)
	}
}
