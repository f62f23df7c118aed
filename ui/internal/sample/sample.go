// Package sample holds the article's cluster as Facts, written down by hand: what the screens show is looked at and
// tested with it, without a kernel.
package sample

import (
	"net/netip"
	"time"

	"lvstui/capture"
	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
	"lvstui/ui/screens"
)

// At is when all samples were taken.
var At = time.Date(2026, 11, 23, 13, 22, 40, 0, time.UTC)

var (
	vip       = netip.MustParseAddrPort("172.16.0.8:80")
	clientMAC = mac("00:0c:29:6d:1a:7d")
	routerMAC = mac("00:0c:29:21:59:d7") // leg towards the VIP's subnet
	routerRIP = mac("00:0c:29:21:59:e1") // leg towards the real servers
	dirVIPMAC = mac("00:0c:29:48:31:0a")
	dirDIPMAC = mac("00:0c:29:48:31:14")
	rs1MAC    = mac("00:0c:29:7b:11:01")
	rs2MAC    = mac("00:0c:29:7b:12:0c")
)

func mac(s string) capture.MAC {
	m, err := capture.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return m
}

// states writes the eleven stages of a path or flow by one letter each.
//
//	path: o ok, x broken, ? suspect, - unknown   flow: o seen, i implied, x missing, . pending, - unobservable
func path(states string, notes ...string) []probes.PathStage {
	out := make([]probes.PathStage, len(lvs.Stages))
	for i, st := range lvs.Stages {
		p := probes.PathStage{Stage: st, Findings: []string{}, Note: notes[i]}
		switch states[i] {
		case 'o':
			p.Status = lvs.StageOK
		case 'x':
			p.Status = lvs.StageBroken
		case '?':
			p.Status = lvs.StageSuspect
		default:
			p.Status = lvs.StageUnknown
		}
		switch notes[i] {
		case "24 of 24":
			p.Reached, p.Due = 24, 24
		case "0 of 24":
			p.Due = 24
		}
		out[i] = p
	}
	return out
}

func conf(all map[string]string, devs ...string) map[string]string {
	out := map[string]string{"net/ipv4/ip_forward": "0"}
	for _, dev := range append([]string{"all"}, devs...) {
		for _, key := range []string{"arp_ignore", "arp_announce", "rp_filter", "accept_local"} {
			out[lvs.ConfPath(dev, key)] = "0"
			if dev == "all" && all[key] != "" {
				out[lvs.ConfPath(dev, key)] = all[key]
			}
		}
	}
	return out
}

func addr(dev, prefix, scope string) lvs.Address {
	return lvs.Address{Device: dev, Prefix: netip.MustParsePrefix(prefix), Scope: scope}
}

func ether(index int, name string, m capture.MAC) lvs.Link {
	return lvs.Link{Index: index, Name: name, Kind: "veth", Type: "ether", MAC: m.String(), MTU: 1500, Up: true, Running: true}
}

func loopback() lvs.Link {
	return lvs.Link{Index: 1, Name: "lo", Type: "loopback", MTU: 65536, Up: true, Running: true}
}

func snapshot(host string) *lvs.Snapshot {
	return &lvs.Snapshot{Schema: lvs.SnapshotSchema, Host: host, TakenAt: At, Kernel: "6.1.0-40-cloud-amd64", NetNS: "net:[4026532840]",
		Capabilities: []string{"CAP_NET_ADMIN", "CAP_NET_RAW"}, IPVS: &lvs.IPVS{Loaded: true, Services: []lvs.Service{}},
		Addresses: []lvs.Address{}, Answers: []lvs.RouteAnswer{}, Sockets: []lvs.Socket{}, Owners: []lvs.Owner{}, Gaps: []lvs.Gap{}}
}

// services is the director's table after n connections.
func services(n uint64, syn uint32) []lvs.Service {
	dest := func(rip string, n uint64, syn uint32) lvs.Destination {
		return lvs.Destination{Address: netip.MustParseAddr(rip), Port: 80, Forward: lvs.Gate, Weight: 1, InactiveConns: syn,
			Stats: lvs.Stats{Connections: n, PacketsIn: n * 4, BytesIn: n * 240}}
	}
	return []lvs.Service{{Protocol: lvs.TCP, Address: vip.Addr(), Port: 80, Scheduler: "rr",
		Stats:        lvs.Stats{Connections: n, PacketsIn: n * 4, BytesIn: n * 240},
		Destinations: []lvs.Destination{dest("192.168.10.11", n/2, syn/2), dest("192.168.10.12", n-n/2, syn-syn/2)}}}
}

