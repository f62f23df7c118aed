package grade

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"lvstui/lab"
)

// Serve starts a server: "tcp" and "udp" answer with the host's name; "busy" listens with room for one and never accepts.
func (h *Host) Serve(c Connect, _ *bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := c.Protocol + " " + c.To
	var closer io.Closer
	switch c.Protocol {
	case "udp":
		conn, err := net.ListenPacket("udp", c.To)
		if err != nil {
			return err
		}
		go answerDatagrams(conn, h.name)
		closer = conn
	case "busy":
		fd, err := listenBusy(c.To)
		if err != nil {
			return err
		}
		closer = fd
	default:
		l, err := net.Listen(network(c.To), c.To)
		if err != nil {
			return err
		}
		go answerConnections(l, h.name)
		closer = l
	}
	h.serving[key] = closer
	return nil
}

// Stop ends the servers of a port: ":80".
func (h *Host) Stop(port string, _ *bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	stopped := false
	for key, c := range h.serving {
		if strings.HasSuffix(key, port) {
			c.Close()
			delete(h.serving, key)
			stopped = true
		}
	}
	if !stopped {
		return fmt.Errorf("nothing serves %s", port)
	}
	return nil
}

// network keeps "0.0.0.0:80" to IPv4, as a program that is configured so; "[::]:80" takes both families.
func network(address string) string {
	if strings.HasPrefix(address, "0.0.0.0:") {
		return "tcp4"
	}
	return "tcp"
}

func answerConnections(l net.Listener, name string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return // closed
		}
		go func() {
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(time.Minute))
			in := bufio.NewReader(io.LimitReader(conn, 64<<10))
			for { // the client closes first
				if _, err := in.ReadString('\n'); err != nil {
					return
				}
				if _, err := fmt.Fprintf(conn, "%s\n", name); err != nil {
					return
				}
			}
		}()
	}
}

func answerDatagrams(conn net.PacketConn, name string) {
	buf := make([]byte, 1500)
	for {
		_, from, err := conn.ReadFrom(buf)
		if err != nil {
			return // closed
		}
		_, _ = conn.WriteTo([]byte(name+"\n"), from) // a lost answer shows at the client
	}
}

// listenBusy listens with a backlog of one, fills it, and never accepts.
func listenBusy(address string) (io.Closer, error) {
	addr, err := net.ResolveTCPAddr("tcp4", address)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	sa := &unix.SockaddrInet4{Port: addr.Port}
	copy(sa.Addr[:], addr.IP.To4())
	if err := errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.Bind(fd, sa), unix.Listen(fd, 1)); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), address), nil
}

// Ask is connections to make: N of them, a moment apart.
type Ask struct {
	Connect
	N       int
	Timeout time.Duration
	// Hold keeps the connections open until the host ends.
	Hold bool
}

// Dial makes connections and says what each came to.
func (h *Host) Dial(a Ask, results *[]lab.Result) error {
	out := make([]lab.Result, a.N)
	var wg sync.WaitGroup
	for i := range out {
		wg.Go(func() { out[i] = a.once() })
		time.Sleep(50 * time.Millisecond)
	}
	wg.Wait()
	*results = out
	return nil
}

// held are connections that stay open as long as this host is there.
var (
	heldMu sync.Mutex
	held   []net.Conn
)

func (a Ask) once() lab.Result {
	ctx, cancel := context.WithTimeout(context.Background(), a.Timeout)
	defer cancel()
	r := lab.Result{Outcome: lab.OK}
	conn, err := new(net.Dialer).DialContext(ctx, a.Protocol, a.To)
	connected := err == nil && a.Protocol == "tcp"
	if err == nil {
		deadline, _ := ctx.Deadline()
		conn.SetDeadline(deadline)
		if _, err = io.WriteString(conn, "who are you\n"); err == nil {
			r.Server, err = bufio.NewReader(conn).ReadString('\n')
			r.Server = strings.TrimSpace(r.Server)
		}
		if a.Hold {
			heldMu.Lock()
			held = append(held, conn)
			heldMu.Unlock()
		} else {
			conn.Close()
		}
	}
	if err != nil {
		r.Outcome, r.Error = outcome(err, connected), err.Error()
	}
	return r
}

func outcome(err error, connected bool) lab.Outcome {
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		if connected {
			return lab.Broken
		}
		return lab.TimedOut
	case errors.Is(err, syscall.ECONNREFUSED):
		return lab.Refused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return lab.Unreachable
	}
	return lab.Broken
}
