package screens

import (
	"net/netip"

	"lvstui/capture"
	"lvstui/lvs"
)

// realServer names the real server of a flow: the RIP where the MAC is known, else the MAC.
func (s *Flows) realServer(f *capture.Flow) string { return nameOf(f, s.rs, s.facts) }

func nameOf(f *capture.Flow, rs map[capture.MAC]string, facts Facts) string {
	if f.Vantage == lvs.RoleRealServer && facts.Snapshot != nil && len(f.Vantages) < 2 && len(facts.Others) == 0 {
		return facts.Host
	}
	if f.RealServer.IsValid() { // in a tunnel, or readdressed: behind a router the MAC is the router's
		return f.RealServer.Addr().String()
	}
	if f.RealServerMAC == (capture.MAC{}) {
		return "-"
	}
	if name, ok := rs[f.RealServerMAC]; ok {
		return name
	}
	return f.RealServerMAC.String()
}

// shortMAC is a name as it is, and of a MAC its end: the maker's half tells real servers not apart.
func shortMAC(name string) string {
	if m, err := capture.ParseMAC(name); err == nil && m.String() == name {
		return "…:" + name[9:]
	}
	return name
}

// realServers maps MACs to addresses, as far as the neighbour table tells; the RIPs of the ip_vs table win.
func realServers(f Facts) map[capture.MAC]string {
	out := map[capture.MAC]string{}
	for _, o := range f.Others {
		ownMACs(out, o)
	}
	if f.Snapshot == nil {
		return out
	}
	rip := map[string]bool{}
	if f.Snapshot.IPVS != nil {
		for _, v := range f.Snapshot.IPVS.Services {
			for _, d := range v.Destinations {
				rip[d.Address.String()] = true
			}
		}
	}
	hosts := len(f.Others) > 0
	for _, n := range f.Snapshot.Neighbours {
		mac, err := capture.ParseMAC(n.MAC)
		if err != nil || hosts && out[mac] != "" {
			continue
		}
		if old, taken := out[mac]; !taken || rip[n.Address.String()] && !rip[old] {
			out[mac] = n.Address.String()
		}
	}
	ownMACs(out, f.Snapshot)
	return out
}

// ownMACs names a host's own interfaces.
func ownMACs(names map[capture.MAC]string, s *lvs.Snapshot) {
	for _, l := range s.Links {
		if mac, err := capture.ParseMAC(l.MAC); err == nil && mac != (capture.MAC{}) {
			names[mac] = s.Host
		}
	}
}

// macNames is realServers with the gateways named as such: who is at the other end of a wire.
func macNames(f Facts) map[capture.MAC]string {
	out := realServers(f)
	if f.Snapshot == nil {
		return out
	}
	gateways := map[netip.Addr]bool{}
	for _, a := range f.Snapshot.Answers {
		gateways[a.Gateway] = a.Gateway.IsValid()
	}
	for _, n := range f.Snapshot.Neighbours {
		if mac, err := capture.ParseMAC(n.MAC); err == nil && gateways[n.Address] && (len(f.Others) == 0 || out[mac] == "") {
			out[mac] = "gateway " + n.Address.String()
		}
	}
	return out
}

// macName is the address or host behind a MAC, with the MAC's end; short leaves that out where there is a name.
func macName(names map[capture.MAC]string, m capture.MAC, short bool) string {
	if m == (capture.MAC{}) {
		return ""
	}
	end := "…:" + m.String()[9:]
	name, ok := names[m]
	switch {
	case ok && short:
		return name
	case ok:
		return name + " " + end
	}
	return end
}