func directorSnapshot(n uint64, syn uint32) *lvs.Snapshot {
	s := snapshot("director")
	s.IPVS.Services = services(n, syn)
	s.IPVS.Connections = &lvs.Connections{Read: int(syn), ByState: map[string]int{"SYN_RECV": int(syn)}, Sample: []lvs.Connection{
		{Protocol: lvs.TCP, Client: netip.MustParseAddrPort("188.88.88.10:49672"), Virtual: vip,
			Destination: netip.MustParseAddrPort("192.168.10.12:80"), State: "SYN_RECV", Expires: 48}}}
	s.Links = []lvs.Link{loopback(), ether(2, "eth0", dirDIPMAC), ether(3, "eth1", dirVIPMAC)}
	s.Addresses = []lvs.Address{addr("lo", "127.0.0.1/8", "host"), addr("eth0", "192.168.10.2/24", "global"), addr("eth1", "172.16.0.8/24", "global")}
	s.Neighbours = []lvs.Neighbour{
		{Address: netip.MustParseAddr("192.168.10.11"), Device: "eth0", MAC: rs1MAC.String(), State: "reachable"},
		{Address: netip.MustParseAddr("192.168.10.12"), Device: "eth0", MAC: rs2MAC.String(), State: "reachable"},
		{Address: netip.MustParseAddr("172.16.0.1"), Device: "eth1", MAC: routerMAC.String(), State: "stale"}}
	s.Answers = []lvs.RouteAnswer{
		{RouteQuery: lvs.RouteQuery{Dst: netip.MustParseAddr("192.168.10.11")}, Outcome: lvs.OutUnicast, Device: "eth0", Source: netip.MustParseAddr("192.168.10.2")},
		{RouteQuery: lvs.RouteQuery{Dst: netip.MustParseAddr("192.168.10.12")}, Outcome: lvs.OutUnicast, Device: "eth0", Source: netip.MustParseAddr("192.168.10.2")},
		{RouteQuery: lvs.RouteQuery{Dst: vip.Addr(), Src: netip.MustParseAddr("188.88.88.10"), Iif: "eth1"}, Outcome: lvs.OutLocal}}
	s.Sysctls = conf(nil, "lo", "eth0", "eth1")
	return s
}

func virtualServices() []probes.VirtualService {
	return []probes.VirtualService{{Virtual: vip.String(), Protocol: lvs.TCP, Scheduler: "rr", Destinations: []probes.Destination{
		{RealServer: "192.168.10.11:80", Forward: lvs.Gate, Weight: 1, InactiveConns: 12},
		{RealServer: "192.168.10.12:80", Forward: lvs.Gate, Weight: 1, InactiveConns: 12}}}}
}

// routerSuspect is the finding about the router, as sure as the host that reports it can be.
func routerSuspect(c probes.Certainty) probes.Finding {
	f := probes.Finding{ID: "router-urpf-or-source-guard", Severity: probes.Outage, Certainty: c, Stage: lvs.SynAckAtClient, Host: "router",
		Subject: "replies from 172.16.0.8", VIP: vip.Addr(), Title: "the router drops replies that come from the VIP",
		Why: "Real servers answer with the VIP as source. The router receives these replies on its leg to the real servers, but its own " +
			"route to 172.16.0.8 points out of another leg. With reverse-path filtering it takes them for forged and drops them, so the " +
			"client never gets a SYN-ACK.",
		SymptomOf: []string{},
		Evidence: []probes.Evidence{{Fact: "SYNs sent on to real servers, and ACKs that came back", Got: "24 and 0", Want: "an ACK for each",
			Command: "lvstui flows --vip 172.16.0.8"}},
		Fix: &probes.Fix{Host: "router", Commands: []string{"sysctl -w net.ipv4.conf.all.rp_filter=2", "sysctl -w net.ipv4.conf.eth2.rp_filter=2"},
			Words: "On the router, accept sources from the VIP on the leg to the real servers: loose reverse-path filtering there, or both " +
				"subnets on one leg."}}
	if c == probes.Certain {
		f.Evidence = []probes.Evidence{
			{Fact: "rp_filter in force on eth2", Got: "1 (all 1, eth2 1)", Want: "0 or 2", Command: "sysctl net.ipv4.conf.all.rp_filter net.ipv4.conf.eth2.rp_filter"},
			{Fact: "route to the VIP", Got: "eth1", Want: "eth2, where the replies come in", Command: "ip route get 172.16.0.8"},
			{Fact: "packets dropped by reverse-path filtering", Got: "131", Command: "nstat -az TcpExtIPReversePathFilter"}}
		f.Fix.Automatic = true
		f.Fix.Plan = fixes.Plan{ID: f.ID, Host: "router", Title: "loosen reverse-path filtering on eth2", Steps: []fixes.Step{
			fixes.SetSysctl{Path: "net/ipv4/conf/all/rp_filter", Value: "2"}, fixes.SetSysctl{Path: "net/ipv4/conf/eth2/rp_filter", Value: "2"}},
			NextBoot: []string{"write both lines to /etc/sysctl.d/60-lvstui.conf"}}
	}
	return f
}

