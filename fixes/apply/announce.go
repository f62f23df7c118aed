package apply

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"lvstui/fixes"
)

// announcePause is the time between two announcements.
const announcePause = 200 * time.Millisecond

// doAnnounce sends the announcement by a raw socket of this thread's network namespace, from the MAC of the device.
func (k *kernel) doAnnounce(st fixes.Announce) error {
	link, err := k.nl.LinkByName(st.Device)
	if err != nil {
		return refused(err)
	}
	mac := link.Attrs().HardwareAddr
	if len(mac) != 6 {
		return fmt.Errorf("%s has no MAC address to announce", st.Device)
	}
	frame, proto := gratuitousARP(mac, st.Address), unix.ETH_P_ARP
	if st.Address.Is6() {
		frame, proto = unsolicitedNA(mac, st.Address), unix.ETH_P_IPV6
	}
	// Protocol 0: it receives nothing.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return refused(err)
	}
	defer unix.Close(fd)
	to := &unix.SockaddrLinklayer{Protocol: binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, uint16(proto))), Ifindex: link.Attrs().Index, Halen: 6}
	copy(to.Addr[:], frame[:6])
	for i := range fixes.Announcements {
		if i > 0 {
			time.Sleep(announcePause)
		}
		if err := unix.Sendto(fd, frame, 0, to); err != nil {
			return fmt.Errorf("announce %s on %s: %w", st.Address, st.Device, refused(err))
		}
	}
	return nil
}

// gratuitousARP is a request for the address itself (RFC 5944, 4.6).
func gratuitousARP(mac net.HardwareAddr, ip netip.Addr) []byte {
	everybody := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	b := append(append([]byte{}, everybody...), mac...)
	b = binary.BigEndian.AppendUint16(b, unix.ETH_P_ARP)
	b = append(b, 0, 1, 8, 0, 6, 4, 0, 1) // Ethernet, IPv4, their lengths, request
	b = append(append(b, mac...), ip.AsSlice()...)
	return append(append(b, everybody...), ip.AsSlice()...)
}

// unsolicitedNA is a neighbour advertisement to all nodes, with the override flag (RFC 4861, 7.2.6).
func unsolicitedNA(mac net.HardwareAddr, ip netip.Addr) []byte {
	all := netip.MustParseAddr("ff02::1")
	message := []byte{136, 0, 0, 0, 0x20, 0, 0, 0}
	message = append(message, ip.AsSlice()...)
	message = append(append(message, 2, 1), mac...) // the target's link-layer address, in units of 8 bytes
	binary.BigEndian.PutUint16(message[2:], checksum(ip, all, message))

	b := append([]byte{0x33, 0x33, 0, 0, 0, 1}, mac...)
	b = binary.BigEndian.AppendUint16(b, unix.ETH_P_IPV6)
	b = append(b, 0x60, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(message)))
	b = append(b, unix.IPPROTO_ICMPV6, 255)
	b = append(append(b, ip.AsSlice()...), all.AsSlice()...)
	return append(b, message...)
}

// checksum is that of ICMPv6, with its pseudo header (RFC 8200, 8.1). The message is of an even length.
func checksum(src, dst netip.Addr, message []byte) uint16 {
	b := append(src.AsSlice(), dst.AsSlice()...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(message)))
	b = append(b, 0, 0, 0, unix.IPPROTO_ICMPV6)
	sum := uint32(0)
	for b = append(b, message...); len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
