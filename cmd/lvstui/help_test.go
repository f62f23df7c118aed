package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"lvstui/ui/kit"
)

// Help fits a terminal of 80 columns, with the defaults that are put behind the words.
func TestHelpFits(t *testing.T) {
	const width = 80
	root := newRoot()
	fitHelp(root, width)
	var look func(cmd *cobra.Command)
	look = func(cmd *cobra.Command) {
		fits := func(what, text string, indent int) {
			for _, line := range strings.Split(text, "\n") {
				if indent+kit.Width(line) > width {
					t.Errorf("%s, %s: %d columns: %q", cmd.CommandPath(), what, indent+kit.Width(line), line)
				}
			}
		}
		fits("its text", cmd.Long, 2)
		fits("examples", cmd.Example, 4)
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			text := f.Usage
			if d := f.DefValue; d != "" && d != "false" && d != "0" && d != "[]" {
				text += " (" + d + ")"
			}
			fits("--"+f.Name, text, helpColumn(cmd))
		})
		for _, c := range cmd.Commands() {
			fits(c.Name(), c.Short, helpColumn(cmd))
			look(c)
		}
	}
	look(root)
}
