package file

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lvstui/capture"
)

func FuzzOpen(f *testing.F) {
	for _, name := range []string{"client.pcap", "client-any.pcap"} {
		f.Add(load(f, name))
	}
	f.Add(bigEndian(load(f, "client.pcap"))[:200])
	f.Add(ngFile(f))
	recorded, err := filepath.Glob("../testdata/*.pcapng") // in the lab, on every host, served and not
	if err != nil || len(recorded) == 0 {
		f.Fatalf("no recordings: %v", err)
	}
	for _, name := range recorded {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(fuzzFile)
}

func FuzzText(f *testing.F) {
	for _, name := range []string{"article-working.txt", "client-e-v.txt", "client-any-e.txt", "client-e-tttt.txt", "client-tt.txt",
		"masq-director-names.txt", "masq-client-ttt.txt", "masq-client-number.txt", "ipip-director-v.txt", "ipip-director-e.txt", "split-router.txt"} {
		f.Add(load(f, name))
	}
	var broken bytes.Buffer
	for line := range strings.Lines(string(load(f, "client-e.txt"))) {
		broken.WriteString(strings.Join(hardWrap(strings.TrimRight(line, "\n"), 72), "\n") + "\n")
	}
	f.Add(broken.Bytes())
	f.Fuzz(fuzzFile)
}

// fuzzFile reads whatever comes, and writes it and reads it again.
func fuzzFile(t *testing.T, data []byte) {
	s, err := Open(bytes.NewReader(data))
	if err != nil {
		return
	}
	var out bytes.Buffer
	w, err := NewWriter(&out, s.Interfaces())
	if err != nil {
		t.Fatal(err)
	}
	tr := capture.NewTracker(capture.Config{MaxFlows: 16})
	var times []int64
	var p capture.Packet
	for err = s.Next(&p); err == nil; err = s.Next(&p) {
		tr.Add(&p)
		if frame, link := s.Frame(); link == capture.LinkEthernet && frame != nil {
			if err := w.Write(&p, frame, link); err != nil {
				t.Fatal(err)
			}
			times = append(times, p.Time)
		}
	}
	tr.Flows()
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	again, _ := readAll(t, out.Bytes())
	for i, g := range again {
		if g.Time != times[i] {
			t.Errorf("packet %d: time %d became %d", i+1, times[i], g.Time)
		}
	}
}
