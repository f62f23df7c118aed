package fixes

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/lvs"
)

// The plans here are what rules offer. Each is the smallest change to the snapshot it is given, in an order in which no prefix
// makes anything worse, and empty when there is nothing to do.

// QuietARP keeps a real server from answering ARP for the VIPs and from asking with them: arp_ignore and arp_announce on
// every interface on which it is needed. Values that suffice are left alone, also arp_ignore 3 for VIPs of host scope.
func QuietARP(s *lvs.Snapshot, vips []netip.Addr) Plan {
	p := Plan{ID: "quiet-arp", Host: s.Host, Title: "keep " + names(vips) + " off ARP"}
	vips = slices.DeleteFunc(slices.Clone(vips), func(ip netip.Addr) bool { return !ip.Is4() })
	if len(vips) == 0 || s.Links == nil || s.Sysctls == nil {
		return p
	}
	p.Steps = append(p.Steps, raise(s, "arp_ignore", "1", func(value int) bool { return silent(s, value, vips) })...)
	p.Steps = append(p.Steps, raise(s, "arp_announce", "2", func(value int) bool { return value == 2 })...)
	return p
}

// raise returns the steps after which the effective value of key is good on every link that is on a wire. conf/all does it
// for all present and later interfaces at once; where an interface's own larger value wins (the kernel takes the
// maximum) that one is set as well.
func raise(s *lvs.Snapshot, key, want string, good func(value int) bool) []Step {
	bad := []string{}
	for _, l := range s.Links {
		if l.OnWire() {
			if e := s.Effective(l.Name, key); e.Known && !good(e.Value) {
				bad = append(bad, l.Name)
			}
		}
	}
	if len(bad) == 0 {
		return nil
	}
	set := SetSysctl{lvs.ConfPath("all", key), want}
	steps := []Step{}
	if !set.Done(s) {
		steps = append(steps, set)
	}
	after, err := Plan{Steps: steps}.After(s)
	if err != nil {
		return nil
	}
	for _, dev := range bad {
		if e := after.Effective(dev, key); !good(e.Value) {
			steps = append(steps, SetSysctl{lvs.ConfPath(dev, key), want})
		}
	}
	return steps
}

// silent tells whether arp_ignore with this value keeps an interface from answering for the VIPs that are not on itself
// (arp_ignore in net/ipv4/arp.c). 2 is left alone: it answers for less than 1 does.
func silent(s *lvs.Snapshot, value int, vips []netip.Addr) bool {
	switch value {
	case 1, 2, 8:
		return true
	case 3:
		for _, vip := range vips {
			if slices.ContainsFunc(s.AddressesOf(vip), func(a lvs.Address) bool { return a.Scope != "host" }) {
				return false
			}
		}
		return true
	}
	return false
}

// HoldVIP lets a real server accept packets for the VIP: first the ARP sysctls, then VIP/32 on lo. For IPv6 it is VIP/128
// on lo alone, which nobody is asked for (net/ipv6/ndisc.c).
func HoldVIP(s *lvs.Snapshot, vip netip.Addr) Plan { return holdVIP(s, vip, loopback(s)) }

// holdVIP is HoldVIP on lo or on another link that nobody is asked on.
func holdVIP(s *lvs.Snapshot, vip netip.Addr, lo string) Plan {
	p := QuietARP(s, []netip.Addr{vip})
	p.ID, p.Title = "hold-vip", fmt.Sprintf("accept packets for %s", vip)
	if local, known := s.IsLocal(vip); known && local {
		return p
	}
	if lo == "" || s.Addresses == nil || len(onDevice(s, lo, vip)) > 0 {
		return p
	}
	p.Steps = append(p.Steps, AddAddress{Device: lo, Prefix: netip.PrefixFrom(vip, vip.BitLen()), Scope: vipScope(s)})
	return p
}