func live(interfaces ...string) screens.Capture {
	return screens.Capture{Mode: screens.CaptureLive, Interfaces: interfaces, Packets: 4812}
}

// BrokenDirector is the director of the article's failing cluster.
func BrokenDirector() screens.Facts {
	missingVIP := routerSuspect(probes.Hint)
	missingVIP.ID, missingVIP.Host, missingVIP.Subject = "vip-missing-on-rs", "rs1", "172.16.0.8"
	missingVIP.Title, missingVIP.Stage = "the real server may not have the VIP", lvs.SynAckAtClient
	missingVIP.Why = "A real server without the VIP drops the SYN without an answer. From the director this looks the same as a reply that is lost."
	missingVIP.Fix = nil
	f := screens.Facts{Host: "director", At: At, Snapshot: directorSnapshot(2400, 24), Capture: live("eth0", "eth1"),
		Report: probes.Report{Schema: 1, Host: "director", TakenAt: At, Roles: []lvs.Role{lvs.RoleDirector}, Verdict: probes.VerdictBroken,
			Summary: "handshakes stop at SYN-ACK at client, 0 of 24 got there", VirtualServices: virtualServices(),
			Findings: []probes.Finding{routerSuspect(probes.Hint), missingVIP}, Gaps: []probes.HostGap{}, Undecided: []probes.Undecided{},
			Path: path("ooooo---?x-", "24 of 24", "24 of 24", "24 of 24", "24 of 24", "24 of 24",
				"not seen here", "not seen here", "not seen here", "not seen here", "0 of 24", "not seen here")}}
	f.Flows = directorFlows()
	return f
}

