//go:build guest

package lab

import (
	"context"
	"strings"
	"testing"
	"time"
)

// up builds a lab for one test: its client is silent, and what it leaves behind fails the test.
func up(t *testing.T, topology Topology, faults ...string) *Lab {
	t.Helper()
	l, err := Up(t.Context(), Spec{Topology: topology, Faults: faults, NoClient: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// shortly is how long a client waits in these tests.
const shortly = 5 * time.Second

func TestClientIsServedByBothRealServers(t *testing.T) {
	for _, topology := range []Topology{Shared, Single} {
		t.Run(string(topology), func(t *testing.T) {
			l := up(t, topology)
			w := watch(t, l)
			results := l.Try(t.Context(), 5, shortly)
			if s := Count(results); s.OK != 5 || s.Servers["rs1"] < 2 || s.Servers["rs2"] < 2 {
				t.Errorf("5 connections came to %+v, want all served, by both", results)
			}
			alone, together := diagnose(t, l, w.stop())
			expectSound(t, alone)
			expectSound(t, together)
		})
	}
}

func TestSplitFailsAtTheRouter(t *testing.T) {
	l := up(t, Split)
	before := counter(t, l, Router, "TcpExt.IPReversePathFilter")
	results := l.Try(t.Context(), 4, shortly)
	if s := Count(results); s.TimedOut != 4 {
		t.Errorf("4 connections came to %+v, want 4 time-outs", results)
	}
	if n := counter(t, l, Router, "TcpExt.IPReversePathFilter") - before; n < 4 {
		t.Errorf("the router's IPReversePathFilter rose by %d, want at least 4, one per SYN-ACK", n)
	}
	entries := connections(t, l)
	if len(entries) != 4 {
		t.Errorf("the director has %d connections, want 4: %q", len(entries), entries)
	}
	for _, e := range entries {
		if !strings.Contains(e, "SYN_RECV") {
			t.Errorf("connection %q is not in SYN_RECV", e)
		}
	}
	if err := l.Host(Router).sysctl("net/ipv4/conf/all/rp_filter", "0"); err != nil {
		t.Fatal(err)
	}
	if err := l.eachNIC(Router, "rp_filter", "0"); err != nil {
		t.Fatal(err)
	}
	results = l.Try(t.Context(), 4, shortly)
	if s := Count(results); s.OK != 4 || s.Servers["rs1"] != 2 || s.Servers["rs2"] != 2 {
		t.Errorf("without the router's rp_filter 4 connections came to %+v, want all served", results)
	}
}

func TestLabLeavesNothingBehind(t *testing.T) {
	l, err := Up(context.Background(), Spec{Topology: Single})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Up(context.Background(), Spec{Topology: Single}); err == nil || !strings.Contains(err.Error(), "lab down") {
		t.Errorf("a second lab came to %v, want a refusal that says what to type", err)
	}
	if _, err := Ask(t.Context(), Request{Do: "down"}); err != nil {
		t.Error(err)
	}
	<-l.Done()
	if err := l.Down(); err != nil {
		t.Errorf("down a second time: %v", err)
	}
	nothingLeft(t)
}
