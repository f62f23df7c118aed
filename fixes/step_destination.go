package fixes

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"lvstui/lvs"
)

const (
	kindAddDestination  = "destination-add"
	kindEditDestination = "destination-edit"
	kindDelDestination  = "destination-del"
)

// AddDestination adds a real server to a virtual service.
type AddDestination struct {
	Service VirtualService `json:"service"`
	Address netip.Addr     `json:"address"`
	Port    uint16         `json:"port"`
	Forward lvs.Forward    `json:"forward"`
	Weight  int            `json:"weight"`
	// UpperThreshold and LowerThreshold bound the connections; 0 is no bound.
	UpperThreshold uint32 `json:"upper_threshold,omitempty"`
	LowerThreshold uint32 `json:"lower_threshold,omitempty"`
}

// EditDestination sets forwarding method, weight and thresholds of a destination that exists.
type EditDestination AddDestination

// DelDestination takes a real server out of a virtual service.
type DelDestination struct {
	Service VirtualService `json:"service"`
	Address netip.Addr     `json:"address"`
	Port    uint16         `json:"port"`
}

// Kind is "destination-add".
func (st AddDestination) Kind() string { return kindAddDestination }

// Kind is "destination-edit".
func (st EditDestination) Kind() string { return kindEditDestination }

// Kind is "destination-del".
func (st DelDestination) Kind() string { return kindDelDestination }

// Command is the ipvsadm(8) command line.
func (st AddDestination) Command() string { return "ipvsadm -a " + st.options() }

// Command is the ipvsadm(8) command line. The weight is always there: without it ipvsadm would make it 1.
func (st EditDestination) Command() string { return "ipvsadm -e " + AddDestination(st).options() }

// Command is the ipvsadm(8) command line.
func (st DelDestination) Command() string {
	return fmt.Sprintf("ipvsadm -d %s -r %s", st.Service.option(), netip.AddrPortFrom(st.Address, st.Port))
}

func (st AddDestination) options() string {
	method := map[lvs.Forward]string{lvs.Masq: "-m", lvs.IPIP: "-i"}[st.Forward]
	cmd := fmt.Sprintf("%s -r %s %s -w %d", st.Service.option(), netip.AddrPortFrom(st.Address, st.Port), cmp.Or(method, "-g"), st.Weight)
	if st.UpperThreshold != 0 || st.LowerThreshold != 0 {
		cmd += fmt.Sprintf(" -x %d -y %d", st.UpperThreshold, st.LowerThreshold)
	}
	return cmd
}

// Validate refuses what ip_vs could not have.
func (st AddDestination) Validate() error {
	if err := st.Service.Validate(); err != nil {
		return err
	}
	if err := validHost(st.Address); err != nil {
		return err
	}
	if !slices.Contains([]lvs.Forward{lvs.Gate, lvs.Masq, lvs.IPIP, lvs.Local}, st.Forward) {
		return fmt.Errorf("%q is no forwarding method that can be set", st.Forward)
	}
	if st.Address.Is6() != st.Service.Is6() && st.Forward != lvs.IPIP {
		return fmt.Errorf("%s can not be a destination of %s: another address family", st.Address, st.Service)
	}
	if st.Weight < 0 || st.Weight > 65535 {
		return fmt.Errorf("weight %d is not between 0 and 65535", st.Weight)
	}
	if st.LowerThreshold > st.UpperThreshold {
		return fmt.Errorf("the lower threshold %d is larger than the upper one, %d", st.LowerThreshold, st.UpperThreshold)
	}
	return nil
}

// Validate refuses what ip_vs could not have.
func (st EditDestination) Validate() error { return AddDestination(st).Validate() }

// Validate refuses what ip_vs could not have.
func (st DelDestination) Validate() error {
	if err := st.Service.Validate(); err != nil {
		return err
	}
	return validHost(st.Address)
}

func destinationIn(s *lvs.Snapshot, name VirtualService, ip netip.Addr, port uint16) (lvs.Destination, bool) {
	v, _ := name.in(s)
	for _, d := range v.Destinations {
		if d.Address == ip && d.Port == port {
			return d, true
		}
	}
	return lvs.Destination{}, false
}

func destinationWas(s *lvs.Snapshot, name VirtualService, ip netip.Addr, port uint16) string {
	if s.IPVS == nil {
		return "could not be read"
	}
	d, ok := destinationIn(s, name, ip, port)
	if !ok {
		return "not there"
	}
	return fmt.Sprintf("%s, %d connections", destinationWords(d), uint64(d.ActiveConns)+uint64(d.InactiveConns))
}

// Was says what there is now.
func (st AddDestination) Was(s *lvs.Snapshot) string {
	return destinationWas(s, st.Service, st.Address, st.Port)
}

// Was says what there is now.
func (st EditDestination) Was(s *lvs.Snapshot) string {
	return destinationWas(s, st.Service, st.Address, st.Port)
}

// Was says what there is now.
func (st DelDestination) Was(s *lvs.Snapshot) string {
	return destinationWas(s, st.Service, st.Address, st.Port)
}

// destinationStep is the step that gives d back.
func destinationStep(name VirtualService, d lvs.Destination) AddDestination {
	return AddDestination{Service: name, Address: d.Address, Port: d.Port, Forward: d.Forward, Weight: d.Weight,
		UpperThreshold: d.UpperThreshold, LowerThreshold: d.LowerThreshold}
}

// returnable refuses destinations of which a snapshot does not tell all: of a tunnel it does not know the kind.
func returnable(d lvs.Destination) error {
	if d.Forward == lvs.IPIP || d.Forward == lvs.Bypass {
		return fmt.Errorf("could not be taken back: %s is %s, of which not all is known here", netip.AddrPortFrom(d.Address, d.Port), d.Forward)
	}
	return nil
}

