package nextboot

import (
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"lvstui/fixes"
	"lvstui/lvs"
)

var update = flag.Bool("update", false, "write what comes out into testdata")

// host is a host of the cases: lo, two network cards and a dummy, everything readable.
func host() *lvs.Snapshot {
	s := &lvs.Snapshot{Host: "host", Schema: lvs.SnapshotSchema, Files: []lvs.ConfigFile{}, Owners: []lvs.Owner{},
		Links: []lvs.Link{{Index: 1, Name: "lo", Type: "loopback", Up: true, MTU: 65536},
			{Index: 2, Name: "eth0", Type: "ether", MAC: "52:54:00:00:00:01", Up: true, Running: true, MTU: 1500},
			{Index: 3, Name: "eth1", Type: "ether", MAC: "52:54:00:00:00:02", Up: true, Running: true, MTU: 1500},
			{Index: 4, Name: "eth0.100", Kind: "vlan", Type: "ether", MAC: "52:54:00:00:00:01", Up: true, MTU: 1500}},
		Addresses:   []lvs.Address{{Device: "lo", Prefix: netip.MustParsePrefix("127.0.0.1/8"), Scope: "host", Label: "lo"}, {Device: "eth0", Prefix: netip.MustParsePrefix("10.0.0.2/24"), Scope: "global", Label: "eth0"}},
		Routes:      []lvs.Route{{Table: 254, Type: "unicast", Dst: netip.MustParsePrefix("10.0.0.0/24"), Device: "eth0", Scope: "link", Protocol: "kernel"}},
		Neighbours:  []lvs.Neighbour{},
		Answers:     []lvs.RouteAnswer{},
		PolicyRules: []lvs.PolicyRule{{Priority: 0, Table: 255, Action: "table", Family: 4}, {Priority: 32766, Table: 254, Action: "table", Family: 4}, {Priority: 32767, Table: 253, Action: "table", Family: 4}},
		IPVS:        &lvs.IPVS{Loaded: true, Via: "netlink", Services: []lvs.Service{}, Timeouts: &lvs.Timeouts{TCP: 900, TCPFin: 120, UDP: 300}},
		Sysctls:     map[string]string{"net/ipv4/vs/expire_nodest_conn": "0"},
	}
	for _, dev := range []string{"all", "default", "lo", "eth0", "eth1", "eth0.100"} {
		for _, key := range []string{"arp_ignore", "arp_announce", "rp_filter"} {
			s.Sysctls[lvs.ConfPath(dev, key)] = "0"
		}
	}
	return s
}

// step reads a line of a case: what an operator wants, in words near to those of ip and ipvsadm.
func step(t *testing.T, s *lvs.Snapshot, line string) fixes.Step {
	w := strings.Fields(line)
	arg := func(i int) string {
		if i < len(w) {
			return w[i]
		}
		t.Fatalf("too few words: %s", line)
		return ""
	}
	switch w[0] {
	case "sysctl":
		return fixes.SetSysctl{Path: arg(1), Value: strings.Join(w[2:], " ")}
	case "address":
		p := netip.MustParsePrefix(arg(3))
		if arg(1) == "del" {
			if _, there := addressOn(s, arg(2), p); !there {
				s.Addresses = append(s.Addresses, lvs.Address{Device: arg(2), Prefix: p, Scope: "global", Label: arg(2)})
				s.Routes = append(s.Routes, lvs.Route{Table: 255, Type: "local", Dst: netip.PrefixFrom(p.Addr(), p.Addr().BitLen()), Device: arg(2), Scope: "host", Protocol: "kernel"})
			}
			return fixes.DelAddress{Device: arg(2), Prefix: p}
		}
		st := fixes.AddAddress{Device: arg(2), Prefix: p}
		if len(w) > 4 {
			st.Scope = w[4]
		}
		return st
	case "route", "unroute":
		r, ok := parseRouteWords(w[1:])
		if !ok {
			t.Fatalf("no route: %s", line)
		}
		if w[0] == "unroute" {
			s.Routes = append(s.Routes, lvs.Route{Table: r.Table, Type: "unicast", Dst: r.Dst, Gateway: r.Gateway, Device: r.Device, Scope: "global", Protocol: "boot"})
			return fixes.DelRoute(r)
		}
		return r
	case "rule", "unrule":
		r, ok := parseRuleWords(w[1:])
		if !ok {
			t.Fatalf("no rule: %s", line)
		}
		if w[0] == "unrule" {
			s.PolicyRules = append(s.PolicyRules, lvs.PolicyRule{Priority: r.Priority, From: r.From, To: r.To, Table: r.Table, Action: "table", Family: 4})
			slices.SortFunc(s.PolicyRules, func(a, b lvs.PolicyRule) int { return a.Priority - b.Priority })
			return fixes.DelRule(r)
		}
		return r
	case "have": // a service that is in the table already
		svc, ok := parseIPVSLine(append([]string{"-A"}, w[1:]...))
		if !ok {
			t.Fatalf("no service: %s", line)
		}
		svc.service.Flags = 2
		s.IPVS.Services = append(s.IPVS.Services, svc.service)
		return nil
	case "service":
		svc, ok := parseIPVSLine(append([]string{"-A"}, w[1:]...))
		if !ok {
			t.Fatalf("no service: %s", line)
		}
		st := fixes.AddService{Service: fixes.NameOf(svc.service), Scheduler: svc.service.Scheduler, Timeout: svc.service.Timeout}
		if svc.service.Persistent {
			st.Flags |= 1
		}
		return st
	case "unservice":
		svc, _ := parseIPVSLine(append([]string{"-A"}, w[1:]...))
		return fixes.DelService{Service: fixes.NameOf(svc.service)}
	case "edit":
		svc, _ := parseIPVSLine(append([]string{"-A"}, w[1:]...))
		return fixes.EditService{Service: fixes.NameOf(svc.service), Scheduler: svc.service.Scheduler}
	case "destination":
		c, ok := parseIPVSLine(append([]string{"-a"}, w[1:]...))
		if !ok {
			t.Fatalf("no destination: %s", line)
		}
		return fixes.AddDestination{Service: fixes.NameOf(c.service), Address: c.destination.Address, Port: c.destination.Port, Forward: c.destination.Forward, Weight: c.destination.Weight}
	case "timeouts":
		n, _ := strconv.Atoi(arg(1))
		return fixes.SetTimeouts{TCP: uint32(n)}
	}
	t.Fatalf("no step is called %q", w[0])
	return nil
}

