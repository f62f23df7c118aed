package probes

import (
	"net/netip"
	"slices"
	"testing"

	"lvstui/capture"
	"lvstui/lvs"
)

func addrs(ips ...netip.Addr) []netip.Addr { return ips }

func mustAddrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// Roles follow from facts, alone and together.
func TestRoles(t *testing.T) {
	empty := director()
	empty.IPVS.Services = []lvs.Service{}
	dummy := with(bare("rs"), "eth0 192.168.10.11/24", "dummy0 172.16.0.8/32")
	both := with(director(service(80, "192.168.10.2", "192.168.10.12")))
	forwarding := with(bare("docker"), "eth0 192.168.10.50/24")
	forwarding.Sysctls["net/ipv4/ip_forward"] = "1"
	mark := director(lvs.Service{FWMark: 7, Scheduler: "rr", Destinations: []lvs.Destination{{Address: netip.MustParseAddr("192.168.10.11"), Forward: lvs.Gate, Weight: 1}}})
	standby := director()
	standby.Host, standby.Addresses = "standby", slices.DeleteFunc(standby.Addresses, func(a lvs.Address) bool { return a.Prefix.Addr() == vip })
	noVIP := with(bare("rs1"), "eth0 192.168.10.11/24")
	for _, tt := range []struct {
		name  string
		hosts []*lvs.Snapshot
		opt   Options
		want  []lvs.Role
	}{
		{"services make a director", []*lvs.Snapshot{director()}, Options{}, roles(lvs.RoleDirector)},
		{"by mark as well", []*lvs.Snapshot{mark}, Options{}, roles(lvs.RoleDirector)},
		{"one in reserve too", []*lvs.Snapshot{standby}, Options{}, roles(lvs.RoleDirector)},
		{"a director that is its own real server is both", []*lvs.Snapshot{both}, Options{}, roles(lvs.RoleDirector, lvs.RoleRealServer)},
		{"a parked address makes a real server", []*lvs.Snapshot{realServer("rs1", "192.168.10.11")}, Options{}, roles(lvs.RoleRealServer)},
		{"on dummy0 too", []*lvs.Snapshot{dummy}, Options{}, roles(lvs.RoleRealServer)},
		{"a RIP of the director at hand makes one", []*lvs.Snapshot{noVIP, director()}, Options{}, roles(lvs.RoleRealServer)},
		{"without the director nothing does", []*lvs.Snapshot{noVIP}, Options{}, roles()},
		{"the router has a way to the VIP", []*lvs.Snapshot{router()}, Options{VIPs: addrs(vip)}, roles(lvs.RoleRouter)},
		{"or is known by the director", []*lvs.Snapshot{router(), director()}, Options{}, roles(lvs.RoleRouter)},
		{"without a VIP nobody routes to it", []*lvs.Snapshot{router()}, Options{}, roles()},
		{"a container host forwards, and is nothing", []*lvs.Snapshot{forwarding}, Options{}, roles()},
		{"an ordinary host", []*lvs.Snapshot{with(bare("x"), "eth0 10.0.0.1/24")}, Options{}, roles()},
		{"what the operator says is added", []*lvs.Snapshot{empty}, Options{VIPs: addrs(vip), Roles: roles(lvs.RoleDirector)}, roles(lvs.RoleRealServer, lvs.RoleDirector)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var observed []Observation
			for _, s := range tt.hosts {
				observed = append(observed, Observation{Snapshot: s})
			}
			if got := assemble(observed, tt.opt).Hosts[0].Roles; !slices.Equal(got, tt.want) {
				t.Errorf("roles %v, want %v", got, tt.want)
			}
		})
	}
}

func roles(all ...lvs.Role) []lvs.Role { return append([]lvs.Role{}, all...) }

// A real server that lacks the VIP is known by the SYNs that come to it.
func TestRealServerByFlows(t *testing.T) {
	s := with(bare("rs1"), "eth0 192.168.10.11/24")
	f := flow(0, lvs.RoleRealServer, capture.Stalled, stages{lvs.SynAtRealServer: lvs.Seen, lvs.SynAckSent: lvs.Missing})
	c := assemble([]Observation{{Snapshot: s, Flows: []capture.Flow{f}}}, Options{})
	if !slices.Equal(c.VIPs, addrs(vip)) || c.Named || !c.Hosts[0].Is(lvs.RoleRealServer) {
		t.Errorf("VIPs %v, named %v, roles %v", c.VIPs, c.Named, c.Hosts[0].Roles)
	}
}

