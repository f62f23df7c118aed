package rules

import "testing"

// What keepalived keeps is changed in keepalived.conf: a fix of ours would be set back, or fight it.
func TestNoAutomaticFixBehindTheTablesOwner(t *testing.T) {
	tried := 0
	for _, c := range loadCases(t) {
		if c.name != "owned-by-keepalived" {
			continue
		}
		for _, f := range c.diagnose().Findings {
			if f.ID != c.rule {
				continue
			}
			tried++
			if f.Fix == nil || f.Fix.Automatic || f.Fix.Words == "" {
				t.Errorf("%s: %+v", c.rule, f.Fix)
			}
		}
	}
	if tried != 2 {
		t.Errorf("%d findings tried", tried)
	}
}
