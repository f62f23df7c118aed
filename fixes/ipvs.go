package fixes

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"lvstui/lvs"
)

// VirtualService is what names a virtual service in ip_vs: protocol, VIP and port, or a firewall mark.
type VirtualService struct {
	Protocol lvs.Protocol `json:"protocol,omitempty"`
	Address  netip.Addr   `json:"address,omitzero"`
	Port     uint16       `json:"port,omitempty"`
	FWMark   uint32       `json:"fwmark,omitempty"`
	// IPv6 is the address family of a firewall mark.
	IPv6 bool `json:"ipv6,omitempty"`
}

// NameOf is what names v.
func NameOf(v lvs.Service) VirtualService {
	if v.FWMark != 0 {
		return VirtualService{FWMark: v.FWMark, IPv6: v.IPv6}
	}
	return VirtualService{Protocol: v.Protocol, Address: v.Address, Port: v.Port}
}

// String is as an operator writes it: "tcp 172.16.0.8:80", "fwmark 7".
func (n VirtualService) String() string {
	if n.FWMark != 0 && n.IPv6 {
		return fmt.Sprintf("fwmark %d (IPv6)", n.FWMark)
	}
	return lvs.Service{Protocol: n.Protocol, Address: n.Address, Port: n.Port, FWMark: n.FWMark}.Key()
}

// option is the service as ipvsadm takes it: "-t 172.16.0.8:80".
func (n VirtualService) option() string {
	switch {
	case n.FWMark != 0 && n.IPv6:
		return fmt.Sprintf("-f %d -6", n.FWMark)
	case n.FWMark != 0:
		return fmt.Sprintf("-f %d", n.FWMark)
	}
	flag := map[lvs.Protocol]string{lvs.TCP: "-t", lvs.UDP: "-u", lvs.SCTP: "--sctp-service"}[n.Protocol]
	return flag + " " + netip.AddrPortFrom(n.Address, n.Port).String()
}

// Is6 tells the address family of the service.
func (n VirtualService) Is6() bool { return n.IPv6 || n.Address.Is6() }

// Validate refuses what ip_vs could not have.
func (n VirtualService) Validate() error {
	if n.FWMark != 0 {
		if n.Address.IsValid() || n.Port != 0 || n.Protocol != "" {
			return fmt.Errorf("a virtual service has a firewall mark or an address, not both")
		}
		return nil
	}
	if !slices.Contains([]lvs.Protocol{lvs.TCP, lvs.UDP, lvs.SCTP}, n.Protocol) {
		return fmt.Errorf("%q is no protocol that ip_vs balances", n.Protocol)
	}
	if n.IPv6 {
		return fmt.Errorf("the address family of a virtual service is that of its address")
	}
	return validHost(n.Address)
}

func validHost(ip netip.Addr) error {
	if !ip.IsValid() || ip.Is4In6() || ip.Zone() != "" || ip.IsUnspecified() || ip.IsMulticast() {
		return fmt.Errorf("%q can not be an address of a host", ip)
	}
	return nil
}

// writableTable tells whether the table of ip_vs is known well enough to be changed and put back.
func writableTable(s *lvs.Snapshot) error {
	switch {
	case s.IPVS == nil:
		return fmt.Errorf("the ip_vs table of %s could not be read", s.Host)
	case !s.IPVS.Loaded:
		return errors.New("ip_vs is not loaded: type modprobe ip_vs, and try again")
	case s.IPVS.Via == "proc":
		return errors.New("only /proc/net/ip_vs was readable, which does not tell all that would have to be put back: needs CAP_NET_ADMIN")
	}
	return nil
}

// service returns the virtual service of that name.
func (n VirtualService) in(s *lvs.Snapshot) (lvs.Service, bool) {
	if s.IPVS == nil {
		return lvs.Service{}, false
	}
	i := slices.IndexFunc(s.IPVS.Services, func(v lvs.Service) bool { return NameOf(v) == n })
	if i < 0 {
		return lvs.Service{}, false
	}
	return s.IPVS.Services[i], true
}

// withService is s with a virtual service put in, replaced, or with keep false taken out. The order is that of the collector.
func withService(s *lvs.Snapshot, v lvs.Service, keep bool) *lvs.Snapshot {
	next, table := *s, *s.IPVS
	table.Services = slices.DeleteFunc(slices.Clone(table.Services), func(o lvs.Service) bool { return NameOf(o) == NameOf(v) })
	if keep {
		at, _ := slices.BinarySearchFunc(table.Services, v, compareServices)
		table.Services = slices.Insert(table.Services, at, v)
	}
	next.IPVS = &table
	return &next
}

func compareServices(a, b lvs.Service) int {
	return cmp.Or(cmp.Compare(a.FWMark, b.FWMark), a.Address.Compare(b.Address), cmp.Compare(a.Port, b.Port),
		cmp.Compare(a.Protocol, b.Protocol), boolCompare(a.IPv6, b.IPv6))
}

// serviceFact and destinationFact are the names that facts have, and what they say.
func serviceFact(n VirtualService) string { return "the virtual service " + n.String() }

func destinationFact(n VirtualService, ip netip.Addr, port uint16) string {
	return fmt.Sprintf("%s in %s", netip.AddrPortFrom(ip, port), n)
}

func serviceWords(v lvs.Service) string {
	out := "there, scheduler " + v.Scheduler
	if v.Persistent {
		out += fmt.Sprintf(", persistent for %d s", v.Timeout)
	}
	if v.Netmask != "" {
		out += ", netmask " + v.Netmask
	}
	if flags := v.Flags & settableFlags &^ flagPersistent; flags != 0 {
		out += fmt.Sprintf(", flags %#x", flags)
	}
	return out
}

func destinationWords(d lvs.Destination) string {
	out := fmt.Sprintf("there, %s, weight %d", d.Forward, d.Weight)
	if d.UpperThreshold != 0 || d.LowerThreshold != 0 {
		out += fmt.Sprintf(", thresholds %d and %d", d.LowerThreshold, d.UpperThreshold)
	}
	return out
}

// ipvsFacts adds what the steps on ip_vs change. Weights move by themselves where a health checker sets them: the plan that
// touches one then meets somebody else's value, and says so.
func ipvsFacts(s *lvs.Snapshot, out map[string]string) {
	if s.IPVS == nil {
		return
	}
	if s.IPVS.Timeouts != nil {
		out[timeoutsFact] = timeoutWords(*s.IPVS.Timeouts)
	}
	for _, v := range s.IPVS.Services {
		name := NameOf(v)
		out[serviceFact(name)] = serviceWords(v)
		for _, d := range v.Destinations {
			out[destinationFact(name, d.Address, d.Port)] = destinationWords(d)
		}
	}
}

// SaveLines are the lines with which ipvsadm-restore makes a service and its destinations, as ipvsadm-save -n writes them and
// with the thresholds that it leaves out.
func SaveLines(v lvs.Service) (service string, destinations []string) {
	name := NameOf(v)
	for _, d := range v.Destinations {
		if d.Forward == lvs.Local {
			d.Forward = lvs.Gate // what was asked for is not told
		}
		destinations = append(destinations, "-a "+destinationStep(name, d).options())
	}
	return "-A " + serviceStep(v).options(), destinations
}
