package guest

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// terminalVars are what a program wants to know about the terminal and the language of its user.
var terminalVars = []string{"TERM", "COLORTERM", "NO_COLOR", "LANG", "LC_ALL", "LC_CTYPE", "COLORFGBG", "TERM_PROGRAM", "ACCESSIBLE", "TZ"}

// Attach runs a command of the guest on this terminal: raw, with the terminal's size now and after each
// change, and with its user's TERM, colour and language variables, which c.Env may override. in must be a
// terminal; it is as before when Attach returns.
func (vm *VM) Attach(ctx context.Context, c Cmd, in, out *os.File) (exit int, err error) {
	size, err := terminalSize(out)
	if err != nil {
		return -1, err
	}
	before, err := unix.IoctlGetTermios(int(in.Fd()), unix.TCGETS)
	if err != nil {
		return -1, fmt.Errorf("%s is no terminal: %w", in.Name(), err)
	}
	raw := *before
	raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	raw.Oflag &^= unix.OPOST
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	raw.Cflag = raw.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(int(in.Fd()), unix.TCSETS, &raw); err != nil {
		return -1, fmt.Errorf("the terminal's raw mode: %w", err)
	}
	defer func() { _ = unix.IoctlSetTermios(int(in.Fd()), unix.TCSETS, before) }()

	winch := make(chan os.Signal, 1)
	signal.Notify(winch, unix.SIGWINCH)
	defer signal.Stop(winch)
	sizes := make(chan Winsize)
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case <-winch:
			case <-done:
				return
			}
			if s, err := terminalSize(out); err == nil {
				select {
				case sizes <- s:
				case <-done:
					return
				}
			}
		}
	}()

	c.TTY, c.Resize = &size, sizes
	c.Stdin, c.Stdout = in, out
	c.Env = append(TerminalEnv(), c.Env...)
	return vm.Run(ctx, c)
}

func terminalSize(f *os.File) (Winsize, error) {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return Winsize{}, fmt.Errorf("%s is no terminal: %w", f.Name(), err)
	}
	if size.Row == 0 || size.Col == 0 { // a serial line does not know
		size.Row, size.Col = 24, 80
	}
	return Winsize{Rows: size.Row, Cols: size.Col}, nil
}

func isTerminal(f any) bool {
	file, ok := f.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return err == nil
}

// TerminalEnv is what a program elsewhere wants to know of this user's terminal and language, as "NAME=value".
func TerminalEnv() []string { return pass(terminalVars) }

// pass gives those of the named environment variables that are set here.
func pass(names []string) []string {
	var out []string
	for _, n := range names {
		if v, ok := os.LookupEnv(n); ok {
			out = append(out, n+"="+v)
		}
	}
	return out
}
