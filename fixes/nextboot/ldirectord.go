package nextboot

import (
	"net/netip"
	"strconv"
	"strings"

	"lvstui/fixes"
	"lvstui/lvs"
)

// Ldirectord is what the files of s have ldirectord do (ldirectord(8)); ok is false when there is no such file.
func Ldirectord(s *lvs.Snapshot) (k Keeper, ok bool) {
	d := newDisk(s)
	for _, name := range []string{"/etc/ha.d/ldirectord.cf", "/etc/ldirectord.cf"} {
		if text, there := d.read(name); there {
			return parseLdirectord(name, text), true
		}
	}
	return Keeper{}, false
}

func parseLdirectord(file, text string) Keeper {
	k := Keeper{Name: "ldirectord", File: file}
	var current *KeptService
	for i, line := range lines(text) {
		trimmed := strings.TrimSpace(line)
		if trimmed == "" || trimmed[0] == '#' {
			continue
		}
		key, value, _ := strings.Cut(trimmed, "=")
		key, value = strings.TrimSpace(strings.ToLower(key)), strings.Trim(strings.TrimSpace(value), `"`)
		at := Place{"ldirectord", file, i + 1}
		switch {
		case key == "virtual" || key == "virtual6":
			v := KeptService{Place: at, Method: lvs.Gate}
			if mark, err := strconv.ParseUint(value, 10, 32); err == nil {
				v.Service = fixes.VirtualService{FWMark: uint32(mark), IPv6: key == "virtual6"}
			} else if virtual, ok := parseVirtual(value); ok {
				v.Service = fixes.VirtualService{Protocol: lvs.TCP, Address: virtual.Addr(), Port: virtual.Port()}
			} else {
				k.Odd, current = true, nil // a name, which only the resolver knows
				continue
			}
			k.Services = append(k.Services, v)
			current = &k.Services[len(k.Services)-1]
		case strings.TrimLeft(line, " \t") == line || current == nil:
			continue // a global setting
		case key == "scheduler":
			current.Scheduler = value
		case key == "protocol" && current.Service.FWMark == 0:
			current.Service.Protocol = lvs.Protocol(strings.ToLower(value))
		case key == "persistent":
			n, _ := strconv.ParseUint(value, 10, 32)
			current.Persistence = uint32(n)
		case key == "fallback" || key == "fallback6":
			current.Sorry, _ = parseVirtual(firstWord(value))
		case key == "real" || key == "real6":
			r, ok := ldirectordReal(at, value, current.Service)
			if !ok {
				k.Odd = true
				continue
			}
			current.Reals = append(current.Reals, r...)
		}
	}
	return k
}

// ldirectordReal reads "192.168.10.11[->192.168.10.13]:80 gate [5] [request]".
func ldirectordReal(at Place, value string, service fixes.VirtualService) ([]KeptReal, bool) {
	words := strings.Fields(value)
	if len(words) < 2 {
		return nil, false
	}
	method, ok := map[string]lvs.Forward{"gate": lvs.Gate, "masq": lvs.Masq, "ipip": lvs.IPIP}[words[1]]
	if !ok {
		return nil, false
	}
	first, last, isRange := strings.Cut(words[0], "->")
	from, ok := parseVirtual(first)
	to := from
	if isRange {
		if to, ok = parseVirtual(last); ok && from.Port() == 0 {
			from = netip.AddrPortFrom(from.Addr(), to.Port())
		}
	}
	if !ok {
		return nil, false
	}
	weight := 1
	if len(words) > 2 {
		if n, err := strconv.Atoi(words[2]); err == nil {
			weight = n
		}
	}
	var out []KeptReal
	for ip := from.Addr(); len(out) < 256; ip = ip.Next() {
		r := KeptReal{Place: at, Address: ip, Port: from.Port(), Method: method, Weight: weight, Checks: []string{"ldirectord"}}
		if r.Port == 0 {
			r.Port = service.Port
		}
		out = append(out, r)
		if ip == to.Addr() || !ip.IsValid() {
			return out, true
		}
	}
	return nil, false
}
