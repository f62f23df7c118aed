package fixes

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/lvs"
)

const kindAnnounce = "announce"

// Announcements is how often an announcement is repeated: one frame may be lost.
const Announcements = 3

// Announce tells everybody on a segment that an address is here: gratuitous ARP, or an unsolicited neighbour advertisement.
// Those who know the address with another MAC take the new one. It changes nothing on this host, so there is nothing to
// take back, and by its facts it is always done: it belongs behind a step that moves an address.
type Announce struct {
	Device  string     `json:"device"`
	Address netip.Addr `json:"address"`
}

// Kind is "announce".
func (st Announce) Kind() string { return kindAnnounce }

// Command is what iputils or ndsend have for it.
func (st Announce) Command() string {
	if st.Address.Is6() {
		return fmt.Sprintf("ndsend %s %s", st.Address, shellWord(st.Device))
	}
	return fmt.Sprintf("arping -U -c %d -I %s %s", Announcements, shellWord(st.Device), st.Address)
}

// Validate refuses what could not be announced.
func (st Announce) Validate() error {
	if err := validDevice(st.Device); err != nil {
		return err
	}
	if st.Address.IsLoopback() {
		return fmt.Errorf("%s is nobody else's business", st.Address)
	}
	return validHost(st.Address)
}

// Was says that nothing changes here.
func (st Announce) Was(*lvs.Snapshot) string {
	return "changes nothing on this host, so nothing is taken back"
}

// Done is always true, see Announce.
func (st Announce) Done(*lvs.Snapshot) bool { return true }

// Simulate refuses to announce what is not here: that would take the address from whoever has it.
func (st Announce) Simulate(s *lvs.Snapshot) (*lvs.Snapshot, error) {
	if err := st.Validate(); err != nil {
		return nil, err
	}
	if missing := s.Missing(lvs.SourceLinks, lvs.SourceAddresses); len(missing) > 0 {
		return nil, fmt.Errorf("the %s of %s could not be read", missing[0], s.Host)
	}
	if l, ok := s.Link(st.Device); !ok || !l.OnWire() {
		return nil, fmt.Errorf("nothing can be announced on %s", st.Device)
	}
	if !slices.ContainsFunc(s.AddressesOf(st.Address), func(a lvs.Address) bool { return a.Device == st.Device }) {
		return nil, fmt.Errorf("%s is not on %s and will not be announced there", st.Address, st.Device)
	}
	return s, nil
}

// Undo is nothing, see Announce.
func (st Announce) Undo(s *lvs.Snapshot) ([]Step, error) {
	_, err := st.Simulate(s)
	return nil, err
}

// Risk is none.
func (st Announce) Risk(*lvs.Snapshot) string { return "" }
