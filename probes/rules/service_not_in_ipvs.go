package rules

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"lvstui/capture"
	"lvstui/fixes"
	"lvstui/internal/arrange"
	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:        "service-not-in-ipvs",
	Title:     "clients ask for a port that is no virtual service",
	Stage:     lvs.SynScheduled,
	Roles:     []lvs.Role{lvs.RoleDirector},
	Needs:     []lvs.Source{lvs.SourceIPVS, lvs.SourceAddresses},
	DependsOn: []string{"director-input-firewall", "backup-only", "scheduler-or-module-missing", "wrong-netns"},
	Explain: probes.Explain{
		Breaks: `ip_vs looks for a virtual service with the packet's protocol, address and port. When there is none it lets the packet go on to the
director's own sockets. Nobody listens there, so the director itself answers with a RST (for UDP with ICMP port unreachable) and the client
says "connection refused" at once. The table may be empty because nothing restored it after a reboot, or the service has another port or protocol.`,
		ByHand: `Compare what clients ask for with what there is:

    ipvsadm -Ln
    tcpdump -ni any 'host 172.16.0.8 and tcp[tcpflags] & (tcp-syn|tcp-rst) != 0'

A RST that follows the SYN within microseconds, with the full TTL, comes from the director. An empty table may also mean that you look into the
wrong network namespace (lsns -t net).`,
		Cure: `Add the service and its real servers, and see to it that the next boot does (keepalived.conf, or the rules file of ipvsadm's service):

    ipvsadm -A -t 172.16.0.8:80 -s wlc
    ipvsadm -a -t 172.16.0.8:80 -r 192.168.10.11:80 -g`,
		Source: "net/netfilter/ipvs/ip_vs_core.c, ip_vs_in_hook, and ip_vs_proto_tcp.c, tcp_conn_schedule: no service, so NF_ACCEPT.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		if len(services(c)) == 0 {
			return emptyTable(c)
		}
		var out []probes.Finding
		for _, ask := range refusedPorts(c) {
			out = append(out, refusedPort(c, ask))
		}
		for _, vip := range serviceVIPs(c) {
			mine := slices.DeleteFunc(slices.Clone(c.Cluster.DestinationsOf(vip)), func(ref probes.DestinationRef) bool { return ref.Director != c.Host })
			if port, rs := servedInstead(c, vip, mine); rs != nil && !slices.ContainsFunc(out, func(f probes.Finding) bool { return f.VIP == vip && f.Severity == probes.Outage }) {
				out = append(out, otherPort(c, netip.AddrPortFrom(vip, port), rs))
			}
		}
		return out
	},
})

// emptyTable judges a host that only the operator's word makes a director.
func emptyTable(c *probes.Case) []probes.Finding {
	var vips []netip.Addr
	for _, vip := range c.Cluster.VIPs {
		if c.Has(vip) {
			vips = append(vips, vip)
		}
	}
	subject := "ip_vs"
	if len(vips) > 0 {
		subject = list(vips)
	}
	f := c.Finding(probes.Outage, probes.Certain, subject)
	about(&f, vips)
	f.Title = fmt.Sprintf("%s has no virtual service at all", c.Name())
	f.Why = fmt.Sprintf("%s is to be a director, and its ip_vs table is empty. Whatever comes for the VIP goes to the host's own sockets and is refused.", c.Name())
	state := "empty"
	if !c.Snapshot.IPVS.Loaded {
		state = "ip_vs is not loaded"
	}
	f.Evidence = append(f.Evidence, probes.Evidence{Fact: "table of virtual services", Got: state, Want: "a service for each VIP and port", Command: "ipvsadm -Ln"})
	words := "add the services and real servers, and see to it that the next boot does: enable ipvsadm's service, or let keepalived keep them. Look also whether you are in the right network namespace (lsns -t net)"
	if o, ok := owner(c.Snapshot, "keepalived", "ldirectord"); ok {
		words = fmt.Sprintf("%s runs (%s) and has not filled the table: look at its log and at %s", o.Name, o.Evidence, o.File)
	}
	advise(&f, c.Name(), words, "ipvsadm -A -t VIP:PORT -s wlc", "ipvsadm -a -t VIP:PORT -r REAL-SERVER -g")
	fillFromFile(&f, c)
	return []probes.Finding{f}
}

