package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Request is what another process may ask of the process that runs the lab.
type Request struct {
	Do    string `json:"do"`              // "status", "inject", "heal", "try" or "down"
	Fault string `json:"fault,omitempty"` // for inject and heal
	Count int    `json:"count,omitempty"` // for try: how many connections, at most 100
}

// Reply is its answer.
type Reply struct {
	State   State    `json:"state"`
	Client  Stats    `json:"client"`
	Results []Result `json:"results,omitempty"` // of try
	Error   string   `json:"error,omitempty"`
}

// Ask sends a request to the lab that is up on this machine. It returns ErrNotUp when none is; a request that
// failed there comes back as an error here.
func Ask(ctx context.Context, r Request) (Reply, error) {
	if _, err := ReadState(); err != nil {
		return Reply{}, err
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", filepath.Join(stateDir, "control.sock"))
	if err != nil {
		return Reply{}, fmt.Errorf("the lab does not answer, it may just be starting: %w", err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	var reply Reply
	if err := json.NewEncoder(conn).Encode(r); err != nil {
		return reply, fmt.Errorf("ask the lab to %s: %w", r.Do, err)
	}
	err = json.NewDecoder(conn).Decode(&reply)
	if r.Do == "down" && errors.Is(err, io.EOF) {
		return reply, nil // it is down, and its process has ended
	}
	if err != nil {
		return reply, fmt.Errorf("ask the lab to %s: %w", r.Do, err)
	}
	if reply.Error != "" {
		return reply, errors.New(reply.Error)
	}
	return reply, nil
}

// Done is closed when the lab is down, by Down or because another process asked for it.
func (l *Lab) Done() <-chan struct{} { return l.done }

// listen answers requests of other processes until the lab goes down. Only root may ask.
func (c *claim) listen(l *Lab) error {
	name := filepath.Join(stateDir, "control.sock")
	if err := os.RemoveAll(name); err != nil {
		return fmt.Errorf("the lab's control socket: %w", err)
	}
	control, err := net.Listen("unix", name)
	if err == nil {
		err = os.Chmod(name, 0o600)
	}
	if err != nil {
		return fmt.Errorf("the lab's control socket: %w", err)
	}
	c.control = control
	go func() {
		for {
			conn, err := control.Accept()
			if err != nil {
				return
			}
			go l.answer(conn)
		}
	}()
	return nil
}

func (l *Lab) answer(conn net.Conn) {
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	var r Request
	if err := json.NewDecoder(io.LimitReader(conn, 4096)).Decode(&r); err != nil {
		return
	}
	reply := Reply{}
	var err error
	switch r.Do {
	case "status":
	case "inject":
		err = l.Inject(r.Fault)
	case "heal":
		err = l.Heal(r.Fault)
	case "try":
		reply.Results = l.Try(context.Background(), min(max(r.Count, 1), 100), l.timeout())
	case "down":
		err = l.Down()
	default:
		err = fmt.Errorf("the lab can not %q", r.Do)
	}
	if err != nil {
		reply.Error = err.Error()
	}
	l.mu.Lock()
	reply.State = l.state()
	l.mu.Unlock()
	reply.Client = l.Client()
	json.NewEncoder(conn).Encode(reply)
}
