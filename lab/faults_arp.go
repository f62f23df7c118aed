package lab

import (
	"fmt"
	"net/netip"
	"time"
)

// onOneWire are the topologies that serve the client while no fault is in.
var onOneWire = []Topology{Shared, Single}

// arpFaults make the segment believe that the VIP is at rs2. The client is served all the same, by rs2 alone:
// the requests go past the director.
var arpFaults = []Fault{
	{
		ID: "rs-answers-arp", Title: "rs2 answers ARP requests for the VIP", Topologies: onOneWire, Host: RealServer2,
		Expect: pastTheDirector("rs-answers-arp"),
		inject: func(l *Lab, u *undo) error {
			if err := u.set(l.Host(RealServer2), "net/ipv4/conf/all/arp_ignore", "0"); err != nil {
				return err
			}
			return l.askAgainForVIP()
		},
	},
	{
		ID: "arp-sysctl-on-lo-only", Title: "rs2 has arp_ignore and arp_announce set on lo, where they do nothing", Topologies: onOneWire, Host: RealServer2,
		Expect: pastTheDirector("arp-sysctl-on-lo-only", "rs-answers-arp", "rs-arp-announce-poison"),
		inject: func(l *Lab, u *undo) error {
			for _, kv := range [][2]string{{"all/arp_ignore", "0"}, {"all/arp_announce", "0"}, {"lo/arp_ignore", "1"}, {"lo/arp_announce", "2"}} {
				if err := u.set(l.Host(RealServer2), "net/ipv4/conf/"+kv[0], kv[1]); err != nil {
					return err
				}
			}
			return l.askAgainForVIP()
		},
	},
	{
		ID: "rs-arp-announce-poison", Title: "rs2 asks for its gateway with the VIP as sender", Topologies: onOneWire, Host: RealServer2,
		Expect: pastTheDirector("rs-arp-announce-poison"),
		inject: func(l *Lab, u *undo) error {
			rs := l.Host(RealServer2)
			if err := u.set(rs, "net/ipv4/conf/all/arp_announce", "0"); err != nil {
				return err
			}
			// One request is enough to mislead the router, until it asks for the VIP again. A real server that
			// forgets its gateway now and then, as a busy ARP table makes it do, keeps misleading it.
			forget := func() error { return rs.forgetNeighbour("eth0", netip.MustParseAddr(l.plan.gateways[RealServer2])) }
			u.every(time.Second, func() { _ = forget() })
			return forget()
		},
	},
	{
		ID: "vip-on-rs-nic", Title: "rs2 has the VIP on eth0, where arp_ignore=1 does not silence it", Topologies: onOneWire, Host: RealServer2,
		Expect: pastTheDirector("vip-on-rs-nic"),
		inject: func(l *Lab, u *undo) error {
			rs, vip := l.Host(RealServer2), l.VIP()+"/32"
			if err := u.moveAddress(rs, vip, "lo", vip, "eth0"); err != nil {
				return err
			}
			return l.askAgainForVIP()
		},
	},
}

// pastTheDirector is what all ARP faults of rs2 look like; the first id is the cause, the others may speak too.
func pastTheDirector(ids ...string) Expectation {
	e := Expectation{
		Client: ServedByOne,
		Flows: []ExpectedFlow{
			{Host: Client, Reached: "established"},
			{Host: Director}, // sees nothing of it
			{Host: RealServer2, Reached: "established"},
		},
	}
	for _, id := range ids { // without the director's table a VIP on a NIC is an address like any other
		e.Findings = append(e.Findings, ExpectedFinding{RealServer2, id, "strong", id == "vip-on-rs-nic"})
	}
	return e
}

// askAgainForVIP makes the router forget who has the VIP.
func (l *Lab) askAgainForVIP() error {
	return l.Host(Router).forgetNeighbour(l.vipNIC(), l.plan.vip)
}

// vipNIC is the router's leg on the VIP's segment.
func (l *Lab) vipNIC() string { return "eth1" }

// moveAddress takes an address from one interface and puts it, maybe with another prefix, on another.
func (u *undo) moveAddress(h *Host, from, fromNIC, to, toNIC string) error {
	if err := u.delAddress(h, fromNIC, from); err != nil {
		return err
	}
	u.with(func() error { return h.delAddressIfThere(toNIC, to) })
	if err := h.addAddress(toNIC, to); err != nil {
		return fmt.Errorf("move it from %s: %w", fromNIC, err)
	}
	return nil
}

// delAddress takes an address away and registers that it comes back.
func (u *undo) delAddress(h *Host, nic, address string) error {
	u.with(func() error { return h.replaceAddress(nic, address) })
	return h.delAddress(nic, address)
}