func TestClusterVIPs(t *testing.T) {
	other := netip.MustParseAddr("10.9.9.9")
	rs := with(realServer("rs1", "192.168.10.11"), "lo 10.9.9.9/32")
	for _, tt := range []struct {
		name  string
		hosts []*lvs.Snapshot
		opt   Options
		want  []netip.Addr
		named bool
	}{
		{"the table's", []*lvs.Snapshot{director(service(80), service(443))}, Options{}, addrs(vip), true},
		{"parked ones, when nobody knows better", []*lvs.Snapshot{rs}, Options{}, addrs(other, vip), false},
		{"not when a director is at hand", []*lvs.Snapshot{rs, director()}, Options{}, addrs(vip), true},
		{"the operator's", []*lvs.Snapshot{rs}, Options{VIPs: addrs(other)}, addrs(other), true},
		{"none by mark", []*lvs.Snapshot{director(lvs.Service{FWMark: 7})}, Options{}, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var observed []Observation
			for _, s := range tt.hosts {
				observed = append(observed, Observation{Snapshot: s})
			}
			c := assemble(observed, tt.opt)
			if !slices.Equal(c.VIPs, tt.want) || c.Named != tt.named {
				t.Errorf("VIPs %v named %v, want %v %v", c.VIPs, c.Named, tt.want, tt.named)
			}
		})
	}
}

// A service by mark has no address, so what such a director forwards tells the VIP. Its own connections do not.
func TestVIPOfMark(t *testing.T) {
	s := director(lvs.Service{FWMark: 7, Scheduler: "rr", Destinations: []lvs.Destination{{Address: netip.MustParseAddr("192.168.10.11"), Forward: lvs.Gate, Weight: 1}}})
	flows := d(served[lvs.RoleDirector], 4, 0)
	ssh := flow(9, lvs.RoleDirector, capture.Established, stages{lvs.SynAtDirector: lvs.Seen, lvs.Established: lvs.Seen})
	ssh.Virtual = mustAddrPort("192.168.10.2:22")
	r := Diagnose(nil, []Observation{{Snapshot: s, Flows: append(flows, ssh)}}, Options{})
	if p := statusOf(r, lvs.SynForwarded); p.Status != lvs.StageOK || p.Due != 4 {
		t.Errorf("%s is %s, %d of %d", p.Stage, p.Status, p.Reached, p.Due)
	}
}

func TestHolders(t *testing.T) {
	d, rs := director(), realServer("rs1", "192.168.10.11")
	c := assemble([]Observation{{Snapshot: d}, {Snapshot: rs}}, Options{})
	if h := c.Holder(netip.MustParseAddr("192.168.10.11")); h == nil || h.Name() != "rs1" {
		t.Errorf("the RIP is held by %v", h)
	}
	if h := c.Holder(netip.MustParseAddr("192.168.10.99")); h != nil {
		t.Errorf("nobody's address is held by %s", h.Name())
	}
	mac := rs.Links[1].MAC
	if h := c.HostOfMAC(mac); h == nil || h.Name() != "rs1" {
		t.Errorf("%s is the MAC of %v", mac, h)
	}
	if h := c.HostOfMAC(""); h != nil {
		t.Errorf("no MAC is that of %s", h.Name())
	}
	if got := c.ServedVIPs(c.Hosts[1]); !slices.Equal(got, addrs(vip)) {
		t.Errorf("rs1 serves %v", got)
	}
}

// The director's own connections to the VIP, and the assumed client, are no evidence.
func TestClients(t *testing.T) {
	s := director()
	assumed := netip.MustParseAddr("198.51.100.1")
	s.Clients = []lvs.Client{{Address: assumed, Origin: "assumed"}}
	h := newHost(Observation{Snapshot: s})
	if got, isAssumed := h.ClientsOf(vip); !slices.Equal(got, addrs(assumed)) || !isAssumed {
		t.Errorf("clients %v, assumed %v", got, isAssumed)
	}
	s.Clients = append(s.Clients, lvs.Client{Address: client, Virtual: vip, Origin: "ipvs"}, lvs.Client{Address: netip.MustParseAddr("192.168.10.2"), Virtual: vip, Origin: "socket"},
		lvs.Client{Address: netip.MustParseAddr("10.0.0.1"), Virtual: netip.MustParseAddr("172.16.0.9"), Origin: "ipvs"})
	if got, isAssumed := newHost(Observation{Snapshot: s}).ClientsOf(vip); !slices.Equal(got, addrs(client)) || isAssumed {
		t.Errorf("clients %v, assumed %v, want the seen one", got, isAssumed)
	}
	own := flow(0, lvs.RoleDirector, capture.Closed, served[lvs.RoleDirector])
	own.Client = mustAddrPort("192.168.10.2:50000")
	if h := newHost(Observation{Snapshot: s, Flows: []capture.Flow{own}}); h.Served(vip) || len(h.FlowsTo(vip)) != 0 {
		t.Error("the director's own connection counts as a client's")
	}
}