// bootCase is a file of testdata: what is wanted, the files of a host, and those that lvstui makes of them.
//
//	do             steps, one per line
//	owners         NAME what,what
//	before/PATH    a file of the host
//	after/PATH     what the edits make of it; only what differs. An empty one is gone
//	words          what lvstui says that it does not write
type bootCase struct {
	name   string
	s      *lvs.Snapshot
	plan   fixes.Plan
	before map[string]string
	after  map[string]string
	words  []string
	raw    *txtar.Archive
}

func loadBootCase(t *testing.T, file string) bootCase {
	t.Helper()
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c := bootCase{name: strings.TrimSuffix(filepath.Base(file), ".txtar"), s: host(), before: map[string]string{}, after: map[string]string{}, raw: a}
	for _, f := range a.Files {
		text := string(f.Data)
		switch kind, name, _ := strings.Cut(f.Name, "/"); kind {
		case "do":
			for line := range strings.Lines(text) {
				if line = strings.TrimSpace(line); line != "" {
					if st := step(t, c.s, line); st != nil {
						c.plan.Steps = append(c.plan.Steps, st)
					}
				}
			}
		case "owners":
			for line := range strings.Lines(text) {
				w := strings.Fields(line)
				o := lvs.Owner{Name: w[0], Owns: strings.Split(w[1], ","), Evidence: "process 1 " + w[0]}
				if len(w) > 2 {
					o.File = w[2]
				}
				c.s.Owners = append(c.s.Owners, o)
			}
		case "before":
			c.before["/"+name] = text
		case "after":
			c.after["/"+name] = text
		case "words":
			for line := range strings.Lines(text) {
				c.words = append(c.words, strings.TrimSpace(line))
			}
		default:
			t.Fatalf("%s: no part is called %q", file, f.Name)
		}
	}
	c.s.Files = files(c.before)
	return c
}

func files(texts map[string]string) []lvs.ConfigFile {
	out := []lvs.ConfigFile{}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		f := lvs.ConfigFile{Path: name, Text: texts[name], Mode: 0o644}
		if to, ok := strings.CutPrefix(f.Text, "LINK "); ok {
			f.Link = strings.TrimSpace(to)
			f.Text = texts[f.Link]
		}
		out = append(out, f)
	}
	return out
}

func TestEdits(t *testing.T) {
	cases, _ := filepath.Glob("testdata/*.txtar")
	if len(cases) < 20 {
		t.Fatalf("only %d cases", len(cases))
	}
	for _, file := range cases {
		c := loadBootCase(t, file)
		t.Run(c.name, func(t *testing.T) {
			edits, words := Edits(c.plan, c.s)
			got := map[string]string{}
			now := maps.Clone(c.before)
			for _, e := range edits {
				if err := e.Validate(); err != nil {
					t.Errorf("an edit that nobody would write: %v", err)
				}
				if was, there := c.before[e.Path]; there != (e.Before != nil) || there && *e.Before != was {
					t.Errorf("%s: Before is not what was there", e.Path)
				}
				got[e.Path] = ""
				delete(now, e.Path)
				if e.After != nil {
					got[e.Path], now[e.Path] = *e.After, *e.After
				}
				if e.Why == "" {
					t.Errorf("%s is changed without a reason", e.Path)
				}
			}
			if *update {
				writeBootCase(t, file, c, got, words)
				return
			}
			if diff := cmp.Diff(c.after, got); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.words, words); diff != "" {
				t.Errorf("words (-want +got):\n%s", diff)
			}
			// Once written there is nothing more to write, and the same to say.
			c.s.Files = files(now)
			again, moreWords := Edits(c.plan, c.s)
			for _, e := range again {
				t.Errorf("a second time changes %s: %s", e.Path, e.Why)
			}
			if diff := cmp.Diff(words, moreWords); diff != "" {
				t.Errorf("a second time says something else: %s", diff)
			}
		})
	}
}

func writeBootCase(t *testing.T, file string, c bootCase, got map[string]string, words []string) {
	a := &txtar.Archive{Comment: c.raw.Comment}
	for _, f := range c.raw.Files {
		if !strings.HasPrefix(f.Name, "after/") && f.Name != "words" {
			a.Files = append(a.Files, f)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		a.Files = append(a.Files, txtar.File{Name: "after" + name, Data: []byte(got[name])})
	}
	if len(words) > 0 {
		a.Files = append(a.Files, txtar.File{Name: "words", Data: []byte(strings.Join(words, "\n") + "\n")})
	}
	if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
		t.Fatal(err)
	}
	fmt.Println("wrote", file)
}
