package rules

import (
	"strings"
	"testing"
)

// What the active test showed is not named as open any more.
func TestTriedRealServersAreNoSuspects(t *testing.T) {
	for file, want := range map[string]string{"director": "lack the VIP", "director-tried": "All 2 real servers took a connection to the VIP"} {
		c, err := loadCase("testdata/router-urpf-or-source-guard/" + file + ".txtar")
		if err != nil {
			t.Fatal(err)
		}
		f := c.diagnose().Findings[0]
		if f.ID != "router-urpf-or-source-guard" || !strings.Contains(f.Why, want) {
			t.Errorf("%s: %s: %q lacks %q", file, f.ID, f.Why, want)
		}
		if tried := file == "director-tried"; tried == strings.Contains(f.Fix.Words, "--probe dsr") {
			t.Errorf("%s: what is left to try: %q", file, f.Fix.Words)
		}
	}
}
