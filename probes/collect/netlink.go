package collect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"time"

	"golang.org/x/sys/unix"
)

var (
	errInterrupted = errors.New("the kernel's table changed while it was read, three times in a row; try again")
	errStop        = errors.New("bound reached")
)

// nlconn is a netlink socket in the namespace of the thread that dialled it. It exists beside vishvananda/netlink
// for the questions that one lacks: dumps that the kernel filters, dumps that stop early, and generic netlink without
// asking for a family by name (which would load its module).
type nlconn struct {
	fd       int
	proto    int
	seq      uint32
	buf      []byte
	deadline time.Time
	strict   bool // the kernel applies the filters of a dump request (4.20 on)
}

func dialNetlink(proto int, deadline time.Time) (*nlconn, error) {
	c := &nlconn{fd: -1, proto: proto, deadline: deadline, buf: make([]byte, 64<<10)}
	if err := c.open(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *nlconn) open() error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, c.proto)
	if err != nil {
		return fmt.Errorf("netlink socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		unix.Close(fd)
		return fmt.Errorf("netlink bind: %w", err)
	}
	// The time-out is set once: a call of its own before each of ten thousand answers would cost a quarter of the time.
	tv := unix.NsecToTimeval(max(time.Until(c.deadline), time.Millisecond).Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		unix.Close(fd)
		return fmt.Errorf("netlink time-out: %w", err)
	}
	c.strict = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1) == nil
	c.fd = fd
	return nil
}

func (c *nlconn) Close() {
	if c.fd >= 0 {
		unix.Close(c.fd)
	}
	c.fd = -1
}

// nlmsg is one netlink message.
type nlmsg struct {
	typ   uint16
	flags uint16
	seq   uint32
	data  []byte // valid until the next read
}

// parseMessages walks the messages of one datagram. It stops at the first that claims more than is there.
func parseMessages(b []byte) iter.Seq[nlmsg] {
	return func(yield func(nlmsg) bool) {
		for len(b) >= unix.SizeofNlMsghdr {
			n := int(binary.NativeEndian.Uint32(b))
			if n < unix.SizeofNlMsghdr || n > len(b) {
				return
			}
			m := nlmsg{typ: binary.NativeEndian.Uint16(b[4:]), flags: binary.NativeEndian.Uint16(b[6:]),
				seq: binary.NativeEndian.Uint32(b[8:]), data: b[unix.SizeofNlMsghdr:n]}
			if !yield(m) {
				return
			}
			b = b[min((n+3)&^3, len(b)):]
		}
	}
}

// attributes walks netlink attributes: type without its flag bits, and payload.
func attributes(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= 4 {
			n := int(binary.NativeEndian.Uint16(b))
			if n < 4 || n > len(b) {
				return
			}
			if !yield(binary.NativeEndian.Uint16(b[2:])&0x3fff, b[4:n]) {
				return
			}
			b = b[min((n+3)&^3, len(b)):]
		}
	}
}

