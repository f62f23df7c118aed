//go:build linux

package active

import (
	"context"
	"net/netip"
	"time"

	"lvstui/capture"
	"lvstui/lvs"
)

// try is one SYN on its way: for the VIP, or, as a control, for the RIP.
type try struct {
	target *dsrTarget
	to     netip.AddrPort // what the packet is addressed to
	from   netip.AddrPort
	isn    uint32
	mac    capture.MAC
	sent   int
	first  int64 // when
	result lvs.DSRResult
	back   capture.Packet // what came back
	err    error
}

// runDSR resolves the MACs, tries the VIP everywhere, and where nothing came back the RIP.
func runDSR(ctx context.Context, s *socket, targets []dsrTarget) ([]lvs.DSRProbe, error) {
	macs, err := resolve(ctx, s, targets)
	if err != nil {
		return nil, err
	}
	var tries []*try
	for i := range targets {
		t := &targets[i]
		tries = append(tries, &try{target: t, to: t.virtual, from: netip.AddrPortFrom(t.source, s.port), mac: macs[t.rip], isn: isn()})
	}
	if err := shake(ctx, s, tries); err != nil {
		return nil, err
	}
	controls := map[netip.AddrPort]*try{}
	var list []*try
	for _, t := range tries {
		rip := netip.AddrPortFrom(t.target.rip, t.to.Port())
		if t.result == lvs.DSRSilent && controls[rip] == nil {
			controls[rip] = &try{target: t.target, to: rip, from: t.from, mac: t.mac, isn: isn()}
			list = append(list, controls[rip])
		}
	}
	if err := shake(ctx, s, list); err != nil {
		return nil, err
	}
	out := []lvs.DSRProbe{}
	for _, t := range tries {
		p := t.probe()
		if c := controls[netip.AddrPortFrom(t.target.rip, t.to.Port())]; c != nil && t.result == lvs.DSRSilent {
			p.Direct = c.result
		}
		out = append(out, p)
	}
	return out, nil
}

// shake sends the SYNs, again after a second those that were not answered, and waits for what comes back.
func shake(ctx context.Context, s *socket, tries []*try) error {
	open := func() int {
		n := 0
		for _, t := range tries {
			if t.result == "" {
				n++
			}
		}
		return n
	}
	done := func() bool { return open() == 0 }
	hear := func(p *capture.Packet) {
		for _, t := range tries {
			if t.result == "" && t.sent > 0 {
				t.hear(s, p)
			}
		}
	}
	for _, t := range tries {
		switch {
		case !t.target.possible(), t.mac == (capture.MAC{}):
			t.result = lvs.DSRUnreachable
		}
	}
	for round := range 2 {
		for _, t := range tries {
			if t.result != "" {
				continue
			}
			if t.err = s.send(t.target.wire, t.syn()); t.err != nil {
				t.result = lvs.DSRUnreachable
				continue
			}
			t.sent++
			if t.first == 0 {
				t.first = time.Now().UnixNano()
			}
			if err := s.hear(ctx, time.Now().Add(pace), never, hear); err != nil {
				return err
			}
		}
		wait := synAgain
		if round == 1 {
			wait = listenSYN
		}
		if err := s.hear(ctx, time.Now().Add(wait), done, hear); err != nil {
			return err
		}
	}
	for _, t := range tries {
		if t.result == "" {
			t.result = lvs.DSRSilent
		}
	}
	return nil
}

func (t *try) syn() []byte {
	return segment(t.mac, t.target.wire.mac, t.from, t.to, capture.SYN, t.isn, 0)
}

