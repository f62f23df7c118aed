package collect

import (
	"strconv"
	"strings"

	"lvstui/lvs"
)

// interestingCounters move when packets of a handshake are dropped or refused; the kernel has hundreds more.
var interestingCounters = map[string][]string{
	"Ip": {"InReceives", "InDelivers", "InHdrErrors", "InAddrErrors", "InUnknownProtos", "InDiscards", "ForwDatagrams",
		"OutRequests", "OutDiscards", "OutNoRoutes", "ReasmFails", "FragFails"},
	"IpExt": {"InNoRoutes", "InTruncatedPkts", "InCsumErrors"},
	"Icmp":  {"InDestUnreachs", "OutDestUnreachs", "InRedirects", "OutRedirects", "InTimeExcds", "OutTimeExcds"},
	"Tcp": {"PassiveOpens", "AttemptFails", "EstabResets", "CurrEstab", "InSegs", "OutSegs", "RetransSegs", "InErrs",
		"OutRsts", "InCsumErrors"},
	"Udp": {"InDatagrams", "NoPorts", "InErrors", "RcvbufErrors", "InCsumErrors"},
	"TcpExt": {"IPReversePathFilter", "ListenOverflows", "ListenDrops", "PAWSPassive", "PAWSPassiveRejected", "PAWSActive", "PAWSActiveRejected",
		"PAWSEstab", "TCPReqQFullDrop", "TCPReqQFullDoCookies", "SyncookiesSent", "SyncookiesRecv", "SyncookiesFailed",
		"TCPBacklogDrop", "TCPTimeouts", "TCPSynRetrans", "TCPTimeWaitOverflow", "TCPMinTTLDrop", "LockDroppedIcmps", "TCPDeferAcceptDrop"},
	"rt_cache":     {"in_slow_tot", "in_no_route", "in_martian_dst", "in_martian_src", "in_brd"},
	"nf_conntrack": {"invalid", "insert_failed", "drop", "early_drop"},
	"Ip6":          {"InNoRoutes", "InAddrErrors", "InDiscards", "OutNoRoutes", "OutDiscards", "InHdrErrors", "OutForwDatagrams"},
	"Icmp6":        {"OutDestUnreachs", "InDestUnreachs"},
}

// counters reads the drop counters of the namespace. Those named rt_cache are of the whole machine
// (a per-CPU global in net/ipv4/route.c), whatever the namespace.
func (c *collector) counters() {
	found := map[string]uint64{}
	var failed error
	for _, file := range []struct {
		name  string
		parse func(string) map[string]uint64
	}{
		{"netstat", parsePairs},
		{"snmp", parsePairs},
		{"snmp6", parseSNMP6},
		{"stat/rt_cache", func(text string) map[string]uint64 { return parsePerCPU("rt_cache", text) }},
		{"stat/nf_conntrack", func(text string) map[string]uint64 { return parsePerCPU("nf_conntrack", text) }},
	} {
		text, err := c.proc.readNet(file.name)
		if err != nil {
			if file.name == "netstat" || file.name == "snmp" {
				failed = err // the others may be absent from a kernel
			}
			continue
		}
		for name, n := range file.parse(text) {
			found[name] = n
		}
	}
	if failed != nil {
		c.gapError(lvs.SourceCounters, "counters", failed)
		return
	}
	c.s.Counters = map[string]uint64{}
	for group, names := range interestingCounters {
		for _, name := range names {
			if n, ok := found[group+"."+name]; ok {
				c.s.Counters[group+"."+name] = n
			}
		}
	}
	const martian = "rt_cache.in_martian_src"
	if n, ok := c.s.Counters[martian]; ok {
		c.s.Counters[martian] = n - min(n, martianQuestions.Load())
	}
}

// parsePairs reads /proc/net/netstat and /proc/net/snmp: pairs of lines, names and then values, "TcpExt: …".
func parsePairs(text string) map[string]uint64 {
	out := map[string]uint64{}
	var names []string
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if names == nil || names[0] != f[0] {
			names = f
			continue
		}
		for i := 1; i < min(len(f), len(names)); i++ {
			// A few are signed ("Tcp: MaxConn -1"); those mean no count.
			if n, err := strconv.ParseUint(f[i], 10, 64); err == nil {
				out[strings.TrimSuffix(f[0], ":")+"."+names[i]] = n
			}
		}
		names = nil
	}
	return out
}

// parseSNMP6 reads /proc/net/snmp6: "Ip6InNoRoutes   12".
func parseSNMP6(text string) map[string]uint64 {
	out := map[string]uint64{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) != 2 {
			continue
		}
		n, err := strconv.ParseUint(f[1], 10, 64)
		if i := strings.IndexByte(f[0], '6'); i > 0 && err == nil {
			out[f[0][:i+1]+"."+f[0][i+1:]] = n
		}
	}
	return out
}

// parsePerCPU reads /proc/net/stat/*: a line of names, then one line of hexadecimal values for each CPU. Columns
// named entries repeat one number on each line, so they are not summed.
func parsePerCPU(group, text string) map[string]uint64 {
	out := map[string]uint64{}
	var names []string
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if names == nil {
			names = f
			continue
		}
		for i := 0; i < min(len(f), len(names)); i++ {
			n, err := strconv.ParseUint(f[i], 16, 64)
			if err != nil || names[i] == "entries" {
				continue
			}
			out[group+"."+names[i]] += n
		}
	}
	return out
}
