package collect

import (
	"cmp"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"lvstui/internal/arrange"
	"lvstui/lvs"
)

const (
	// routeLimit bounds the excerpt of the routing tables, of which localLimit is kept for the local table.
	routeLimit = 2048
	localLimit = 512
	// routeReadLimit bounds what is read of one dump: kernels before 4.20 ignore the filter and send everything.
	routeReadLimit = 20000
	sizeRtmsg      = 12

	routeLookupTable = 0x1000     // RTM_F_LOOKUP_TABLE: say which table answered
	routeFIBMatch    = 0x2000     // RTM_F_FIB_MATCH: answer with the route itself, not with the result
	routeRedirected  = 0x00040000 // RTCF_REDIRECTED (uapi/linux/in_route.h): an ICMP redirect was believed
)

// excerptProtocols are the origins whose routes are few: those of the kernel, of people and of configuration. What
// routing daemons install may be a million routes; the kernel is asked for those one by one.
var excerptProtocols = []byte{unix.RTPROT_REDIRECT, unix.RTPROT_KERNEL, unix.RTPROT_BOOT, unix.RTPROT_STATIC, unix.RTPROT_RA, unix.RTPROT_DHCP}

func (c *collector) readRoutes() {
	nl, err := dialNetlink(unix.NETLINK_ROUTE, c.deadline)
	if err != nil {
		c.gapError(lvs.SourceRoutes, "routes (netlink)", err)
		return
	}
	defer nl.Close()
	out := []lvs.Route{}
	cut := false
	var filters []rtmsg
	for _, p := range excerptProtocols {
		filters = append(filters, rtmsg{family: unix.AF_INET, protocol: p}, rtmsg{family: unix.AF_INET6, protocol: p})
	}
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		filters = append(filters, rtmsg{family: family, table: unix.RT_TABLE_LOCAL, typ: unix.RTN_LOCAL})
	}
	for _, f := range filters {
		limit := routeLimit - len(out)
		if f.typ != unix.RTN_LOCAL {
			limit -= localLimit
		}
		var some []lvs.Route
		err := again(func() error {
			some = nil
			return c.dumpRoutes(nl, f, limit, &some)
		})
		out = append(out, some...)
		if errors.Is(err, errStop) {
			cut = true
			err = nil
		}
		if err == unix.ENOENT || err == unix.EAFNOSUPPORT || err == unix.EOPNOTSUPP {
			continue // no such table, or no IPv6
		}
		if err != nil {
			c.gapError(lvs.SourceRoutes, "routes (ip route show table all)", err)
			return
		}
	}
	// A default route that a routing daemon installed is the one route of its that is always wanted.
	for _, far := range []netip.Addr{assumedClient4, assumedClient6} {
		if r, ok := matchingRoute(nl, far, c.device); ok {
			out = append(out, r)
		}
	}
	if cut {
		c.gap(lvs.SourceRoutes, "kept the first %d routes of the local, connected, static and default ones; the kernel was asked for the addresses that matter one by one", len(out))
	}
	arrange.By(out, compareRoutes)
	c.s.Routes = slices.Compact(out)
}

func compareRoutes(a, b lvs.Route) int {
	return cmp.Or(cmp.Compare(a.Table, b.Table), a.Dst.Addr().Compare(b.Dst.Addr()), cmp.Compare(a.Dst.Bits(), b.Dst.Bits()),
		cmp.Compare(a.Metric, b.Metric), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Device, b.Device), a.Gateway.Compare(b.Gateway),
		a.Source.Compare(b.Source), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Scope, b.Scope))
}

// dumpRoutes asks for the routes that match f, and keeps those of unicast and refusing types; local ones when f asks
// for them. It returns errStop at the bound.
func (c *collector) dumpRoutes(nl *nlconn, f rtmsg, limit int, out *[]lvs.Route) error {
	read := 0
	return nl.dump(unix.RTM_GETROUTE, f.encode(nil), func(m nlmsg) error {
		if read++; read > routeReadLimit || len(*out) >= limit {
			return errStop
		}
		head, routes := parseRoute(m, c.device)
		if len(routes) == 0 {
			return nil
		}
		switch {
		case f.typ == unix.RTN_LOCAL && (head.typ != f.typ || routes[0].Table != lvs.TableLocal),
			f.typ == 0 && head.typ == unix.RTN_LOCAL && routes[0].Table == lvs.TableLocal, // has its own dump above
			f.typ == 0 && head.protocol != f.protocol:
			return nil // a kernel that ignores filters
		}
		*out = append(*out, routes...)
		return nil
	})
}

// rtmsg is struct rtmsg (include/uapi/linux/rtnetlink.h).
type rtmsg struct {
	family, dstLen, srcLen, tos, table, protocol, scope, typ byte
	flags                                                    uint32
}

func (r rtmsg) encode(attrs []byte) []byte {
	b := []byte{r.family, r.dstLen, r.srcLen, r.tos, r.table, r.protocol, r.scope, r.typ}
	return append(binary.NativeEndian.AppendUint32(b, r.flags), attrs...)
}

