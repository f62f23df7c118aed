package screens

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"lvstui/lvs"
	"lvstui/ui/keys"
	"lvstui/ui/kit"
	"lvstui/ui/theme"
)

// Host shows the facts of the host that matter to LVS-DR, with the values the kernel really uses.
type Host struct {
	facts Facts
	boot  bootFacts
	scroll
}

// NewHost makes the screen.
func NewHost() *Host { return &Host{} }

// Title of the tab.
func (s *Host) Title() string { return "Host" }

// Typing is false.
func (s *Host) Typing() bool { return false }

// Update has nothing to wait for.
func (s *Host) Update(tea.Msg) (Screen, tea.Cmd) { return s, nil }

// SetFacts starts at the top on another host.
func (s *Host) SetFacts(f Facts) {
	if f.Host != s.facts.Host {
		s.scroll = scroll{}
	}
	s.facts = f
}

// Actions scroll and copy.
func (s *Host) Actions() []keys.Action {
	return append([]keys.Action{
		keys.Copy.Do(func() tea.Cmd { return send(CopyMsg{plainText(s.lines(100)), "facts of this host"}) }),
		keys.Test.Do(ask(ProbeMsg{})),
	}, s.scroll.actions()...)
}

// View draws the part of the facts that fits.
func (s *Host) View(width, height int) []kit.Line {
	if s.facts.Snapshot == nil {
		return kit.Indent(1, kit.Paragraph(theme.Plain, "There is only a capture here, and nothing is known of the host it was taken on.", width-2))
	}
	return kit.Indent(1, s.show(s.lines(width-2), height))
}

func (s *Host) lines(width int) []kit.Line {
	if s.facts.Snapshot == nil {
		return nil
	}
	h := hostLines{s.facts.Snapshot, s.facts, width, nil}
	h.gaps()
	h.addresses()
	h.effective()
	h.nextBoot(s.boot.facts(s.facts.Snapshot))
	h.routes()
	h.sockets()
	h.owners()
	h.system()
	return h.out
}

// hostLines collects the sections. Each says what it could not read instead of showing nothing.
type hostLines struct {
	*lvs.Snapshot
	facts Facts
	width int
	out   []kit.Line
}

func (h *hostLines) heading(text string, src lvs.Source) (read bool) {
	if len(h.out) > 0 {
		h.out = append(h.out, kit.Line{})
	}
	h.out = append(h.out, kit.Text(theme.Title, text))
	if src != "" && !h.Has(src) {
		h.out = append(h.out, kit.L(kit.S(theme.Unknown, "? could not look; the reason is at the top")))
		return false
	}
	return true
}

func (h *hostLines) add(spans ...kit.Span) { h.out = append(h.out, kit.L(spans...)) }

func (h *hostLines) gaps() {
	if lines := gapLines(h.facts, h.width); len(lines) > 0 {
		h.out = append(h.out, lines...)
	}
}

