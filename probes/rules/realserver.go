package rules

import (
	"maps"
	"net/netip"
	"slices"

	"lvstui/capture"
	"lvstui/lvs"
	"lvstui/probes"
)

// This file answers what several rules ask about a real server: which VIPs it serves, over which links it gets their
// packets, and how much is known of its segment.

// addressedLinks are the wire links that have an IPv4 address: the others take no part in IPv4.
func addressedLinks(h *probes.Host) []lvs.Link {
	return slices.DeleteFunc(h.WireLinks(), func(l lvs.Link) bool {
		return !h.HasIPv4(l.Name)
	})
}

// arrivalDevices are the devices on which SYNs for the VIP are known to arrive: those on which flows were seen to, else
// those that have the RIP by which a director knows this host and reaches it without a router. Empty when neither is known.
func arrivalDevices(c *probes.Case, vip netip.Addr) []string {
	var out []string
	add := func(dev string) {
		if l, ok := c.Snapshot.Link(dev); ok && l.OnWire() && l.Master == "" && !slices.Contains(out, dev) {
			out = append(out, dev)
		}
	}
	for _, f := range c.RecentFlowsTo(vip) {
		// A SYN inside a tunnel is the tunnel's to accept.
		if sight := f.Stage(lvs.SynAtRealServer); sight.State == lvs.Seen && sight.Direction != capture.Out && f.Forward == "" {
			add(deviceOf(c.Host, sight))
		}
	}
	if len(out) > 0 {
		return out
	}
	for _, ref := range c.Cluster.DestinationsOf(vip) {
		if ref.Director != c.Host && dr(ref) &&
			!ref.Director.Asked(lvs.RouteQuery{Dst: ref.Destination.Address}).Gateway.IsValid() {
			for _, a := range c.AddressesOf(ref.Destination.Address) {
				add(a.Device)
			}
		}
	}
	return out
}

// deviceOf is the device that a frame was seen on or, where the capture does not tell names, the one that it was addressed to.
func deviceOf(h *probes.Host, sight capture.StageSight) string {
	if sight.Interface != "" {
		return sight.Interface
	}
	name := ""
	for _, l := range h.WireLinks() {
		if l.MAC != "" && l.MAC == sight.DstMAC.String() {
			if name != "" {
				return "" // VLANs and the like share their parent's MAC
			}
			name = l.Name
		}
	}
	return name
}

// dr says that packets for the destination arrive unchanged, with the VIP as destination.
func dr(ref probes.DestinationRef) bool {
	return ref.Destination.Forward == lvs.Gate || ref.Destination.Forward == lvs.Local
}

// replyDevices are the devices over which answers to the clients of the VIP leave.
func replyDevices(c *probes.Case, vip netip.Addr) []string {
	var out []string
	clients, _ := c.ClientsOf(vip)
	for _, client := range clients {
		a := reply(c, vip, client)
		if a.Outcome == lvs.OutUnicast && a.Device != "" && !slices.Contains(out, a.Device) {
			out = append(out, a.Device)
		}
	}
	return out
}

// reply is where the answer to a client leaves. While the VIP is not there the kernel refuses it as a source: then the
// question is asked without.
func reply(c *probes.Case, vip, client netip.Addr) lvs.RouteAnswer {
	a := c.Asked(lvs.RouteQuery{Dst: client, Src: vip})
	if a.Outcome == lvs.OutRejected || a.Outcome == lvs.OutUnknown {
		if local, known := vipLocal(c, vip); known && !local {
			return c.Asked(lvs.RouteQuery{Dst: client})
		}
	}
	return a
}

// deliveryDevices are the links that take part in serving the VIP, as far as known: packets come in or answers leave.
func deliveryDevices(c *probes.Case, vip netip.Addr) []string {
	out := arrivalDevices(c, vip)
	for _, dev := range replyDevices(c, vip) {
		if !slices.Contains(out, dev) {
			out = append(out, dev)
		}
	}
	return out
}

// vipLocal tells whether the host takes packets for the VIP as its own. The kernel's word counts more than our own look at its tables.
func vipLocal(c *probes.Case, vip netip.Addr) (local, known bool) {
	if c.Has(vip) {
		return true, true
	}
	if a, ok := c.Answer(lvs.RouteQuery{Dst: vip}); ok && a.Outcome != lvs.OutUnknown {
		return a.Outcome == lvs.OutLocal, true
	}
	return c.RoutedLocal(vip)
}

