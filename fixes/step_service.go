package fixes

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"lvstui/lvs"
)

const (
	kindAddService  = "service-add"
	kindEditService = "service-edit"
	kindDelService  = "service-del"
)

// Flags of a virtual service that can be set (include/uapi/linux/ip_vs.h): persistent, one packet, and the three of the scheduler.
const (
	flagPersistent = 0x1
	settableFlags  = 0x1 | 0x4 | 0x8 | 0x10 | 0x20
)

// AddService adds a virtual service without destinations.
type AddService struct {
	Service   VirtualService `json:"service"`
	Scheduler string         `json:"scheduler"`
	// Flags are IP_VS_SVC_F_*, Timeout the seconds of persistence and Netmask its granularity, as in lvs.Service.
	Flags   uint32 `json:"flags,omitempty"`
	Timeout uint32 `json:"timeout,omitempty"`
	Netmask string `json:"netmask,omitempty"`
}

// EditService sets scheduler, flags and persistence of a virtual service that exists.
type EditService AddService

// DelService removes a virtual service with its destinations.
type DelService struct {
	Service VirtualService `json:"service"`
}

// Kind is "service-add".
func (st AddService) Kind() string { return kindAddService }

// Kind is "service-edit".
func (st EditService) Kind() string { return kindEditService }

// Kind is "service-del".
func (st DelService) Kind() string { return kindDelService }

// Command is the ipvsadm(8) command line.
func (st AddService) Command() string { return "ipvsadm -A " + st.options() }

// Command is the ipvsadm(8) command line.
func (st EditService) Command() string { return "ipvsadm -E " + AddService(st).options() }

// Command is the ipvsadm(8) command line.
func (st DelService) Command() string { return "ipvsadm -D " + st.Service.option() }

func (st AddService) options() string {
	cmd := st.Service.option() + " -s " + shellWord(st.Scheduler)
	if st.Flags&flagPersistent != 0 {
		cmd += fmt.Sprintf(" -p %d", st.Timeout)
	}
	if st.Netmask != "" {
		cmd += " -M " + shellWord(st.Netmask)
	}
	if st.Flags&0x4 != 0 {
		cmd += " -o"
	}
	var more []string
	for i, flag := range []uint32{0x8, 0x10, 0x20} {
		if st.Flags&flag != 0 {
			more = append(more, fmt.Sprintf("flag-%d", i+1))
		}
	}
	if len(more) > 0 {
		cmd += " -b " + strings.Join(more, ",")
	}
	return cmd
}

// Validate refuses what ip_vs could not have.
func (st AddService) Validate() error {
	if err := st.Service.Validate(); err != nil {
		return err
	}
	lower := func(r rune) bool { return r < 'a' || r > 'z' }
	if st.Scheduler == "" || len(st.Scheduler) > 15 || strings.ContainsFunc(st.Scheduler, lower) {
		return fmt.Errorf("%q is no scheduler of ip_vs", st.Scheduler)
	}
	if st.Flags&^settableFlags != 0 {
		return fmt.Errorf("flags %#x of a virtual service can not be set", st.Flags)
	}
	persistent := st.Flags&flagPersistent != 0
	if persistent != (st.Timeout != 0) || !persistent && st.Netmask != "" || st.Timeout > 31*24*3600 {
		return fmt.Errorf("a persistence of %d s with netmask %q and flags %#x is none", st.Timeout, st.Netmask, st.Flags)
	}
	if st.Netmask == "" {
		return nil
	}
	if _, err := MaskBits(st.Netmask, st.Service.Is6()); err != nil {
		return err
	}
	return nil
}

// Validate refuses what ip_vs could not have.
func (st EditService) Validate() error { return AddService(st).Validate() }

// Validate refuses what ip_vs could not have.
func (st DelService) Validate() error { return st.Service.Validate() }

// MaskBits is the length of a persistence granularity as ipvsadm writes it: "255.255.255.0" is 24; for IPv6 it is a length.
func MaskBits(mask string, six bool) (int, error) {
	if six {
		n, err := strconv.Atoi(mask)
		if err != nil || n < 1 || n > 127 {
			return 0, fmt.Errorf("%q is no length of an IPv6 prefix", mask)
		}
		return n, nil
	}
	ip, err := netip.ParseAddr(mask)
	if err == nil && ip.Is4() {
		for bits := 1; bits < 32; bits++ {
			if netip.PrefixFrom(netip.AddrFrom4([4]byte{255, 255, 255, 255}), bits).Masked().Addr() == ip {
				return bits, nil
			}
		}
	}
	return 0, fmt.Errorf("%q is no netmask", mask)
}

// Was says what there is now.
func (st AddService) Was(s *lvs.Snapshot) string { return serviceWas(s, st.Service) }

// Was says what there is now.
func (st EditService) Was(s *lvs.Snapshot) string { return serviceWas(s, st.Service) }

// Was says what there is now.
func (st DelService) Was(s *lvs.Snapshot) string { return serviceWas(s, st.Service) }

func serviceWas(s *lvs.Snapshot, name VirtualService) string {
	if s.IPVS == nil {
		return "could not be read"
	}
	v, ok := name.in(s)
	if !ok {
		return "not there"
	}
	if len(v.Destinations) == 1 {
		return serviceWords(v) + ", 1 destination"
	}
	return fmt.Sprintf("%s, %d destinations", serviceWords(v), len(v.Destinations))
}

