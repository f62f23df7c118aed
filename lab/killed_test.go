//go:build guest

package lab

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary be the process that holds a lab, for a test to kill.
func TestMain(m *testing.M) {
	if topology := os.Getenv("LVSTUI_TEST_HOLD"); topology != "" {
		l, err := Up(context.Background(), Spec{Topology: Topology(topology), Native: true})
		fmt.Println("up:", err)
		if err == nil {
			<-l.Done()
		}
		return
	}
	os.Exit(m.Run())
}

// hold starts another process with a lab and waits until it is up.
func hold(t *testing.T, topology Topology) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "LVSTUI_TEST_HOLD="+string(topology))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "up: <nil>\n" {
		t.Fatalf("the lab of another process: %q, %v", line, err)
	}
	return cmd
}

func TestAnotherProcessCanUseTheLab(t *testing.T) {
	hold(t, Shared)
	state, err := ReadState()
	if err != nil || state.Topology != Shared || len(state.Hosts) != 5 || state.VIP != "172.16.0.8" {
		t.Fatalf("state %+v, %v", state, err)
	}
	for _, h := range state.Hosts {
		if want := filepath.Join(netnsDir, "lvstui-"+h.Name); h.NetNS != want || h.Host().Do(func() error { return linkUp("eth0") }) != nil {
			t.Errorf("host %s is at %s, want %s and its eth0 there", h.Name, h.NetNS, want)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if r, err := Ask(ctx, Request{Do: "inject", Fault: "no-available-dest"}); err != nil || len(r.State.Faults) != 1 {
		t.Errorf("inject: %+v, %v", r, err)
	}
	if r, err := Ask(ctx, Request{Do: "try", Count: 2}); err != nil || Count(r.Results).Refused != 2 {
		t.Errorf("try: %+v, %v; want 2 connections refused", r, err)
	}
	if _, err := Ask(ctx, Request{Do: "inject", Fault: "no-available-dest"}); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("inject a second time: %v", err)
	}
	if r, err := Ask(ctx, Request{Do: "heal", Fault: "no-available-dest"}); err != nil || len(r.State.Faults) != 0 {
		t.Errorf("heal: %+v, %v", r, err)
	}
	time.Sleep(2 * time.Second)
	if r, err := Ask(ctx, Request{Do: "status"}); err != nil || r.Client.OK == 0 {
		t.Errorf("status: %+v, %v; want a client that is served", r, err)
	}
	if err := Clear(); err == nil || !strings.Contains(err.Error(), "lab down") {
		t.Errorf("clear a lab that is up: %v, want a refusal", err)
	}
	if _, err := Ask(ctx, Request{Do: "down"}); err != nil {
		t.Error(err)
	}
	nothingLeft(t)
}

func TestKilledLabIsClearedAway(t *testing.T) {
	cmd := hold(t, Single)
	cmd.Process.Kill()
	cmd.Wait()
	if left, _ := os.ReadDir(netnsDir); len(left) != 6 {
		t.Fatalf("the killed lab left %v, want its six namespaces", left)
	}
	l := up(t, Single)
	if s := Count(l.Try(t.Context(), 2, shortly)); s.OK != 2 {
		t.Errorf("after a killed lab a new one came to %+v", s)
	}
	if left, _ := os.ReadDir(netnsDir); len(left) != 6 {
		t.Errorf("the new lab has %v, want six namespaces", left)
	}
	if err := l.Down(); err != nil {
		t.Error(err)
	}
	nothingLeft(t)
}

func TestForeignNamespacesAreLeftAlone(t *testing.T) {
	h, err := createHost("somebody", "rs1")
	if err != nil {
		t.Fatal(err)
	}
	defer deleteNetNS(h.path)
	if l, err := Up(t.Context(), Spec{Topology: Single}); err == nil || !strings.Contains(err.Error(), "ip netns del rs1") {
		t.Errorf("beside a namespace rs1 of somebody else the lab came to %v, want a refusal that says what to type", err)
		if err == nil {
			l.Down()
		}
	}
	if err := h.Do(func() error { return linkUp("lo") }); err != nil {
		t.Errorf("somebody else's namespace: %v", err)
	}
}

func nothingLeft(t *testing.T) {
	t.Helper()
	if left, err := os.ReadDir(netnsDir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := ReadState(); err != ErrNotUp {
		t.Errorf("ReadState: %v, want %v", err, ErrNotUp)
	}
}
