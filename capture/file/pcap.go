package file

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	"lvstui/capture"
)

// Our own reader instead of gopacket's pcapgo: that one refuses files whose packets exceed the snap length
// of the header (tcpdump and Wireshark read them), and allocates whatever length a record claims.

const (
	magicMicro = 0xa1b2c3d4
	magicNano  = 0xa1b23c4d
	// magicModified is of kernels patched to add interface and packet type to each record.
	magicModified = 0xa1b2cd34

	pcapHeader = 24
	pcapRecord = 16
)

// pcapOrder gives the byte order of a pcap file by its first four bytes, nil if it is none.
func pcapOrder(b []byte) binary.ByteOrder {
	for _, o := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		if m := o.Uint32(b); m == magicMicro || m == magicNano || m == magicModified {
			return o
		}
	}
	return nil
}

type pcapSource struct {
	in       input
	order    binary.ByteOrder
	link     capture.LinkType
	perTick  int64 // nanoseconds
	modified bool
	count    int
	skipped  int
	frame    []byte
}

func newPCAP(r *bufio.Reader) (*pcapSource, error) {
	s := &pcapSource{in: input{r: r}, perTick: 1000}
	h, err := s.in.read(pcapHeader)
	if err != nil {
		return nil, fmt.Errorf("pcap file header: %w", cut(err))
	}
	s.order = pcapOrder(h)
	switch s.order.Uint32(h) {
	case magicNano:
		s.perTick = 1
	case magicModified:
		s.modified = true
	}
	if major := s.order.Uint16(h[4:]); major != 2 {
		return nil, fmt.Errorf("pcap file of version %d: only version 2 is known", major)
	}
	s.link = capture.LinkType(s.order.Uint32(h[20:]) & 0xffff) // above are the FCS bits
	if err := supported(s.link); err != nil {
		return nil, fmt.Errorf("pcap file: %w", err)
	}
	return s, nil
}

// supported refuses link types up front, so that the user reads one message instead of no packets.
func supported(link capture.LinkType) error {
	var p capture.Packet
	if err := capture.Decode(nil, link, &p); err == capture.ErrLinkType {
		return fmt.Errorf("link type %d: %w; capture on an Ethernet interface: tcpdump -i eth0 -w FILE", link, err)
	}
	return nil
}

func (s *pcapSource) Next(p *capture.Packet) error {
	for {
		err := s.record(p)
		if err != nil || capture.Decode(s.frame, s.link, p) == nil {
			return err
		}
		s.skipped++
	}
}

func (s *pcapSource) record(p *capture.Packet) error {
	start := s.in.offset
	s.count++
	fail := func(err error) error {
		s.frame = nil
		return &Error{PCAP, s.count, start, err}
	}
	size := pcapRecord
	if s.modified {
		size += 8
	}
	h, err := s.in.read(size)
	if err == io.EOF {
		s.count--
		s.frame = nil
		return io.EOF
	}
	if err != nil {
		return fail(cut(err))
	}
	sec, tick := int64(s.order.Uint32(h)), int64(s.order.Uint32(h[4:]))
	length, wire := s.order.Uint32(h[8:]), s.order.Uint32(h[12:])
	*p = capture.Packet{Time: sec*1e9 + tick*s.perTick, WireLen: int32(min(wire, 1<<30))}
	if length > maxFrame {
		return fail(fmt.Errorf("a record of %d bytes is not plausible", length))
	}
	if s.frame, err = s.in.read(int(length)); err != nil {
		return fail(cut(err))
	}
	return nil
}

func (s *pcapSource) Frame() ([]byte, capture.LinkType) { return s.frame, s.link }
func (s *pcapSource) Interfaces() map[int32]string      { return nil }
func (s *pcapSource) Format() Format                    { return PCAP }
func (s *pcapSource) Skipped() int                      { return s.skipped }
