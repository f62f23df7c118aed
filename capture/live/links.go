//go:build linux

package live

import (
	"encoding/binary"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// LinkChange is what became of an interface while it was listened to.
type LinkChange string

const (
	LinkUp      LinkChange = "up"      // up again, with a carrier
	LinkDown    LinkChange = "down"    // set down, or no carrier
	LinkGone    LinkChange = "gone"    // removed, or moved to another network namespace
	LinkNew     LinkChange = "new"     // appeared; it is listened to unless only others were asked for
	LinkRenamed LinkChange = "renamed" // Old is what it was called
)

// LinkEvent says that an interface changed. The capture goes on whatever happens.
type LinkEvent struct {
	Time   time.Time  `json:"time"`
	Index  int32      `json:"index"`
	Name   string     `json:"interface"`
	Old    string     `json:"old_name,omitempty"`
	Change LinkChange `json:"change"`
	// Heard says whether its packets are captured from now on: all interfaces are, unless some were asked for by name.
	Heard bool `json:"heard"`
}

func (e LinkEvent) String() string {
	text := e.Name + " is " + string(e.Change)
	switch e.Change {
	case LinkRenamed:
		text = e.Old + " is now called " + e.Name
	case LinkUp:
		text = e.Name + " is up again"
	case LinkGone:
		text = e.Name + " is gone"
		if e.Heard {
			text += "; if it comes back it is listened to again"
		}
	}
	if e.Change == LinkNew && !e.Heard {
		text += ", and not listened to"
	}
	return text
}

type linkState struct {
	name string
	up   bool // and running
}

// linkWatch hears from the kernel (rtnetlink(7)) what becomes of the interfaces. What is there at the start comes by a dump on the same
// socket, so nothing can happen in between unnoticed.
type linkWatch struct {
	fd     int
	links  map[int32]linkState
	dumped map[int32]bool // by the dump that is under way; nil: none is
	begun  bool           // the first dump is complete
	again  bool           // messages were lost: dump once more when this one is done
	buf    []byte
	events []LinkEvent
}

const (
	maxLinks      = 4096
	maxLinkEvents = 256 // remembered, the latest
)

func openLinkWatch() (*linkWatch, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, explain("open a netlink socket", err)
	}
	w := &linkWatch{fd: fd, links: map[int32]linkState{}, buf: make([]byte, 64<<10)}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.RTNLGRP_LINK - 1)}); err != nil {
		w.close()
		return nil, explain("listen to changes of interfaces", err)
	}
	if err := w.dump(); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *linkWatch) close() {
	if w.fd >= 0 {
		unix.Close(w.fd)
	}
	w.fd = -1
}

// dump asks for all interfaces. The answers come as messages like those of changes.
func (w *linkWatch) dump() error {
	w.dumped, w.again = map[int32]bool{}, false
	b := make([]byte, unix.SizeofNlMsghdr+unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], unix.RTM_GETLINK)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	if err := unix.Sendto(w.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return explain("ask for the interfaces", err)
	}
	return nil
}

// read takes what the kernel has to tell. changed is called for every change.
func (w *linkWatch) read(changed func(LinkEvent)) error {
	for {
		n, from, err := unix.Recvfrom(w.fd, w.buf, 0)
		switch {
		case err == unix.EAGAIN:
			return nil
		case err == unix.EINTR:
			continue
		case err == unix.ENOBUFS: // more happened at once than the socket holds
			if w.again = true; w.dumped == nil {
				if err := w.dump(); err != nil {
					return err
				}
			}
			continue
		case err != nil:
			return explain("hear of changes of interfaces", err)
		}
		if sa, ok := from.(*unix.SockaddrNetlink); !ok || sa.Pid != 0 {
			continue // not from the kernel
		}
		if err := w.messages(w.buf[:n], time.Now(), changed); err != nil {
			return err
		}
	}
}