// Done says that the destination is there as it should be.
func (st AddDestination) Done(s *lvs.Snapshot) bool {
	d, ok := destinationIn(s, st.Service, st.Address, st.Port)
	return ok && destinationStep(st.Service, d) == st
}

// Done says that the destination is there as it should be.
func (st EditDestination) Done(s *lvs.Snapshot) bool { return AddDestination(st).Done(s) }

// Done says that the destination is not there. It is not done when the table could not be read.
func (st DelDestination) Done(s *lvs.Snapshot) bool {
	_, ok := destinationIn(s, st.Service, st.Address, st.Port)
	return s.IPVS != nil && !ok
}

// serviceFor is the virtual service that a step on a destination changes.
func serviceFor(s *lvs.Snapshot, name VirtualService) (lvs.Service, error) {
	if err := writableTable(s); err != nil {
		return lvs.Service{}, err
	}
	v, ok := name.in(s)
	if !ok {
		return v, fmt.Errorf("there is no virtual service %s on %s", name, s.Host)
	}
	v.Destinations = slices.Clone(v.Destinations)
	return v, nil
}

// Simulate adds the destination.
func (st AddDestination) Simulate(s *lvs.Snapshot) (*lvs.Snapshot, error) {
	if err := st.Validate(); err != nil {
		return nil, err
	}
	v, err := serviceFor(s, st.Service)
	if err != nil || st.Done(s) {
		return s, err
	}
	if d, ok := destinationIn(s, st.Service, st.Address, st.Port); ok {
		return nil, fmt.Errorf("%s is there already: %s", destinationFact(st.Service, st.Address, st.Port), destinationWords(d))
	}
	d := st.set(lvs.Destination{Address: st.Address, Port: st.Port})
	at, _ := slices.BinarySearchFunc(v.Destinations, d, func(a, b lvs.Destination) int {
		return cmp.Or(a.Address.Compare(b.Address), cmp.Compare(a.Port, b.Port))
	})
	v.Destinations = slices.Insert(v.Destinations, at, d)
	return withService(s, v, true), nil
}

func (st AddDestination) set(d lvs.Destination) lvs.Destination {
	d.Forward, d.Weight, d.UpperThreshold, d.LowerThreshold = st.Forward, st.Weight, st.UpperThreshold, st.LowerThreshold
	return d
}

// Simulate changes the destination.
func (st EditDestination) Simulate(s *lvs.Snapshot) (*lvs.Snapshot, error) {
	if err := st.Validate(); err != nil {
		return nil, err
	}
	v, err := serviceFor(s, st.Service)
	if err != nil || st.Done(s) {
		return s, err
	}
	for i, d := range v.Destinations {
		if d.Address == st.Address && d.Port == st.Port {
			v.Destinations[i] = AddDestination(st).set(d)
			return withService(s, v, true), nil
		}
	}
	return nil, fmt.Errorf("there is no destination %s", destinationFact(st.Service, st.Address, st.Port))
}

// Simulate takes the destination out.
func (st DelDestination) Simulate(s *lvs.Snapshot) (*lvs.Snapshot, error) {
	if err := st.Validate(); err != nil {
		return nil, err
	}
	if err := writableTable(s); err != nil || st.Done(s) {
		return s, err
	}
	v, err := serviceFor(s, st.Service)
	if err != nil {
		return nil, err
	}
	v.Destinations = slices.DeleteFunc(v.Destinations, func(d lvs.Destination) bool { return d.Address == st.Address && d.Port == st.Port })
	return withService(s, v, true), nil
}

// Undo takes the destination out again.
func (st AddDestination) Undo(s *lvs.Snapshot) ([]Step, error) {
	if st.Done(s) {
		return nil, nil
	}
	return []Step{DelDestination{st.Service, st.Address, st.Port}}, writableTable(s)
}

// Undo sets what the destination had.
func (st EditDestination) Undo(s *lvs.Snapshot) ([]Step, error) {
	if st.Done(s) {
		return nil, nil
	}
	d, ok := destinationIn(s, st.Service, st.Address, st.Port)
	if !ok {
		return nil, fmt.Errorf("there is no destination %s", destinationFact(st.Service, st.Address, st.Port))
	}
	if err := returnable(d); err != nil {
		return nil, err
	}
	return []Step{EditDestination(destinationStep(st.Service, d))}, writableTable(s)
}

// Undo adds the destination again. What it had counted is lost.
func (st DelDestination) Undo(s *lvs.Snapshot) ([]Step, error) {
	d, ok := destinationIn(s, st.Service, st.Address, st.Port)
	if !ok {
		return nil, writableTable(s)
	}
	if err := returnable(d); err != nil {
		return nil, err
	}
	return []Step{destinationStep(st.Service, d)}, writableTable(s)
}

// Risk is none: a virtual service that the operator's session comes through was there before.
func (st AddDestination) Risk(*lvs.Snapshot) string { return "" }

// Risk says when connections would lose their way.
func (st EditDestination) Risk(s *lvs.Snapshot) string {
	d, ok := destinationIn(s, st.Service, st.Address, st.Port)
	if ok && d.Forward != st.Forward && d.ActiveConns > 0 {
		return fmt.Sprintf("connections of clients that %s has keep the method %s until they end", st.Address, d.Forward)
	}
	return ""
}

// Risk says when connections of clients may end.
func (st DelDestination) Risk(s *lvs.Snapshot) string {
	if d, ok := destinationIn(s, st.Service, st.Address, st.Port); ok && d.ActiveConns > 0 {
		return fmt.Sprintf("%d connections of clients to %s may end", d.ActiveConns, st.Address)
	}
	return ""
}
