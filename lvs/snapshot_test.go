package lvs

import (
	"encoding/json"
	"reflect"
	"testing"
)

func TestReadAndEmptyDifferAfterJSON(t *testing.T) {
	s := &Snapshot{Schema: SnapshotSchema, Links: []Link{}, Sysctls: map[string]string{}}
	c := s.Clone()
	if !c.Has(SourceLinks) || !c.Has(SourceSysctls) {
		t.Error("a source that was read and found empty became unread in a Clone")
	}
	if c.Has(SourceAddresses) || c.Has(SourceIPVS) {
		t.Error("a source that was not read became read in a Clone")
	}
	if !reflect.DeepEqual(s, c) {
		t.Errorf("Clone differs:\n%#v\n%#v", s, c)
	}
}

func TestEffective(t *testing.T) {
	for _, c := range []struct {
		key        string
		all, iface string
		want       int
	}{
		{"arp_ignore", "1", "0", 1}, {"arp_ignore", "0", "2", 2}, {"arp_announce", "2", "0", 2},
		{"rp_filter", "1", "0", 1}, {"rp_filter", "1", "2", 2}, {"rp_filter", "2", "1", 2}, {"rp_filter", "0", "0", 0},
		{"accept_local", "0", "1", 1}, {"proxy_arp", "1", "0", 1}, {"log_martians", "0", "0", 0},
		{"accept_source_route", "1", "0", 0}, {"accept_source_route", "1", "1", 1},
		{"forwarding", "1", "0", 0}, {"forwarding", "0", "1", 1},
	} {
		s := &Snapshot{Sysctls: map[string]string{ConfPath("all", c.key): c.all, ConfPath("eth0.100", c.key): c.iface}}
		if got := s.Effective("eth0.100", c.key); !got.Known || got.Value != c.want {
			t.Errorf("%s all=%s dev=%s: got %+v, want %d", c.key, c.all, c.iface, got, c.want)
		}
		delete(s.Sysctls, ConfPath("eth0.100", c.key))
		if got := s.Effective("eth0.100", c.key); got.Known {
			t.Errorf("%s: known without the interface's value", c.key)
		}
	}
}

func TestSysctlName(t *testing.T) {
	if got := SysctlName(ConfPath("eth0.100", "rp_filter")); got != "net.ipv4.conf.eth0/100.rp_filter" {
		t.Error(got)
	}
}

func TestSnapshotMarshals(t *testing.T) {
	b, err := json.Marshal(&Snapshot{IPVS: &IPVS{Services: []Service{{FWMark: 7}}}})
	if err != nil {
		t.Fatal(err)
	}
	var s Snapshot
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	if got := s.IPVS.Services[0].Name(); got != "fwmark 7" {
		t.Error(got)
	}
}
