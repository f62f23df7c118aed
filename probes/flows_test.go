package probes

import (
	"fmt"
	"net/netip"
	"time"

	"lvstui/capture"
	"lvstui/lvs"
)

// The article's addresses, and flows as the tracker makes them of what each host sees.

var (
	vip    = netip.MustParseAddr("172.16.0.8")
	client = netip.MustParseAddr("188.88.88.10")
	start  = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
)

// sights writes stages as "seen", "implied", "missing", "pending"; the rest is unobservable.
func sights(states map[lvs.Stage]lvs.StageState) []capture.StageSight {
	out := make([]capture.StageSight, 0, len(lvs.Stages))
	for _, s := range lvs.Stages {
		state := states[s]
		if state == "" {
			state = lvs.Unobservable
		}
		out = append(out, capture.StageSight{Stage: s, State: state})
	}
	return out
}

// flow is the n-th flow, one a second.
func flow(n int, vantage lvs.Vantage, outcome capture.Outcome, states map[lvs.Stage]lvs.StageState) capture.Flow {
	at := start.Add(time.Duration(n) * time.Second)
	return capture.Flow{
		Client: netip.AddrPortFrom(client, uint16(40000+n)), Virtual: netip.AddrPortFrom(vip, 80), Protocol: lvs.TCP,
		Vantage: vantage, Outcome: outcome, Stages: sights(states), FirstSeen: at, LastSeen: at.Add(500 * time.Millisecond),
	}
}

type stages = map[lvs.Stage]lvs.StageState

// What each vantage shows of a flow that is served, and of one whose SYN-ACK the router drops.
var served = map[lvs.Vantage]stages{
	lvs.RoleClient: {lvs.SynSent: lvs.Seen, lvs.VIPResolved: lvs.Implied, lvs.SynAtDirector: lvs.Implied, lvs.SynScheduled: lvs.Implied,
		lvs.SynForwarded: lvs.Implied, lvs.SynAtRealServer: lvs.Implied, lvs.SynAccepted: lvs.Implied, lvs.SynAckSent: lvs.Implied,
		lvs.SynAckAtClient: lvs.Seen, lvs.AckAtDirector: lvs.Implied, lvs.Established: lvs.Seen},
	lvs.RoleRouter: {lvs.SynSent: lvs.Seen, lvs.VIPResolved: lvs.Seen, lvs.SynAtDirector: lvs.Implied, lvs.SynScheduled: lvs.Implied,
		lvs.SynForwarded: lvs.Implied, lvs.SynAtRealServer: lvs.Implied, lvs.SynAccepted: lvs.Implied, lvs.SynAckSent: lvs.Seen,
		lvs.SynAckAtClient: lvs.Seen, lvs.AckAtDirector: lvs.Implied, lvs.Established: lvs.Seen},
	lvs.RoleDirector: {lvs.SynSent: lvs.Implied, lvs.VIPResolved: lvs.Implied, lvs.SynAtDirector: lvs.Seen, lvs.SynScheduled: lvs.Implied,
		lvs.SynForwarded: lvs.Seen, lvs.SynAtRealServer: lvs.Implied, lvs.SynAccepted: lvs.Implied, lvs.SynAckSent: lvs.Implied,
		lvs.SynAckAtClient: lvs.Implied, lvs.AckAtDirector: lvs.Seen, lvs.Established: lvs.Seen},
	lvs.RoleRealServer: {lvs.SynSent: lvs.Implied, lvs.VIPResolved: lvs.Implied, lvs.SynAtDirector: lvs.Implied, lvs.SynScheduled: lvs.Implied,
		lvs.SynForwarded: lvs.Implied, lvs.SynAtRealServer: lvs.Seen, lvs.SynAccepted: lvs.Implied, lvs.SynAckSent: lvs.Seen,
		lvs.SynAckAtClient: lvs.Implied, lvs.AckAtDirector: lvs.Implied, lvs.Established: lvs.Seen},
}

var unanswered = map[lvs.Vantage]stages{
	lvs.RoleClient: {lvs.SynSent: lvs.Seen, lvs.SynAckAtClient: lvs.Missing},
	lvs.RoleRouter: {lvs.SynSent: lvs.Seen, lvs.VIPResolved: lvs.Seen, lvs.SynAtDirector: lvs.Implied, lvs.SynScheduled: lvs.Implied,
		lvs.SynForwarded: lvs.Implied, lvs.SynAtRealServer: lvs.Implied, lvs.SynAccepted: lvs.Implied, lvs.SynAckSent: lvs.Seen, lvs.SynAckAtClient: lvs.Missing},
	lvs.RoleDirector: {lvs.SynSent: lvs.Implied, lvs.VIPResolved: lvs.Implied, lvs.SynAtDirector: lvs.Seen, lvs.SynScheduled: lvs.Implied,
		lvs.SynForwarded: lvs.Seen, lvs.AckAtDirector: lvs.Missing},
	lvs.RoleRealServer: {lvs.SynSent: lvs.Implied, lvs.VIPResolved: lvs.Implied, lvs.SynAtDirector: lvs.Implied, lvs.SynScheduled: lvs.Implied,
		lvs.SynForwarded: lvs.Implied, lvs.SynAtRealServer: lvs.Seen, lvs.SynAccepted: lvs.Implied, lvs.SynAckSent: lvs.Seen, lvs.SynAckAtClient: lvs.Missing},
}

