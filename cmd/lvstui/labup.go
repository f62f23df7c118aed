package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"lvstui/lab"
	"lvstui/lab/guest"
)

// The lab that stays up is a process of its own (`lab serve`) that holds the guest, or the namespaces, and listens on a socket for
// `lab exec` and `lab down`.

func newLabUp() *cobra.Command {
	opt := &labOptions{}
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Build the lab and leave it running in the background",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := opt.check(); err != nil {
				return err
			}
			return labUp(cmd.Context(), *opt)
		},
	}
	opt.bind(cmd)
	return cmd
}

func newLabDown() *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "End the lab that runs in the background", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			code, err := askLab(cmd.Context(), labRequest{Do: "down"})
			if errors.Is(err, errNoLab) {
				note("no lab is up")
				return nil
			}
			if err == nil && code != 0 {
				err = exitStatus(code)
			}
			return err
		},
	}
}

func newLabExec() *cobra.Command {
	return &cobra.Command{
		Use:     "exec HOST -- COMMAND [ARG…]",
		Short:   "Run a command on a host of the lab that is up",
		Example: "  lvstui lab exec director -- ipvsadm -Ln\n  lvstui lab exec rs1 -- lvstui check --flows 5s",
		Args:    minArgs(2, "a host (client, router, director, rs1, rs2) and a command"),
		RunE: func(cmd *cobra.Command, args []string) error {
			code, err := askLab(cmd.Context(), labRequest{Do: "exec", Host: args[0], Args: args[1:], TTY: isTerminal(os.Stdin) && isTerminal(os.Stdout),
				Env: guest.TerminalEnv()})
			if err == nil && code != 0 {
				return exitStatus(code)
			}
			return err
		},
	}
}

func newLabServe() *cobra.Command {
	opt := &labOptions{}
	cmd := &cobra.Command{Use: "serve", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := opt.check(); err != nil {
				return err
			}
			return labServe(cmd.Context(), *opt)
		}}
	opt.bind(cmd)
	return cmd
}

// newLabHold is what serve runs inside the guest: the lab itself.
func newLabHold() *cobra.Command {
	opt := &labOptions{inside: true}
	cmd := &cobra.Command{Use: "hold", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := opt.check(); err != nil {
				return err
			}
			l, err := lab.Up(cmd.Context(), opt.spec())
			if err != nil {
				return err
			}
			defer l.Down()
			fmt.Println(labReady)
			select {
			case <-cmd.Context().Done():
			case <-l.Done():
			}
			return nil
		}}
	opt.bind(cmd)
	return cmd
}

const labReady = "the lab is up"

// labUp starts serve, detached, and waits until it listens.
func labUp(ctx context.Context, opt labOptions) error {
	if _, err := askLab(ctx, labRequest{Do: "ping"}); err == nil {
		return withHint(errors.New("a lab is already up"), "lvstui lab down")
	}
	dir, err := labDir()
	if err != nil {
		return err
	}
	logName := filepath.Join(dir, "lab.log")
	log, err := os.Create(logName)
	if err != nil {
		return fmt.Errorf("the lab's log: %w", err)
	}
	defer log.Close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args := append([]string{"lab", "serve"}, opt.flags()...)
	if opt.native {
		args = append(args, "--native")
	}
	if opt.guest {
		args = append(args, "--guest")
	}
	serve := exec.Command(self, args...)
	serve.Stdout, serve.Stderr = log, log
	serve.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := serve.Start(); err != nil {
		return fmt.Errorf("starting the lab: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- serve.Wait() }()
	note("building the lab, topology %s …", opt.topology)
	for {
		select {
		case <-ended:
			said, _ := os.ReadFile(logName)
			return fmt.Errorf("the lab did not come up:\n%s", strings.TrimSpace(string(said)))
		case <-ctx.Done():
			_ = serve.Process.Signal(syscall.SIGTERM)
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
		if _, err := askLab(ctx, labRequest{Do: "ping"}); err == nil {
			note("up. Try: lvstui lab exec director -- lvstui check --flows 5s")
			return nil
		}
	}
}

// labServe holds the lab and answers requests until told to end.
func labServe(ctx context.Context, opt labOptions) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var run labRunner
	if opt.here() {
		l, err := lab.Up(ctx, opt.spec())
		if err != nil {
			return err
		}
		defer l.Down()
		run = runNative
	} else {
		vm, err := bootLab(ctx, os.Stderr)
		if err != nil {
			return err
		}
		defer vm.Close()
		if err := holdInGuest(ctx, vm, opt); err != nil {
			return err
		}
		run = func(ctx context.Context, r labRequest, in, out, errOut *os.File) (int, error) {
			c := guest.Cmd{Args: r.Args, NetNS: r.Host, Env: r.Env}
			if r.TTY {
				return vm.Attach(ctx, c, in, out)
			}
			c.Stdin, c.Stdout, c.Stderr = in, out, errOut
			return vm.Run(ctx, c)
		}
	}
	return answerRequests(ctx, stop, run)
}

// holdInGuest starts the lab in the guest and waits until it is up.
func holdInGuest(ctx context.Context, vm *guest.VM, opt labOptions) error {
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		code, err := vm.Run(ctx, guest.Cmd{Args: append([]string{"lvstui", "lab", "hold"}, opt.flags()...), Stdout: in, Stderr: os.Stderr})
		in.Close()
		ended <- fmt.Errorf("the lab in the guest ended: exit status %d: %w", code, err)
	}()
	ready := make(chan struct{})
	go func() {
		said := ""
		buf := make([]byte, 256)
		for {
			n, err := out.Read(buf)
			if said += string(buf[:n]); strings.Contains(said, labReady) {
				close(ready)
				_, _ = io.Copy(io.Discard, out)
				return
			}
			if err != nil {
				return
			}
		}
	}()
	select {
	case <-ready:
		return nil
	case err := <-ended:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// runNative runs a command in a namespace of this machine.
func runNative(ctx context.Context, r labRequest, in, out, errOut *os.File) (int, error) {
	state, err := lab.ReadState()
	if err != nil {
		return -1, err
	}
	for _, h := range state.Hosts {
		if h.Name != r.Host {
			continue
		}
		cmd := exec.CommandContext(ctx, r.Args[0], r.Args[1:]...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = in, out, errOut, append(os.Environ(), r.Env...)
		if err := h.Host().Start(cmd); err != nil {
			return -1, err
		}
		err := cmd.Wait()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return exit.ExitCode(), nil
		}
		return 0, err
	}
	return -1, fmt.Errorf("the lab has no host %q: client, router, director, rs1 or rs2", r.Host)
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
