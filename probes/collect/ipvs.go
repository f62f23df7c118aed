package collect

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"net"
	"net/netip"

	"github.com/moby/ipvs"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"lvstui/internal/arrange"
	"lvstui/lvs"
)

// Flags of a virtual service (include/uapi/linux/ip_vs.h).
const (
	svcPersistent = 0x1
	svcOnePacket  = 0x4
)

// readIPVS reads the tables over netlink, or as far as it goes from /proc/net/ip_vs without CAP_NET_ADMIN.
func (c *collector) readIPVS() {
	gen, err := dialGenl(c.deadline)
	if err != nil {
		c.gapError(lvs.SourceIPVS, "ip_vs (generic netlink)", err)
		return
	}
	defer gen.Close()
	family, err := gen.family("IPVS")
	if err != nil {
		c.gap(lvs.SourceIPVS, "ip_vs: the list of generic netlink families: %v", err)
		return
	}
	if family == 0 {
		c.s.IPVS = &lvs.IPVS{Services: []lvs.Service{}, Daemons: []lvs.SyncDaemon{}}
		return
	}
	var table *lvs.IPVS
	err = again(func() error {
		table, err = readTables(gen)
		return err
	})
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		table, err = c.readProcTables()
		if err == nil {
			c.gapCapability(lvs.SourceIPVS, "ip_vs: thresholds, persistence timeouts, exact counters, time-outs and the synchronisation daemon (only /proc/net/ip_vs was readable)", "CAP_NET_ADMIN")
		}
	}
	if errors.Is(err, unix.ENOENT) {
		// moby/ipvs asks for the family's number once in the life of a process, and it is another one now.
		c.gap(lvs.SourceIPVS, "ip_vs tables: ip_vs was unloaded and loaded again since lvstui started; start lvstui again")
		return
	}
	if err != nil {
		c.gapError(lvs.SourceIPVS, "ip_vs tables (ipvsadm -Ln)", err)
		return
	}
	sortServices(table.Services)
	c.s.IPVS = table
	c.readConnections()
}

// readTables reads services and time-outs through moby/ipvs and the rest, which that library leaves out, through
// genlReader. A table that changed between the two readings gives errInterrupted.
func readTables(gen *genlReader) (*lvs.IPVS, error) {
	h, err := openIPVS()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	services, err := h.GetServices()
	if err != nil {
		return nil, err
	}
	more, err := gen.services()
	if err != nil {
		return nil, err
	}
	if len(more) != len(services) {
		return nil, errInterrupted
	}
	table := &lvs.IPVS{Loaded: true, Via: "netlink", Services: make([]lvs.Service, 0, len(services))}
	for _, s := range services {
		v, err := convertService(s)
		if err != nil {
			return nil, err
		}
		extra, ok := more[serviceKey(s.AddressFamily, s.Protocol, v.Address, v.Port, v.FWMark)]
		if !ok {
			return nil, errInterrupted
		}
		v.Stats = extra.stats
		if v.Destinations, err = gen.destinations(s.AddressFamily, s.Protocol, v); err != nil {
			if errors.Is(err, unix.ESRCH) {
				err = errInterrupted // the service was removed meanwhile
			}
			return nil, err
		}
		table.Services = append(table.Services, v)
	}
	timeouts, err := h.GetConfig()
	if err != nil {
		return nil, err
	}
	table.Timeouts = &lvs.Timeouts{TCP: uint32(timeouts.TimeoutTCP.Seconds()), TCPFin: uint32(timeouts.TimeoutTCPFin.Seconds()),
		UDP: uint32(timeouts.TimeoutUDP.Seconds())}
	if table.Version, err = gen.version(); err != nil {
		return nil, err
	}
	table.Daemons, err = gen.daemons()
	return table, err
}

// openIPVS opens moby/ipvs's handle in the thread's namespace. It is called only when ip_vs is there: the library
// runs modprobe, which then changes nothing, and caches the family's number for the life of the process, which
// would stay wrong if ip_vs came later. It also logs to standard error, where the screen is.
func openIPVS() (*ipvs.Handle, error) {
	logrus.SetOutput(io.Discard)
	return ipvs.New("")
}

// convertService translates moby/ipvs's type at the rim.
func convertService(s *ipvs.Service) (lvs.Service, error) {
	v := lvs.Service{FWMark: s.FWMark, IPv6: s.AddressFamily == unix.AF_INET6, Scheduler: s.SchedName, Flags: s.Flags,
		Persistent: s.Flags&svcPersistent != 0, OnePacket: s.Flags&svcOnePacket != 0}
	if v.Persistent {
		v.Timeout = s.Timeout
		v.Netmask = maskText(s.Netmask, v.IPv6)
	}
	if v.FWMark != 0 {
		return v, nil
	}
	v.IPv6 = false // said by the address
	v.Protocol, v.Port = protocolOf(s.Protocol), s.Port
	ip, ok := netip.AddrFromSlice(s.Address)
	if !ok {
		return v, fmt.Errorf("ip_vs: a virtual service with an address of %d bytes", len(s.Address))
	}
	v.Address = ip
	return v, nil
}

// maskText is a persistence granularity as ipvsadm takes it: "255.255.255.0", or "64" for IPv6; "" when each client
// stands for itself. The kernel keeps an IPv4 mask in network byte order and an IPv6 one as a length.
func maskText(mask uint32, v6 bool) string {
	if v6 {
		if mask == 128 || mask == 0 {
			return ""
		}
		return fmt.Sprint(mask)
	}
	b := binary.NativeEndian.AppendUint32(nil, mask)
	if bits.OnesCount32(mask) == 32 {
		return ""
	}
	return net.IP(b).String()
}

func protocolOf(n uint16) lvs.Protocol {
	switch n {
	case unix.IPPROTO_TCP:
		return lvs.TCP
	case unix.IPPROTO_UDP:
		return lvs.UDP
	case unix.IPPROTO_SCTP:
		return lvs.SCTP
	}
	return lvs.Protocol(fmt.Sprint(n))
}

// forwardOf names IP_VS_CONN_F_FWD_MASK.
func forwardOf(flags uint32) lvs.Forward {
	switch flags & ipvs.ConnFwdMask {
	case ipvs.ConnFwdMasq:
		return lvs.Masq
	case ipvs.ConnFwdLocalNode:
		return lvs.Local
	case ipvs.ConnFwdTunnel:
		return lvs.IPIP
	case ipvs.ConnFwdDirectRoute:
		return lvs.Gate
	case ipvs.ConnFwdBypass:
		return lvs.Bypass
	}
	return lvs.Forward(fmt.Sprint(flags & ipvs.ConnFwdMask))
}

func sortServices(services []lvs.Service) {
	arrange.By(services, func(a, b lvs.Service) int {
		return cmp.Or(cmp.Compare(a.FWMark, b.FWMark), a.Address.Compare(b.Address), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Protocol, b.Protocol), compareBool(a.IPv6, b.IPv6))
	})
	for i := range services {
		arrange.By(services[i].Destinations, func(a, b lvs.Destination) int {
			return cmp.Or(a.Address.Compare(b.Address), cmp.Compare(a.Port, b.Port))
		})
	}
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
