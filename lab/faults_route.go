package lab

import (
	"fmt"
	"net/netip"

	"github.com/moby/ipvs"
	"github.com/vishvananda/netlink"
)

// farRIP2 is the address of rs2 in the third subnet, see secondLeg.
var farRIP2 = netip.MustParseAddr("10.10.10.12")

// routeFaults concern the ways to rs2 and from it.
var routeFaults = []Fault{
	{
		ID: "rs-gateway-is-director", Title: "the default route of rs2 leads to the director", Topologies: onOneWire, Host: RealServer2,
		Expect: Expectation{
			Client: PartlyServed, Lost: TimedOut,
			Findings: []ExpectedFinding{{RealServer2, "rs-gateway-is-director", "strong", false}},
			Flows: []ExpectedFlow{
				{Host: Client, Reached: "syn-sent", StalledAt: "syn-ack-at-client"},
				{Host: RealServer2, Reached: "syn-ack-sent", StalledAt: "syn-ack-at-client"},
			},
			// With ip_forward=1 on the director it would be rt_cache.in_martian_src instead.
			Counters: []ExpectedCounter{{Director, "Ip.InAddrErrors"}},
		},
		inject: func(l *Lab, u *undo) error { return u.gateway(l, l.Host(RealServer2), DIP.String(), "") },
	},
	{
		ID: "rs-no-route-to-client", Title: "rs2 has no route to the client", Topologies: onOneWire, Host: RealServer2,
		Expect: Expectation{
			Client: PartlyServed, Lost: TimedOut,
			Findings: []ExpectedFinding{{RealServer2, "rs-no-route-to-client", "certain", false}},
			Flows: []ExpectedFlow{
				{Host: Client, Reached: "syn-sent", StalledAt: "syn-ack-at-client"},
				{Host: Director, Reached: "syn-forwarded", StalledAt: "ack-at-director"},
				{Host: RealServer2, Reached: "syn-at-real-server", StalledAt: "syn-ack-sent"},
			},
			Counters: []ExpectedCounter{{RealServer2, "TcpExt.IPReversePathFilter"}},
		},
		inject: func(l *Lab, u *undo) error { return u.gateway(l, l.Host(RealServer2), "", "") },
	},
	{
		ID: "rs-rp-filter", Title: "rs2 gets the SYN on eth0, has its default route on eth1 and filters by reverse path", Topologies: onOneWire, Host: RealServer2,
		Expect: Expectation{
			Client: PartlyServed, Lost: TimedOut,
			Findings: []ExpectedFinding{{RealServer2, "rs-rp-filter", "certain", false}},
			Flows: []ExpectedFlow{
				{Host: Client, Reached: "syn-sent", StalledAt: "syn-ack-at-client"},
				{Host: Director, Reached: "syn-forwarded", StalledAt: "ack-at-director"},
				{Host: RealServer2, Reached: "syn-at-real-server", StalledAt: "syn-ack-sent"},
			},
			Counters: []ExpectedCounter{{RealServer2, "TcpExt.IPReversePathFilter"}},
		},
		inject: func(l *Lab, u *undo) error {
			if err := l.secondLeg(u); err != nil {
				return err
			}
			return u.gateway(l, l.Host(RealServer2), "10.10.10.1", "eth1")
		},
	},
	{
		ID: "rs-not-on-link", Title: "the director knows rs2 by an address behind the router", Topologies: onOneWire, Host: Director,
		Expect: Expectation{
			Client: PartlyServed, Lost: TimedOut,
			Findings: []ExpectedFinding{{Director, "rs-not-on-link", "certain", false}},
			Flows: []ExpectedFlow{
				{Host: Client, Reached: "syn-sent", StalledAt: "syn-ack-at-client"},
				{Host: Director, Reached: "syn-forwarded", StalledAt: "ack-at-director"},
				{Host: RealServer2},
			},
			// The router sends the director's frame nowhere: by its route to the client it came in wrong.
			Counters: []ExpectedCounter{{Router, "TcpExt.IPReversePathFilter"}},
		},
		inject: func(l *Lab, u *undo) error {
			if err := l.secondLeg(u); err != nil {
				return err
			}
			u.with(func() error { return l.rebuildTable(Port) })
			return l.withIPVS(func(h *ipvs.Handle) error {
				if err := h.NewDestination(l.service(Port), destination(farRIP2)); err != nil {
					return fmt.Errorf("add destination %s: %w", farRIP2, err)
				}
				return h.DelDestination(l.service(Port), destination(RIP2))
			})
		},
	},
	{
		ID: "rs-neigh-failed", Title: "rs2 is plugged into another VLAN", Topologies: onOneWire, Host: Director,
		Expect: Expectation{
			Client: PartlyServed, Lost: Unreachable,
			Findings: []ExpectedFinding{{Director, "rs-neigh-failed", "certain", false}},
			Flows: []ExpectedFlow{
				{Host: Client, Reached: "syn-sent", StalledAt: "syn-ack-at-client"},
				{Host: Director, Reached: "syn-at-director", StalledAt: "syn-forwarded"},
				{Host: RealServer2},
			},
		},
		inject: func(l *Lab, u *undo) error {
			n := l.plan.nics[len(l.plan.nics)-1]
			u.with(func() error { return l.setMaster(n, n.segment) })
			if err := l.setMaster(n, ""); err != nil {
				return err
			}
			return l.Host(Director).forgetNeighbour(l.lanNIC(Director), RIP2)
		},
	},
}

// gateway changes a host's default route and registers the old one. An empty address removes the route.
func (u *undo) gateway(l *Lab, h *Host, gateway, dev string) error {
	old := l.plan.gateways[h.Name]
	u.with(func() error { return h.replaceDefault(old, "") })
	return h.replaceDefault(gateway, dev)
}

// secondLeg gives rs2 a NIC eth1 in a third subnet, 10.10.10.0/24, and the router a leg there. The router does not
// mind what sources come in on that leg, so that only the fault proper stops a connection.
func (l *Lab) secondLeg(u *undo) error {
	const segment = "third"
	if l.Host(RealServer2).Do(func() error { _, err := netlink.LinkByName("eth1"); return err }) == nil {
		return nil // another fault has brought it
	}
	if err := l.addSwitch(segment); err != nil {
		return err
	}
	u.with(func() error { return l.fabric.delLink(segment) })
	for _, n := range []nic{
		{Router, "eth2", segment, []string{"10.10.10.1/24"}},
		{RealServer2, "eth1", segment, []string{farRIP2.String() + "/24"}},
	} {
		if err := l.plug(n); err != nil {
			return err
		}
		u.with(func() error { return l.fabric.delLink(n.port()) })
	}
	return l.Host(Router).sysctl("net/ipv4/conf/eth2/rp_filter", "2")
}

// setMaster plugs the switch's end of a cable into another switch; "" leaves it unplugged.
func (l *Lab) setMaster(n nic, segment string) error {
	return l.fabric.Do(func() error {
		port, err := netlink.LinkByName(n.port())
		if err != nil {
			return fmt.Errorf("switch port %s: %w", n.port(), err)
		}
		if segment == "" {
			return netlink.LinkSetNoMaster(port)
		}
		bridge, err := netlink.LinkByName(segment)
		if err != nil {
			return fmt.Errorf("switch %s: %w", segment, err)
		}
		return netlink.LinkSetMaster(port, bridge)
	})
}
