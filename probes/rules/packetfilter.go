package rules

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"lvstui/lvs"
	"lvstui/probes"
	"lvstui/probes/filter"
)

// This file holds what the rules about packet filters share: what becomes of a packet whoever the client is, and how to let it through.

// passage is one kind of packet before the packet filter of a host.
type passage struct {
	service lvs.Service // the VIP, port and protocol it belongs to
	// behind is the stage that a flow has to get past for the packet to have been let through.
	behind lvs.Stage
	// decide is the filter's decision on the packet of, or for, a client; with no valid address of anybody.
	decide func(client netip.Addr) filter.Decision
}

// judge is what becomes of the packet. A rule that looks at the client stops some on purpose: it counts only when all clients that were
// seen wait in vain. Verdict Unknown means that nobody can say.
func (p passage) judge(c *probes.Case) (d filter.Decision, certainty probes.Certainty) {
	certainty = probes.Certain
	if d = p.decide(netip.Addr{}); d.Verdict == filter.Unknown {
		if d = p.forSeenClients(c); d.Blocked() {
			certainty = probes.Strong
		}
	}
	if d.Blocked() && d.Counted() {
		certainty = probes.Certain
	}
	return d, certainty
}

// forSeenClients is what becomes of the clients that somebody saw, or of the assumed one. They are let through when one is, and stopped when
// all are and their flows show it, or when one is whom another real server serves: nobody means to keep a client from every other server, unless
// it is banned (fail2ban does that on each real server by itself), and then others are let through.
func (p passage) forSeenClients(c *probes.Case) filter.Decision {
	decision := filter.Decision{Verdict: filter.Unknown}
	for _, client := range servedElsewhere(c, p.service) {
		if decision = p.decide(client); decision.Blocked() && !p.banned(client) {
			return decision
		}
	}
	clients, assumed := c.ClientsOf(p.service.Address)
	for _, client := range clients {
		if decision = p.decide(client); !decision.Blocked() {
			return decision
		}
	}
	if assumed {
		return filter.Decision{Verdict: filter.Unknown} // that this one is kept out proves nothing
	}
	tried := 0
	for _, f := range c.RecentFlowsTo(p.service.Address) {
		if f.Virtual.Port() != p.service.Port {
			continue
		}
		if past, due := got(f, p.behind); past {
			return filter.Decision{Verdict: filter.Accept}
		} else if due {
			tried++
		}
	}
	if decision.Blocked() && tried < probes.FewFlows {
		return filter.Decision{Verdict: filter.Accept} // who is kept out may be meant to be
	}
	return decision
}

// banned says that a client is stopped, or its network, where others are not: its neighbour, or somebody far away (RFC 5737, RFC 3849).
func (p passage) banned(client netip.Addr) bool {
	last := client.AsSlice()
	last[len(last)-1] ^= 1
	neighbour, _ := netip.AddrFromSlice(last)
	stranger := netip.MustParseAddr("203.0.113.1")
	if client.Is6() {
		stranger = netip.MustParseAddr("2001:db8::1")
	}
	return !p.decide(neighbour).Blocked() || !p.decide(stranger).Blocked()
}

// stop is one rule or policy with the services it stops.
type stop struct {
	decision  filter.Decision
	certainty probes.Certainty
	services  []lvs.Service
	devices   []string
	lost      bool // some service has no other way
}

// stops groups what is stopped by the rule that stops it: a hundred services that one policy keeps out are one fault.
type stops struct {
	by    map[string]*stop
	order []string
}

func (s *stops) add(d filter.Decision, certainty probes.Certainty, v lvs.Service, device string, lost bool) {
	if s.by == nil {
		s.by = map[string]*stop{}
	}
	key := d.Where()
	one := s.by[key]
	if one == nil {
		one = &stop{decision: d, certainty: certainty}
		s.by[key] = one
		s.order = append(s.order, key)
	}
	if certainty != probes.Certain {
		one.certainty = certainty
	}
	if n := len(one.services); n == 0 || one.services[n-1].Key() != v.Key() {
		one.services = append(one.services, v)
	}
	if device != "" && !slices.Contains(one.devices, device) {
		one.devices = append(one.devices, device)
	}
	one.lost = one.lost || lost
}

// sorted are the stops in the order of the rules' names, so that two looks give the same report.
func (s *stops) sorted() []*stop {
	slices.Sort(s.order)
	out := make([]*stop, 0, len(s.order))
	for _, key := range s.order {
		out = append(out, s.by[key])
	}
	return out
}

// names and vips are what a stop concerns.
func (s *stop) names() string {
	names := make([]string, 0, len(s.services))
	for _, v := range s.services {
		names = append(names, v.Name())
	}
	return listWords(names)
}

func (s *stop) vips() []netip.Addr {
	var out []netip.Addr
	seen := map[netip.Addr]bool{}
	for _, v := range s.services {
		if !seen[v.Address] {
			seen[v.Address] = true
			out = append(out, v.Address)
		}
	}
	return out
}

// evidence is the rule that stops the packets, with its counter.
func (s *stop) evidence() probes.Evidence {
	return decisionEvidence(s.decision, "accept for "+s.names())
}

func decisionEvidence(d filter.Decision, want string) probes.Evidence {
	got := string(d.Verdict)
	if d.Counted() {
		got += fmt.Sprintf(", %d packets so far", d.Rule.Packets)
	}
	return probes.Evidence{Fact: d.Where(), Got: got, Want: want, Command: d.Command()}
}

// letThrough is how to open the services where the rule that stops them comes from. It never takes a rule away. With replies it is about
// packets from the VIP, else about those for it.
func letThrough(c *probes.Case, s *stop, replies bool) (words string, commands []string) {
	d := s.decision
	_, firewalld := owner(c.Snapshot, "firewalld")
	firewalld = firewalld && !replies && (d.Chain.Hook == "input" || d.Chain.Hook == "")
	addr, port, iptables := "daddr", "dport", "-d %s -p %s --dport %d"
	if replies {
		addr, port, iptables = "saddr", "sport", "-s %s -p %s --sport %d"
	}
	for _, v := range s.services[:min(len(s.services), 4)] {
		proto := cmp.Or(v.Protocol, lvs.TCP)
		family := map[bool]string{true: "ip", false: "ip6"}[v.Address.Is4()]
		switch {
		case firewalld:
			commands = append(commands, fmt.Sprintf("firewall-cmd --permanent --add-port=%d/%s", v.Port, proto))
		case d.Chain.Backend == "legacy":
			command := map[string]string{"ip": "iptables-legacy", "ip6": "ip6tables-legacy"}[family]
			commands = append(commands, fmt.Sprintf("%s -t %s -I %s "+iptables+" -j ACCEPT", command, d.Chain.Table, d.Chain.Name, v.Address, proto, v.Port))
		default:
			commands = append(commands, fmt.Sprintf("nft insert rule %s %s %s %s %s %s %s %s %d accept",
				d.Chain.Family, d.Chain.Table, d.Chain.Name, family, addr, v.Address, proto, port, v.Port))
		}
	}
	if firewalld {
		return "firewalld owns these rules: give --zone where the interface is not in the default zone", append(commands, "firewall-cmd --reload")
	}
	if strings.HasPrefix(d.Chain.Name, "ufw") {
		return "ufw owns these rules: ufw allow the port, so that it lasts", commands
	}
	return "accept the service in front of this rule, and in the file that is loaded at boot", commands
}

// halfRead says that rules of one back end could not be read: then nothing can be called let through.
func halfRead(nf *lvs.Netfilter) bool { return !nf.NFTables || !nf.Legacy }
