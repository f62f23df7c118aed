package ui

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	tea "charm.land/bubbletea/v2"

	"lvstui/capture"
	"lvstui/ui/internal/sample"
	"lvstui/ui/screens"
)

// recorderHost remembers what it was asked to write.
type recorderHost struct {
	*plainHost
	name   string
	want   func(*capture.Packet) bool
	refuse error
}

func (h *recorderHost) Record(_ context.Context, name string, want func(*capture.Packet) bool) (string, error) {
	if h.refuse != nil {
		return "", h.refuse
	}
	h.name, h.want = "/root/"+name, want
	h.facts.Capture.Recording = &screens.Recording{File: h.name, Files: 1}
	return h.name, nil
}

func (h *recorderHost) StopRecording(context.Context) (screens.Recording, error) {
	r := *h.facts.Capture.Recording
	h.facts.Capture.Recording = nil
	return r, nil
}

func TestWritePackets(t *testing.T) {
	host := &recorderHost{plainHost: &plainHost{name: "director", facts: sample.BrokenDirector()}}
	d := newDriver(t, 80, 24, Options{Hosts: []Host{host}}).start()
	d.press("2", "/", "=client:188.88.88.0/24 state:stalled", "enter", "w")
	d.shows("Write packets to a file", "file: lvstui-director-20261123-", ".pcapng", "only  the filter of Flows: client:188.88.88.0/24 state:stalled",
		"can not be chosen by state:stalled")
	d.press("ctrl+u", "enter")
	d.shows("✗ a file needs a name")
	host.refuse = errors.New("open x.pcapng: file exists")
	d.press("=x.pcapng", "enter")
	d.shows("✗ open x.pcapng: file exists", "file: x.pcapng")
	host.refuse = nil
	d.press("enter")
	d.hides("Write packets to a file")
	d.shows("writing to /root/x.pcapng; w ends it", "● writing 0 packets, 0B · 0 dropped")
	packet := func(src, dst string) *capture.Packet {
		a, b := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
		return &capture.Packet{Src: a.Addr(), SrcPort: a.Port(), Dst: b.Addr(), DstPort: b.Port()}
	}
	for _, c := range []struct {
		p    *capture.Packet
		want bool
	}{
		{packet("188.88.88.10:49674", "172.16.0.8:80"), true}, {packet("172.16.0.8:80", "188.88.88.10:49674"), true},
		{packet("10.0.0.1:4000", "172.16.0.8:80"), false}, {&capture.Packet{Kind: capture.ARP}, true},
	} {
		if host.want(c.p) != c.want {
			t.Errorf("%v to %v: wanted %v", c.p.Src, c.p.Dst, !c.want)
		}
	}
	host.facts.Capture.Recording = &screens.Recording{File: host.name, Files: 2, Packets: 12345, Bytes: 3456789}
	d.pass()
	d.shows("● writing 3.46MB · 0 dropped")
	d.send(tea.WindowSizeMsg{Width: 120, Height: 30})
	d.shows("● writing 12.3k packets, 3.46MB in 2 files · 0 dropped")
	d.send(tea.WindowSizeMsg{Width: 80, Height: 24})
	d.press("w")
	d.shows("written: 12.3k packets, 3.46MB in 2 files, /root/x.pcapng", "● live eth0 eth1")
	d.press("esc", "w", "esc")
	d.hides("Write packets")
	if host.facts.Capture.Recording != nil {
		t.Error("esc began a file")
	}
}

func TestNothingToWrite(t *testing.T) {
	d, _ := cluster(t)
	d.press("w")
	d.shows("w write: there are no live packets here")
}
