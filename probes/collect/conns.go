package collect

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"lvstui/internal/arrange"
	"lvstui/lvs"
)

// connSample is how many connections a Snapshot holds.
const connSample = 256

// readConnections takes a bounded look at the connection table, which may have millions of entries.
func (c *collector) readConnections() {
	f, err := c.proc.net("ip_vs_conn")
	if err != nil {
		if os.IsNotExist(err) {
			err = fmt.Errorf("%w (a kernel without it, or another namespace's procfs)", err)
		}
		c.gapError(lvs.SourceIPVS, "ip_vs connections", err)
		return
	}
	defer f.Close()
	conns, all, err := parseConnections(f, c.opt.ConnLimit, time.Now().Add(c.opt.ConnDeadline))
	if err != nil {
		c.gapError(lvs.SourceIPVS, "ip_vs connections (/proc/net/ip_vs_conn)", err)
		return
	}
	c.s.IPVS.Connections = conns
	c.connections(all)
	if conns.Truncated {
		c.gap(lvs.SourceIPVS, "ip_vs connections: read %d of about %d entries (ipvsadm -Lnc shows all)", conns.Read, max(c.countConns(), conns.Read))
	}
}

// countConns is how many connections the destinations account for.
func (c *collector) countConns() int {
	n := 0
	for _, v := range c.s.IPVS.Services {
		for _, d := range v.Destinations {
			n += int(d.ActiveConns) + int(d.InactiveConns)
		}
	}
	return n
}

// parseConnections reads the text that ip_vs_conn_seq_show writes, with addresses and ports in hex:
//
//	Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
//	TCP BC58580A C208 AC100008 0050 C0A80A0B 0050 ESTABLISHED     899
//
// It returns what a Snapshot keeps and all connections read. Persistence templates (protocol IP) are counted as
// state TEMPLATE and are no connections.
func parseConnections(r io.Reader, limit int, deadline time.Time) (*lvs.Connections, []lvs.Connection, error) {
	conns := &lvs.Connections{ByState: map[string]int{}, Sample: []lvs.Connection{}}
	var all []lvs.Connection
	lines := bufio.NewScanner(r)
	for n := 0; lines.Scan(); n++ {
		if n == 0 {
			continue // the heading
		}
		if conns.Read >= limit || n%64 == 0 && time.Now().After(deadline) {
			conns.Truncated = true
			break
		}
		f := strings.Fields(lines.Text())
		if len(f) < 9 {
			return nil, nil, fmt.Errorf("line %d: %q is no connection", n+1, lines.Text())
		}
		conns.Read++
		if f[0] == "IP" {
			conns.ByState["TEMPLATE"]++
			continue
		}
		e := lvs.Connection{Protocol: lvs.Protocol(strings.ToLower(f[0])), State: f[7]}
		var errs [4]error
		e.Client, errs[0] = procAddrPort(f[1], f[2])
		e.Virtual, errs[1] = procAddrPort(f[3], f[4])
		e.Destination, errs[2] = procAddrPort(f[5], f[6])
		e.Expires, errs[3] = strconv.Atoi(f[8])
		for _, err := range errs {
			if err != nil {
				return nil, nil, fmt.Errorf("line %d: %q: %w", n+1, lines.Text(), err)
			}
		}
		conns.ByState[e.State]++
		all = append(all, e)
	}
	arrange.By(all, func(a, b lvs.Connection) int {
		return cmp.Or(a.Virtual.Compare(b.Virtual), a.Client.Compare(b.Client), a.Destination.Compare(b.Destination), cmp.Compare(a.Protocol, b.Protocol))
	})
	conns.Sample = append(conns.Sample, all[:min(len(all), connSample)]...)
	return conns, all, lines.Err()
}

func procAddrPort(addr, port string) (netip.AddrPort, error) {
	ip, err := parseProcAddr(addr)
	if err != nil {
		return netip.AddrPort{}, err
	}
	p, err := strconv.ParseUint(port, 16, 16)
	return netip.AddrPortFrom(ip, uint16(p)), err
}
