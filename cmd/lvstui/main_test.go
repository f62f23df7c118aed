package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"lvstui/lab/grade"
	"lvstui/lab/guest"
)

// beLvstui makes the test binary the program itself, so that tests run what is shipped without building it twice.
const beLvstui = "LVSTUI_TEST_BE_LVSTUI"

func TestMain(m *testing.M) {
	if grade.IsAgent() {
		grade.Agent()
		return
	}
	if guest.IsInit() {
		guest.Init()
		return
	}
	if os.Getenv(beLvstui) == "1" {
		os.Exit(run(os.Args[1:]))
	}
	testscript.Main(m, map[string]func(){"lvstui": func() { os.Exit(run(os.Args[1:])) }})
}

// TestScripts runs the program as a person would on a command line; each script is one file in testdata/script.
func TestScripts(t *testing.T) { runScripts(t, "testdata/script") }

func runScripts(t *testing.T, dir string) {
	testscript.Run(t, testscript.Params{Dir: dir, RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			return nil
		}})
}
