package apply_test

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"lvstui/fixes"
)

// An operator's session, a TCP connection over a wire from another host, is cut by a change that says so beforehand. Nobody can confirm
// it, so it is taken back, and the session goes on.
func TestAChangeThatCutsTheSessionGivesItBack(t *testing.T) {
	for name, cut := range map[string]func() []fixes.Step{
		"by taking the address away": func() []fixes.Step {
			return []fixes.Step{fixes.DelAddress{Device: "v0", Prefix: netip.MustParsePrefix("192.168.10.11/24")}}
		},
		"by another way back": func() []fixes.Step {
			return []fixes.Step{fixes.AddRoute{Dst: netip.MustParsePrefix("192.168.10.50/32"), Device: "lo", Table: unix.RT_TABLE_MAIN}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			enter(t)
			build(t, "up lo", "veth v0 p0", "addr 192.168.10.11/24 v0")
			client := newOperator(t)
			answered := echo(t, client, "192.168.10.11:22")
			t.Setenv("SSH_CONNECTION", "192.168.10.50 50022 192.168.10.11 22")
			a, before := applier(t.TempDir()), look(t)
			if before.Operator == nil || before.Operator.Interface != "v0" {
				t.Fatalf("the session is %+v", before.Operator)
			}
			plan := fixes.Plan{ID: "cut", Title: "cut the session", Steps: cut()}
			preview, err := plan.Show(before)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(preview.Risks, func(s string) bool { return strings.Contains(s, "your SSH session") }) {
				t.Errorf("the risk is not said: %v", preview.Risks)
			}
			if !answered(5 * time.Second) {
				t.Fatal("no session to begin with")
			}
			waiting(t, a, plan, before, fixes.Terms{ConfirmWithin: soon})
			if answered(soon / 2) {
				t.Fatal("the session is not cut at all")
			}
			if c := ended(t, a); c.State != fixes.Undone || c.Error != "" {
				t.Fatalf("%+v", c)
			}
			if !answered(20 * time.Second) {
				t.Error("the session does not go on")
			}
			same(t, before, "taken back")
		})
	}
}

// newOperator makes a namespace with the other end of the wire p0 in it, and returns it.
func newOperator(t *testing.T) *os.File {
	t.Helper()
	here := thisNamespace(t)
	defer here.Close()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	there := thisNamespace(t)
	t.Cleanup(func() { there.Close() })
	if err := goInto(here); err != nil {
		t.Fatal(err)
	}
	l, err := netlink.LinkByName("p0")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetNsFd(l, int(there.Fd())); err != nil {
		t.Fatal(err)
	}
	if err := goInto(there); err != nil {
		t.Fatal(err)
	}
	build(t, "up lo", "up p0", "addr 192.168.10.50/24 p0")
	if err := goInto(here); err != nil {
		t.Fatal(err)
	}
	return there
}

func thisNamespace(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func goInto(namespace *os.File) error { return unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET) }

// echo opens a session from there to a server in the namespace of this thread. The function it returns sends a byte and tells whether it
// came back in time; bytes of earlier questions come back too, as TCP has it.
func echo(t *testing.T, there *os.File, address string) (answered func(time.Duration) bool) {
	t.Helper()
	l, err := net.Listen("tcp4", address) // the socket is this thread's namespace's
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, _ = io.Copy(c, c)
			c.Close()
		}
	}()
	var session net.Conn
	dialled := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := goInto(there)
		if err == nil {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("192.168.10.50"), Port: 50022}, Timeout: 5 * time.Second}
			session, err = d.DialContext(context.Background(), "tcp4", address)
		}
		dialled <- err
	}()
	if err := <-dialled; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { session.Close() })
	next := byte(0)
	return func(within time.Duration) bool {
		next++
		if _, err := session.Write([]byte{next}); err != nil {
			t.Fatal(err)
		}
		_ = session.SetReadDeadline(time.Now().Add(within))
		for b := make([]byte, 1); ; {
			if _, err := session.Read(b); err != nil {
				return false
			}
			if b[0] == next {
				return true
			}
		}
	}
}
