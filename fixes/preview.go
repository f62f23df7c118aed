package fixes

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"lvstui/lvs"
)

// Preview is what the operator is shown before a plan is applied.
type Preview struct {
	Title string        `json:"title"`
	Host  string        `json:"host"`
	Lines []PreviewLine `json:"lines"`
	// Risks is what could happen to the operator's own session, one sentence each; empty when nothing was found.
	Risks []string `json:"risks"`
	// Undo is what takes the whole plan back, in the order it would be done.
	Undo      []string `json:"undo"`
	NextBoot  []string `json:"next_boot"`
	Elsewhere []string `json:"elsewhere"`
	// Brings is what is found once it is done and is not now, of a plan that may take away what works.
	Brings []string `json:"brings,omitempty"`
}

// PreviewLine is one step.
type PreviewLine struct {
	Command string `json:"command"`
	Does    string `json:"does"` // what it does, in words
	Was     string `json:"was"`
	// Undo is the commands that take this step alone back.
	Undo []string `json:"undo"`
}

// Show computes the preview of p on s. It is an error when a step can not be simulated or not be taken back: such a plan is
// not to be offered.
func (p Plan) Show(s *lvs.Snapshot) (Preview, error) {
	v := Preview{Title: p.Title, Host: p.Host, Lines: []PreviewLine{}, Risks: []string{}, Undo: []string{},
		NextBoot: slices.Concat([]string{}, p.NextBoot), Elsewhere: slices.Concat([]string{}, p.Elsewhere)}
	if len(v.NextBoot) == 0 && !p.AsFiles {
		v.NextBoot = append(v.NextBoot, NextBoot(p, s)...)
	}
	now := s
	for i, st := range p.Steps {
		undo, err := st.Undo(now)
		if err != nil {
			return Preview{}, fmt.Errorf("step %d, %s: %w", i+1, st.Command(), err)
		}
		back := Plan{Steps: undo}.Commands()
		v.Lines = append(v.Lines, PreviewLine{Command: st.Command(), Does: Does(st), Was: wasNow(st.Was(now)), Undo: back})
		v.Undo = append(back, v.Undo...)
		if risk := st.Risk(now); risk != "" && !slices.Contains(v.Risks, risk) {
			v.Risks = append(v.Risks, risk)
		}
		if now, err = st.Simulate(now); err != nil {
			return Preview{}, fmt.Errorf("step %d, %s: %w", i+1, st.Command(), err)
		}
	}
	return v, nil
}

// wasNow makes "not there" unmistakable behind words about what will be there.
func wasNow(was string) string {
	if was == "not there" {
		return "not there now"
	}
	return was
}

// Does says in words what a step does.
func Does(st Step) string {
	switch st := st.(type) {
	case SetSysctl:
		return sysctlWords(st)
	case AddAddress:
		return fmt.Sprintf("puts %s on %s", st.Prefix.Addr(), st.Device)
	case DelAddress:
		return fmt.Sprintf("takes %s off %s", st.Prefix, st.Device)
	case AddService:
		return fmt.Sprintf("balances %s with the scheduler %s", st.Service, st.Scheduler)
	case EditService:
		return fmt.Sprintf("balances %s with the scheduler %s", st.Service, st.Scheduler)
	case DelService:
		return fmt.Sprintf("does not balance %s any more", st.Service)
	case AddDestination:
		return shareWords(st)
	case EditDestination:
		return shareWords(AddDestination(st))
	case DelDestination:
		return fmt.Sprintf("sends no more of %s to %s", st.Service, st.Address)
	case AddRoute:
		return "sends packets to " + destinationOf(st.Dst) + " by " + hopWords(st)
	case ReplaceRoute:
		return "sends packets to " + destinationOf(st.Dst) + " by " + hopWords(AddRoute(st))
	case DelRoute:
		return "does not send packets to " + destinationOf(st.Dst) + " by " + hopWords(AddRoute(st)) + " any more"
	case AddRule:
		return fmt.Sprintf("routes such packets by table %d", st.Table)
	case DelRule:
		return fmt.Sprintf("does not route such packets by table %d any more", st.Table)
	}
	return doesMore(st)
}

func shareWords(st AddDestination) string {
	if st.Weight == 0 {
		return fmt.Sprintf("sends no new clients of %s to %s; those that it has stay", st.Service, st.Address)
	}
	return fmt.Sprintf("sends a share of weight %d of %s to %s by %s", st.Weight, st.Service, st.Address, methodWords(st.Forward))
}

func doesMore(st Step) string {
	switch st := st.(type) {
	case SetTimeouts:
		return "keeps idle entries for that many seconds: TCP, TCP after a FIN, UDP; 0 leaves one as it is"
	case AddNeighbour:
		return fmt.Sprintf("sends packets for %s to %s without asking", st.Address, st.MAC)
	case DelNeighbour:
		return fmt.Sprintf("forgets whose MAC %s has, and asks again when it is needed", st.Address)
	case LoadModule:
		return "makes the kernel load " + st.Name + ", for the whole machine"
	case UnloadModule:
		return "unloads " + st.Name + " and what was loaded on top of it, unless it is in use by then"
	case Announce:
		return fmt.Sprintf("tells everybody on the segment that %s is here, %d times, so that no router goes on sending to another MAC", st.Address, Announcements)
	case AddAccept:
		return "lets packets " + serviceOf(st) + " pass in front of every other rule of this chain"
	case DelAccept:
		return "leaves packets " + serviceOf(AddAccept(st)) + " to the other rules of this chain again"
	}
	return ""
}

func serviceOf(st AddAccept) string {
	if st.Replies {
		return fmt.Sprintf("from %s %s", st.Protocol, netip.AddrPortFrom(st.Address, st.Port))
	}
	return fmt.Sprintf("for %s %s", st.Protocol, netip.AddrPortFrom(st.Address, st.Port))
}

func sysctlWords(st SetSysctl) string {
	dir, key := st.Path[:strings.LastIndex(st.Path, "/")+1], st.Path[strings.LastIndex(st.Path, "/")+1:]
	on := ""
	if dev, ok := strings.CutPrefix(strings.TrimSuffix(dir, "/"), "net/ipv4/conf/"); ok {
		on = "on " + dev
		if dev == "all" {
			on = "on every interface"
		}
	}
	switch key + "=" + st.Value {
	case "arp_ignore=1":
		return "answers ARP " + on + " only for addresses that are on the interface asked on: a VIP on lo stays silent"
	case "arp_ignore=0":
		return "answers ARP " + on + " for every address of this host"
	case "arp_announce=2":
		return "asks ARP " + on + " with the interface's own address, never with the VIP"
	case "rp_filter=0":
		return "does not compare sources with the routes " + on
	case "rp_filter=1":
		return "accepts a source " + on + " only where the route back leaves by the same interface"
	case "rp_filter=2":
		return "accepts a source " + on + " when there is any route back to it"
	case "promote_secondaries=1":
		return "keeps the other addresses of a subnet " + on + " when its first one is deleted"
	case "promote_secondaries=0":
		return "deletes the other addresses of a subnet " + on + " with its first one"
	}
	return "sets " + lvs.SysctlName(st.Path) + " to " + st.Value
}

func methodWords(f lvs.Forward) string {
	if f == lvs.Gate {
		return "direct routing"
	}
	return string(f)
}

func destinationOf(p netip.Prefix) string {
	if p.Bits() == 0 {
		return "everybody without a route of their own"
	}
	return p.String()
}

func hopWords(st AddRoute) string {
	if st.Gateway.IsValid() {
		return st.Gateway.String() + " on " + st.Device
	}
	return st.Device
}
