package collect

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// kind is how the bytes of a value are written.
type kind int

const (
	kindHex kind = iota // not known: bytes
	kindAddr
	kindAddr6
	kindPort
	kindProtocol
	kindFamily
	kindName
	kindIndex
	kindMark
	kindState
	kindFlags
	kindMAC
	kindOperation
	kindEther
	kindNumber
	kindAddrType
)

// size is the length of a value in bytes, 0 when it is not known.
func (k kind) size() int {
	return [...]int{kindAddr: 4, kindAddr6: 16, kindPort: 2, kindProtocol: 1, kindFamily: 1, kindName: 16, kindIndex: 4, kindMark: 4,
		kindState: 4, kindFlags: 1, kindMAC: 6, kindOperation: 2, kindEther: 2, kindNumber: 1, kindAddrType: 4}[k]
}

// setTypes are nft's numbers of data types, which it stores with a set (src/include/datatype.h of nftables).
var setTypes = map[uint32]kind{2: kindFamily, 7: kindAddr, 8: kindAddr6, 9: kindMAC, 10: kindEther, 11: kindOperation, 12: kindProtocol,
	13: kindPort, 14: kindNumber, 15: kindFlags, 19: kindMark, 20: kindIndex, 26: kindState, 29: kindNumber, 38: kindAddrType, 41: kindName}

// kinds are those of a set's key: several for a concatenation, whose type holds six bits for each part.
func (s *nftSet) kinds() []kind {
	var out []kind
	for t := s.keyType; t != 0; t >>= 6 {
		out = append([]kind{setTypes[t&0x3f]}, out...)
	}
	if out == nil {
		out = []kind{kindHex}
	}
	return out
}

// write writes one value.
func (k kind) write(b []byte, device func(uint32) string) string {
	if n := k.size(); n > len(b) && k != kindName {
		k = kindHex
	}
	switch k {
	case kindAddr, kindAddr6:
		ip, _ := netip.AddrFromSlice(b[:k.size()])
		return ip.String()
	case kindPort:
		return strconv.Itoa(int(binary.BigEndian.Uint16(b)))
	case kindProtocol:
		return protocolText(b[0])
	case kindFamily:
		return map[byte]string{unix.NFPROTO_IPV4: "ipv4", unix.NFPROTO_IPV6: "ipv6"}[b[0]]
	case kindName:
		name, _, exact := bytes.Cut(b, []byte{0})
		if !exact && len(b) < unix.IFNAMSIZ {
			return string(name) + "*" // compared as far as it goes
		}
		return string(name)
	case kindIndex:
		if device != nil && device(getU32(b)) != "" {
			return device(getU32(b))
		}
		return strconv.Itoa(int(getU32(b)))
	case kindMark:
		return fmt.Sprintf("%#x", getU32(b))
	case kindState:
		return strings.Join(stateNames(getU32(b)), ",")
	case kindFlags:
		return flagNames(b[0])
	case kindMAC:
		return net.HardwareAddr(b[:6]).String()
	case kindOperation:
		n := binary.BigEndian.Uint16(b)
		if name := map[uint16]string{1: "request", 2: "reply"}[n]; name != "" {
			return name
		}
		return strconv.Itoa(int(n))
	case kindEther:
		n := binary.BigEndian.Uint16(b)
		if name := map[uint16]string{unix.ETH_P_IP: "ip", unix.ETH_P_IPV6: "ip6", unix.ETH_P_ARP: "arp"}[n]; name != "" {
			return name
		}
		return fmt.Sprintf("%#04x", n)
	case kindNumber:
		return strconv.Itoa(int(b[0]))
	case kindAddrType:
		if name := map[uint32]string{unix.RTN_UNICAST: "unicast", unix.RTN_LOCAL: "local", unix.RTN_BROADCAST: "broadcast", unix.RTN_MULTICAST: "multicast"}[getU32(b)]; name != "" {
			return name
		}
		return strconv.Itoa(int(getU32(b)))
	}
	return "0x" + hex.EncodeToString(b)
}

// span writes a range: as a prefix where it is one.
func (k kind) span(from, to []byte, device func(uint32) string) string {
	a := k.write(from, device)
	if bytes.Equal(from, to) {
		return a
	}
	if k == kindAddr || k == kindAddr6 {
		if n, ok := prefixLen(from, to); ok {
			return a + "/" + strconv.Itoa(n)
		}
	}
	return a + "-" + k.write(to, device)
}

// prefixLen is the length of the prefix that spans from … to exactly.
func prefixLen(from, to []byte) (int, bool) {
	n, open := 0, false
	for i := range from {
		x := from[i] ^ to[i]
		switch {
		case open:
			if from[i] != 0 || to[i] != 0xff {
				return 0, false
			}
		case x == 0:
			n += 8
		default:
			free := bits.Len8(x)
			if x != 1<<free-1 || from[i]&x != 0 {
				return 0, false
			}
			n += 8 - free
			open = true
		}
	}
	return n, true
}

// maskLen is the length of a mask whose ones come first.
func maskLen(mask []byte) (int, bool) {
	n, open := 0, false
	for _, b := range mask {
		ones := bits.LeadingZeros8(^b)
		if b<<ones != 0 || open && b != 0 {
			return 0, false
		}
		open = open || ones < 8
		n += ones
	}
	return n, true
}

// text writes an element; its parts are padded to four bytes each.
func (s nftSpan) text(kinds []kind) string {
	if s.catchall {
		return "*"
	}
	return strings.Join(s.parts(kinds, nil), " . ")
}

func (s nftSpan) parts(kinds []kind, device func(uint32) string) []string {
	if len(kinds) == 1 {
		return []string{kinds[0].span(s.from, s.to, device)}
	}
	var out []string
	from, to := s.from, s.to
	for _, k := range kinds {
		n := k.size()
		if n == 0 || n > len(from) || n > len(to) {
			return []string{kindHex.span(s.from, s.to, nil)}
		}
		out = append(out, k.span(from[:n], to[:n], device))
		pad := min((n+3)&^3, len(from), len(to))
		from, to = from[pad:], to[pad:]
	}
	return out
}

func stateNames(mask uint32) []string {
	var out []string
	for _, s := range []struct {
		bit  uint32
		name string
	}{{1, "invalid"}, {2, "established"}, {4, "related"}, {8, "new"}, {64, "untracked"}} {
		if mask&s.bit != 0 {
			out = append(out, s.name)
		}
	}
	return out
}

// flagNames writes TCP flags: "syn,ack", or "none".
func flagNames(flags byte) string {
	var out []string
	for i, name := range []string{"fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr"} {
		if flags&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	if out == nil {
		return "none"
	}
	return strings.Join(out, ",")
}

func itoa[T byte | uint16 | uint32 | int](n T) string { return strconv.Itoa(int(n)) }
