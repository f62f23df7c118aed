package sample

import (
	"net/netip"
	"time"

	"lvstui/capture"
	"lvstui/lvs"
)

// sights writes the stages of a flow: o seen, i implied, x missing, . pending, - unobservable.
func sights(states string, seen map[lvs.Stage]capture.StageSight) []capture.StageSight {
	words := map[byte]lvs.StageState{'o': lvs.Seen, 'i': lvs.Implied, 'x': lvs.Missing, '.': lvs.Pending, '-': lvs.Unobservable}
	out := make([]capture.StageSight, len(lvs.Stages))
	for i, st := range lvs.Stages {
		out[i] = seen[st]
		out[i].Stage, out[i].State = st, words[states[i]]
	}
	return out
}

func flow(id uint64, port uint16, ago time.Duration, vantage lvs.Vantage, o capture.Outcome) capture.Flow {
	return capture.Flow{ID: id, Client: netip.AddrPortFrom(netip.MustParseAddr("188.88.88.10"), port), Virtual: vip, Protocol: lvs.TCP,
		Vantage: vantage, Outcome: o, FirstSeen: At.Add(-ago), LastSeen: At.Add(-ago + 7*time.Second), ISN: 448411585}
}

var frameFlags = map[capture.EventKind]capture.TCPFlags{capture.EventSYN: capture.SYN, capture.EventSYNACK: capture.SYN | capture.ACK,
	capture.EventACK: capture.ACK, capture.EventDATA: capture.PSH | capture.ACK, capture.EventFIN: capture.FIN | capture.ACK, capture.EventRST: capture.RST}

// frame is an event at a time after the flow's start.
func frame(f *capture.Flow, after time.Duration, kind capture.EventKind, toVirtual bool, dir capture.Direction, dev string, src, dst capture.MAC) {
	e := capture.Event{Time: f.FirstSeen.Add(after), Kind: kind, ToVirtual: toVirtual, Direction: dir, Interface: dev, SrcMAC: src, DstMAC: dst, TTL: 63,
		Forwarded: dir == capture.Out && f.Vantage != lvs.RoleRealServer}
	e.Flags, e.IPID = frameFlags[kind], 0x4a10
	switch {
	case !toVirtual:
		e.Seq, e.Ack = 1733870212, f.ISN+1
	case kind == capture.EventSYN:
		e.Seq, e.IPID = f.ISN, 0
	default:
		e.Seq, e.Ack = f.ISN+1, 1733870213
	}
	for _, old := range f.Events {
		if old.Kind == kind && old.ToVirtual == toVirtual && old.Direction == dir {
			e.Retransmission = true
		}
	}
	f.Events = append(f.Events, e)
}

// retries are when a SYN is sent: at once, and again after 1, 3 and 7 seconds.
var retries = []time.Duration{0, 1024 * time.Millisecond, 3040 * time.Millisecond, 7072 * time.Millisecond}

func directorFlows() []capture.Flow {
	var out []capture.Flow
	for i, port := range []uint16{49672, 49674, 49676, 42314} {
		f := flow(uint64(i+1), port, time.Duration(20-4*i)*time.Second, lvs.RoleDirector, capture.Stalled)
		f.Reached, f.StalledAt, f.Suspects = lvs.SynForwarded, lvs.AckAtDirector, []string{"router-urpf-or-source-guard", "vip-missing-on-rs"}
		f.RealServerMAC = rs2MAC
		if i%2 == 1 {
			f.RealServerMAC = rs1MAC
		}
		for _, at := range retries {
			frame(&f, at, capture.EventSYN, true, capture.In, "eth1", routerMAC, dirVIPMAC)
			frame(&f, at+90*time.Microsecond, capture.EventSYN, true, capture.Out, "eth0", dirDIPMAC, f.RealServerMAC)
		}
		f.SynRetransmits, f.Packets, f.Frames = 3, 4, 8
		f.Stages = sights("iiooo----x.", map[lvs.Stage]capture.StageSight{
			lvs.SynAtDirector: {Time: f.FirstSeen, Interface: "eth1", Direction: capture.In, SrcMAC: routerMAC, DstMAC: dirVIPMAC},
			lvs.SynScheduled:  {Time: f.FirstSeen.Add(90 * time.Microsecond), Interface: "eth0", Direction: capture.Out, SrcMAC: dirDIPMAC, DstMAC: f.RealServerMAC},
			lvs.SynForwarded:  {Time: f.FirstSeen.Add(90 * time.Microsecond), Interface: "eth0", Direction: capture.Out, SrcMAC: dirDIPMAC, DstMAC: f.RealServerMAC}})
		out = append(out, f)
	}
	young := flow(9, 49680, 300*time.Millisecond, lvs.RoleDirector, capture.Pending)
	young.Reached, young.RealServerMAC, young.LastSeen = lvs.SynForwarded, rs1MAC, At.Add(-300*time.Millisecond)
	frame(&young, 0, capture.EventSYN, true, capture.In, "eth1", routerMAC, dirVIPMAC)
	frame(&young, 80*time.Microsecond, capture.EventSYN, true, capture.Out, "eth0", dirDIPMAC, rs1MAC)
	young.Stages = sights("iiooo----..", nil)
	return append(out, young)
}

