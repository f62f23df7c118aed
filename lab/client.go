package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Outcome is how one connection of the client ended.
type Outcome string

const (
	OK          Outcome = "ok"          // the whole answer came
	Refused     Outcome = "refused"     // RST, or ICMP port unreachable
	TimedOut    Outcome = "timeout"     // nothing came in time
	Unreachable Outcome = "unreachable" // ICMP host or net unreachable: "no route to host"
	Broken      Outcome = "broken"      // established, then no proper answer
)

// Result is one connection of the client.
type Result struct {
	At      time.Time     `json:"at"`
	Port    uint16        `json:"port"` // the client's; 0 if it never got one
	Outcome Outcome       `json:"outcome"`
	Server  string        `json:"server,omitempty"` // which real server answered
	Took    time.Duration `json:"took"`
	Error   string        `json:"error,omitempty"`
}

// Stats is what the client's connections came to.
type Stats struct {
	OK          int            `json:"ok"`
	Refused     int            `json:"refused"`
	TimedOut    int            `json:"timed_out"`
	Unreachable int            `json:"unreachable"`
	Broken      int            `json:"broken"`
	Servers     map[string]int `json:"servers"`        // answers by real server
	Last        string         `json:"last,omitempty"` // the last error, kept when later connections succeed
}

func (s *Stats) add(r Result) {
	switch r.Outcome {
	case OK:
		s.OK++
		if s.Servers == nil {
			s.Servers = map[string]int{}
		}
		s.Servers[r.Server]++
	case Refused:
		s.Refused++
	case TimedOut:
		s.TimedOut++
	case Unreachable:
		s.Unreachable++
	default:
		s.Broken++
	}
	if r.Error != "" {
		s.Last = r.Error
	}
}

// Total is the number of connections that ended.
func (s Stats) Total() int { return s.OK + s.Refused + s.TimedOut + s.Unreachable + s.Broken }

// loadClient connects again and again.
type loadClient struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu   sync.Mutex
	seen Stats
}

// startClient connects every so often, each time from a new port and without waiting for the earlier ones.
func startClient(l *Lab, every, timeout time.Duration) *loadClient {
	ctx, cancel := context.WithCancel(context.Background())
	c := &loadClient{cancel: cancel}
	c.wg.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			c.wg.Go(func() {
				r := l.connect(ctx, timeout)
				if ctx.Err() != nil {
					return // we broke it off ourselves
				}
				c.mu.Lock()
				defer c.mu.Unlock()
				c.seen.add(r)
			})
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	return c
}

func (c *loadClient) stop() {
	c.cancel()
	c.wg.Wait()
}

func (c *loadClient) stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.seen
	s.Servers = map[string]int{}
	for name, n := range c.seen.Servers {
		s.Servers[name] = n
	}
	return s
}

// Try makes n connections from the client, started 50 ms apart, and returns what each came to.
func (l *Lab) Try(ctx context.Context, n int, timeout time.Duration) []Result {
	results := make([]Result, n)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() { results[i] = l.connect(ctx, timeout) })
		time.Sleep(50 * time.Millisecond)
	}
	wg.Wait()
	return results
}

// Count sums results up.
func Count(results []Result) Stats {
	var s Stats
	for _, r := range results {
		s.add(r)
	}
	return s
}

// connect makes one connection from the client to the virtual service, asks and closes.
func (l *Lab) connect(ctx context.Context, timeout time.Duration) Result {
	r := Result{At: time.Now()}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	virtual := net.JoinHostPort(l.VIP(), fmt.Sprint(Port))
	var conn net.Conn
	err := l.Host(Client).Do(func() (err error) { // a literal address, one family: the dialer stays on this thread
		conn, err = new(net.Dialer).DialContext(ctx, map[bool]string{true: "tcp4", false: "tcp6"}[l.plan.vip.Is4()], virtual)
		return err
	})
	if err == nil {
		r.Port = conn.LocalAddr().(*net.TCPAddr).AddrPort().Port()
		r.Server, err = ask(ctx, conn, l.VIP())
	}
	r.Took = time.Since(r.At)
	r.Outcome = outcome(err, conn != nil)
	if err != nil {
		r.Error = err.Error()
	}
	return r
}

// ask sends the article's 74 bytes of request, reads the answer and closes, the client first.
func ask(ctx context.Context, conn net.Conn, host string) (server string, err error) {
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	if _, err := io.WriteString(conn, requestTo(host)); err != nil {
		return "", err
	}
	return readAnswer(conn)
}

// requestTo is a request of 74 bytes.
func requestTo(host string) string {
	const format = "GET / HTTP/1.1\r\nUser-Agent: %s\r\nHost: %s\r\nAccept: */*\r\n\r\n"
	agent := "lvstui-lab................"
	spare := 74 - len(fmt.Sprintf(format, "", host))
	return fmt.Sprintf(format, agent[:min(spare, len(agent))], host)
}

func outcome(err error, connected bool) Outcome {
	switch {
	case err == nil:
		return OK
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		if connected {
			return Broken
		}
		return TimedOut
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return Unreachable
	default:
		return Broken
	}
}
