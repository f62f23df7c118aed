package grade

import (
	"fmt"
	"net/netip"
	"os"

	"github.com/moby/ipvs"
	"golang.org/x/sys/unix"
)

// Boots makes the host one that boots by the files in its /etc: its first process is an init, as on a machine, and not the
// program of a container, for which nobody reads these files. What the files say is the scenario's affair, and so is whether it holds.
func (h *Host) Boots(_ struct{}, _ *bool) error {
	return os.WriteFile("/proc/1/comm", []byte("init"), 0o644) // proc(5), /proc/pid/comm: this process's own threads may
}

// Destination gives a TCP service a destination as a program does that speaks netlink itself: with whatever port it was told.
// ipvsadm and keepalived put the service's port in its place (ipvsadm.c, process_options; keepalived's ipvswrapper.c).
func (h *Host) Destination(ends [2]string, _ *bool) error {
	virtual, err := netip.ParseAddrPort(ends[0])
	if err != nil {
		return err
	}
	real, err := netip.ParseAddrPort(ends[1])
	if err != nil {
		return err
	}
	table, err := ipvs.New("")
	if err != nil {
		return fmt.Errorf("ip_vs: %w", err)
	}
	defer table.Close()
	family := func(ip netip.Addr) uint16 {
		if ip.Is4() {
			return unix.AF_INET
		}
		return unix.AF_INET6
	}
	service := &ipvs.Service{AddressFamily: family(virtual.Addr()), Protocol: unix.IPPROTO_TCP, Address: virtual.Addr().AsSlice(), Port: virtual.Port(),
		Netmask: 0xffffffff}
	return table.NewDestination(service, &ipvs.Destination{AddressFamily: family(real.Addr()), Address: real.Addr().AsSlice(), Port: real.Port(), Weight: 1,
		ConnectionFlags: ipvs.ConnectionFlagDirectRoute})
}
