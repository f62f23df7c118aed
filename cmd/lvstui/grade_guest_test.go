//go:build guest

package main

import (
	"os"
	"slices"
	"testing"

	"lvstui/lab/grade"
)

// TestGrade runs some of the scenarios of `make grade`, so that the grader itself is known to work: two faults must be found, and
// four healthy clusters be left in peace, by this program.
func TestGrade(t *testing.T) {
	cases, err := grade.Load()
	if err != nil {
		t.Fatal(err)
	}
	wanted := []string{"healthy/single", "healthy/vip-routed-to-lo", "healthy/plain-host", "healthy/redirect-method",
		"faults/rs-rp-filter@shared", "faults/director-input-firewall@routed"}
	for _, c := range cases {
		if !slices.Contains(wanted, c.Name()) {
			continue
		}
		t.Run(c.Name(), func(t *testing.T) {
			m := grade.Measure(c, grade.Options{Program: "/proc/self/exe", Env: []string{beLvstui + "=1"}})
			if v := grade.Judge(c, m); v.Failed != "" || len(v.Missed)+len(v.False) > 0 {
				t.Error(grade.Details([]grade.Verdict{v}))
			}
			wanted = slices.DeleteFunc(wanted, func(name string) bool { return name == c.Name() })
		})
	}
	if len(wanted) > 0 {
		t.Errorf("%s: no scenarios %v", os.Args[0], wanted)
	}
}
