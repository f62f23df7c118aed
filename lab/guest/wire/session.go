package wire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Streams of a session. Stdin flows to the side that accepted it, the others to the one that opened it.
const (
	Stdin = iota
	Stdout
	Stderr
	streams
)

// Session is one command: three streams, wishes about it, and its end.
type Session struct {
	conn *Conn
	id   uint32

	mu      sync.Mutex
	changed *sync.Cond
	in      [streams]inbound
	credit  [streams]int // bytes that may still be sent
	ended   bool
	result  json.RawMessage
	err     error

	done    chan struct{}
	control chan json.RawMessage
}

// inbound is what has come in on a stream and was not yet read.
type inbound struct {
	buf   []byte
	owed  int // read, but the other side has not been told
	eof   bool
	given int // bytes the other side may still send
}

func newSession(c *Conn, id uint32) *Session {
	s := &Session{conn: c, id: id, done: make(chan struct{}), control: make(chan json.RawMessage, 16)}
	s.changed = sync.NewCond(&s.mu)
	for i := range streams {
		s.credit[i] = window
		s.in[i].given = window
	}
	return s
}

// Done is closed when the session is over. Data that came before can still be read.
func (s *Session) Done() <-chan struct{} { return s.done }

// Result is the payload of Exit, or why there is none.
func (s *Session) Result() (json.RawMessage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.result, s.err
}

// Controls are the wishes of the other side, in order. When sixteen wait, the oldest is dropped: the
// last window size is the one that counts.
func (s *Session) Controls() <-chan json.RawMessage { return s.control }

// SendControl sends a wish.
func (s *Session) SendControl(wish any) error {
	payload, err := json.Marshal(wish)
	if err != nil {
		return err
	}
	return s.conn.send(frame{Control, s.id, payload})
}

// SendExit ends the session.
func (s *Session) SendExit(result any) error {
	payload, err := json.Marshal(result)
	if err != nil {
		return err
	}
	s.conn.forget(s)
	err = s.conn.send(frame{Exit, s.id, payload})
	s.end(payload, nil)
	return err
}

// Writer is the sending end of a stream. Write blocks while the other side does not read, and fails
// once the session is over.
func (s *Session) Writer(stream int) io.WriteCloser { return &writer{s, byte(stream)} }

// Reader is the receiving end of a stream.
func (s *Session) Reader(stream int) io.Reader { return &reader{s, stream} }

type writer struct {
	s      *Session
	stream byte
}

func (w *writer) Write(p []byte) (int, error) {
	sent := 0
	for sent < len(p) {
		n, err := w.s.claim(w.stream, min(len(p)-sent, maxPayload))
		if err != nil {
			return sent, err
		}
		payload := append([]byte{w.stream}, p[sent:sent+n]...)
		if err := w.s.conn.send(frame{Data, w.s.id, payload}); err != nil {
			return sent, err
		}
		sent += n
	}
	return sent, nil
}

func (w *writer) Close() error {
	return w.s.conn.send(frame{EOF, w.s.id, []byte{w.stream}})
}

// claim waits until something may be sent and takes up to want bytes of it.
func (s *Session) claim(stream byte, want int) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.credit[stream] == 0 && !s.ended {
		s.changed.Wait()
	}
	if s.ended {
		if s.err != nil {
			return 0, s.err
		}
		return 0, io.ErrClosedPipe
	}
	n := min(want, s.credit[stream])
	s.credit[stream] -= n
	return n, nil
}

type reader struct {
	s      *Session
	stream int
}

func (r *reader) Read(p []byte) (int, error) {
	s := r.s
	s.mu.Lock()
	in := &s.in[r.stream]
	for len(in.buf) == 0 && !in.eof && !s.ended {
		s.changed.Wait()
	}
	if len(in.buf) == 0 {
		defer s.mu.Unlock()
		if !in.eof && s.err != nil {
			return 0, s.err
		}
		return 0, io.EOF
	}
	n := copy(p, in.buf)
	in.buf = in.buf[n:]
	in.owed += n
	grant := 0
	if in.owed >= window/4 && !in.eof && !s.ended {
		grant, in.owed = in.owed, 0
		in.given += grant
	}
	s.mu.Unlock()
	if grant > 0 {
		payload := binary.BigEndian.AppendUint32([]byte{byte(r.stream)}, uint32(grant))
		// A connection that broke shows at the next Read.
		_ = s.conn.send(frame{Credit, s.id, payload})
	}
	return n, nil
}

// take is called by the connection with each frame of the session, in order.
func (s *Session) take(f frame) error {
	if f.kind == Exit {
		s.conn.forget(s)
		s.end(f.payload, nil)
		return nil
	}
	if f.kind == Control {
		s.wish(f.payload)
		return nil
	}
	if len(f.payload) == 0 || f.payload[0] >= streams {
		return fmt.Errorf("wire: session %d has no such stream", s.id)
	}
	stream, rest := f.payload[0], f.payload[1:]
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.changed.Broadcast()
	in := &s.in[stream]
	switch f.kind {
	case Data:
		if len(rest) > in.given || in.eof {
			return fmt.Errorf("wire: session %d sent more than its window on stream %d", s.id, stream)
		}
		in.given -= len(rest)
		in.buf = append(in.buf, rest...)
	case EOF:
		in.eof = true
	case Credit:
		if len(rest) != 4 {
			return errors.New("wire: a credit without its number")
		}
		more := binary.BigEndian.Uint32(rest)
		if more > window || s.credit[stream]+int(more) > window {
			return fmt.Errorf("wire: session %d was given more than a window", s.id)
		}
		s.credit[stream] += int(more)
	}
	return nil
}

func (s *Session) wish(payload json.RawMessage) {
	for {
		select {
		case s.control <- payload:
			return
		default:
		}
		select {
		case <-s.control:
		default:
		}
	}
}

func (s *Session) end(result json.RawMessage, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.ended, s.result, s.err = true, result, err
	close(s.done)
	s.changed.Broadcast()
}
