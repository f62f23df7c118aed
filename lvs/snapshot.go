package lvs

import (
	"encoding/json"
	"net/netip"
	"slices"
	"time"
)

// SnapshotSchema is the version of Snapshot's JSON. Fields may be added under one number, never renamed.
const SnapshotSchema = 1

// Snapshot is the facts of one host, in one network namespace, at one time.
//
// In every slice, map and pointer below nil means "not read" (a Gap says why) and an empty value means
// "read, and there is nothing". Rules must keep the two apart: what could not be read is unknown, never ok.
// A Snapshot is immutable by convention: change a Clone. Slices are sorted, so equal hosts give equal JSON.
type Snapshot struct {
	Schema  int       `json:"schema"`
	Host    string    `json:"host"`
	TakenAt time.Time `json:"taken_at"`
	Kernel  string    `json:"kernel,omitempty"` // uname -r
	NetNS   string    `json:"netns,omitempty"`  // as /proc/thread-self/ns/net names it: "net:[4026531840]"
	UID     int       `json:"uid"`
	// Capabilities are the effective capabilities that matter here: "CAP_NET_ADMIN", "CAP_NET_RAW".
	Capabilities []string `json:"capabilities"`
	// Operator is the SSH session lvstui was started from, nil when there is none.
	Operator *Session `json:"operator,omitempty"`

	IPVS        *IPVS             `json:"ipvs"`
	Links       []Link            `json:"links"`
	Addresses   []Address         `json:"addresses"`
	Neighbours  []Neighbour       `json:"neighbours"`
	Routes      []Route           `json:"routes"`  // a bounded excerpt, see Route
	Answers     []RouteAnswer     `json:"answers"` // what the kernel answered to RTM_GETROUTE
	PolicyRules []PolicyRule      `json:"policy_rules"`
	Sysctls     map[string]string `json:"sysctls"` // key: path below /proc/sys, "net/ipv4/conf/eth0.100/arp_ignore"
	Sockets     []Socket          `json:"sockets"`
	Clients     []Client          `json:"clients"`
	Netfilter   *Netfilter        `json:"netfilter"`
	Counters    map[string]uint64 `json:"counters"` // "TcpExt.IPReversePathFilter", "Ip.InAddrErrors", "rt_cache.in_martian_src"
	Owners      []Owner           `json:"owners"`
	// Elsewhere are the programs that keep ip_vs tables in other network namespaces of this machine.
	Elsewhere []Owner `json:"elsewhere,omitempty"`
	// Modules is what the kernel has, or could load, of ip_vs.
	Modules *Modules `json:"modules,omitempty"`
	// Machine is what the firmware calls the machine: "Amazon EC2 t3.micro", "VMware, Inc. VMware Virtual Platform".
	Machine string `json:"machine,omitempty"`
	// Files are the configuration files that decide the next boot, sorted by path; nil where no host boots by them: a
	// network namespace of its own, a container.
	Files []ConfigFile `json:"files,omitzero"`

	// Probed is the answers of active tests, nil unless the operator asked for one by name.
	Probed *Probed `json:"probed,omitempty"`

	Gaps []Gap `json:"gaps"`
}

// Source names one part of a Snapshot, for Gap and for Snapshot.Has.
type Source string

const (
	SourceIPVS       Source = "ipvs"
	SourceLinks      Source = "links"
	SourceAddresses  Source = "addresses"
	SourceNeighbours Source = "neighbours"
	SourceRoutes     Source = "routes"
	SourceAnswers    Source = "route-answers"
	SourceRules      Source = "policy-rules"
	SourceSysctls    Source = "sysctls"
	SourceSockets    Source = "sockets"
	SourceClients    Source = "clients"
	SourceNetfilter  Source = "netfilter"
	SourceCounters   Source = "counters"
	SourceOwners     Source = "owners"
	SourceFiles      Source = "files"
	SourceModules    Source = "modules"
	SourceCapture    Source = "capture"
)

// Gap says that a source, or a part of it, could not be read, and why.
type Gap struct {
	Source Source `json:"source"`
	// Reason is for a person: what failed, on what, why, and what to type to see it.
	Reason string `json:"reason"`
	// Capability is what was missing ("CAP_NET_ADMIN"), empty when something else went wrong.
	Capability string `json:"capability,omitempty"`
}