// Done says that the service is there as it should be.
func (st AddService) Done(s *lvs.Snapshot) bool {
	v, ok := st.Service.in(s)
	return ok && serviceStep(v) == st
}

// Done says that the service is there as it should be.
func (st EditService) Done(s *lvs.Snapshot) bool { return AddService(st).Done(s) }

// Done says that the service is not there. It is not done when the table could not be read.
func (st DelService) Done(s *lvs.Snapshot) bool {
	_, ok := st.Service.in(s)
	return s.IPVS != nil && !ok
}

// serviceStep is the step that gives v back, without its destinations.
func serviceStep(v lvs.Service) AddService {
	st := AddService{Service: NameOf(v), Scheduler: v.Scheduler, Flags: v.Flags & settableFlags}
	if v.Persistent {
		st.Flags |= flagPersistent
		st.Timeout, st.Netmask = v.Timeout, v.Netmask
	}
	return st
}

// set writes the step's values into v.
func (st AddService) set(v lvs.Service) lvs.Service {
	v.Scheduler, v.Timeout, v.Netmask = st.Scheduler, st.Timeout, st.Netmask
	v.Flags = v.Flags&^settableFlags | st.Flags
	v.Persistent, v.OnePacket = st.Flags&flagPersistent != 0, st.Flags&0x4 != 0
	return v
}

// Simulate adds the service.
func (st AddService) Simulate(s *lvs.Snapshot) (*lvs.Snapshot, error) {
	if err := st.Validate(); err != nil {
		return nil, err
	}
	if err := writableTable(s); err != nil {
		return nil, err
	}
	if st.Done(s) {
		return s, nil
	}
	if v, ok := st.Service.in(s); ok {
		return nil, fmt.Errorf("%s is there already: %s", serviceFact(st.Service), serviceWords(v))
	}
	n := st.Service
	v := lvs.Service{Protocol: n.Protocol, Address: n.Address, Port: n.Port, FWMark: n.FWMark, IPv6: n.IPv6,
		Flags: 0x2, Destinations: []lvs.Destination{}} // IP_VS_SVC_F_HASHED, which every service in the table has
	return withService(s, st.set(v), true), nil
}

// Simulate changes the service and leaves its destinations alone.
func (st EditService) Simulate(s *lvs.Snapshot) (*lvs.Snapshot, error) {
	if err := st.Validate(); err != nil {
		return nil, err
	}
	if err := writableTable(s); err != nil {
		return nil, err
	}
	v, ok := st.Service.in(s)
	if !ok {
		return nil, fmt.Errorf("there is no %s on %s", strings.TrimPrefix(serviceFact(st.Service), "the "), s.Host)
	}
	return withService(s, AddService(st).set(v), true), nil
}

// Simulate takes the service out with its destinations.
func (st DelService) Simulate(s *lvs.Snapshot) (*lvs.Snapshot, error) {
	if err := st.Validate(); err != nil {
		return nil, err
	}
	if err := writableTable(s); err != nil {
		return nil, err
	}
	v, ok := st.Service.in(s)
	if !ok {
		return s, nil
	}
	return withService(s, v, false), nil
}

// Undo takes the service out again.
func (st AddService) Undo(s *lvs.Snapshot) ([]Step, error) {
	if st.Done(s) {
		return nil, nil
	}
	return []Step{DelService{st.Service}}, writableTable(s)
}

// Undo sets what the service had.
func (st EditService) Undo(s *lvs.Snapshot) ([]Step, error) {
	if st.Done(s) {
		return nil, nil
	}
	v, ok := st.Service.in(s)
	if !ok {
		return nil, fmt.Errorf("there is no %s on %s", strings.TrimPrefix(serviceFact(st.Service), "the "), s.Host)
	}
	return []Step{EditService(serviceStep(v))}, writableTable(s)
}

// Undo adds the service again with all its destinations. What they had counted is lost.
func (st DelService) Undo(s *lvs.Snapshot) ([]Step, error) {
	v, ok := st.Service.in(s)
	if !ok {
		return nil, writableTable(s)
	}
	back := []Step{serviceStep(v)}
	for _, d := range v.Destinations {
		if err := returnable(d); err != nil {
			return nil, err
		}
		back = append(back, destinationStep(st.Service, d))
	}
	return back, writableTable(s)
}

// Risk says when the service would take over the port of the operator's own session.
func (st AddService) Risk(s *lvs.Snapshot) string {
	op := s.Operator
	if op == nil || st.Service.Protocol != lvs.TCP || st.Service.Address != op.Server.Addr().Unmap() ||
		st.Service.Port != 0 && st.Service.Port != op.Server.Port() {
		return ""
	}
	return fmt.Sprintf("new SSH connections to %s would be sent to the real servers instead of this host", op.Server)
}

// Risk is none: the service takes no other packets than before.
func (st EditService) Risk(*lvs.Snapshot) string { return "" }

// Risk says when the operator's own session goes through the service.
func (st DelService) Risk(s *lvs.Snapshot) string {
	v, ok := st.Service.in(s)
	if ok && slices.ContainsFunc(v.Destinations, func(d lvs.Destination) bool { return d.ActiveConns > 0 }) {
		return fmt.Sprintf("clients of %s have connections, which may end", st.Service)
	}
	return ""
}
