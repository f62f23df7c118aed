package file

import (
	"bytes"
	"compress/gzip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lvstui/capture"
)

func recordedPCAP(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/client.pcap")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// packetsOf reads a whole file.
func packetsOf(t *testing.T, b []byte) []capture.Packet {
	t.Helper()
	s, err := Open(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	list, err := Read(s, 0)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestRotating(t *testing.T) {
	name := filepath.Join(t.TempDir(), "trace.pcapng")
	r, err := Create(name, 1000, 3)
	if err != nil {
		t.Fatal(err)
	}
	r.AddInterface(7, "eth0")
	src, err := Open(bytes.NewReader(recordedPCAP(t)))
	if err != nil {
		t.Fatal(err)
	}
	var p capture.Packet
	written := 0
	for src.Next(&p) == nil {
		p.Interface, p.Dir = 7, capture.In
		frame, link := src.Frame()
		for range 5 {
			if err := r.Write(&p, frame, link); err != nil {
				t.Fatal(err)
			}
			written++
		}
	}
	if err := r.Close(Statistics{Received: 50, Dropped: 3, Comments: []string{"one flow\x1b[31m was closed"}}); err != nil {
		t.Fatal(err)
	}
	files := r.Files()
	if len(files) != 3 || filepath.Base(files[2]) == "trace.pcapng" || !strings.HasSuffix(files[2], ".pcapng") {
		t.Fatalf("kept %v", files)
	}
	if _, err := os.Stat(name); !os.IsNotExist(err) {
		t.Errorf("the first of more than three files is still there: %v", err)
	}
	for i, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		list := packetsOf(t, b)
		if len(list) == 0 || len(list) >= written/2 || list[0].Dir != capture.In || len(b) > 1300 {
			t.Errorf("%s: %d packets in %d bytes", f, len(list), len(b))
		}
		if comment := bytes.Contains(b, []byte("one flow[31m was closed")); comment != (i == 2) {
			t.Errorf("%s: comment %v", f, comment)
		}
		s, _ := Open(bytes.NewReader(b))
		Read(s, 0)
		if s.Interfaces()[0] != "eth0" {
			t.Errorf("%s: interfaces %v", f, s.Interfaces())
		}
		if path, err := exec.LookPath("tcpdump"); err == nil { // a second opinion where there is one
			if out, err := exec.Command(path, "-nr", f).CombinedOutput(); err != nil {
				t.Errorf("tcpdump does not read %s: %v: %s", f, err, out)
			}
		}
	}
	if err := r.Write(&p, nil, capture.LinkEthernet); err == nil {
		t.Error("a closed file takes packets")
	}
	if _, err := Create(files[2], 0, 0); err == nil {
		t.Error("a file that exists was overwritten")
	}
}

func TestGzip(t *testing.T) {
	plain := recordedPCAP(t)
	zip := func(b []byte) []byte {
		var out bytes.Buffer
		z := gzip.NewWriter(&out)
		z.Write(b)
		z.Close()
		return out.Bytes()
	}
	want, got := packetsOf(t, plain), packetsOf(t, zip(plain))
	if len(got) == 0 || len(got) != len(want) || got[len(got)-1] != want[len(want)-1] {
		t.Errorf("%d packets, unpacked %d", len(got), len(want))
	}
	s, err := Open(bytes.NewReader(zip(plain)[:len(zip(plain))-100]))
	if err == nil {
		_, err = Read(s, 0)
	}
	if err == nil || !strings.Contains(err.Error(), "cut short") {
		t.Errorf("half a file: %v", err)
	}
	for what, b := range map[string][]byte{"twice": zip(zip(plain)), "no gzip behind the mark": {0x1f, 0x8b, 1, 2, 3}} {
		if _, err := Open(bytes.NewReader(b)); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	// A bomb: what it unpacks to is read as it comes and bounded like any file.
	bomb := append(bytes.Clone(plain[:24]), make([]byte, 8<<20)...)
	if s, err := Open(bytes.NewReader(zip(bomb))); err == nil {
		if list, _ := Read(s, 1000); len(list) > 1000 {
			t.Errorf("%d packets", len(list))
		}
	}
}
