package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// switchName is the namespace that holds the bridges; it is not among Hosts.
const switchName = "switch"

// build makes namespaces, switches, cables, addresses and routes of the plan.
func (l *Lab) build() error {
	for _, name := range append([]string{switchName}, hostNames...) {
		h, err := createHost(name, l.prefix+name)
		if err != nil {
			return err
		}
		if name == switchName {
			l.fabric = h
		} else {
			l.hosts = append(l.hosts, h)
		}
		if err := prepare(h, l.spec); err != nil {
			return err
		}
	}
	for _, s := range l.plan.segments() {
		if err := l.addSwitch(s); err != nil {
			return err
		}
	}
	for _, n := range l.plan.nics {
		if err := l.plug(n); err != nil {
			return err
		}
	}
	for host, address := range l.plan.loopback {
		if err := l.Host(host).addAddress("lo", address); err != nil {
			return err
		}
	}
	for host, gateway := range l.plan.gateways {
		if err := l.Host(host).replaceDefault(gateway, ""); err != nil {
			return err
		}
	}
	return nil
}

// prepare sets a new host's sysctls and brings its loopback up.
func prepare(h *Host, spec Spec) error {
	for _, kv := range sysctls(h.Name, spec.Bare, spec.IPv6) {
		err := h.sysctl(kv[0], kv[1])
		if errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(kv[0], "net/ipv6/") {
			continue // a kernel without IPv6 needs none switched off
		}
		if err != nil {
			return err
		}
	}
	return h.Do(func() error { return linkUp("lo") })
}

// addSwitch makes one segment: a bridge that forwards from the first frame on.
func (l *Lab) addSwitch(segment string) error {
	return l.fabric.Do(func() error {
		off := false
		attrs := netlink.NewLinkAttrs()
		attrs.Name = segment
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &off}); err != nil {
			return fmt.Errorf("switch %s: add bridge: %w", segment, err)
		}
		return linkUp(segment)
	})
}

// plug gives a host a NIC, connects it to its switch and brings both ends up with the NIC's addresses.
func (l *Lab) plug(n nic) error {
	h := l.Host(n.host)
	ns, err := os.Open(h.path)
	if err != nil {
		return fmt.Errorf("host %s: %w", n.host, err)
	}
	defer ns.Close()
	err = l.fabric.Do(func() error {
		bridge, err := netlink.LinkByName(n.segment)
		if err != nil {
			return fmt.Errorf("switch %s: %w", n.segment, err)
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name = n.port()
		attrs.MasterIndex = bridge.Attrs().Index
		attrs.Flags = net.FlagUp
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: n.name,
			PeerHardwareAddr: n.mac(), PeerNamespace: netlink.NsFd(int(ns.Fd()))})
	})
	if err != nil {
		return fmt.Errorf("cable from switch %s to %s %s: %w", n.segment, n.host, n.name, err)
	}
	if err := h.Do(func() error { return linkUp(n.name) }); err != nil {
		return fmt.Errorf("host %s: %w", n.host, err)
	}
	for _, a := range n.addresses {
		if err := h.addAddress(n.name, a); err != nil {
			return err
		}
	}
	return nil
}

// port is the name of the switch's end of the cable.
func (n nic) port() string { return n.host + "-" + n.name }

// mac is made from the host and the interface, so recorded packets can be read: 02:00:00:00:HOST:NIC.
func (n nic) mac() net.HardwareAddr {
	number := map[string]byte{Client: 0x01, Router: 0x02, Director: 0x03, RealServer1: 0x11, RealServer2: 0x12}
	return net.HardwareAddr{2, 0, 0, 0, number[n.host], n.name[len(n.name)-1] - '0'}
}

func linkUp(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("interface %s: set up: %w", name, err)
	}
	return nil
}

// addAddress configures an address, as `ip addr add ADDRESS dev NAME` does.
func (h *Host) addAddress(name, address string) error {
	return h.address("add", name, address, netlink.AddrAdd)
}

// delAddress removes an address, as `ip addr del ADDRESS dev NAME` does.
func (h *Host) delAddress(name, address string) error {
	return h.address("remove", name, address, netlink.AddrDel)
}

func (h *Host) address(verb, name, address string, change func(netlink.Link, *netlink.Addr) error) error {
	return h.Do(func() error {
		link, err := netlink.LinkByName(name)
		if err == nil {
			var a *netlink.Addr
			if a, err = netlink.ParseAddr(address); err == nil {
				err = change(link, a)
			}
		}
		if err != nil {
			return fmt.Errorf("host %s: %s %s on %s: %w", h.Name, verb, address, name, err)
		}
		return nil
	})
}

// replaceAddress puts an address back, whether it is there or not.
func (h *Host) replaceAddress(name, address string) error {
	return h.address("put back", name, address, netlink.AddrReplace)
}

// delAddressIfThere takes an address away that may be gone already.
func (h *Host) delAddressIfThere(name, address string) error {
	if err := h.delAddress(name, address); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return err
	}
	return nil
}

// delLink removes an interface that may be gone already.
func (h *Host) delLink(name string) error {
	return h.Do(func() error {
		link, err := netlink.LinkByName(name)
		if errors.As(err, new(netlink.LinkNotFoundError)) {
			return nil
		}
		if err == nil {
			err = netlink.LinkDel(link)
		}
		if err != nil {
			return fmt.Errorf("host %s: remove interface %s: %w", h.Name, name, err)
		}
		return nil
	})
}

// replaceDefault sets the default route, out of dev if given. An empty gateway removes it.
func (h *Host) replaceDefault(gateway, dev string) error {
	return h.Do(func() error {
		_, everything, _ := net.ParseCIDR("0.0.0.0/0")
		if strings.Contains(gateway, ":") {
			_, everything, _ = net.ParseCIDR("::/0")
		}
		route := &netlink.Route{Dst: everything, Gw: net.ParseIP(gateway)}
		if dev != "" {
			link, err := netlink.LinkByName(dev)
			if err != nil {
				return fmt.Errorf("host %s: interface %s: %w", h.Name, dev, err)
			}
			route.LinkIndex = link.Attrs().Index
		}
		if gateway == "" {
			if err := netlink.RouteDel(route); err != nil {
				return fmt.Errorf("host %s: remove default route: %w", h.Name, err)
			}
			return nil
		}
		if err := netlink.RouteReplace(route); err != nil {
			return fmt.Errorf("host %s: default route via %s: %w", h.Name, gateway, err)
		}
		return nil
	})
}

// forgetNeighbour removes an entry of the host's ARP table, as `ip neigh del` does. No entry is no error.
func (h *Host) forgetNeighbour(name string, ip netip.Addr) error {
	return h.Do(func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("host %s: interface %s: %w", h.Name, name, err)
		}
		err = netlink.NeighDel(&netlink.Neigh{LinkIndex: link.Attrs().Index, IP: ip.AsSlice(), Family: nl.GetIPFamily(ip.AsSlice())})
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("host %s: forget neighbour %s: %w", h.Name, ip, err)
		}
		return nil
	})
}

// lanNIC returns the host's NIC that is plugged into the real servers' segment.
func (l *Lab) lanNIC(host string) string {
	rs := l.plan.nics[len(l.plan.nics)-1]
	i := slices.IndexFunc(l.plan.nics, func(n nic) bool { return n.host == host && n.segment == rs.segment })
	return l.plan.nics[i].name
}
