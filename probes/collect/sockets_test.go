package collect

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"lvstui/lvs"
)

func TestSocketsAndClients(t *testing.T) {
	realServer(t)
	l, err := net.Listen("tcp", "172.16.0.8:80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	both, err := net.Listen("tcp", "[::]:8080")
	if err != nil {
		t.Fatal(err)
	}
	defer both.Close()
	u, err := net.ListenPacket("udp", "172.16.0.8:53")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	only := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		c.Control(func(fd uintptr) {
			if err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err == nil {
				err = unix.BindToDevice(int(fd), "eth0.100")
			}
		})
		return err
	}}
	six, err := only.Listen(context.Background(), "tcp6", "[::]:9090")
	if err != nil {
		t.Fatal(err)
	}
	defer six.Close()
	// A client in a namespace of its own, across eth0.100's other end, whose connection is accepted.
	client := connect(t, "eth0.100p", "188.88.88.10/32", "172.16.0.8:80")
	defer client()
	self, err := net.Dial("tcp", "172.16.0.8:80") // which never leaves the host
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()

	s := look(t, Options{})
	type key struct {
		protocol lvs.Protocol
		address  string
		port     uint16
	}
	got := map[key]lvs.Socket{}
	for _, x := range s.Sockets {
		got[key{x.Protocol, x.Address.String(), x.Port}] = x
	}
	if x, ok := got[key{lvs.TCP, "172.16.0.8", 80}]; !ok || x.Backlog == 0 {
		t.Errorf("the web server: %+v", s.Sockets)
	}
	if x, ok := got[key{lvs.TCP, "::", 8080}]; !ok || x.V6Only {
		t.Errorf("the dual-stack server: %+v", s.Sockets)
	}
	if x, ok := got[key{lvs.TCP, "::", 9090}]; !ok || !x.V6Only || x.Device != "eth0.100" {
		t.Errorf("the IPv6-only server bound to a device: %+v", s.Sockets)
	}
	if _, ok := got[key{lvs.UDP, "172.16.0.8", 53}]; !ok {
		t.Errorf("the UDP server: %+v", s.Sockets)
	}
	if len(got) != 4 {
		t.Errorf("%d sockets: %+v", len(got), s.Sockets)
	}
	if want := (lvs.Client{Address: ip("188.88.88.10"), Virtual: ip("172.16.0.8"), Origin: "socket"}); !slices.Contains(s.Clients, want) {
		t.Errorf("clients %+v, want %+v", s.Clients, want)
	}
	if own := (lvs.Client{Address: ip("172.16.0.8"), Virtual: ip("172.16.0.8"), Origin: "socket"}); !slices.Contains(s.Clients, own) {
		t.Errorf("clients %+v, want this host's own connection", s.Clients)
	}
	if slices.ContainsFunc(s.Answers, func(a lvs.RouteAnswer) bool { return a.Src == ip("172.16.0.8") && a.Iif != "" }) {
		t.Errorf("routes were asked for the host itself as a client: %+v", s.Answers)
	}
	named, err := (&collector{deadline: time.Now().Add(time.Minute), proc: procfs{"/proc"}, modules: modules{none: true}}).listeners(lvs.TCP)
	if err != nil {
		t.Fatal(err)
	}
	(&collector{proc: procfs{"/proc"}}).nameProcesses(named, time.Minute)
	for _, x := range named {
		if x.Process != "collect.test" {
			t.Errorf("the process behind %+v was not found", x)
		}
	}
	// What /proc tells is the same but for what it lacks.
	c := &collector{opt: Options{}.withDefaults(), deadline: time.Now().Add(time.Minute), proc: procfs{"/proc"},
		modules: modules{loaded: map[string]bool{}}, s: &lvs.Snapshot{Addresses: s.Addresses}}
	c.readSockets()
	var want []lvs.Socket
	for _, x := range s.Sockets {
		x.V6Only, x.Device, x.Backlog, x.Process = false, "", 0, ""
		want = append(want, x)
	}
	for i := range c.s.Sockets {
		c.s.Sockets[i].Process = "" // found only when that is quick
	}
	if diff := cmp.Diff(want, c.s.Sockets, same); diff != "" || len(c.s.Gaps) == 0 {
		t.Errorf("from /proc, with gaps %+v: %s", c.s.Gaps, diff)
	}
	c.vips = []netip.Addr{ip("172.16.0.8")}
	c.socketClients()
	if len(c.clients) != 1 || c.clients[0].Address != ip("188.88.88.10") {
		t.Errorf("clients from /proc: %+v", c.clients)
	}
}
