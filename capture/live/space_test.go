//go:build linux

package live

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// space is a network namespace with a thread of its own, which ends with the test. The machine's own
// network is never touched.
type space struct {
	t    testing.TB
	work chan func()
	file *os.File
}

func newSpace(t testing.TB) *space {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test captures in network namespaces of its own and needs root: sudo go test, or the guest kernel")
	}
	s := &space{t: t, work: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is of no use to anybody else
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			s.file, err = os.Open("/proc/thread-self/ns/net")
		}
		ready <- err
		for f := range s.work {
			f()
		}
	}()
	if err := <-ready; err != nil {
		t.Fatalf("cannot make a network namespace: %v", err)
	}
	t.Cleanup(func() { close(s.work); s.file.Close() })
	return s
}

// do runs f on the namespace's thread.
func (s *space) do(f func() error) {
	s.t.Helper()
	done := make(chan error)
	s.work <- func() { done <- f() }
	if err := <-done; err != nil {
		s.t.Fatal(err)
	}
}

// join connects s and peer by a veth pair.
func (s *space) join(name string, peer *space, peerName string) {
	s.t.Helper()
	s.do(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = name
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: peerName, PeerNamespace: netlink.NsFd(int(peer.file.Fd()))})
	})
}

func (s *space) up(name string, addrs ...string) {
	s.t.Helper()
	s.do(func() error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		for _, a := range addrs {
			addr, err := netlink.ParseAddr(a)
			if err != nil {
				return err
			}
			addr.Flags = unix.IFA_F_NODAD
			if err := netlink.AddrAdd(l, addr); err != nil {
				return err
			}
		}
		return netlink.LinkSetUp(l)
	})
}

func (s *space) route(dst, via string) {
	s.t.Helper()
	s.do(func() error {
		_, n, err := net.ParseCIDR(dst)
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{Dst: n, Gw: net.ParseIP(via)})
	})
}

func (s *space) sysctl(path, value string) {
	s.t.Helper()
	s.do(func() error { return os.WriteFile("/proc/sys/net/"+path, []byte(value), 0) })
}

// recording is a capture that runs until stop.
type recording struct {
	t      testing.TB
	c      *Capture
	mu     sync.Mutex
	frames []Frame
	ended  chan error
	cancel context.CancelFunc
}

func (s *space) record(o Options) *recording {
	s.t.Helper()
	r := &recording{t: s.t, ended: make(chan error, 1)}
	if o.BlockSize == 0 {
		o.BlockSize, o.Blocks = 256<<10, 8
	}
	s.do(func() (err error) { r.c, err = Open(o); return err })
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go func() {
		r.ended <- r.c.Run(ctx, func(batch []Frame) {
			r.mu.Lock()
			defer r.mu.Unlock()
			for _, f := range batch {
				f.Data = bytes.Clone(f.Data)
				r.frames = append(r.frames, f)
			}
		})
	}()
	s.t.Cleanup(func() { cancel(); r.c.Close() })
	return r
}

// until waits for done to be true of the frames so far.
func (r *recording) until(what string, done func([]Frame) bool) []Frame {
	r.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		r.mu.Lock()
		frames := r.frames[:len(r.frames):len(r.frames)]
		r.mu.Unlock()
		if done(frames) {
			return frames
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%s: not within 10 s; %d frames came, stats %+v", what, len(frames), r.c.Stats())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// serve answers every connection with a few bytes and closes it.
func (s *space) serve(addr string) {
	s.t.Helper()
	s.do(func() error {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return err
		}
		s.t.Cleanup(func() { l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				io.ReadFull(conn, make([]byte, 5))
				conn.Write([]byte("answer"))
				conn.Close()
			}
		}()
		return nil
	})
}

// ask connects, sends 5 bytes and reads to the end.
func (s *space) ask(addr string) {
	s.t.Helper()
	s.do(func() error {
		d := net.Dialer{Timeout: 5 * time.Second}
		conn, err := d.Dial("tcp", addr)
		if err != nil {
			return err
		}
		defer conn.Close()
		conn.Write([]byte("hello"))
		_, err = io.ReadAll(conn)
		return err
	})
}

// inject sends frames out of an interface as they are.
func (s *space) inject(name string, frames ...[]byte) {
	s.t.Helper()
	s.do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		for _, f := range frames {
			to := &unix.SockaddrLinklayer{Ifindex: l.Attrs().Index, Protocol: htons(binary.BigEndian.Uint16(f[12:]))}
			if err := unix.Sendto(fd, f, 0, to); err != nil {
				return err
			}
		}
		return nil
	})
}

// frame builds an Ethernet frame with a header of 20 bytes (TCP) or 8 (UDP, ICMP) behind IP.
func frame(proto byte, src, dst netip.AddrPort) []byte {
	b := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9}, 0x08, 0x00)
	l4 := make([]byte, 20)
	binary.BigEndian.PutUint16(l4, src.Port())
	binary.BigEndian.PutUint16(l4[2:], dst.Port())
	l4[12], l4[13] = 5<<4, 2 // SYN
	if src.Addr().Is4() {
		ip := make([]byte, 20)
		ip[0], ip[3], ip[8], ip[9] = 0x45, 40, 64, proto
		copy(ip[12:], src.Addr().AsSlice())
		copy(ip[16:], dst.Addr().AsSlice())
		return append(append(b, ip...), l4...)
	}
	b[12], b[13] = 0x86, 0xdd
	ip := make([]byte, 40)
	ip[0], ip[5], ip[6], ip[7] = 0x60, 20, proto, 64
	copy(ip[8:], src.Addr().AsSlice())
	copy(ip[24:], dst.Addr().AsSlice())
	return append(append(b, ip...), l4...)
}

// tagged puts a VLAN tag into a frame.
func tagged(f []byte, vlan uint16) []byte {
	return append(append(bytes.Clone(f[:12]), 0x81, 0, byte(vlan>>8), byte(vlan)), f[12:]...)
}

// tunnelled puts an IPv4 frame into another IPv4 header.
func tunnelled(f []byte) []byte {
	outer := bytes.Clone(f[:34])
	outer[14+3], outer[14+9] = 60, 4
	copy(outer[14+16:], []byte{192, 0, 2, 11})
	return append(outer, f[14:]...)
}
