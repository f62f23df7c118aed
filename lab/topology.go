package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Topology names one of the article's environments.
type Topology string

const (
	// Split is the article's failing one: the router has one leg per subnet and filters by reverse path, so it
	// drops the real servers' replies, which carry the VIP as source and arrive on the leg of the RIPs.
	Split Topology = "split"
	// Shared is the article's cure: VIP and RIPs are still in two subnets, but on one segment and one router leg.
	Shared Topology = "shared"
	// Single has the VIP in the subnet of the RIPs.
	Single Topology = "single"
)

// Topologies lists what Up can build.
var Topologies = []Topology{Split, Shared, Single}

// The hosts of every topology.
const (
	Client      = "client"
	Router      = "router"
	Director    = "director"
	RealServer1 = "rs1"
	RealServer2 = "rs2"
)

// hostNames has the order in which the hosts' NICs are plugged in. A bridge floods to the port that came last
// first, so of two hosts that answer for the VIP the later one in this list answers first.
var hostNames = []string{Client, Router, Director, RealServer1, RealServer2}

// The article's addresses.
var (
	CIP  = netip.MustParseAddr("188.88.88.10")
	DIP  = netip.MustParseAddr("192.168.10.2")
	RIP1 = netip.MustParseAddr("192.168.10.11")
	RIP2 = netip.MustParseAddr("192.168.10.12")
)

// Port is the virtual service's TCP port, and that of the web servers.
const Port = 80

// VIP is the virtual address of the topology.
func (t Topology) VIP() netip.Addr {
	if t == Single {
		return netip.MustParseAddr("192.168.10.8")
	}
	return netip.MustParseAddr("172.16.0.8")
}

// nic is one interface of a host: its name, the switch it is plugged into, its MAC and addresses.
type nic struct {
	host, name, segment string
	addresses           []string
}

// plan is a topology written down: everything Up builds, except faults.
type plan struct {
	vip      netip.Addr
	nics     []nic
	gateways map[string]string // default route by host
	loopback map[string]string // address on lo by host
}

func (t Topology) plan() (plan, error) {
	vip := t.VIP().String()
	p := plan{
		vip:      t.VIP(),
		gateways: map[string]string{Client: "188.88.88.1", Director: "192.168.10.1", RealServer1: "192.168.10.1", RealServer2: "192.168.10.1"},
		loopback: map[string]string{RealServer1: vip + "/32", RealServer2: vip + "/32"},
	}
	add := func(host, name, segment string, addresses ...string) {
		p.nics = append(p.nics, nic{host, name, segment, addresses})
	}
	add(Client, "eth0", "outside", "188.88.88.10/24")
	add(Router, "eth0", "outside", "188.88.88.1/24")
	switch t {
	case Split:
		add(Router, "eth1", "vip", "172.16.0.1/24")
		add(Router, "eth2", "rip", "192.168.10.1/24")
		add(Director, "eth0", "rip", "192.168.10.2/24")
		add(Director, "eth1", "vip", vip+"/24")
		// Out of the NIC the SYN comes in on: the director filters by reverse path too, and here only
		// the router is to be at fault.
		p.gateways[Director] = "172.16.0.1"
	case Shared:
		add(Router, "eth1", "lan", "192.168.10.1/24", "172.16.0.1/24")
		add(Director, "eth0", "lan", "192.168.10.2/24", vip+"/24")
	case Single:
		add(Router, "eth1", "lan", "192.168.10.1/24")
		add(Director, "eth0", "lan", "192.168.10.2/24", vip+"/32")
	default:
		return plan{}, fmt.Errorf("topology %q is not known; there are %s", t, names(Topologies))
	}
	rs := p.nics[len(p.nics)-1].segment
	if t == Split {
		rs = "rip"
	}
	add(RealServer1, "eth0", rs, "192.168.10.11/24")
	add(RealServer2, "eth0", rs, "192.168.10.12/24")
	return p, nil
}

