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

var _ = register(probes.Rule{
	ID:    "director-input-firewall",
	Title: "the director's packet filter stops the clients",
	Stage: lvs.SynScheduled,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS, lvs.SourceNetfilter, lvs.SourceLinks, lvs.SourceAddresses},
	Explain: probes.Explain{
		Breaks: `A packet for the VIP passes the director's INPUT chains before ip_vs gets it: ip_vs hooks in at priority 99, the filter table works at 0. A
firewall that opens no port for the VIP, because nothing on the director listens there, drops the SYN before it is scheduled. The client waits in
vain; where the firewall rejects, it is told "no route to host" or refused. The FORWARD chain has nothing to do with it. A capture shows the SYN
coming in, because it listens in front of the filter.`,
		ByHand: `On the director list the chains of the hooks prerouting and input, and see which counter moves while a client tries:

    nft list ruleset
    iptables-legacy-save -c

or let the kernel tell: nft add rule inet filter input tcp dport 80 meta nftrace set 1, then nft monitor trace.
keepalived adds a table of its own, which drops everything for the VIP, when vrrp_strict is set.`,
		Cure: `Accept the service in front of the rule that stops it. With firewalld:

    firewall-cmd --permanent --add-port=80/tcp
    firewall-cmd --reload

with plain nftables:

    nft insert rule inet filter input ip daddr 172.16.0.8 tcp dport 80 accept

and in the file that is loaded at boot. Where keepalived's table stops it, take vrrp_strict out of its configuration.`,
		Source: "net/netfilter/ipvs/ip_vs_core.c, ip_vs_ops4: LOCAL_IN at NF_IP_PRI_NAT_SRC - 1.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		stopped := map[string]*stop{}
		var order []string
		unsure := false
		for _, v := range services(c) {
			holds, _ := holdsVIP(c, v.Address)
			if !v.Address.IsValid() || !holds || c.Served(v.Address) {
				continue
			}
			d, certainty, ok := filtered(c, v)
			switch {
			case !ok:
				unsure = true
			case d.Blocked():
				key := d.Where()
				if stopped[key] == nil {
					stopped[key] = &stop{decision: d, certainty: certainty}
					order = append(order, key)
				}
				stopped[key].services = append(stopped[key].services, v)
			}
		}
		nf := c.Snapshot.Netfilter
		if unsure || len(order) == 0 && len(services(c)) > 0 && (!nf.NFTables || !nf.Legacy) {
			c.CannotTell(lvs.SourceNetfilter)
		}
		slices.Sort(order)
		var out []probes.Finding
		for _, key := range order {
			out = append(out, inputFirewall(c, stopped[key]))
		}
		return out
	},
})

// stop is one rule or policy with the services it stops.
type stop struct {
	decision  filter.Decision
	certainty probes.Certainty
	services  []lvs.Service
}

// filtered works out what becomes of a SYN for the service, on every device it may come in on. A rule that looks at the source stops
// some on purpose: it counts only when all clients that were seen wait in vain. ok is false when nobody can say.
func filtered(c *probes.Case, v lvs.Service) (d filter.Decision, certainty probes.Certainty, ok bool) {
	devices, _ := arrivals(c, v.Address)
	anybody := func(iif string) filter.Packet {
		return filter.Packet{Iif: iif, Dst: v.Address, Protocol: v.Protocol, DstPort: v.Port, State: "new"}
	}
	if v.Port == 0 {
		return filter.Decision{}, "", true // any port: some are rightly closed
	}
	certainty, ok = probes.Certain, true
	for _, dev := range devices {
		verdict := filter.BeforeIPVS(c.Snapshot.Netfilter, anybody(dev))
		if verdict.Verdict == filter.Unknown {
			if verdict = forSeenClients(c, v, anybody(dev)); verdict.Blocked() {
				certainty = probes.Strong
			}
		}
		switch {
		case verdict.Verdict == filter.Accept:
			return filter.Decision{}, "", true
		case verdict.Verdict == filter.Unknown:
			ok = false
		case !d.Blocked():
			d = verdict
		}
	}
	if !ok || len(devices) == 0 {
		return filter.Decision{}, "", false
	}
	if d.Counted() {
		certainty = probes.Certain
	}
	return d, certainty, true
}

