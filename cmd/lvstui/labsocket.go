package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"lvstui/lab/guest"
)

// labRequest is one message on the lab's socket; an exec comes with the caller's standard input, output and error.
type labRequest struct {
	Do   string   `json:"do"` // "ping", "exec", "down"
	Host string   `json:"host,omitempty"`
	Args []string `json:"args,omitempty"`
	Env  []string `json:"env,omitempty"`
	TTY  bool     `json:"tty,omitempty"`
}

type labReply struct {
	Exit  int    `json:"exit"`
	Error string `json:"error,omitempty"`
}

type labRunner func(ctx context.Context, r labRequest, in, out, errOut *os.File) (int, error)

var errNoLab = errors.New("no lab is up")

// labDir is a folder of this user's own: whoever can open the socket in it can run commands in the lab.
func labDir() (string, error) {
	dir, err := guest.UserDir()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("the lab's folder: %w", err)
	}
	return dir, nil
}

func labSocket() (*net.UnixAddr, error) {
	dir, err := labDir()
	return &net.UnixAddr{Name: filepath.Join(dir, "lab.sock"), Net: "unix"}, err
}

// askLab sends a request to the lab that is up and waits for its answer. When ctx ends it hangs up, which ends a command in the lab.
func askLab(ctx context.Context, r labRequest) (int, error) {
	addr, err := labSocket()
	if err != nil {
		return -1, err
	}
	conn, err := net.DialUnix("unix", nil, addr)
	if err != nil {
		return -1, withHint(errNoLab, "lvstui lab up")
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	b, err := json.Marshal(r)
	if err != nil {
		return -1, err
	}
	rights := unix.UnixRights(0, 1, 2)
	if _, _, err := conn.WriteMsgUnix(b, rights, nil); err != nil {
		return -1, fmt.Errorf("asking the lab: %w", err)
	}
	var reply labReply
	if err := json.NewDecoder(conn).Decode(&reply); err != nil {
		if ctx.Err() != nil {
			return -1, errors.New("interrupted")
		}
		if r.Do == "down" && errors.Is(err, io.EOF) {
			return 0, nil
		}
		return -1, fmt.Errorf("the lab's answer: %w", err)
	}
	if reply.Error != "" {
		return -1, errors.New(reply.Error)
	}
	return reply.Exit, nil
}

// answerRequests serves the socket until ctx ends or somebody says down.
func answerRequests(ctx context.Context, stop func(), run labRunner) error {
	addr, err := labSocket()
	if err != nil {
		return err
	}
	_ = os.Remove(addr.Name) // of a lab that was killed; labUp has made sure that none answers
	ln, err := net.ListenUnix("unix", addr)
	if err != nil {
		return fmt.Errorf("the lab's socket: %w", err)
	}
	defer ln.Close()
	if err := os.Chmod(addr.Name, 0o600); err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { ln.Close() })
	for {
		conn, err := ln.AcceptUnix()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("the lab's socket: %w", err)
		}
		go answerOne(ctx, stop, conn, run)
	}
}

func answerOne(ctx context.Context, stop func(), conn *net.UnixConn, run labRunner) {
	defer conn.Close()
	request, files, err := receive(conn)
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	var reply labReply
	switch {
	case err != nil:
		reply.Error = err.Error()
	case request.Do == "down":
		defer stop()
	case request.Do == "exec":
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() { // the caller going away ends its command
			_, _ = conn.Read(make([]byte, 1))
			cancel()
		}()
		if reply.Exit, err = run(ctx, request, files[0], files[1], files[2]); err != nil {
			reply = labReply{Error: err.Error()}
		}
	}
	_ = json.NewEncoder(conn).Encode(reply)
}

// receive reads one request with the three descriptors that come with it.
func receive(conn *net.UnixConn) (labRequest, []*os.File, error) {
	var r labRequest
	body, oob := make([]byte, 1<<16), make([]byte, unix.CmsgSpace(3*4))
	n, oobn, _, _, err := conn.ReadMsgUnix(body, oob)
	if err != nil {
		return r, nil, err
	}
	var files []*os.File
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return r, nil, err
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return r, files, err
		}
		for i, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), []string{"stdin", "stdout", "stderr"}[min(i, 2)]))
		}
	}
	if err := json.Unmarshal(body[:n], &r); err != nil {
		return r, files, fmt.Errorf("the request to the lab: %w", err)
	}
	if r.Do == "exec" && (len(files) != 3 || r.Host == "" || len(r.Args) == 0) {
		return r, files, errors.New("the request to the lab lacks a host, a command or its files")
	}
	return r, files, nil
}
