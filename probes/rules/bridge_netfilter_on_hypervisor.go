package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"lvstui/lvs"
	"lvstui/probes"
	"lvstui/probes/filter"
)

var _ = register(probes.Rule{
	ID:    "bridge-netfilter-on-hypervisor",
	Title: "a host filters what it only bridges",
	Stage: lvs.SynAckAtClient,
	Roles: []lvs.Role{lvs.RoleRouter, lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceLinks, lvs.SourceAddresses, lvs.SourceSysctls, lvs.SourceNetfilter},
	Explain: probes.Explain{
		Breaks: `The module br_netfilter, which Docker and Kubernetes load, sends frames that a host only bridges through its IP rules as if it routed them. A FORWARD chain with policy drop, or one that drops what connection tracking calls
invalid, then stops what virtual machines send each other: the director's packets to a real server, or the real server's answers. No machine on the bridge can see why.`,
		ByHand: `On the hypervisor, and see which counter of the forward chain moves:

    sysctl net.bridge.bridge-nf-call-iptables
    nft list ruleset
    iptables-legacy-save -c`,
		Apart: `Capture on both ports of the bridge. A frame that comes in on one and does not leave by the other was dropped here.`,
		Cure: `Where nobody needs it:

    sysctl -w net.bridge.bridge-nf-call-iptables=0

also in a file below /etc/sysctl.d, which has to come after br_netfilter is loaded. Else let bridged packets pass: nft insert rule ip filter FORWARD iifname br0 oifname br0 accept.`,
		Source: "net/bridge/br_netfilter_hooks.c, br_nf_forward.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		if v, known := c.Snapshot.Sysctl("net/bridge/bridge-nf-call-iptables"); !known || v == 0 {
			return nil
		}
		var out []probes.Finding
		for _, l := range c.Snapshot.Links {
			if l.Kind != "bridge" || !l.Up {
				continue
			}
			for _, vip := range c.Cluster.VIPs {
				if f, ok := bridgedAndStopped(c, l.Name, vip); ok {
					out = append(out, f)
					break // one is enough to say it
				}
			}
		}
		return out
	},
})

// bridgedAndStopped judges the answers of a real server that is on a bridge of this host, on their way to a router that is on it too.
func bridgedAndStopped(c *probes.Case, bridge string, vip netip.Addr) (probes.Finding, bool) {
	ports := 0
	for _, l := range c.Snapshot.Links {
		if l.Master == bridge && l.Up {
			ports++
		}
	}
	behind := slices.ContainsFunc(c.Cluster.DestinationsOf(vip), func(ref probes.DestinationRef) bool {
		a := c.Asked(lvs.RouteQuery{Dst: ref.Destination.Address})
		return ref.Destination.Forward == lvs.Gate && !c.Has(ref.Destination.Address) && (a.Outcome == lvs.OutUnicast && a.Device == bridge && !a.Gateway.IsValid() || hasNeighbour(c, bridge, ref.Destination.Address))
	})
	if ports < 2 || !behind || !vip.Is4() || c.Served(vip) {
		return probes.Finding{}, false
	}
	d := c.Filter().Hook("forward", int(^uint(0)>>1), filter.Packet{Iif: bridge, Oif: bridge, Src: vip, Protocol: lvs.TCP, State: "invalid", Flags: "ack"})
	if !d.Blocked() {
		return probes.Finding{}, false
	}
	f := c.Finding(probes.Hazard, probes.Strong, bridge)
	f.VIP = vip
	f.Title = fmt.Sprintf("%s filters what it bridges on %s", c.Name(), bridge)
	f.Why = fmt.Sprintf("bridge-nf-call-iptables is 1, so answers from %s that cross %s pass the forward chains, though this host only bridges them. Connection tracking here has not seen the request, and they end at \"%s\".", vip, bridge, d.Where())
	f.Evidence = append(f.Evidence, probes.Evidence{Fact: "net.bridge.bridge-nf-call-iptables", Got: "1", Want: "0", Command: "sysctl net.bridge.bridge-nf-call-iptables"}, decisionEvidence(d, "accept for bridged packets"))
	advise(&f, c.Name(), "where nobody needs it; else accept what comes from and goes to the bridge", "sysctl -w net.bridge.bridge-nf-call-iptables=0")
	return f, true
}

func hasNeighbour(c *probes.Case, dev string, ip netip.Addr) bool {
	return slices.ContainsFunc(c.Snapshot.Neighbours, func(n lvs.Neighbour) bool { return n.Device == dev && n.Address == ip })
}
