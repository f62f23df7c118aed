package file

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"lvstui/capture"
	"lvstui/lvs"
)

func load(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func readAll(t testing.TB, data []byte) ([]capture.Packet, Source) {
	t.Helper()
	s, err := Open(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	packets, err := Read(s, 0)
	if err != nil {
		t.Fatal(err)
	}
	return packets, s
}

func flowsOf(packets []capture.Packet, cfg capture.Config) []capture.Flow {
	tr := capture.NewTracker(cfg)
	for i := range packets {
		tr.Add(&packets[i])
	}
	return tr.Flows()
}

func tcpOnly(packets []capture.Packet) []capture.Packet {
	return slices.DeleteFunc(slices.Clone(packets), func(p capture.Packet) bool { return p.Kind != capture.TCP })
}

// rewrite gives the frames of a capture in another format.
func rewrite(t testing.TB, data []byte, write func(frame []byte, at time.Time)) {
	t.Helper()
	s, err := Open(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var p capture.Packet
	for err = s.Next(&p); err == nil; err = s.Next(&p) {
		frame, _ := s.Frame()
		write(frame, p.When())
	}
	if err != io.EOF {
		t.Fatal(err)
	}
}

// ngFile gives testdata/client.pcap as pcapng, written by gopacket with an interface name.
func ngFile(t testing.TB) []byte {
	t.Helper()
	var buf bytes.Buffer
	intf := pcapgo.DefaultNgInterface
	intf.Name, intf.LinkType, intf.SnapLength = "eth0", layers.LinkTypeEthernet, 0
	w, err := pcapgo.NewNgWriterInterface(&buf, intf, pcapgo.DefaultNgWriterOptions)
	if err != nil {
		t.Fatal(err)
	}
	rewrite(t, load(t, "client.pcap"), func(frame []byte, at time.Time) {
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: at, CaptureLength: len(frame), Length: len(frame)}, frame); err != nil {
			t.Fatal(err)
		}
	})
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// nanoFile gives it as a pcap file with nanoseconds.
func nanoFile(t testing.TB) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := pcapgo.NewWriterNanos(&buf)
	if err := w.WriteFileHeader(65535, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	rewrite(t, load(t, "client.pcap"), func(frame []byte, at time.Time) {
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: at, CaptureLength: len(frame), Length: len(frame)}, frame); err != nil {
			t.Fatal(err)
		}
	})
	return buf.Bytes()
}

// bigEndian turns the headers of a little-endian pcap file round.
func bigEndian(b []byte) []byte {
	b = bytes.Clone(b)
	turn := func(at, n int) { slices.Reverse(b[at : at+n]) }
	for _, f := range [][2]int{{0, 4}, {4, 2}, {6, 2}, {8, 4}, {12, 4}, {16, 4}, {20, 4}} {
		turn(f[0], f[1])
	}
	for at := pcapHeader; at+pcapRecord <= len(b); {
		n := int(b[at+8]) | int(b[at+9])<<8
		for k := 0; k < pcapRecord; k += 4 {
			turn(at+k, 4)
		}
		at += pcapRecord + n
	}
	return b
}

func TestArticleText(t *testing.T) {
	packets, s := readAll(t, load(t, "article-working.txt"))
	if s.Format() != Text || s.Skipped() != 0 || len(packets) != 10 {
		t.Fatalf("format %s, %d packets, %d skipped", s.Format(), len(packets), s.Skipped())
	}
	flows := flowsOf(packets, capture.Config{})
	if len(flows) != 1 {
		t.Fatalf("got %d flows, want 1", len(flows))
	}
	f := flows[0]
	if f.Outcome != capture.Closed || f.Packets != 10 || f.BytesToVirtual != 74 || f.BytesToClient != 274 ||
		f.Handshake != 3690*time.Microsecond || f.Vantage != lvs.RoleClient || f.StalledAt != "" || f.DataRetransmits != 0 {
		t.Errorf("flow differs: %+v", f)
	}
	for _, s := range f.Stages {
		// Seen from the client the director's part cannot be told from a real server that was reached past it.
		if s.State != lvs.Seen && s.State != lvs.Implied && (s.State != lvs.Unobservable || s.Stage.Index() > lvs.SynForwarded.Index() && s.Stage != lvs.AckAtDirector) {
			t.Errorf("%s is %s", s.Stage, s.State)
		}
	}
	if f.ISN != 448411585 || packets[8].Seq != 3569473399+275 || packets[9].Seq != 448411585+76 {
		t.Errorf("numbers are to be absolute: ISN %d, FIN %d, last ACK %d", f.ISN, packets[8].Seq, packets[9].Seq)
	}
}