// attribute appends one attribute.
func attribute(b []byte, typ uint16, payload []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(4+len(payload)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = append(b, payload...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func u32(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }
func u16(n uint16) []byte { return binary.NativeEndian.AppendUint16(nil, n) }

// getU32 and its like read an attribute that a newer or odd kernel may have made shorter.
func getU32(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}

func getU64(b []byte) uint64 {
	if len(b) < 8 {
		return uint64(getU32(b))
	}
	return binary.NativeEndian.Uint64(b)
}

func getU16(b []byte) uint16 {
	if len(b) < 2 {
		return 0
	}
	return binary.NativeEndian.Uint16(b)
}

func getBE16(b []byte) uint16 {
	if len(b) < 2 {
		return 0
	}
	return binary.BigEndian.Uint16(b)
}

func getString(b []byte) string { return unix.ByteSliceToString(b) }

func (c *nlconn) send(typ, flags uint16, payload []byte) error {
	c.seq++
	b := binary.NativeEndian.AppendUint32(make([]byte, 0, unix.SizeofNlMsghdr+len(payload)), uint32(unix.SizeofNlMsghdr+len(payload)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = binary.NativeEndian.AppendUint16(b, flags|unix.NLM_F_REQUEST)
	b = binary.NativeEndian.AppendUint32(b, c.seq)
	b = binary.NativeEndian.AppendUint32(b, 0)
	b = append(b, payload...)
	return unix.Sendto(c.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// receive reads one datagram that the kernel sent, or gives up at the deadline.
func (c *nlconn) receive() ([]byte, error) {
	for {
		if time.Now().After(c.deadline) {
			return nil, errors.New("the kernel did not answer in time")
		}
		n, from, err := unix.Recvfrom(c.fd, c.buf, unix.MSG_TRUNC)
		switch {
		case err == unix.EINTR || err == unix.EAGAIN:
			continue
		case err != nil:
			return nil, err
		case n > len(c.buf):
			return nil, fmt.Errorf("a netlink answer of %d bytes is longer than the buffer", n)
		}
		if sa, ok := from.(*unix.SockaddrNetlink); ok && sa.Pid != 0 {
			continue // not from the kernel
		}
		return c.buf[:n], nil
	}
}

// dump asks for a table and hands each message to each. It returns errInterrupted when the table changed meanwhile,
// errStop when each did, or the kernel's errno.
func (c *nlconn) dump(typ uint16, payload []byte, each func(nlmsg) error) error {
	if err := c.send(typ, unix.NLM_F_DUMP, payload); err != nil {
		return err
	}
	var d dumpState
	for {
		b, err := c.receive()
		if err != nil {
			return err
		}
		done, err := d.feed(b, c.seq, each)
		if errors.Is(err, errStop) {
			c.Close() // the rest of the dump is still queued on it
			return errors.Join(errStop, c.open())
		}
		if err != nil || done {
			return err
		}
	}
}

// dumpState follows a dump over its datagrams.
type dumpState struct{ interrupted bool }

func (d *dumpState) feed(b []byte, seq uint32, each func(nlmsg) error) (done bool, err error) {
	for m := range parseMessages(b) {
		if m.seq != seq {
			continue // rest of an earlier question
		}
		d.interrupted = d.interrupted || m.flags&unix.NLM_F_DUMP_INTR != 0
		switch m.typ {
		case unix.NLMSG_DONE:
			// Since 5.x an error met on the way is told here.
			if errno := int32(getU32(m.data)); errno < 0 {
				return true, unix.Errno(-errno)
			}
			if d.interrupted {
				return true, errInterrupted
			}
			return true, nil
		case unix.NLMSG_ERROR:
			if errno := int32(getU32(m.data)); errno != 0 {
				return true, unix.Errno(-errno)
			}
			return true, nil
		case unix.NLMSG_NOOP:
		default:
			if err := each(m); err != nil {
				return true, err
			}
		}
	}
	return false, nil
}

// ask sends one question and hands its one answer to each. The kernel's refusal is returned as unix.Errno.
func (c *nlconn) ask(typ uint16, payload []byte, each func(nlmsg)) error {
	if err := c.send(typ, 0, payload); err != nil {
		return err
	}
	for {
		b, err := c.receive()
		if err != nil {
			return err
		}
		for m := range parseMessages(b) {
			if m.seq != c.seq {
				continue
			}
			if m.typ == unix.NLMSG_ERROR {
				if errno := int32(getU32(m.data)); errno != 0 {
					return unix.Errno(-errno)
				}
				return nil
			}
			each(m)
			return nil
		}
	}
}

// again runs a dump until it was not interrupted, three times at most. read starts afresh each time.
func again(read func() error) error {
	var err error
	for range 3 {
		if err = read(); !errors.Is(err, errInterrupted) {
			return err
		}
	}
	return err
}
