//go:build guest

package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"lvstui/capture"
	"lvstui/lab"
	"lvstui/lvs"
)

// A director that rewrites addresses and ports listens for both sides of it, and says of one flow what both show.
func TestMasqueradedFlowsLive(t *testing.T) {
	c := startCluster(t, lab.Spec{Topology: lab.Shared, NoClient: true})
	on := func(host string, lines ...string) {
		t.Helper()
		for _, line := range lines {
			words := strings.Fields(line)
			var out []byte
			err := c.Host(host).Do(func() (err error) {
				out, err = exec.Command(words[0], words[1:]...).CombinedOutput()
				return err
			})
			if err != nil {
				t.Fatalf("%s: %s: %v: %s", host, line, err, out)
			}
		}
	}
	service := c.VIP() + ":8080"
	on(lab.Director, "sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.eth0.send_redirects=0",
		"ipvsadm -A -t "+service+" -s rr", fmt.Sprintf("ipvsadm -a -t %s -r %s:%d -m", service, lab.RIP1, lab.Port))
	on(lab.RealServer1, "ip route replace default via "+lab.DIP.String())

	heard := make(chan string)
	go func() {
		_, stdout, stderr := c.run(lab.Director, "flows", "--duration", "12s", "--port", "8080", "--format", "json")
		heard <- stdout + stderr
	}()
	time.Sleep(5 * time.Second)
	dial := func() error {
		return c.Host(lab.Client).Do(func() error {
			conn, err := net.DialTimeout("tcp", service, 2*time.Second)
			if err == nil {
				err = conn.Close()
			}
			return err
		})
	}
	if err := dial(); err != nil {
		t.Errorf("the client is not served: %v", err)
	}
	on(lab.RealServer1, "ip route replace default via 192.168.10.1") // past the director: nobody turns the addresses back
	if err := dial(); err == nil {
		t.Error("the client is served past the director")
	}

	text := <-heard
	var flows []capture.Flow
	for line := range strings.Lines(text) {
		var f capture.Flow
		if strings.HasPrefix(line, `{"id"`) {
			if err := json.Unmarshal([]byte(line), &f); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			flows = append(flows, f)
		}
	}
	if len(flows) != 2 {
		t.Fatalf("%d flows:\n%s", len(flows), text)
	}
	for i, want := range []struct {
		stalledAt lvs.Stage
		answered  bool
	}{{"", true}, {lvs.SynAckSent, false}} {
		f := flows[i]
		if f.Forward != string(lvs.Masq) || f.RealServer.String() != fmt.Sprintf("%s:%d", lab.RIP1, lab.Port) || f.StalledAt != want.stalledAt ||
			f.Stage(lvs.SynForwarded).State != lvs.Seen || (f.Stage(lvs.SynAckSent).State == lvs.Seen) != want.answered {
			t.Errorf("flow %d: %+v", i+1, f)
		}
	}
}
