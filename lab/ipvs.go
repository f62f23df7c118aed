package lab

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"

	"github.com/moby/ipvs"
	"golang.org/x/sys/unix"
)

// needIPVS loads ip_vs, which the operator asked for by starting the lab, and says what to do when there is none.
func needIPVS() error {
	const table = "/proc/net/ip_vs"
	if _, err := os.Stat(table); err == nil {
		return nil
	}
	said, loading := exec.Command("modprobe", "ip_vs").CombinedOutput()
	if _, err := os.Stat(table); err == nil {
		return nil
	}
	why := "modprobe ip_vs says nothing"
	if loading != nil {
		why = strings.TrimSpace(fmt.Sprintf("modprobe ip_vs: %v %s", loading, said))
	}
	return fmt.Errorf("this kernel has no ip_vs (%s), so no director can run on it; let the lab boot a kernel of its own: lvstui lab --guest", why)
}

// withIPVS runs fn with a handle on the director's IPVS table.
func (l *Lab) withIPVS(fn func(*ipvs.Handle) error) error {
	return l.Host(Director).Do(func() error {
		h, err := ipvs.New("")
		if err == nil {
			defer h.Close()
			err = fn(h)
		}
		if err != nil {
			return fmt.Errorf("IPVS of the director: %w", err)
		}
		return nil
	})
}

// schedule sets up the virtual service with both real servers, round robin, direct routing.
func (l *Lab) schedule(port uint16) error {
	return l.withIPVS(func(h *ipvs.Handle) error {
		s := l.service(port)
		if err := h.NewService(s); err != nil {
			return fmt.Errorf("add virtual service %s:%d: %w", l.plan.vip, port, err)
		}
		for _, rip := range []netip.Addr{RIP1, RIP2} {
			if err := h.NewDestination(s, destinationOn(rip, port)); err != nil {
				return fmt.Errorf("add destination %s: %w", rip, err)
			}
		}
		return nil
	})
}

// service is the TCP virtual service on the VIP and a port.
func (l *Lab) service(port uint16) *ipvs.Service {
	return &ipvs.Service{AddressFamily: unix.AF_INET, Protocol: unix.IPPROTO_TCP, Address: l.plan.vip.AsSlice(),
		Port: port, SchedName: ipvs.RoundRobin, Netmask: 0xffffffff}
}

// destination is a real server of weight 1, reached by direct routing.
func destination(rip netip.Addr) *ipvs.Destination { return destinationOn(rip, Port) }

func destinationOn(rip netip.Addr, port uint16) *ipvs.Destination {
	return &ipvs.Destination{AddressFamily: unix.AF_INET, Address: rip.AsSlice(), Port: port, Weight: 1,
		ConnectionFlags: ipvs.ConnectionFlagDirectRoute}
}
