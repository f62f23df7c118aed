package file

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"lvstui/capture"
	"lvstui/lvs"
)

func readAll(t *testing.T, data []byte) ([]capture.Packet, Source) {
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

func TestArticleText(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "article-working.txt"))
	if err != nil {
		t.Fatal(err)
	}
	packets, s := readAll(t, data)
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
	if f.ISN != 448411585 {
		t.Errorf("ISN %d", f.ISN)
	}
	if got := packets[8].Seq; got != 3569473399+275 {
		t.Errorf("the server's FIN has absolute number %d", got)
	}
}
