package capture

import (
	"net/netip"
	"testing"
	"time"

	"lvstui/lvs"
)

func TestByService(t *testing.T) {
	web, mail := netip.MustParseAddrPort("172.16.0.8:80"), netip.MustParseAddrPort("172.16.0.8:25")
	var flows []Flow
	for i := range 20 {
		flows = append(flows, Flow{Virtual: web, Protocol: lvs.TCP, Outcome: Closed, Handshake: time.Duration(i+1) * time.Millisecond, SynRetransmits: i % 2})
	}
	flows = append(flows,
		Flow{Virtual: web, Protocol: lvs.TCP, Outcome: Stalled, StalledAt: lvs.AckAtDirector, SynRetransmits: 3},
		Flow{Virtual: web, Protocol: lvs.TCP, Outcome: Refused},
		Flow{Virtual: web, Protocol: lvs.TCP, Outcome: Reset, Handshake: time.Second},
		Flow{Virtual: web, Protocol: lvs.TCP, Outcome: Pending, SynAckRetransmits: 1},
		Flow{Virtual: web, Protocol: lvs.TCP, Outcome: Stalled, StalledAt: lvs.SynAckAtClient, MidStream: true, SynAckRetransmits: 9},
		Flow{Virtual: mail, Protocol: lvs.TCP, Outcome: Established},
		Flow{Virtual: web, Protocol: lvs.UDP, Outcome: Established, Handshake: time.Millisecond})
	list := ByService(flows)
	if len(list) != 3 || list[0].Virtual != web || list[1].Virtual != mail || list[2].Protocol != lvs.UDP {
		t.Fatalf("%+v", list)
	}
	s := list[0]
	if s.Started != 24 || s.Established != 21 || s.Closed != 20 || s.Reset != 1 || s.Refused != 1 || s.Stalled != 1 || s.Pending != 1 ||
		s.MidStream != 1 || s.StalledAt[lvs.AckAtDirector] != 1 || len(s.StalledAt) != 1 || s.SynRetransmits != 13 || s.SynAckRetransmits != 1 {
		t.Errorf("%+v", s)
	}
	if h := s.Handshake; h.Count != 21 || h.P50 != 11*time.Millisecond || h.P95 != 20*time.Millisecond || h.Max != time.Second {
		t.Errorf("%+v", h)
	}
	if h := list[1].Handshake; h != (Percentiles{}) {
		t.Errorf("no handshake was timed: %+v", h)
	}
	if h := list[2].Handshake; h.Count != 1 || h.P50 != time.Millisecond || h.P95 != time.Millisecond {
		t.Errorf("one handshake: %+v", h)
	}
	if ByService(nil) != nil {
		t.Error("no flows, no services")
	}
}