// hear takes a packet that may be an answer to this SYN. A half-open connection is not left behind: our kernel resets one whose SYN-ACK
// it sees, but a director drops a packet from its own VIP unseen, so the RST is sent from here, the way the SYN went.
func (t *try) hear(s *socket, p *capture.Packet) {
	from, to := netip.AddrPortFrom(p.Src, p.SrcPort), netip.AddrPortFrom(p.Dst, p.DstPort)
	switch {
	case p.Kind == capture.TCP && from == t.to && to == t.from && p.Flags.Has(capture.RST) && p.Ack == t.isn+1:
		t.result = lvs.DSRRefuses
	case p.Kind == capture.TCP && from == t.to && to == t.from && p.Flags.Has(capture.SYN|capture.ACK) && p.Ack == t.isn+1:
		t.result = lvs.DSRAccepts
		_ = s.send(t.target.wire, segment(t.mac, t.target.wire.mac, t.from, t.to, capture.RST, t.isn+1, 0)) // the real server forgets it in a minute anyway
	case p.Kind == capture.TCP && from == t.from && to == t.to && p.Seq == t.isn && p.TTL < hops:
		t.result = lvs.DSRForwards
	case p.Kind == capture.ICMP && t.quotedBy(p):
		t.result = lvs.DSRProhibits
		if redirectOrLoop(p) {
			t.result = lvs.DSRForwards
		}
	default:
		return
	}
	t.back = *p
}

func (t *try) quotedBy(p *capture.Packet) bool {
	q := &p.Quote
	return q.Valid && q.Src == t.from.Addr() && q.SrcPort == t.from.Port() && q.Dst == t.to.Addr() && q.DstPort == t.to.Port() && q.Seq == t.isn
}

// redirectOrLoop is true for the ICMP errors that only a host which forwards the packet sends: redirect, and time exceeded.
func redirectOrLoop(p *capture.Packet) bool {
	if p.Proto == protoICMPv6 {
		return p.Quote.Type == 3
	}
	return p.Quote.Type == 5 || p.Quote.Type == 11
}

func (t *try) probe() lvs.DSRProbe {
	p := lvs.DSRProbe{Virtual: t.target.virtual, RealServer: t.target.rip, Device: t.target.wire.name, MAC: t.mac.String(),
		Sent: t.sent, Result: t.result}
	if t.sent > 0 {
		p.Source = t.from
	}
	switch {
	case !t.target.possible():
		p.Error = t.target.why
	case t.err != nil:
		p.Error = t.err.Error()
	case t.mac == (capture.MAC{}):
		p.Error = "it does not answer when asked for its MAC"
	}
	if t.back.Time != 0 {
		p.From, p.TTL = t.back.SrcMAC.String(), int(t.back.TTL)
		p.RTT = float64((t.back.Time-t.first)/1000) / 1000
		if t.back.Kind == capture.ICMP {
			p.Type, p.Code = int(t.back.Quote.Type), int(t.back.Quote.Code)
		}
	}
	return p
}

// resolve asks for the MACs that the host does not know, as the kernel would: three times, from our own address.
func resolve(ctx context.Context, s *socket, targets []dsrTarget) (map[netip.Addr]capture.MAC, error) {
	macs := map[netip.Addr]capture.MAC{}
	missing := []dsrTarget{}
	for _, t := range targets {
		if _, dup := macs[t.rip]; !dup && t.possible() {
			macs[t.rip] = t.mac
			if t.mac == (capture.MAC{}) {
				missing = append(missing, t)
			}
		}
	}
	left := len(missing)
	hear := func(p *capture.Packet) {
		for _, t := range missing {
			ask := arpTarget{vip: t.rip, wire: t.wire, sender: t.source}
			if mac, _, ok := ask.answered(p); ok && macs[t.rip] == (capture.MAC{}) {
				macs[t.rip] = mac
				left--
			}
		}
	}
	for range 3 {
		if left == 0 {
			break
		}
		for _, t := range missing {
			if macs[t.rip] != (capture.MAC{}) {
				continue
			}
			ask := arpTarget{vip: t.rip, wire: t.wire, sender: t.source}
			frames := ask.requests()
			if err := s.send(t.wire, frames[len(frames)-1]); err != nil {
				break // the SYN will say why
			}
			if err := s.hear(ctx, time.Now().Add(pace), never, hear); err != nil {
				return nil, err
			}
		}
		if err := s.hear(ctx, time.Now().Add(500*time.Millisecond), func() bool { return left == 0 }, hear); err != nil {
			return nil, err
		}
	}
	return macs, nil
}
