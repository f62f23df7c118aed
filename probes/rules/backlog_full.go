package rules

import (
	"fmt"
	"net/netip"

	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "backlog-full",
	Title: "a real server's program does not take connections fast enough",
	Stage: lvs.SynAccepted,
	Roles: []lvs.Role{lvs.RoleRealServer},
	Needs: []lvs.Source{lvs.SourceSockets, lvs.SourceAddresses},
	Explain: probes.Explain{
		Breaks: `Connections whose handshake is done wait in the listening socket's queue until the program accepts them. When the queue is full the kernel drops SYNs and last ACKs. The client's SYN comes in and no
SYN-ACK goes out, or late; connections are slow to open or time out, under load or when the program hangs.`,
		ByHand: `On the real server; Recv-Q above Send-Q means full:

    ss -ltn
    nstat -az TcpExtListenOverflows TcpExtListenDrops`,
		Cure: `Find out why the program does not accept. For peaks make its queue longer, which the program asks for and the kernel limits:

    sysctl -w net.core.somaxconn=4096`,
		Source: "include/net/sock.h, sk_acceptq_is_full; net/ipv4/tcp_input.c, tcp_conn_request.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		var out []probes.Finding
		for _, n := range portsNeeded(c) {
			for _, s := range c.Snapshot.Sockets {
				if s.Protocol != lvs.TCP || n.protocol != lvs.TCP || s.Port != n.port || !s.Address.IsUnspecified() && s.Address.Unmap() != n.vip || s.Backlog == 0 || s.Queue <= s.Backlog {
					continue
				}
				out = append(out, backlogFull(c, n, s))
				break
			}
		}
		return out
	},
})

func backlogFull(c *probes.Case, n needed, s lvs.Socket) probes.Finding {
	name := netip.AddrPortFrom(n.vip, n.port).String()
	f := c.Finding(probes.Degraded, probes.Certain, name)
	f.VIP = n.vip
	f.Title = fmt.Sprintf("the queue of %s on %s is full", name, c.Name())
	f.Why = fmt.Sprintf("%d connections wait to be accepted by the program, and %d may. The kernel drops further SYNs to %s until it takes some.", s.Queue, s.Backlog, name)
	f.Evidence = append(f.Evidence, n.how, probes.Evidence{Fact: "connections that wait", Got: fmt.Sprintf("%d, with room for %d", s.Queue, s.Backlog), Want: "none, or few", Command: fmt.Sprintf("ss -ltn 'sport = :%d'", n.port)})
	if over := c.Counter("TcpExt.ListenOverflows"); over > 0 {
		f.Evidence = append(f.Evidence, probes.Evidence{Fact: "times that a queue was full since boot", Got: fmt.Sprint(over), Want: "not rising", Command: "nstat -az TcpExtListenOverflows"})
	}
	who := "the program"
	if s.Process != "" {
		who = s.Process
	}
	advise(&f, c.Name(), "see why "+who+" does not accept connections; for peaks make its queue longer")
	return f
}
