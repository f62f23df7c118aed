package capture

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// LinkType is a link-layer header type in libpcap's numbering (pcap-linktype(7)).
type LinkType uint16

const (
	LinkNull      LinkType = 0
	LinkEthernet  LinkType = 1
	LinkRawBSD    LinkType = 12 // raw IP as some systems number it
	LinkRaw       LinkType = 101
	LinkLoop      LinkType = 108
	LinkLinuxSLL  LinkType = 113 // tcpdump -i any: the destination MAC is lost
	LinkIPv4      LinkType = 228
	LinkIPv6      LinkType = 229
	LinkLinuxSLL2 LinkType = 276
)

// Errors of Decode. A frame that is whole but of no interest is not an error: its Kind is Other.
var (
	ErrTruncated = errors.New("frame ends inside a header")
	ErrMalformed = errors.New("header contradicts itself")
	ErrLinkType  = errors.New("link type is not supported")
)

const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherVLAN = 0x8100
	etherQinQ = 0x88a8
	etherIPv6 = 0x86dd

	protoICMP   = 1
	protoIPIP   = 4
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58

	maxVLANTags   = 4 // bounds the loop on hostile frames
	maxV6Headers  = 8
	slPacketHost  = 0
	slPacketOutgo = 4
)

// Decode fills p from a frame that may be cut short behind the headers. It keeps p's Time, and its
// Interface, Dir, VLAN and WireLen unless the frame itself says better; everything else is overwritten.
// It allocates nothing and never panics. On error p holds what was decoded so far.
func Decode(frame []byte, link LinkType, p *Packet) error {
	*p = Packet{Time: p.Time, Interface: p.Interface, Dir: p.Dir, VLAN: p.VLAN, WireLen: p.WireLen}
	if p.WireLen == 0 {
		p.WireLen = int32(len(frame))
	}
	switch link {
	case LinkEthernet:
		return decodeEthernet(frame, p)
	case LinkLinuxSLL:
		return decodeSLL(frame, p)
	case LinkLinuxSLL2:
		return decodeSLL2(frame, p)
	case LinkRaw, LinkRawBSD, LinkIPv4, LinkIPv6:
		return decodeIP(frame, p)
	case LinkNull, LinkLoop:
		if len(frame) < 4 {
			return ErrTruncated
		}
		return decodeIP(frame[4:], p)
	}
	return ErrLinkType
}

func decodeEthernet(b []byte, p *Packet) error {
	if len(b) < 14 {
		return ErrTruncated
	}
	copy(p.DstMAC[:], b[0:6])
	copy(p.SrcMAC[:], b[6:12])
	p.HasMAC = p.SrcMAC != (MAC{}) || p.DstMAC != (MAC{}) // lo has none, nor has what a file's writer took from a tunnel
	return decodeEther(binary.BigEndian.Uint16(b[12:]), b[14:], p)
}

// decodeSLL reads Linux cooked capture version 1: packet type, address type, address length, address, protocol.
func decodeSLL(b []byte, p *Packet) error {
	if len(b) < 16 {
		return ErrTruncated
	}
	p.sllDirection(binary.BigEndian.Uint16(b))
	if binary.BigEndian.Uint16(b[4:]) == 6 {
		copy(p.SrcMAC[:], b[6:12])
	}
	return decodeEther(binary.BigEndian.Uint16(b[14:]), b[16:], p)
}

// decodeSLL2 reads version 2, which also names the interface.
func decodeSLL2(b []byte, p *Packet) error {
	if len(b) < 20 {
		return ErrTruncated
	}
	p.Interface = int32(binary.BigEndian.Uint32(b[4:]))
	p.sllDirection(uint16(b[10]))
	if b[11] == 6 {
		copy(p.SrcMAC[:], b[12:18])
	}
	return decodeEther(binary.BigEndian.Uint16(b), b[20:], p)
}

func (p *Packet) sllDirection(pktType uint16) {
	switch {
	case p.Dir != Unknown:
	case pktType == slPacketOutgo:
		p.Dir = Out
	case pktType < slPacketOutgo:
		p.Dir = In
	}
}

