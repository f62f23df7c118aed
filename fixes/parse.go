package fixes

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"lvstui/lvs"
)

// ParseVIP reads a virtual address as people write it, with a prefix length or without: "172.16.0.8", "172.16.0.8/24".
func ParseVIP(text string) (netip.Prefix, error) {
	text = strings.TrimSpace(text)
	p, err := netip.ParsePrefix(text)
	if ip, errAddr := netip.ParseAddr(text); errAddr == nil {
		p, err = netip.PrefixFrom(ip.WithZone(""), ip.BitLen()), nil
	}
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%q is not an IP address, such as 172.16.0.8 or 172.16.0.8/24", text)
	}
	return p, nil
}

// ParsePort reads a service that clients come for: "tcp/80", "udp/53".
func ParsePort(text string) (Port, error) {
	protocol, number, _ := strings.Cut(strings.TrimSpace(text), "/")
	if own, _, both := strings.Cut(number, ":"); both {
		return Port{}, fmt.Errorf("%q names two ports: direct routing changes none, so the real servers listen on the port that clients ask for: %s/%s", text, protocol, own)
	}
	port, err := strconv.ParseUint(number, 10, 16)
	switch lvs.Protocol(protocol) {
	case lvs.TCP, lvs.UDP, lvs.SCTP:
	default:
		return Port{}, fmt.Errorf("%q is not a service, such as tcp/80 or udp/53", text)
	}
	if err != nil || port == 0 {
		return Port{}, fmt.Errorf("%q is not a service, such as tcp/80 or udp/53", text)
	}
	return Port{Protocol: lvs.Protocol(protocol), Port: uint16(port)}, nil
}

// ParseRealServer reads a RIP with its weight, which is 1 when it is left out: "192.168.10.11", "192.168.10.11=2".
func ParseRealServer(text string) (RealServer, error) {
	address, number, weighted := strings.Cut(strings.TrimSpace(text), "=")
	rs := RealServer{Weight: 1}
	if at, errPort := netip.ParseAddrPort(address); errPort == nil {
		return RealServer{}, fmt.Errorf("%q names a port: direct routing changes none, so the real server listens on the service's own port: %s", text, at.Addr())
	}
	ip, err := netip.ParseAddr(address)
	if err == nil && weighted {
		rs.Weight, err = strconv.Atoi(number)
	}
	if err != nil {
		return RealServer{}, fmt.Errorf("%q is not a real server, such as 192.168.10.11 or 192.168.10.11=2", text)
	}
	rs.Address = ip.Unmap().WithZone("")
	return rs, nil
}

// String is the real server as ParseRealServer reads it, without a weight of 1.
func (r RealServer) String() string {
	if r.Weight == 1 {
		return r.Address.String()
	}
	return fmt.Sprintf("%s=%d", r.Address, r.Weight)
}
