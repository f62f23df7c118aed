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
		Breaks: `A client that opens many connections uses its ports again while ip_vs still has the old entries. ip_vs may take such a SYN for a new connection and schedule it anew; with net.ipv4.vs.conntrack=1 it first has to throw
the old entry of connection tracking away, and drops the SYN that makes it do so. The client sends it again after exactly one second. With direct routing this takes conn_reuse_mode=2 (or 3): the last that a director sees of a connection is
FIN_WAIT, and only that bit counts FIN_WAIT as over. With masq the default, 1, is enough, before Linux 5.9. Clusters with few clients and many connections, such as behind a proxy, suffer most.`,
		ByHand: `On the director, and look for SYNs that are sent twice, one second apart:

    sysctl net.ipv4.vs.conntrack net.ipv4.vs.conn_reuse_mode; uname -r
    ipvsadm -Lnc | grep FIN_WAIT
    tcpdump -ttni any 'tcp[tcpflags] == tcp-syn'`,
		Cure: `Direct routing needs no connection tracking:

    sysctl -w net.ipv4.vs.conntrack=0

or leave the entries alone, and let a port that is used again go to the same real server:

    sysctl -w net.ipv4.vs.conn_reuse_mode=1`,
		Source: "net/netfilter/ipvs/ip_vs_core.c, is_new_conn_expected and ip_vs_in_hook (ip_vs_conn_uses_old_conntrack); Documentation/networking/ipvs-sysctl.rst, conn_reuse_mode; Linux 5.9, ipvs: allow connection reuse for unconfirmed conntrack.",
	},
	Judge: func(c *probes.Case) []probes.Finding {
		tracked, known := c.Snapshot.Sysctl("net/ipv4/vs/conntrack")
		reuse, there := c.Snapshot.Sysctl("net/ipv4/vs/conn_reuse_mode")
		if !known || tracked == 0 || !there || reuse == 0 || !reschedules(c, reuse) {
			return nil
		}
		late := delayed(c)
		severity, certainty := probes.Note, probes.Hint // whether clients use ports again so soon is not known
		if late >= probes.FewFlows {
			severity, certainty = probes.Degraded, probes.Strong
		}
		f := c.Finding(severity, certainty, "net.ipv4.vs.conntrack")
		f.Title = fmt.Sprintf("%s delays connections from ports that are used again", c.Name())
		f.Why = fmt.Sprintf("ip_vs drops the first SYN of a connection whose client port was used shortly before, because net.ipv4.vs.conntrack is %d and conn_reuse_mode is %d, where connection tracking still has the old one. The client sends it again a second later.", tracked, reuse)
		f.Evidence = append(f.Evidence, probes.Evidence{Fact: "net.ipv4.vs.conntrack", Got: fmt.Sprint(tracked), Want: "0, which direct routing can do with", Command: "sysctl net.ipv4.vs.conntrack net.ipv4.vs.conn_reuse_mode"},
			probes.Evidence{Fact: "handshakes that took a second because of a lost SYN", Got: fmt.Sprint(late), Want: "0", Command: "tcpdump -ttni any 'tcp[tcpflags] == tcp-syn'"})
		cure(&f, c.Snapshot, fixes.Plan{Title: "keep ip_vs out of connection tracking", Steps: []fixes.Step{fixes.SetSysctl{Path: "net/ipv4/vs/conntrack", Value: "0"}}})
		return []probes.Finding{f}
	},
})

// reschedules says that ip_vs, in this mode, drops the SYN of a port that is used again for some TCP destination. Without the answers, as
// with all methods but masq, an entry ends in FIN_WAIT, of which only bit 2 of the mode takes notice. With masq it ends in TIME_WAIT, and since
// Linux 5.9 connection tracking has its entry anew by then.
func reschedules(c *probes.Case, mode int) bool {
	for _, v := range services(c) {
		for _, d := range v.Destinations {
			if v.Protocol != lvs.TCP && v.FWMark == 0 {
				continue
			}
			if d.Forward == lvs.Masq && before(c.Snapshot.Kernel, 5, 9) || d.Forward != lvs.Masq && mode&2 != 0 {
				return true
			}
		}
	}
	return false
}

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