func decodeEther(proto uint16, b []byte, p *Packet) error {
	for range maxVLANTags {
		if proto != etherVLAN && proto != etherQinQ {
			break
		}
		if len(b) < 4 {
			return ErrTruncated
		}
		p.VLAN = binary.BigEndian.Uint16(b) & 0x0fff // the innermost tag is the segment the hosts talk on
		proto = binary.BigEndian.Uint16(b[2:])
		b = b[4:]
	}
	switch proto {
	case etherIPv4, etherIPv6:
		return decodeIP(b, p)
	case etherARP:
		return decodeARP(b, p)
	}
	return nil
}

func decodeARP(b []byte, p *Packet) error {
	if len(b) < 28 {
		return ErrTruncated
	}
	if binary.BigEndian.Uint16(b[2:]) != etherIPv4 || b[4] != 6 || b[5] != 4 {
		return nil
	}
	p.Kind = ARP
	p.ARP.Op = binary.BigEndian.Uint16(b[6:])
	copy(p.ARP.SenderMAC[:], b[8:14])
	copy(p.ARP.TargetMAC[:], b[18:24])
	p.Src = netip.AddrFrom4([4]byte(b[14:18]))
	p.Dst = netip.AddrFrom4([4]byte(b[24:28]))
	return nil
}

func decodeIP(b []byte, p *Packet) error {
	if len(b) < 1 {
		return ErrTruncated
	}
	switch b[0] >> 4 {
	case 4:
		return decodeIPv4(b, p)
	case 6:
		return decodeIPv6(b, p)
	}
	return ErrMalformed
}

func decodeIPv4(b []byte, p *Packet) error {
	if len(b) < 20 {
		return ErrTruncated
	}
	hlen := int(b[0]&15) * 4
	total := int(binary.BigEndian.Uint16(b[2:]))
	if total == 0 { // a GSO frame longer than 64 KiB
		total = len(b)
	}
	if hlen < 20 || total < hlen {
		return ErrMalformed
	}
	p.Src = netip.AddrFrom4([4]byte(b[12:16]))
	p.Dst = netip.AddrFrom4([4]byte(b[16:20]))
	p.TTL, p.Proto = b[8], b[9]
	p.IPID, p.HasIPID = binary.BigEndian.Uint16(b[4:]), true
	if binary.BigEndian.Uint16(b[6:])&0x1fff != 0 {
		p.Fragment = true
		return nil
	}
	if len(b) < hlen {
		return ErrTruncated
	}
	b = b[hlen:]
	if p.Proto == protoIPIP && !p.Tunnel { // one level: a director that forwards by ipip
		p.Tunnel, p.OuterDst = true, p.Dst
		return decodeIP(b, p)
	}
	return decodeTransport(b, total-hlen, p)
}

func decodeIPv6(b []byte, p *Packet) error {
	if len(b) < 40 {
		return ErrTruncated
	}
	rest := int(binary.BigEndian.Uint16(b[4:]))
	p.Src = netip.AddrFrom16([16]byte(b[8:24]))
	p.Dst = netip.AddrFrom16([16]byte(b[24:40]))
	next := b[6]
	p.TTL = b[7]
	if rest == 0 { // jumbogram or GSO
		rest = len(b) - 40
	}
	b = b[40:]
	for range maxV6Headers {
		var n int
		switch next {
		case 0, 43, 60: // hop-by-hop, routing, destination options
			if len(b) < 8 {
				return ErrTruncated
			}
			n = 8 + int(b[1])*8
		case 44:
			if len(b) < 8 {
				return ErrTruncated
			}
			n = 8
			if binary.BigEndian.Uint16(b[2:])&0xfff8 != 0 {
				p.Fragment, p.Proto = true, b[0]
				return nil
			}
		default:
			p.Proto = next
			return decodeTransport(b, rest, p)
		}
		if n > rest {
			return ErrMalformed
		}
		if n > len(b) {
			return ErrTruncated
		}
		next, b, rest = b[0], b[n:], rest-n
	}
	return ErrMalformed
}