// Session is an SSH session: SSH_CONNECTION's client and server ends, and the interface it comes in on.
type Session struct {
	Client    netip.AddrPort `json:"client"`
	Server    netip.AddrPort `json:"server"`
	Interface string         `json:"interface,omitempty"`
}

// Client is an address that talks, or may talk, to a virtual service; routes are asked for it.
type Client struct {
	Address netip.Addr `json:"address"`
	Virtual netip.Addr `json:"virtual,omitzero"` // the VIP it was seen to talk to
	// Origin is where it was seen: "ipvs" (connection table), "socket", "flow", "operator" (given by name),
	// or "assumed" (nobody was seen; an address of the Internet stands for them).
	// The host's own connections to its VIP are "socket" too, with one of its own addresses.
	Origin string `json:"origin"`
}

// Assumed says that nobody has seen this client.
func (c Client) Assumed() bool { return c.Origin == "assumed" }

// Owner is a program or service that owns a part of the configuration and would undo changes made behind its back.
type Owner struct {
	Name string `json:"name"` // "keepalived", "systemd-networkd", "NetworkManager", "kube-proxy", "ipvsadm.service", …
	// Owns is the parts it owns: "ipvs", "addresses", "routes", "sysctls", "netfilter".
	Owns     []string `json:"owns"`
	Evidence string   `json:"evidence"`       // "process 812 keepalived"
	File     string   `json:"file,omitempty"` // where to write instead
}

// Modules are the kernel modules that matter here, without the ending: "ip_vs_wrr", "br_netfilter".
type Modules struct {
	Loaded []string `json:"loaded"`
	// Installed are the ip_vs modules on disk for the running kernel, or built into it; nil when there is no folder for this kernel,
	// because it was updated and not booted, or because this is a container.
	Installed []string `json:"installed"`
}

// Has tells whether a source was read at all.
func (s *Snapshot) Has(src Source) bool {
	switch src {
	case SourceIPVS:
		return s.IPVS != nil
	case SourceLinks:
		return s.Links != nil
	case SourceAddresses:
		return s.Addresses != nil
	case SourceNeighbours:
		return s.Neighbours != nil
	case SourceRoutes:
		return s.Routes != nil
	case SourceAnswers:
		return s.Answers != nil
	case SourceRules:
		return s.PolicyRules != nil
	case SourceSysctls:
		return s.Sysctls != nil
	case SourceSockets:
		return s.Sockets != nil
	case SourceClients:
		return s.Clients != nil
	case SourceNetfilter:
		return s.Netfilter != nil
	case SourceCounters:
		return s.Counters != nil
	case SourceOwners:
		return s.Owners != nil
	case SourceFiles:
		return s.Files != nil
	}
	return false
}

// Missing returns those of the sources that were not read.
func (s *Snapshot) Missing(srcs ...Source) []Source {
	var out []Source
	for _, src := range srcs {
		if !s.Has(src) {
			out = append(out, src)
		}
	}
	return out
}

// Clone is a deep copy. It goes through JSON, so a field added to Snapshot can not be forgotten here.
func (s *Snapshot) Clone() *Snapshot {
	b, err := json.Marshal(s)
	if err != nil {
		panic("lvs: Snapshot does not marshal: " + err.Error()) // only a field of a type JSON can't hold
	}
	var c Snapshot
	if err := json.Unmarshal(b, &c); err != nil {
		panic("lvs: Snapshot does not unmarshal: " + err.Error())
	}
	return &c
}

// Link returns the link of that name.
func (s *Snapshot) Link(name string) (Link, bool) {
	i := slices.IndexFunc(s.Links, func(l Link) bool { return l.Name == name })
	if i < 0 {
		return Link{}, false
	}
	return s.Links[i], true
}

// AddressesOf returns where an address is configured: one entry per device.
func (s *Snapshot) AddressesOf(ip netip.Addr) []Address {
	var out []Address
	for _, a := range s.Addresses {
		if a.Prefix.Addr() == ip {
			out = append(out, a)
		}
	}
	return out
}
