// Package capture turns packets into flows: one client connection each, seen from one vantage, judged
// against the stages of an LVS-DR handshake. It is pure. It opens nothing, reads no clock and draws
// nothing: packets come from capture/live or capture/file, and the same packets always give the same flows.
package capture

import (
	"encoding"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Direction says whether a frame came into the capturing host or left it.
type Direction uint8

const (
	Unknown Direction = iota // a file that does not record it
	In
	Out
)

func (d Direction) String() string {
	switch d {
	case In:
		return "in"
	case Out:
		return "out"
	}
	return ""
}

// MarshalText writes "in", "out" or nothing.
func (d Direction) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (d *Direction) UnmarshalText(b []byte) error {
	switch string(b) {
	case "in":
		*d = In
	case "out":
		*d = Out
	case "":
		*d = Unknown
	default:
		return fmt.Errorf("direction %q: want in or out", b)
	}
	return nil
}

// MAC is a hardware address. The zero value means that the capture does not show it.
type MAC [6]byte

var (
	_ encoding.TextMarshaler   = MAC{}
	_ encoding.TextUnmarshaler = (*MAC)(nil)
)

const hexDigits = "0123456789abcdef"

func (m MAC) String() string {
	if m == (MAC{}) {
		return ""
	}
	b := make([]byte, 0, 17)
	for i, x := range m {
		if i > 0 {
			b = append(b, ':')
		}
		b = append(b, hexDigits[x>>4], hexDigits[x&15])
	}
	return string(b)
}

// Multicast is true for group addresses, broadcast among them.
func (m MAC) Multicast() bool { return m[0]&1 == 1 }

// MarshalText writes 00:0c:29:6d:1a:7d, or nothing for an unknown address.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (m *MAC) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*m = MAC{}
		return nil
	}
	p, err := ParseMAC(string(b))
	if err == nil {
		*m = p
	}
	return err
}

var errMAC = errors.New("not a hardware address of six bytes like 00:0c:29:6d:1a:7d")

// ParseMAC reads six colon-separated bytes in hex.
func ParseMAC(s string) (m MAC, err error) {
	if len(s) != 17 {
		return m, errMAC
	}
	for i := range m {
		hi := strings.IndexByte(hexDigits, s[i*3]|0x20)
		lo := strings.IndexByte(hexDigits, s[i*3+1]|0x20)
		if hi < 0 || lo < 0 || i < 5 && s[i*3+2] != ':' {
			return MAC{}, errMAC
		}
		m[i] = byte(hi<<4 | lo)
	}
	return m, nil
}

// TCPFlags are the flag bits of a TCP header.
type TCPFlags uint8

const (
	FIN TCPFlags = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
)

// Has is true if every bit of f is set.
func (t TCPFlags) Has(f TCPFlags) bool { return t&f == f }

// String writes the flags as tcpdump does: S for SYN, "S." for SYN-ACK, "." for ACK alone.
func (t TCPFlags) String() string {
	const order = "FSRP.UEW" // bit i is letter i
	b := make([]byte, 0, 8)
	for i := range 8 {
		if t&(1<<i) != 0 && i != 4 {
			b = append(b, order[i])
		}
	}
	if t.Has(ACK) {
		b = append(b, '.')
	}
	if len(b) == 0 {
		return "none"
	}
	return string(b)
}

// Kind is the protocol of a packet, as far as it matters here.
type Kind uint8

const (
	Other Kind = iota // decoded down to something that is none of the below
	TCP
	UDP
	ICMP // ICMP and ICMPv6 errors and messages
	ARP
)

// Packet is one captured frame, decoded. It holds no slices, so that copying it copies all of it and
// decoding it allocates nothing. Zero values mean "the capture does not say": TTL 0, a zero MAC, and
// IPID when HasIPID is false.
type Packet struct {
	Time      int64 // nanoseconds since 1970 UTC; time of day alone counts from 1970-01-01
	Interface int32 // ifindex, or the interface number of a file
	Dir       Direction
	Kind      Kind
	HasMAC    bool
	HasIPID   bool
	Fragment  bool // a later fragment: no ports
	Tunnel    bool // the fields below are of the packet inside an IPIP packet

	Flags    TCPFlags
	TTL      uint8
	Proto    uint8 // IP protocol number
	VLAN     uint16
	IPID     uint16
	SrcPort  uint16
	DstPort  uint16
	Window   uint16
	Seq, Ack uint32

	PayloadLen int32 // TCP or UDP payload by the IP header, whatever was captured of it
	WireLen    int32 // length of the frame on the wire in bytes

	SrcMAC, DstMAC MAC
	Src, Dst       netip.Addr // for ARP: sender and target protocol address
	OuterDst       netip.Addr // of a tunnelled packet: where the director sent it

	ARP   ARPFields
	Quote Quote // of an ICMP error; type and code are set for every ICMP packet
}

// ARPFields are the fields of an ARP packet that are not in Packet.Src and Dst. A neighbour solicitation of IPv6 is a
// request, an advertisement a reply; the address in question is in Packet.Quote.Dst.
type ARPFields struct {
	Op                   uint16 // 1 request, 2 reply
	Link                 bool   // of Neighbour Discovery: the packet itself names SenderMAC, else it is the frame's
	SenderMAC, TargetMAC MAC
}

// Quote is the packet that an ICMP error complains about. Ports are 0 if the quote is too short.
type Quote struct {
	Type, Code       uint8
	Valid            bool // the error quotes a TCP or UDP packet
	Proto            uint8
	Src, Dst         netip.Addr
	SrcPort, DstPort uint16
	Seq              uint32
}

// When is the packet's time.
func (p *Packet) When() time.Time { return time.Unix(0, p.Time).UTC() }
