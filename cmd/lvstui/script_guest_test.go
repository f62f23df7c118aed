//go:build guest

package main

import "testing"

// TestScriptsOnTheKernel are scripts that need root and a real ip_vs.
func TestScriptsOnTheKernel(t *testing.T) { runScripts(t, "testdata/kernel") }
