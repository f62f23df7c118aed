package rules

import (
	"fmt"

	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "tw-recycle-paws",
	Title: "a real server ignores SYNs of clients behind one address",
	Stage: lvs.SynAccepted,
	Roles: []lvs.Role{lvs.RoleRealServer},
	Needs: []lvs.Source{lvs.SourceSysctls, lvs.SourceCounters},
	Explain: probes.Explain{
		Breaks: `Kernels before 4.12 had net.ipv4.tcp_tw_recycle. With it a SYN whose TCP time stamp is older than the last one of the same address is dropped without a word. Clients behind one NAT share an address and not a clock: some of them get
no answer, at random. In direct routing the real server sees the clients' own addresses, so it hits here.`,
		ByHand: `On the real server, and see whether the counter rises while clients try:

    sysctl net.ipv4.tcp_tw_recycle
    nstat -az TcpExtPAWSPassive`,
		Cure: `Nobody needs it:

    sysctl -w net.ipv4.tcp_tw_recycle=0

and take it out of the file below /etc/sysctl.d.`,
		Source: "net/ipv4/tcp_ipv4.c, tcp_v4_conn_request, before Linux 4.12: tcp_peer_is_proven.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		if v, known := c.Snapshot.Sysctl("net/ipv4/tcp_tw_recycle"); !known || v == 0 {
			return nil
		}
		dropped := c.Counter("TcpExt.PAWSPassive")
		severity := probes.Hazard
		if dropped > 0 {
			severity = probes.Degraded
		}
		f := c.Finding(severity, probes.Strong, "net.ipv4.tcp_tw_recycle")
		f.Title = fmt.Sprintf("%s ignores some SYNs of clients behind a NAT", c.Name())
		f.Why = "tcp_tw_recycle is 1: a SYN whose time stamp is behind the last one from the same address is dropped silently. Clients that share an address, behind a NAT, lose connections at random."
		f.Evidence = append(f.Evidence, probes.Evidence{Fact: "net.ipv4.tcp_tw_recycle", Got: "1", Want: "0", Command: "sysctl net.ipv4.tcp_tw_recycle"},
			probes.Evidence{Fact: "SYNs dropped for their time stamp since boot", Got: fmt.Sprint(dropped), Want: "not rising", Command: "nstat -az TcpExtPAWSPassive"})
		cure(&f, c.Snapshot, fixes.Plan{Title: "take SYNs of all clients", Steps: []fixes.Step{fixes.SetSysctl{Path: "net/ipv4/tcp_tw_recycle", Value: "0"}}})
		return []probes.Finding{f}
	},
})
