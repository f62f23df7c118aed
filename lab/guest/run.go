package guest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"lvstui/lab/guest/wire"
)

// Run runs a command in the guest and returns its exit status: 128 plus the signal's number when one
// killed it. The error is nil whenever the command ran to its end, whatever its status. When ctx ends
// first, the command's process group is killed. Several may run at a time.
func (vm *VM) Run(ctx context.Context, c Cmd) (exit int, err error) {
	if len(c.Args) == 0 {
		return -1, errors.New("no command for the guest")
	}
	s, err := vm.open(request{Do: doRun, Args: c.Args, Env: c.Env, Dir: c.Dir, UID: c.UID, NetNS: c.NetNS,
		TTY: c.TTY, Stdin: c.Stdin != nil})
	if err != nil {
		return -1, err
	}
	if c.Stdin != nil {
		// This one outlives the command when the reader blocks, as a terminal does: nothing can
		// interrupt its Read. Writing fails as soon as the session is over.
		go func() {
			w := s.Writer(wire.Stdin)
			_, _ = io.Copy(w, c.Stdin) // the command need not read all
			w.Close()
		}()
	}
	var copies sync.WaitGroup
	copyErrs := make([]error, 2)
	for i, w := range []io.Writer{c.Stdout, c.Stderr} {
		if w == nil {
			w = io.Discard
		}
		copies.Go(func() { copyErrs[i] = copyOut(w, s.Reader(wire.Stdout+i)) })
	}
	vm.steer(ctx, s, c)
	copies.Wait()
	r, err := vm.result(s)
	switch {
	case err != nil:
		return -1, err
	case ctx.Err() != nil:
		return -1, fmt.Errorf("%s in the guest: %w", c.Args[0], ctx.Err())
	case r.Error != "":
		return -1, fmt.Errorf("%s in the guest: %s", c.Args[0], printable(r.Error))
	}
	return r.Exit, errors.Join(copyErrs...)
}

// copyOut copies until the stream ends. When our writer fails it reads on, so that the command is not
// held up for ever.
func copyOut(w io.Writer, r io.Reader) error {
	_, err := io.Copy(w, r)
	if err != nil {
		_, _ = io.Copy(io.Discard, r)
	}
	return err
}

// steer passes window sizes, signals and the end of ctx on to the command until it is over.
func (vm *VM) steer(ctx context.Context, s *wire.Session, c Cmd) {
	stop := ctx.Done()
	var giveUp <-chan time.Time
	for {
		var w wish
		select {
		case <-s.Done():
			return
		case size := <-c.Resize:
			w.Resize = &size
		case w.Signal = <-c.Signals:
		case <-stop:
			stop = nil
			w.Signal = 9
			giveUp = time.After(5 * time.Second)
		case <-giveUp:
			vm.conn.Close() // a guest that cannot kill a process is lost
			return
		}
		if err := s.SendControl(w); err != nil {
			return
		}
	}
}

// Put writes a file in the guest, with the folders above it, replacing what was there.
func (vm *VM) Put(path string, mode os.FileMode, content io.Reader) error {
	s, err := vm.open(request{Do: doPut, Path: path, Mode: uint32(mode.Perm())})
	if err != nil {
		return err
	}
	w := s.Writer(wire.Stdin)
	if _, err := io.Copy(w, content); err != nil {
		_ = s.SendControl(wish{Signal: 9})
		return fmt.Errorf("copying %s into the guest: %w", path, err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("copying %s into the guest: %w", path, err)
	}
	<-s.Done()
	r, err := vm.result(s)
	if err == nil && r.Error != "" {
		err = errors.New(printable(r.Error))
	}
	if err != nil {
		return fmt.Errorf("copying %s into the guest: %w", path, err)
	}
	return nil
}

// Get reads a file of the guest: a reader of its content, which ends with an error when the file could
// not be read to its end. The reader must be read to its end.
func (vm *VM) Get(path string) io.Reader {
	s, err := vm.open(request{Do: doGet, Path: path})
	return &got{vm: vm, s: s, path: path, err: err}
}

type got struct {
	vm   *VM
	s    *wire.Session
	path string
	err  error
}

func (g *got) Read(p []byte) (int, error) {
	if g.err != nil {
		return 0, g.err
	}
	n, err := g.s.Reader(wire.Stdout).Read(p)
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	<-g.s.Done()
	r, rerr := g.vm.result(g.s)
	g.err = io.EOF
	if rerr == nil && r.Error != "" {
		rerr = errors.New(printable(r.Error))
	}
	if rerr != nil {
		g.err = fmt.Errorf("copying %s from the guest: %w", g.path, rerr)
	}
	return n, g.err
}

func (vm *VM) open(r request) (*wire.Session, error) {
	s, err := vm.conn.Open(r)
	if err != nil {
		return nil, vm.gone(err)
	}
	return s, nil
}

// result is how a finished session ended, with the guest's end explained if that is why.
func (vm *VM) result(s *wire.Session) (result, error) {
	payload, err := s.Result()
	if err != nil {
		return result{}, vm.gone(err)
	}
	var r result
	if err := json.Unmarshal(payload, &r); err != nil {
		return result{}, fmt.Errorf("the guest's answer: %w", err)
	}
	return r, nil
}

// gone turns the end of the connection into what happened to the guest.
func (vm *VM) gone(err error) error {
	select {
	case <-vm.closing:
		return errors.New("the guest was closed")
	default:
	}
	vm.settle()
	return vm.explain("the guest ended", err)
}
