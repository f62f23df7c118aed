package lvs

import (
	"fmt"
	"net/netip"
	"strconv"
)

// IPVS is the state of ip_vs in one network namespace.
type IPVS struct {
	// Loaded says that the kernel has ip_vs: its generic netlink family or /proc/net/ip_vs exists.
	Loaded bool `json:"loaded"`
	// Via is how the tables were read: "netlink", or "proc" (without CAP_NET_ADMIN; no thresholds, no flags).
	Via         string       `json:"via,omitempty"`
	Version     string       `json:"version,omitempty"`
	Services    []Service    `json:"services"`
	Timeouts    *Timeouts    `json:"timeouts,omitempty"`
	Daemons     []SyncDaemon `json:"daemons"` // nil when they could not be asked
	Connections *Connections `json:"connections,omitempty"`
}

// Service is a virtual service: protocol, VIP and port, or a firewall mark.
type Service struct {
	Protocol  Protocol   `json:"protocol,omitempty"`
	Address   netip.Addr `json:"address,omitzero"` // the VIP; invalid for a fwmark service
	Port      uint16     `json:"port"`
	FWMark    uint32     `json:"fwmark,omitempty"`
	IPv6      bool       `json:"ipv6,omitempty"` // address family of a fwmark service
	Scheduler string     `json:"scheduler"`
	// Persistent says that clients stick to a destination for Timeout seconds (IP_VS_SVC_F_PERSISTENT).
	Persistent   bool          `json:"persistent,omitempty"`
	OnePacket    bool          `json:"one_packet,omitempty"`
	Timeout      uint32        `json:"timeout,omitempty"`
	Netmask      string        `json:"netmask,omitempty"`
	Flags        uint32        `json:"flags,omitempty"`
	Stats        Stats         `json:"stats"`
	Destinations []Destination `json:"destinations"`
}

// Name is how an operator writes the service: "172.16.0.8:80", "[2001:db8::8]:80" or "fwmark 7".
func (v Service) Name() string {
	if v.FWMark != 0 {
		return fmt.Sprintf("fwmark %d", v.FWMark)
	}
	return netip.AddrPortFrom(v.Address, v.Port).String()
}

// Key tells services apart: name and protocol, "tcp 172.16.0.8:80".
func (v Service) Key() string {
	if v.FWMark != 0 {
		return v.Name()
	}
	return string(v.Protocol) + " " + v.Name()
}

// Destination is one real server of a virtual service.
type Destination struct {
	Address        netip.Addr `json:"address"` // the RIP
	Port           uint16     `json:"port"`
	Forward        Forward    `json:"forward"`
	Weight         int        `json:"weight"`
	UpperThreshold uint32     `json:"upper_threshold,omitempty"`
	LowerThreshold uint32     `json:"lower_threshold,omitempty"`
	ActiveConns    uint32     `json:"active_conns"`
	InactiveConns  uint32     `json:"inactive_conns"`
	PersistConns   uint32     `json:"persist_conns,omitempty"`
	Stats          Stats      `json:"stats"`
}

// Name is "192.168.10.11:80".
func (d Destination) Name() string { return d.Address.String() + ":" + strconv.Itoa(int(d.Port)) }

// Stats counts since the service or destination was added. With direct routing the outgoing half is always
// zero, because replies do not pass the director.
type Stats struct {
	Connections uint64 `json:"connections"`
	PacketsIn   uint64 `json:"packets_in"`
	PacketsOut  uint64 `json:"packets_out"`
	BytesIn     uint64 `json:"bytes_in"`
	BytesOut    uint64 `json:"bytes_out"`
}

// Timeouts are ip_vs's own, in seconds (ipvsadm --set).
type Timeouts struct {
	TCP    uint32 `json:"tcp"`
	TCPFin uint32 `json:"tcp_fin"`
	UDP    uint32 `json:"udp"`
}

// SyncDaemon is a connection synchronisation daemon.
type SyncDaemon struct {
	State     string `json:"state"` // "master" or "backup"
	Interface string `json:"interface"`
	SyncID    uint32 `json:"sync_id"`
}

// Connections is what a bounded look at the connection table gave.
type Connections struct {
	Read      int            `json:"read"`      // entries read
	Truncated bool           `json:"truncated"` // the bound or the deadline was reached before the end
	ByState   map[string]int `json:"by_state"`  // "SYN_RECV": 12
	Sample    []Connection   `json:"sample"`    // the first ones, sorted
}

// Connection is an entry of /proc/net/ip_vs_conn. With direct routing its state follows the client's packets
// only: SYN_RECV means that the client's ACK has not come through this director.
type Connection struct {
	Protocol    Protocol       `json:"protocol"`
	Client      netip.AddrPort `json:"client"`
	Virtual     netip.AddrPort `json:"virtual"`
	Destination netip.AddrPort `json:"destination"`
	State       string         `json:"state"`
	Expires     int            `json:"expires"` // seconds
}
