package fixes

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/lvs"
)

const (
	kindAddAddress = "address-add"
	kindDelAddress = "address-del"
)

// AddAddress puts an address on a link.
type AddAddress struct {
	Device string `json:"device"`
	// Prefix is the address with its own prefix length: 172.16.0.8/32.
	Prefix netip.Prefix `json:"prefix"`
	// Scope is "global" (also when empty), "site", "link" or "host".
	Scope string `json:"scope,omitempty"`
	// Label is an IPv4 alias name such as "lo:0"; empty means the device's name, as the kernel has it.
	Label string `json:"label,omitempty"`
	// Peer is the other end of a point-to-point address, with the prefix length of the subnet; Prefix is a single
	// address then. It is for giving back what was there.
	Peer netip.Prefix `json:"peer,omitzero"`
	// Broadcast is for giving back what was there. Without it the address has none configured.
	Broadcast netip.Addr `json:"broadcast,omitzero"`
	// NoPrefixRoute keeps the kernel from adding the connected route (IFA_F_NOPREFIXROUTE).
	NoPrefixRoute bool `json:"no_prefix_route,omitempty"`
}

// DelAddress takes an address off a link.
type DelAddress struct {
	Device string       `json:"device"`
	Prefix netip.Prefix `json:"prefix"`
}

// Kind is "address-add".
func (st AddAddress) Kind() string { return kindAddAddress }

// Kind is "address-del".
func (st DelAddress) Kind() string { return kindDelAddress }

// Command is the ip(8) command line.
func (st AddAddress) Command() string {
	cmd := "ip addr add " + st.Prefix.String()
	if st.Peer.IsValid() {
		cmd = fmt.Sprintf("ip addr add %s peer %s", st.Prefix.Addr(), st.Peer)
	}
	if st.Broadcast.IsValid() {
		cmd += " broadcast " + st.Broadcast.String()
	}
	cmd += " dev " + shellWord(st.Device)
	if scope := st.ScopeName(); scope != defaultScope(st.Prefix.Addr()) {
		cmd += " scope " + scope
	}
	if st.Label != "" && st.Label != st.Device {
		cmd += " label " + shellWord(st.Label)
	}
	if st.NoPrefixRoute {
		cmd += " noprefixroute"
	}
	return cmd
}

// Command is the ip(8) command line.
func (st DelAddress) Command() string {
	return "ip addr del " + st.Prefix.String() + " dev " + shellWord(st.Device)
}

// Validate refuses what the kernel could not have.
func (st AddAddress) Validate() error {
	if err := validDevice(st.Device); err != nil {
		return err
	}
	if err := validPrefix(st.Prefix); err != nil {
		return err
	}
	ip := st.Prefix.Addr()
	if ip.IsUnspecified() || ip.IsMulticast() {
		return fmt.Errorf("%s can not be an address of a host", ip)
	}
	if !slices.Contains([]string{"", "global", "site", "link", "host"}, st.Scope) {
		return fmt.Errorf("%q is no scope of an address", st.Scope)
	}
	if st.Peer.IsValid() && (st.Peer.Addr().Is4() != ip.Is4() || !st.Prefix.IsSingleIP()) {
		return fmt.Errorf("peer %s does not fit %s", st.Peer, st.Prefix)
	}
	if len(st.Label) > 15 {
		return fmt.Errorf("label %q is longer than 15 characters", st.Label)
	}
	return nil
}

// Validate refuses what the kernel could not have.
func (st DelAddress) Validate() error {
	if err := validDevice(st.Device); err != nil {
		return err
	}
	return validPrefix(st.Prefix)
}

// Was says what the device has now.
func (st AddAddress) Was(s *lvs.Snapshot) string {
	if s.Addresses == nil {
		return "could not be read"
	}
	if a, ok := addressOn(s, st.Device, st.Prefix); ok {
		return "there already, scope " + a.Scope
	}
	return "not there"
}

// Was says what the device has now.
func (st DelAddress) Was(s *lvs.Snapshot) string {
	if s.Addresses == nil {
		return "could not be read"
	}
	if a, ok := addressOn(s, st.Device, st.Prefix); ok {
		return "there, scope " + a.Scope
	}
	return "not there"
}

// Done says that the address is there, with this scope.
func (st AddAddress) Done(s *lvs.Snapshot) bool {
	a, ok := addressOn(s, st.Device, st.Prefix)
	return ok && a.Scope == st.ScopeName()
}

// Done says that the address is not there. It is not done when the addresses could not be read.
func (st DelAddress) Done(s *lvs.Snapshot) bool {
	_, ok := addressOn(s, st.Device, st.Prefix)
	return s.Addresses != nil && !ok
}

