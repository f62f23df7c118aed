package capture

import (
	"cmp"
	"encoding/json"
	"math"
	"net/netip"
	"slices"
	"time"

	"lvstui/internal/arrange"
	"lvstui/lvs"
)

// Counts is what some flows came to.
type Counts struct {
	Started     int               `json:"started"`     // flows whose first packet was seen; all counts below are of them
	Established int               `json:"established"` // complete handshakes: established, closed, or reset later
	Closed      int               `json:"closed"`      // of them ended in order
	Reset       int               `json:"reset"`       // of them ended by a RST
	Refused     int               `json:"refused"`
	Stalled     int               `json:"stalled"`
	Pending     int               `json:"pending"`
	StalledAt   map[lvs.Stage]int `json:"stalled_at"` // stalled ones by the stage that misses; "" where none does
	MidStream   int               `json:"mid_stream"` // not in Started: the capture began after their first packet

	SynRetransmits    int `json:"syn_retransmits"`
	SynAckRetransmits int `json:"syn_ack_retransmits"`
	// How many SYNs, and SYN-ACKs, were sent again for each flow that was started.
	SynRetransmitRate    float64     `json:"syn_retransmit_rate"`
	SynAckRetransmitRate float64     `json:"syn_ack_retransmit_rate"`
	Handshake            Percentiles `json:"handshake_ms"`

	times []time.Duration
}

// ServiceSummary is what the flows of one virtual service came to.
type ServiceSummary struct {
	Virtual  netip.AddrPort `json:"virtual"`
	Protocol lvs.Protocol   `json:"protocol"`
	Counts
	// RealServers has the counts by the real server that the flows were sent to, where the capture shows its MAC, the busiest first.
	RealServers []RealServerSummary `json:"real_servers"`
}

// RealServerSummary is what the flows of one real server came to.
type RealServerSummary struct {
	MAC MAC `json:"mac"`
	// RealServer is its address where the frames show it; else for whoever knows the neighbours to fill in.
	RealServer netip.Addr `json:"real_server,omitzero"`
	Counts
}

// Percentiles are of the complete handshakes' times; all are 0 if there was none.
type Percentiles struct {
	Count         int
	P50, P95, Max time.Duration
}

// MarshalJSON writes milliseconds: {"count":3,"p50":0.42,"p95":1.9,"max":1.9}.
func (p Percentiles) MarshalJSON() ([]byte, error) {
	ms := func(d time.Duration) float64 { return math.Round(float64(d)/1e3) / 1e3 }
	return json.Marshal(struct {
		Count int     `json:"count"`
		P50   float64 `json:"p50"`
		P95   float64 `json:"p95"`
		Max   float64 `json:"max"`
	}{p.Count, ms(p.P50), ms(p.P95), ms(p.Max)})
}

// maxRealServers bounds the list of a service: a capture without a director behind it shows any number of MACs.
const maxRealServers = 256

// ByService sums the flows up for each virtual service and each of its real servers, the busiest first.
func ByService(flows []Flow) []ServiceSummary {
	type service struct {
		virtual  netip.AddrPort
		protocol lvs.Protocol
	}
	type server struct {
		service int
		mac     MAC
		address netip.Addr // of a real server behind a router the MAC is the router's
	}
	at, serverAt := map[service]int{}, map[server]int{}
	var list []ServiceSummary
	for i := range flows {
		f := &flows[i]
		key := service{f.Virtual, f.Protocol}
		n, ok := at[key]
		if !ok {
			n = len(list)
			at[key] = n
			list = append(list, ServiceSummary{Virtual: f.Virtual, Protocol: f.Protocol, Counts: newCounts(), RealServers: []RealServerSummary{}})
		}
		list[n].add(f)
		if f.RealServerMAC == (MAC{}) {
			continue
		}
		id := server{n, f.RealServerMAC, f.RealServer.Addr()}
		m, ok := serverAt[id]
		if !ok {
			if len(list[n].RealServers) == maxRealServers {
				continue
			}
			m = len(list[n].RealServers)
			serverAt[id] = m
			list[n].RealServers = append(list[n].RealServers, RealServerSummary{MAC: f.RealServerMAC, RealServer: id.address, Counts: newCounts()})
		}
		list[n].RealServers[m].add(f)
	}
	for n := range list {
		list[n].finish()
		for m := range list[n].RealServers {
			list[n].RealServers[m].finish()
		}
		arrange.By(list[n].RealServers, func(a, b RealServerSummary) int {
			return cmp.Or(cmp.Compare(b.Started, a.Started), cmp.Compare(a.MAC.String(), b.MAC.String()), a.RealServer.Compare(b.RealServer))
		})
	}
	arrange.By(list, func(a, b ServiceSummary) int {
		return cmp.Or(cmp.Compare(b.Started, a.Started), a.Virtual.Compare(b.Virtual), cmp.Compare(a.Protocol, b.Protocol))
	})
	return list
}

func newCounts() Counts { return Counts{StalledAt: map[lvs.Stage]int{}} }

func (s *Counts) add(f *Flow) {
	if f.MidStream {
		s.MidStream++
		return
	}
	s.Started++
	s.SynRetransmits += f.SynRetransmits
	s.SynAckRetransmits += f.SynAckRetransmits
	if f.Handshake > 0 {
		s.times = append(s.times, f.Handshake)
	}
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

// finish works out what can only be known in the end.
func (s *Counts) finish() {
	s.Handshake, s.times = percentiles(s.times), nil
	if s.Started > 0 {
		rate := func(n int) float64 { return math.Round(float64(n)/float64(s.Started)*1e4) / 1e4 }
		s.SynRetransmitRate, s.SynAckRetransmitRate = rate(s.SynRetransmits), rate(s.SynAckRetransmits)
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
