//go:build linux

package active

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"lvstui/capture"
)

// socket sends frames and hears what comes in answer, on all interfaces of the calling thread's network namespace.
type socket struct {
	fd   int
	port uint16 // ours: TCP that is not from or for it is not heard
	buf  []byte
}

const netOff = 0xfff00000 // a load relative to the network header, whatever link header is before it (SKF_NET_OFF)

func openSocket(port uint16) (*socket, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, explain("open a packet socket", err)
	}
	s := &socket{fd: fd, port: port, buf: make([]byte, 2048)}
	if err := s.setUp(); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return s, nil
}

// setUp filters before it binds, so that a busy host's packets never queue here.
func (s *socket) setUp() error {
	raw, err := bpf.Assemble(s.filter())
	if err != nil {
		return err
	}
	prog := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		prog[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	if err := unix.SetsockoptSockFprog(s.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}); err != nil {
		return explain("attach a packet filter", err)
	}
	if err := unix.Bind(s.fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL)}); err != nil {
		return explain("bind the packet socket", err)
	}
	return nil
}

// filter lets through ARP, ICMP of both kinds, and TCP from or for our port.
func (s *socket) filter() []bpf.Instruction {
	port := uint32(s.port)
	return []bpf.Instruction{
		/* 0 */ bpf.LoadExtension{Num: bpf.ExtProto},
		/* 1 */ bpf.JumpIf{Cond: bpf.JumpEqual, Val: etherARP, SkipTrue: 16}, // 18
		/* 2 */ bpf.JumpIf{Cond: bpf.JumpEqual, Val: etherIPv6, SkipTrue: 5}, // 8
		/* 3 */ bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: etherIPv4, SkipTrue: 13}, // 17
		/* 4 */ bpf.LoadAbsolute{Off: netOff + 9, Size: 1},
		/* 5 */ bpf.JumpIf{Cond: bpf.JumpEqual, Val: 1, SkipTrue: 12}, // 18
		/* 6 */ bpf.LoadMemShift{Off: netOff},
		/* 7 */ bpf.Jump{Skip: 3}, // 11
		/* 8 */ bpf.LoadAbsolute{Off: netOff + 6, Size: 1},
		/* 9 */ bpf.JumpIf{Cond: bpf.JumpEqual, Val: protoICMPv6, SkipTrue: 8}, // 18
		/* 10 */ bpf.LoadConstant{Dst: bpf.RegX, Val: 40},
		/* 11 */ bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protoTCP, SkipTrue: 5}, // 17
		/* 12 */ bpf.LoadIndirect{Off: netOff, Size: 2},
		/* 13 */ bpf.JumpIf{Cond: bpf.JumpEqual, Val: port, SkipTrue: 4}, // 18
		/* 14 */ bpf.LoadIndirect{Off: netOff + 2, Size: 2},
		/* 15 */ bpf.JumpIf{Cond: bpf.JumpEqual, Val: port, SkipTrue: 2}, // 18
		/* 16 */ bpf.RetConstant{Val: 0},
		/* 17 */ bpf.RetConstant{Val: 0},
		/* 18 */ bpf.RetConstant{Val: 512},
	}
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

func (s *socket) close() { unix.Close(s.fd) }

func (s *socket) send(w wire, frame []byte) error {
	to := &unix.SockaddrLinklayer{Protocol: htons(uint16(frame[12])<<8 | uint16(frame[13])), Ifindex: w.index, Halen: 6}
	copy(to.Addr[:], frame[:6])
	if err := unix.Sendto(s.fd, frame, 0, to); err != nil {
		return explain("send on "+w.name, err)
	}
	return nil
}

// hear hands over what comes in until the time is over, done says so, or ctx ends.
func (s *socket) hear(ctx context.Context, until time.Time, done func() bool, each func(p *capture.Packet)) error {
	for !done() {
		left := time.Until(until)
		if left <= 0 || ctx.Err() != nil {
			return ctx.Err()
		}
		fds := []unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(min(left, 50*time.Millisecond)/time.Millisecond)+1)
		if err != nil && err != unix.EINTR {
			return explain("wait for answers", err)
		}
		if n <= 0 {
			continue
		}
		if err := s.drain(each); err != nil {
			return err
		}
	}
	return nil
}

func (s *socket) drain(each func(p *capture.Packet)) error {
	for {
		n, from, err := unix.Recvfrom(s.fd, s.buf, 0)
		switch {
		case err == unix.EAGAIN:
			return nil
		case err == unix.EINTR:
			continue
		case err == unix.ENETDOWN:
			return nil // another link's trouble, or ours: then nothing will answer
		case err != nil:
			return explain("receive answers", err)
		}
		sll, ok := from.(*unix.SockaddrLinklayer)
		if !ok || sll.Pkttype == unix.PACKET_OUTGOING || sll.Hatype != unix.ARPHRD_ETHER {
			continue
		}
		p := capture.Packet{Time: time.Now().UnixNano(), Interface: int32(sll.Ifindex), Dir: capture.In}
		if capture.Decode(s.buf[:n], capture.LinkEthernet, &p) == nil {
			each(&p)
		}
	}
}

// reservePort takes a TCP port that nothing else will get meanwhile. No socket listens on it, so our kernel answers a SYN-ACK with a
// RST of its own where it sees one.
func reservePort() (fd int, port uint16, err error) {
	fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	var wildcard unix.Sockaddr = &unix.SockaddrInet6{}
	if err != nil { // a kernel without IPv6
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		wildcard = &unix.SockaddrInet4{}
	}
	if err != nil {
		return -1, 0, explain("open a TCP socket", err)
	}
	if err = unix.Bind(fd, wildcard); err == nil {
		var sa unix.Sockaddr
		if sa, err = unix.Getsockname(fd); err == nil {
			switch sa := sa.(type) {
			case *unix.SockaddrInet6:
				return fd, uint16(sa.Port), nil
			case *unix.SockaddrInet4:
				return fd, uint16(sa.Port), nil
			}
		}
	}
	unix.Close(fd)
	return -1, 0, explain("take a free TCP port", err)
}

func explain(what string, err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return fmt.Errorf("cannot %s: %w; an active test needs the capability CAP_NET_RAW: run lvstui with sudo", what, err)
	}
	return fmt.Errorf("cannot %s: %w", what, err)
}
