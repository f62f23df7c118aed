package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pair gives both ends of a connection; accept is for the second.
func pair(t *testing.T, accept func(*Session, json.RawMessage), bye func()) (opener, accepter *Conn) {
	t.Helper()
	a, b := net.Pipe()
	opener, accepter = NewConn(a, nil, nil), NewConn(b, accept, bye)
	t.Cleanup(func() { opener.Close(); accepter.Close() })
	return opener, accepter
}

// echo sends stdin back on stdout and its length as the result.
func echo(s *Session, request json.RawMessage) {
	go func() {
		n, _ := io.Copy(s.Writer(Stdout), s.Reader(Stdin))
		s.SendExit(n)
	}()
}

func TestStreamsComeWholeAndInOrder(t *testing.T) {
	opener, _ := pair(t, echo, nil)
	data := make([]byte, 5*window+17)
	for i := range data {
		data[i] = byte(i >> 3)
	}
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			s, err := opener.Open("please")
			if err != nil {
				t.Error(err)
				return
			}
			go func() {
				w := s.Writer(Stdin)
				w.Write(data)
				w.Close()
			}()
			got, err := io.ReadAll(s.Reader(Stdout))
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes of %d came back: %v", len(got), len(data), err)
			}
			<-s.Done()
			if result, err := s.Result(); err != nil || string(result) != "1310737" {
				t.Errorf("result %s, %v", result, err)
			}
		})
	}
	all.Wait()
}

func TestAStreamNobodyReadsStopsAtItsWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := make(chan int)
		opener, _ := pair(t, func(s *Session, _ json.RawMessage) {
			go func() {
				n, _ := s.Writer(Stdout).Write(make([]byte, 3*window))
				sent <- n
			}()
		}, nil)
		s, err := opener.Open(nil)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		s.mu.Lock()
		held := len(s.in[Stdout].buf)
		s.mu.Unlock()
		if held != window {
			t.Errorf("%d bytes are held, the window is %d", held, window)
		}
		if _, err := io.CopyN(io.Discard, s.Reader(Stdout), 3*window); err != nil {
			t.Error(err)
		}
		if n := <-sent; n != 3*window {
			t.Errorf("%d bytes sent", n)
		}
	})
}

func TestTheEndOfTheConnectionEndsTheSessions(t *testing.T) {
	opener, accepter := pair(t, func(*Session, json.RawMessage) {}, nil)
	s, err := opener.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	blocked := make(chan error, 2)
	go func() { _, err := s.Writer(Stdin).Write(make([]byte, 2*window)); blocked <- err }()
	go func() { _, err := s.Reader(Stdout).Read(make([]byte, 1)); blocked <- err }()
	time.Sleep(20 * time.Millisecond)
	accepter.Close()
	for range 2 {
		select {
		case err := <-blocked:
			if err == nil {
				t.Error("no error")
			}
		case <-time.After(5 * time.Second):
			t.Fatal("somebody still waits")
		}
	}
	if _, err := s.Result(); err == nil {
		t.Error("the session has a result")
	}
	if _, err := opener.Open(nil); err == nil {
		t.Error("a session was opened on a connection that is over")
	}
}

func TestControlsAndBye(t *testing.T) {
	controls := make(chan string, 3)
	left := make(chan struct{})
	opener, _ := pair(t, func(s *Session, _ json.RawMessage) {
		go func() {
			for range 3 {
				controls <- string(<-s.Controls())
			}
			s.SendExit(nil)
		}()
	}, func() { close(left) })
	s, err := opener.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		s.SendControl(i)
		if got := <-controls; got != string(rune('0'+i)) {
			t.Errorf("wish %d came as %s", i, got)
		}
	}
	<-s.Done()
	opener.Bye()
	<-left
}

