//go:build linux

package live

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lvstui/capture"
	"lvstui/lvs"
)

func track(frames []Frame, cfg capture.Config) *capture.Tracker {
	tr := capture.NewTracker(cfg)
	for i := range frames {
		tr.Add(&frames[i].Packet)
	}
	return tr
}

// TestConnectionThroughRouter watches one real connection from its three hosts.
func TestConnectionThroughRouter(t *testing.T) {
	client, router, server := newSpace(t), newSpace(t), newSpace(t)
	client.join("eth0", router, "c0")
	router.join("s0", server, "eth0")
	client.up("eth0", "10.1.0.2/24")
	router.up("c0", "10.1.0.1/24")
	router.up("s0", "10.2.0.1/24")
	server.up("lo", "172.16.0.8/32")
	server.up("eth0", "10.2.0.2/24")
	router.sysctl("ipv4/ip_forward", "1")
	client.route("0.0.0.0/0", "10.1.0.1")
	router.route("172.16.0.8/32", "10.2.0.2")
	server.route("0.0.0.0/0", "10.2.0.1")
	server.serve("172.16.0.8:80")

	opts := Options{Virtuals: []netip.Addr{netip.MustParseAddr("172.16.0.8")}, Ports: []uint16{80}}
	at := map[lvs.Vantage]*recording{
		lvs.RoleClient: client.record(opts), lvs.RoleRouter: router.record(opts), lvs.RoleRealServer: server.record(opts),
	}
	client.ask("172.16.0.8:80")

	var isn uint32
	for vantage, rec := range at {
		var f capture.Flow
		rec.until(string(vantage)+" sees the connection close", func(frames []Frame) bool {
			flows := track(frames, capture.Config{}).Flows()
			if len(flows) == 1 {
				f = flows[0]
			}
			return len(flows) == 1 && f.Outcome == capture.Closed
		})
		if f.Vantage != vantage {
			t.Errorf("captured on the %s, inferred %s", vantage, f.Vantage)
		}
		if f.BytesToVirtual != 5 || f.BytesToClient != 6 || f.Reached != lvs.Established || f.Handshake <= 0 ||
			f.SynRetransmits+f.SynAckRetransmits+f.DataRetransmits != 0 {
			t.Errorf("%s: %+v", vantage, f)
		}
		if isn == 0 {
			isn = f.ISN
		}
		if f.ISN != isn {
			t.Errorf("%s: ISN %d, elsewhere %d", vantage, f.ISN, isn)
		}
		if wantFrames := f.Packets; vantage == lvs.RoleRouter {
			if f.Frames != 2*wantFrames {
				t.Errorf("router: %d packets in %d frames, want each twice", f.Packets, f.Frames)
			}
		} else if f.Frames != wantFrames {
			t.Errorf("%s: %d packets in %d frames", vantage, f.Packets, f.Frames)
		}
		if s := rec.c.Stats(); s.Drops != 0 || s.Packets == 0 || s.Sample != 1 {
			t.Errorf("%s: stats %+v", vantage, s)
		}
	}
	names := at[lvs.RoleRouter].c.Interfaces()
	got := map[string]bool{}
	for _, n := range names {
		got[n] = true
	}
	if !got["c0"] || !got["s0"] || len(got) != 2 {
		t.Errorf("interfaces on the router: %v", names)
	}
}

