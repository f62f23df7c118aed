package fixes

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"

	"lvstui/internal/arrange"
	"lvstui/lvs"
)

const (
	kindAddNeighbour = "neighbour-add"
	kindDelNeighbour = "neighbour-del"
)

// AddNeighbour puts a permanent entry into the neighbour table, in the place of whatever was learnt. It is for giving back
// what somebody had put there: a cure needs none.
type AddNeighbour struct {
	Device  string     `json:"device"`
	Address netip.Addr `json:"address"`
	MAC     string     `json:"mac"` // lower case, colons
}

// DelNeighbour makes the host forget whose MAC belongs to an address. When it needs it, it asks again: what had been learnt
// is not put back by undo, a permanent entry is.
type DelNeighbour struct {
	Device  string     `json:"device"`
	Address netip.Addr `json:"address"`
}

// Kind is "neighbour-add".
func (st AddNeighbour) Kind() string { return kindAddNeighbour }

// Kind is "neighbour-del".
func (st DelNeighbour) Kind() string { return kindDelNeighbour }

// Command is the ip(8) command line.
func (st AddNeighbour) Command() string {
	return fmt.Sprintf("ip neigh replace %s lladdr %s dev %s nud permanent", st.Address, st.MAC, shellWord(st.Device))
}

// Command is the ip(8) command line.
func (st DelNeighbour) Command() string {
	return fmt.Sprintf("ip neigh del %s dev %s", st.Address, shellWord(st.Device))
}

var macAddress = regexp.MustCompile(`^[0-9a-f]{2}(:[0-9a-f]{2}){5}$`)

// Validate refuses what the kernel could not have.
func (st AddNeighbour) Validate() error {
	if !macAddress.MatchString(st.MAC) {
		return fmt.Errorf("%q is no MAC address", st.MAC)
	}
	return DelNeighbour{st.Device, st.Address}.Validate()
}

// Validate refuses what the kernel could not have.
func (st DelNeighbour) Validate() error {
	if err := validDevice(st.Device); err != nil {
		return err
	}
	return validHost(st.Address)
}

func (st DelNeighbour) in(s *lvs.Snapshot) (lvs.Neighbour, bool) {
	i := slices.IndexFunc(s.Neighbours, func(n lvs.Neighbour) bool { return st.is(n) })
	if i < 0 {
		return lvs.Neighbour{}, false
	}
	return s.Neighbours[i], true
}

func (st DelNeighbour) is(n lvs.Neighbour) bool {
	return n.Device == st.Device && n.Address == st.Address && !n.Proxy
}

// Was says what there is now.
func (st AddNeighbour) Was(s *lvs.Snapshot) string { return DelNeighbour{st.Device, st.Address}.Was(s) }

// Was says what there is now.
func (st DelNeighbour) Was(s *lvs.Snapshot) string {
	n, ok := st.in(s)
	switch {
	case s.Neighbours == nil:
		return "could not be read"
	case !ok:
		return "not there"
	case n.MAC == "":
		return "was " + n.State
	}
	return "was " + n.MAC + ", " + n.State
}

// Done says that the permanent entry is there.
func (st AddNeighbour) Done(s *lvs.Snapshot) bool {
	n, ok := DelNeighbour{st.Device, st.Address}.in(s)
	return ok && n.State == "permanent" && n.MAC == st.MAC
}

// Done says that there is no entry. It is not done when the neighbours could not be read.
func (st DelNeighbour) Done(s *lvs.Snapshot) bool {
	_, ok := st.in(s)
	return s.Neighbours != nil && !ok
}

// Simulate puts the entry in.
func (st AddNeighbour) Simulate(s *lvs.Snapshot) (*lvs.Snapshot, error) {
	if err := st.Validate(); err != nil {
		return nil, err
	}
	if err := neighbourPossible(s, st.Device); err != nil || st.Done(s) {
		return s, err
	}
	next := withoutNeighbour(s, DelNeighbour{st.Device, st.Address})
	next.Neighbours = append(next.Neighbours, lvs.Neighbour{Address: st.Address, Device: st.Device, MAC: st.MAC, State: "permanent"})
	arrange.By(next.Neighbours, compareNeighbours)
	return next, nil
}

