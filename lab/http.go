package lab

import (
	"bufio"
	"fmt"
	"io"
	"net/textproto"
	"strconv"
	"strings"
)

// The lab speaks as little HTTP/1.1 (RFC 9112) as curl and a plain request need. net/http would bring TLS and a fifth of the binary.

// httpLimit bounds what is read of one message.
const httpLimit = 64 << 10

// readRequest reads the head of a request and tells its method. A body is not expected.
func readRequest(r io.Reader) (method string, err error) {
	head := textproto.NewReader(bufio.NewReader(io.LimitReader(r, httpLimit)))
	line, err := head.ReadLine()
	if err != nil {
		return "", err
	}
	method, rest, _ := strings.Cut(line, " ")
	if target, version, ok := strings.Cut(rest, " "); !ok || target == "" || !strings.HasPrefix(version, "HTTP/1.") {
		return "", fmt.Errorf("no request of HTTP/1: %q", line)
	}
	_, err = head.ReadMIMEHeader()
	return method, err
}

// readAnswer reads an answer with its body, and tells which real server gave it.
func readAnswer(r io.Reader) (server string, err error) {
	b := bufio.NewReader(io.LimitReader(r, httpLimit))
	head := textproto.NewReader(b)
	line, err := head.ReadLine()
	if err != nil {
		return "", err
	}
	if !strings.HasPrefix(line, "HTTP/1.1 200 ") {
		return "", fmt.Errorf("not the answer of a web server of the lab: %q", line)
	}
	fields, err := head.ReadMIMEHeader()
	if err != nil {
		return "", err
	}
	length, err := strconv.ParseInt(fields.Get("Content-Length"), 10, 32)
	if err != nil || length < 0 {
		return "", fmt.Errorf("not the answer of a web server of the lab: Content-Length %q", fields.Get("Content-Length"))
	}
	_, err = io.CopyN(io.Discard, b, length)
	return fields.Get("X-Real-Server"), err
}
