package file

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"lvstui/capture"
)

// ngBuilder writes pcapng by hand, in either byte order, with what other programs put into it.
type ngBuilder struct {
	bytes.Buffer
	order interface {
		binary.ByteOrder
		binary.AppendByteOrder
	}
}

var littleEndian = binary.LittleEndian

func (b *ngBuilder) block(typ uint32, body []byte) {
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	n := uint32(len(body) + 12)
	b.Write(b.order.AppendUint32(b.order.AppendUint32(nil, typ), n))
	b.Write(body)
	b.Write(b.order.AppendUint32(nil, n))
}

func (b *ngBuilder) option(body []byte, code uint16, value []byte) []byte {
	body = b.order.AppendUint16(b.order.AppendUint16(body, code), uint16(len(value)))
	body = append(body, value...)
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	return body
}

func (b *ngBuilder) section() {
	body := b.order.AppendUint32(nil, byteOrderMagic)
	body = b.order.AppendUint16(b.order.AppendUint16(body, 1), 0)
	body = b.order.AppendUint64(body, 1<<64-1)
	body = b.option(body, 1, []byte("a comment of the section"))
	b.block(blockSection, b.option(body, 0, nil))
}

func (b *ngBuilder) device(link capture.LinkType, name string, resolution byte, offset int64) {
	body := b.order.AppendUint32(b.order.AppendUint16(b.order.AppendUint16(nil, uint16(link)), 0), 0)
	body = b.option(body, optIfName, []byte(name))
	body = b.option(body, 3, []byte("what it is for"))
	body = b.option(body, optTSResol, []byte{resolution})
	body = b.option(body, optTSOffset, b.order.AppendUint64(nil, uint64(offset)))
	b.block(blockInterface, b.option(body, 0, nil))
}

func (b *ngBuilder) packet(device uint32, stamp uint64, frame []byte, out bool) {
	body := b.order.AppendUint32(nil, device)
	body = b.order.AppendUint32(b.order.AppendUint32(body, uint32(stamp>>32)), uint32(stamp))
	body = b.order.AppendUint32(b.order.AppendUint32(body, uint32(len(frame))), uint32(len(frame)))
	body = append(body, frame...)
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	flags := uint32(1)
	if out {
		flags = 2
	}
	body = b.option(body, optEPBFlags, b.order.AppendUint32(nil, flags))
	body = b.option(body, 1, []byte("a comment of the packet"))
	b.block(blockEnhanced, b.option(body, 0, nil))
}

// Both byte orders, several interfaces with names, resolutions and offsets of their own, options and blocks nobody needs.
func TestPcapngOfOthers(t *testing.T) {
	want, _ := readAll(t, load(t, "client.pcap"))
	for _, order := range []interface {
		binary.ByteOrder
		binary.AppendByteOrder
	}{binary.LittleEndian, binary.BigEndian} {
		b := &ngBuilder{order: order}
		b.section()
		b.device(capture.LinkEthernet, "eth0", 9, 0)    // nanoseconds
		b.device(capture.LinkEthernet, "eth1", 6, 1000) // microseconds, from a later beginning
		b.block(4, []byte{0, 0, 0, 0})                  // names of hosts
		b.device(capture.LinkRaw, "tun0", 0x80|20, 0)   // 2^-20 seconds
		n := 0
		rewrite(t, load(t, "client.pcap"), func(frame []byte, at time.Time) {
			ns := uint64(at.UnixNano())
			switch n % 3 {
			case 0:
				b.packet(0, ns, frame, false)
			case 1:
				b.packet(1, ns/1000-1000*1e6, frame, true)
			default:
				stamp := uint64(at.Unix())<<20 | uint64(at.Nanosecond())<<20/1e9
				b.packet(2, stamp, frame[14:], true)
			}
			n++
		})
		b.block(0x0bad, []byte("a block of somebody's own"))
		b.block(blockStatistics, make([]byte, 12))
		got, s := readAll(t, b.Bytes())
		var all []capture.Packet
		for i, w := range want { // raw IP cannot hold ARP
			if i%3 != 2 || w.Kind != capture.ARP {
				all = append(all, w)
			}
		}
		if len(got) != len(all) || s.Skipped() != len(want)-len(all) {
			t.Fatalf("%s: %d packets of %d, %d skipped", order, len(got), len(all), s.Skipped())
		}
		i := 0
		for n, w := range want {
			if n%3 == 2 && w.Kind == capture.ARP {
				continue
			}
			g := got[i]
			i++
			if g.Src != w.Src || g.Dst != w.Dst || g.Seq != w.Seq || g.Flags != w.Flags || g.TTL != w.TTL || g.PayloadLen != w.PayloadLen {
				t.Errorf("%s, packet %d:\n got %+v\nwant %+v", order, n+1, g, w)
			}
			slack := int64(1)
			if n%3 == 2 {
				slack = 1000
			}
			if d := g.Time - w.Time; d > slack || d < -slack {
				t.Errorf("%s, packet %d: the time is off by %d ns", order, n+1, d)
			}
			if g.Dir != []capture.Direction{capture.In, capture.Out, capture.Out}[n%3] || g.HasMAC != (n%3 != 2) || g.Interface != int32(n%3) {
				t.Errorf("%s, packet %d: %s on %d, MACs %v", order, n+1, g.Dir, g.Interface, g.HasMAC)
			}
		}
		if names := s.Interfaces(); names[0] != "eth0" || names[1] != "eth1" || names[2] != "tun0" {
			t.Errorf("%s: interfaces %v", order, names)
		}
	}
}

