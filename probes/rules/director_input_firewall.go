package rules

import (
	"fmt"
	"net/netip"

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
keepalived adds a table of its own, which drops everything for the VIP, when vrrp_strict is set: that is the finding vrrp-strict-drop.`,
		Cure: `Accept the service in front of the rule that stops it. With firewalld:

    firewall-cmd --permanent --add-port=80/tcp
    firewall-cmd --reload

with plain nftables:

    nft insert rule inet filter input ip daddr 172.16.0.8 tcp dport 80 accept

and in the file that is loaded at boot. Where keepalived's table stops it, take vrrp_strict out of its configuration.`,
		Source: "net/netfilter/ipvs/ip_vs_core.c, ip_vs_ops4: LOCAL_IN at NF_IP_PRI_NAT_SRC - 1.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		stopped, unsure := inputStops(c)
		if unsure {
			c.CannotTell(lvs.SourceNetfilter)
		}
		var out []probes.Finding
		for _, s := range stopped {
			if !keepalivedStops(c, s) { // vrrp-strict-drop says that
				out = append(out, inputFirewall(c, s))
			}
		}
		return out
	},
})

// inputStops are the rules that keep SYNs for the director's services from ip_vs. unsure says that of some nobody can tell.
func inputStops(c *probes.Case) (stopped []*stop, unsure bool) {
	var all stops
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
			all.add(d, certainty, v, "", true)
		}
	}
	unsure = unsure || len(all.order) == 0 && len(services(c)) > 0 && halfRead(c.Snapshot.Netfilter)
	return all.sorted(), unsure
}

// filtered works out what becomes of a SYN for the service, on every device it may come in on. ok is false when nobody can say.
func filtered(c *probes.Case, v lvs.Service) (d filter.Decision, certainty probes.Certainty, ok bool) {
	devices, _ := arrivals(c, v.Address)
	if v.Port == 0 {
		return filter.Decision{}, "", true // any port: some are rightly closed
	}
	certainty, ok = probes.Certain, true
	for _, dev := range devices {
		verdict, sure := passage{v, lvs.SynForwarded, func(client netip.Addr) filter.Decision {
			return c.Filter().BeforeIPVS(filter.Packet{Iif: dev, Src: client, Dst: v.Address, Protocol: v.Protocol, DstPort: v.Port, State: "new"})
		}}.judge(c)
		switch {
		case verdict.Verdict == filter.Accept:
			return filter.Decision{}, "", true
		case verdict.Verdict == filter.Unknown:
			ok = false
		case !d.Blocked():
			d, certainty = verdict, sure
		}
	}
	if !ok || len(devices) == 0 {
		return filter.Decision{}, "", false
	}
	return d, certainty, true
}

func inputFirewall(c *probes.Case, s *stop) probes.Finding {
	d := s.decision
	if s.certainty == probes.Certain && byAddressAlone(s) && !c.Snapshot.Has(lvs.SourceOwners) {
		s.certainty = probes.Strong // or keepalived's: then it is vrrp-strict-drop
	}
	f := c.Finding(probes.Outage, s.certainty, s.names())
	about(&f, s.vips())
	f.Title = fmt.Sprintf("the packet filter of %s stops %s", c.Name(), s.names())
	client := "the client hears nothing"
	if d.Verdict == filter.Reject {
		client = "the client is told that it may not"
	}
	f.Why = fmt.Sprintf("A SYN for %s has to pass the chains of prerouting and input before ip_vs gets it, and ends at \"%s\": it is never scheduled, and %s. "+
		"That nothing on this host listens on the port is no reason to close it.", s.names(), d.Where(), client)
	f.Evidence = append(f.Evidence, s.evidence())
	letPass(&f, c, s, false, func(r *filter.Rules, v lvs.Service) filter.Decision {
		devices, _ := arrivals(c, v.Address)
		return firstStop(devices, func(dev string) filter.Decision {
			return r.BeforeIPVS(filter.Packet{Iif: dev, Dst: v.Address, Protocol: v.Protocol, DstPort: v.Port, State: "new"})
		})
	})
	return f
}
