//go:build linux

package active

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"lvstui/capture"
	"lvstui/internal/arrange"
	"lvstui/lvs"
)

const (
	arpRounds  = 2                      // of each form
	pace       = 5 * time.Millisecond   // between frames: 200 a second at most
	listenARP  = time.Second            // for answers, after the last request
	synAgain   = time.Second            // as a kernel does
	listenSYN  = time.Second            // after the last SYN
	betweenARP = 100 * time.Millisecond // between rounds
)

// Run carries out the plan in the network namespace of the calling thread, which the caller keeps locked. It takes two to four seconds.
func (p *Plan) Run(ctx context.Context) (*lvs.Probed, error) {
	reserved, port, err := reservePort()
	if err != nil {
		return nil, err
	}
	defer unix.Close(reserved)
	s, err := openSocket(port)
	if err != nil {
		return nil, err
	}
	defer s.close()
	out := &lvs.Probed{At: time.Now().UTC().Truncate(time.Millisecond), Left: slices.Clone(p.left)}
	if slices.Contains(p.tests, ARP) {
		if out.ARP, err = runARP(ctx, s, p.arp); err == nil {
			err = p.name(ctx, s, out.ARP)
		}
		if err != nil {
			return out, err
		}
	}
	if slices.Contains(p.tests, DSR) {
		if out.DSR, err = runDSR(ctx, s, p.dsr); err != nil {
			return out, err
		}
	}
	return out, nil
}

func never() bool { return false }

// runARP asks for every VIP in both forms. Answers to the two are told apart by the address they go to.
func runARP(ctx context.Context, s *socket, targets []arpTarget) ([]lvs.ARPProbe, error) {
	out := make([]lvs.ARPProbe, len(targets))
	began := time.Now()
	hear := func(packet *capture.Packet) {
		for i, t := range targets {
			if answer, dad, ok := t.answered(packet); ok && int(packet.Interface) == t.wire.index {
				countAnswer(&out[i], answer, packet.SrcMAC, dad)
			}
		}
	}
	for i, t := range targets {
		out[i] = lvs.ARPProbe{Address: t.vip, Device: t.wire.name, Holds: t.holds, Sender: t.sender, Answers: []lvs.ARPAnswer{}}
	}
	for range arpRounds {
		for i, t := range targets {
			for _, frame := range t.requests() {
				if err := s.send(t.wire, frame); err != nil {
					out[i].Error = err.Error()
					break
				}
				out[i].Sent++
				if err := s.hear(ctx, time.Now().Add(pace), never, hear); err != nil {
					return out, err
				}
			}
		}
		if err := s.hear(ctx, time.Now().Add(betweenARP), never, hear); err != nil {
			return out, err
		}
	}
	err := s.hear(ctx, time.Now().Add(listenARP), never, hear)
	for i := range out {
		out[i].Duration = time.Since(began).Milliseconds()
		arrange.By(out[i].Answers, func(a, b lvs.ARPAnswer) int { return slices.Compare([]byte(a.MAC+a.FromMAC), []byte(b.MAC+b.FromMAC)) })
	}
	return out, err
}

// name says which real servers and routers the answers came from.
func (p *Plan) name(ctx context.Context, s *socket, probes []lvs.ARPProbe) error {
	if !slices.ContainsFunc(probes, func(a lvs.ARPProbe) bool { return len(a.Answers) > 0 }) {
		return nil
	}
	macs, err := resolve(ctx, s, p.known)
	for i := range probes {
		for j := range probes[i].Answers {
			a := &probes[i].Answers[j]
			for _, t := range p.known {
				if t.wire.name == probes[i].Device && macs[t.rip].String() == a.MAC {
					a.Station = t.rip
				}
			}
		}
	}
	return err
}

func (t arpTarget) requests() [][]byte {
	if t.vip.Is6() {
		return [][]byte{solicitation(t.wire.mac, t.sender, t.vip)}
	}
	frames := [][]byte{arpRequest(t.wire.mac, netip.Addr{}, t.vip)}
	if t.sender.IsValid() {
		frames = append(frames, arpRequest(t.wire.mac, t.sender, t.vip))
	}
	return frames
}

// answered says whose MAC a packet gives for the target, if it is an answer to one of our requests, and to which form.
func (t arpTarget) answered(p *capture.Packet) (mac capture.MAC, dad, ok bool) {
	switch {
	case p.ARP.Op != 2:
	case p.Kind == capture.ARP && p.Src == t.vip && p.DstMAC == t.wire.mac:
		return p.ARP.SenderMAC, p.Dst.IsUnspecified(), true
	case p.Kind == capture.ICMP && p.Quote.Dst == t.vip && p.Dst == t.sender:
		return p.ARP.SenderMAC, false, true
	}
	return mac, false, false
}

const maxAnswers = 32

func countAnswer(probe *lvs.ARPProbe, mac, from capture.MAC, dad bool) {
	a := lvs.ARPAnswer{MAC: mac.String()}
	if from != mac {
		a.FromMAC = from.String()
	}
	i := slices.IndexFunc(probe.Answers, func(o lvs.ARPAnswer) bool { return o.MAC == a.MAC && o.FromMAC == a.FromMAC })
	if i < 0 {
		if len(probe.Answers) == maxAnswers {
			return
		}
		probe.Answers = append(probe.Answers, a)
		i = len(probe.Answers) - 1
	}
	if dad {
		probe.Answers[i].DAD++
	} else {
		probe.Answers[i].Ordinary++
	}
}

// isn begins the sequence numbers of a run: every SYN has its own, so that an answer tells what it answers.
func isn() uint32 { return rand.Uint32() }
