package fixes

import (
	"fmt"
	"maps"
	"path"
	"strings"

	"lvstui/lvs"
)

const kindSysctl = "sysctl"

// SetSysctl writes one value below /proc/sys.
type SetSysctl struct {
	// Path is below /proc/sys: "net/ipv4/conf/eth0.100/arp_ignore".
	Path  string `json:"path"`
	Value string `json:"value"`
}

// Kind is "sysctl".
func (st SetSysctl) Kind() string { return kindSysctl }

// Command is the sysctl(8) command line.
func (st SetSysctl) Command() string {
	return "sysctl -w " + shellWord(lvs.SysctlName(st.Path)+"="+st.Value)
}

// Validate refuses paths outside /proc/sys/net and values that are more than one line.
func (st SetSysctl) Validate() error {
	if path.Clean(st.Path) != st.Path || !strings.HasPrefix(st.Path, "net/") || strings.ContainsAny(st.Path, "\x00\n") {
		return fmt.Errorf("%q is no path below /proc/sys/net", st.Path)
	}
	if strings.TrimSpace(st.Value) == "" || strings.ContainsAny(st.Value, "\x00\n") || len(st.Value) > 256 {
		return fmt.Errorf("%q is no value for %s", st.Value, st.Path)
	}
	return nil
}

// Was is the present value.
func (st SetSysctl) Was(s *lvs.Snapshot) string {
	if old, ok := s.Sysctls[st.Path]; ok {
		return "was " + normalValue(old)
	}
	return "could not be read"
}

// Done says that the value is there already.
func (st SetSysctl) Done(s *lvs.Snapshot) bool {
	old, ok := s.Sysctls[st.Path]
	return ok && normalValue(old) == normalValue(st.Value)
}

// Simulate changes the one value and what the routing answers because of it. It refuses keys whose writing changes others
// as well, of which Undo could not know.
func (st SetSysctl) Simulate(s *lvs.Snapshot) (*lvs.Snapshot, error) {
	if err := st.Validate(); err != nil {
		return nil, err
	}
	if why := sideEffects(st.Path); why != "" {
		return nil, fmt.Errorf("%s is not set by lvstui: %s", lvs.SysctlName(st.Path), why)
	}
	if _, ok := s.Sysctls[st.Path]; !ok {
		return nil, fmt.Errorf("%s could not be read on %s: no such key, or no permission", lvs.SysctlName(st.Path), s.Host)
	}
	if st.Done(s) {
		return s, nil
	}
	next := *s
	next.Sysctls = maps.Clone(s.Sysctls)
	next.Sysctls[st.Path] = normalValue(st.Value)
	return withAnswers(s, &next), nil
}

// Undo writes the old value back.
func (st SetSysctl) Undo(s *lvs.Snapshot) ([]Step, error) {
	if st.Done(s) {
		return nil, nil
	}
	old, ok := s.Sysctls[st.Path]
	if !ok {
		return nil, fmt.Errorf("%s could not be read, so it could not be put back", lvs.SysctlName(st.Path))
	}
	return []Step{SetSysctl{st.Path, normalValue(old)}}, nil
}

// sideEffects says what else changes when the key is written, or "" (net/ipv4/devinet.c, net/ipv6/addrconf.c).
func sideEffects(path string) string {
	switch {
	case path == "net/ipv4/ip_forward" || path == "net/ipv4/conf/all/forwarding" || path == "net/ipv6/conf/all/forwarding":
		return "the kernel then also resets forwarding and the keys that hang on it on every interface"
	case strings.HasPrefix(path, "net/ipv4/conf/default/") || strings.HasPrefix(path, "net/ipv6/conf/default/"):
		return "the kernel then also changes the interfaces that have no address yet"
	case strings.HasPrefix(path, "net/ipv6/conf/all/"):
		return "the kernel then also changes interfaces"
	case strings.HasSuffix(path, "/disable_ipv6"):
		return "the kernel then removes every IPv6 address and route of the interface"
	}
	return ""
}

// normalValue is a value as the kernel prints it, whatever blanks it was written with.
func normalValue(v string) string { return strings.Join(strings.Fields(v), "\t") }