// many are n flows, from number first on.
func many(first, n int, vantage lvs.Vantage, outcome capture.Outcome, states stages) []capture.Flow {
	var out []capture.Flow
	for i := range n {
		out = append(out, flow(first+i, vantage, outcome, states))
	}
	return out
}

// bare is a host about which everything was read and there is nothing.
func bare(name string) *lvs.Snapshot {
	return &lvs.Snapshot{Schema: lvs.SnapshotSchema, Host: name, TakenAt: start, IPVS: &lvs.IPVS{Services: []lvs.Service{}}, Links: []lvs.Link{{Name: "lo", Index: 1, Up: true, Type: "loopback"}},
		Addresses: []lvs.Address{}, Neighbours: []lvs.Neighbour{}, Routes: []lvs.Route{}, Answers: []lvs.RouteAnswer{}, PolicyRules: []lvs.PolicyRule{},
		Sysctls: map[string]string{}, Sockets: []lvs.Socket{}, Clients: []lvs.Client{}, Netfilter: &lvs.Netfilter{NFTables: true, Legacy: true},
		Counters: map[string]uint64{}, Owners: []lvs.Owner{}, Gaps: []lvs.Gap{}}
}

// with gives a host wire links and addresses, written "eth0 192.168.10.2/24".
func with(s *lvs.Snapshot, addresses ...string) *lvs.Snapshot {
	for _, text := range addresses {
		var dev, prefix string
		if _, err := fmt.Sscan(text, &dev, &prefix); err != nil {
			panic(text)
		}
		if _, ok := s.Link(dev); !ok {
			s.Links = append(s.Links, lvs.Link{Index: len(s.Links) + 1, Name: dev, Type: "ether", Kind: map[bool]string{true: "dummy"}[dev == "dummy0"], Up: true, Running: true,
				MAC: fmt.Sprintf("02:00:00:00:%02x:%02x", len(s.Host), len(s.Links))})
		}
		s.Addresses = append(s.Addresses, lvs.Address{Device: dev, Prefix: netip.MustParsePrefix(prefix), Scope: "global"})
	}
	return s
}

func director(services ...lvs.Service) *lvs.Snapshot {
	s := with(bare("director"), "eth0 192.168.10.2/24", "eth1 172.16.0.8/24")
	if services == nil {
		services = []lvs.Service{service(80, "192.168.10.11", "192.168.10.12")}
	}
	s.IPVS = &lvs.IPVS{Loaded: true, Services: services}
	return s
}

func service(port uint16, rips ...string) lvs.Service {
	v := lvs.Service{Protocol: lvs.TCP, Address: vip, Port: port, Scheduler: "rr"}
	for _, rip := range rips {
		v.Destinations = append(v.Destinations, lvs.Destination{Address: netip.MustParseAddr(rip), Port: port, Forward: lvs.Gate, Weight: 1})
	}
	return v
}

func realServer(name, rip string) *lvs.Snapshot {
	return with(bare(name), "eth0 "+rip+"/24", "lo 172.16.0.8/32")
}

func router() *lvs.Snapshot {
	s := with(bare("router"), "eth0 188.88.88.1/24", "eth1 172.16.0.1/24", "eth2 192.168.10.1/24")
	s.Sysctls["net/ipv4/ip_forward"] = "1"
	for i, prefix := range []string{"188.88.88.0/24", "172.16.0.0/24", "192.168.10.0/24"} {
		s.Routes = append(s.Routes, lvs.Route{Table: lvs.TableMain, Type: "unicast", Dst: netip.MustParsePrefix(prefix), Device: fmt.Sprintf("eth%d", i), Scope: "link", Protocol: "kernel"})
	}
	s.PolicyRules = []lvs.PolicyRule{{Priority: 0, Table: lvs.TableLocal, Action: "table", Family: 4}, {Priority: 32766, Table: lvs.TableMain, Action: "table", Family: 4}}
	return s
}

func statusOf(r Report, s lvs.Stage) PathStage { return r.Path[s.Index()] }
