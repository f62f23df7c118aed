package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"lvstui/capture"
	"lvstui/capture/file"
	"lvstui/capture/live"
	"lvstui/lvs"
	"lvstui/probes"
)

// shownFlows is how many of the latest flows are looked at each time; the tracker remembers more.
const shownFlows = 2000

// ear is a live capture with its tracker. It is opened in the calling thread's network namespace and may then be run anywhere.
type ear struct {
	capture *live.Capture
	config  capture.Config
	began   time.Time
	only    []string // interfaces asked for

	neighbours map[capture.MAC]netip.Addr // of this host's destinations

	mu      sync.Mutex
	tracker *capture.Tracker
	batch   []*capture.Packet // of one call of hear
	named   map[int32]bool
	save    *file.Rotating
	saveErr error
	// want says which packets are saved, nil means all; saved counts them, from savedAt on.
	want    func(*capture.Packet) bool
	saved   uint64
	savedAt time.Time
}

// openEar listens for the virtual services of a host.
func openEar(s *lvs.Snapshot, interfaces []string) (*ear, error) {
	return openEarWith(s, interfaces, capture.Config{}, 0)
}

// openEarWith opens a capture as cfg says. Without VIPs in cfg a director listens for those of its services. Anywhere else it listens
// to everything, because a real server may be sent packets for a VIP it does not know of. blocks is the ring's size, 0 for the usual one.
func openEarWith(s *lvs.Snapshot, interfaces []string, cfg capture.Config, blocks int) (*ear, error) {
	if len(cfg.Virtuals) == 0 && s.IPVS != nil {
		for _, v := range s.IPVS.Services {
			if v.FWMark != 0 {
				cfg.Virtuals = nil // a firewall mark may stand for any address
				break
			}
			if !slices.Contains(cfg.Virtuals, v.Address) {
				cfg.Virtuals = append(cfg.Virtuals, v.Address)
			}
		}
	}
	if len(cfg.UDP) == 0 && s.IPVS != nil {
		for _, v := range s.IPVS.Services {
			if v.Protocol == lvs.UDP && v.FWMark == 0 {
				cfg.UDP = append(cfg.UDP, netip.AddrPortFrom(v.Address, v.Port))
			}
		}
	}
	if len(cfg.UDP) == 0 {
		cfg.UDP = datagramServices(s)
	}
	if len(cfg.Virtuals) > maxFilterVIPs {
		cfg.Virtuals = nil
	}
	for _, a := range s.Addresses {
		cfg.LocalAddrs = append(cfg.LocalAddrs, a.Prefix.Addr())
	}
	for _, l := range s.Links {
		if mac, err := capture.ParseMAC(l.MAC); err == nil && !l.Loopback() {
			cfg.LocalMACs = append(cfg.LocalMACs, mac)
		}
	}
	cfg.RealServers = destinationMACs(s)
	cfg.NoServices = s.IPVS != nil && len(s.IPVS.Services) == 0
	cfg.Partial = cfg.Partial || leavesOut(s, interfaces)
	if cfg.Vantage == "" && len(cfg.Virtuals) > 0 && onlyDirects(s) {
		cfg.Vantage = lvs.RoleDirector
	}
	virtuals, ports := withRewritten(s, cfg)
	c, err := live.Open(live.Options{Virtuals: virtuals, Ports: ports, Interfaces: interfaces,
		SSHConnection: os.Getenv("SSH_CONNECTION"), Blocks: blocks})
	if err != nil {
		return nil, err
	}
	return &ear{capture: c, config: cfg, began: time.Now(), only: interfaces, neighbours: destinationsByMAC(s), tracker: capture.NewTracker(cfg), named: map[int32]bool{}}, nil
}

// maxDatagramServices bounds what is followed over UDP on a real server.
const maxDatagramServices = 1024