func (h *hostLines) vips() []netip.Addr {
	var out []netip.Addr
	add := func(a netip.Addr) {
		if a.IsValid() && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	for _, v := range h.facts.Report.VirtualServices {
		if ap, err := netip.ParseAddrPort(v.Virtual); err == nil {
			add(ap.Addr())
		}
	}
	if h.IPVS != nil {
		for _, v := range h.IPVS.Services {
			add(v.Address)
		}
	}
	for _, f := range h.facts.Flows {
		add(f.Virtual.Addr())
	}
	return out
}

func (h *hostLines) addresses() {
	if !h.heading("Addresses", lvs.SourceAddresses) {
		return
	}
	vips := h.vips()
	name := h.nameWidth()
	for _, l := range h.Links {
		state := "down"
		switch {
		case l.Up && l.Running:
			state = "up"
		case l.Up:
			state = "up, no carrier"
		}
		kind := strings.Join(notEmpty(l.Kind, l.MAC, fmt.Sprintf("mtu %d", l.MTU)), "  ")
		h.add(kit.T(kit.Pad(l.Name, name)), kit.S(map[bool]theme.Role{true: theme.OK, false: theme.Dim}[l.Up && l.Running], kit.Pad(state, 15)),
			kit.S(theme.Dim, kind))
		for _, a := range h.Snapshot.Addresses {
			if a.Device != l.Name {
				continue
			}
			spans := []kit.Span{kit.T(kit.Pad("", name) + kit.Pad(a.Prefix.String(), 22)), kit.S(theme.Dim, "scope "+a.Scope)}
			if slices.Contains(vips, a.Prefix.Addr()) {
				spans = append(spans, kit.S(theme.Accent, "  VIP"))
			}
			for _, f := range []struct {
				on   bool
				word string
			}{{a.Secondary, "secondary"}, {a.Tentative, "tentative"}, {a.DADFailed, "duplicate address detected"}, {a.Deprecated, "deprecated"}} {
				if f.on {
					spans = append(spans, kit.S(theme.Warn, "  "+f.word))
				}
			}
			h.add(spans...)
		}
	}
}

// nameWidth is the width of the column with the interfaces' names, which have at most 15 characters.
func (h *hostLines) nameWidth() int {
	n := 6
	for _, l := range h.Links {
		n = max(n, min(15, kit.Width(l.Name)))
	}
	return n + 2
}

// effectiveKeys are the sysctls that decide ARP and source validation.
var effectiveKeys = []string{"arp_ignore", "arp_announce", "rp_filter", "accept_local"}

func (h *hostLines) effective() {
	if !h.heading("What the kernel uses, and where it comes from (conf/all, conf/DEVICE)", lvs.SourceSysctls) {
		return
	}
	name := h.nameWidth()
	cell := max(12, min(18, (h.width-name)/len(effectiveKeys)))
	head := kit.Pad("", name)
	for _, k := range effectiveKeys {
		head += kit.Pad(k, cell)
	}
	h.add(kit.S(theme.Dim, head))
	for _, l := range h.Links {
		row := []kit.Span{kit.T(kit.Pad(l.Name, name))}
		for _, k := range effectiveKeys {
			e := h.Effective(l.Name, k)
			if !e.Known {
				row = append(row, kit.S(theme.Unknown, kit.Pad("?", cell)))
				continue
			}
			value := fmt.Sprint(e.Value)
			row = append(row, kit.T(value), kit.S(theme.Dim, kit.Pad(" "+combination(e, cell < 17), cell-len(value))))
		}
		h.add(row...)
	}
	if fwd, ok := h.Sysctl("net/ipv4/ip_forward"); ok {
		note := ""
		if slices.Contains(h.facts.Report.Roles, lvs.RoleDirector) {
			note = "  (direct routing does not need it on the director)"
		}
		h.add(kit.T("ip_forward "+fmt.Sprint(fwd)), kit.S(theme.Dim, note))
	}
	h.out = append(h.out, kit.Paragraph(theme.Dim, "arp_ignore, arp_announce, rp_filter: the greater of both counts; accept_local: either.", h.width)...)
}

// combination says what an effective value was made of.
func combination(e lvs.Effective, short bool) string {
	if e.How == lvs.CombineIface {
		return "(own)"
	}
	if short {
		return fmt.Sprintf("(%d, %d)", e.All, e.Iface)
	}
	return fmt.Sprintf("(all %d, own %d)", e.All, e.Iface)
}

func (h *hostLines) routes() {
	if !h.heading("Routes to what matters, as the kernel answers", lvs.SourceAnswers) {
		return
	}
	if len(h.Answers) == 0 {
		h.add(kit.S(theme.Dim, "nothing was asked: no VIP, real server or client is known"))
	}
	longest := 0
	for _, a := range h.Answers {
		longest = max(longest, len(queryWords(a.RouteQuery)))
	}
	for _, a := range h.Answers {
		role, answer := routeWords(a)
		l := kit.L(kit.T(kit.Pad(queryWords(a.RouteQuery), longest)+" "), mark(role), kit.S(role, " "+answer))
		if l.Width() > h.width {
			h.add(kit.T(queryWords(a.RouteQuery)))
			l = kit.L(kit.T("    "), mark(role), kit.S(role, " "+answer))
		}
		h.out = append(h.out, l)
	}
}

func queryWords(q lvs.RouteQuery) string {
	words := "to " + q.Dst.String()
	if q.Src.IsValid() {
		words += " from " + q.Src.String()
	}
	if q.Iif != "" {
		words += " coming in on " + q.Iif
	}
	if q.Mark != 0 {
		words += fmt.Sprintf(" mark %d", q.Mark)
	}
	return words
}

// routeWords is the kernel's answer for a person. A refusal is worth a look and no verdict: whether it hurts depends on who
// asks that way, and the findings on Path say so.
func routeWords(a lvs.RouteAnswer) (theme.Role, string) {
	switch a.Outcome {
	case lvs.OutLocal:
		return theme.OK, "delivered here"
	case lvs.OutUnicast:
		words := "out of " + a.Device
		if a.Gateway.IsValid() {
			words += " to " + a.Gateway.String()
		} else {
			words += ", on link"
		}
		if a.Source.IsValid() && !a.RouteQuery.Src.IsValid() {
			words += " with source " + a.Source.String()
		}
		return theme.OK, words
	case lvs.OutUnreachable:
		return theme.Warn, "no route"
	case lvs.OutRejected:
		return theme.Warn, "dropped: source validation or a prohibiting route"
	case lvs.OutUnknown:
		return theme.Unknown, "could not be asked"
	}
	return theme.Warn, string(a.Outcome)
}

func (h *hostLines) sockets() {
	if !h.heading("Sockets that can serve a VIP", lvs.SourceSockets) {
		return
	}
	ports := map[uint16]bool{}
	for _, v := range h.facts.Report.VirtualServices {
		if ap, err := netip.ParseAddrPort(v.Virtual); err == nil {
			ports[ap.Port()] = true
		}
	}
	for _, f := range h.facts.Flows {
		ports[f.Virtual.Port()] = true
	}
	n := 0
	for _, k := range h.Snapshot.Sockets {
		if len(ports) > 0 && !ports[k.Port] || k.Address.IsLoopback() {
			continue
		}
		n++
		h.add(kit.T(kit.Pad(string(k.Protocol)+" "+netip.AddrPortFrom(k.Address, k.Port).String(), 34)),
			kit.S(theme.Dim, strings.Join(notEmpty(k.Process, k.Device, queueWords(k)), "  ")))
	}
	if n == 0 {
		h.add(kit.S(theme.Dim, "none listens on a port of a virtual service"))
	}
}

func queueWords(k lvs.Socket) string {
	if k.Backlog == 0 {
		return ""
	}
	return fmt.Sprintf("%d waiting of %d", k.Queue, k.Backlog)
}

func (h *hostLines) owners() {
	if !h.heading("Who owns the configuration", lvs.SourceOwners) {
		return
	}
	if len(h.Owners) == 0 {
		h.add(kit.S(theme.Dim, "nobody was found: changes stay until the next boot"))
	}
	for _, o := range h.Owners {
		h.add(kit.T(kit.Pad(o.Name, 20)), kit.T("owns "+strings.Join(o.Owns, ", ")), kit.S(theme.Dim, "  "+strings.Join(notEmpty(o.Evidence, o.File), "  ")))
	}
}

func (h *hostLines) system() {
	h.heading("System", "")
	h.add(kit.T(strings.Join(notEmpty(h.Snapshot.Host, h.Kernel, h.NetNS, fmt.Sprintf("uid %d", h.UID)), "  ")))
	if len(h.Capabilities) > 0 {
		h.add(kit.S(theme.Dim, "capabilities "+strings.Join(h.Capabilities, ", ")))
	}
	if o := h.Operator; o != nil {
		h.add(kit.S(theme.Dim, strings.TrimSpace("your SSH session comes from "+o.Client.String()+" to "+o.Server.String()+" "+o.Interface)))
	}
}