// TestRouterDropsReply is the article's fault in small: strict reverse-path filtering on the router.
func TestRouterDropsReply(t *testing.T) {
	client, router, server := newSpace(t), newSpace(t), newSpace(t)
	client.join("eth0", router, "c0")
	router.join("v0", server, "vip0")
	router.join("r0", server, "rip0")
	client.up("eth0", "10.1.0.2/24")
	router.up("c0", "10.1.0.1/24")
	router.up("v0", "172.16.0.1/24")
	router.up("r0", "10.2.0.1/24")
	server.up("vip0", "172.16.0.8/24")
	server.up("rip0", "10.2.0.2/24")
	router.sysctl("ipv4/ip_forward", "1")
	router.sysctl("ipv4/conf/all/rp_filter", "1")
	server.sysctl("ipv4/conf/all/rp_filter", "0")
	server.sysctl("ipv4/conf/vip0/rp_filter", "0")
	server.sysctl("ipv4/conf/all/arp_announce", "2") // the router would not answer an ARP request from the VIP
	client.route("0.0.0.0/0", "10.1.0.1")
	server.route("0.0.0.0/0", "10.2.0.1") // the reply leaves by the other leg
	server.serve("172.16.0.8:80")

	opts := Options{Virtuals: []netip.Addr{netip.MustParseAddr("172.16.0.8")}}
	onRouter, onServer, onClient := router.record(opts), server.record(opts), client.record(opts)
	client.do(func() error { // a connect that stays open while the kernel resends the SYN
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return err
		}
		t.Cleanup(func() { unix.Close(fd) })
		if err := unix.Connect(fd, &unix.SockaddrInet4{Port: 80, Addr: [4]byte{172, 16, 0, 8}}); err != unix.EINPROGRESS {
			return err
		}
		return nil
	})
	check := func(rec *recording, v lvs.Vantage, reached, stalledAt lvs.Stage) {
		t.Helper()
		var f capture.Flow
		rec.until(string(v)+" sees it stall", func(frames []Frame) bool {
			flows := track(frames, capture.Config{}).Flows()
			if len(flows) == 1 {
				f = flows[0]
			}
			return len(flows) == 1 && f.Outcome == capture.Stalled
		})
		if f.Vantage != v || f.Reached != reached || f.StalledAt != stalledAt || len(f.Suspects) == 0 {
			t.Errorf("%s: vantage %s, reached %s, stalled at %s, suspects %v", v, f.Vantage, f.Reached, f.StalledAt, f.Suspects)
		}
		if v != lvs.RoleClient && f.Suspects[0] != "router-urpf-or-source-guard" {
			t.Errorf("%s: suspects %v", v, f.Suspects)
		}
	}
	check(onServer, lvs.RoleRealServer, lvs.SynAckSent, lvs.SynAckAtClient)
	check(onRouter, lvs.RoleRouter, lvs.SynAckSent, lvs.SynAckAtClient)
	check(onClient, lvs.RoleClient, lvs.SynSent, lvs.SynAckAtClient)
}

func TestDropsAreCounted(t *testing.T) {
	a, b := newSpace(t), newSpace(t)
	a.join("eth0", b, "eth0")
	a.up("eth0", "10.1.0.1/24")
	b.up("eth0", "10.1.0.2/24")
	var c *Capture
	b.do(func() (err error) {
		c, err = Open(Options{BlockSize: 4096, Blocks: 2, FixedRate: true, Interfaces: []string{"eth0"}})
		return err
	})
	defer c.Close()
	f := frame(6, netip.MustParseAddrPort("10.1.0.1:1000"), netip.MustParseAddrPort("10.1.0.2:80"))
	burst := make([][]byte, 500)
	for i := range burst {
		burst[i] = f
	}
	a.inject("eth0", burst...) // nobody reads the ring: it holds a few dozen
	s := c.Stats()
	if s.Packets < 500 || s.Drops < 300 || s.Drops >= s.Packets || s.Freezes == 0 {
		t.Errorf("stats %+v", s)
	}
	if again := c.Stats(); again.Drops < s.Drops || again.Packets < s.Packets {
		t.Errorf("the kernel resets its counts when read; ours must not: %+v, then %+v", s, again)
	}
}

