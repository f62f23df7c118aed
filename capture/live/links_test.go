//go:build linux

package live

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func (s *space) link(name string, change func(netlink.Link) error) {
	s.t.Helper()
	s.do(func() error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return change(l)
	})
}

// changes waits until the events are as told, in words.
func (r *recording) changes(want ...string) {
	r.t.Helper()
	var got []string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		got = nil
		events, _ := r.c.LinkEvents(0)
		for _, e := range events {
			got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s", e.Change, e.Name, e.Old)))
		}
		if slices.Equal(got, want) {
			return
		}
	}
	r.t.Errorf("changes heard: %q, want %q", got, want)
}

// from counts the frames that came by an interface of that name.
func (r *recording) from(name string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, f := range r.frames {
		if r.c.Interfaces()[f.Interface] == name {
			n++
		}
	}
	return n
}

// hears waits until frames that other sends arrive under the name.
func (r *recording) hears(name string, other *space, otherName string) {
	r.t.Helper()
	before := r.from(name)
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		other.inject(otherName, frame(6, netip.MustParseAddrPort("192.0.2.1:4000"), netip.MustParseAddrPort("192.0.2.8:80")))
		if r.from(name) > before {
			return
		}
	}
	r.t.Errorf("no frame came by %s", name)
}

// Whatever becomes of the interfaces, the capture goes on and says what happened.
func TestInterfacesComeAndGo(t *testing.T) {
	for _, only := range []bool{false, true} {
		t.Run(fmt.Sprintf("only=%v", only), func(t *testing.T) {
			a, b := newSpace(t), newSpace(t)
			a.join("eth0", b, "peer0")
			a.up("eth0", "192.0.2.8/24")
			b.up("peer0", "192.0.2.1/24")
			opts := Options{}
			if only {
				opts.Interfaces = []string{"eth0"}
			}
			r := a.record(opts)
			r.hears("eth0", b, "peer0")
			r.changes()

			a.link("eth0", netlink.LinkSetDown)
			r.changes("down eth0")
			a.link("eth0", netlink.LinkSetUp)
			r.changes("down eth0", "up eth0")
			r.hears("eth0", b, "peer0")

			b.link("peer0", netlink.LinkSetDown) // the cable is pulled out at the other end
			r.changes("down eth0", "up eth0", "down eth0")
			b.link("peer0", netlink.LinkSetUp)
			r.changes("down eth0", "up eth0", "down eth0", "up eth0")

			a.link("eth0", netlink.LinkSetDown) // before Linux 6.2 an interface that is up keeps its name
			a.link("eth0", func(l netlink.Link) error { return netlink.LinkSetName(l, "wan0") })
			a.link("wan0", netlink.LinkSetUp)
			r.changes("down eth0", "up eth0", "down eth0", "up eth0", "down eth0", "renamed wan0 eth0", "up wan0")
			r.hears("wan0", b, "peer0")

			a.link("wan0", netlink.LinkDel)
			r.until("it is gone", func([]Frame) bool {
				events, _ := r.c.LinkEvents(0)
				return events[len(events)-1].Change == LinkGone
			})
			seen := r.c.Stats().LinkEvents
			a.join("eth0", b, "peer0")
			a.up("eth0")
			b.up("peer0")
			r.until("it is back", func([]Frame) bool { return r.c.Stats().LinkEvents > seen })
			if fresh, _ := r.c.LinkEvents(seen); fresh[0].Change != LinkNew || fresh[0].Name != "eth0" || !fresh[0].Heard {
				t.Errorf("the new one: %+v", fresh[0])
			}
			r.hears("eth0", b, "peer0")

			a.join("eth9", b, "peer9")
			a.up("eth9")
			b.up("peer9")
			if !only {
				r.hears("eth9", b, "peer9")
				return
			}
			b.inject("peer9", frame(6, netip.MustParseAddrPort("192.0.2.1:4000"), netip.MustParseAddrPort("192.0.2.8:80")))
			r.hears("eth0", b, "peer0")
			if r.from("eth9") > 0 {
				t.Error("eth9 was not asked for, and is listened to")
			}
		})
	}
}

// Messages of another machine's kernel, cut or wrong, do no harm.
func FuzzLinkMessages(f *testing.F) {
	b := make([]byte, unix.SizeofNlMsghdr+unix.SizeofIfInfomsg+8)
	b[0], b[4] = byte(len(b)), unix.RTM_NEWLINK
	b[unix.SizeofNlMsghdr+unix.SizeofIfInfomsg] = 8
	b[unix.SizeofNlMsghdr+unix.SizeofIfInfomsg+2] = unix.IFLA_IFNAME
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		w := &linkWatch{fd: -1, links: map[int32]linkState{}, begun: true}
		if err := w.messages(b, time.Time{}, func(LinkEvent) {}); err != nil {
			t.Fatal(err)
		}
	})
}
