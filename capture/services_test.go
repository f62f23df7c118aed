package capture

import (
	"encoding/json"
	"net/netip"
	"strings"
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

func TestByRealServer(t *testing.T) {
	web := netip.MustParseAddrPort("172.16.0.8:80")
	one, two := MAC{2, 0, 0, 0, 0x11}, MAC{2, 0, 0, 0, 0x12}
	var flows []Flow
	for range 3 {
		flows = append(flows, Flow{Virtual: web, Protocol: lvs.TCP, Outcome: Closed, Handshake: time.Millisecond, RealServerMAC: one})
	}
	flows = append(flows,
		Flow{Virtual: web, Protocol: lvs.TCP, Outcome: Stalled, StalledAt: lvs.AckAtDirector, SynRetransmits: 3, RealServerMAC: two},
		Flow{Virtual: web, Protocol: lvs.TCP, Outcome: Stalled, StalledAt: lvs.SynForwarded, SynRetransmits: 1})
	s := ByService(flows)[0]
	if s.Started != 5 || s.SynRetransmitRate != 0.8 || len(s.RealServers) != 2 {
		t.Fatalf("%+v", s)
	}
	if r := s.RealServers[0]; r.MAC != one || r.Started != 3 || r.Established != 3 || r.Handshake.P50 != time.Millisecond || r.SynRetransmitRate != 0 {
		t.Errorf("%+v", r)
	}
	if r := s.RealServers[1]; r.MAC != two || r.Started != 1 || r.Stalled != 1 || r.StalledAt[lvs.AckAtDirector] != 1 || r.SynRetransmitRate != 3 {
		t.Errorf("%+v", r)
	}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"virtual":"172.16.0.8:80"`, `"started":5`, `"stalled_at":{"ack-at-director":1,"syn-forwarded":1}`,
		`"syn_retransmit_rate":0.8`, `"handshake_ms":{"count":3,"p50":1,"p95":1,"max":1}`, `"mac":"02:00:00:00:11:00"`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %s in %s", want, b)
		}
	}
}