// messages walks the messages of one datagram. It stops at the first that claims more than is there.
func (w *linkWatch) messages(b []byte, now time.Time, changed func(LinkEvent)) error {
	for len(b) >= unix.SizeofNlMsghdr {
		n := int(binary.NativeEndian.Uint32(b))
		if n < unix.SizeofNlMsghdr || n > len(b) {
			return nil
		}
		typ, data := binary.NativeEndian.Uint16(b[4:]), b[unix.SizeofNlMsghdr:n]
		switch typ {
		case unix.RTM_NEWLINK:
			w.newLink(data, now, changed)
		case unix.RTM_DELLINK:
			if i, _, _, ok := parseLink(data); ok {
				w.gone(i, now, changed)
			}
		case unix.NLMSG_DONE, unix.NLMSG_ERROR:
			if err := w.dumpDone(now, changed); err != nil {
				return err
			}
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	return nil
}

func (w *linkWatch) dumpDone(now time.Time, changed func(LinkEvent)) error {
	if w.dumped == nil {
		return nil
	}
	for i := range w.links {
		if !w.dumped[i] {
			w.gone(i, now, changed)
		}
	}
	w.dumped, w.begun = nil, true
	if w.again {
		return w.dump()
	}
	return nil
}

func (w *linkWatch) gone(index int32, now time.Time, changed func(LinkEvent)) {
	if old, known := w.links[index]; known {
		delete(w.links, index)
		changed(LinkEvent{Time: now, Index: index, Name: old.name, Change: LinkGone})
	}
}

func (w *linkWatch) newLink(data []byte, now time.Time, changed func(LinkEvent)) {
	index, name, up, ok := parseLink(data)
	if !ok {
		return
	}
	if w.dumped != nil {
		w.dumped[index] = true
	}
	old, known := w.links[index]
	if !known && len(w.links) >= maxLinks {
		return
	}
	w.links[index] = linkState{name, up}
	e := LinkEvent{Time: now, Index: index, Name: name}
	switch {
	case !w.begun: // it was there when the capture began
		return
	case !known:
		e.Change = LinkNew
		changed(e)
		return
	case old.name != name:
		e.Change, e.Old = LinkRenamed, old.name
		changed(e)
		e.Old = ""
	}
	if old.up != up {
		e.Change = LinkDown
		if up {
			e.Change = LinkUp
		}
		changed(e)
	}
}

// parseLink reads an ifinfomsg and its name. A bridge's messages about its ports are of another family and say nothing new.
func parseLink(b []byte) (index int32, name string, up, ok bool) {
	if len(b) < unix.SizeofIfInfomsg || b[0] != unix.AF_UNSPEC {
		return 0, "", false, false
	}
	index = int32(binary.NativeEndian.Uint32(b[4:]))
	flags := binary.NativeEndian.Uint32(b[8:])
	for b = b[unix.SizeofIfInfomsg:]; len(b) >= 4; {
		n := int(binary.NativeEndian.Uint16(b))
		if n < 4 || n > len(b) {
			break
		}
		if binary.NativeEndian.Uint16(b[2:]) == unix.IFLA_IFNAME {
			name = unix.ByteSliceToString(b[4:n])
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	return index, name, flags&unix.IFF_UP != 0 && flags&unix.IFF_LOWER_UP != 0, name != ""
}

// watchLinks takes note of changes: names, and, where only some interfaces were asked for, those of the name that came back.
func (c *Capture) watchLinks() error {
	reattach := false
	err := c.links.read(func(e LinkEvent) {
		asked := slices.Contains(c.opts.Interfaces, e.Name)
		switch {
		case len(c.opts.Interfaces) == 0:
			e.Heard = e.Index != c.loIdx
		case e.Change == LinkNew && asked, e.Change == LinkRenamed && asked && !slices.Contains(c.allow, e.Index):
			c.allow = append(slices.DeleteFunc(c.allow, func(i int32) bool { return c.names[i] == e.Name }), e.Index)
			e.Heard, reattach = true, true
		default:
			e.Heard = slices.Contains(c.allow, e.Index)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if e.Change != LinkGone && len(c.names) < maxNames {
			c.names[e.Index] = e.Name
		}
		if len(c.links.events) == maxLinkEvents {
			c.links.events = append(c.links.events[:0], c.links.events[1:]...)
		}
		c.links.events = append(c.links.events, e)
		c.stats.LinkEvents++
	})
	if err != nil || !reattach {
		return err
	}
	return c.attach(c.stats.Sample)
}

// LinkEvents are the changes of interfaces since Open behind the first n of them, oldest first, as far as they are remembered, and how
// many there were in all: the n for the next time.
func (c *Capture) LinkEvents(n uint64) (fresh []LinkEvent, total uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	total = c.stats.LinkEvents
	count := min(total-min(n, total), uint64(len(c.links.events)))
	return slices.Clone(c.links.events[uint64(len(c.links.events))-count:]), total
}