// The same packets behind every link header that tcpdump writes for IP.
func TestLinkHeaders(t *testing.T) {
	want, _ := readAll(t, load(t, "client.pcap"))
	want = tcpOnly(want)
	be := binary.BigEndian
	cooked := func(frame []byte) []byte { // packet type 4: sent by us
		b := []byte{0, 4, 0, 1, 0, 6}
		b = append(append(b, frame[6:12]...), 0, 0)
		return append(append(b, frame[12:14]...), frame[14:]...)
	}
	cooked2 := func(frame []byte) []byte {
		b := append(bytes.Clone(frame[12:14]), 0, 0)
		b = be.AppendUint32(b, 7)
		b = append(b, 0, 1, 4, 6)
		b = append(append(b, frame[6:12]...), 0, 0)
		return append(b, frame[14:]...)
	}
	bare := func(frame []byte) []byte { return frame[14:] }
	for link, header := range map[capture.LinkType]func([]byte) []byte{
		capture.LinkLinuxSLL: cooked, capture.LinkLinuxSLL2: cooked2, capture.LinkRaw: bare, capture.LinkRawBSD: bare, capture.LinkIPv4: bare,
		capture.LinkNull: func(frame []byte) []byte { return append([]byte{2, 0, 0, 0}, frame[14:]...) },
		capture.LinkLoop: func(frame []byte) []byte { return append([]byte{0, 0, 0, 2}, frame[14:]...) },
	} {
		b := &ngBuilder{order: binary.LittleEndian}
		b.section()
		b.device(link, "any", 9, 0)
		rewrite(t, load(t, "client.pcap"), func(frame []byte, at time.Time) {
			if be.Uint16(frame[12:]) == 0x0800 {
				b.packet(0, uint64(at.UnixNano()), header(frame), true)
			}
		})
		got, _ := readAll(t, b.Bytes())
		got = tcpOnly(got)
		if len(got) != len(want) {
			t.Errorf("link type %d: %d packets of %d", link, len(got), len(want))
			continue
		}
		isCooked := link == capture.LinkLinuxSLL || link == capture.LinkLinuxSLL2
		for i, g := range got {
			w := want[i]
			if g.Time != w.Time || g.Src != w.Src || g.SrcPort != w.SrcPort || g.Seq != w.Seq || g.Flags != w.Flags || g.PayloadLen != w.PayloadLen || g.HasMAC ||
				isCooked && (g.SrcMAC != w.SrcMAC || g.Dir != capture.Out) || link == capture.LinkLinuxSLL2 && g.Interface != 7 {
				t.Errorf("link type %d, packet %d:\n got %+v\nwant %+v", link, i+1, g, w)
				break
			}
		}
	}
}

// A terminal breaks lines wherever they end, in the middle of a number or a MAC too; a mail program at the last space.
func TestWrappedText(t *testing.T) {
	for _, name := range []string{"client-e.txt", "client-e-v.txt", "client-e-tttt.txt", "client.txt"} {
		want, _ := readAll(t, load(t, name))
		for _, width := range []int{60, 72, 79, 80, 100, 132} {
			for how, wrap := range map[string]func(line string, width int) []string{"terminal": hardWrap, "mail": softWrap} {
				var out strings.Builder
				for line := range strings.Lines(string(load(t, name))) {
					for _, part := range wrap(strings.TrimRight(line, "\n"), width) {
						fmt.Fprintln(&out, part)
					}
				}
				got, s := readAll(t, []byte(out.String()))
				if len(got) != len(want) {
					t.Errorf("%s wrapped at %d by a %s: %d packets of %d, %d skipped", name, width, how, len(got), len(want), s.Skipped())
					continue
				}
				for i := range got {
					if got[i] != want[i] {
						t.Errorf("%s wrapped at %d by a %s, packet %d:\n got %+v\nwant %+v", name, width, how, i+1, got[i], want[i])
						break
					}
				}
			}
		}
	}
}

func hardWrap(line string, width int) (parts []string) {
	for len(line) > width {
		parts, line = append(parts, line[:width]), line[width:]
	}
	return append(parts, line)
}

func softWrap(line string, width int) (parts []string) {
	for len(line) > width {
		at := strings.LastIndexByte(line[:width+1], ' ')
		if at <= 0 || strings.TrimSpace(line[:at]) == "" {
			break
		}
		parts, line = append(parts, line[:at]), line[at+1:]
	}
	return append(parts, line)
}