func TestFilter(t *testing.T) {
	ap := netip.MustParseAddrPort
	vip, vip6 := "172.16.0.8", "2001:db8::8"
	fragment := frame(6, ap("10.9.9.9:1000"), ap(vip+":80"))
	fragment[14+7] = 100
	options := frame(6, ap("10.9.9.9:1001"), ap(vip+":80"))
	options = append(options[:34:34], append([]byte{1, 1, 1, 0}, options[34:]...)...)
	options[14], options[17] = 0x46, 44
	arp := func(spa, tpa string) []byte {
		b := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9}, 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9)
		b = append(b, netip.MustParseAddr(spa).AsSlice()...)
		b = append(b, 0, 0, 0, 0, 0, 0)
		return append(b, netip.MustParseAddr(tpa).AsSlice()...)
	}
	both := Options{Virtuals: []netip.Addr{netip.MustParseAddr(vip), netip.MustParseAddr(vip6)}, Ports: []uint16{80, 443}}
	open := Options{SSHConnection: "10.9.9.9 50000 10.1.0.2 22"}
	cases := []struct {
		name  string
		frame []byte
		want  [2]bool // with both, with open
	}{
		{"to the service", frame(6, ap("10.9.9.9:1000"), ap(vip+":80")), [2]bool{true, true}},
		{"to its second port", frame(6, ap("10.9.9.9:1000"), ap(vip+":443")), [2]bool{true, true}},
		{"from the service", frame(6, ap(vip+":80"), ap("10.9.9.9:1000")), [2]bool{true, true}},
		{"UDP to the service", frame(17, ap("10.9.9.9:1000"), ap(vip+":80")), [2]bool{true, true}},
		{"IP options", options, [2]bool{true, true}},
		{"tagged", tagged(frame(6, ap("10.9.9.9:1000"), ap(vip+":80")), 10), [2]bool{true, true}},
		{"IPv6", frame(6, ap("[2001:db8::1]:1000"), ap("["+vip6+"]:80")), [2]bool{true, true}},
		{"IPv6 from the service", frame(6, ap("["+vip6+"]:80"), ap("[2001:db8::1]:1000")), [2]bool{true, true}},
		{"ICMP", frame(1, ap("10.9.9.9:0"), ap("10.1.0.2:0")), [2]bool{true, true}},
		{"IPIP", tunnelled(frame(6, ap("10.9.9.9:1000"), ap(vip+":80"))), [2]bool{true, true}},
		{"ARP for the VIP", arp("10.1.0.77", vip), [2]bool{true, true}},
		{"ARP that claims the VIP", arp(vip, "10.1.0.77"), [2]bool{true, true}},
		{"another port", frame(6, ap("10.9.9.9:80"), ap(vip+":81")), [2]bool{false, true}},
		{"another address", frame(6, ap("10.9.9.9:1000"), ap("172.16.0.9:80")), [2]bool{false, true}},
		{"another IPv6 address", frame(6, ap("[2001:db8::1]:1000"), ap("[2001:db8::9]:80")), [2]bool{false, true}},
		{"ARP for another", arp("10.1.0.77", "10.1.0.78"), [2]bool{false, true}},
		{"later fragment", fragment, [2]bool{false, false}},
		{"the operator's session", frame(6, ap("10.9.9.9:50000"), ap("10.1.0.2:22")), [2]bool{false, false}},
		{"its other way", frame(6, ap("10.1.0.2:22"), ap("10.9.9.9:50000")), [2]bool{false, false}},
		{"somebody else's session", frame(6, ap("10.9.9.9:50001"), ap("10.1.0.2:22")), [2]bool{false, true}},
		{"SCTP", frame(132, ap("10.9.9.9:1000"), ap(vip+":80")), [2]bool{false, false}},
	}
	a, b := newSpace(t), newSpace(t)
	a.join("eth0", b, "eth0")
	a.up("eth0")
	b.up("eth0")
	b.sysctl("ipv6/conf/eth0/disable_ipv6", "1") // it would talk by itself
	a.sysctl("ipv6/conf/eth0/disable_ipv6", "1")
	// 2, 3: the addresses do not fit into the filter; the addresses fit but the ports do not.
	many := both
	for i := range maxFilterVirtuals {
		many.Virtuals = append(many.Virtuals, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
	}
	recs := []*recording{b.record(both), b.record(open), b.record(many)}
	end := frame(1, ap("10.99.99.99:0"), ap("10.1.0.2:0"))
	for _, c := range cases {
		a.inject("eth0", c.frame, end)
	}
	for k, rec := range recs {
		frames := rec.until("the marker behind the last case", func(f []Frame) bool {
			n := 0
			for i := range f {
				if f[i].Src == netip.MustParseAddr("10.99.99.99") {
					n++
				}
			}
			return n == len(cases)
		})
		i := 0
		got := make([]bool, len(cases))
		for _, f := range frames {
			if f.Src == netip.MustParseAddr("10.99.99.99") {
				i++
			} else {
				got[i] = true
				if f.Dir != capture.In {
					t.Errorf("%s: direction %q", cases[i].name, f.Dir)
				}
				if f.VLAN != 0 != (cases[i].name == "tagged") {
					t.Errorf("%s: VLAN %d", cases[i].name, f.VLAN)
				}
			}
		}
		for i, c := range cases {
			if k == 2 { // too many addresses: the ports still count, and a superset is let through
				if c.want[0] && !got[i] {
					t.Errorf("many addresses, %s: lost", c.name)
				}
				continue
			}
			if got[i] != c.want[k] {
				t.Errorf("options %d, %s: captured %v, want %v", k, c.name, got[i], c.want[k])
			}
		}
	}
}

