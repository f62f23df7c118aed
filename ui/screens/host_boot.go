package screens

import (
	"fmt"
	"slices"
	"strings"

	"lvstui/fixes/nextboot"
	"lvstui/lvs"
	"lvstui/ui/kit"
	"lvstui/ui/theme"
)

// bootFacts is what the files of a snapshot give at the next boot, worked out once for each snapshot.
type bootFacts struct {
	of   *lvs.Snapshot
	boot nextboot.Boot
	read bool
}

func (b *bootFacts) facts(s *lvs.Snapshot) *bootFacts {
	if b.of != s {
		b.of = s
		b.boot, b.read = nextboot.After(s)
	}
	return b
}

// nextBoot compares what runs with what the files give at the next boot, for what LVS needs: VIPs, sysctls, the table of ip_vs.
func (h *hostLines) nextBoot(b *bootFacts) {
	if !h.heading("The next boot, against what runs now", "") {
		return
	}
	if !b.read {
		h.add(kit.S(theme.Unknown, "? there are no files here by which a host boots, or they were not read"))
		return
	}
	before := len(h.out)
	for _, line := range slices.Concat(h.bootAddresses(b.boot), h.bootSysctls(b.boot), h.bootTable(b.boot)) {
		h.out = append(h.out, line...)
	}
	if len(h.out) == before {
		h.add(kit.S(theme.Dim, "there is nothing here that LVS needs"))
	}
}

// drift is one line: what, how it is now, how it will be, and which file says so.
func (h *hostLines) drift(same bool, what, now, then, where string) []kit.Line {
	role := theme.OK
	if !same {
		role = theme.Warn
	}
	text := what + ": " + now
	if same {
		text += ", and so after the next boot"
	} else {
		text += " now, " + then + " after the next boot"
	}
	if where != "" {
		text += " (" + where + ")"
	}
	return kit.Item(kit.S(role, Glyph(role)+" "), theme.Plain, text, h.width)
}

func (h *hostLines) bootAddresses(b nextboot.Boot) (out [][]kit.Line) {
	for _, vip := range h.vips() {
		var now, then, where []string
		for _, a := range h.AddressesOf(vip) {
			now = append(now, a.Device)
		}
		for _, a := range b.AddressesOf(vip) {
			if !slices.Contains(then, a.Device) {
				then = append(then, a.Device)
			}
			where = append(where, a.File)
		}
		slices.Sort(now)
		slices.Sort(then)
		switch {
		case len(now) == 0 && len(then) == 0:
		case len(then) == 0 && h.owned("addresses") != "":
			out = append(out, kit.Item(kit.S(theme.OK, "· "), theme.Plain, fmt.Sprintf("%s: on %s now; %s puts it there", vip, strings.Join(now, ", "), h.owned("addresses")), h.width))
		default:
			out = append(out, h.drift(slices.Equal(now, then), vip.String(), onWords(now), onWords(then), strings.Join(where, ", ")))
		}
	}
	return out
}

func onWords(devices []string) string {
	if len(devices) == 0 {
		return "nowhere"
	}
	return "on " + strings.Join(devices, ", ")
}

// owned is who keeps a part of the configuration by itself, "" when nobody does: keepalived moves VIPs and fills the table.
func (h *hostLines) owned(part string) string {
	for _, o := range h.Owners {
		if slices.Contains(o.Owns, part) && (o.Name == "keepalived" || o.Name == "ldirectord" || o.Name == "kube-proxy") {
			return o.Name
		}
	}
	return ""
}

func (h *hostLines) bootSysctls(b nextboot.Boot) (out [][]kit.Line) {
	devices := []string{"all"}
	for _, l := range h.Links {
		devices = append(devices, l.Name)
	}
	for _, key := range effectiveKeys {
		for _, dev := range devices {
			path := lvs.ConfPath(dev, key)
			now, known := h.Snapshot.Sysctls[path]
			then, at, given := b.Sysctl(path)
			switch {
			case !known || !given && (now == "0" || key == "rp_filter" || dev != "all"):
				// a device's own value comes from conf/default, or from the network's manager
			case given:
				out = append(out, h.drift(now == then, lvs.SysctlName(path), now, then, at.File))
			default:
				out = append(out, h.drift(false, lvs.SysctlName(path), now, "not set by any file", ""))
			}
		}
	}
	return out
}

func (h *hostLines) bootTable(b nextboot.Boot) (out [][]kit.Line) {
	if h.IPVS == nil || len(h.IPVS.Services) == 0 && b.Table == nil {
		return nil
	}
	now := plural(len(h.IPVS.Services), "virtual service")
	switch {
	case h.owned("ipvs") != "":
		return append(out, kit.Item(kit.S(theme.OK, "· "), theme.Plain, "the table of ip_vs: "+now+"; "+h.owned("ipvs")+" fills it", h.width))
	case b.Table == nil:
		return append(out, h.drift(false, "the table of ip_vs", now, "nothing", "no service restores it"))
	case !b.Table.On:
		return append(out, h.drift(len(h.IPVS.Services) == 0, "the table of ip_vs", now, "nothing", "the service that would restore "+b.Table.File+" is off"))
	case b.Table.SavedAtStop:
		return append(out, h.drift(true, "the table of ip_vs", now, now, "saved to "+b.Table.File+" when the host goes down"))
	}
	same := len(h.IPVS.Services) == len(b.Table.Services)
	for _, v := range h.IPVS.Services {
		same = same && slices.ContainsFunc(b.Table.Services, func(w lvs.Service) bool { return nextboot.SameService(v, w, true) })
	}
	then := plural(len(b.Table.Services), "virtual service")
	if !same && then == now {
		then = "others"
	}
	return append(out, h.drift(same, "the table of ip_vs", now, then, b.Table.File))
}
