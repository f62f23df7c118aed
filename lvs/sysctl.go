package lvs

import (
	"strconv"
	"strings"
)

// Effective is the value the kernel acts on for one interface, and what it was made of.
type Effective struct {
	Value int
	Known bool // false when a part could not be read: then Value means nothing
	All   int  // net.ipv4.conf.all.KEY
	Iface int  // net.ipv4.conf.DEV.KEY
	How   Combination
}

// Combination is how the kernel combines conf/all with conf/DEV for one key.
type Combination string

const (
	CombineMax   Combination = "max"       // IN_DEV_MAXCONF
	CombineOr    Combination = "or"        // IN_DEV_ORCONF
	CombineAnd   Combination = "and"       // IN_DEV_ANDCONF
	CombineIface Combination = "interface" // IN_DEV_CONF_GET: conf/all counts for nothing
)

// combinations follows include/linux/inetdevice.h (6.1 and 6.12). accept_redirects is not here: it is "and" on a
// forwarding interface and "or" on others, see Effective.
var combinations = map[string]Combination{
	"rp_filter": CombineMax, "arp_ignore": CombineMax, "arp_announce": CombineMax,
	"arp_notify": CombineMax, "arp_accept": CombineMax,
	"accept_local": CombineOr, "log_martians": CombineOr, "proxy_arp": CombineOr, "send_redirects": CombineOr,
	"arp_filter": CombineOr, "route_localnet": CombineOr, "promote_secondaries": CombineOr, "src_valid_mark": CombineOr,
	"accept_source_route": CombineAnd, "mc_forwarding": CombineAnd, "bc_forwarding": CombineAnd,
	"arp_evict_nocarrier": CombineAnd,
	"forwarding":          CombineIface, "proxy_arp_pvlan": CombineIface, "medium_id": CombineIface,
}

// ConfPath is the path of an IPv4 interface sysctl below /proc/sys. Interface names may contain dots, so the path is
// built of components and never of a dotted name.
func ConfPath(dev, key string) string { return "net/ipv4/conf/" + dev + "/" + key }

// SysctlName is the path as an operator types it to sysctl(8), which takes a slash for a dot inside a component.
func SysctlName(path string) string {
	return strings.NewReplacer("/", ".", ".", "/").Replace(path)
}

// Sysctl returns the integer at a path below /proc/sys. Absent is not zero: ok is false.
func (s *Snapshot) Sysctl(path string) (value int, ok bool) {
	text, ok := s.Sysctls[path]
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSpace(text))
	return n, err == nil
}

// Effective is the value of net.ipv4.conf.*.key that the kernel uses on dev.
func (s *Snapshot) Effective(dev, key string) Effective {
	all, okAll := s.Sysctl(ConfPath("all", key))
	iface, okIface := s.Sysctl(ConfPath(dev, key))
	how := combinations[key]
	if key == "accept_redirects" {
		how = CombineOr
		forwarding := s.Effective(dev, "forwarding")
		if !forwarding.Known {
			return Effective{All: all, Iface: iface, How: how}
		}
		if forwarding.Value != 0 {
			how = CombineAnd
		}
	}
	e := Effective{All: all, Iface: iface, How: how, Known: okAll && okIface}
	switch how {
	case CombineMax:
		e.Value = max(all, iface)
	case CombineOr:
		e.Value = boolInt(all != 0 || iface != 0)
	case CombineAnd:
		e.Value = boolInt(all != 0 && iface != 0)
	case CombineIface:
		e.Value, e.Known = iface, okIface
	default:
		e.Known = false // a key nobody has looked up in the kernel's source
	}
	return e
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