// Simulate adds the address and the routes that come with it (fib_add_ifaddr).
func (st AddAddress) Simulate(s *lvs.Snapshot) (*lvs.Snapshot, error) {
	if err := st.Validate(); err != nil {
		return nil, err
	}
	list, err := addressesOfDevice(s, st.Device)
	if err != nil || st.Done(s) {
		return s, err
	}
	if list, err = insertAddress(list, st.address()); err != nil {
		return nil, err
	}
	return withAddresses(s, st.Device, list), nil
}

// Simulate takes off the address, the routes that come with it, and what else the kernel takes with it: the secondary addresses
// of its subnet, or, without a last address, every route of the device.
func (st DelAddress) Simulate(s *lvs.Snapshot) (*lvs.Snapshot, error) {
	if err := st.Validate(); err != nil {
		return nil, err
	}
	list, err := addressesOfDevice(s, st.Device)
	if err != nil || st.Done(s) {
		return s, err
	}
	promote, err := promotes(s, st.Device, list, st.Prefix)
	if err != nil {
		return nil, err
	}
	return withAddresses(s, st.Device, removeAddress(list, st.Prefix, promote)), nil
}

// Undo takes the address off again.
func (st AddAddress) Undo(s *lvs.Snapshot) ([]Step, error) {
	if st.Done(s) {
		return nil, nil
	}
	return proven(s, st, []Step{DelAddress{st.Device, st.Prefix}})
}

// Undo gives the address back, with its label and scope, and every secondary address that went with it. Where the kernel
// promoted one of these, they change places again. It is an error when the way back would not lead to s.
func (st DelAddress) Undo(s *lvs.Snapshot) ([]Step, error) {
	if st.Done(s) {
		return nil, nil
	}
	list, err := addressesOfDevice(s, st.Device)
	if err != nil {
		return nil, err
	}
	gone, _ := addressOn(s, st.Device, st.Prefix)
	if gone.Dynamic {
		return nil, fmt.Errorf("%s on %s has a lifetime (DHCP or router advertisement): change it where it comes from", st.Prefix, st.Device)
	}
	promote, err := promotes(s, st.Device, list, st.Prefix)
	if err != nil {
		return nil, err
	}
	group := secondariesOf(list, gone)
	back := []Step{addressStep(gone)}
	if promote {
		// The one that was promoted is primary now: all of them must come after gone again, and one of the subnet
		// stays at every moment.
		for _, a := range group {
			back = append(back, DelAddress{a.Device, a.Prefix})
		}
	}
	for _, a := range group {
		back = append(back, addressStep(a))
	}
	return proven(s, st, back)
}

// proven returns back if it leads from s after st to s again.
func proven(s *lvs.Snapshot, st Step, back []Step) ([]Step, error) {
	now, err := st.Simulate(s)
	if err != nil {
		return nil, err
	}
	for _, b := range back {
		if now, err = b.Simulate(now); err != nil {
			return nil, fmt.Errorf("could not be taken back: %w", err)
		}
	}
	if lost := lostBetween(s, now); lost != "" {
		return nil, fmt.Errorf("could not be taken back: the kernel would also remove %s", lost)
	}
	return back, nil
}

// ScopeName is the scope the address gets: Scope, or what ip(8) chooses when that is empty.
func (st AddAddress) ScopeName() string {
	if st.Scope == "" {
		return defaultScope(st.Prefix.Addr())
	}
	return st.Scope
}

// defaultScope is what ip(8), and for IPv6 the kernel, choose when none is named.
func defaultScope(ip netip.Addr) string {
	switch {
	case ip.IsLoopback():
		return "host"
	case ip.Is6() && ip.IsLinkLocalUnicast():
		return "link"
	}
	return "global"
}

func (st AddAddress) address() lvs.Address {
	a := lvs.Address{Device: st.Device, Prefix: st.Prefix, Scope: st.ScopeName(), Label: st.Label, Peer: st.Peer,
		Broadcast: st.Broadcast, NoPrefixRoute: st.NoPrefixRoute}
	if a.Label == "" && st.Prefix.Addr().Is4() {
		a.Label = st.Device
	}
	return a
}

// addressStep is the step that gives a back.
func addressStep(a lvs.Address) Step {
	return AddAddress{Device: a.Device, Prefix: a.Prefix, Scope: a.Scope, Label: a.Label, Peer: a.Peer, Broadcast: a.Broadcast,
		NoPrefixRoute: a.NoPrefixRoute}
}

func addressOn(s *lvs.Snapshot, device string, p netip.Prefix) (lvs.Address, bool) {
	for _, a := range s.Addresses {
		if a.Device == device && a.Prefix == p {
			return a, true
		}
	}
	return lvs.Address{}, false
}
