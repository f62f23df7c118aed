package ui

import (
	"context"
	"net/netip"
	"testing"

	"lvstui/lvs"
	"lvstui/ui/internal/sample"
)

// proberHost answers with data.
type proberHost struct {
	*plainHost
	sent int
}

func (h *proberHost) PlanProbe(context.Context) (words, left []string, err error) {
	return []string{"eth1: 2 ARP requests for 172.16.0.8 from 0.0.0.0"}, []string{"eth9: no MAC"}, nil
}

func (h *proberHost) Probe(context.Context) (*lvs.Probed, error) {
	h.sent++
	vip := netip.MustParseAddrPort("172.16.0.8:80")
	return &lvs.Probed{At: sample.At,
		ARP: []lvs.ARPProbe{{Address: vip.Addr(), Device: "eth1", Holds: true, Sent: 4, Answers: []lvs.ARPAnswer{{MAC: "00:0c:29:7b:11:01", Ordinary: 2, DAD: 2}}}},
		DSR: []lvs.DSRProbe{
			{Virtual: vip, RealServer: netip.MustParseAddr("192.168.10.11"), Device: "eth0", MAC: "00:0c:29:7b:11:01", Sent: 1, Result: lvs.DSRAccepts, RTT: 0.31},
			{Virtual: vip, RealServer: netip.MustParseAddr("192.168.10.12"), Device: "eth0", MAC: "00:0c:29:7b:12:0c", Sent: 2, Result: lvs.DSRSilent, Direct: lvs.DSRRefuses}}}, nil
}

// Nothing is sent before the box was read and t pressed again; the answers name hosts.
func TestActiveTests(t *testing.T) {
	host := &proberHost{plainHost: &plainHost{name: "director", facts: sample.BrokenDirector()}}
	d := newDriver(t, 100, 40, Options{Hosts: []Host{host}}).start()
	d.press("4")
	d.shows("t test")
	d.press("t", "t")
	d.shows("This would be sent, and nothing else:", "▶ eth1: 2 ARP requests for 172.16.0.8 from 0.0.0.0", "not tried: eth9: no MAC", "this has just come up")
	if host.sent != 0 {
		t.Fatal("a key typed before the box was read sent something")
	}
	d.pass()
	d.press("t")
	d.shows("Who answers for the VIP", "✓ this host has it there", "! 00:0c:29:7b:11:01 (192.168.10.11) answers",
		"✓ 192.168.10.11 for 172.16.0.8:80: takes it: a SYN-ACK from the VIP came back after 0.31 ms",
		"! 192.168.10.12 for 172.16.0.8:80: does not answer, but refuses the same for its own address, so")
	if host.sent != 1 {
		t.Errorf("sent %d times", host.sent)
	}
	host.facts.ReadOnly, host.facts.ReadOnlyWhy = true, "no CAP_NET_RAW"
	d.press("esc")
	d.pass()
	d.press("t")
	d.shows("t test: read-only: no CAP_NET_RAW")
}
