package collect

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lvstui/lvs"
)

// director is a Snapshot with something in every part.
func director() *lvs.Snapshot {
	return &lvs.Snapshot{
		Schema: lvs.SnapshotSchema, Host: "lb1", TakenAt: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), Kernel: "6.1.0-13-amd64", NetNS: "net:[1]",
		Capabilities: []string{"CAP_NET_ADMIN"}, Operator: &lvs.Session{Client: ends("8.8.4.9:50022"), Server: ends("8.8.8.2:22"), Interface: "eth0"},
		IPVS: &lvs.IPVS{Loaded: true, Via: "netlink", Services: []lvs.Service{{Protocol: lvs.TCP, Address: ip("8.8.8.8"), Port: 80, Scheduler: "rr",
			Destinations: []lvs.Destination{{Address: ip("192.168.10.11"), Port: 80, Forward: lvs.Gate, Weight: 1}}}}, Daemons: []lvs.SyncDaemon{},
			Connections: &lvs.Connections{Read: 1, ByState: map[string]int{"ESTABLISHED": 1}, Sample: []lvs.Connection{{Protocol: lvs.TCP,
				Client: ends("88.1.2.3:40000"), Virtual: ends("8.8.8.8:80"), Destination: ends("192.168.10.11:80"), State: "ESTABLISHED", Expires: 9}}}},
		Links: []lvs.Link{{Index: 2, Name: "eth0", Type: "ether", MAC: "52:54:00:12:34:56", PermMAC: "52:54:00:12:34:57", Up: true}},
		Addresses: []lvs.Address{{Device: "eth0", Prefix: netip.MustParsePrefix("8.8.8.2/24"), Scope: "global"},
			{Device: "eth0", Prefix: netip.MustParsePrefix("fe80::5054:ff:fe12:3456/64"), Scope: "link"}},
		Neighbours:  []lvs.Neighbour{{Address: ip("8.8.8.1"), Device: "eth0", MAC: "00:00:5e:00:01:07", State: "stale"}, {Address: ip("192.168.10.11"), Device: "eth0", MAC: "52:54:00:12:34:56", State: "reachable"}},
		Routes:      []lvs.Route{{Table: 254, Type: "unicast", Dst: net4("0.0.0.0/0"), Gateway: ip("8.8.8.1"), Device: "eth0"}, {Table: 254, Type: "unicast", Dst: net4("8.8.8.0/24"), Device: "eth0", Source: ip("8.8.8.2")}},
		Answers:     []lvs.RouteAnswer{{RouteQuery: lvs.RouteQuery{Dst: ip("8.8.8.8"), Src: ip("88.1.2.3"), Iif: "eth0"}, Outcome: lvs.OutLocal}},
		PolicyRules: []lvs.PolicyRule{{Priority: 100, From: net4("8.8.8.8/32"), Action: "table", Table: 7, Family: 4}},
		Sysctls:     map[string]string{lvs.ConfPath("eth0", "rp_filter"): "1"},
		Sockets:     []lvs.Socket{{Protocol: lvs.TCP, Address: ip("0.0.0.0"), Port: 22}},
		Clients:     []lvs.Client{{Address: ip("88.1.2.3"), Virtual: ip("8.8.8.8"), Origin: "ipvs"}},
		Netfilter: &lvs.Netfilter{NFTables: true, Chains: []lvs.Chain{{Backend: "nftables", Family: "ip", Table: "filter", Name: "input", Rules: []lvs.FilterRule{
			{Matches: []lvs.Match{{Field: "ip saddr", Values: []string{"88.1.2.0/24"}}}, Verdict: "drop", Text: `ip saddr 88.1.2.0/24 drop comment "not on lb1"`}}}}},
		Counters: map[string]uint64{"TcpExt.ListenDrops": 3},
		Owners:   []lvs.Owner{{Name: "keepalived", Owns: []string{"ipvs"}, Evidence: "process 812 keepalived", File: "/etc/keepalived/keepalived.conf"}},
		Gaps:     []lvs.Gap{{Source: lvs.SourceSockets, Reason: "sockets of 8.8.8.8 on lb1"}},
	}
}

func TestWrittenSnapshotsAreReadBack(t *testing.T) {
	want := director()
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Load(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, same); diff != "" {
		t.Error(diff)
	}
	// A field that a later version adds under the same schema does not hinder this one.
	later := bytes.Replace(b, []byte(`{"schema":1,`), []byte(`{"schema":1,"new_in_1":{"a":[1]},`), 1)
	if _, err := Load(bytes.NewReader(later)); err != nil {
		t.Error(err)
	}
}

