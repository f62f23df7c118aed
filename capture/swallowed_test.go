package capture

import (
	"slices"
	"testing"

	"lvstui/lvs"
)

// A director whose packet filter drops the client's ACK as invalid sees the client connect, ask, and give up with a FIN. That is no
// connection that came to its end.
func TestDirectorThatDropsTheACKIsNotServing(t *testing.T) {
	packets := seen(lvs.RoleDirector, articlePackets())
	syn := packets[:2]
	in := slices.DeleteFunc(slices.Clone(packets[2:]), func(p Packet) bool { return p.Dir == Out })
	again, fin := in[1], in[3]
	again.Time += 300_000_000
	fin.Time, fin.Ack = fin.Time+600_000_000, in[0].Ack // nothing came from the server
	in = append(in[:2], again, fin)
	f := oneFlow(t, Config{Vantage: lvs.RoleDirector}, slices.Concat(syn, in))
	if f.Outcome != Stalled || f.Reached != lvs.AckAtDirector || f.StalledAt != lvs.Established {
		t.Errorf("the flow is %s, reached %s, stalled at %q; want stalled at %s", f.Outcome, f.Reached, f.StalledAt, lvs.Established)
	}
	if f = oneFlow(t, Config{Vantage: lvs.RoleDirector}, packets); f.Outcome != Closed {
		t.Errorf("with everything sent on the flow is %s, want %s", f.Outcome, Closed)
	}
}
