package collect

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"

	"lvstui/internal/arrange"
	"lvstui/lvs"
)

// neighbourLimit bounds the neighbour table: a router of an exchange point has many thousand.
const neighbourLimit = 4096

func (c *collector) readNeighbours() {
	h, err := c.routeHandle()
	if err != nil {
		c.gapError(lvs.SourceNeighbours, "neighbours (netlink)", err)
		return
	}
	defer h.Close()
	var all []netlink.Neigh
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		for _, list := range []func(int, int) ([]netlink.Neigh, error){h.NeighList, h.NeighProxyList} {
			var some []netlink.Neigh
			err := again(func() (err error) {
				some, err = list(0, family)
				if errors.Is(err, netlink.ErrDumpInterrupted) {
					return errInterrupted
				}
				return err
			})
			if err != nil {
				c.gapError(lvs.SourceNeighbours, "neighbours (ip neighbour show)", err)
				return
			}
			all = append(all, some...)
		}
	}
	out := convertNeighbours(all, c.device)
	c.s.Neighbours = boundNeighbours(out, c.addressesThatMatter(), neighbourLimit)
	if len(out) > neighbourLimit {
		c.gap(lvs.SourceNeighbours, "kept %d of %d entries of the neighbour table, those of real servers, routers and clients first", neighbourLimit, len(out))
	}
}

func convertNeighbours(all []netlink.Neigh, device func(uint32) string) []lvs.Neighbour {
	out := make([]lvs.Neighbour, 0, len(all))
	for _, n := range all {
		ip, ok := netip.AddrFromSlice(n.IP)
		if !ok || ip.IsMulticast() {
			continue // multicast has a fixed MAC and is never asked for
		}
		if n.State == netlink.NUD_NOARP && allZero(n.HardwareAddr) {
			continue // lo and its like keep one for each address they were sent to
		}
		e := lvs.Neighbour{Address: ip.Unmap(), Device: device(uint32(n.LinkIndex)), MAC: n.HardwareAddr.String(),
			State: stateName(n.State), Proxy: n.Flags&netlink.NTF_PROXY != 0}
		out = append(out, e)
	}
	return out
}

// stateName names NUD_*; a proxy entry has no state.
func stateName(state int) string {
	switch state {
	case netlink.NUD_INCOMPLETE:
		return "incomplete"
	case netlink.NUD_REACHABLE:
		return "reachable"
	case netlink.NUD_STALE:
		return "stale"
	case netlink.NUD_DELAY:
		return "delay"
	case netlink.NUD_PROBE:
		return "probe"
	case netlink.NUD_FAILED:
		return "failed"
	case netlink.NUD_NOARP:
		return "noarp"
	case netlink.NUD_PERMANENT:
		return "permanent"
	}
	return "none"
}

// boundNeighbours keeps at most limit entries, those that matter first, and sorts them.
func boundNeighbours(all []lvs.Neighbour, matters map[netip.Addr]bool, limit int) []lvs.Neighbour {
	order := func(a, b lvs.Neighbour) int {
		return cmp.Or(cmp.Compare(a.Device, b.Device), a.Address.Compare(b.Address), cmp.Compare(a.State, b.State))
	}
	arrange.By(all, func(a, b lvs.Neighbour) int {
		if matters[a.Address] != matters[b.Address] {
			if matters[a.Address] {
				return -1
			}
			return 1
		}
		return order(a, b)
	})
	out := slices.Clone(all[:min(len(all), limit)])
	arrange.By(out, order)
	return out
}

// addressesThatMatter is the real servers, virtual addresses, clients and routers met so far.
func (c *collector) addressesThatMatter() map[netip.Addr]bool {
	m := map[netip.Addr]bool{}
	for _, v := range c.vips {
		m[v] = true
	}
	for _, cl := range c.s.Clients {
		m[cl.Address] = true
	}
	for _, a := range c.s.Answers {
		m[a.Gateway] = true
	}
	if c.s.IPVS != nil {
		for _, v := range c.s.IPVS.Services {
			for _, d := range v.Destinations {
				m[d.Address] = true
			}
		}
	}
	return m
}
