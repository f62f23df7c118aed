package guest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// goTest runs the package in testdata/kernel as people do.
func goTest(t *testing.T, env []string, flags ...string) (stdout, stderr string, err error) {
	t.Helper()
	testImage(t)
	cmd := exec.CommandContext(testContext(t), "go", slices.Concat([]string{"test", "-exec", helper}, flags, []string{"./testdata/kernel"})...)
	cmd.Env = slices.Concat(os.Environ(), []string{"CGO_ENABLED=0"}, env)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = 10 * time.Second
	err = cmd.Run()
	return out.String(), errs.String(), err
}

func TestGoTestRunsInTheGuest(t *testing.T) {
	profile := filepath.Join(t.TempDir(), "cover.out")
	stdout, stderr, err := goTest(t, nil, "-v", "-coverprofile="+profile)
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, stdout, stderr)
	}
	for _, want := range []string{"IPVS is family", "in guest 1", "a word on stderr", "--- PASS: TestData", "coverage: 66.7%", "ok  \tlvstui/lab/guest/testdata/kernel"} {
		if !strings.Contains(stdout+stderr, want) {
			t.Errorf("go test does not say %q:\n%s\n%s", want, stdout, stderr)
		}
	}
	data, err := os.ReadFile(profile)
	if err != nil || !bytes.Contains(data, []byte("kernel.go:")) {
		t.Errorf("the profile did not come back: %v\n%s", err, data)
	}
}

func TestGoTestFailsWithTheGuest(t *testing.T) {
	stdout, stderr, err := goTest(t, []string{"LVSTUI_FAIL=1"})
	if err == nil || !strings.Contains(stdout, "--- FAIL: TestFailsWhenAsked") || strings.Contains(stdout, "--- FAIL: TestData") {
		t.Errorf("%v\n%s\n%s", err, stdout, stderr)
	}
}

func TestGoTestTimeLimitHoldsInTheGuest(t *testing.T) {
	stdout, stderr, err := goTest(t, []string{"LVSTUI_HANG=1"}, "-timeout=2s")
	if err == nil || !strings.Contains(stdout+stderr, "panic: test timed out after 2s") {
		t.Errorf("%v\n%s\n%s", err, stdout, stderr)
	}
}

func TestTestExecSaysWhatItLacks(t *testing.T) {
	var stderr bytes.Buffer
	if exit := TestExec(nil, nil, nil, &stderr); exit != 2 || !strings.Contains(stderr.String(), "no test binary") {
		t.Errorf("exit %d: %s", exit, &stderr)
	}
	stderr.Reset()
	t.Setenv("PATH", t.TempDir())
	if exit := TestExec([]string{"/x"}, nil, nil, &stderr); exit != 2 || !strings.Contains(stderr.String(), "apt-get install qemu-system-x86") {
		t.Errorf("without qemu: exit %d: %s", exit, &stderr)
	}
}

func TestTranslateFlags(t *testing.T) {
	args := strings.Fields("-test.v=true -test.testlogfile=/tmp/log -test.coverprofile=/b/c.out -test.outputdir=/here -test.cpuprofile=cpu.out -test.timeout=3m0s -run=x -args -test.coverprofile=mine")
	flags, outputs := translate(args, "/src")
	if got, want := strings.Join(flags, " "), "-test.v=true -test.coverprofile=/tmp/coverprofile.out -test.cpuprofile=/tmp/cpuprofile.out -test.timeout=3m0s -run=x -args -test.coverprofile=mine"; got != want {
		t.Errorf("flags %s\nwant  %s", got, want)
	}
	if got, want := fmt.Sprint(outputs), "[{/tmp/coverprofile.out /b/c.out} {/tmp/cpuprofile.out /here/cpu.out}]"; got != want {
		t.Errorf("outputs %s, want %s", got, want)
	}
	if got := testLimit(args); got != 3*time.Minute {
		t.Errorf("limit %v", got)
	}
}
