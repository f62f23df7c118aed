package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"lvstui/lab/guest/wire"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// idleAfterExit is how long the output of a command that has ended may stay silent before we stop
// waiting for its end: something it left running may hold it open for ever.
const idleAfterExit = 300 * time.Millisecond

// server answers the sessions of the control channel, in the guest.
type server struct {
	reaper *reaper
}

func (s *server) accept(session *wire.Session, payload json.RawMessage) {
	go func() {
		r := s.answer(session, payload)
		_ = session.SendExit(r) // a connection that broke ends the guest anyway
	}()
}

func (s *server) answer(session *wire.Session, payload json.RawMessage) result {
	var req request
	if err := json.Unmarshal(payload, &req); err != nil {
		return result{Exit: -1, Error: err.Error()}
	}
	var r result
	var err error
	switch req.Do {
	case doRun:
		r, err = s.run(session, req)
	case doPut:
		err = putFile(session, req)
	case doGet:
		r.Mode, err = getFile(session, req)
	default:
		err = fmt.Errorf("no such request: %q", req.Do)
	}
	if err != nil {
		r.Exit, r.Error = -1, err.Error()
	}
	return r
}

// putFile writes beside the file and renames, so that nobody sees half of it, and a program that runs
// can be replaced.
func putFile(session *wire.Session, req request) error {
	if err := os.MkdirAll(filepath.Dir(req.Path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(req.Path), ".put-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails after the rename, as it should
	abort := make(chan struct{})
	go func() {
		select {
		case <-session.Controls():
			close(abort)
			f.Close()
		case <-session.Done():
		}
	}()
	_, err = io.Copy(f, session.Reader(wire.Stdin))
	if err == nil {
		err = f.Chmod(os.FileMode(req.Mode))
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	select {
	case <-abort:
		return errors.New("given up by the sender")
	default:
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), req.Path)
}

func getFile(session *wire.Session, req request) (uint32, error) {
	f, err := os.Open(req.Path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(session.Writer(wire.Stdout), f)
	return uint32(info.Mode().Perm()), err
}

// run runs a command with its streams and waits for it and for its output.
func (s *server) run(session *wire.Session, req request) (result, error) {
	std, err := openStreams(req)
	if err != nil {
		return result{}, err
	}
	pid, ended, err := s.launch(req, std)
	std.closeTheirs()
	if err != nil {
		std.closeOurs()
		return result{}, err
	}
	exited := make(chan struct{})
	var output sync.WaitGroup
	for i, f := range []*os.File{std.stdout, std.stderr} {
		if f != nil {
			output.Go(func() { pump(session.Writer(wire.Stdout+i), f, exited) })
		}
	}
	if std.stdin != nil {
		go feed(std, session.Reader(wire.Stdin))
	}
	status := s.follow(session, std, pid, ended)
	close(exited)
	output.Wait()
	std.closeOurs()
	return result{Exit: exitStatus(status)}, nil
}

// follow waits for the end of the process and meanwhile does what the other side wishes.
func (s *server) follow(session *wire.Session, std *streams, pid int, ended <-chan unix.WaitStatus) unix.WaitStatus {
	for {
		select {
		case status := <-ended:
			return status
		case raw := <-session.Controls():
			var w wish
			if json.Unmarshal(raw, &w) != nil {
				continue
			}
			if w.Resize != nil && std.terminal != nil {
				_ = setSize(std.terminal, *w.Resize) // it was right at the start
			}
			if w.Signal > 0 {
				s.reaper.signal(pid, syscall.Signal(w.Signal))
			}
		}
	}
}

func exitStatus(w unix.WaitStatus) int {
	if w.Signaled() {
		return 128 + int(w.Signal())
	}
	return w.ExitStatus()
}

// pump copies output until its end; once the command has exited, until it falls silent. What is held
// up only by a slow reader at the other side is not lost.
func pump(w io.Writer, f *os.File, exited <-chan struct{}) {
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-exited:
			_ = f.SetReadDeadline(time.Now().Add(idleAfterExit)) // wakes a Read that waits
		case <-done:
		}
	}()
	buf := make([]byte, 32<<10)
	for {
		select {
		case <-exited:
			_ = f.SetReadDeadline(time.Now().Add(idleAfterExit))
		default:
		}
		n, err := f.Read(buf)
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				return
			}
		}
		if err != nil { // EIO is how a terminal says that nobody has it open any more
			return
		}
	}
}

// feed copies input to the command and tells it the end.
func feed(std *streams, r io.Reader) {
	_, _ = io.Copy(std.stdin, r) // the command need not read all
	if std.terminal == nil {
		std.stdin.Close()
	}
}

// streams are the ends of a command's input and output: ours and theirs.
type streams struct {
	stdin, stdout, stderr *os.File // ours; stderr is nil for a terminal, where all are the terminal
	terminal              *os.File
	theirs                [3]*os.File
	ours                  []*os.File
}

func openStreams(req request) (*streams, error) {
	if req.TTY != nil {
		return openTerminal(*req.TTY)
	}
	s := &streams{}
	fail := func(err error) (*streams, error) {
		s.closeTheirs()
		s.closeOurs()
		return nil, fmt.Errorf("pipes for the command: %w", err)
	}
	var err error
	if req.Stdin {
		if s.theirs[0], s.stdin, err = os.Pipe(); err != nil {
			return fail(err)
		}
		s.ours = append(s.ours, s.stdin)
	} else if s.theirs[0], err = os.Open(os.DevNull); err != nil {
		return fail(err)
	}
	if s.stdout, s.theirs[1], err = os.Pipe(); err != nil {
		return fail(err)
	}
	s.ours = append(s.ours, s.stdout)
	if s.stderr, s.theirs[2], err = os.Pipe(); err != nil {
		return fail(err)
	}
	s.ours = append(s.ours, s.stderr)
	return s, nil
}

func openTerminal(size Winsize) (*streams, error) {
	master, slave, err := pty.Open()
	if err != nil {
		return nil, fmt.Errorf("a terminal for the command: %w", err)
	}
	if err := setSize(master, size); err != nil {
		master.Close()
		slave.Close()
		return nil, fmt.Errorf("the size of the command's terminal: %w", err)
	}
	return &streams{stdin: master, stdout: master, terminal: master,
		theirs: [3]*os.File{slave, slave, slave}, ours: []*os.File{master}}, nil
}

// setSize leaves the file with the runtime's poller, which Fd would take it from.
func setSize(terminal *os.File, size Winsize) error {
	raw, err := terminal.SyscallConn()
	if err != nil {
		return err
	}
	var ierr error
	err = raw.Control(func(fd uintptr) {
		ierr = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: size.Rows, Col: size.Cols})
	})
	return errors.Join(err, ierr)
}

func (s *streams) closeTheirs() {
	for _, f := range s.theirs {
		if f != nil {
			f.Close() // closing twice is an error and no harm
		}
	}
}

func (s *streams) closeOurs() {
	for _, f := range s.ours {
		f.Close()
	}
}