// datagramServices are the services over UDP that a real server may have: a socket's port at each address that looks like a VIP.
func datagramServices(s *lvs.Snapshot) []netip.AddrPort {
	var out []netip.AddrPort
	for _, vip := range probes.Parked(s) {
		for _, sock := range s.Sockets {
			v := netip.AddrPortFrom(vip, sock.Port)
			if a := sock.Address.Unmap(); sock.Protocol == lvs.UDP && (a == vip || a.IsUnspecified()) && len(out) < maxDatagramServices && !slices.Contains(out, v) {
				out = append(out, v)
			}
		}
	}
	return out
}

// withRewritten adds to the addresses and ports that are listened for those of destinations that a director rewrites packets for (masq):
// without them nothing is seen to leave for the real server. One too many is enough: the filter then lets all through.
func withRewritten(s *lvs.Snapshot, cfg capture.Config) (virtuals []netip.Addr, ports []uint16) {
	virtuals, ports = slices.Clone(cfg.Virtuals), slices.Clone(cfg.Ports)
	if s.IPVS == nil {
		return virtuals, ports
	}
	for _, v := range s.IPVS.Services {
		asked := (len(cfg.Ports) == 0 || slices.Contains(cfg.Ports, v.Port)) && (len(cfg.Virtuals) == 0 || slices.Contains(cfg.Virtuals, v.Address))
		if v.FWMark == 0 && !asked {
			continue
		}
		for _, d := range v.Destinations {
			if d.Forward != lvs.Masq {
				continue
			}
			if n := len(virtuals); n > 0 && n <= maxFilterVIPs && !slices.Contains(virtuals, d.Address) {
				virtuals = append(virtuals, d.Address)
			}
			if n := len(ports); n > 0 && n <= maxFilterVIPs && !slices.Contains(ports, d.Port) {
				ports = append(ports, d.Port)
			}
		}
	}
	return virtuals, ports
}

// destinationMACs are the MACs of this director's destinations, as far as the neighbour table has them.
func destinationMACs(s *lvs.Snapshot) []capture.MAC {
	return slices.Collect(maps.Keys(destinationsByMAC(s)))
}

func destinationsByMAC(s *lvs.Snapshot) map[capture.MAC]netip.Addr {
	if s.IPVS == nil {
		return nil
	}
	rips := map[netip.Addr]bool{}
	for _, v := range s.IPVS.Services {
		for _, d := range v.Destinations {
			rips[d.Address] = true
		}
	}
	out := map[capture.MAC]netip.Addr{}
	for _, n := range s.Neighbours {
		if mac, err := capture.ParseMAC(n.MAC); err == nil && rips[n.Address] && len(out) < 1024 {
			out[mac] = n.Address
		}
	}
	return out
}

// leavesOut is true if the host has an interface that carries packets and is not among those asked for. What a member
// of a bond or bridge carries shows on the bond or bridge too.
func leavesOut(s *lvs.Snapshot, interfaces []string) bool {
	return len(interfaces) > 0 && slices.ContainsFunc(s.Links, func(l lvs.Link) bool {
		return l.Up && !l.Loopback() && l.Kind != "dummy" && !slices.Contains(interfaces, l.Name) && !slices.Contains(interfaces, l.Master)
	})
}

// onlyDirects is true if the host has virtual services and serves none of them itself: what it sees of their flows
// it sees as the director. A host that is a destination too may be asked by another director.
func onlyDirects(s *lvs.Snapshot) bool {
	if s.IPVS == nil || len(s.IPVS.Services) == 0 {
		return false
	}
	for _, v := range s.IPVS.Services {
		for _, d := range v.Destinations {
			if slices.ContainsFunc(s.Addresses, func(a lvs.Address) bool { return a.Prefix.Addr() == d.Address }) {
				return false
			}
		}
	}
	return true
}

// maxFilterVIPs keeps the kernel's packet filter within its 4096 instructions; a director of more VIPs listens to all.
const maxFilterVIPs = 64

// run listens until ctx ends.
func (e *ear) run(ctx context.Context) error {
	err := e.capture.Run(ctx, e.hear)
	e.capture.Close()
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	return nil
}

// now tells the tracker how late it is, which it must know before it says what is missing. The ring hands packets over up to 10 ms late, and under
// load later: a moment behind the clock is certain. e.mu is held.
func (e *ear) now() *capture.Tracker {
	e.tracker.Advance(time.Now().Add(-200 * time.Millisecond))
	return e.tracker
}