// TestFormatsAgree reads one capture in all the forms in which tcpdump writes or prints it.
func TestFormatsAgree(t *testing.T) {
	want, s := readAll(t, load(t, "client.pcap"))
	if s.Format() != PCAP || len(tcpOnly(want)) != 12 {
		t.Fatalf("%s, %d TCP packets", s.Format(), len(tcpOnly(want)))
	}
	files := map[string][]byte{
		"big-endian.pcap": bigEndian(load(t, "client.pcap")), "nano.pcap": nanoFile(t), "pcapgo.pcapng": ngFile(t),
	}
	for _, name := range []string{"client.txt", "client-e.txt", "client-e-v.txt", "client-v.txt", "client-e-S.txt", "client-e-tttt.txt",
		"client-tt.txt", "client-e-x.txt"} {
		files[name] = load(t, name)
	}
	files["quoted.txt"] = []byte("$ tcpdump -nn -e\r\n> " + strings.ReplaceAll(strings.TrimSpace(string(load(t, "client-e.txt"))), "\n", "\r\n> ") + "\r\n")
	files["wrapped.txt"] = []byte(strings.ReplaceAll(string(load(t, "client-e.txt")), ": Flags", ":\n   Flags"))
	for name, data := range files {
		got, s := readAll(t, data)
		text := s.Format() == Text
		if len(got) != len(want) {
			t.Errorf("%s: %d packets of %d, %d skipped", name, len(got), len(want), s.Skipped())
			continue
		}
		for i, g := range got {
			w := want[i]
			if text { // what the text does not say
				if g.Kind == capture.Other || g.Kind == capture.ICMP {
					continue
				}
				if !strings.Contains(name, "tt") {
					w.Time %= day
				}
				if !strings.Contains(name, "-v") && !strings.Contains(name, "-e-v") {
					w.TTL, w.IPID, w.HasIPID = 0, 0, false
				}
				if !g.HasMAC && !strings.Contains(name, "-e") {
					w.SrcMAC, w.DstMAC, w.HasMAC, w.ARP = capture.MAC{}, capture.MAC{}, false, g.ARP
				}
				g.WireLen, w.WireLen, g.Window, w.Window = 0, 0, 0, 0
				if g.Kind == capture.ARP {
					w.Dst, w.ARP.TargetMAC = g.Dst, g.ARP.TargetMAC
				}
				if g.Kind == capture.ARP || g.Kind == capture.UDP {
					w.Proto, g.Proto = 0, 0
				}
			}
			if s.Format() == PCAPNG {
				g.Interface = 0
			}
			if g != w {
				t.Errorf("%s, packet %d:\n got %+v\nwant %+v", name, i+1, g, w)
			}
		}
	}
}

// TestInterfaceAndDirection reads captures of tcpdump -i any, which name both.
func TestInterfaceAndDirection(t *testing.T) {
	for _, name := range []string{"client-any.pcap", "client-any.txt", "client-any-e.txt"} {
		packets, s := readAll(t, load(t, name))
		flows := flowsOf(packets, capture.Config{Interfaces: s.Interfaces()})
		if len(flows) != 2 {
			t.Fatalf("%s: %d flows", name, len(flows))
		}
		f := flows[0]
		if f.Vantage != lvs.RoleClient || f.Outcome != capture.Closed || f.BytesToVirtual != 5 || f.BytesToClient != 6 {
			t.Errorf("%s: %+v", name, f)
		}
		syn := f.Stage(lvs.SynSent)
		if syn.Direction != capture.Out || strings.HasSuffix(name, ".txt") && syn.Interface != "eth0" {
			t.Errorf("%s: %+v", name, syn)
		}
		if flows[1].Outcome != capture.Refused || flows[1].RST == nil {
			t.Errorf("%s: the refused connection: %+v", name, flows[1])
		}
	}
}

