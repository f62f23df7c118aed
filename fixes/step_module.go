package fixes

import (
	"fmt"
	"slices"
	"strings"

	"lvstui/lvs"
)

const (
	kindLoadModule   = "module-load"
	kindUnloadModule = "module-unload"
)

// moduleIPVS is the one module that lvstui loads: the kernel gets schedulers by itself when a virtual service wants one.
const moduleIPVS = "ip_vs"

// LoadModule makes the kernel load a module, for the whole machine. The set of names is closed: "ip_vs".
type LoadModule struct {
	Name string `json:"name"`
}

// UnloadModule takes the module out again, with what was loaded on top of it, unless somebody uses it by then: then it stays.
type UnloadModule LoadModule

// Kind is "module-load".
func (st LoadModule) Kind() string { return kindLoadModule }

// Kind is "module-unload".
func (st UnloadModule) Kind() string { return kindUnloadModule }

// Command is the modprobe(8) command line.
func (st LoadModule) Command() string { return "modprobe " + shellWord(st.Name) }

// Command is the rmmod(8) command line.
func (st UnloadModule) Command() string {
	return fmt.Sprintf("rmmod $(ls /sys/module/%[1]s/holders) %[1]s", shellWord(st.Name))
}

// Validate refuses every other module.
func (st LoadModule) Validate() error {
	if st.Name != moduleIPVS {
		return fmt.Errorf("lvstui loads the module %s and no other, not %q", moduleIPVS, st.Name)
	}
	return nil
}

// Validate refuses every other module.
func (st UnloadModule) Validate() error { return LoadModule(st).Validate() }

// Was says whether it is loaded.
func (st LoadModule) Was(s *lvs.Snapshot) string {
	switch {
	case s.IPVS == nil:
		return "could not be read"
	case s.IPVS.Loaded:
		return "loaded already"
	}
	return "not loaded"
}

// Was says whether it is loaded.
func (st UnloadModule) Was(s *lvs.Snapshot) string { return LoadModule(st).Was(s) }

// Done says that it is loaded.
func (st LoadModule) Done(s *lvs.Snapshot) bool { return s.IPVS != nil && s.IPVS.Loaded }

// Done says that it is not loaded.
func (st UnloadModule) Done(s *lvs.Snapshot) bool { return s.IPVS != nil && !s.IPVS.Loaded }

// Simulate gives an empty table with the time-outs that ip_vs begins with (ip_vs_proto_tcp.c, ip_vs_proto_udp.c).
func (st LoadModule) Simulate(s *lvs.Snapshot) (*lvs.Snapshot, error) {
	if err := st.possible(s); err != nil || st.Done(s) {
		return s, err
	}
	next := *s
	next.IPVS = &lvs.IPVS{Loaded: true, Via: "netlink", Services: []lvs.Service{}, Daemons: []lvs.SyncDaemon{},
		Timeouts: &lvs.Timeouts{TCP: 900, TCPFin: 120, UDP: 300}}
	if s.Modules != nil && !slices.Contains(s.Modules.Loaded, st.Name) {
		modules := *s.Modules
		modules.Loaded = append(slices.Clone(modules.Loaded), st.Name)
		slices.Sort(modules.Loaded)
		next.Modules = &modules
	}
	return &next, nil
}

// Simulate leaves no table.
func (st UnloadModule) Simulate(s *lvs.Snapshot) (*lvs.Snapshot, error) {
	if err := LoadModule(st).possible(s); err != nil || st.Done(s) {
		return s, err
	}
	if len(s.IPVS.Services) > 0 {
		return s, nil // somebody uses it, and it stays
	}
	next := *s
	next.IPVS = &lvs.IPVS{Services: []lvs.Service{}, Daemons: []lvs.SyncDaemon{}}
	if s.Modules != nil {
		modules := *s.Modules
		modules.Loaded = slices.DeleteFunc(slices.Clone(modules.Loaded), func(name string) bool { return strings.HasPrefix(name, st.Name) })
		next.Modules = &modules
	}
	return &next, nil
}

func (st LoadModule) possible(s *lvs.Snapshot) error {
	if err := st.Validate(); err != nil {
		return err
	}
	if s.IPVS == nil {
		return fmt.Errorf("whether %s has %s loaded could not be read", s.Host, st.Name)
	}
	return nil
}

// Undo unloads it.
func (st LoadModule) Undo(s *lvs.Snapshot) ([]Step, error) {
	if st.Done(s) {
		return nil, nil
	}
	return []Step{UnloadModule(st)}, st.possible(s)
}

// Undo loads it.
func (st UnloadModule) Undo(s *lvs.Snapshot) ([]Step, error) {
	if st.Done(s) {
		return nil, nil
	}
	return []Step{LoadModule(st)}, LoadModule(st).possible(s)
}

// Risk is none.
func (st LoadModule) Risk(*lvs.Snapshot) string { return "" }

// Risk is none.
func (st UnloadModule) Risk(*lvs.Snapshot) string { return "" }