// servedVIPs are the IPv4 VIPs that the host serves as a real server and not as the director that owns them. Where it could not be
// read whether the host is a director, only those count for which another director names it.
func servedVIPs(c *probes.Case) []netip.Addr {
	if c.Snapshot.IPVS == nil {
		c.CannotTell(lvs.SourceIPVS)
		return slices.DeleteFunc(c.Cluster.ServedVIPs(c.Host), func(vip netip.Addr) bool { return !vip.Is4() || !namedByDirector(c, vip) })
	}
	return slices.DeleteFunc(c.Cluster.ServedVIPs(c.Host), func(vip netip.Addr) bool {
		return !vip.Is4() || ownsService(c.Host, vip) && !anotherAnswers(c, vip)
	})
}

// namedByDirector says that another host's table has this one as a destination for the VIP.
func namedByDirector(c *probes.Case, vip netip.Addr) bool {
	return slices.ContainsFunc(c.Cluster.DestinationsOf(vip), func(ref probes.DestinationRef) bool {
		return ref.Director != c.Host && !ref.Destination.Address.IsLoopback() && c.Has(ref.Destination.Address)
	})
}

// ownsService says that the host is itself a director for the VIP: there it may well be on the wire and answer for it.
func ownsService(h *probes.Host, vip netip.Addr) bool {
	return len(h.ServicesOf(vip)) > 0
}

// anotherAnswers says that of two directors another one holds the VIP on the wire now, and this one does not: then this
// one is a real server only.
func anotherAnswers(c *probes.Case, vip netip.Addr) bool {
	return len(c.HoldsOnWire(vip)) == 0 && slices.ContainsFunc(c.Cluster.Hosts, func(h *probes.Host) bool {
		return h != c.Host && h.Is(lvs.RoleDirector) && len(h.HoldsOnWire(vip)) > 0
	})
}

// servedNow tells whether the latest handshake with the VIP that came to an end here was a success: whatever the facts look like,
// it works.
func servedNow(c *probes.Case, vip netip.Addr) bool {
	for _, f := range slices.Backward(c.RecentFlowsTo(vip)) {
		if f.Outcome != capture.Pending {
			return f.Outcome == capture.Established || f.Outcome == capture.Closed
		}
	}
	return false
}

