package screens

import (
	"fmt"
	"strings"

	"lvstui/capture"
	"lvstui/ui/kit"
	"lvstui/ui/theme"
)

// flagNames are the TCP flags by bit, as the RFC names them.
var flagNames = [8]string{"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"}

// packetLines are the fields of a packet, and of those that repeat it.
func packetLines(f *capture.Flow, events []capture.Event, names map[capture.MAC]string, width int) []kit.Line {
	var out []kit.Line
	for i, e := range events {
		if i > 0 {
			out = append(out, kit.Line{})
		}
		way := "client to VIP"
		if !e.ToVirtual {
			way = "VIP to client"
		}
		out = append(out, kit.L(kit.S(theme.Title, string(e.Kind)), kit.S(theme.Dim, ", "+way+", "+since(e.Time.Sub(clocks(f.Events, f)[vantageOf(e, f)]))+" s after the first packet")))
		for _, field := range packetFields(f, e, names) {
			out = append(out, kit.Item(kit.S(theme.Dim, kit.Pad(field[0], 11)), theme.Plain, field[1], width)...)
		}
	}
	return out
}

// packetFields are names and values, outermost layer first.
func packetFields(f *capture.Flow, e capture.Event, names map[capture.MAC]string) [][2]string {
	out := [][2]string{
		{"time", e.Time.UTC().Format("2006-01-02 15:04:05.000000000 UTC")},
		{"seen", orUnknown(strings.Join(notEmpty(vantageWord(e.Vantage), e.Interface, e.Direction.String()), " "))},
		{"from MAC", fullMAC(e.SrcMAC, names)},
		{"to MAC", fullMAC(e.DstMAC, names)},
	}
	if e.TTL > 0 {
		out = append(out, [2]string{"IP", fmt.Sprintf("TTL %d, id %d (0x%04x)", e.TTL, e.IPID, e.IPID)})
	}
	if e.Kind == capture.EventICMP {
		out = append(out, [2]string{"ICMP", fmt.Sprintf("type %d code %d, about the packet with seq %d", e.Type, e.Code, e.Seq)})
	} else {
		out = append(out, [2]string{"TCP flags", orUnknown(flagWords(e.Flags))}, [2]string{"seq", relative(f, e.Seq, e.ToVirtual)})
		if e.Flags.Has(capture.ACK) {
			out = append(out, [2]string{"ack", relative(f, e.Ack, !e.ToVirtual)})
		}
		out = append(out, [2]string{"data", fmt.Sprintf("%d B", e.Length)})
	}
	switch {
	case e.Forwarded:
		out = append(out, [2]string{"note", "the same packet on its way out: forwarded, not sent again"})
	case e.Retransmission:
		out = append(out, [2]string{"note", "sent again"})
	}
	return out
}

func orUnknown(s string) string {
	if s == "" {
		return "not known"
	}
	return s
}

func fullMAC(m capture.MAC, names map[capture.MAC]string) string {
	if name, ok := names[m]; ok {
		return m.String() + " (" + name + ")"
	}
	return orUnknown(m.String())
}

func flagWords(flags capture.TCPFlags) string {
	var words []string
	for i, name := range flagNames {
		if flags&(1<<i) != 0 {
			words = append(words, name)
		}
	}
	return strings.Join(words, " ")
}

// firstSeq is the initial sequence number of a side, where it was seen.
func firstSeq(f *capture.Flow, toVirtual bool) (isn uint32, ok bool) {
	for _, e := range f.Events {
		if e.ToVirtual == toVirtual && e.Flags.Has(capture.SYN) && e.Kind != capture.EventICMP {
			return e.Seq, true
		}
	}
	return f.ISN, toVirtual && !f.MidStream
}

// relative is a sequence number of a side and its distance from the side's first one.
func relative(f *capture.Flow, n uint32, toVirtual bool) string {
	if isn, ok := firstSeq(f, toVirtual); ok {
		return fmt.Sprintf("%d (first %+d)", n, int32(n-isn))
	}
	return fmt.Sprint(n)
}
