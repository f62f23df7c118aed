package apply

import (
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"lvstui/fixes"
)

func (k *kernel) doRoute(st fixes.Step) error {
	switch st := st.(type) {
	case fixes.AddRoute:
		r, err := k.routeOf(st)
		if err != nil {
			return err
		}
		return refused(k.nl.RouteAdd(r))
	case fixes.ReplaceRoute:
		r, err := k.routeOf(fixes.AddRoute(st))
		if err == nil {
			err = k.plainRoute(r)
		}
		if err != nil {
			return err
		}
		return refused(k.nl.RouteReplace(r))
	case fixes.DelRoute:
		r, err := k.routeOf(fixes.AddRoute(st))
		if err == nil {
			err = k.plainRoute(r)
		}
		if err != nil {
			return err
		}
		return refused(k.nl.RouteDel(r))
	}
	return fmt.Errorf("no way to do a step of kind %s", st.Kind())
}

func (k *kernel) routeOf(st fixes.AddRoute) (*netlink.Route, error) {
	link, err := k.nl.LinkByName(st.Device)
	if err != nil {
		return nil, refused(err)
	}
	r := &netlink.Route{Family: familyOf(st.Dst.Addr().Is6()), LinkIndex: link.Attrs().Index, Dst: ipNet(st.Dst), Table: st.Table, Priority: st.Metric,
		Protocol: unix.RTPROT_BOOT, Scope: netlink.SCOPE_LINK, Type: unix.RTN_UNICAST}
	if st.Protocol == "static" {
		r.Protocol = unix.RTPROT_STATIC
	}
	if st.Gateway.IsValid() {
		r.Gw = st.Gateway.AsSlice()
	}
	if st.Gateway.IsValid() || st.Dst.Addr().Is6() {
		r.Scope = netlink.SCOPE_UNIVERSE
	}
	if st.Source.IsValid() {
		r.Src = st.Source.AsSlice()
	}
	if st.OnLink {
		r.Flags = int(netlink.FLAG_ONLINK)
	}
	return r, nil
}

// plainRoute refuses when a route in the place of r has what no snapshot tells, so that no undo could put it back.
func (k *kernel) plainRoute(r *netlink.Route) error {
	there, err := k.nl.RouteListFiltered(r.Family, &netlink.Route{Table: r.Table, Dst: r.Dst}, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_DST)
	if err != nil {
		return refused(err)
	}
	for _, o := range there {
		if o.Priority != r.Priority && !(r.Family == netlink.FAMILY_V6 && r.Priority == 0 && o.Priority == 1024) {
			continue
		}
		numbers := o.Tos | o.Realm | o.MTU | o.Window | o.Rtt | o.RttVar | o.Ssthresh | o.Cwnd | o.AdvMSS | o.Reordering | o.Hoplimit | o.InitCwnd |
			o.Features | o.RtoMin | o.InitRwnd | o.QuickACK | o.FastOpenNoCookie
		if numbers != 0 || o.Congctl != "" || len(o.MultiPath) > 0 || o.Encap != nil || o.Via != nil || o.MPLSDst != nil || o.NewDst != nil {
			return fmt.Errorf("the route %s has attributes that could not be put back: change it by hand", o)
		}
	}
	return nil
}

func ruleOf(st fixes.AddRule) *netlink.Rule {
	r := netlink.NewRule()
	r.Family, r.Priority, r.Table, r.IifName = familyOf(st.From.Addr().Is6() || st.To.Addr().Is6()), st.Priority, st.Table, st.Iif
	if st.From.IsValid() {
		r.Src = ipNet(st.From)
	}
	if st.To.IsValid() {
		r.Dst = ipNet(st.To)
	}
	return r
}
