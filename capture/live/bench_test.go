//go:build linux

package live

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"lvstui/capture"
)

// wire is two namespaces joined by a veth pair: frames sent in one are captured in the other.
type wire struct{ from, to *space }

func newWire(b *testing.B) wire {
	w := wire{newSpace(b), newSpace(b)}
	for _, s := range []*space{w.from, w.to} {
		s.sysctl("ipv6/conf/default/disable_ipv6", "1")
	}
	w.from.join("eth0", w.to, "eth0")
	w.from.up("eth0")
	w.to.up("eth0")
	return w
}

const (
	budgetRate = 300_000 // packets/s, the budget
	sendFor    = 2 * time.Second
	sendBatch  = 64
)

// BenchmarkCapture sends packets of 4096 connections at the budget's rate and counts what arrives, what is lost and what
// the capturing thread costs, in its own user and system time; putting frames into the ring is the sender's. Other
// programs are measured by the same sender.
func BenchmarkCapture(b *testing.B) {
	b.Run("lvstui", func(b *testing.B) { benchOurs(b, budgetRate) })
	b.Run("lvstui/flat-out", func(b *testing.B) { benchOurs(b, 0) })
	for _, command := range []string{"tcpdump -i eth0 -s 256 -B 32768 -w /dev/null", "tcpdump -i eth0 -s 256 -B 32768 -nn -e",
		"tshark -i eth0 -s 256 -B 32 -n -q -w /dev/null", "tshark -i eth0 -s 256 -B 32 -n"} {
		name := strings.Fields(command)[0]
		if _, err := exec.LookPath(name); err != nil {
			fmt.Printf("%s is not installed: no comparison with %q\n", name, command)
			continue
		}
		b.Run(strings.ReplaceAll(strings.ReplaceAll(command, " -i eth0 -s 256", ""), " ", "_"), func(b *testing.B) { benchTheirs(b, command) })
	}
}

func benchOurs(b *testing.B, rate int) {
	for range b.N {
		w := newWire(b)
		var c *Capture
		w.to.do(func() (err error) { c, err = Open(Options{FixedRate: true}); return err })
		tracker := capture.NewTracker(capture.Config{})
		ctx, cancel := context.WithCancel(context.Background())
		cpu := make(chan time.Duration)
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			before := cpuTime(unix.RUSAGE_THREAD)
			var packets []*capture.Packet
			err := c.Run(ctx, func(batch []Frame) {
				packets = packets[:0]
				for i := range batch {
					packets = append(packets, &batch[i].Packet)
				}
				tracker.AddBatch(packets)
			})
			if err != nil {
				b.Error(err)
			}
			cpu <- cpuTime(unix.RUSAGE_THREAD) - before
		}()
		sent, took := w.send(rate)
		time.Sleep(200 * time.Millisecond)
		cancel()
		spent := <-cpu
		s := c.Stats()
		c.Close()
		if tracker.Len() != benchFlows {
			b.Errorf("%d flows, want %d", tracker.Len(), benchFlows)
		}
		report(b, sent, took, s.Packets-s.Drops, s.Drops, spent)
	}
}

// cpuTime is user and system time.
func cpuTime(who int) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(who, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func report(b *testing.B, sent int, took time.Duration, captured, drops uint64, cpu time.Duration) {
	b.ReportMetric(float64(sent)/took.Seconds(), "sent/s")
	b.ReportMetric(float64(drops), "drops")
	b.ReportMetric(float64(sent)-float64(captured+drops), "lost-before")
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(max(captured, 1)), "cpu-ns/packet")
	b.ReportMetric(0, "ns/op")
}

var counted = regexp.MustCompile(`(\d+) packets? (captured|dropped by kernel|dropped)`)