// parseRoute reads an RTM_NEWROUTE message. A route with several next hops gives one Route for each. It returns at
// least one Route unless the type is one that the excerpt leaves out (broadcast, multicast, anycast) or no route.
func parseRoute(m nlmsg, device func(uint32) string) (head rtmsg, routes []lvs.Route) {
	if m.typ != unix.RTM_NEWROUTE || len(m.data) < sizeRtmsg {
		return head, nil
	}
	d := m.data
	head = rtmsg{d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7], getU32(d[8:])}
	name, keep := routeTypes[head.typ]
	if !keep {
		return head, nil
	}
	r := lvs.Route{Table: int(head.table), Type: name, Scope: scopeName(head.scope), Protocol: protocolName(head.protocol), OnLink: head.flags&unix.RTNH_F_ONLINK != 0}
	switch head.family {
	case unix.AF_INET:
		r.Dst = netip.PrefixFrom(netip.IPv4Unspecified(), int(head.dstLen))
	case unix.AF_INET6:
		r.Dst = netip.PrefixFrom(netip.IPv6Unspecified(), int(head.dstLen))
	default:
		return head, nil
	}
	var hops []byte
	for typ, v := range attributes(d[sizeRtmsg:]) {
		switch typ {
		case unix.RTA_DST:
			r.Dst = prefix(v, int(head.dstLen))
		case unix.RTA_OIF:
			r.Device = device(getU32(v))
		case unix.RTA_GATEWAY:
			r.Gateway, _ = netip.AddrFromSlice(v)
		case unix.RTA_VIA:
			r.Gateway = via(v)
		case unix.RTA_PREFSRC:
			r.Source, _ = netip.AddrFromSlice(v)
		case unix.RTA_TABLE:
			r.Table = int(getU32(v))
		case unix.RTA_PRIORITY:
			r.Metric = int(getU32(v))
		case unix.RTA_MULTIPATH:
			hops = v
		}
	}
	if hops == nil {
		return head, []lvs.Route{r}
	}
	// struct rtnexthop: length, flags, hops, interface, then attributes.
	for len(hops) >= 8 {
		n := int(getU16(hops))
		if n < 8 || n > len(hops) {
			break
		}
		hop := r
		hop.Device, hop.OnLink = device(getU32(hops[4:])), hops[2]&unix.RTNH_F_ONLINK != 0
		for typ, v := range attributes(hops[8:n]) {
			switch typ {
			case unix.RTA_GATEWAY:
				hop.Gateway, _ = netip.AddrFromSlice(v)
			case unix.RTA_VIA:
				hop.Gateway = via(v)
			}
		}
		routes = append(routes, hop)
		hops = hops[min((n+3)&^3, len(hops)):]
	}
	return head, routes
}

// via reads struct rtvia: the next hop of another family (IPv4 routes over IPv6).
func via(b []byte) netip.Addr {
	if len(b) < 2 {
		return netip.Addr{}
	}
	ip, _ := netip.AddrFromSlice(b[2:])
	return ip
}

var routeTypes = map[byte]string{unix.RTN_UNICAST: "unicast", unix.RTN_LOCAL: "local", unix.RTN_BLACKHOLE: "blackhole",
	unix.RTN_UNREACHABLE: "unreachable", unix.RTN_PROHIBIT: "prohibit", unix.RTN_THROW: "throw", unix.RTN_NAT: "nat"}

// protocolName names RTPROT_* as ip does.
func protocolName(p byte) string {
	switch p {
	case unix.RTPROT_UNSPEC:
		return ""
	case unix.RTPROT_REDIRECT:
		return "redirect"
	case unix.RTPROT_KERNEL:
		return "kernel"
	case unix.RTPROT_BOOT:
		return "boot"
	case unix.RTPROT_STATIC:
		return "static"
	case unix.RTPROT_RA:
		return "ra"
	case unix.RTPROT_DHCP:
		return "dhcp"
	case unix.RTPROT_ZEBRA:
		return "zebra"
	case unix.RTPROT_BIRD:
		return "bird"
	case unix.RTPROT_BGP:
		return "bgp"
	case unix.RTPROT_OSPF:
		return "ospf"
	case unix.RTPROT_KEEPALIVED:
		return "keepalived"
	}
	return strconv.Itoa(int(p))
}

// matchingRoute is the table entry that a packet to dst would use.
func matchingRoute(nl *nlconn, dst netip.Addr, device func(uint32) string) (route lvs.Route, ok bool) {
	q := rtmsg{family: family(dst), dstLen: byte(dst.BitLen()), flags: routeFIBMatch}
	err := nl.ask(unix.RTM_GETROUTE, q.encode(attribute(nil, unix.RTA_DST, dst.AsSlice())), func(m nlmsg) {
		if _, routes := parseRoute(m, device); len(routes) > 0 {
			route, ok = routes[0], true
		}
	})
	return route, ok && err == nil
}

func family(ip netip.Addr) byte {
	if ip.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