func TestWriterRoundTrip(t *testing.T) {
	s, err := Open(bytes.NewReader(load(t, "client.pcap")))
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	w, err := NewWriter(&buf, map[int32]string{7: "eth0", 3: "eth1"})
	if err != nil {
		t.Fatal(err)
	}
	var want []capture.Packet
	var p capture.Packet
	for err = s.Next(&p); err == nil; err = s.Next(&p) {
		frame, link := s.Frame()
		p.Time += int64(len(want)) // nanoseconds must survive
		p.Dir = []capture.Direction{capture.Unknown, capture.In, capture.Out}[len(want)%3]
		p.Interface = []int32{7, 3, 11}[len(want)%3]
		p.VLAN = uint16(len(want) % 2 * 10)
		if err := w.Write(&p, frame, link); err != nil {
			t.Fatal(err)
		}
		want = append(want, p)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	got, ns := readAll(t, buf.Bytes())
	if len(got) != len(want) {
		t.Fatalf("%d packets of %d", len(got), len(want))
	}
	ids := map[int32]int32{7: 1, 3: 0, 11: 2} // in order of index, late ones behind
	for i, g := range got {
		x := want[i]
		if x.VLAN != 0 {
			x.WireLen += 4 // the tag is back in the frame
		}
		x.Interface = ids[x.Interface]
		if g != x {
			t.Errorf("packet %d:\n got %+v\nwant %+v", i+1, g, x)
		}
	}
	if n := ns.Interfaces(); n[0] != "eth1" || n[1] != "eth0" || len(n) != 2 {
		t.Errorf("interfaces %v", n)
	}
	r, err := pcapgo.NewNgReader(bytes.NewReader(buf.Bytes()), pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; err == nil; n++ { // another reader gets the same
		_, _, err = r.ReadPacketData()
	}
	if err != io.EOF || n-1 != len(want) {
		t.Errorf("gopacket reads %d packets of %d: %v", n-1, len(want), err)
	}
}

func TestCutFiles(t *testing.T) {
	whole := map[Format][]byte{PCAP: load(t, "client.pcap"), PCAPNG: ngFile(t)}
	for format, data := range whole {
		all, _ := readAll(t, data)
		for n := 28; n < len(data); n += 7 {
			s, err := Open(bytes.NewReader(data[:n]))
			if err != nil {
				if n > 200 {
					t.Errorf("%s cut to %d bytes does not open: %v", format, n, err)
				}
				continue
			}
			packets, err := Read(s, 0)
			if len(packets) > len(all) || !slices.Equal(packets, all[:len(packets)]) {
				t.Fatalf("%s cut to %d bytes gives other packets", format, n)
			}
			if err == nil {
				continue // cut between two records
			}
			var e *Error
			if !errors.As(err, &e) || !errors.Is(err, io.ErrUnexpectedEOF) || e.Packet != len(packets)+1 || e.Offset > int64(n) ||
				!strings.Contains(err.Error(), "cut short") {
				t.Fatalf("%s cut to %d bytes: %v", format, n, err)
			}
		}
	}
}

func TestNotACapture(t *testing.T) {
	huge := load(t, "client.pcap")[:40]
	huge = append(bytes.Clone(huge[:24]), 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0x7f)
	wifi := bytes.Clone(load(t, "client.pcap"))
	wifi[20] = 127
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":     {nil, "empty"},
		"gzip":      {[]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0}, "gzip"},
		"binary":    {[]byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0}, "begins with 7f 45 4c 46"},
		"JSON":      {[]byte(`{"schema":1,"host":"director"}` + "\n"), "none of its 2 lines"},
		"prose":     {[]byte("tcpdump: no suitable device found\n"), "tcpdump -nn -e"},
		"huge":      {huge, "not plausible"},
		"wireless":  {wifi, "link type 127"},
		"header":    {load(t, "client.pcap")[:20], "cut short"},
		"ng header": {ngFile(t)[:9], "cut short"},
	} {
		s, err := Open(bytes.NewReader(c.data))
		if err == nil {
			var p capture.Packet
			err = s.Next(&p)
		}
		if err == nil || err == io.EOF || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
	s, err := Open(io.MultiReader(strings.NewReader(string(load(t, "client-e.txt"))), iotestErr{}))
	if err != nil {
		t.Fatal(err)
	}
	if packets, err := Read(s, 0); len(packets) == 0 || err == nil || !errors.Is(err, os.ErrClosed) {
		t.Errorf("a reader that fails: %d packets, %v", len(packets), err)
	}
}

