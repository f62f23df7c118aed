package fixes

import (
	"fmt"
	"net/netip"
	"path"

	"lvstui/lvs"
)

// Risk says when a value would stop the packets of the operator's own session: rp_filter that rejects the client, or arp_ignore
// that keeps the server's address silent on the interface it is asked on.
func (st SetSysctl) Risk(s *lvs.Snapshot) string {
	op := s.Operator
	if op == nil || st.Done(s) || !op.Server.Addr().Unmap().Is4() {
		return ""
	}
	switch path.Base(st.Path) {
	case "rp_filter", "accept_local":
		after, err := st.Simulate(s)
		if err != nil {
			return ""
		}
		return sessionRisk(s, after)
	case "arp_ignore":
		return arpRisk(st, s)
	}
	return ""
}

// arpRisk is about a server address that is not on the interface the session comes in on (weak host model).
func arpRisk(st SetSysctl, s *lvs.Snapshot) string {
	op := s.Operator
	server := op.Server.Addr().Unmap()
	after, err := st.Simulate(s)
	if err != nil || op.Interface == "" {
		return ""
	}
	was, is := s.Effective(op.Interface, "arp_ignore"), after.Effective(op.Interface, "arp_ignore")
	if !was.Known || !is.Known || was.Value == is.Value || is.Value == 0 {
		return ""
	}
	onIt, elsewhere := false, ""
	for _, a := range s.AddressesOf(server) {
		if a.Device == op.Interface {
			onIt = true
		} else {
			elsewhere = a.Device
		}
	}
	switch {
	case is.Value == 8:
		return fmt.Sprintf("%s would not answer ARP for any address: your SSH session comes in there and ends when its neighbour entry does", op.Interface)
	case elsewhere != "" && !onIt:
		return fmt.Sprintf("your SSH session is to %s, which is on %s, and comes in on %s: it would no longer be answered for there, and the session ends when the neighbour's ARP entry does",
			server, elsewhere, op.Interface)
	}
	return ""
}

// Risk says when the address added would make the operator's own address look local or wrong.
func (st AddAddress) Risk(s *lvs.Snapshot) string {
	after, err := st.Simulate(s)
	if err != nil {
		return ""
	}
	return sessionRisk(s, after)
}

// Risk says when the operator's session is to an address that goes, or would lose its way back.
func (st DelAddress) Risk(s *lvs.Snapshot) string {
	after, err := st.Simulate(s)
	if err != nil {
		return ""
	}
	return sessionRisk(s, after)
}

// sessionRisk compares what routing does with the operator's packets in and out.
func sessionRisk(before, after *lvs.Snapshot) string {
	op := before.Operator
	if op == nil {
		return ""
	}
	server, client := op.Server.Addr().Unmap(), op.Client.Addr().Unmap()
	if len(before.AddressesOf(server)) > 0 && len(after.AddressesOf(server)) == 0 {
		return fmt.Sprintf("your SSH session is to %s, which would go: the session ends", server)
	}
	if !routable(client) {
		return ""
	}
	for _, q := range []lvs.RouteQuery{{Dst: client, Src: server}, {Dst: server, Src: client, Iif: op.Interface}} {
		if q.Iif == "" && q.Dst == server {
			continue
		}
		was, is := before.Lookup(q), after.Lookup(q)
		if sameAnswer(was, is) {
			continue
		}
		if q.Dst == server {
			return fmt.Sprintf("packets of your SSH session from %s would be %s: the session ends", client, fate(is))
		}
		return fmt.Sprintf("answers of your SSH session to %s would be %s, where they were %s: the session may end", client, fate(is), fate(was))
	}
	return ""
}

func routable(ip netip.Addr) bool {
	return ip.IsValid() && !ip.IsLoopback() && !ip.IsLinkLocalUnicast()
}

func fate(a lvs.RouteAnswer) string {
	switch a.Outcome {
	case lvs.OutLocal:
		return "delivered to this host itself"
	case lvs.OutUnicast:
		if a.Gateway.IsValid() {
			return fmt.Sprintf("sent via %s on %s", a.Gateway, a.Device)
		}
		return "sent on " + a.Device
	case lvs.OutUnreachable:
		return "without a route"
	case lvs.OutRejected:
		return "rejected"
	}
	return "in doubt"
}
