package main

import (
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"lvstui/ui/kit"
)

// maxHelpWidth is where help is broken on a wide terminal, and where there is none.
const maxHelpWidth = 120

// helpWidth is the width of out, as far as help goes.
func helpWidth(out *os.File) int {
	size, err := unix.IoctlGetWinsize(int(out.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 {
		return maxHelpWidth
	}
	return min(int(size.Col), maxHelpWidth)
}

// fitHelp breaks the help of a command and those below it at words. fang, which draws it, leaves that to the terminal, which breaks
// anywhere.
func fitHelp(cmd *cobra.Command, width int) {
	cmd.InitDefaultHelpFlag()
	cmd.Long = fitParagraphs(cmd.Long, width-2)
	room := width - helpColumn(cmd)
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		text := f.Usage
		if shown := f.DefValue; shown != "" && shown != "false" && shown != "0" && shown != "[]" {
			text += strings.Repeat("_", len(" ()")+len(shown)) // fang puts the default behind it
			text = strings.Join(kit.Wrap(text, room), "\n")
			f.Usage = strings.TrimRight(text, "_\n")
			return
		}
		f.Usage = strings.Join(kit.Wrap(text, room), "\n")
	})
	for _, c := range cmd.Commands() {
		c.Short = strings.Join(kit.Wrap(c.Short, room), "\n")
		fitHelp(c, width)
	}
}

// helpColumn is where fang begins the words about flags and commands.
func helpColumn(cmd *cobra.Command) int {
	column := 10
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		n := len("--" + f.Name)
		if f.Shorthand != "" {
			n += len("-x ")
		}
		column = max(column, n+2)
	})
	for _, c := range cmd.Commands() {
		n := kit.Width(c.Use)
		if c.HasAvailableSubCommands() {
			n += len(" [command]")
		}
		column = max(column, n+len(" [--flags]")+2)
	}
	return 4 + column
}

// fitParagraphs breaks a text whose paragraphs are parted by empty lines.
func fitParagraphs(text string, width int) string {
	paragraphs := strings.Split(text, "\n\n")
	for i, p := range paragraphs {
		paragraphs[i] = strings.Join(kit.Wrap(strings.ReplaceAll(p, "\n", " "), width), "\n")
	}
	return strings.Join(paragraphs, "\n\n")
}