// BrokenRealServer is rs1 of the same cluster, and it answers ARP for the VIP besides.
func BrokenRealServer() screens.Facts {
	s := snapshot("rs1")
	s.Links = []lvs.Link{loopback(), ether(2, "eth0", rs1MAC)}
	s.Addresses = []lvs.Address{addr("lo", "127.0.0.1/8", "host"), addr("lo", "172.16.0.8/32", "global"), addr("eth0", "192.168.10.11/24", "global")}
	s.Neighbours = []lvs.Neighbour{{Address: netip.MustParseAddr("192.168.10.1"), Device: "eth0", MAC: routerRIP.String(), State: "reachable"},
		{Address: netip.MustParseAddr("192.168.10.2"), Device: "eth0", MAC: dirDIPMAC.String(), State: "stale"}}
	s.Answers = []lvs.RouteAnswer{{RouteQuery: lvs.RouteQuery{Dst: netip.MustParseAddr("188.88.88.10"), Src: vip.Addr()}, Outcome: lvs.OutUnicast,
		Device: "eth0", Gateway: netip.MustParseAddr("192.168.10.1")}}
	s.Sysctls = conf(nil, "lo", "eth0")
	s.Files = []lvs.ConfigFile{{Path: "/etc/network/interfaces", Mode: 0o644, Text: "auto lo\niface lo inet loopback\n\tup ip addr add 172.16.0.8/32 dev lo\n"},
		{Path: "/etc/sysctl.d/60-lvs.conf", Mode: 0o644, Text: "net.ipv4.conf.all.arp_announce = 2\n"}}
	s.Sockets = []lvs.Socket{{Protocol: lvs.TCP, Address: netip.IPv4Unspecified(), Port: 80, Backlog: 4096, Process: "nginx"}}
	s.Operator = &lvs.Session{Client: netip.MustParseAddrPort("192.168.10.2:51022"), Server: netip.MustParseAddrPort("192.168.10.11:22"), Interface: "eth0"}
	arp := probes.Finding{ID: "rs-answers-arp", Severity: probes.Outage, Certainty: probes.Certain, Stage: lvs.VIPResolved, Host: "rs1",
		Subject: "172.16.0.8 on eth0", VIP: vip.Addr(), Title: "this real server answers ARP for the VIP", SymptomOf: []string{},
		Why: "The VIP is on lo, and eth0 answers ARP requests for every address of the host. Whoever asks for 172.16.0.8 may get this real " +
			"server's MAC instead of the director's; then clients reach this one server past the director, or nobody.",
		Evidence: []probes.Evidence{
			{Fact: "arp_ignore in force on eth0", Got: "0 (all 0, eth0 0)", Want: "1 or 2", Command: "sysctl net.ipv4.conf.all.arp_ignore net.ipv4.conf.eth0.arp_ignore"},
			{Fact: "the VIP is on", Got: "lo", Want: "lo, silent", Command: "ip -4 addr show to 172.16.0.8"}},
		Fix: &probes.Fix{Host: "rs1", Automatic: true, Commands: []string{"sysctl -w net.ipv4.conf.all.arp_ignore=1", "sysctl -w net.ipv4.conf.all.arp_announce=2"},
			Plan: fixes.Plan{ID: "rs-answers-arp", Host: "rs1", Title: "keep this host silent about the VIP", Steps: []fixes.Step{
				fixes.SetSysctl{Path: "net/ipv4/conf/all/arp_ignore", Value: "1"}, fixes.SetSysctl{Path: "net/ipv4/conf/all/arp_announce", Value: "2"}},
				NextBoot:  []string{"write both lines to /etc/sysctl.d/60-lvstui.conf"},
				Elsewhere: []string{"the router keeps rs1's MAC until its entry ends; on the router: ip neigh del 172.16.0.8 dev eth1"}}}}
	poison := arp
	poison.ID, poison.Severity, poison.Title, poison.Fix = "rs-arp-announce-poison", probes.Hazard, "this real server asks ARP with the VIP as sender", nil
	poison.SymptomOf = []string{"rs-answers-arp"}
	f := screens.Facts{Host: "rs1", At: At, Snapshot: s, Capture: live("eth0"),
		Report: probes.Report{Schema: 1, Host: "rs1", TakenAt: At, Roles: []lvs.Role{lvs.RoleRealServer}, Verdict: probes.VerdictBroken,
			Summary: "this real server answers ARP for the VIP", Findings: []probes.Finding{arp, routerSuspect(probes.Strong), poison},
			Path: path("oxoooooo?x-", "24 of 24", "answered here", "24 of 24", "24 of 24", "24 of 24", "24 of 24", "24 of 24", "24 of 24",
				"not seen here", "0 of 24", "not seen here")}}
	f.Flows = realServerFlows()
	return f
}

// CuredRealServer is rs1 once it is silent about the VIP: the router still drops its answers.
func CuredRealServer() screens.Facts {
	f := BrokenRealServer()
	f.Snapshot.Sysctls[lvs.ConfPath("all", "arp_ignore")], f.Snapshot.Sysctls[lvs.ConfPath("all", "arp_announce")] = "1", "2"
	f.Report.Findings = []probes.Finding{routerSuspect(probes.Strong)}
	f.Report.Summary = "the router drops replies that come from the VIP"
	f.Report.Path[1].Status, f.Report.Path[1].Note = lvs.StageOK, "not answered here"
	return f
}

// BrokenRouter is the router of the same cluster: here it is certain.
func BrokenRouter() screens.Facts {
	s := snapshot("router")
	s.IPVS.Loaded = false
	s.Links = []lvs.Link{loopback(), ether(2, "eth0", mac("00:0c:29:21:59:cd")), ether(3, "eth1", routerMAC), ether(4, "eth2", routerRIP)}
	s.Addresses = []lvs.Address{addr("eth0", "188.88.88.1/24", "global"), addr("eth1", "172.16.0.1/24", "global"), addr("eth2", "192.168.10.1/24", "global")}
	s.Neighbours = []lvs.Neighbour{{Address: vip.Addr(), Device: "eth1", MAC: dirVIPMAC.String(), State: "reachable"}}
	s.Sysctls = conf(map[string]string{"rp_filter": "1"}, "lo", "eth0", "eth1", "eth2")
	s.Sysctls["net/ipv4/ip_forward"] = "1"
	s.Sysctls[lvs.ConfPath("eth2", "rp_filter")] = "1"
	f := screens.Facts{Host: "router", At: At, Snapshot: s, Capture: live("eth0", "eth1", "eth2"),
		Report: probes.Report{Schema: 1, Host: "router", TakenAt: At, Roles: []lvs.Role{lvs.RoleRouter}, Verdict: probes.VerdictBroken,
			Summary: "the router drops replies that come from the VIP", Findings: []probes.Finding{routerSuspect(probes.Certain)},
			Path: path("ooo----oxx-", "24 of 24", "24 of 24", "24 of 24", "not seen here", "not seen here", "not seen here", "not seen here", "24 of 24",
				"0 of 24", "0 of 24", "not seen here")}}
	f.Flows = routerFlows()
	return f
}

