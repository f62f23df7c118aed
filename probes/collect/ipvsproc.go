package collect

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"lvstui/lvs"
)

// readProcTables reads what anybody may: /proc/net/ip_vs.
func (c *collector) readProcTables() (*lvs.IPVS, error) {
	f, err := c.proc.net("ip_vs")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseProcIPVS(f)
}

// parseProcIPVS reads the text that ip_vs_info_seq_show writes:
//
//	IP Virtual Server version 1.2.1 (size=4096)
//	Prot LocalAddress:Port Scheduler Flags
//	  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
//	TCP  AC100008:0050 rr persistent 75000 FFFFFFFF
//	  -> C0A80A0B:0050      Route   1      0          0
//
// Daemons and Timeouts stay nil: proc does not tell them. The persistence timeout there counts in the kernel's own
// clock ticks, whose length nobody tells, and is left out.
func parseProcIPVS(r io.Reader) (*lvs.IPVS, error) {
	table := &lvs.IPVS{Loaded: true, Via: "proc", Services: []lvs.Service{}}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		f := strings.Fields(lines.Text())
		switch {
		case len(f) == 0:
		case f[0] == "IP" && n == 1:
			if len(f) > 4 {
				table.Version = f[4]
			}
		case f[0] == "Prot" || len(f) > 1 && f[1] == "RemoteAddress:Port":
		case f[0] == "->":
			d, err := parseProcDestination(f[1:])
			if err != nil || len(table.Services) == 0 {
				return nil, fmt.Errorf("/proc/net/ip_vs, line %d: not a destination: %q", n, lines.Text())
			}
			v := &table.Services[len(table.Services)-1]
			v.Destinations = append(v.Destinations, d)
			v.IPv6 = v.IPv6 || v.FWMark != 0 && d.Address.Is6()
		default:
			v, err := parseProcService(f)
			if err != nil {
				return nil, fmt.Errorf("/proc/net/ip_vs, line %d: not a virtual service: %q", n, lines.Text())
			}
			table.Services = append(table.Services, v)
		}
	}
	return table, lines.Err()
}

func parseProcService(f []string) (lvs.Service, error) {
	v := lvs.Service{Destinations: []lvs.Destination{}}
	if len(f) < 3 {
		return v, fmt.Errorf("too short")
	}
	var err error
	if f[0] == "FWM" {
		mark, err := strconv.ParseUint(f[1], 16, 32)
		if err != nil || mark == 0 {
			return v, fmt.Errorf("no firewall mark")
		}
		v.FWMark = uint32(mark)
	} else {
		v.Protocol = lvs.Protocol(strings.ToLower(f[0]))
		var ap netip.AddrPort
		if ap, err = parseProcAddrPort(f[1]); err != nil {
			return v, err
		}
		v.Address, v.Port = ap.Addr(), ap.Port()
	}
	v.Scheduler = f[2]
	for i := 3; i < len(f); i++ {
		switch f[i] {
		case "ops":
			v.OnePacket, v.Flags = true, v.Flags|svcOnePacket
		case "persistent":
			v.Persistent, v.Flags = true, v.Flags|svcPersistent
			if mask, err := hex.DecodeString(at(f, i+2)); err == nil && len(mask) == 4 && v.Address.Is4() {
				if ip := netip.AddrFrom4([4]byte(mask)); ip.String() != "255.255.255.255" {
					v.Netmask = ip.String()
				}
			}
			i += 2
		}
	}
	return v, nil
}

func parseProcDestination(f []string) (lvs.Destination, error) {
	var d lvs.Destination
	if len(f) < 5 {
		return d, fmt.Errorf("too short")
	}
	ap, err := parseProcAddrPort(f[0])
	if err != nil {
		return d, err
	}
	d.Address, d.Port = ap.Addr(), ap.Port()
	switch f[1] {
	case "Masq":
		d.Forward = lvs.Masq
	case "Local":
		d.Forward = lvs.Local
	case "Tunnel":
		d.Forward = lvs.IPIP
	case "Route":
		d.Forward = lvs.Gate
	case "Bypass":
		d.Forward = lvs.Bypass
	default:
		d.Forward = lvs.Forward(strings.ToLower(f[1]))
	}
	d.Weight, err = strconv.Atoi(f[2])
	if err != nil {
		return d, err
	}
	active, err := strconv.ParseUint(f[3], 10, 32)
	if err != nil {
		return d, err
	}
	inactive, err := strconv.ParseUint(f[4], 10, 32)
	d.ActiveConns, d.InactiveConns = uint32(active), uint32(inactive)
	return d, err
}

// parseProcAddrPort reads "C0A80A0B:0050" or "[2001:0db8:…]:0050": ports are hex, and so is IPv4.
func parseProcAddrPort(s string) (netip.AddrPort, error) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return netip.AddrPort{}, fmt.Errorf("no port")
	}
	port, err := strconv.ParseUint(s[i+1:], 16, 16)
	if err != nil {
		return netip.AddrPort{}, err
	}
	ip, err := parseProcAddr(strings.Trim(s[:i], "[]"))
	return netip.AddrPortFrom(ip, uint16(port)), err
}

func parseProcAddr(s string) (netip.Addr, error) {
	if len(s) != 8 {
		return netip.ParseAddr(s)
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		return netip.Addr{}, err
	}
	return netip.AddrFrom4([4]byte(b)), nil
}

func at(f []string, i int) string {
	if i < len(f) {
		return f[i]
	}
	return ""
}
