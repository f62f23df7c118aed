package capture

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"lvstui/internal/arrange"
)

// ARPSighting is who asked for an address and who claimed it, by ARP or by IPv6's Neighbour Discovery. More than one claiming MAC for a VIP is the
// classic fault of direct routing.
type ARPSighting struct {
	Address  netip.Addr `json:"address"`
	Asked    []ARPHost  `json:"asked"`    // senders of requests for the address
	Answered []ARPHost  `json:"answered"` // senders of replies and gratuitous ARP that give the address as theirs
	Claimed  []ARPHost  `json:"claimed"`  // senders of requests for something else with the address as their own: poisons caches
	// Changes is how the answers followed each other: the first station that gave the address as its own, and each time it was another
	// one than before. Of more than the latest 32 the oldest are gone.
	Changes []ARPChange `json:"changes,omitempty"`
}

// ARPChange says that from a time on the address was answered for by another station.
type ARPChange struct {
	Time time.Time `json:"time"`
	MAC  MAC       `json:"mac"`
}

// ARPReturn is how soon a station that was superseded has to answer again for both to be taken to answer in turn. A VIP that moves
// to another director and, later, back is no conflict.
const ARPReturn = 30 * time.Second

// ComesBack says that two stations answer in turn: one that had been superseded answered again within ARPReturn.
func (s *ARPSighting) ComesBack() bool {
	for i := 2; i < len(s.Changes); i++ {
		if s.Changes[i].Time.Sub(s.Changes[i-1].Time) > ARPReturn {
			continue
		}
		for _, earlier := range s.Changes[:i-1] {
			if earlier.MAC == s.Changes[i].MAC {
				return true
			}
		}
	}
	return false
}

// ARPHost is one station in an ARPSighting. IP is the sender address it gave.
type ARPHost struct {
	MAC       MAC        `json:"mac"`
	IP        netip.Addr `json:"ip"`
	Interface string     `json:"interface,omitempty"`
	Direction Direction  `json:"direction,omitzero"`
	Count     int        `json:"count"`
	First     time.Time  `json:"first"`
	Last      time.Time  `json:"last"`
}

// Bounds against a segment full of ARP.
const (
	maxARPTargets = 512
	maxARPHosts   = 16
	maxARPChanges = 32
)

type arpRole uint8

const (
	arpAsked arpRole = iota
	arpAnswered
	arpClaimed
	numARPRoles
)

type arpHost struct {
	mac         MAC
	ip          netip.Addr
	ifindex     int32
	dir         Direction
	count       int
	first, last int64
}

type arpTable struct {
	targets map[netip.Addr]*arpTarget
}

type arpTarget struct {
	roles   [numARPRoles][]arpHost
	changes []arpChange
}

type arpChange struct {
	time int64
	mac  MAC
}

// answer notes which station answered last. Packets that are a little out of order are no change back.
func (t *arpTarget) answer(mac MAC, at int64) {
	if n := len(t.changes); n > 0 && (t.changes[n-1].mac == mac || at < t.changes[n-1].time) {
		return
	}
	if len(t.changes) == maxARPChanges {
		t.changes = append(t.changes[:0], t.changes[1:]...)
	}
	t.changes = append(t.changes, arpChange{at, mac})
}

func (a *arpTable) add(p *Packet) {
	gratuitous := p.Src == p.Dst
	switch {
	case p.ARP.Op == 2, gratuitous:
		a.note(p.Src, arpAnswered, p)
	case p.ARP.Op == 1:
		a.note(p.Dst, arpAsked, p)
		if p.Src.IsValid() && !p.Src.IsUnspecified() {
			a.note(p.Src, arpClaimed, p)
		}
	}
}

// addND does the same for IPv6: a solicitation asks, and teaches its own address if it carries the sender's MAC; an
// advertisement answers.
func (a *arpTable) addND(p *Packet) {
	target := p.Quote.Dst
	if p.ARP.Op == 2 {
		a.station(target, arpAnswered, target, p)
		return
	}
	a.station(target, arpAsked, p.Src, p)
	if p.ARP.Link && !p.Src.IsUnspecified() {
		a.station(p.Src, arpClaimed, p.Src, p)
	}
}

// note counts one station. Beyond the bounds it forgets newcomers rather than what it knows.
func (a *arpTable) note(target netip.Addr, role arpRole, p *Packet) {
	a.station(target, role, p.Src, p)
}

func (a *arpTable) station(target netip.Addr, role arpRole, ip netip.Addr, p *Packet) {
	if a.targets == nil {
		a.targets = make(map[netip.Addr]*arpTarget)
	}
	t := a.targets[target]
	if t == nil {
		if len(a.targets) >= maxARPTargets {
			return
		}
		t = &arpTarget{}
		a.targets[target] = t
	}
	if role == arpAnswered {
		t.answer(p.ARP.SenderMAC, p.Time)
	}
	roles := &t.roles
	for i := range roles[role] {
		h := &roles[role][i]
		if h.mac == p.ARP.SenderMAC && h.ip == ip && h.ifindex == p.Interface && h.dir == p.Dir {
			h.count++
			h.first, h.last = min(h.first, p.Time), max(h.last, p.Time)
			return
		}
	}
	if len(roles[role]) < maxARPHosts {
		roles[role] = append(roles[role], arpHost{p.ARP.SenderMAC, ip, p.Interface, p.Dir, 1, p.Time, p.Time})
	}
}

// answerers is the number of distinct MACs that gave the address as theirs.
func (a *arpTable) answerers(addr netip.Addr) int {
	t := a.targets[addr]
	if t == nil {
		return 0
	}
	n := 0
	for i, h := range t.roles[arpAnswered] {
		if !slices.ContainsFunc(t.roles[arpAnswered][:i], func(o arpHost) bool { return o.mac == h.mac }) {
			n++
		}
	}
	return n
}

// ARP lists what was seen of ARP for the VIPs: the configured ones, or those that connections were made to.
// It is sorted by address.
func (t *Tracker) ARP() []ARPSighting {
	list := []ARPSighting{}
	for addr, target := range t.arp.targets {
		if _, ok := t.vips[addr]; !ok {
			continue
		}
		s := ARPSighting{Address: addr}
		for role, to := range []*[]ARPHost{&s.Asked, &s.Answered, &s.Claimed} {
			*to = make([]ARPHost, len(target.roles[role]))
			for i, h := range target.roles[role] {
				(*to)[i] = ARPHost{h.mac, h.ip, t.names[h.ifindex], h.dir, h.count,
					time.Unix(0, h.first).UTC(), time.Unix(0, h.last).UTC()}
			}
		}
		for _, c := range target.changes {
			s.Changes = append(s.Changes, ARPChange{time.Unix(0, c.time).UTC(), c.mac})
		}
		list = append(list, s)
	}
	arrange.By(list, func(a, b ARPSighting) int { return a.Address.Compare(b.Address) })
	return slices.Clip(list)
}

// Answerers lists the distinct MACs that gave the address as theirs, in order of first sight.
func (s *ARPSighting) Answerers() []MAC {
	hosts := slices.Clone(s.Answered)
	arrange.By(hosts, func(a, b ARPHost) int { return cmp.Compare(a.First.UnixNano(), b.First.UnixNano()) })
	var macs []MAC
	for _, h := range hosts {
		if !slices.Contains(macs, h.MAC) {
			macs = append(macs, h.MAC)
		}
	}
	return macs
}
