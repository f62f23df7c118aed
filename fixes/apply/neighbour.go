package apply

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"lvstui/fixes"
)

func (k *kernel) doNeighbour(st fixes.Step) error {
	switch st := st.(type) {
	case fixes.AddNeighbour:
		link, err := k.nl.LinkByName(st.Device)
		if err != nil {
			return refused(err)
		}
		mac, err := net.ParseMAC(st.MAC)
		if err != nil {
			return err
		}
		return refused(k.nl.NeighSet(&netlink.Neigh{LinkIndex: link.Attrs().Index, Family: familyOf(st.Address.Is6()), State: netlink.NUD_PERMANENT,
			IP: st.Address.AsSlice(), HardwareAddr: mac}))
	case fixes.DelNeighbour:
		link, err := k.nl.LinkByName(st.Device)
		if err != nil {
			return refused(err)
		}
		err = k.nl.NeighDel(&netlink.Neigh{LinkIndex: link.Attrs().Index, Family: familyOf(st.Address.Is6()), IP: st.Address.AsSlice()})
		if errors.Is(err, unix.ENOENT) {
			return nil // the kernel has forgotten it by itself
		}
		return refused(err)
	}
	return fmt.Errorf("no way to do a step of kind %s", st.Kind())
}

func familyOf(six bool) int {
	if six {
		return netlink.FAMILY_V6
	}
	return netlink.FAMILY_V4
}