// HealthyDirector is the director of the cured cluster.
func HealthyDirector() screens.Facts {
	f := screens.Facts{Host: "director", At: At, Snapshot: directorSnapshot(4800, 6), Capture: live("eth0", "eth1"),
		Report: probes.Report{Schema: 1, Host: "director", TakenAt: At, Roles: []lvs.Role{lvs.RoleDirector}, Verdict: probes.VerdictOK,
			Summary: "nothing wrong found", VirtualServices: virtualServices(), Findings: []probes.Finding{},
			Path: path("ooooooooooo", "24 of 24", "24 of 24", "24 of 24", "24 of 24", "24 of 24", "24 of 24", "24 of 24", "24 of 24", "24 of 24",
				"24 of 24", "24 of 24")}}
	f.Flows = healthyFlows()
	return f
}

// HalfBroken is a director of which one real server does not answer: some flows fail, some work.
func HalfBroken() screens.Facts {
	f := BrokenDirector()
	works := healthyFlows()[0]
	works.ID, works.Client = 50, netip.AddrPortFrom(works.Client.Addr(), 49690)
	f.Flows = append(f.Flows, works)
	return f
}

// Gap is a director looked at by an ordinary user.
func Gap() screens.Facts {
	s := directorSnapshot(2400, 24)
	s.UID, s.Capabilities, s.Sockets, s.Owners = 1000, []string{}, nil, nil
	s.Gaps = []lvs.Gap{{Source: lvs.SourceNetfilter, Reason: "nftables rules of this network namespace: permission denied; see them with: sudo nft list ruleset",
		Capability: "CAP_NET_ADMIN"}}
	return screens.Facts{Host: "director", At: At, Snapshot: s, ReadOnly: true, ReadOnlyWhy: "changing this host needs CAP_NET_ADMIN",
		Capture: screens.Capture{Mode: screens.CaptureFailed, Err: "listening needs CAP_NET_RAW; run: sudo lvstui"},
		Report: probes.Report{Schema: 1, Host: "director", TakenAt: At, Roles: []lvs.Role{lvs.RoleDirector}, Verdict: probes.VerdictUnknown,
			Summary: "nothing wrong seen, but 2 checks could not be made", VirtualServices: virtualServices(), Findings: []probes.Finding{},
			Gaps:      []probes.HostGap{{Host: "director", Gap: s.Gaps[0]}},
			Undecided: []probes.Undecided{{Rule: "director-input-firewall", Host: "director", Missing: []lvs.Source{lvs.SourceNetfilter}}, {Rule: "service-not-listening-on-vip", Host: "director", Missing: []lvs.Source{lvs.SourceSockets}}},
			Path: path("----o------", "not looked at", "not looked at", "not looked at", "not looked at", "nothing in the way here",
				"not looked at", "not looked at", "not looked at", "not looked at", "not looked at", "not looked at")}}
}

// Empty is a host that has nothing to do with LVS.
func Empty() screens.Facts {
	s := snapshot("laptop")
	s.IPVS.Loaded = false
	s.Links, s.Sysctls = []lvs.Link{loopback()}, conf(nil, "lo")
	s.Addresses = []lvs.Address{addr("lo", "127.0.0.1/8", "host")}
	return screens.Facts{Host: "laptop", At: At, Snapshot: s, Flows: []capture.Flow{}, Capture: live("eth0"),
		Report: probes.Report{Schema: 1, Host: "laptop", TakenAt: At, Verdict: probes.VerdictOK, Summary: "not an LVS host: no virtual service, no VIP",
			Path: path("-----------", "no traffic yet", "no traffic yet", "no traffic yet", "no traffic yet", "no traffic yet", "no traffic yet",
				"no traffic yet", "no traffic yet", "no traffic yet", "no traffic yet", "no traffic yet")}}
}