func realServerFlows() []capture.Flow {
	f := flow(1, 49674, 16*time.Second, lvs.RoleRealServer, capture.Stalled)
	f.Reached, f.StalledAt, f.Suspects = lvs.SynAckSent, lvs.Established, []string{"router-urpf-or-source-guard"}
	frame(&f, 0, capture.EventSYN, true, capture.In, "eth0", dirDIPMAC, rs1MAC)
	for _, at := range retries {
		frame(&f, at+40*time.Microsecond, capture.EventSYNACK, false, capture.Out, "eth0", rs1MAC, routerRIP)
	}
	f.SynAckRetransmits, f.Packets, f.RealServerMAC = 3, 5, rs1MAC
	f.Stages = sights("iiiiiooo--x", map[lvs.Stage]capture.StageSight{
		lvs.SynAtRealServer: {Time: f.FirstSeen, Interface: "eth0", Direction: capture.In, SrcMAC: dirDIPMAC, DstMAC: rs1MAC},
		lvs.SynAccepted:     {Time: f.FirstSeen.Add(40 * time.Microsecond), Interface: "eth0", Direction: capture.Out, SrcMAC: rs1MAC, DstMAC: routerRIP},
		lvs.SynAckSent:      {Time: f.FirstSeen.Add(40 * time.Microsecond), Interface: "eth0", Direction: capture.Out, SrcMAC: rs1MAC, DstMAC: routerRIP}})
	return []capture.Flow{f}
}

func routerFlows() []capture.Flow {
	f := flow(1, 49674, 16*time.Second, lvs.RoleRouter, capture.Stalled)
	f.Reached, f.StalledAt, f.Suspects = lvs.SynAckSent, lvs.SynAckAtClient, []string{"router-urpf-or-source-guard"}
	frame(&f, 0, capture.EventSYN, true, capture.In, "eth0", clientMAC, mac("00:0c:29:21:59:cd"))
	frame(&f, 30*time.Microsecond, capture.EventSYN, true, capture.Out, "eth1", routerMAC, dirVIPMAC)
	for _, at := range retries {
		frame(&f, at+400*time.Microsecond, capture.EventSYNACK, false, capture.In, "eth2", rs1MAC, routerRIP)
	}
	f.SynAckRetransmits, f.Packets = 3, 5
	f.Stages = sights("oiio---oxx-", map[lvs.Stage]capture.StageSight{
		lvs.SynSent: {Time: f.FirstSeen, Interface: "eth0", Direction: capture.In, SrcMAC: clientMAC, DstMAC: mac("00:0c:29:21:59:cd")}})
	return []capture.Flow{f}
}

// healthyFlows has the article's working connection, seen from the director.
func healthyFlows() []capture.Flow {
	f := flow(1, 49672, 12*time.Second, lvs.RoleDirector, capture.Closed)
	f.Reached, f.RealServerMAC, f.Handshake = lvs.Established, rs2MAC, 3690*time.Microsecond
	f.Packets, f.BytesToVirtual, f.LastSeen = 6, 74, f.FirstSeen.Add(11*time.Millisecond)
	for _, step := range []struct {
		at   time.Duration
		kind capture.EventKind
	}{{0, capture.EventSYN}, {3690 * time.Microsecond, capture.EventACK}, {5 * time.Millisecond, capture.EventDATA}, {10 * time.Millisecond, capture.EventFIN}, {11 * time.Millisecond, capture.EventACK}} {
		frame(&f, step.at, step.kind, true, capture.In, "eth1", routerMAC, dirVIPMAC)
		frame(&f, step.at+80*time.Microsecond, step.kind, true, capture.Out, "eth0", dirDIPMAC, rs2MAC)
	}
	for i := range f.Events {
		if f.Events[i].Kind == capture.EventDATA {
			f.Events[i].Length = 74
		}
	}
	f.Stages = sights("iioooiiiioo", nil)
	return []capture.Flow{f}
}

// Later is the director's table n looks later, so that there are rates.
func Later(n int) []lvs.Service { return services(uint64(2400+n*6), 24) }
