package collect

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"lvstui/lvs"
)

// Generic netlink of ip_vs (include/uapi/linux/ip_vs.h): commands, and attributes by level.
const (
	genlHeader       = 4
	ctrlFamily       = 0x10 // GENL_ID_CTRL
	ctrlGetFamily    = 3
	ctrlAttrFamilyID = 1
	ctrlAttrName     = 2

	cmdGetService, cmdGetDest, cmdGetDaemon, cmdGetInfo = 4, 8, 11, 15

	attrService, attrDest, attrDaemon = 1, 2, 3

	svcFamily, svcProtocol, svcAddress, svcPort, svcFWMark = 1, 2, 3, 4, 5
	svcStats, svcStats64                                   = 10, 12

	destAddress, destPort, destForward, destWeight      = 1, 2, 3, 4
	destUpper, destLower                                = 5, 6
	destActive, destInactive, destPersistent, destStats = 7, 8, 9, 10
	destFamily, destStats64                             = 11, 12

	statConns, statPacketsIn, statPacketsOut, statBytesIn, statBytesOut = 1, 2, 3, 4, 5

	daemonState, daemonInterface, daemonSyncID = 1, 2, 3
	infoVersion                                = 1
)

// genlReader reads what moby/ipvs leaves out of ip_vs's answers: 64-bit counters, persistent connections,
// the synchronisation daemon, the version, and whether a dump was interrupted.
type genlReader struct {
	*nlconn
	id uint16 // of family IPVS, once asked for
}

func dialGenl(deadline time.Time) (*genlReader, error) {
	nl, err := dialNetlink(unix.NETLINK_GENERIC, deadline)
	if err != nil {
		return nil, err
	}
	return &genlReader{nlconn: nl}, nil
}

// family finds a generic netlink family in the list of all, 0 when it is not there. Asking for one by name would
// make the kernel load its module (ctrl_getfamily, request_module).
func (g *genlReader) family(name string) (uint16, error) {
	var found uint16
	err := again(func() error {
		return g.dump(ctrlFamily, []byte{ctrlGetFamily, 1, 0, 0}, func(m nlmsg) error {
			if len(m.data) < genlHeader {
				return nil
			}
			var id uint16
			match := false
			for typ, v := range attributes(m.data[genlHeader:]) {
				switch typ {
				case ctrlAttrFamilyID:
					id = getU16(v)
				case ctrlAttrName:
					match = getString(v) == name
				}
			}
			if match {
				found = id
			}
			return nil
		})
	})
	g.id = found
	return found, err
}

// dumpNested dumps a command's objects, each the one attribute of its message.
func (g *genlReader) dumpNested(cmd byte, request []byte, attr uint16, each func([]byte) error) error {
	return g.dump(g.id, append([]byte{cmd, 1, 0, 0}, request...), func(m nlmsg) error {
		if len(m.data) < genlHeader {
			return nil
		}
		for typ, v := range attributes(m.data[genlHeader:]) {
			if typ == attr {
				return each(v)
			}
		}
		return nil
	})
}

// serviceExtra is what moby/ipvs does not tell about a service.
type serviceExtra struct{ stats lvs.Stats }

// serviceID tells services apart as the kernel does.
type serviceID struct {
	family, protocol uint16
	address          netip.Addr
	port             uint16
	mark             uint32
}

func serviceKey(family, protocol uint16, address netip.Addr, port uint16, mark uint32) serviceID {
	if mark != 0 {
		return serviceID{family: family, mark: mark}
	}
	return serviceID{family, protocol, address, port, 0}
}

func (g *genlReader) services() (map[serviceID]serviceExtra, error) {
	out := map[serviceID]serviceExtra{}
	err := g.dumpNested(cmdGetService, nil, attrService, func(b []byte) error {
		id, extra := parseServiceExtra(b)
		out[id] = extra
		return nil
	})
	return out, err
}

func parseServiceExtra(b []byte) (serviceID, serviceExtra) {
	var family, protocol, port uint16
	var mark uint32
	var address []byte
	var stats statsPair
	for typ, v := range attributes(b) {
		switch typ {
		case svcFamily:
			family = getU16(v)
		case svcProtocol:
			protocol = getU16(v)
		case svcAddress:
			address = v
		case svcPort:
			port = getBE16(v)
		case svcFWMark:
			mark = getU32(v)
		case svcStats:
			stats.short = v
		case svcStats64:
			stats.long = v
		}
	}
	return serviceKey(family, protocol, ipvsAddr(address, family), port, mark), serviceExtra{stats: stats.parse()}
}