func TestLoopbackOnlyWhenNamed(t *testing.T) {
	s := newSpace(t)
	s.up("lo")
	s.serve("127.0.0.1:80")
	named, unnamed := s.record(Options{Interfaces: []string{"lo"}}), s.record(Options{})
	s.ask("127.0.0.1:80")
	named.until("both directions on lo", func(f []Frame) bool { return len(f) >= 16 })
	if n := unnamed.c.Stats().Packets; n != 0 {
		t.Errorf("%d packets of lo captured without asking for it", n)
	}
	s.do(func() error {
		_, err := Open(Options{Interfaces: []string{"eth7"}})
		if err == nil || !strings.Contains(err.Error(), `"eth7"`) {
			return fmt.Errorf("an interface that is not there: %v", err)
		}
		return nil
	})
}

func TestHotAddedInterface(t *testing.T) {
	a, b := newSpace(t), newSpace(t)
	rec := b.record(Options{})
	a.join("late", b, "late0")
	a.up("late", "10.1.0.1/24")
	b.up("late0", "10.1.0.2/24")
	b.serve("10.1.0.2:80")
	a.ask("10.1.0.2:80")
	rec.until("the new interface is named", func([]Frame) bool {
		for _, name := range rec.c.Interfaces() {
			if name == "late0" {
				return true
			}
		}
		return false
	})
}

// TestRunAgain: what ended one Run does not keep the next one from sleeping.
func TestRunAgain(t *testing.T) {
	a := newSpace(t)
	var c *Capture
	a.do(func() (err error) { c, err = Open(Options{}); return err })
	over, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.Run(over, func([]Frame) {}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Run(context.Background(), func([]Frame) {}) }()
	for i := 0; ; i++ {
		if n, err := unix.Poll([]unix.PollFd{{Fd: int32(c.wake), Events: unix.POLLIN}}, 0); err == nil && n == 0 {
			break
		}
		if i == 500 {
			t.Error("the second Run never sleeps")
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestSamplingKeepsWholeFlows(t *testing.T) {
	a, b := newSpace(t), newSpace(t)
	a.join("eth0", b, "eth0")
	a.up("eth0", "10.1.0.1/24")
	b.up("eth0", "10.1.0.2/24")
	rec := b.record(Options{FixedRate: true})
	if err := rec.c.attach(2); err != nil {
		t.Fatal(err)
	}
	b.serve("10.1.0.2:80")
	const conns = 64
	for range conns {
		a.ask("10.1.0.2:80")
	}
	time.Sleep(100 * time.Millisecond)
	flows := track(rec.until("some flows", func(f []Frame) bool { return len(f) > 0 }), capture.Config{}).Flows()
	if len(flows) < conns/8 || len(flows) > conns*7/8 {
		t.Errorf("%d of %d flows captured, want about half", len(flows), conns)
	}
	for _, f := range flows {
		if f.Outcome != capture.Closed || f.BytesToVirtual != 5 || f.BytesToClient != 6 {
			t.Errorf("a sampled flow is not whole: %+v", f)
		}
	}
}

func TestLoadWatch(t *testing.T) {
	now := time.Unix(0, 0)
	l := loadWatch{sample: 1}
	for i, step := range []struct {
		after time.Duration
		drops uint64
		want  int
	}{{0, 0, 1}, {time.Second, 10, 2}, {time.Second, 30, 4}, {time.Second, 30, 4}, {calm, 30, 2}, {time.Second, 30, 2}, {calm, 30, 1}, {calm, 30, 1}} {
		now = now.Add(step.after)
		if got := l.step(now, step.drops); got != step.want {
			t.Errorf("step %d: one in %d, want one in %d", i, got, step.want)
		}
	}
	for drops := uint64(100); drops < 200; drops++ {
		now = now.Add(time.Second)
		l.step(now, drops)
	}
	if l.sample != maxSample {
		t.Errorf("under lasting overload one in %d", l.sample)
	}
}

func TestWithoutPrivilege(t *testing.T) {
	s := newSpace(t)
	s.do(func() error {
		hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3} // pid 0: this thread only
		var none [2]unix.CapUserData
		if err := unix.Capset(&hdr, &none[0]); err != nil {
			return err
		}
		_, err := Open(Options{})
		if err == nil || !strings.Contains(err.Error(), "CAP_NET_RAW") || !strings.Contains(err.Error(), "sudo") {
			return fmt.Errorf("want an error that names CAP_NET_RAW and sudo, got: %v", err)
		}
		return nil
	})
}