// fillFromFile is the cure of a table that is empty and has a save file: it was cleared, or never restored.
func fillFromFile(f *probes.Finding, c *probes.Case) {
	b, ok := bootOf(c)
	if !ok || b.Table == nil || len(b.Table.Odd) > 0 || len(b.Table.Services) == 0 || tableOwned(c.Snapshot) {
		return
	}
	var names []fixes.VirtualService
	for _, v := range b.Table.Services {
		names = append(names, fixes.NameOf(v))
	}
	if !b.Table.On { // somebody may have turned it off for good, and the next boot would not give the same
		advise(f, c.Name(), "fill the table from its save file, if it is still to be had; at boot nothing restores it", "ipvsadm -R < "+b.Table.File)
		return
	}
	advise(f, c.Name(), "fill the table from its save file", "ipvsadm -R < "+b.Table.File)
	if plan := fixes.MatchTable(c.Snapshot, b.Table.Services, names); !tooMuch(plan, c.Snapshot) {
		plan.Title = "fill the ip_vs table from " + b.Table.File
		if load := (fixes.LoadModule{Name: "ip_vs"}); !load.Done(c.Snapshot) {
			plan.Steps = slices.Insert(plan.Steps, 0, fixes.Step(load))
		}
		cureIfPossible(f, c.Snapshot, plan)
	}
}

// asked is a port of a VIP that clients were refused.
type asked struct {
	virtual  netip.AddrPort
	protocol lvs.Protocol
	refused  []capture.Flow
	toVIP    int // flows to the same VIP, whatever the port
}

// refusedPorts are the ports of the service addresses that have no service and whose SYNs this host itself refused.
func refusedPorts(c *probes.Case) []asked {
	var out []asked
	for _, vip := range serviceVIPs(c) {
		flows := c.RecentFlowsTo(vip)
		for _, f := range flows {
			if !refusedHere(f) || hasService(c, f.Protocol, f.Virtual) {
				continue
			}
			i := slices.IndexFunc(out, func(a asked) bool { return a.virtual == f.Virtual && a.protocol == f.Protocol })
			if i < 0 {
				i = len(out)
				out = append(out, asked{virtual: f.Virtual, protocol: f.Protocol, toVIP: len(flows)})
			}
			out[i].refused = append(out[i].refused, f)
		}
	}
	arrange.By(out, func(a, b asked) int { return a.virtual.Compare(b.virtual) })
	return out
}

// refusedHere says that the director's own stack answered the SYN with a RST.
func refusedHere(f capture.Flow) bool {
	past, _ := got(f, lvs.SynForwarded)
	return f.Vantage == lvs.RoleDirector && f.Outcome == capture.Refused && !past && f.RST != nil && f.RST.From == f.Virtual.Addr() && f.RST.Direction != capture.In
}

func hasService(c *probes.Case, protocol lvs.Protocol, virtual netip.AddrPort) bool {
	return slices.ContainsFunc(c.ServicesOf(virtual.Addr()), func(v lvs.Service) bool {
		return v.Protocol == protocol && (v.Port == virtual.Port() || v.Port == 0)
	})
}