// seenClients are the clients of the VIP that were seen on any of the observed hosts. Directors' and this host's own addresses are left
// out: what they send to the VIP does not take the path.
func seenClients(c *probes.Case, vip netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, h := range c.Cluster.Hosts {
		for _, ip := range h.SeenClients(vip) {
			holder := c.Cluster.Holder(ip)
			if ip.Is4() == vip.Is4() && !c.Has(ip) && !slices.Contains(out, ip) && (holder == nil || !holder.Is(lvs.RoleDirector)) {
				out = append(out, ip)
			}
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

// judgedClients are the clients to judge the VIP by: those that were seen, else one that stands for the Internet.
func judgedClients(c *probes.Case, vip netip.Addr) (clients []netip.Addr, assumed bool) {
	if seen := seenClients(c, vip); len(seen) > 0 {
		return seen, false
	}
	if c.Snapshot.Clients == nil {
		c.CannotTell(lvs.SourceClients)
	}
	return c.ClientsOf(vip)
}

// cannotRoute records that a routing question had no answer.
func cannotRoute(c *probes.Case) {
	missing := c.Snapshot.Missing(lvs.SourceAnswers, lvs.SourceRoutes, lvs.SourceRules, lvs.SourceLinks, lvs.SourceAddresses, lvs.SourceSysctls)
	if len(missing) == 0 {
		missing = []lvs.Source{lvs.SourceAnswers}
	}
	for _, src := range missing {
		c.CannotTell(src)
	}
}

// drVIPs are the VIPs whose packets come to this host with the VIP as destination: it is a destination of a director at hand by
// direct routing, or no director names it at all. Weight tells whether new connections come.
func drVIPs(c *probes.Case) (vips []netip.Addr, weight map[netip.Addr]int) {
	weight = map[netip.Addr]int{}
	named := map[netip.Addr]bool{}
	for _, ref := range c.Named() {
		vip := ref.Service.Address
		if !vip.IsValid() || ref.Director == c.Host {
			continue
		}
		named[vip] = true
		if dr(ref) || ref.Destination.Forward == lvs.IPIP {
			if _, there := weight[vip]; !there {
				vips = append(vips, vip)
			}
			weight[vip] = max(weight[vip], ref.Destination.Weight)
		}
	}
	for _, vip := range servedVIPs(c) {
		if _, there := weight[vip]; !named[vip] && !there {
			vips, weight[vip] = append(vips, vip), 1
		}
	}
	return slices.DeleteFunc(vips, func(vip netip.Addr) bool { return !vip.Is4() }), weight
}

// router finds the router that a real server should answer through: the one the operator named, else the next hop of a director in the real server's subnet, or a
// router's address there. ok is false when nobody at hand tells.
func router(c *probes.Case) (gateway netip.Addr, dev string, ok bool) {
	onLink := func(ip netip.Addr) (string, bool) {
		devs := c.OnLinkDevices(ip)
		if len(devs) == 0 || c.Has(ip) {
			return "", false
		}
		return devs[0], true
	}
	if named := c.Cluster.Options.Gateway; named.IsValid() && c.Host == c.Cluster.Hosts[0] {
		dev, ok := onLink(named)
		return named, dev, ok
	}
	for _, h := range c.Cluster.With(lvs.RoleRouter) {
		for _, a := range h.Snapshot.Addresses {
			if dev, ok := onLink(a.Prefix.Addr()); ok && !slices.Contains(c.Cluster.VIPs, a.Prefix.Addr()) {
				return a.Prefix.Addr(), dev, true
			}
		}
	}
	for _, h := range c.Cluster.With(lvs.RoleDirector) {
		for _, r := range h.Snapshot.Routes {
			if r.Table == lvs.TableMain && r.Dst.Bits() == 0 && r.Gateway.IsValid() {
				if dev, ok := onLink(r.Gateway); ok {
					return r.Gateway, dev, true
				}
			}
		}
	}
	return netip.Addr{}, "", false
}

// routeToRouter is the command that gives a real server its default route, with words in place of what is not known.
func routeToRouter(c *probes.Case, verb string) string {
	gateway, dev := "ROUTER", "IFACE"
	if ip, on, ok := router(c); ok {
		gateway, dev = ip.String(), on
	}
	return "ip route " + verb + " default via " + gateway + " dev " + dev
}

// servedElsewhere are the clients of a service that wait for this real server in vain and are served by another one, as the connection tables
// of the directors at hand have it. There an entry is past SYN_RECV when the client's ACK came, so when it got a SYN-ACK. Who was served here
// after it began to wait is let through.
func servedElsewhere(c *probes.Case, v lvs.Service) []netip.Addr {
	waiting, here, there := map[netip.Addr]int{}, map[netip.Addr]int{}, map[netip.Addr]int{} // seconds since the client's last packet
	for _, d := range c.Cluster.With(lvs.RoleDirector) {
		if d == c.Host || d.Snapshot.IPVS == nil || d.Snapshot.IPVS.Connections == nil {
			continue
		}
		for _, conn := range d.Snapshot.IPVS.Connections.Sample {
			age, served := quietFor(conn, d.Snapshot.IPVS.Timeouts)
			if conn.Virtual != netip.AddrPortFrom(v.Address, v.Port) || conn.Protocol != v.Protocol || !served && conn.State != "SYN_RECV" {
				continue
			}
			latest := there
			if c.Has(conn.Destination.Addr()) {
				latest = map[bool]map[netip.Addr]int{true: here, false: waiting}[served]
			} else if !served {
				continue
			}
			if client := conn.Client.Addr(); latest[client] == 0 || age < latest[client] {
				latest[client] = age
			}
		}
	}
	var out []netip.Addr
	for _, client := range slices.SortedFunc(maps.Keys(waiting), netip.Addr.Compare) {
		if there[client] > 0 && (here[client] == 0 || waiting[client] < here[client]) {
			out = append(out, client)
		}
	}
	return out
}

// quietFor is for how many seconds, at least 1, no packet of a connection has come, which its timer tells, and whether it is in a state that
// it only reaches by the client's ACK (net/netfilter/ipvs/ip_vs_proto_tcp.c).
func quietFor(conn lvs.Connection, timeouts *lvs.Timeouts) (seconds int, served bool) {
	limit := 60 // of SYN_RECV, for which there is no setting
	switch conn.State {
	case "ESTABLISHED":
		limit, served = 900, true
		if timeouts != nil && timeouts.TCP > 0 {
			limit = int(timeouts.TCP)
		}
	case "FIN_WAIT", "TIME_WAIT":
		limit, served = 120, true
		if timeouts != nil && timeouts.TCPFin > 0 && conn.State == "FIN_WAIT" {
			limit = int(timeouts.TCPFin)
		}
	}
	return max(limit-conn.Expires, 1), served
}