// decodeTransport reads the header behind IP. length is what the IP header says is there, b what was captured.
func decodeTransport(b []byte, length int, p *Packet) error {
	switch p.Proto {
	case protoTCP:
		return decodeTCP(b, length, p)
	case protoUDP:
		if len(b) < 8 {
			return ErrTruncated
		}
		p.Kind = UDP
		p.SrcPort, p.DstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
		p.PayloadLen = int32(max(0, length-8))
		return nil
	case protoICMP, protoICMPv6:
		return decodeICMP(b, p)
	}
	return nil
}

func decodeTCP(b []byte, length int, p *Packet) error {
	if len(b) < 20 {
		return ErrTruncated
	}
	hlen := int(b[12]>>4) * 4
	if hlen < 20 || hlen > length {
		return ErrMalformed
	}
	p.Kind = TCP
	p.SrcPort, p.DstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	p.Seq, p.Ack = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
	p.Flags = TCPFlags(b[13])
	p.Window = binary.BigEndian.Uint16(b[14:])
	p.PayloadLen = int32(length - hlen)
	return nil
}

// Neighbour Discovery (RFC 4861) is to IPv6 what ARP is to IPv4.
const (
	ndSolicit    = 135
	ndAdvertise  = 136
	ndSourceLink = 1 // options that hold a link-layer address
	ndTargetLink = 2
)

// decodeND reads a neighbour solicitation or advertisement into p.ARP and, the address in question, p.Quote.Dst. An
// option that does not fit ends the list.
func decodeND(b []byte, p *Packet) error {
	if len(b) < 24 {
		return ErrTruncated
	}
	p.ARP.Op, p.ARP.SenderMAC = 1, p.SrcMAC
	want := byte(ndSourceLink)
	if p.Quote.Type == ndAdvertise {
		p.ARP.Op, want = 2, ndTargetLink
	}
	p.Quote.Dst = netip.AddrFrom16([16]byte(b[8:24]))
	for b = b[24:]; len(b) >= 8 && b[1] > 0 && int(b[1])*8 <= len(b); b = b[int(b[1])*8:] {
		if b[0] == want {
			copy(p.ARP.SenderMAC[:], b[2:8])
			p.ARP.Link = true
			break
		}
	}
	return nil
}

// decodeICMP reads type and code and, of an error, the quoted header: IP plus at least eight bytes (RFC 792).
func decodeICMP(b []byte, p *Packet) error {
	if len(b) < 4 {
		return ErrTruncated
	}
	p.Kind = ICMP
	q := &p.Quote
	q.Type, q.Code = b[0], b[1]
	if p.Proto == protoICMPv6 && (q.Type == ndSolicit || q.Type == ndAdvertise) {
		return decodeND(b, p)
	}
	v4error := p.Proto == protoICMP && (q.Type == 3 || q.Type == 4 || q.Type == 5 || q.Type == 11 || q.Type == 12)
	v6error := p.Proto == protoICMPv6 && q.Type < 128
	if !v4error && !v6error || len(b) < 8 {
		return nil
	}
	b = b[8:]
	switch {
	case v4error && len(b) >= 20 && b[0]>>4 == 4:
		hlen := int(b[0]&15) * 4
		if hlen < 20 || binary.BigEndian.Uint16(b[6:])&0x1fff != 0 {
			return nil
		}
		q.Proto = b[9]
		q.Src, q.Dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		b = b[min(hlen, len(b)):]
	case v6error && len(b) >= 40 && b[0]>>4 == 6:
		q.Proto = b[6]
		q.Src, q.Dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		b = b[40:]
	default:
		return nil
	}
	if q.Proto != protoTCP && q.Proto != protoUDP || len(b) < 8 {
		return nil
	}
	q.SrcPort, q.DstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	q.Seq = binary.BigEndian.Uint32(b[4:])
	q.Valid = true
	return nil
}