// refusedPort judges one port. That a port is closed is as it should be, and strangers try all of them: it is a fault when the port
// is served behind this director, has a service of another protocol, or is what most clients ask for.
func refusedPort(c *probes.Case, a asked) probes.Finding {
	severity, certainty, reason := probes.Note, probes.Hint, ""
	rs := servedBehind(c, a)
	other := slices.IndexFunc(services(c), func(v lvs.Service) bool {
		return v.Address == a.virtual.Addr() && v.Port == a.virtual.Port() && v.Protocol != a.protocol
	})
	switch {
	case other >= 0:
		severity, certainty = probes.Outage, probes.Strong
		reason = fmt.Sprintf(" There is a service of that port for %s, which is another protocol.", services(c)[other].Protocol)
	case rs != nil:
		severity, certainty = probes.Outage, probes.Strong
		reason = fmt.Sprintf(" %s, which is a real server for this address, listens on that port.", rs.Name())
	case len(a.refused) >= probes.FewFlows && len(a.refused)*2 > a.toVIP:
		severity, certainty = probes.Outage, probes.Certain
		reason = fmt.Sprintf(" That is %d of the %d connections that were seen to this address.", len(a.refused), a.toVIP)
	default:
		reason = " On a port that is not meant to be served that is as it should be."
	}
	f := c.Finding(severity, certainty, a.virtual.String())
	f.VIP = a.virtual.Addr()
	f.Title = fmt.Sprintf("%s %s is no virtual service", a.protocol, a.virtual)
	f.Why = fmt.Sprintf("%d %s asked for %s port %d on %s. ip_vs has no such service, so the SYN went on to the director's own sockets and was answered with a RST from here.%s",
		len(a.refused), plural(len(a.refused), "connection", "connections"), a.protocol, a.virtual.Port(), a.virtual.Addr(), reason)
	var names []string
	for _, v := range services(c) {
		if v.Address == a.virtual.Addr() {
			names = append(names, v.Key())
		}
	}
	f.Evidence = append(f.Evidence,
		probes.Evidence{Fact: "services of " + a.virtual.Addr().String(), Got: listWords(names), Want: string(a.protocol) + " " + a.virtual.String(), Command: "ipvsadm -Ln"},
		probes.Evidence{Fact: "answer to the SYN", Got: "RST from " + c.Name(), Want: "forwarded to a real server",
			Command: fmt.Sprintf("tcpdump -ni any 'tcp[tcpflags] & tcp-rst != 0 and src host %s and src port %d'", a.virtual.Addr(), a.virtual.Port())})
	if severity != probes.Note {
		add := lvs.Service{Protocol: a.protocol, Address: a.virtual.Addr(), Port: a.virtual.Port()}
		adviseService(&f, c, "add the service, if it is to be served, and where the table comes from", add)
	}
	return f
}

// servedBehind is a real server of the VIP that listens on the port at the VIP itself, nil when none is known. What listens at any
// address (sshd, an exporter) need not be meant for clients.
func servedBehind(c *probes.Case, a asked) *probes.Host {
	for _, ref := range c.Cluster.DestinationsOf(a.virtual.Addr()) {
		if ref.Director != c.Host {
			continue
		}
		rs := c.Cluster.Holder(ref.Destination.Address)
		if rs == nil || rs == c.Host {
			continue
		}
		if slices.ContainsFunc(rs.Snapshot.Sockets, func(s lvs.Socket) bool {
			return s.Protocol == a.protocol && s.Port == a.virtual.Port() && s.Address == a.virtual.Addr()
		}) {
			return rs
		}
	}
	return nil
}

// servedInstead finds out without flows that the table has the wrong port: no real server at hand listens on any port that the VIP has a
// service for or redirects it, and all of them listen on one and the same other port, management apart.
func servedInstead(c *probes.Case, vip netip.Addr, refs []probes.DestinationRef) (port uint16, rs *probes.Host) {
	var common []uint16
	for _, ref := range refs {
		h := c.Cluster.Holder(ref.Destination.Address)
		if h == nil || h == c.Host || ref.Service.Protocol != lvs.TCP || h.Snapshot.Sockets == nil {
			return 0, nil // not all are known
		}
		open := openPorts(h, vip)
		there := &probes.Case{Host: h, Cluster: c.Cluster}
		if ref.Service.Port == 0 || slices.Contains(open, ref.Service.Port) || redirects(there, needed{vip: vip, protocol: lvs.TCP, port: ref.Service.Port}) != matchNo {
			return 0, nil
		}
		if rs == nil {
			rs, common = h, open
		}
		common = slices.DeleteFunc(slices.Clone(common), func(p uint16) bool { return !slices.Contains(open, p) })
	}
	if len(common) != 1 || rs == nil {
		return 0, nil
	}
	return common[0], rs
}