// Simulate takes the entry out. It may be back, learnt anew, before anybody looks.
func (st DelNeighbour) Simulate(s *lvs.Snapshot) (*lvs.Snapshot, error) {
	if err := st.Validate(); err != nil {
		return nil, err
	}
	if err := neighbourPossible(s, st.Device); err != nil || st.Done(s) {
		return s, err
	}
	return withoutNeighbour(s, st), nil
}

func neighbourPossible(s *lvs.Snapshot, device string) error {
	if missing := s.Missing(lvs.SourceLinks, lvs.SourceNeighbours); len(missing) > 0 {
		return fmt.Errorf("the %s of %s could not be read", missing[0], s.Host)
	}
	if l, ok := s.Link(device); !ok || !l.Up {
		return fmt.Errorf("there is no interface %s on %s that is up", device, s.Host)
	}
	return nil
}

func withoutNeighbour(s *lvs.Snapshot, st DelNeighbour) *lvs.Snapshot {
	next := *s
	next.Neighbours = slices.DeleteFunc(slices.Clone(s.Neighbours), st.is)
	return &next
}

// Undo takes the entry out, or puts the permanent one back that was there.
func (st AddNeighbour) Undo(s *lvs.Snapshot) ([]Step, error) {
	if st.Done(s) {
		return nil, nil
	}
	del := DelNeighbour{st.Device, st.Address}
	if old, ok := del.in(s); ok && old.State == "permanent" {
		back := AddNeighbour{st.Device, st.Address, old.MAC}
		return []Step{back}, back.Validate()
	}
	return []Step{del}, del.Validate()
}

// Undo puts a permanent entry back. Of any other there is nothing to take back: the kernel learns it when it needs it.
func (st DelNeighbour) Undo(s *lvs.Snapshot) ([]Step, error) {
	old, ok := st.in(s)
	if !ok || old.State != "permanent" {
		return nil, neighbourPossible(s, st.Device)
	}
	back := AddNeighbour{st.Device, st.Address, old.MAC}
	return []Step{back}, back.Validate()
}

// Risk says when the way to the operator would go by that MAC.
func (st AddNeighbour) Risk(s *lvs.Snapshot) string {
	if op := s.Operator; op != nil && nextHop(s, op.Client.Addr().Unmap()) == st.Address && !st.Done(s) {
		return fmt.Sprintf("answers of your SSH session would go to %s whoever that is: if it is wrong the session hangs", st.MAC)
	}
	return ""
}

// Risk is none: the entry is learnt again.
func (st DelNeighbour) Risk(*lvs.Snapshot) string { return "" }

// nextHop is the neighbour that packets to ip are handed to, invalid when that is not known.
func nextHop(s *lvs.Snapshot, ip netip.Addr) netip.Addr {
	a := s.Lookup(lvs.RouteQuery{Dst: ip})
	switch {
	case a.Outcome != lvs.OutUnicast:
		return netip.Addr{}
	case a.Gateway.IsValid():
		return a.Gateway
	}
	return ip
}

func compareNeighbours(a, b lvs.Neighbour) int {
	if a.Device != b.Device {
		if a.Device < b.Device {
			return -1
		}
		return 1
	}
	return a.Address.Compare(b.Address)
}

// neighbourFact is about permanent entries. Those that the kernel learns come and go by themselves.
func neighbourFact(device string, ip netip.Addr) string {
	return fmt.Sprintf("the permanent neighbour %s on %s", ip, device)
}

func neighbourFacts(s *lvs.Snapshot, out map[string]string) {
	for _, n := range s.Neighbours {
		if n.State == "permanent" && !n.Proxy {
			out[neighbourFact(n.Device, n.Address)] = n.MAC
		}
	}
}
