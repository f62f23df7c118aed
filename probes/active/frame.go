//go:build linux

package active

import (
	"encoding/binary"
	"net/netip"

	"lvstui/capture"
)

const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherIPv6 = 0x86dd

	protoTCP    = 6
	protoICMPv6 = 58

	synWindow = 64240
	hops      = 64
)

var broadcast = capture.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

func ethernet(dst, src capture.MAC, proto uint16, payload []byte) []byte {
	b := make([]byte, 0, 14+len(payload))
	b = append(append(b, dst[:]...), src[:]...)
	b = binary.BigEndian.AppendUint16(b, proto)
	return append(b, payload...)
}

// arpRequest asks who has target. A sender of 0.0.0.0 is the form of address conflict detection (RFC 5227), which no cache learns from.
func arpRequest(from capture.MAC, sender, target netip.Addr) []byte {
	b := []byte{0, 1, 8, 0, 6, 4, 0, 1}
	b = append(b, from[:]...)
	if sender.IsValid() {
		b = append(b, sender.AsSlice()...)
	} else {
		b = append(b, 0, 0, 0, 0)
	}
	b = append(b, make([]byte, 6)...)
	b = append(b, target.AsSlice()...)
	return ethernet(broadcast, from, etherARP, b)
}

// solicitation asks for an IPv6 neighbour from a link-local address. The other form, from ::, is never sent: its answer goes to all
// nodes with the override flag set (net/ipv6/ndisc.c, ndisc_recv_ns), so a wrong answer would poison every cache on the segment.
func solicitation(from capture.MAC, sender, target netip.Addr) []byte {
	t := target.As16()
	group := netip.AddrFrom16([16]byte{0xff, 2, 11: 1, 12: 0xff, 13: t[13], 14: t[14], 15: t[15]})
	m := append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, t[:]...)
	m = append(append(m, 1, 1), from[:]...)
	binary.BigEndian.PutUint16(m[2:], checksum(pseudo(sender, group, protoICMPv6, len(m)), m))
	return ethernet(capture.MAC{0x33, 0x33, 0xff, t[13], t[14], t[15]}, from, etherIPv6, ipPacket(sender, group, protoICMPv6, 255, m))
}

// segment is a TCP segment without data.
func segment(to, from capture.MAC, src, dst netip.AddrPort, flags capture.TCPFlags, seq, ack uint32) []byte {
	t := make([]byte, 20, 24)
	binary.BigEndian.PutUint16(t, src.Port())
	binary.BigEndian.PutUint16(t[2:], dst.Port())
	binary.BigEndian.PutUint32(t[4:], seq)
	binary.BigEndian.PutUint32(t[8:], ack)
	t[13] = byte(flags)
	if flags.Has(capture.SYN) {
		binary.BigEndian.PutUint16(t[14:], synWindow)
		t = append(t, 2, 4, 0x05, 0xb4) // maximum segment size 1460: a SYN without it is odd enough for some filters
	}
	t[12] = byte(len(t)/4) << 4
	binary.BigEndian.PutUint16(t[16:], checksum(pseudo(src.Addr(), dst.Addr(), protoTCP, len(t)), t))
	proto := uint16(etherIPv4)
	if dst.Addr().Is6() {
		proto = etherIPv6
	}
	return ethernet(to, from, proto, ipPacket(src.Addr(), dst.Addr(), protoTCP, hops, t))
}

func ipPacket(src, dst netip.Addr, proto, ttl byte, payload []byte) []byte {
	if dst.Is6() {
		b := make([]byte, 8, 40+len(payload))
		b[0], b[6], b[7] = 0x60, proto, ttl
		binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
		b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
		return append(b, payload...)
	}
	b := make([]byte, 12, 20+len(payload))
	b[0], b[6], b[8], b[9] = 0x45, 0x40, ttl, proto // do not fragment
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(payload)))
	b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
	binary.BigEndian.PutUint16(b[10:], checksum(0, b))
	return append(b, payload...)
}

// pseudo is the sum of the pseudo header (RFC 793, RFC 8200).
func pseudo(src, dst netip.Addr, proto byte, length int) uint32 {
	sum := uint32(proto) + uint32(length)
	for _, a := range [][]byte{src.AsSlice(), dst.AsSlice()} {
		for i := 0; i+1 < len(a); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(a[i:]))
		}
	}
	return sum
}

// checksum is the Internet checksum of b on top of a partial sum (RFC 1071).
func checksum(sum uint32, b []byte) uint16 {
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
