package capture

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"lvstui/lvs"
)

// ServiceSummary is what the flows of one virtual service came to.
type ServiceSummary struct {
	Virtual     netip.AddrPort
	Protocol    lvs.Protocol
	Started     int // flows whose first packet was seen; all counts below are of them
	Established int // complete handshakes: established, closed, or reset later
	Closed      int // of them ended in order
	Reset       int // of them ended by a RST
	Refused     int
	Stalled     int
	Pending     int
	StalledAt   map[lvs.Stage]int // stalled ones by the stage that misses; "" where none does
	MidStream   int               // not in Started: the capture began after their first packet

	SynRetransmits, SynAckRetransmits int
	Handshake                         Percentiles
}

// Percentiles are of the complete handshakes' times; all are 0 if there was none.
type Percentiles struct {
	Count         int
	P50, P95, Max time.Duration
}

// ByService sums the flows up for each virtual service, the busiest first.
func ByService(flows []Flow) []ServiceSummary {
	type service struct {
		virtual  netip.AddrPort
		protocol lvs.Protocol
	}
	at := map[service]int{}
	var list []ServiceSummary
	var times [][]time.Duration
	for i := range flows {
		f := &flows[i]
		key := service{f.Virtual, f.Protocol}
		n, ok := at[key]
		if !ok {
			n = len(list)
			at[key] = n
			list = append(list, ServiceSummary{Virtual: f.Virtual, Protocol: f.Protocol, StalledAt: map[lvs.Stage]int{}})
			times = append(times, nil)
		}
		list[n].add(f)
		if f.Handshake > 0 && !f.MidStream {
			times[n] = append(times[n], f.Handshake)
		}
	}
	for n := range list {
		list[n].Handshake = percentiles(times[n])
	}
	slices.SortStableFunc(list, func(a, b ServiceSummary) int {
		return cmp.Or(cmp.Compare(b.Started, a.Started), a.Virtual.Compare(b.Virtual), cmp.Compare(a.Protocol, b.Protocol))
	})
	return list
}

func (s *ServiceSummary) add(f *Flow) {
	if f.MidStream {
		s.MidStream++
		return
	}
	s.Started++
	s.SynRetransmits += f.SynRetransmits
	s.SynAckRetransmits += f.SynAckRetransmits
	switch f.Outcome {
	case Established:
		s.Established++
	case Closed:
		s.Established++
		s.Closed++
	case Reset:
		s.Reset++
		if f.Handshake > 0 || f.Stage(lvs.Established).State == lvs.Seen {
			s.Established++
		}
	case Refused:
		s.Refused++
	case Stalled:
		s.Stalled++
		s.StalledAt[f.StalledAt]++
	default:
		s.Pending++
	}
}

// percentiles gives measured values, by nearest rank. It sorts times.
func percentiles(times []time.Duration) Percentiles {
	if len(times) == 0 {
		return Percentiles{}
	}
	slices.Sort(times)
	rank := func(percent int) time.Duration { return times[(len(times)*percent+99)/100-1] }
	return Percentiles{Count: len(times), P50: rank(50), P95: rank(95), Max: times[len(times)-1]}
}
