package file

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math/bits"
	"strings"

	"lvstui/capture"
)

// Our own reader and writer instead of pcapgo's: those drop the option that holds a packet's direction,
// divide by zero and slice out of range on hostile interface blocks, and allocate what a block claims.
// The format is IETF draft-ietf-opsawg-pcapng.

const (
	blockSection    = 0x0a0d0d0a
	blockInterface  = 1
	blockPacketOld  = 2
	blockSimple     = 3
	blockStatistics = 5
	blockEnhanced   = 6

	byteOrderMagic = 0x1a2b3c4d

	optEnd       = 0
	optIfName    = 2
	optTSResol   = 9
	optTSOffset  = 14
	optEPBFlags  = 2
	maxBlock     = maxFrame + 64<<10
	maxNameBytes = 64
)

type ngInterface struct {
	id    int32 // across sections: Packet.Interface
	link  capture.LinkType
	units timeUnits
}

// timeUnits converts timestamps: counts of 10^-n or 2^-n seconds since offset.
type timeUnits struct {
	perSecond uint64
	offset    int64 // seconds
}

func (u timeUnits) nanos(ts uint64) int64 {
	sec := ts / u.perSecond
	hi, lo := bits.Mul64(ts%u.perSecond, 1e9)
	frac, _ := bits.Div64(hi, lo, u.perSecond) // hi < perSecond: the product is below perSecond × 2^64
	return (int64(sec)+u.offset)*1e9 + int64(frac)
}

// unitsOf reads if_tsresol. Resolutions that a 64-bit count cannot hold do not exist in real files.
func unitsOf(resol byte) (timeUnits, error) {
	exp := uint(resol & 0x7f)
	if resol&0x80 != 0 {
		if exp > 63 {
			return timeUnits{}, fmt.Errorf("a time resolution of 2^-%d s is not plausible", exp)
		}
		return timeUnits{perSecond: 1 << exp}, nil
	}
	if exp > 18 {
		return timeUnits{}, fmt.Errorf("a time resolution of 10^-%d s is not plausible", exp)
	}
	u := timeUnits{perSecond: 1}
	for range exp {
		u.perSecond *= 10
	}
	return u, nil
}

type ngSource struct {
	in      input
	order   binary.ByteOrder
	ifaces  []ngInterface // of this section
	names   map[int32]string
	nextID  int32
	count   int
	skipped int
	frame   []byte
	link    capture.LinkType
}

func newNG(r *bufio.Reader) (*ngSource, error) {
	s := &ngSource{in: input{r: r}, names: map[int32]string{}}
	typ, _, err := s.block()
	if err != nil || typ != blockSection {
		return nil, fmt.Errorf("pcapng section header: %w", cut(err))
	}
	return s, nil
}

// block reads the next block and gives its type and body. It takes in section headers itself.
func (s *ngSource) block() (typ uint32, body []byte, err error) {
	h, err := s.in.read(8)
	if err != nil {
		return 0, nil, err // io.EOF: a clean end
	}
	if binary.BigEndian.Uint32(h) == blockSection { // reads the same in both byte orders
		return s.section([4]byte(h[4:8]))
	}
	typ, length := s.order.Uint32(h), s.order.Uint32(h[4:])
	body, err = s.rest(length, 12)
	return typ, body, err
}

// section reads the rest of a section header, which begins with the byte order of all that follows.
func (s *ngSource) section(length [4]byte) (uint32, []byte, error) {
	h, err := s.in.read(4)
	if err != nil {
		return 0, nil, cut(err)
	}
	switch {
	case binary.LittleEndian.Uint32(h) == byteOrderMagic:
		s.order = binary.LittleEndian
	case binary.BigEndian.Uint32(h) == byteOrderMagic:
		s.order = binary.BigEndian
	default:
		return 0, nil, fmt.Errorf("byte order mark % x is none", h)
	}
	s.ifaces = s.ifaces[:0]
	body, err := s.rest(s.order.Uint32(length[:]), 16)
	if err == nil && len(body) >= 2 && s.order.Uint16(body) != 1 {
		err = fmt.Errorf("pcapng version %d: only version 1 is known", s.order.Uint16(body))
	}
	return blockSection, body, err
}

// rest reads what is left of a block of the given total length, of which overhead is not body, and
// checks the length at its end.
func (s *ngSource) rest(length uint32, overhead uint32) ([]byte, error) {
	if length < overhead || length > maxBlock || length%4 != 0 {
		return nil, fmt.Errorf("a block of %d bytes is not plausible", length)
	}
	b, err := s.in.read(int(length-overhead) + 4)
	if err != nil {
		return nil, cut(err)
	}
	n := len(b) - 4
	if s.order.Uint32(b[n:]) != length {
		return nil, fmt.Errorf("the block's two lengths differ: %d and %d", length, s.order.Uint32(b[n:]))
	}
	return b[:n], nil
}

