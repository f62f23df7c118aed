package collect

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"lvstui/internal/arrange"
	"lvstui/lvs"
)

// Bounds of the questions: at most vips × clients × wires × marks and a few hundred more.
const (
	askVIPs, askClients, askWires, askMarks = 8, 8, 16, 4
	askRIPs, askSources, askGateways        = 256, 4, 16
	askLimit                                = 4096
)

// martianQuestions counts the route questions of this process that the kernel refused for their source. The kernel
// counts them in rt_cache's in_martian_src like packets, and a counter that lvstui moves itself would look like
// dropped packets at the next look, so counters takes them out again.
var martianQuestions atomic.Uint64

// askRoutes puts the questions that the rules need to the kernel's own routing.
func (c *collector) askRoutes() {
	nl, err := dialNetlink(unix.NETLINK_ROUTE, c.deadline)
	if err != nil {
		c.gapError(lvs.SourceAnswers, "route questions (netlink)", err)
		return
	}
	defer nl.Close()
	index := map[string]uint32{}
	for i, l := range c.links {
		index[l.Name] = uint32(i)
	}
	c.s.Answers = []lvs.RouteAnswer{}
	asked := map[lvs.RouteQuery]bool{}
	ask := func(q lvs.RouteQuery) {
		if asked[q] || len(asked) >= askLimit || c.late() {
			return
		}
		asked[q] = true
		c.s.Answers = append(c.s.Answers, askRoute(nl, q, index[q.Iif], c.device))
	}
	for _, q := range c.questions() {
		ask(q)
	}
	// The routers that the answers name are asked for last: is the gateway itself on a connected network?
	gateways := 0
	for _, a := range slices.Clone(c.s.Answers) {
		q := lvs.RouteQuery{Dst: a.Gateway}
		if a.Gateway.IsValid() && !a.Gateway.IsLinkLocalUnicast() && !asked[q] && gateways < askGateways {
			gateways++
			ask(q)
		}
	}
	if c.late() {
		c.gap(lvs.SourceAnswers, "asked %d routes when the time for the whole look was over", len(c.s.Answers))
	}
	arrange.By(c.s.Answers, func(a, b lvs.RouteAnswer) int {
		return cmp.Or(a.Dst.Compare(b.Dst), a.Src.Compare(b.Src), strings.Compare(a.Iif, b.Iif), cmp.Compare(a.Mark, b.Mark))
	})
}

// questions lists what to ask, the most telling first.
func (c *collector) questions() []lvs.RouteQuery {
	vips := c.vips[:min(len(c.vips), askVIPs)]
	marks := c.marks()
	wires := c.wires()
	var sources []netip.Addr
	for _, w := range wires {
		sources = append(sources, c.primaries(w, vips)...)
	}
	sources = sources[:min(len(sources), askSources)]

	var out []lvs.RouteQuery
	// The real servers, as the director's ip_vs looks for them.
	rips := 0
	if c.s.IPVS != nil {
		for _, v := range c.s.IPVS.Services {
			for _, d := range v.Destinations {
				if rips++; rips <= askRIPs {
					out = append(out, lvs.RouteQuery{Dst: d.Address})
				}
			}
		}
	}
	for _, cl := range c.clients {
		for _, v := range vips {
			if v.Is4() != cl.Address.Is4() {
				continue
			}
			// A SYN from the client on every wire it may come in on; the reply to it.
			for _, w := range wires {
				for _, m := range marks {
					out = append(out, lvs.RouteQuery{Dst: v, Src: cl.Address, Iif: w, Mark: m})
				}
			}
			out = append(out, lvs.RouteQuery{Dst: cl.Address, Src: v})
		}
		out = append(out, lvs.RouteQuery{Dst: cl.Address})
		for _, src := range sources {
			if src.Is4() == cl.Address.Is4() {
				out = append(out, lvs.RouteQuery{Dst: cl.Address, Src: src})
			}
		}
	}
	for _, v := range vips {
		out = append(out, lvs.RouteQuery{Dst: v})
	}
	return out
}

// marks are those that packets may carry when they are routed: none, and the fwmark services'.
func (c *collector) marks() []uint32 {
	marks := append([]uint32{0}, c.opt.Marks...)
	if c.s.IPVS != nil {
		for _, v := range c.s.IPVS.Services {
			if v.FWMark != 0 && !slices.Contains(marks, v.FWMark) {
				marks = append(marks, v.FWMark)
			}
		}
	}
	return marks[:min(len(marks), askMarks+1)]
}