// openPorts are the TCP ports on which a host answers packets for the VIP, without those of management.
func openPorts(h *probes.Host, vip netip.Addr) []uint16 {
	var out []uint16
	for _, s := range h.Snapshot.Sockets {
		if s.Protocol == lvs.TCP && (s.Address == vip || s.Address.IsUnspecified()) && s.Port != 22 && s.Port != 111 && !slices.Contains(out, s.Port) {
			out = append(out, s.Port)
		}
	}
	return out
}

func otherPort(c *probes.Case, virtual netip.AddrPort, rs *probes.Host) probes.Finding {
	f := c.Finding(probes.Outage, probes.Strong, virtual.String())
	f.VIP = virtual.Addr()
	var names []string
	for _, v := range services(c) {
		if v.Address == virtual.Addr() {
			names = append(names, v.Key())
		}
	}
	f.Title = fmt.Sprintf("the real servers listen on port %d, and there is no virtual service for it", virtual.Port())
	f.Why = fmt.Sprintf("%s has %s, and no real server at hand listens there; all of them listen on port %d. Direct routing does not change the port. A client that asks for %s is refused "+
		"by the director itself, one that asks for the service is refused by a real server.", c.Name(), listWords(names), virtual.Port(), virtual)
	f.Evidence = append(f.Evidence,
		probes.Evidence{Fact: "services of " + virtual.Addr().String(), Got: listWords(names), Want: "tcp " + virtual.String(), Command: "ipvsadm -Ln"},
		probes.Evidence{Fact: "what listens on " + rs.Name(), Got: fmt.Sprintf("tcp port %d", virtual.Port()), Want: "the port of the service", Command: "ss -ltn"})
	add := lvs.Service{Protocol: lvs.TCP, Address: virtual.Addr(), Port: virtual.Port()}
	adviseService(&f, c, "give the service the port that the real servers listen on, or the other way round", add)
	return f
}

// adviseService says how to add a service. Whether a port that is asked for is to be served is not for lvstui to decide; the real servers are
// those that have the VIP's other services.
func adviseService(f *probes.Finding, c *probes.Case, words string, add lvs.Service) {
	var rips []string
	for _, v := range c.ServicesOf(add.Address) {
		if add.Scheduler == "" {
			add.Scheduler = v.Scheduler
		}
		for _, d := range v.Destinations {
			rip := fixes.RealServer{Address: d.Address, Weight: d.Weight}
			if d.Forward == lvs.Gate && d.Weight > 0 && !slices.ContainsFunc(add.Destinations, func(o lvs.Destination) bool { return o.Address == d.Address }) {
				rips = append(rips, "--real-server "+rip.String())
				add.Destinations = append(add.Destinations, lvs.Destination{Address: d.Address, Port: add.Port, Forward: lvs.Gate, Weight: d.Weight})
			}
		}
	}
	if add.Scheduler == "" || len(rips) == 0 || len(rips) > 16 {
		advise(f, c.Name(), words, "ipvsadm -A "+ipvsadmService(add)+" -s wlc", "ipvsadm -a "+ipvsadmService(add)+" -r REAL-SERVER -g")
		return
	}
	var commands []string
	service, destinations := fixes.SaveLines(add)
	for _, line := range append([]string{service}, destinations...) {
		commands = append(commands, "ipvsadm "+line)
	}
	advise(f, c.Name(), fmt.Sprintf("%s. With the real servers that the VIP has already, and with a way back: lvstui setup director --vip %s --service %s/%d --scheduler %s %s",
		words, add.Address, add.Protocol, add.Port, add.Scheduler, strings.Join(rips, " ")), commands...)
}
