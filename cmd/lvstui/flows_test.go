package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"lvstui/capture"
	"lvstui/lvs"
)

// TestForgottenFlowsCount: a long run forgets lines, never the failures among them.
func TestForgottenFlowsCount(t *testing.T) {
	var out bytes.Buffer
	p := newFlowPrinter(&out, formatText, false)
	flow := func(id uint64, o capture.Outcome, mid bool) capture.Flow {
		return capture.Flow{ID: id, Outcome: o, Protocol: lvs.TCP, MidStream: mid}
	}
	for _, f := range []capture.Flow{flow(1, capture.Closed, false), flow(2, capture.Stalled, true), flow(3, capture.Pending, false), flow(1, capture.Closed, false)} {
		if err := p.print(f); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(out.String(), "\n"); n != 3 {
		t.Errorf("%d lines for three flows:\n%s", n, out.String())
	}
	remembered := []capture.Flow{flow(4, capture.Pending, false)}
	if err := p.expected("established", remembered); err != nil {
		t.Errorf("one closed, one met in mid-stream, one open: %v", err)
	}
	if len(p.last) != 0 || p.good != 1 || p.bad != 0 {
		t.Errorf("%+v", p)
	}
	p.print(flow(5, capture.Stalled, false))
	p.forget(nil)
	var status exitStatus
	if err := p.expected("established", remembered); !errors.As(err, &status) || status != statusBroken {
		t.Errorf("one stalled and is forgotten: %v", err)
	}
}

func TestFlowLine(t *testing.T) {
	f := capture.Flow{Outcome: capture.Stalled, Protocol: lvs.UDP, Vantage: lvs.RoleRealServer, Reached: lvs.SynAtRealServer, StalledAt: lvs.SynAckSent,
		Suspects: []string{"a", "b", "c", "d"}, Stages: []capture.StageSight{{Stage: lvs.SynAtRealServer, State: lvs.Seen}, {Stage: lvs.SynAckSent, State: lvs.Missing}}}
	plain, painted := flowLine(f, false), flowLine(f, true)
	if strings.Contains(plain, "\x1b") || !strings.Contains(plain, "udp") {
		t.Errorf("%q", plain)
	}
	if why := whyLines(f); !strings.Contains(why, "real server: reached") || !strings.Contains(why, "suspects: a, b, c, 1 more") {
		t.Errorf("%q", why)
	}
	for _, code := range []string{"\x1b[32m", "\x1b[31m", "\x1b[0m"} {
		painted = strings.ReplaceAll(painted, code, "")
	}
	if painted != plain {
		t.Errorf("colour changes more than colour:\n%q\n%q", painted, plain)
	}
}

func TestByteSize(t *testing.T) {
	for in, want := range map[string]int64{"4096": 4096, "500K": 500 << 10, "100m": 100 << 20, "1G": 1 << 30, "1k": 0, "0": 0, "-5M": 0, "G": 0, "99999999999G": 0, "1.5M": 0} {
		var b byteSize
		err := b.Set(in)
		if (err == nil) != (want > 0) || int64(b) != want {
			t.Errorf("%s: %d, %v; want %d", in, b, err, want)
		}
	}
}

func TestLasting(t *testing.T) {
	now := time.Now()
	f := capture.Flow{Outcome: capture.Established, FirstSeen: now, LastSeen: now.Add(time.Second)}
	if lasting(f) {
		t.Error("a connection of one second lasts")
	}
	f.LastSeen = now.Add(time.Minute)
	if !lasting(f) || settled(f) {
		t.Error("an established connection of a minute is open and lasts")
	}
}
