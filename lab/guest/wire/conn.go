package wire

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// ErrClosed is what sessions report after their connection has been closed by this side.
var ErrClosed = errors.New("wire: the connection is closed")

// Conn is one end of a connection.
type Conn struct {
	stream io.ReadWriteCloser

	write sync.Mutex // one frame at a time

	mu       sync.Mutex
	sessions map[uint32]*Session
	next     uint32
	err      error
	done     chan struct{}

	// accept, when set, is called with each session the other side opens. It must not block.
	accept func(*Session, json.RawMessage)
	bye    func()
}

// NewConn makes a connection on stream and begins to read from it. accept is called for each session
// the other side opens, with the payload of its Start; nil refuses them. bye is called when the other
// side says good-bye; it may be nil. Neither may block. The other side's Hello has been read already:
// see Greet.
func NewConn(stream io.ReadWriteCloser, accept func(*Session, json.RawMessage), bye func()) *Conn {
	c := &Conn{stream: stream, sessions: map[uint32]*Session{}, done: make(chan struct{}), accept: accept, bye: bye}
	go c.read()
	return c
}

// SendHello writes the greeting, before NewConn.
func SendHello(w io.Writer, hello any) error {
	payload, err := json.Marshal(hello)
	if err != nil {
		return err
	}
	b, err := encode(frame{kind: Hello, payload: payload})
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// ReadHello reads the other side's greeting into hello, before NewConn.
func ReadHello(r io.Reader, hello any) error {
	f, err := decode(r)
	if err != nil {
		return err
	}
	if f.kind != Hello {
		return fmt.Errorf("wire: a frame of kind %d came instead of a greeting", f.kind)
	}
	return json.Unmarshal(f.payload, hello)
}

// Open starts a session with the given request.
func (c *Conn) Open(request any) (*Session, error) {
	payload, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return nil, c.err
	}
	c.next++
	s := newSession(c, c.next)
	c.sessions[s.id] = s
	c.mu.Unlock()
	if err := c.send(frame{Start, s.id, payload}); err != nil {
		c.forget(s)
		return nil, err
	}
	return s, nil
}

// Bye tells the other side to leave.
func (c *Conn) Bye() error { return c.send(frame{kind: Bye}) }

// Done is closed when the connection is over; Err then says why.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err is the reason of the end: io.EOF when the other side closed.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the connection and every session.
func (c *Conn) Close() error {
	c.fail(ErrClosed)
	return nil
}

func (c *Conn) send(f frame) error {
	b, err := encode(f)
	if err != nil {
		return err
	}
	c.write.Lock()
	defer c.write.Unlock()
	select {
	case <-c.done:
		return c.Err()
	default:
	}
	if _, err := c.stream.Write(b); err != nil {
		c.fail(err)
		return err
	}
	return nil
}

func (c *Conn) fail(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	sessions := c.sessions
	c.sessions = map[uint32]*Session{}
	close(c.done)
	c.mu.Unlock()
	c.stream.Close()
	for _, s := range sessions {
		s.end(nil, err)
	}
}

func (c *Conn) forget(s *Session) {
	c.mu.Lock()
	delete(c.sessions, s.id)
	c.mu.Unlock()
}

// read takes frames off the stream and hands them on. It never blocks on anything but the stream, or
// both ends could wait for each other.
func (c *Conn) read() {
	r := bufio.NewReaderSize(c.stream, 64<<10)
	for {
		f, err := decode(r)
		if err == nil {
			err = c.dispatch(f)
		}
		if err != nil {
			c.fail(err)
			return
		}
	}
}

func (c *Conn) dispatch(f frame) error {
	switch f.kind {
	case Hello:
		return errors.New("wire: a second greeting")
	case Bye:
		if c.bye != nil {
			c.bye()
		}
		return nil
	case Start:
		return c.started(f)
	}
	c.mu.Lock()
	s := c.sessions[f.session]
	c.mu.Unlock()
	if s == nil {
		return nil // it has ended here while the frame was on its way
	}
	return s.take(f)
}

func (c *Conn) started(f frame) error {
	c.mu.Lock()
	switch {
	case c.accept == nil:
		c.mu.Unlock()
		return errors.New("wire: this side takes no sessions")
	case c.sessions[f.session] != nil:
		c.mu.Unlock()
		return fmt.Errorf("wire: session %d is open already", f.session)
	case len(c.sessions) >= maxSessions:
		c.mu.Unlock()
		return fmt.Errorf("wire: more than %d sessions", maxSessions)
	}
	s := newSession(c, f.session)
	c.sessions[f.session] = s
	c.mu.Unlock()
	c.accept(s, json.RawMessage(f.payload))
	return nil
}
