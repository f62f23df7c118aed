package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "client-on-real-server",
	Title: "a test from a real server talks to that real server itself",
	Stage: lvs.SynSent,
	Roles: []lvs.Role{lvs.RoleRealServer},
	Needs: []lvs.Source{lvs.SourceAddresses, lvs.SourceClients},
	Explain: probes.Explain{
		Breaks: `Nothing is broken. A real server has the VIP itself, so a connection from there to the VIP never leaves it: it is served by the real server's own program, and says nothing of the director. Programs on real servers that use a service by
its VIP are not balanced.`,
		ByHand: `    ip route get 172.16.0.8

says "local".`,
		Cure:   `Nothing is to be cured. Test from another host; where real servers have to use the service themselves, give it an address of its own for them.`,
		Source: "net/ipv4/route.c, ip_route_output_key_hash_rcu: a local destination leaves by lo.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var vips []netip.Addr
		var one lvs.Client
		for _, cl := range c.Snapshot.Clients {
			if !cl.Assumed() && cl.Virtual.IsValid() && c.Has(cl.Address) && c.Has(cl.Virtual) && slices.Contains(c.Cluster.VIPs, cl.Virtual) && !ownsService(c.Host, cl.Virtual) && !slices.Contains(vips, cl.Virtual) {
				vips, one = append(vips, cl.Virtual), cl
			}
		}
		for _, f := range c.Flows {
			if vip := f.Virtual.Addr(); c.Has(f.Client.Addr()) && c.Has(vip) && slices.Contains(c.Cluster.VIPs, vip) && !ownsService(c.Host, vip) && !slices.Contains(vips, vip) {
				vips, one = append(vips, vip), lvs.Client{Address: f.Client.Addr(), Virtual: vip}
			}
		}
		if len(vips) == 0 {
			return nil
		}
		f := c.Finding(probes.Note, probes.Certain, list(vips))
		about(&f, vips)
		f.Title = fmt.Sprintf("%s talks to itself at %s", c.Name(), list(vips))
		f.Why = fmt.Sprintf("A connection to %s was opened on this real server, which has that address itself: it never left the host, and the director had no part in it. That it works says nothing of the cluster.", list(vips))
		f.Evidence = append(f.Evidence, probes.Evidence{Fact: "a connection from here", Got: fmt.Sprintf("%s to %s", one.Address, one.Virtual), Want: "a test from another host", Command: "ip route get " + one.Virtual.String()})
		advise(&f, c.Name(), "try it from a client")
		return []probes.Finding{f}
	},
})
