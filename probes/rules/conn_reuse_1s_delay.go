package rules

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"lvstui/capture"
	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
)

var _ = register(probes.Rule{
	ID:    "conn-reuse-1s-delay",
	Title: "connections from a port that is used again take a second longer",
	Stage: lvs.SynScheduled,
	Roles: []lvs.Role{lvs.RoleDirector},
	Needs: []lvs.Source{lvs.SourceIPVS, lvs.SourceSysctls},
	Explain: probes.Explain{
		Breaks: `A client that opens many connections uses its ports again while ip_vs still has the old entries. With conn_reuse_mode=1 ip_vs then schedules anew; with net.ipv4.vs.conntrack=1 kernels before 5.9 first had to throw the old
entry away, and dropped the SYN that made them do so. The client sends it again after exactly one second. Clusters with few clients and many connections, such as behind a proxy, suffer most.`,
		ByHand: `On the director, and look for SYNs that are sent twice, one second apart:

    sysctl net.ipv4.vs.conntrack net.ipv4.vs.conn_reuse_mode; uname -r
    tcpdump -ttni any 'tcp[tcpflags] == tcp-syn'`,
		Cure: `Direct routing needs no connection tracking:

    sysctl -w net.ipv4.vs.conntrack=0

A kernel of 5.9 or later has no such delay.`,
		Source: "net/netfilter/ipvs/ip_vs_core.c, ip_vs_in_hook (is_new_conn_expected); Linux 5.9, ipvs: allow connection reuse for unconfirmed conntrack.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		tracked, known := c.Snapshot.Sysctl("net/ipv4/vs/conntrack")
		reuse, there := c.Snapshot.Sysctl("net/ipv4/vs/conn_reuse_mode")
		if !known || tracked == 0 || !there || reuse == 0 || !hasTCP(c) || !before(c.Snapshot.Kernel, 5, 9) {
			return nil
		}
		late := delayed(c)
		severity, certainty := probes.Note, probes.Hint // distributions put the cure into older kernels
		if late >= probes.FewFlows {
			severity, certainty = probes.Degraded, probes.Strong
		}
		f := c.Finding(severity, certainty, "net.ipv4.vs.conntrack")
		f.Title = fmt.Sprintf("%s delays connections from ports that are used again", c.Name())
		f.Why = fmt.Sprintf("This kernel (%s) drops the first SYN of a connection whose client port was used shortly before, because net.ipv4.vs.conntrack is 1 and conn_reuse_mode is %d. The client sends it again a second later.", c.Snapshot.Kernel, reuse)
		f.Evidence = append(f.Evidence, probes.Evidence{Fact: "net.ipv4.vs.conntrack", Got: fmt.Sprint(tracked), Want: "0, which direct routing can do with", Command: "sysctl net.ipv4.vs.conntrack net.ipv4.vs.conn_reuse_mode"},
			probes.Evidence{Fact: "handshakes that took a second because of a lost SYN", Got: fmt.Sprint(late), Want: "0", Command: "tcpdump -ttni any 'tcp[tcpflags] == tcp-syn'"})
		cure(&f, c.Snapshot, fixes.Plan{Title: "keep ip_vs out of connection tracking", Steps: []fixes.Step{fixes.SetSysctl{Path: "net/ipv4/vs/conntrack", Value: "0"}}})
		return []probes.Finding{f}
	},
})

// delayed counts the handshakes that succeeded with the second SYN, about a second after the first.
func delayed(c *probes.Case) int {
	n := 0
	for _, f := range c.Flows {
		if f.Vantage == lvs.RoleDirector && f.SynRetransmits == 1 && (f.Outcome == capture.Established || f.Outcome == capture.Closed) &&
			f.Handshake > 950*time.Millisecond && f.Handshake < 1300*time.Millisecond {
			n++
		}
	}
	return n
}

// before tells whether a kernel release is older than a version; not when it can not be read.
func before(release string, major, minor int) bool {
	a, rest, _ := strings.Cut(release, ".")
	b, _, _ := strings.Cut(rest, ".")
	b = strings.TrimRight(strings.SplitN(b, "-", 2)[0], "+")
	have, err1 := strconv.Atoi(a)
	than, err2 := strconv.Atoi(b)
	return err1 == nil && err2 == nil && (have < major || have == major && than < minor)
}