func TestFramesOutOfBoundsEndTheConnection(t *testing.T) {
	raw := func(kind byte, session, length uint32, payload string) string {
		b := binary.BigEndian.AppendUint32([]byte{kind}, session)
		return string(binary.BigEndian.AppendUint32(b, length)) + payload
	}
	ok := raw(byte(Start), 1, 4, "null")
	for name, bytes := range map[string]string{
		"no such kind":          raw(99, 0, 0, ""),
		"kind zero":             raw(0, 0, 0, ""),
		"enormous":              raw(byte(Data), 1, 1<<31, ""),
		"second hello":          raw(byte(Hello), 0, 2, "{}"),
		"session opened twice":  ok + ok,
		"no stream":             ok + raw(byte(Data), 1, 0, ""),
		"stream 200":            ok + raw(byte(Data), 1, 1, "\xc8"),
		"more than the window":  ok + strings.Repeat(raw(byte(Data), 1, maxPayload+1, "\x00"+strings.Repeat("x", maxPayload)), window/maxPayload+1),
		"data after the end":    ok + raw(byte(EOF), 1, 1, "\x00") + raw(byte(Data), 1, 2, "\x00x"),
		"credit out of nothing": ok + raw(byte(Credit), 1, 5, "\x01\x00\x00\x00\x01"),
		"half a credit":         ok + raw(byte(Credit), 1, 2, "\x01\x00"),
		"cut off":               ok[:5],
	} {
		t.Run(name, func(t *testing.T) {
			a, b := net.Pipe()
			c := NewConn(b, func(*Session, json.RawMessage) {}, nil)
			go func() {
				io.WriteString(a, bytes)
				if name == "cut off" {
					a.Close()
				}
			}()
			select {
			case <-c.Done():
				if c.Err() == nil || errors.Is(c.Err(), ErrClosed) {
					t.Errorf("error %v", c.Err())
				}
			case <-time.After(5 * time.Second):
				t.Error("the connection goes on")
			}
			a.Close()
		})
	}
}

func TestUnknownSessionsAreIgnored(t *testing.T) {
	a, b := net.Pipe()
	c := NewConn(b, nil, nil)
	defer c.Close()
	late, _ := encode(frame{Data, 7, []byte{0, 'x'}})
	if _, err := a.Write(append(late, late...)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.Done():
		t.Errorf("data of a session that has ended broke the connection: %v", c.Err())
	case <-time.After(20 * time.Millisecond):
	}
}

func TestHello(t *testing.T) {
	var b bytes.Buffer
	if err := SendHello(&b, map[string]int{"version": 3}); err != nil {
		t.Fatal(err)
	}
	var got struct{ Version int }
	if err := ReadHello(&b, &got); err != nil || got.Version != 3 {
		t.Errorf("%+v, %v", got, err)
	}
	if err := ReadHello(strings.NewReader("login: "), &got); err == nil {
		t.Error("a login prompt passed for a greeting")
	}
	if _, err := encode(frame{kind: Start, payload: make([]byte, maxControl+1)}); err == nil {
		t.Error("a request of more than a megabyte was encoded")
	}
}

// FuzzConn feeds a connection with anything: it may end, it may not panic, and what it holds stays
// bounded.
func FuzzConn(f *testing.F) {
	start, _ := encode(frame{Start, 1, []byte("null")})
	data, _ := encode(frame{Data, 1, []byte("\x00hello")})
	credit, _ := encode(frame{Credit, 1, []byte{1, 0, 0, 0, 1}})
	f.Add(append(append(start, data...), credit...))
	f.Add([]byte{byte(Bye), 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, input []byte) {
		var sessions []*Session
		c := NewConn(&script{Reader: bytes.NewReader(input)}, func(s *Session, _ json.RawMessage) { sessions = append(sessions, s) }, nil)
		<-c.Done()
		for _, s := range sessions {
			for i := range s.in {
				if len(s.in[i].buf) > window {
					t.Fatalf("%d bytes are held", len(s.in[i].buf))
				}
			}
		}
	})
}

type script struct{ io.Reader }

func (script) Write(b []byte) (int, error) { return len(b), nil }
func (script) Close() error                { return nil }
