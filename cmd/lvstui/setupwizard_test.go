package main

import (
	"net/netip"
	"strings"
	"testing"

	"lvstui/lvs"
	"lvstui/ui/wizard"
)

func promptHost() *lvs.Snapshot {
	any4 := netip.MustParsePrefix("0.0.0.0/0")
	return &lvs.Snapshot{Schema: lvs.SnapshotSchema, Host: "lb1", IPVS: &lvs.IPVS{Loaded: true, Services: []lvs.Service{}},
		Capabilities: []string{"CAP_NET_ADMIN", "CAP_NET_RAW"},
		Links:        []lvs.Link{{Index: 2, Name: "eth0", Type: "ether", MAC: "02:00:00:00:00:01", MTU: 1500, Up: true, Running: true}},
		Addresses:    []lvs.Address{{Device: "eth0", Prefix: netip.MustParsePrefix("192.168.10.2/24"), Scope: "global"}},
		Routes: []lvs.Route{{Table: lvs.TableMain, Type: "unicast", Dst: any4, Gateway: netip.MustParseAddr("192.168.10.1"), Device: "eth0", Scope: "global"},
			{Table: lvs.TableMain, Type: "unicast", Dst: netip.MustParsePrefix("192.168.10.0/24"), Device: "eth0", Scope: "link"}},
		PolicyRules: []lvs.PolicyRule{{Priority: 0, Table: lvs.TableLocal, Action: "table", Family: 4}, {Priority: 32766, Table: lvs.TableMain, Action: "table", Family: 4}},
		Neighbours:  []lvs.Neighbour{{Address: netip.MustParseAddr("192.168.10.11"), Device: "eth0", MAC: "02:00:00:00:00:11", State: "stale"}},
		Sysctls:     map[string]string{}, Clients: []lvs.Client{}, Owners: []lvs.Owner{}}
}

// Line by line: a refusal asks again, what is found is said, and the answers become the flags of setup director.
func TestPlainPrompts(t *testing.T) {
	var sheet wizard.Sheet
	sheet.SetFacts(wizard.Facts{Snapshot: promptHost()})
	var out strings.Builder
	if err := promptSetup(&sheet, strings.NewReader("router\ndirector\n172.16.0.8/24\n80\n10.9.9.9\n192.168.10.11 192.168.10.12=2\n"), &out); err != nil {
		t.Fatal(err, out.String())
	}
	at := 0
	for _, want := range []string{"What is this host to be?", "as director or as real-server", "Which address do clients use?", "What do clients come for?",
		"192.168.10.11: seen on eth0", "Who serves the clients?", "10.9.9.9 is behind 192.168.10.1", "real servers: 192.168.10.11 192.168.10.12=2 (you said so)",
		"interface: eth0"} {
		i := strings.Index(out.String()[at:], want)
		if i < 0 {
			t.Fatalf("no %q, or not there:\n%s", want, out.String())
		}
		at += i
	}
	var opt setupOptions
	if err := opt.take(&sheet); err != nil || opt.vip.String() != "172.16.0.8/24" || opt.services.String() != "tcp/80" ||
		opt.realServers.String() != "192.168.10.11,192.168.10.12=2" || opt.device != "eth0" || opt.scheduler != "rr" {
		t.Errorf("%+v, %v", opt, err)
	}
}

// An input that ends is no answer, and not asked for ever.
func TestPromptsEnd(t *testing.T) {
	var sheet wizard.Sheet
	sheet.SetFacts(wizard.Facts{Snapshot: promptHost()})
	var out strings.Builder
	err := promptSetup(&sheet, strings.NewReader("director\n"), &out)
	if err == nil || !strings.Contains(err.Error(), "Which address do clients use?") {
		t.Errorf("%v", err)
	}
}
