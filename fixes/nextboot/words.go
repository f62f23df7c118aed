package nextboot

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"lvstui/fixes"
	"lvstui/lvs"
)

var defaultRoute = netip.MustParsePrefix("0.0.0.0/0")

// parsePrefix reads an address with or without its length.
func parsePrefix(text string) (netip.Prefix, bool) {
	text = strings.TrimSpace(text)
	switch text {
	case "default", "0/0":
		return defaultRoute, true
	case "":
		return netip.Prefix{}, false
	}
	if p, err := netip.ParsePrefix(text); err == nil {
		return p, !p.Addr().Is4In6()
	}
	ip, err := netip.ParseAddr(text)
	if err != nil || ip.Is4In6() || ip.Zone() != "" {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(ip, ip.BitLen()), true
}

// prefixOf is an address with a mask as people write it: "255.255.255.255" or "32".
func prefixOf(address, mask string) (netip.Prefix, bool) {
	p, ok := parsePrefix(address)
	if !ok || mask == "" || strings.Contains(address, "/") {
		return p, ok
	}
	if bits, err := strconv.Atoi(mask); err == nil {
		p = netip.PrefixFrom(p.Addr(), bits)
		return p, p.IsValid()
	}
	m, err := netip.ParseAddr(mask)
	if err != nil || !m.Is4() {
		return netip.Prefix{}, false
	}
	for bits := range 33 {
		if netip.PrefixFrom(netip.AddrFrom4([4]byte{255, 255, 255, 255}), bits).Masked().Addr() == m {
			return netip.PrefixFrom(p.Addr(), bits), true
		}
	}
	return netip.Prefix{}, false
}

// netmask is a length as a mask.
func netmask(p netip.Prefix) string {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{255, 255, 255, 255}), p.Bits()).Masked().Addr().String()
}

// tableNumber is a routing table by its number or the names every host has; 0 when it is another name.
func tableNumber(name string) int {
	switch name {
	case "main":
		return lvs.TableMain
	case "local":
		return lvs.TableLocal
	case "default":
		return lvs.TableDefault
	}
	n, err := strconv.Atoi(name)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// sameRoute compares what a configuration can say of a route.
func sameRoute(a, b fixes.AddRoute) bool {
	a.Protocol, b.Protocol = "", ""
	return a == b
}

// devices are the links of the host, lo always among them, at most as many as anybody configures by file.
func (d *disk) devices() []string {
	out := []string{"lo"}
	for _, l := range d.s.Links {
		if len(out) == 1024 {
			break
		}
		if !slices.Contains(out, l.Name) {
			out = append(out, l.Name)
		}
	}
	return out
}

// routeWords are the arguments of "ip route add" that can be read back.
func parseRouteWords(words []string) (fixes.AddRoute, bool) {
	r := fixes.AddRoute{Table: lvs.TableMain}
	if len(words) == 0 {
		return r, false
	}
	dst, ok := parsePrefix(words[0])
	if !ok || !dst.Addr().Is4() {
		return r, false
	}
	r.Dst = dst.Masked()
	for i := 1; i < len(words); i++ {
		arg := ""
		if i+1 < len(words) {
			arg = words[i+1]
		}
		switch words[i] {
		case "via":
			r.Gateway, _ = netip.ParseAddr(arg)
		case "dev":
			r.Device = arg
		case "src":
			r.Source, _ = netip.ParseAddr(arg)
		case "metric":
			r.Metric, _ = strconv.Atoi(arg)
		case "table":
			r.Table = tableNumber(arg)
		case "onlink":
			r.OnLink = true
			continue
		case "proto", "scope":
		default:
			return r, false
		}
		i++
	}
	return r, r.Table != 0
}

// parseRuleWords are the arguments of "ip rule add" that can be read back.
func parseRuleWords(words []string) (fixes.AddRule, bool) {
	var r fixes.AddRule
	for i := 0; i+1 < len(words); i += 2 {
		arg := words[i+1]
		switch words[i] {
		case "from", "to":
			if arg == "all" {
				continue
			}
			p, ok := parsePrefix(arg)
			if !ok || !p.Addr().Is4() {
				return r, false
			}
			if words[i] == "from" {
				r.From = p
			} else {
				r.To = p
			}
		case "iif":
			r.Iif = arg
		case "lookup", "table":
			r.Table = tableNumber(arg)
		case "priority", "pref", "preference", "order":
			r.Priority, _ = strconv.Atoi(arg)
		default:
			return r, false
		}
	}
	return r, r.Table != 0 && len(words)%2 == 0
}