// forSeenClients is what becomes of the clients that somebody saw, or of the assumed one. They are let through when one is, and stopped when
// all are and their flows show it.
func forSeenClients(c *probes.Case, v lvs.Service, p filter.Packet) filter.Decision {
	decision := filter.Decision{Verdict: filter.Unknown}
	clients, assumed := c.ClientsOf(v.Address)
	for _, client := range clients {
		p.Src = client
		if decision = filter.BeforeIPVS(c.Snapshot.Netfilter, p); !decision.Blocked() {
			return decision
		}
	}
	if assumed {
		return filter.Decision{Verdict: filter.Unknown} // that this one is kept out proves nothing
	}
	tried := 0
	for _, f := range c.RecentFlowsTo(v.Address) {
		if f.Virtual.Port() != v.Port {
			continue
		}
		if past, due := got(f, lvs.SynForwarded); past {
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

func inputFirewall(c *probes.Case, s *stop) probes.Finding {
	names, vips := []string{}, []netip.Addr{}
	for _, v := range s.services {
		names = append(names, v.Name())
		if !slices.Contains(vips, v.Address) {
			vips = append(vips, v.Address)
		}
	}
	d := s.decision
	f := c.Finding(probes.Outage, s.certainty, listWords(names))
	about(&f, vips)
	f.Title = fmt.Sprintf("the packet filter of %s stops %s", c.Name(), listWords(names))
	client := "the client hears nothing"
	if d.Verdict == filter.Reject {
		client = "the client is told that it may not"
	}
	f.Why = fmt.Sprintf("A SYN for %s has to pass the chains of prerouting and input before ip_vs gets it, and ends at \"%s\": it is never scheduled, and %s. "+
		"That nothing on this host listens on the port is no reason to close it.", listWords(names), d.Where(), client)
	got := string(d.Verdict)
	if d.Counted() {
		got += fmt.Sprintf(", %d packets so far", d.Rule.Packets)
	}
	f.Evidence = append(f.Evidence, probes.Evidence{Fact: d.Where(), Got: got, Want: "accept for " + listWords(names), Command: d.Command()})
	words, commands := letThrough(c, s)
	advise(&f, c.Name(), words, commands...)
	return f
}

// letThrough is how to open the services where the rule that stops them comes from. It never takes a rule away.
func letThrough(c *probes.Case, s *stop) (words string, commands []string) {
	d := s.decision
	if d.Chain.Table == "keepalived" {
		return "keepalived drops what is for its VIPs because of vrrp_strict or no_accept: take that out of its configuration and restart it, which fails over", nil
	}
	_, firewalld := owner(c.Snapshot, "firewalld")
	for _, v := range s.services[:min(len(s.services), 4)] {
		proto, port := cmp.Or(v.Protocol, lvs.TCP), v.Port
		family := map[bool]string{true: "ip", false: "ip6"}[v.Address.Is4()]
		switch {
		case firewalld:
			commands = append(commands, fmt.Sprintf("firewall-cmd --permanent --add-port=%d/%s", port, proto))
		case d.Chain.Backend == "legacy":
			command := map[string]string{"ip": "iptables-legacy", "ip6": "ip6tables-legacy"}[family]
			commands = append(commands, fmt.Sprintf("%s -t %s -I %s -d %s -p %s --dport %d -j ACCEPT", command, d.Chain.Table, d.Chain.Name, v.Address, proto, port))
		default:
			commands = append(commands, fmt.Sprintf("nft insert rule %s %s %s %s daddr %s %s dport %d accept", d.Chain.Family, d.Chain.Table, d.Chain.Name, family, v.Address, proto, port))
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