type iotestErr struct{}

func (iotestErr) Read([]byte) (int, error) { return 0, os.ErrClosed }

func TestMidnight(t *testing.T) {
	text := `23:59:59.900000 IP 10.0.0.1.1024 > 172.16.0.8.80: Flags [S], seq 1, win 1, length 0
00:00:00.100000 IP 172.16.0.8.80 > 10.0.0.1.1024: Flags [S.], seq 9, ack 2, win 1, length 0
00:00:00.050000 IP 10.0.0.1.1024 > 172.16.0.8.80: Flags [.], ack 1, win 1, length 0
`
	packets, _ := readAll(t, []byte(text))
	if d := packets[1].Time - packets[0].Time; d != int64(200*time.Millisecond) {
		t.Errorf("over midnight: %s", time.Duration(d))
	}
	if d := packets[2].Time - packets[1].Time; d != -int64(50*time.Millisecond) {
		t.Errorf("a little disorder is not another day: %s", time.Duration(d))
	}
}

func TestTextVLANAndIPv6(t *testing.T) {
	text := `listening on bond0, link-type EN10MB (Ethernet), snapshot length 262144 bytes
13:22:28.000001 00:0c:29:6d:1a:7d > 00:0c:29:21:59:d7, ethertype 802.1Q (0x8100), length 78: vlan 10, p 0, ethertype IPv4 (0x0800), 188.88.88.10.49672 > 172.16.0.8.80: Flags [SEW], seq 5, win 29200, options [mss 1460], length 0
13:22:28.000002 00:0c:29:6d:1a:7d > 00:0c:29:21:59:d7, ethertype IPv6 (0x86dd), length 94: 2001:db8::1.49672 > 2001:db8::8.80: Flags [S], seq 7, win 29200, length 0
13:22:28.000003 IP6 2001:db8::8.80 > 2001:db8::1.49672: Flags [S.], seq 7, ack 8, win 29200, length 0
13:22:28.000004 ARP, Request who-has 172.16.0.8 (ff:ff:ff:ff:ff:ff) tell 172.16.0.1, length 46
10 packets captured
`
	packets, s := readAll(t, []byte(text))
	if len(packets) != 4 || s.Interfaces()[0] != "bond0" {
		t.Fatalf("%d packets, interfaces %v", len(packets), s.Interfaces())
	}
	p := packets[0]
	if p.VLAN != 10 || p.Flags != capture.SYN|capture.ECE|capture.CWR || p.Seq != 5 || p.WireLen != 78 || p.PayloadLen != 0 || !p.HasMAC {
		t.Errorf("%+v", p)
	}
	if p := packets[1]; p.Src.String() != "2001:db8::1" || p.DstPort != 80 || p.Flags != capture.SYN {
		t.Errorf("%+v", p)
	}
	if p := packets[2]; p.Ack != 8 || p.SrcPort != 80 {
		t.Errorf("%+v", p)
	}
	if p := packets[3]; p.Kind != capture.ARP || p.ARP.Op != 1 || p.Dst.String() != "172.16.0.8" || p.Src.String() != "172.16.0.1" {
		t.Errorf("%+v", p)
	}
}
