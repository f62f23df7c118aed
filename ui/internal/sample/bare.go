package sample

import (
	"net/netip"

	"lvstui/lvs"
	"lvstui/probes"
	"lvstui/ui/screens"
)

func route(dst, gateway, dev string) lvs.Route {
	r := lvs.Route{Table: lvs.TableMain, Type: "unicast", Dst: netip.MustParsePrefix(dst), Device: dev, Scope: "link", Protocol: "kernel"}
	if gateway != "" {
		r.Gateway, r.Scope, r.Protocol = netip.MustParseAddr(gateway), "global", "static"
	}
	return r
}

// bare is a host of the real servers' segment before anything of LVS is on it.
func bare(name, address string) *lvs.Snapshot {
	s := snapshot(name)
	s.Links = []lvs.Link{loopback(), ether(2, "eth0", dirDIPMAC)}
	s.Addresses = []lvs.Address{addr("lo", "127.0.0.1/8", "host"), addr("eth0", address+"/24", "global")}
	s.Sysctls = conf(nil, "lo", "eth0")
	s.PolicyRules = []lvs.PolicyRule{{Priority: 0, Table: lvs.TableLocal, Action: "table", Family: 4}, {Priority: 32766, Table: lvs.TableMain, Action: "table", Family: 4}}
	local := func(ip string) lvs.Route {
		return lvs.Route{Table: lvs.TableLocal, Type: "local", Dst: netip.MustParsePrefix(ip), Device: "eth0", Scope: "host", Protocol: "kernel"}
	}
	s.Routes = []lvs.Route{route("0.0.0.0/0", "192.168.10.1", "eth0"), route("192.168.10.0/24", "", "eth0"), local(address + "/32")}
	s.Neighbours = []lvs.Neighbour{
		{Address: netip.MustParseAddr("192.168.10.1"), Device: "eth0", MAC: routerRIP.String(), State: "reachable"},
		{Address: netip.MustParseAddr("192.168.10.11"), Device: "eth0", MAC: rs1MAC.String(), State: "stale"},
		{Address: netip.MustParseAddr("192.168.10.12"), Device: "eth0", MAC: rs2MAC.String(), State: "stale"}}
	s.Clients = []lvs.Client{}
	return s
}

// BareDirector is a host that could become the director, and of which nothing else is known.
func BareDirector() screens.Facts {
	return screens.Facts{Host: "lb1", At: At, Snapshot: bare("lb1", "192.168.10.2"), Capture: live("eth0"),
		Report: probes.Report{Schema: 1, Host: "lb1", TakenAt: At, Verdict: probes.VerdictOK, Summary: "not an LVS host: no virtual service, no VIP",
			Path: path("-----------", "", "", "", "", "", "", "", "", "", "", "")}}
}

// BareRealServer is a web server that could become a real server; the operator named the VIP.
func BareRealServer() screens.Facts {
	s := bare("web1", "192.168.10.11")
	s.Sockets = []lvs.Socket{{Protocol: lvs.TCP, Address: netip.IPv4Unspecified(), Port: 80, Backlog: 511, Process: "nginx"},
		{Protocol: lvs.TCP, Address: netip.IPv4Unspecified(), Port: 22, Process: "sshd"}}
	f := BareDirector()
	f.Host, f.Snapshot, f.VIPs = "web1", s, []netip.Addr{vip.Addr()}
	f.Report.Host = "web1"
	return f
}
