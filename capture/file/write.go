package file

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"

	"lvstui/capture"
)

// Writer writes pcapng with nanoseconds, interface names and directions: all that a Tracker needs to give
// the same flows again. Wireshark and tcpdump read it.
type Writer struct {
	w   *bufio.Writer
	ids map[int32]uint32 // Packet.Interface to number in the file
	buf []byte
	n   int64
	err error
}

// Size is the length of the file so far in bytes, what Flush has yet to write included.
func (w *Writer) Size() int64 { return w.n }

// NewWriter writes the header and one description for each interface, keyed by Packet.Interface.
// Interfaces that turn up later are described when their first packet comes.
func NewWriter(w io.Writer, interfaces map[int32]string) (*Writer, error) {
	nw := &Writer{w: bufio.NewWriterSize(w, 64<<10), ids: map[int32]uint32{}}
	le := binary.LittleEndian
	body := le.AppendUint32(nil, byteOrderMagic)
	body = le.AppendUint16(body, 1)
	body = le.AppendUint16(body, 0)
	body = le.AppendUint64(body, ^uint64(0)) // length of the section: not given
	nw.block(blockSection, body)
	for _, index := range slices.Sorted(maps.Keys(interfaces)) {
		nw.AddInterface(index, interfaces[index])
	}
	return nw, nw.err
}

// AddInterface describes an Ethernet interface, once.
func (w *Writer) AddInterface(index int32, name string) {
	if _, ok := w.ids[index]; ok {
		return
	}
	w.ids[index] = uint32(len(w.ids))
	le := binary.LittleEndian
	body := le.AppendUint16(nil, uint16(capture.LinkEthernet))
	body = le.AppendUint16(body, 0)
	body = le.AppendUint32(body, 0) // snap length: none
	if name != "" {
		body = appendOption(body, optIfName, []byte(name[:min(len(name), maxNameBytes)]))
	}
	body = appendOption(body, optTSResol, []byte{9})
	body = appendOption(body, optEnd, nil)
	w.block(blockInterface, body)
}

// Write adds the frame of packet p, cut or whole, as a live capture or a Source gives it. A VLAN tag that the
// kernel took out of the frame (p.VLAN) is put back; IP without a link header, from a tunnel, gets an
// Ethernet header of zeros, since an interface of the file has one link type. Other link types are refused.
// After a failed write all further calls return its error.
func (w *Writer) Write(p *capture.Packet, frame []byte, link capture.LinkType) error {
	if len(frame) > maxFrame {
		return fmt.Errorf("pcapng: a frame of %d bytes is longer than any interface carries", len(frame))
	}
	switch link {
	case capture.LinkEthernet:
	case capture.LinkRaw, capture.LinkRawBSD, capture.LinkIPv4, capture.LinkIPv6:
		header := make([]byte, 14, 14+len(frame))
		binary.BigEndian.PutUint16(header[12:], 0x0800)
		if len(frame) > 0 && frame[0]>>4 == 6 {
			binary.BigEndian.PutUint16(header[12:], 0x86dd)
		}
		frame = append(header, frame...)
	default:
		return fmt.Errorf("pcapng: packets of link type %d cannot be written; capture on a single interface instead of any", link)
	}
	w.AddInterface(p.Interface, "")
	le := binary.LittleEndian
	wire := max(int(p.WireLen), len(frame))
	tag := p.VLAN != 0 && len(frame) >= 14 && !tagged(frame)
	length := len(frame)
	if tag {
		length, wire = length+4, wire+4
	}
	b := le.AppendUint32(w.buf[:0], w.ids[p.Interface])
	b = le.AppendUint32(b, uint32(uint64(p.Time)>>32))
	b = le.AppendUint32(b, uint32(uint64(p.Time)))
	b = le.AppendUint32(b, uint32(length))
	b = le.AppendUint32(b, uint32(wire))
	if tag {
		b = append(b, frame[:12]...)
		b = binary.BigEndian.AppendUint16(b, 0x8100)
		b = binary.BigEndian.AppendUint16(b, p.VLAN)
		b = append(b, frame[12:]...)
	} else {
		b = append(b, frame...)
	}
	b = pad(b)
	if p.Dir != capture.Unknown {
		b = appendOption(b, optEPBFlags, le.AppendUint32(nil, uint32(p.Dir))) // 1 inbound, 2 outbound
		b = appendOption(b, optEnd, nil)
	}
	w.buf = b
	w.block(blockEnhanced, b)
	return w.err
}

// Statistics are what a capture knows at its end. Readers of pcapng show the comments with the file's properties.
type Statistics struct {
	Time              int64  // of the end, in nanoseconds
	Received, Dropped uint64 // packets on all interfaces since the start
	Comments          []string
}

const (
	optComment     = 1
	optISBReceived = 4
	optISBDropped  = 5
	maxComment     = 4096
	maxComments    = 256 << 10 // bytes of all of them: a reader refuses blocks that are too long
)

// End writes the statistics, as those of the first interface, since one ring has counted for all. A file without
// packets describes no interface and gets none.
func (w *Writer) End(s Statistics) error {
	if len(w.ids) == 0 {
		return w.err
	}
	le := binary.LittleEndian
	b := le.AppendUint32(nil, 0)
	b = le.AppendUint32(b, uint32(uint64(s.Time)>>32))
	b = le.AppendUint32(b, uint32(uint64(s.Time)))
	for _, c := range s.Comments {
		if c = clean(c); c != "" && len(b)+len(c) < maxComments {
			b = appendOption(b, optComment, []byte(c[:min(len(c), maxComment)]))
		}
	}
	b = appendOption(b, optISBReceived, le.AppendUint64(nil, s.Received))
	b = appendOption(b, optISBDropped, le.AppendUint64(nil, s.Dropped))
	w.block(blockStatistics, appendOption(b, optEnd, nil))
	return w.err
}

func tagged(frame []byte) bool {
	t := binary.BigEndian.Uint16(frame[12:])
	return t == 0x8100 || t == 0x88a8
}

// Flush hands everything over to the underlying writer.
func (w *Writer) Flush() error {
	if w.err == nil {
		w.err = w.w.Flush()
	}
	return w.err
}

func (w *Writer) block(typ uint32, body []byte) {
	if w.err != nil {
		return
	}
	w.n += int64(len(body)) + 12
	var h [8]byte
	length := uint32(len(body) + 12)
	binary.LittleEndian.PutUint32(h[:], typ)
	binary.LittleEndian.PutUint32(h[4:], length)
	for _, part := range [][]byte{h[:], body, h[4:]} {
		if _, err := w.w.Write(part); err != nil {
			w.err = fmt.Errorf("cannot write the capture: %w", err)
			return
		}
	}
}

func appendOption(b []byte, code uint16, value []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, code)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(value)))
	return pad(append(b, value...))
}

func pad(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}
