package lab

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/moby/ipvs"
	"golang.org/x/sys/unix"
)

// directorFaults concern the director itself.
var directorFaults = []Fault{
	{
		ID: "vip-not-on-director", Title: "the director has the virtual service but not the VIP", Topologies: onOneWire, Host: Director,
		Expect: Expectation{
			Client: NoRoute, Lost: Unreachable,
			Findings: []ExpectedFinding{{Director, "vip-not-on-director", "certain", false}},
			Flows: []ExpectedFlow{
				{Host: Client, Reached: "syn-sent", StalledAt: "syn-ack-at-client"},
				{Host: Director},
			},
		},
		inject: func(l *Lab, u *undo) error {
			for _, n := range l.plan.nics {
				if n.host != Director {
					continue
				}
				if err := u.delAddress(l.Host(Director), n.name, n.addresses[len(n.addresses)-1]); err != nil {
					return err
				}
			}
			return l.askAgainForVIP()
		},
	},
	{
		ID: "forward-method-not-dr", Title: "the director reaches rs2 by masquerading", Topologies: onOneWire, Host: Director,
		Expect: Expectation{
			Client: PartlyServed, Lost: TimedOut,
			Findings: []ExpectedFinding{{Director, "forward-method-not-dr", "certain", false}},
			Flows: []ExpectedFlow{
				{Host: Client, Reached: "syn-sent", StalledAt: "syn-ack-at-client"},
				// The SYN goes on, but to the RIP: it is no longer a packet for the VIP.
				{Host: Director, Reached: "syn-at-director", StalledAt: "syn-forwarded"},
				{Host: RealServer2},
			},
		},
		inject: func(l *Lab, u *undo) error {
			masq := destination(RIP2)
			masq.ConnectionFlags = ipvs.ConnectionFlagMasq
			return u.changeDestinations(l, masq)
		},
	},
	{
		ID: "no-available-dest", Title: "all destinations have weight 0", Topologies: onOneWire, Host: Director,
		Expect: Expectation{
			Client: AllRefused, Lost: Refused,
			Findings: []ExpectedFinding{{Director, "no-available-dest", "certain", false}},
			Flows: []ExpectedFlow{
				{Host: Client, Reached: "syn-sent", StalledAt: "syn-ack-at-client"},
				{Host: Director, Reached: "syn-at-director", StalledAt: "syn-scheduled"},
				{Host: RealServer2},
			},
		},
		inject: func(l *Lab, u *undo) error {
			one, two := destination(RIP1), destination(RIP2)
			one.Weight, two.Weight = 0, 0
			return u.changeDestinations(l, one, two)
		},
	},
	{
		ID: "service-not-in-ipvs", Title: "the virtual service is on port 8080, the client asks port 80", Topologies: onOneWire, Host: Director,
		Expect: Expectation{
			Client: AllRefused, Lost: Refused,
			Findings: []ExpectedFinding{{Director, "service-not-in-ipvs", "certain", false}},
			Flows: []ExpectedFlow{
				{Host: Client, Reached: "syn-sent", StalledAt: "syn-ack-at-client"},
				{Host: Director, Reached: "syn-at-director", StalledAt: "syn-scheduled"},
				{Host: RealServer2},
			},
			Counters: []ExpectedCounter{{Director, "Tcp.OutRsts"}},
		},
		inject: func(l *Lab, u *undo) error {
			u.with(func() error { return l.rebuildTable(Port) })
			return l.rebuildTable(8080)
		},
	},
	{
		ID: "director-input-firewall", Title: "the director's INPUT chain lets SSH and ICMP in and drops the rest", Topologies: onOneWire, Host: Director,
		Expect: Expectation{
			Client: NotServed, Lost: TimedOut,
			Findings: []ExpectedFinding{{Director, "director-input-firewall", "certain", false}},
			Flows: []ExpectedFlow{
				{Host: Client, Reached: "syn-sent", StalledAt: "syn-ack-at-client"},
				{Host: Director, Reached: "syn-at-director", StalledAt: "syn-forwarded"},
				{Host: RealServer2},
			},
		},
		inject: func(l *Lab, u *undo) error {
			u.with(func() error {
				return l.Host(Director).Do(func() error {
					c := &nftables.Conn{}
					c.DelTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "filter"})
					return c.Flush()
				})
			})
			return l.Host(Director).Do(dropInput)
		},
	},
	{
		ID: "director-rp-filter-drops-client", Title: "the director filters by reverse path and its route to the client leads elsewhere", Topologies: Topologies, Host: Director,
		Expect: Expectation{
			Client: NotServed, Lost: TimedOut,
			Findings: []ExpectedFinding{{Director, "director-rp-filter-drops-client", "strong", false}},
			Flows: []ExpectedFlow{
				{Host: Client, Reached: "syn-sent", StalledAt: "syn-ack-at-client"},
				{Host: Director, Reached: "syn-at-director", StalledAt: "syn-forwarded"},
				{Host: RealServer2},
			},
			Counters: []ExpectedCounter{{Director, "TcpExt.IPReversePathFilter"}},
		},
		inject: func(l *Lab, u *undo) error {
			if l.spec.Topology == Split { // out of the NIC of the RIPs, while the SYN comes in on the other
				return u.gateway(l, l.Host(Director), "192.168.10.1", "")
			}
			return u.gateway(l, l.Host(Director), "", "") // no route at all is as bad to rp_filter
		},
	},
}

