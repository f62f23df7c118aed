package apply

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/moby/ipvs"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"lvstui/fixes"
	"lvstui/lvs"
)

// table opens ip_vs in the namespace of this thread, at the first step that needs it.
func (k *kernel) table() (*ipvs.Handle, error) {
	if k.ipvs != nil {
		return k.ipvs, nil
	}
	logrus.SetOutput(io.Discard) // the library logs to standard error, where the screen is
	h, err := ipvs.New("")
	if err != nil {
		return nil, fmt.Errorf("ip_vs: %w", refused(err))
	}
	k.ipvs = h
	return h, nil
}

func (k *kernel) doIPVS(st fixes.Step) error {
	h, err := k.table()
	if err != nil {
		return err
	}
	switch st := st.(type) {
	case fixes.AddService:
		v, err := serviceOf(st)
		if err != nil {
			return err
		}
		return refused(h.NewService(v))
	case fixes.EditService:
		v, err := serviceOf(fixes.AddService(st))
		if err != nil {
			return err
		}
		if err := returnable(h, st.Service); err != nil {
			return err
		}
		return refused(h.UpdateService(v))
	case fixes.DelService:
		if err := returnable(h, st.Service); err != nil {
			return err
		}
		return refused(h.DelService(serviceName(st.Service)))
	case fixes.AddDestination:
		return refused(h.NewDestination(serviceName(st.Service), destinationOf(st)))
	case fixes.EditDestination:
		return refused(h.UpdateDestination(serviceName(st.Service), destinationOf(fixes.AddDestination(st))))
	case fixes.SetTimeouts:
		seconds := func(n uint32) time.Duration { return time.Duration(n) * time.Second }
		return refused(h.SetConfig(&ipvs.Config{TimeoutTCP: seconds(st.TCP), TimeoutTCPFin: seconds(st.TCPFin), TimeoutUDP: seconds(st.UDP)}))
	case fixes.DelDestination:
		return refused(h.DelDestination(serviceName(st.Service), &ipvs.Destination{AddressFamily: family(st.Address.Is6()),
			Address: st.Address.AsSlice(), Port: st.Port}))
	}
	return fmt.Errorf("no way to do a step of kind %s", st.Kind())
}

// returnable refuses a service with what no snapshot tells, so that no undo could put it back.
func returnable(h *ipvs.Handle, name fixes.VirtualService) error {
	all, err := h.GetServices()
	if err != nil {
		return refused(err)
	}
	want := serviceName(name)
	i := slices.IndexFunc(all, func(v *ipvs.Service) bool {
		return v.FWMark == want.FWMark && v.AddressFamily == want.AddressFamily && (v.FWMark != 0 ||
			v.Protocol == want.Protocol && v.Port == want.Port && v.Address.Equal(want.Address))
	})
	if i < 0 {
		return errors.New("it is not there any more")
	}
	if pe := all[i].PEName; pe != "" {
		return fmt.Errorf("it has the persistence engine %s, which could not be put back", pe)
	}
	return nil
}

func serviceName(n fixes.VirtualService) *ipvs.Service {
	v := &ipvs.Service{AddressFamily: family(n.Is6()), FWMark: n.FWMark}
	if n.FWMark == 0 {
		v.Address, v.Port = n.Address.AsSlice(), n.Port
		v.Protocol = map[lvs.Protocol]uint16{lvs.TCP: unix.IPPROTO_TCP, lvs.UDP: unix.IPPROTO_UDP, lvs.SCTP: unix.IPPROTO_SCTP}[n.Protocol]
	}
	return v
}

func serviceOf(st fixes.AddService) (*ipvs.Service, error) {
	v := serviceName(st.Service)
	v.SchedName, v.Flags, v.Timeout = st.Scheduler, st.Flags, st.Timeout
	bits := 32
	if st.Service.Is6() {
		bits = 128
	}
	if st.Netmask != "" {
		var err error
		if bits, err = fixes.MaskBits(st.Netmask, st.Service.Is6()); err != nil {
			return nil, err
		}
	}
	if v.Netmask = uint32(bits); !st.Service.Is6() {
		v.Netmask = binary.NativeEndian.Uint32(net.CIDRMask(bits, 32)) // in network order, as the kernel keeps it
	}
	return v, nil
}

func destinationOf(st fixes.AddDestination) *ipvs.Destination {
	flags := map[lvs.Forward]uint32{lvs.Masq: ipvs.ConnFwdMasq, lvs.Local: ipvs.ConnFwdLocalNode, lvs.IPIP: ipvs.ConnFwdTunnel,
		lvs.Gate: ipvs.ConnFwdDirectRoute}
	return &ipvs.Destination{AddressFamily: family(st.Address.Is6()), Address: st.Address.AsSlice(), Port: st.Port, Weight: st.Weight,
		ConnectionFlags: flags[st.Forward], UpperThreshold: st.UpperThreshold, LowerThreshold: st.LowerThreshold}
}

func family(six bool) uint16 {
	if six {
		return unix.AF_INET6
	}
	return unix.AF_INET
}