// segments lists the plan's switches, sorted.
func (p plan) segments() []string {
	var s []string
	for _, n := range p.nics {
		s = append(s, n.segment)
	}
	slices.Sort(s)
	return slices.Compact(s)
}

// bare is the plan without the VIP on director and real servers.
func (p plan) bare() plan {
	p.loopback = nil
	if p.gateways[Director] != p.gateways[RealServer1] {
		p.gateways[Director] = p.gateways[RealServer1] // the router's address in the VIP's subnet is out of reach without the VIP
	}
	p.nics = slices.Clone(p.nics)
	for i, n := range p.nics {
		p.nics[i].addresses = slices.DeleteFunc(slices.Clone(n.addresses), func(a string) bool {
			return netip.MustParsePrefix(a).Addr() == p.vip
		})
	}
	return p
}

// six is the plan with IPv6 addresses: of 192.168.10.11/24 it makes 2001:db8:10::11/64.
func (p plan) six() plan {
	p.vip = Six(p.vip)
	p.nics = slices.Clone(p.nics)
	for i, n := range p.nics {
		var all []string
		for _, a := range n.addresses {
			v4 := netip.MustParsePrefix(a)
			bits := 64
			if v4.IsSingleIP() {
				bits = 128
			}
			all = append(all, netip.PrefixFrom(Six(v4.Addr()), bits).String())
		}
		p.nics[i].addresses = all
	}
	gateways := map[string]string{}
	for host, gateway := range p.gateways {
		gateways[host] = Six(netip.MustParseAddr(gateway)).String()
	}
	p.gateways = gateways
	return p
}

// Six is the IPv6 address that stands for one of the article's.
func Six(v4 netip.Addr) netip.Addr {
	subnet := map[byte]string{188: "88", 192: "10", 172: "16"}[v4.As4()[0]]
	return netip.MustParseAddr(fmt.Sprintf("2001:db8:%s::%d", subnet, v4.As4()[3]))
}

// anyAddress is what a server listens on that takes every address of its host.
func (p plan) anyAddress() string {
	if p.vip.Is6() {
		return "::"
	}
	return "0.0.0.0"
}

// sysctls are those the lab sets in a host, in order, before its interfaces exist. Everything that decides whether
// DR works is set explicitly: new namespaces inherit some values from the machine the lab runs on.
func sysctls(host string, bare, six bool) [][2]string {
	var out [][2]string
	set := func(key, value string) { out = append(out, [2]string{key, value}) }
	for _, conf := range []string{"all", "default", "lo"} {
		for _, key := range []string{"accept_local", "arp_announce", "arp_filter", "arp_ignore", "log_martians", "proxy_arp", "route_localnet", "src_valid_mark"} {
			set("net/ipv4/conf/"+conf+"/"+key, "0")
		}
		set("net/ipv4/conf/"+conf+"/rp_filter", "1") // strict, as the article's CentOS 7 ships it
	}
	forward := "0"
	if host == Router {
		forward = "1"
	}
	set("net/ipv4/ip_forward", forward)
	if !bare && (host == RealServer1 || host == RealServer2) {
		set("net/ipv4/conf/all/arp_ignore", "1")
		set("net/ipv4/conf/all/arp_announce", "2")
	}
	if six {
		set("net/ipv6/conf/all/forwarding", forward)
		for _, conf := range []string{"all", "default"} { // addresses are of use at once, and nobody but the lab gives any
			set("net/ipv6/conf/"+conf+"/disable_ipv6", "0")
			set("net/ipv6/conf/"+conf+"/accept_dad", "0")
			set("net/ipv6/conf/"+conf+"/accept_ra", "0")
		}
		return out
	}
	// Without IPv6 the captures hold nothing but the article's packets.
	set("net/ipv6/conf/all/disable_ipv6", "1")
	set("net/ipv6/conf/default/disable_ipv6", "1")
	return out
}

func names[T ~string](all []T) string {
	var s []string
	for _, v := range all {
		s = append(s, string(v))
	}
	return strings.Join(s, ", ")
}
