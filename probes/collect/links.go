package collect

import (
	"bytes"
	"errors"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"lvstui/internal/arrange"
	"lvstui/lvs"
)

// routeHandle opens vishvananda/netlink's socket on this thread, so that it lives in the thread's namespace.
func (c *collector) routeHandle() (*netlink.Handle, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	return h, h.SetSocketTimeout(max(time.Until(c.deadline), time.Millisecond))
}

func (c *collector) readLinks() {
	h, err := c.routeHandle()
	if err != nil {
		c.gapError(lvs.SourceLinks, "interfaces (netlink)", err)
		return
	}
	defer h.Close()
	var links []netlink.Link
	err = again(func() error {
		links, err = h.LinkList()
		if errors.Is(err, netlink.ErrDumpInterrupted) {
			return errInterrupted
		}
		return err
	})
	if err != nil {
		c.gapError(lvs.SourceLinks, "interfaces (ip link show)", err)
		return
	}
	c.s.Links, c.links = convertLinks(links)
	c.readFeatures()
	c.readIngress()
}

// convertLinks translates vishvananda/netlink's types at the rim.
func convertLinks(links []netlink.Link) ([]lvs.Link, map[int]lvs.Link) {
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	out, byIndex := make([]lvs.Link, 0, len(links)), map[int]lvs.Link{}
	for _, l := range links {
		a := l.Attrs()
		link := lvs.Link{
			Index: a.Index, Name: a.Name, Kind: l.Type(), Type: a.EncapType, MAC: a.HardwareAddr.String(), MTU: a.MTU,
			Up: a.RawFlags&unix.IFF_UP != 0, Running: a.RawFlags&unix.IFF_LOWER_UP != 0, NoARP: a.RawFlags&unix.IFF_NOARP != 0,
			Master: names[a.MasterIndex], XDP: a.Xdp != nil && a.Xdp.Attached,
		}
		if link.Kind == "device" {
			link.Kind = "" // the library's word for no kind at all
		}
		if !bytes.Equal(a.PermHWAddr, a.HardwareAddr) {
			link.PermMAC = a.PermHWAddr.String()
		}
		// A parent that lives in another namespace has an index of that namespace.
		if a.ParentIndex != 0 && a.ParentIndex != a.Index && a.NetNsID < 0 {
			link.Parent = names[a.ParentIndex]
		}
		if a.ParentIndex != 0 && a.NetNsID >= 0 {
			link.ParentElsewhere = a.ParentIndex
		}
		switch v := l.(type) {
		case *netlink.Vlan:
			link.VLAN = v.VlanId
		case *netlink.Bond:
			link.Mode = v.Mode.String()
		case *netlink.Macvlan:
			link.Mode = macvlanModes[v.Mode]
		}
		out, byIndex[a.Index] = append(out, link), link
	}
	arrange.By(out, func(a, b lvs.Link) int { return a.Index - b.Index })
	return out, byIndex
}

var macvlanModes = map[netlink.MacvlanMode]string{netlink.MACVLAN_MODE_PRIVATE: "private", netlink.MACVLAN_MODE_VEPA: "vepa",
	netlink.MACVLAN_MODE_BRIDGE: "bridge", netlink.MACVLAN_MODE_PASSTHRU: "passthru", netlink.MACVLAN_MODE_SOURCE: "source"}

// device is the name of an interface, or "" when it is not one of those that were read.
func (c *collector) device(index uint32) string { return c.links[int(index)].Name }