// routerFaults concern the router.
var routerFaults = []Fault{
	{
		// Topology split has it from the start; this puts it in again after it was cured.
		ID: "router-urpf-or-source-guard", Title: "the router filters by reverse path and drops the replies", Topologies: []Topology{Split}, Host: Router,
		Expect: splitExpectation,
		inject: func(l *Lab, u *undo) error {
			u.with(func() error { return l.Host(Router).sysctl("net/ipv4/conf/all/rp_filter", "0") })
			u.with(func() error { return l.eachNIC(Router, "rp_filter", "0") })
			return l.Host(Router).sysctl("net/ipv4/conf/all/rp_filter", "1")
		},
	},
}

// splitExpectation is what the article's failing topology looks like.
var splitExpectation = Expectation{
	Client: NotServed, Lost: TimedOut,
	Findings: []ExpectedFinding{
		{Router, "router-urpf-or-source-guard", "certain", true},
		{RealServer1, "router-urpf-or-source-guard", "strong", false},
		{RealServer2, "router-urpf-or-source-guard", "strong", false},
		{Director, "router-urpf-or-source-guard", "hint", false},
	},
	Flows: []ExpectedFlow{
		{Host: Client, Reached: "syn-sent", StalledAt: "syn-ack-at-client"},
		{Host: Director, Reached: "syn-forwarded", StalledAt: "ack-at-director"},
		{Host: RealServer2, Reached: "syn-ack-sent", StalledAt: "syn-ack-at-client"},
	},
	Counters: []ExpectedCounter{{Router, "TcpExt.IPReversePathFilter"}},
}

// dropInput is a firewall as administrators write it who think that IPVS forwards: nothing is said of port 80.
func dropInput() error {
	c := &nftables.Conn{}
	policy := nftables.ChainPolicyDrop
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "filter"})
	chain := c.AddChain(&nftables.Chain{Name: "input", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter, Policy: &policy})
	accept := &expr.Verdict{Kind: expr.VerdictAccept}
	protocol := func(p byte) []expr.Any {
		return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{p}}}
	}
	rule := func(parts ...expr.Any) { c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: parts}) }
	rule(&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: append([]byte("lo"), make([]byte, unix.IFNAMSIZ-2)...)}, accept)
	rule(append(protocol(unix.IPPROTO_ICMP), accept)...)
	rule(append(protocol(unix.IPPROTO_TCP),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{0, 22}}, accept)...)
	rule(&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop})
	if err := c.Flush(); err != nil {
		return fmt.Errorf("nftables of the director: %w", err)
	}
	return nil
}

// changeDestinations alters destinations of the service and registers that they become sound again.
func (u *undo) changeDestinations(l *Lab, changed ...*ipvs.Destination) error {
	u.with(func() error { return l.rebuildTable(Port) })
	return l.withIPVS(func(h *ipvs.Handle) error {
		for _, d := range changed {
			if err := h.UpdateDestination(l.service(Port), d); err != nil {
				return fmt.Errorf("change destination %s: %w", d.Address, err)
			}
		}
		return nil
	})
}

// rebuildTable makes the IPVS table anew, with the virtual service on the port and both real servers.
func (l *Lab) rebuildTable(port uint16) error {
	if err := l.withIPVS(func(h *ipvs.Handle) error { return h.Flush() }); err != nil {
		return err
	}
	return l.schedule(port)
}

// eachNIC sets an IPv4 sysctl on every NIC of a host.
func (l *Lab) eachNIC(host, key, value string) error {
	for _, n := range l.plan.nics {
		if n.host != host {
			continue
		}
		if err := l.Host(host).sysctl("net/ipv4/conf/"+n.name+"/"+key, value); err != nil {
			return err
		}
	}
	return nil
}