func (s *ngSource) Next(p *capture.Packet) error {
	for {
		start := s.in.offset
		typ, body, err := s.block()
		if err == io.EOF {
			s.frame = nil
			return io.EOF
		}
		ok := false
		if err == nil {
			ok, err = s.take(typ, body, p)
		}
		if err != nil {
			s.frame = nil
			return &Error{PCAPNG, s.count + 1, start, cut(err)}
		}
		if !ok {
			continue
		}
		s.count++
		if capture.Decode(s.frame, s.link, p) == nil {
			return nil
		}
		s.skipped++
	}
}

// take reads one block and is true if it was a packet, which it leaves in s.frame and p.
func (s *ngSource) take(typ uint32, b []byte, p *capture.Packet) (bool, error) {
	switch typ {
	case blockInterface:
		return false, s.addInterface(b)
	case blockEnhanced, blockPacketOld:
		if len(b) < 20 {
			return false, fmt.Errorf("a packet block of %d bytes is too short", len(b))
		}
		id := s.order.Uint32(b)
		if typ == blockPacketOld {
			id = uint32(s.order.Uint16(b)) // the other half counts drops
		}
		ts := uint64(s.order.Uint32(b[4:]))<<32 | uint64(s.order.Uint32(b[8:]))
		return true, s.packet(id, ts, s.order.Uint32(b[12:]), s.order.Uint32(b[16:]), b[20:], p)
	case blockSimple:
		if len(b) < 4 {
			return false, fmt.Errorf("a packet block of %d bytes is too short", len(b))
		}
		wire := s.order.Uint32(b)
		return true, s.packet(0, 0, min(wire, uint32(len(b)-4)), wire, b[4:], p)
	}
	return false, nil // statistics, names, comments
}

func (s *ngSource) packet(id uint32, ts uint64, length, wire uint32, b []byte, p *capture.Packet) error {
	if id >= uint32(len(s.ifaces)) {
		return fmt.Errorf("interface %d is not described; the file describes %d", id, len(s.ifaces))
	}
	if uint64(length) > uint64(len(b)) {
		return fmt.Errorf("a packet of %d bytes in a block that holds %d", length, len(b))
	}
	i := s.ifaces[id]
	*p = capture.Packet{Time: i.units.nanos(ts), Interface: i.id, WireLen: int32(min(wire, 1<<30))}
	s.frame, s.link = b[:length], i.link
	if opts := (length + 3) &^ 3; opts < uint32(len(b)) {
		s.options(b[opts:], func(code uint16, value []byte) {
			if code == optEPBFlags && len(value) == 4 {
				switch s.order.Uint32(value) & 3 {
				case 1:
					p.Dir = capture.In
				case 2:
					p.Dir = capture.Out
				}
			}
		})
	}
	return nil
}

func (s *ngSource) addInterface(b []byte) error {
	if len(b) < 8 {
		return fmt.Errorf("an interface block of %d bytes is too short", len(b))
	}
	if s.nextID >= maxInterfaces {
		return fmt.Errorf("more than %d interfaces are not plausible", maxInterfaces)
	}
	i := ngInterface{id: s.nextID, link: capture.LinkType(s.order.Uint16(b)), units: timeUnits{perSecond: 1e6}}
	name := ""
	var err error
	offset := int64(0)
	s.options(b[8:], func(code uint16, value []byte) {
		switch {
		case code == optIfName:
			name = clean(string(value[:min(len(value), maxNameBytes)]))
		case code == optTSResol && len(value) == 1:
			i.units, err = unitsOf(value[0])
		case code == optTSOffset && len(value) == 8:
			offset = int64(s.order.Uint64(value))
		}
	})
	if err != nil {
		return err
	}
	if err := supported(i.link); err != nil {
		return err
	}
	i.units.offset = offset
	s.ifaces = append(s.ifaces, i)
	if name != "" {
		s.names[i.id] = name
	}
	s.nextID++
	return nil
}

// options calls use for each option of a block. A list that runs over its end is at its end.
func (s *ngSource) options(b []byte, use func(code uint16, value []byte)) {
	for len(b) >= 4 {
		code, n := s.order.Uint16(b), int(s.order.Uint16(b[2:]))
		b = b[4:]
		if code == optEnd || n > len(b) {
			return
		}
		use(code, b[:n])
		b = b[min((n+3)&^3, len(b)):]
	}
}

// clean drops what a terminal might obey from a name that somebody else chose.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0xfffd {
			return -1
		}
		return r
	}, s)
}

func (s *ngSource) Frame() ([]byte, capture.LinkType) { return s.frame, s.link }
func (s *ngSource) Interfaces() map[int32]string      { return maps.Clone(s.names) }
func (s *ngSource) Format() Format                    { return PCAPNG }
func (s *ngSource) Skipped() int                      { return s.skipped }