func (e *ear) hear(frames []live.Frame) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range frames {
		f := &frames[i]
		if !e.named[f.Interface] {
			e.named[f.Interface] = true
			name := e.capture.Interfaces()[f.Interface]
			e.tracker.SetInterface(f.Interface, name)
			if e.save != nil {
				e.save.AddInterface(f.Interface, name)
			}
		}
		e.batch = append(e.batch, &f.Packet)
		if e.save != nil && e.saveErr == nil && (e.want == nil || e.want(&f.Packet)) {
			e.saveErr = e.save.Write(&f.Packet, f.Data, f.Link)
			e.saved++
		}
	}
	e.tracker.AddBatch(e.batch)
	e.batch = e.batch[:0]
}

// flows are the latest ones, oldest first.
func (e *ear) flows() []capture.Flow {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.now().Recent(shownFlows)
}

// latest are the latest flows, oldest first, the last of them with their frames, for the ladder.
func (e *ear) latest(withEvents int) []capture.Flow {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.now().Latest(shownFlows, withEvents)
}

// allFlows are those the tracker remembers, oldest first.
func (e *ear) allFlows() []capture.Flow {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.now().Flows()
}

func (e *ear) arp() []capture.ARPSighting {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.tracker.ARP()
}

// earStats are the capture's counts since it began.
type earStats struct {
	Packets, Dropped uint64
	Sample           int
}

func (e *ear) stats() earStats {
	s := e.capture.Stats()
	return earStats{s.Packets, s.Drops, s.Sample}
}

func (e *ear) interfaces() []string {
	if len(e.only) > 0 {
		return e.only
	}
	var names []string
	for _, n := range e.capture.Interfaces() {
		if n != "" && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return names
}

func (e *ear) where() string {
	if len(e.only) > 0 {
		return strings.Join(e.only, ", ")
	}
	return "all interfaces"
}

func (e *ear) what() string {
	if len(e.config.Virtuals) == 0 {
		return "every TCP connection"
	}
	a := addrs(e.config.Virtuals)
	return a.String()
}

// saveTo also writes every packet to pcapng files of the given size, of which it keeps so many.
func (e *ear) saveTo(name string, size int64, keep int) (err error) {
	if e.save, err = file.Create(name, size, keep); err != nil {
		e.save = nil
		return withHint(fmt.Errorf("--write: %w", err), "another file name: lvstui does not overwrite captures")
	}
	return nil
}

// savedVerdicts is how many flows' verdicts are written into the file's comments, the latest.
const savedVerdicts = 1000

// close finishes the file of saveTo with the counts of drops and what became of the flows.
func (e *ear) close() error {
	if e.save == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	st := e.capture.Stats()
	end := file.Statistics{Time: time.Now().UnixNano(), Received: st.Packets, Dropped: st.Drops}
	for _, f := range e.now().Recent(savedVerdicts) {
		end.Comments = append(end.Comments, verdict(f))
	}
	if err := errors.Join(e.saveErr, e.save.Close(end)); err != nil {
		return fmt.Errorf("--write: %w", err)
	}
	return nil
}

// observation is what this capture adds to a look at the host. The latest flows come with their frames.
func (e *ear) observation(s *lvs.Snapshot, withEvents int) probes.Observation {
	if words := e.losses(); len(words) > 0 {
		s.Gaps = append(s.Gaps, lvs.Gap{Source: lvs.SourceCapture, Reason: strings.Join(words, "; ")})
	}
	return probes.Observation{Snapshot: s, Flows: e.latest(withEvents), ARP: e.arp(), Listened: time.Since(e.began)}
}

// clientsOf are the addresses that flows came from, for the routes to be asked for.
func clientsOf(flows []capture.Flow) []netip.Addr {
	var out []netip.Addr
	for _, f := range slices.Backward(flows) {
		if ip := f.Client.Addr(); !slices.Contains(out, ip) {
			out = append(out, ip)
		}
		if len(out) == 8 {
			break
		}
	}
	return out
}
