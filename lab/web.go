package lab

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// answerBytes is the size of an answer, head and body: that of the article's trace.
const answerBytes = 274

// webServer is a real server's web server. It says who answered, in as many bytes as the article's did.
type webServer struct {
	host     *Host
	listener net.Listener
	wg       sync.WaitGroup
}

// serveWeb starts a web server on port 80 of the host, bound to the address ("0.0.0.0" for all).
func serveWeb(h *Host, address string) (*webServer, error) {
	w := &webServer{host: h}
	err := h.Do(func() (err error) { // the socket belongs to the namespace; accept works from anywhere
		w.listener, err = net.Listen(map[bool]string{true: "tcp6", false: "tcp4"}[address == "::"], net.JoinHostPort(address, fmt.Sprint(Port)))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("web server on %s: %w", h.Name, err)
	}
	w.wg.Go(w.accept)
	return w, nil
}

func (w *webServer) stop() {
	w.listener.Close()
	w.wg.Wait()
}

func (w *webServer) accept() {
	for {
		conn, err := w.listener.Accept()
		if err != nil {
			return // closed
		}
		go w.answer(conn)
	}
}

// answer serves one request and lets the client close first, as the article's client did.
func (w *webServer) answer(conn net.Conn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	method, err := readRequest(conn)
	if err != nil {
		return
	}
	// A web server that thinks for a moment: the kernel acknowledges the request before the answer goes out.
	time.Sleep(2 * time.Millisecond)
	answer := answerFrom(w.host.Name)
	if method == "HEAD" {
		answer, _, _ = strings.Cut(answer, "\r\n\r\n")
		answer += "\r\n\r\n"
	}
	if _, err := io.WriteString(conn, answer); err != nil {
		return
	}
	io.Copy(io.Discard, io.LimitReader(conn, 64<<10))
}

// answerFrom is the complete answer of a real server, answerBytes long.
func answerFrom(server string) string {
	const head = "HTTP/1.1 200 OK\r\nServer: lvstui-lab\r\nX-Real-Server: %s\r\nContent-Type: text/plain\r\nContent-Length: %03d\r\nConnection: close\r\n\r\n"
	size := answerBytes - len(fmt.Sprintf(head, server, 0))
	body := fmt.Sprintf("This is %s. You asked the virtual address and I answer with it as source, past the director.", server)
	body += strings.Repeat(".", max(0, size-1-len(body))) + "\n"
	return fmt.Sprintf(head, server, len(body)) + body
}