// wires are the interfaces that packets of clients may come in on, those with an address first.
func (c *collector) wires() []string {
	var with, without []string
	for _, l := range c.s.Links {
		if !l.OnWire() {
			continue
		}
		if m, ok := c.s.Link(l.Master); ok && (m.Kind == "bridge" || m.Kind == "bond" || m.Kind == "team" || m.Kind == "openvswitch") {
			continue // its packets come in on the master
		}
		if slices.ContainsFunc(c.s.Addresses, func(a lvs.Address) bool { return a.Device == l.Name && a.Scope == "global" }) {
			with = append(with, l.Name)
		} else {
			without = append(without, l.Name)
		}
	}
	all := append(with, without...)
	return all[:min(len(all), askWires)]
}

// primaries are a device's own addresses, as opposed to VIPs: the first global one of each family.
func (c *collector) primaries(dev string, vips []netip.Addr) []netip.Addr {
	var out []netip.Addr
	has4, has6 := false, false
	for _, a := range c.s.Addresses {
		ip := a.Prefix.Addr()
		if a.Device != dev || a.Scope != "global" || a.Secondary || slices.Contains(vips, ip) {
			continue
		}
		if seen := &has6; ip.Is4() {
			seen = &has4
			if !*seen {
				*seen, out = true, append(out, ip)
			}
		} else if !*seen {
			*seen, out = true, append(out, ip)
		}
	}
	return out
}

// askRoute asks one question: `ip route get DST from SRC iif IIF mark MARK`.
func askRoute(nl *nlconn, q lvs.RouteQuery, iif uint32, device func(uint32) string) lvs.RouteAnswer {
	a := lvs.RouteAnswer{RouteQuery: q, Outcome: lvs.OutUnknown}
	head := rtmsg{family: family(q.Dst), dstLen: byte(q.Dst.BitLen())}
	if q.Dst.Is4() {
		head.flags = routeLookupTable // IPv6 always tells the table, and refuses the flag
	}
	attrs := attribute(nil, unix.RTA_DST, q.Dst.AsSlice())
	if q.Src.IsValid() {
		head.srcLen = byte(q.Src.BitLen())
		attrs = attribute(attrs, unix.RTA_SRC, q.Src.AsSlice())
	}
	if q.Iif != "" {
		attrs = attribute(attrs, unix.RTA_IIF, u32(iif))
	}
	if q.Mark != 0 {
		attrs = attribute(attrs, unix.RTA_MARK, u32(q.Mark))
	}
	err := nl.ask(unix.RTM_GETROUTE, head.encode(attrs), func(m nlmsg) { readAnswer(m, &a, device) })
	var errno unix.Errno
	if errors.As(err, &errno) {
		a.Outcome, a.Error = refusal(errno), unix.ErrnoName(errno)
		if q.Iif != "" && a.Outcome == lvs.OutRejected && q.Dst.Is4() {
			martianQuestions.Add(1)
		}
	} else if err != nil {
		a.Error = err.Error()
	}
	return a
}

// refusal classifies the errno of a route question. Which errno source validation gives differs between kernels
// (EXDEV up to 6.12, EINVAL later), so they mean the same here.
func refusal(errno unix.Errno) lvs.Outcome {
	switch errno {
	case unix.EHOSTUNREACH, unix.ENETUNREACH:
		return lvs.OutUnreachable
	case unix.EINVAL, unix.EXDEV, unix.EACCES:
		return lvs.OutRejected
	}
	return lvs.OutUnknown
}

// readAnswer reads the RTM_NEWROUTE that answers a question.
func readAnswer(m nlmsg, a *lvs.RouteAnswer, device func(uint32) string) {
	if m.typ != unix.RTM_NEWROUTE || len(m.data) < sizeRtmsg {
		return
	}
	a.Table = int(m.data[4])
	a.Redirected = getU32(m.data[8:])&routeRedirected != 0
	switch m.data[7] {
	case unix.RTN_LOCAL:
		a.Outcome = lvs.OutLocal
	case unix.RTN_UNICAST:
		a.Outcome = lvs.OutUnicast
	case unix.RTN_UNREACHABLE:
		a.Outcome = lvs.OutUnreachable
	case unix.RTN_PROHIBIT:
		a.Outcome = lvs.OutRejected
	default:
		a.Outcome = lvs.OutOther
	}
	for typ, v := range attributes(m.data[sizeRtmsg:]) {
		switch typ {
		case unix.RTA_OIF:
			a.Device = device(getU32(v))
		case unix.RTA_GATEWAY:
			a.Gateway, _ = netip.AddrFromSlice(v)
		case unix.RTA_VIA:
			a.Gateway = via(v)
		case unix.RTA_PREFSRC:
			a.Source, _ = netip.AddrFromSlice(v)
		case unix.RTA_TABLE:
			a.Table = int(getU32(v))
		case unix.RTA_METRICS:
			for metric, value := range attributes(v) {
				if metric == unix.RTAX_MTU && len(value) >= 4 {
					a.MTU = int(getU32(value))
				}
			}
		}
	}
}
