package fixes

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"lvstui/lvs"
)

// Spec is what a cluster with direct routing is to be like, as far as one of its hosts has to know.
type Spec struct {
	// VIP is the virtual address, with the prefix length it is to have on the director; /32 or /128 where nobody cares.
	VIP         netip.Prefix
	Services    []Port
	Scheduler   string
	RealServers []RealServer
	// Interface is the one for the VIP. Empty: on a director the one on whose subnet the VIP or, else, the real servers are, on a real
	// server lo. A director with the VIP on lo or a dummy is one to which the router routes the VIP.
	Interface string
	// Gateway is the router by which clients come and are answered. Invalid: whichever the routes lead to.
	Gateway netip.Addr
}

// Port is a protocol and a port that clients come to.
type Port struct {
	Protocol lvs.Protocol
	Port     uint16
}

// String is "tcp/80".
func (p Port) String() string { return fmt.Sprintf("%s/%d", p.Protocol, p.Port) }

// RealServer is a destination by its RIP.
type RealServer struct {
	Address netip.Addr
	Weight  int
}

// Problem says why a host can not be set up as it was asked, and what to do about it.
type Problem struct {
	What string `json:"what"`
	Next string `json:"next"`
}

// Ids of the plans that set up a role.
const (
	SetUpDirectorID   = "setup-director"
	SetUpRealServerID = "setup-real-server"
)

// check finds what is wrong with the specification itself.
func (spec Spec) check() []Problem {
	var out []Problem
	vip := spec.VIP.Addr()
	if !spec.VIP.IsValid() {
		out = append(out, Problem{"no virtual address was named", "give the address that clients use: --vip 172.16.0.8"})
	} else if validHost(vip) != nil || vip.IsLoopback() || vip.IsLinkLocalUnicast() {
		out = append(out, Problem{fmt.Sprintf("%q can not be a virtual address", spec.VIP), "give the address that clients use: --vip 172.16.0.8"})
	}
	if len(spec.Services) == 0 {
		out = append(out, Problem{"no service was named", "say what clients come for: --service tcp/80"})
	}
	for i, p := range spec.Services {
		name := VirtualService{Protocol: p.Protocol, Address: vip, Port: p.Port}
		if p.Port == 0 || name.Validate() != nil && vip.IsValid() || slices.Contains(spec.Services[:i], p) {
			out = append(out, Problem{fmt.Sprintf("%s is no service, or named twice", p), "say it once and like this: --service tcp/80"})
		}
	}
	seen := map[netip.Addr]bool{}
	for _, rs := range spec.RealServers {
		switch {
		case validHost(rs.Address) != nil || rs.Address.Is6() != vip.Is6():
			out = append(out, Problem{fmt.Sprintf("%s can not be a real server of %s", rs.Address, vip), "give RIPs of the same address family as the VIP"})
		case rs.Address == vip:
			out = append(out, Problem{fmt.Sprintf("%s is the VIP and can not be a RIP as well", vip), "give the real server's own address"})
		case seen[rs.Address]:
			out = append(out, Problem{fmt.Sprintf("%s is named twice", rs.Address), "name each real server once"})
		case rs.Weight < 0 || rs.Weight > 65535:
			out = append(out, Problem{fmt.Sprintf("weight %d of %s is not between 0 and 65535", rs.Weight, rs.Address), "--real-server RIP=WEIGHT"})
		}
		seen[rs.Address] = true
	}
	return out
}

// gatewayProblems: the VIP can not be the router's own address, which this host would then keep for itself.
func gatewayProblems(spec Spec, s *lvs.Snapshot) []Problem {
	vip := spec.VIP.Addr()
	if spec.Gateway == vip || slices.ContainsFunc(s.Routes, func(r lvs.Route) bool { return r.Gateway == vip }) {
		return []Problem{{fmt.Sprintf("%s is a gateway of %s: it belongs to a router, and can not be the VIP as well", vip, s.Host), "give the address that clients use: --vip ADDRESS"}}
	}
	return nil
}

// readable finds what of the host was not read and would be needed.
func readable(s *lvs.Snapshot, sources ...lvs.Source) []Problem {
	var out []Problem
	for _, src := range s.Missing(sources...) {
		why := ""
		for _, g := range s.Gaps {
			if g.Source == src {
				why = ": " + g.Reason
				break
			}
		}
		out = append(out, Problem{fmt.Sprintf("the %s of %s could not be read%s", src, s.Host, why), "run it as root: sudo lvstui setup …"})
	}
	return out
}

// possible adds a problem when the plan could not be done or not be taken back exactly.
func possible(p Plan, s *lvs.Snapshot) []Problem {
	undo, err := p.Undo(s)
	if err == nil {
		_, err = p.Course(s, undo)
	}
	if err != nil {
		return []Problem{{err.Error(), "look at the host with lvstui check"}}
	}
	return nil
}

// deviceOf is the link by which ip is on-link, "" when it is not.
func deviceOf(s *lvs.Snapshot, ip netip.Addr) string {
	if a := s.Lookup(lvs.RouteQuery{Dst: ip}); a.Outcome == lvs.OutUnicast && !a.Gateway.IsValid() {
		return a.Device
	}
	return ""
}

func ports(list []Port) string {
	words := make([]string, 0, len(list))
	for _, p := range list {
		words = append(words, "--service "+p.String())
	}
	return strings.Join(words, " ")
}
