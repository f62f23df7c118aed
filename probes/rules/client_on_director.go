package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/capture"
	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "client-on-director",
	Title: "a test from the director itself can not succeed",
	Stage: lvs.SynSent,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS, lvs.SourceAddresses},
	Explain: probes.Explain{
		Breaks: `Nothing is broken. A connection from the director to its own VIP has the VIP as its source too. It is sent to a real server, which has that address itself and takes the packet for forged; and with the
director's own address as source, the answer comes back from the VIP, which the director takes for forged. So a test from the director hangs in a healthy cluster, and says nothing.`,
		ByHand: `Test from another host, best from a client's network:

    curl -v http://172.16.0.8/`,
		Cure:   `Nothing is to be cured. Do not make it work by accept_local: that changes what the director does with real packets.`,
		Source: "net/ipv4/fib_frontend.c, fib_validate_source: a source that is local.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var vips []netip.Addr
		var one capture.Flow
		for _, f := range c.Flows {
			vip := f.Virtual.Addr()
			if f.Outcome == capture.Stalled && c.Has(f.Client.Addr()) && ownsService(c.Host, vip) && !slices.Contains(vips, vip) && len(vips) < 64 {
				vips, one = append(vips, vip), f
			}
		}
		if len(vips) == 0 {
			return nil
		}
		f := c.Finding(probes.Note, probes.Certain, list(vips))
		about(&f, vips)
		f.Title = fmt.Sprintf("%s was tried from the director itself, where it can not work", list(vips))
		f.Why = fmt.Sprintf("A connection to %s was opened on this director and got no answer. That is so in a healthy cluster too: the packet, or the answer to it, has the VIP as source, and who has the VIP takes it for forged.", list(vips))
		f.Evidence = append(f.Evidence, probes.Evidence{Fact: "a connection from here", Got: fmt.Sprintf("%s to %s, no answer", one.Client, one.Virtual), Want: "a test from another host", Command: fmt.Sprintf("ip -o address show to %s", one.Client.Addr())})
		advise(&f, c.Name(), "try it from a client")
		return []probes.Finding{f}
	},
})