// NarrowVIP replaces an address with a prefix on lo, which makes a whole subnet local, by the same address as a /32. The kernel
// takes the second one beside the first, so the VIP is there throughout.
func NarrowVIP(s *lvs.Snapshot, address lvs.Address) Plan {
	vip := address.Prefix.Addr()
	p := Plan{ID: "narrow-vip", Host: s.Host, Title: fmt.Sprintf("%s on %s without its subnet", vip, address.Device)}
	if address.Prefix.IsSingleIP() || s.Addresses == nil {
		return p
	}
	add := AddAddress{Device: address.Device, Prefix: netip.PrefixFrom(vip, vip.BitLen()), Scope: address.Scope}
	if vip.Is6() {
		return p // IPv6 makes no subnet local, and takes no address twice
	}
	list, err := addressesOfDevice(s, address.Device)
	if err != nil {
		return p
	}
	p.Steps = narrow(s, add, address, secondariesOf(list, address))
	return p
}

// narrow does the same for the other addresses of the subnet that hang on the primary: else they would go with it or, promoted,
// make the subnet local again.
func narrow(s *lvs.Snapshot, add AddAddress, primary lvs.Address, group []lvs.Address) []Step {
	var steps []Step
	hold := func(st AddAddress) {
		if _, ok := addressOn(s, st.Device, st.Prefix); !ok {
			steps = append(steps, st)
		}
	}
	hold(add)
	for _, a := range group {
		hold(AddAddress{Device: a.Device, Prefix: netip.PrefixFrom(a.Prefix.Addr(), 32), Scope: a.Scope})
	}
	// Last first, so that none is ever promoted.
	for _, a := range slices.Backward(group) {
		steps = append(steps, DelAddress{a.Device, a.Prefix})
	}
	return append(steps, DelAddress{primary.Device, primary.Prefix})
}

// MoveVIPToLo takes the VIP off a network card, where it is answered for whatever arp_ignore says, and holds it on lo: ARP
// sysctls, VIP/32 on lo, then the card. Other addresses that hang on it as the first of their subnet stay.
func MoveVIPToLo(s *lvs.Snapshot, address lvs.Address) Plan {
	vip := address.Prefix.Addr()
	p := QuietARP(s, []netip.Addr{vip})
	p.ID, p.Title = "move-vip", fmt.Sprintf("%s on lo instead of %s", vip, address.Device)
	lo := loopback(s)
	if lo == "" || address.Device == lo || s.Addresses == nil {
		return p
	}
	quiet, err := p.After(s)
	if err != nil {
		return p
	}
	if len(onDevice(quiet, lo, vip)) == 0 {
		p.Steps = append(p.Steps, AddAddress{Device: lo, Prefix: netip.PrefixFrom(vip, vip.BitLen()), Scope: vipScope(quiet)})
	}
	p.Steps = append(p.Steps, keepSecondaries(quiet, address)...)
	return p
}

// keepSecondaries deletes an address, between promote_secondaries on and off again where it would take others of its subnet
// with it.
func keepSecondaries(s *lvs.Snapshot, address lvs.Address) []Step {
	del := DelAddress{address.Device, address.Prefix}
	list, err := addressesOfDevice(s, address.Device)
	if err != nil || len(secondariesOf(list, address)) == 0 {
		return []Step{del}
	}
	if e := s.Effective(address.Device, "promote_secondaries"); !e.Known || e.Value != 0 {
		return []Step{del}
	}
	path := lvs.ConfPath(address.Device, "promote_secondaries")
	return []Step{SetSysctl{path, "1"}, del, SetSysctl{path, "0"}}
}

func onDevice(s *lvs.Snapshot, device string, ip netip.Addr) []lvs.Address {
	return slices.DeleteFunc(s.AddressesOf(ip), func(a lvs.Address) bool { return a.Device != device })
}

// vipScope is host where somebody chose arp_ignore 3, which keeps silent about host scope only.
func vipScope(s *lvs.Snapshot) string {
	for _, l := range s.Links {
		if e := s.Effective(l.Name, "arp_ignore"); l.OnWire() && e.Known && e.Value == 3 {
			return "host"
		}
	}
	return "global"
}

func loopback(s *lvs.Snapshot) string {
	for _, l := range s.Links {
		if l.Loopback() {
			return l.Name
		}
	}
	return ""
}

func names(ips []netip.Addr) string {
	out := ""
	for i, ip := range ips {
		if i > 0 {
			out += ", "
		}
		out += ip.String()
	}
	return out
}