// benchTheirs runs another capture program in the namespace and reads from its last words what it got.
func benchTheirs(b *testing.B, command string) {
	for range b.N {
		w := newWire(b)
		args := strings.Fields(command)
		if args[0] == "tcpdump" {
			args = append(args, "-Z", "root") // it would give up root, and with it the pipe
		}
		cmd := exec.Command(args[0], args[1:]...)
		words, err := cmd.StderrPipe()
		if err != nil {
			b.Fatal(err)
		}
		cmd.Stdout = nil // /dev/null
		w.to.do(cmd.Start)
		// What it does not say in a minute, it does not say: the benchmark must end.
		bound := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		defer bound.Stop()
		lines := bufio.NewReader(words)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				cmd.Wait()
				b.Fatalf("%s: ended before it began: %v", command, err)
			}
			if strings.Contains(line, "istening on") || strings.Contains(line, "apturing on") {
				break
			}
		}
		time.Sleep(300 * time.Millisecond)
		sent, took := w.send(budgetRate)
		time.Sleep(500 * time.Millisecond)
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			b.Fatal(err)
		}
		rest, _ := io.ReadAll(lines)
		if err := cmd.Wait(); err != nil && !errors.As(err, new(*exec.ExitError)) {
			b.Fatal(err)
		}
		var captured, drops uint64
		for _, m := range counted.FindAllStringSubmatch(string(rest), -1) {
			n, _ := strconv.ParseUint(m[1], 10, 64)
			if m[2] == "captured" {
				captured = n
			} else {
				drops = n
			}
		}
		if captured == 0 {
			b.Fatalf("%s says: %s", command, rest)
		}
		report(b, sent, took, captured, drops, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
	}
}

const benchFlows = 4096

// send sends frames of benchFlows connections in turn for sendFor, at the rate or, with 0, as fast as it goes. It
// stops a little at each batch, so that the receiving side's backlog (netdev_max_backlog, 1000) does not overflow.
func (w wire) send(rate int) (sent int, took time.Duration) {
	frames := make([][]byte, benchFlows)
	for i := range frames {
		frames[i] = frame(unix.IPPROTO_TCP, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}), uint16(20000+i)),
			netip.MustParseAddrPort("172.16.0.8:80"))
		frames[i] = append(frames[i], make([]byte, 20)...) // 74 bytes, as a SYN with its options
	}
	w.from.do(func() error {
		fd, err := sendSocket("eth0")
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		start := time.Now()
		for time.Since(start) < sendFor {
			if rate > 0 {
				if ahead := time.Duration(sent)*time.Second/time.Duration(rate) - time.Since(start); ahead > 0 {
					time.Sleep(ahead)
				}
			}
			at := sent % benchFlows
			n, err := sendAll(fd, frames[at:at+sendBatch])
			if err != nil {
				return err
			}
			sent += n
		}
		took = time.Since(start)
		return nil
	})
	return sent, took
}

func sendSocket(name string) (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, req)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: int(req.Uint32())})
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("cannot send on %s: %w", name, err)
	}
	return fd, nil
}

// mmsghdr is struct mmsghdr of sendmmsg(2), which x/sys does not have.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [unsafe.Sizeof(uintptr(0)) - 4]byte
}

// sendAll sends frames with one system call each time and gives how many went out, always sendBatch.
func sendAll(fd int, frames [][]byte) (int, error) {
	var list [sendBatch]mmsghdr
	var vecs [sendBatch]unix.Iovec
	for i, f := range frames {
		vecs[i].Base = &f[0]
		vecs[i].SetLen(len(f))
		list[i].hdr.Iov = &vecs[i]
		list[i].hdr.SetIovlen(1)
	}
	for done := 0; done < len(frames); {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&list[done])), uintptr(len(frames)-done), 0, 0, 0)
		switch {
		case errno == unix.EINTR, errno == unix.EAGAIN, errno == unix.ENOBUFS:
			time.Sleep(50 * time.Microsecond)
		case errno != 0:
			return done, os.NewSyscallError("sendmmsg", errno)
		}
		if errno == 0 {
			done += int(n)
		}
	}
	return len(frames), nil
}
