package apply

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"

	"github.com/moby/ipvs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"lvstui/fixes"
	"lvstui/lvs"
)

// procSys is a constant of the kernel's interface. /proc/sys/net shows the namespace of the thread that opens it.
const procSys = "/proc/sys"

// lackError says that the operator lacks a right.
type lackError struct{ what string }

func (e *lackError) Error() string { return e.what }

// kernel does steps in the network namespace of the thread that opened it.
type kernel struct {
	nl   *netlink.Handle
	sys  *os.Root
	ipvs *ipvs.Handle // opened by table
}

// openKernel opens the interfaces to change the namespace of this thread, which must be netns.
func openKernel(netns string) (*kernel, error) {
	if here, err := namespaceName(); err != nil || here != netns {
		return nil, fmt.Errorf("this thread is in the network namespace %s (%v), the change belongs to %s", here, err, netns)
	}
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	sys, err := os.OpenRoot(procSys)
	if err != nil {
		nl.Close()
		return nil, err
	}
	return &kernel{nl: nl, sys: sys}, nil
}

func (k *kernel) Close() {
	k.nl.Close()
	k.sys.Close()
	if k.ipvs != nil {
		k.ipvs.Close()
	}
}

// do is the one place in lvstui where a host is changed.
func (k *kernel) do(st fixes.Step) error {
	switch st := st.(type) {
	case fixes.SetSysctl:
		return k.setSysctl(st)
	case fixes.AddAddress:
		return k.addAddress(st)
	case fixes.DelAddress:
		return k.delAddress(st)
	case fixes.AddService, fixes.EditService, fixes.DelService, fixes.AddDestination, fixes.EditDestination, fixes.DelDestination, fixes.SetTimeouts:
		return k.doIPVS(st)
	case fixes.AddRoute, fixes.ReplaceRoute, fixes.DelRoute:
		return k.doRoute(st)
	case fixes.AddRule:
		return refused(k.nl.RuleAdd(ruleOf(st)))
	case fixes.DelRule:
		return refused(k.nl.RuleDel(ruleOf(fixes.AddRule(st))))
	case fixes.AddNeighbour, fixes.DelNeighbour:
		return k.doNeighbour(st)
	case fixes.AddAccept, fixes.DelAccept:
		return doAccept(st)
	case fixes.Announce:
		return k.doAnnounce(st)
	case fixes.LoadModule:
		return k.loadModule(st)
	case fixes.UnloadModule:
		return k.unloadModule(st)
	}
	return fmt.Errorf("no way to do a step of kind %s", st.Kind())
}

func (k *kernel) setSysctl(st fixes.SetSysctl) error {
	f, err := k.sys.OpenFile(st.Path, os.O_WRONLY, 0)
	if err != nil {
		return refused(err)
	}
	if _, err = f.WriteString(st.Value + "\n"); err != nil {
		f.Close()
		return refused(err)
	}
	return refused(f.Close())
}

func (k *kernel) addAddress(st fixes.AddAddress) error {
	link, err := k.nl.LinkByName(st.Device)
	if err != nil {
		return refused(err)
	}
	a := &netlink.Addr{IPNet: ipNet(st.Prefix), Label: st.Label, Scope: scopeNumber(st.ScopeName())}
	if st.Peer.IsValid() {
		a.Peer = ipNet(st.Peer)
	}
	if st.NoPrefixRoute {
		a.Flags = unix.IFA_F_NOPREFIXROUTE
	}
	// Without one the library would make one up.
	if a.Broadcast = net.IPv4zero; st.Broadcast.IsValid() {
		a.Broadcast = st.Broadcast.AsSlice()
	}
	return refused(k.nl.AddrAdd(link, a))
}

// delAddress deletes exactly the address that is there, peer and all: given less, the kernel takes the first that fits.
func (k *kernel) delAddress(st fixes.DelAddress) error {
	link, err := k.nl.LinkByName(st.Device)
	if err != nil {
		return refused(err)
	}
	family := netlink.FAMILY_V6
	if st.Prefix.Addr().Is4() {
		family = netlink.FAMILY_V4
	}
	list, err := k.nl.AddrList(link, family)
	if err != nil {
		return refused(err)
	}
	for _, a := range list {
		if ip, ok := netip.AddrFromSlice(a.IP); ok && ip.Unmap() == st.Prefix.Addr() {
			if bits, _ := a.Mask.Size(); bits == st.Prefix.Bits() {
				a.Flags = 0
				return refused(k.nl.AddrDel(link, &a))
			}
		}
	}
	return fmt.Errorf("%s is not on %s any more", st.Prefix, st.Device)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func scopeNumber(scope string) int {
	switch scope {
	case "site":
		return unix.RT_SCOPE_SITE
	case "link":
		return unix.RT_SCOPE_LINK
	case "host":
		return unix.RT_SCOPE_HOST
	}
	return unix.RT_SCOPE_UNIVERSE
}

// refused says why the kernel did not do it.
func refused(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EROFS):
		return &lackError{procSys + " is read-only here, as in a container without privileges: make the change on the host, in this network namespace"}
	case errors.Is(err, fs.ErrPermission):
		return &lackError{"not permitted: changing this host needs CAP_NET_ADMIN"}
	}
	return err
}

// permitted finds out before anything is written down whether the kernel would refuse.
func permitted(plan fixes.Plan, s *lvs.Snapshot) error {
	if s.Capabilities != nil && !slices.Contains(s.Capabilities, "CAP_NET_ADMIN") {
		return refused(fs.ErrPermission)
	}
	for _, st := range plan.Steps {
		set, ok := st.(fixes.SetSysctl)
		if !ok {
			continue
		}
		if err := unix.Faccessat(unix.AT_FDCWD, procSys+"/"+set.Path, unix.W_OK, unix.AT_EACCESS); err != nil {
			return fmt.Errorf("%s: %w", set.Command(), refused(err))
		}
	}
	return nil
}
