package fixes

import (
	"cmp"
	"fmt"
	"math"

	"lvstui/lvs"
)

const kindTimeouts = "ipvs-timeouts"

// SetTimeouts sets for how many seconds ip_vs keeps entries over which nothing comes. 0 leaves one as it is.
type SetTimeouts struct {
	TCP    uint32 `json:"tcp,omitempty"`     // open connections
	TCPFin uint32 `json:"tcp_fin,omitempty"` // those that a FIN was seen of
	UDP    uint32 `json:"udp,omitempty"`
}

// Kind is "ipvs-timeouts".
func (st SetTimeouts) Kind() string { return kindTimeouts }

// Command is the ipvsadm(8) command line.
func (st SetTimeouts) Command() string {
	return fmt.Sprintf("ipvsadm --set %d %d %d", st.TCP, st.TCPFin, st.UDP)
}

// Validate refuses what the kernel could not have: it counts in ticks, of which there may be a thousand a second (ip_vs_set_timeout).
func (st SetTimeouts) Validate() error {
	for _, n := range []uint32{st.TCP, st.TCPFin, st.UDP} {
		if n > math.MaxInt32/1000 {
			return fmt.Errorf("%d seconds are too long for ip_vs", n)
		}
	}
	if st == (SetTimeouts{}) {
		return fmt.Errorf("no time-out is set")
	}
	return nil
}

// Was says what there is now.
func (st SetTimeouts) Was(s *lvs.Snapshot) string {
	if s.IPVS == nil || s.IPVS.Timeouts == nil {
		return "could not be read"
	}
	return "was " + timeoutWords(*s.IPVS.Timeouts)
}

// Done says that the time-outs are like that already.
func (st SetTimeouts) Done(s *lvs.Snapshot) bool {
	return s.IPVS != nil && s.IPVS.Timeouts != nil && st.over(*s.IPVS.Timeouts) == *s.IPVS.Timeouts
}

func (st SetTimeouts) over(t lvs.Timeouts) lvs.Timeouts {
	return lvs.Timeouts{TCP: cmp.Or(st.TCP, t.TCP), TCPFin: cmp.Or(st.TCPFin, t.TCPFin), UDP: cmp.Or(st.UDP, t.UDP)}
}

// Simulate sets the time-outs. Entries that are there keep theirs until the next packet.
func (st SetTimeouts) Simulate(s *lvs.Snapshot) (*lvs.Snapshot, error) {
	if err := st.Validate(); err != nil {
		return nil, err
	}
	if err := writableTable(s); err != nil {
		return nil, err
	}
	if s.IPVS.Timeouts == nil {
		return nil, fmt.Errorf("the time-outs of ip_vs on %s could not be read, so they could not be put back", s.Host)
	}
	if st.Done(s) {
		return s, nil
	}
	next, table, set := *s, *s.IPVS, st.over(*s.IPVS.Timeouts)
	table.Timeouts, next.IPVS = &set, &table
	return &next, nil
}

// Undo sets the old ones again.
func (st SetTimeouts) Undo(s *lvs.Snapshot) ([]Step, error) {
	if st.Done(s) {
		return nil, nil
	}
	if _, err := st.Simulate(s); err != nil {
		return nil, err
	}
	back := SetTimeouts(*s.IPVS.Timeouts)
	return []Step{back}, back.Validate()
}

// Risk is none: SSH sessions do not go by ip_vs.
func (st SetTimeouts) Risk(*lvs.Snapshot) string { return "" }

const timeoutsFact = "the time-outs of ip_vs"

func timeoutWords(t lvs.Timeouts) string {
	return fmt.Sprintf("%d s for TCP, %d s after a FIN, %d s for UDP", t.TCP, t.TCPFin, t.UDP)
}