func TestWhatIsNoSnapshotIsRefused(t *testing.T) {
	whole, err := json.Marshal(director())
	if err != nil {
		t.Fatal(err)
	}
	edit := func(old, new string) string {
		s := strings.Replace(string(whole), old, new, 1)
		if s == string(whole) {
			t.Fatalf("%q is not in the snapshot", old)
		}
		return s
	}
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", "", "the file is empty"},
		{"blanks", " \n", "the file is empty"},
		{"an empty object", "{}", "no schema number"},
		{"other JSON", `{"name":"x","version":"1.0"}`, "no schema number"},
		{"a list", "[]", "a JSON list"},
		{"a word", "null", "no JSON object"},
		{"a check report", `{"schema":1,"host":"lb1","verdict":"ok"}`, "a report of lvstui check"},
		{"an object with a schema", `{"schema":1,"a":2}`, `"host" is missing`},
		{"a schema of words", `{"schema":"http://json-schema.org/x"}`, "instead of a number"},
		{"a newer schema", edit(`"schema":1`, `"schema":99`), "upgrade"},
		{"pcap", "\xd4\xc3\xb2\xa1\x02\x00\x04\x00", "a packet capture"},
		{"pcapng", "\x0a\x0d\x0d\x0a\x1c\x00\x00\x00\x4d\x3c\x2b\x1a", "a packet capture"},
		{"HTML", "<!DOCTYPE html><html>", "a web page"},
		{"gzip", "\x1f\x8b\x08\x00", "gunzip"},
		{"text", "IP Virtual Server version 1.2.1", "no JSON object"},
		{"cut short", string(whole[:len(whole)/2]), "ends in the middle"},
		{"two in one", string(whole) + string(whole), "no JSON from byte"},
		{"a string for a number", edit(`"uid":0`, `"uid":"root"`), "uid holds a string"},
		{"no address", edit(`"gateway":"8.8.8.1"`, `"gateway":"8.8.8"`), "damaged"},
		{"too long", "{" + strings.Repeat(" ", maxSnapshot) + "}", "longer than"},
	} {
		s, err := Load(strings.NewReader(tt.text))
		if err == nil {
			t.Errorf("%s was taken for a snapshot: %+v", tt.name, s)
		} else if !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %q does not say %q", tt.name, err, tt.want)
		}
	}
}

func FuzzLoad(f *testing.F) {
	whole, err := json.Marshal(director())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Load(bytes.NewReader(b))
		if (s == nil) == (err == nil) {
			t.Errorf("neither or both: %v, %v", s, err)
		}
		if err == nil {
			r := NewRedactor()
			clear(r.key) // the fuzzer needs the same way for the same input
			r.Snapshot(s)
		}
	})
}

func TestRedact(t *testing.T) {
	s := director()
	before, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	got := Redact(s)
	if after, _ := json.Marshal(s); !bytes.Equal(before, after) {
		t.Error("Redact changed the snapshot it was given")
	}
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"8.8.8.", "8.8.4.9", "88.1.2.", "lb1", "52:54:00:12:34", "5054:ff:fe12"} {
		if bytes.Contains(text, []byte(secret)) {
			t.Errorf("%s is still there: %s", secret, text)
		}
	}
	for _, kept := range []string{"192.168.10.11", "00:00:5e:00:01:07", "0.0.0.0/0", "keepalived.conf", "eth0", "6.1.0-13-amd64"} {
		if !bytes.Contains(text, []byte(kept)) {
			t.Errorf("%s is gone", kept)
		}
	}
	// Equal stays equal, and what lay in a subnet still lies in it.
	vip := got.IPVS.Services[0].Address
	if got.Answers[0].Dst != vip || got.Clients[0].Virtual != vip || got.PolicyRules[0].From.Addr() != vip || got.IPVS.Connections.Sample[0].Virtual.Addr() != vip {
		t.Errorf("the VIP %v got several new addresses", vip)
	}
	subnet := got.Routes[1].Dst
	if subnet.Bits() != 24 || subnet != subnet.Masked() || !subnet.Contains(vip) || !subnet.Contains(got.Routes[0].Gateway) ||
		got.Addresses[0].Prefix.Masked() != subnet || subnet.Contains(got.Clients[0].Address) {
		t.Errorf("subnet %v lost its VIP %v, gateway %v or address %v", subnet, vip, got.Routes[0].Gateway, got.Addresses[0].Prefix)
	}
	match := netip.MustParsePrefix(got.Netfilter.Chains[0].Rules[0].Matches[0].Values[0])
	if !match.Contains(got.Clients[0].Address) {
		t.Errorf("the rule about %v no longer concerns the client %v", match, got.Clients[0].Address)
	}
	if got.Links[0].MAC != got.Neighbours[1].MAC || got.Links[0].MAC == got.Links[0].PermMAC {
		t.Error("hardware addresses lost their equality, or won one")
	}
	if keys := slices.Collect(func(yield func(string) bool) {
		for k := range got.Sysctls {
			yield(k)
		}
	}); !slices.Equal(keys, []string{lvs.ConfPath("eth0", "rp_filter")}) {
		t.Errorf("sysctls %v", keys)
	}
}

func TestRedactKeepsSeveralHostsComparable(t *testing.T) {
	r := NewRedactor()
	a, b := r.Snapshot(director()), r.Snapshot(director())
	if diff := cmp.Diff(a, b, same); diff != "" {
		t.Error("one host looked at twice got two redactions:\n", diff)
	}
	if c := Redact(director()); reflect.DeepEqual(a, c) {
		t.Error("two keys gave one redaction")
	}
}
