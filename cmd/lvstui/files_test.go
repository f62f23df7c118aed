package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lvstui/capture"
	"lvstui/lvs"
	"lvstui/probes"
	"lvstui/ui/screens"
)

const captures = "../../capture/testdata/"

func openFiles(t *testing.T, names ...string) []*fileHost {
	t.Helper()
	var files []*fileHost
	for _, name := range names {
		f, err := openFile(name, probes.Options{})
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	return joinFiles(files, probes.Options{})
}

// Captures of several hosts give one ladder: each frame once, with all who saw it, in the order of the way.
func TestFilesTogetherGiveOneLadder(t *testing.T) {
	hosts := openFiles(t, captures+"split-rs1.pcapng", captures+"split-director.pcapng", captures+"split-client.pcapng", captures+"split-router.pcapng")
	if len(hosts) != 5 || hosts[4].name != "all files" {
		t.Fatalf("%d hosts", len(hosts))
	}
	f := hosts[4].facts
	if f.Capture.Mode != screens.CaptureFile || f.Capture.Packets == 0 || len(f.Flows) == 0 {
		t.Fatalf("%+v, %d flows", f.Capture, len(f.Flows))
	}
	var stalled *capture.Flow
	for i := range f.Flows {
		if len(f.Flows[i].Vantages) == 4 && f.Flows[i].Outcome == capture.Stalled {
			stalled = &f.Flows[i]
		}
	}
	if stalled == nil || stalled.StalledAt != lvs.SynAckAtClient {
		t.Fatalf("no flow that all four saw stall at the router: %+v", stalled)
	}
	var text strings.Builder
	for _, l := range screens.NewLadder(*stalled, f).View(120, 60) {
		text.WriteString(l.Plain() + "\n")
	}
	at := 0
	for _, want := range []string{"[client]", "[router]", "[director]", "[real server]", "seen by client, router", "seen by router, director",
		"seen by director, real server", "seen by real server, router", "The router did not send the SYN-ACK on to the client"} {
		i := strings.Index(text.String()[at:], want)
		if i < 0 {
			t.Fatalf("no %q, or not there:\n%s", want, text.String())
		}
		at += i
	}
	if n := strings.Count(text.String(), "seen by client, router"); n != 1 {
		t.Errorf("the client's SYN is drawn %d times", n)
	}
}

// A capture belongs to the snapshot of the host that it is called after.
func TestCaptureAndSnapshotOfOneHost(t *testing.T) {
	dir := t.TempDir()
	snapshot := filepath.Join(dir, "somewhere.json")
	text, err := json.Marshal(&lvs.Snapshot{Schema: lvs.SnapshotSchema, Host: "split-director", Links: []lvs.Link{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(snapshot, text, 0o600); err != nil {
		t.Fatal(err)
	}
	hosts := openFiles(t, captures+"split-director.pcapng", snapshot)
	if len(hosts) != 1 || hosts[0].facts.Snapshot == nil || len(hosts[0].facts.Flows) == 0 || hosts[0].facts.Capture.Mode != screens.CaptureFile {
		t.Fatalf("%d hosts: %+v", len(hosts), hosts[0].facts.Capture)
	}
	hosts = openFiles(t, captures+"split-rs1.pcapng", snapshot)
	if len(hosts) != 3 || hosts[2].facts.Snapshot == nil || len(hosts[2].facts.Flows) == 0 {
		t.Fatalf("%d hosts", len(hosts))
	}
}