// statsPair is a pair of statistics attributes: 32-bit, and since 4.1 64-bit.
type statsPair struct{ short, long []byte }

func (p statsPair) parse() lvs.Stats {
	b := p.long
	if b == nil {
		b = p.short
	}
	var s lvs.Stats
	for typ, v := range attributes(b) {
		switch typ {
		case statConns:
			s.Connections = getU64(v)
		case statPacketsIn:
			s.PacketsIn = getU64(v)
		case statPacketsOut:
			s.PacketsOut = getU64(v)
		case statBytesIn:
			s.BytesIn = getU64(v)
		case statBytesOut:
			s.BytesOut = getU64(v)
		}
	}
	return s
}

// ipvsAddr reads union nf_inet_addr, which is 16 bytes long for both families.
func ipvsAddr(b []byte, family uint16) netip.Addr {
	if family == unix.AF_INET6 && len(b) >= 16 {
		return netip.AddrFrom16([16]byte(b[:16]))
	}
	if family == unix.AF_INET && len(b) >= 4 {
		return netip.AddrFrom4([4]byte(b[:4]))
	}
	return netip.Addr{}
}

// destinations asks for one service's. family and protocol are the kernel's numbers of that service.
func (g *genlReader) destinations(family, protocol uint16, v lvs.Service) ([]lvs.Destination, error) {
	var id []byte
	id = attribute(id, svcFamily, u16(family))
	if v.FWMark != 0 {
		id = attribute(id, svcFWMark, u32(v.FWMark))
	} else {
		address := [16]byte{}
		copy(address[:], v.Address.AsSlice())
		id = attribute(id, svcProtocol, u16(protocol))
		id = attribute(id, svcAddress, address[:])
		id = attribute(id, svcPort, binary.BigEndian.AppendUint16(nil, v.Port))
	}
	out := []lvs.Destination{}
	err := g.dumpNested(cmdGetDest, attribute(nil, attrService|unix.NLA_F_NESTED, id), attrDest, func(b []byte) error {
		out = append(out, parseDestination(b, family))
		return nil
	})
	return out, err
}

// parseDestination reads a destination. Before 3.18 it does not tell its family: then it is the service's.
func parseDestination(b []byte, family uint16) lvs.Destination {
	var d lvs.Destination
	var address []byte
	var stats statsPair
	for typ, v := range attributes(b) {
		switch typ {
		case destAddress:
			address = v
		case destPort:
			d.Port = getBE16(v)
		case destForward:
			d.Forward = forwardOf(getU32(v))
		case destWeight:
			d.Weight = int(getU32(v))
		case destUpper:
			d.UpperThreshold = getU32(v)
		case destLower:
			d.LowerThreshold = getU32(v)
		case destActive:
			d.ActiveConns = getU32(v)
		case destInactive:
			d.InactiveConns = getU32(v)
		case destPersistent:
			d.PersistConns = getU32(v)
		case destStats:
			stats.short = v
		case destStats64:
			stats.long = v
		case destFamily:
			if f := getU16(v); f != 0 {
				family = f
			}
		}
	}
	d.Address, d.Stats = ipvsAddr(address, family), stats.parse()
	return d
}

// daemons are the synchronisation daemons of this namespace.
func (g *genlReader) daemons() ([]lvs.SyncDaemon, error) {
	out := []lvs.SyncDaemon{}
	err := g.dumpNested(cmdGetDaemon, nil, attrDaemon, func(b []byte) error {
		out = append(out, parseDaemon(b))
		return nil
	})
	return out, err
}

func parseDaemon(b []byte) lvs.SyncDaemon {
	var d lvs.SyncDaemon
	for typ, v := range attributes(b) {
		switch typ {
		case daemonState:
			d.State = map[uint32]string{1: "master", 2: "backup"}[getU32(v)]
		case daemonInterface:
			d.Interface = getString(v)
		case daemonSyncID:
			d.SyncID = getU32(v)
		}
	}
	return d
}

// version is ip_vs's own, "1.2.1".
func (g *genlReader) version() (string, error) {
	version := ""
	err := g.ask(g.id, []byte{cmdGetInfo, 1, 0, 0}, func(m nlmsg) {
		if len(m.data) < genlHeader {
			return
		}
		for typ, v := range attributes(m.data[genlHeader:]) {
			if typ == infoVersion {
				n := getU32(v)
				version = fmt.Sprintf("%d.%d.%d", n>>16&0xff, n>>8&0xff, n&0xff)
			}
		}
	})
	return version, err
}
