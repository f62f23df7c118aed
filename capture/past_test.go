package capture

import (
	"net/netip"
	"testing"

	"lvstui/lvs"
)

// A real server that is reached past the director must not report that the director scheduled anything: its SYN comes from
// the MAC its SYN-ACK goes to, the router's. When the two differ, the SYN came by the director.
func TestRealServerReachedPastTheDirector(t *testing.T) {
	router, director, own := MAC{2, 0, 0, 0, 0, 1}, MAC{2, 0, 0, 0, 0, 2}, MAC{2, 0, 0, 0, 0, 3}
	client, vip := netip.MustParseAddr("188.88.88.10"), netip.MustParseAddr("172.16.0.8")
	for _, c := range []struct {
		name string
		from MAC
		want lvs.StageState
	}{{"past the director", router, lvs.Unobservable}, {"by the director", director, lvs.Implied}} {
		tr := NewTracker(Config{Vantage: lvs.RoleRealServer, Virtuals: []netip.Addr{vip}})
		tr.Add(&Packet{Time: 1, Kind: TCP, Dir: In, HasMAC: true, SrcMAC: c.from, DstMAC: own, Src: client, Dst: vip,
			SrcPort: 4000, DstPort: 80, Proto: 6, Flags: SYN, Seq: 100, TTL: 62})
		tr.Add(&Packet{Time: 2, Kind: TCP, Dir: Out, HasMAC: true, SrcMAC: own, DstMAC: router, Src: vip, Dst: client,
			SrcPort: 80, DstPort: 4000, Proto: 6, Flags: SYN | ACK, Seq: 900, Ack: 101, TTL: 64})
		f := tr.Flows()[0]
		for _, stage := range []lvs.Stage{lvs.SynAtDirector, lvs.SynScheduled, lvs.SynForwarded} {
			if got := f.Stage(stage).State; got != c.want {
				t.Errorf("%s: %s is %s, want %s", c.name, stage, got, c.want)
			}
		}
		if f.Stage(lvs.SynAckSent).State != lvs.Seen || f.Stage(lvs.SynSent).State != lvs.Implied {
			t.Errorf("%s: %+v", c.name, f.Stages)
		}
	}
}
