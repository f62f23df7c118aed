package screens

import (
	"net/netip"
	"strings"
	"testing"

	"lvstui/capture"
	"lvstui/lvs"
)

func TestFlowFilter(t *testing.T) {
	f := capture.Flow{Client: netip.MustParseAddrPort("10.1.2.3:49672"), Virtual: netip.MustParseAddrPort("172.16.0.8:80"),
		Outcome: capture.Stalled, Reached: lvs.SynForwarded, StalledAt: lvs.AckAtDirector}
	six := capture.Flow{Client: netip.MustParseAddrPort("[2001:db8::7]:1000"), Virtual: netip.MustParseAddrPort("[2001:db8::8]:443"), Outcome: capture.Closed}
	for text, want := range map[string][2]bool{
		"":                              {true, true},
		"state:stalled":                 {true, false},
		"state:st":                      {true, false},
		"!state:stalled":                {false, true},
		"client:10.0.0.0/8":             {true, false},
		"client:10.1.2.3":               {true, false},
		"client:10.1.2.4":               {false, false},
		"stage:syn-forwarded":           {true, false},
		"stage:ack-at-director":         {true, false},
		"rs:192.168.10.1":               {false, false},
		"rs:192.168.10.11":              {true, true},
		"rs:192.168.10.":                {true, true},
		"rs:192.168.0.0/16":             {true, true},
		"reached:syn-forwarded":         {true, false},
		"reached:ack-at-director":       {false, false},
		"client:2001:db8::/32":          {false, true},
		"vip:2001:db8::8":               {false, true},
		"rs:192.168.10.12":              {false, false},
		"vip:172.16.0.8 state:stalled":  {true, false},
		"vip:172.16.0.8 state:closed":   {false, false},
		"port:443":                      {false, true},
		"2001:db8::7":                   {false, true},
		"10.1.2.3:49672":                {true, false},
		"49672":                         {true, false},
		"   state:stalled   port:80   ": {true, false},
	} {
		q, err := parseFilter(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got := [2]bool{q.matches(&f, "192.168.10.11"), q.matches(&six, "192.168.10.11")}; got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestFlowFilterSaysWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"state:broken":    "want one of stalled",
		"state:":          "want one of stalled",
		"stage:forwarded": "for example stage:syn-forwarded",
		"client:10.0.0":   "for example client:10.0.0.0/8",
		"colour:red":      "want one of state, stage, reached, client",
	} {
		if _, err := parseFilter(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestFilterIsCompleted(t *testing.T) {
	values := func(key string) []string {
		return map[string][]string{"state": outcomeWords(), "rs": {"192.168.10.11", "192.168.10.12"}, "stage": {"syn-sent", "syn-ack-sent"}}[key]
	}
	for text, want := range map[string][2]string{
		"":                     {"", "state: stage: reached: client: vip: rs: port:"},
		"st":                   {"sta", "state: stage:"},
		"re":                   {"reached:", "reached:"},
		"!cl":                  {"!client:", "client:"},
		"state:":               {"state:", "state:stalled state:refused state:reset state:pending state:established state:closed"},
		"state:re":             {"state:re", "state:refused state:reset"},
		"state:stalled rs:":    {"state:stalled rs:192.168.10.1", "rs:192.168.10.11 rs:192.168.10.12"},
		"stage:syn-a":          {"stage:syn-ack-sent ", "stage:syn-ack-sent"},
		"!rs:192.168.10.12":    {"!rs:192.168.10.12 ", "rs:192.168.10.12"},
		"colour:r":             {"colour:r", ""},
		"client:":              {"client:", ""},
		"state:stalled 10.0.0": {"state:stalled 10.0.0", ""},
	} {
		got, could := completeFilter(text, values)
		if got != want[0] || strings.Join(could, " ") != want[1] {
			t.Errorf("%q becomes %q of %v, want %q of %s", text, got, could, want[0], want[1])
		}
	}
}

// Whatever a rung says and wherever it runs, it is drawn within the lanes.
func TestRungsStayWithinTheLanes(t *testing.T) {
	for _, width := range []int{80, 95, 96, 115, 116, 200} {
		d := newDrawing(width)
		for from := range 4 {
			for to := range 4 {
				for n := range 40 {
					if from == to {
						continue
					}
					for _, dashed := range []bool{false, true} {
						lines := d.rung(rung{at: "1234567.123", from: from, to: to, label: strings.Repeat("x", n), note: strings.Repeat("note ", n), dashed: dashed})
						for _, l := range lines {
							if l.Width() > width {
								t.Fatalf("%d cells in %q", l.Width(), l.Plain())
							}
						}
						first := []rune(lines[0].Plain())
						if first[d.lane(from)] != '│' || first[d.lane(to)] != '│' {
							t.Fatalf("the lanes are not at the ends: %q", lines[0].Plain())
						}
					}
				}
			}
		}
	}
}
