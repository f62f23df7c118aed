package fixes

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func TestStepsSurviveTheJournal(t *testing.T) {
	for _, st := range []Step{
		SetSysctl{"net/ipv4/conf/eth0.100/arp_ignore", "1"},
		SetSysctl{"net/ipv4/tcp_rmem", "4096\t131072\t6291456"},
		AddAddress{Device: "lo", Prefix: netip.MustParsePrefix("172.16.0.8/32")},
		AddAddress{Device: "eth0", Prefix: netip.MustParsePrefix("10.0.0.1/32"), Scope: "link", Label: "eth0:1", Peer: netip.MustParsePrefix("10.0.0.2/30"),
			Broadcast: netip.MustParseAddr("10.0.0.3"), NoPrefixRoute: true},
		DelAddress{"lo", netip.MustParsePrefix("2001:db8::8/128")},
		SetTimeouts{TCP: 7500}, AddNeighbour{"eth0", netip.MustParseAddr("10.0.0.1"), "02:00:00:00:00:01"}, DelNeighbour{"eth0", netip.MustParseAddr("2001:db8::1")},
		LoadModule{"ip_vs"}, UnloadModule{"ip_vs"}, Announce{"eth0", netip.MustParseAddr("2001:db8::8")},
		AddAccept{Family: "ip", Table: "filter", Chain: "INPUT", IPTables: true, Protocol: "udp", Address: netip.MustParseAddr("172.16.0.8"), Port: 53, Replies: true},
		DelAccept{Family: "inet", Table: "filter", Chain: "input", Protocol: "tcp", Address: netip.MustParseAddr("2001:db8::8"), Port: 80},
	} {
		b, err := EncodeStep(st)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeStep(b)
		if err != nil || !reflect.DeepEqual(got, st) {
			t.Errorf("%s\n got %#v, %v\nwant %#v", b, got, err, st)
		}
	}
}

func TestDecodeRefusesWhatWasNotEncoded(t *testing.T) {
	for _, c := range []string{
		``, `{}`, `[]`, `null`, `{"kind":"sysctl"}`,
		`{"kind":"exec","step":{"path":"rm"}}`,
		`{"kind":"sysctl","step":{"path":"net/ipv4/conf/all/arp_ignore","value":"1","sudo":true}}`,
		`{"kind":"sysctl","step":{"path":"net/ipv4/conf/all/arp_ignore","value":"1"},"then":1}`,
		`{"kind":"sysctl","step":{"path":"net/ipv4/conf/all/arp_ignore","value":"1"}} {}`,
		`{"kind":"sysctl","step":{"path":"kernel/core_pattern","value":"|/bin/sh"}}`,
		`{"kind":"sysctl","step":{"path":"net/../kernel/core_pattern","value":"|/bin/sh"}}`,
		`{"kind":"sysctl","step":{"path":"/net/ipv4/ip_forward","value":"1"}}`,
		`{"kind":"sysctl","step":{"path":"net/ipv4/conf/all/arp_ignore","value":""}}`,
		`{"kind":"sysctl","step":{"path":"net/ipv4/conf/all/arp_ignore","value":"1\n2"}}`,
		`{"kind":"address-add","step":{"device":"eth 0","prefix":"10.0.0.1/32"}}`,
		`{"kind":"address-add","step":{"device":"../x","prefix":"10.0.0.1/32"}}`,
		`{"kind":"address-add","step":{"device":"lo","prefix":"10.0.0.1"}}`,
		`{"kind":"address-add","step":{"device":"lo","prefix":"224.0.0.1/32"}}`,
		`{"kind":"address-add","step":{"device":"lo","prefix":"10.0.0.1/32","scope":"galaxy"}}`,
		`{"kind":"address-add","step":{"device":"lo"}}`,
		`{"kind":"address-del","step":{"device":"","prefix":"10.0.0.1/32"}}`,
		`{"kind":"module-load","step":{"name":"nvidia"}}`,
		`{"kind":"module-unload","step":{"name":"../ip_vs"}}`,
		`{"kind":"ipvs-timeouts","step":{}}`,
		`{"kind":"ipvs-timeouts","step":{"tcp":4294967295}}`,
		`{"kind":"neighbour-add","step":{"device":"lo","address":"10.0.0.1","mac":"somewhere"}}`,
		`{"kind":"neighbour-del","step":{"device":"lo","address":"224.0.0.1"}}`,
		`{"kind":"announce","step":{"device":"eth0","address":"127.0.0.1"}}`,
		`{"kind":"accept-add","step":{"family":"inet","table":"filter","chain":"in'put","protocol":"tcp","address":"10.0.0.1","port":80}}`,
		`{"kind":"accept-add","step":{"family":"arp","table":"filter","chain":"input","protocol":"tcp","address":"10.0.0.1","port":80}}`,
		`{"kind":"accept-add","step":{"family":"inet","table":"filter","chain":"input","protocol":"icmp","address":"10.0.0.1","port":80}}`,
		`{"kind":"accept-del","step":{"family":"inet","table":"filter","chain":"input","protocol":"tcp","address":"10.0.0.1"}}`,
	} {
		if st, err := DecodeStep([]byte(c)); err == nil {
			t.Errorf("%s: decoded as %#v", c, st)
		}
	}
}

func FuzzDecodeStep(f *testing.F) {
	f.Add([]byte(`{"kind":"sysctl","step":{"path":"net/ipv4/conf/all/arp_ignore","value":"1"}}`))
	f.Add([]byte(`{"kind":"address-add","step":{"device":"lo","prefix":"10.0.0.1/32","peer":"10.0.0.2/30"}}`))
	s := realServer()
	f.Fuzz(func(t *testing.T, b []byte) {
		st, err := DecodeStep(b)
		if err != nil {
			return
		}
		if again, err := EncodeStep(st); err != nil {
			t.Fatal(err)
		} else if same, err := DecodeStep(again); err != nil || !reflect.DeepEqual(st, same) {
			t.Fatalf("%s decodes, %s does not: %v", b, again, err)
		}
		if strings.ContainsAny(st.Command(), "\n\x00") {
			t.Errorf("a command of more than one line: %q", st.Command())
		}
		if next, err := st.Simulate(s); err == nil && !st.Done(next) {
			t.Errorf("%s is not done after Simulate", st.Command())
		}
	})
}

func TestCommandsCanBePasted(t *testing.T) {
	for _, c := range []struct {
		st   Step
		want string
	}{
		{SetSysctl{"net/ipv4/conf/all/arp_ignore", "1"}, "sysctl -w net.ipv4.conf.all.arp_ignore=1"},
		{SetSysctl{"net/ipv4/conf/eth0.100/arp_ignore", "1"}, "sysctl -w net.ipv4.conf.eth0/100.arp_ignore=1"},
		{SetSysctl{"net/ipv4/conf/$(reboot)/arp_ignore", "1"}, "sysctl -w 'net.ipv4.conf.$(reboot).arp_ignore=1'"},
		{AddAddress{Device: "lo", Prefix: netip.MustParsePrefix("172.16.0.8/32")}, "ip addr add 172.16.0.8/32 dev lo"},
		{AddAddress{Device: "lo", Prefix: netip.MustParsePrefix("172.16.0.8/32"), Scope: "host", Label: "lo:0"}, "ip addr add 172.16.0.8/32 dev lo scope host label lo:0"},
		{AddAddress{Device: "lo", Prefix: netip.MustParsePrefix("127.0.0.1/8"), Scope: "host"}, "ip addr add 127.0.0.1/8 dev lo"},
		{AddAddress{Device: "a';b", Prefix: netip.MustParsePrefix("10.0.0.1/24"), Broadcast: netip.MustParseAddr("10.0.0.255")}, `ip addr add 10.0.0.1/24 broadcast 10.0.0.255 dev 'a'\'';b'`},
		{AddAddress{Device: "ppp0", Prefix: netip.MustParsePrefix("10.0.0.1/32"), Peer: netip.MustParsePrefix("10.0.0.2/30")}, "ip addr add 10.0.0.1 peer 10.0.0.2/30 dev ppp0"},
		{DelAddress{"eth0", netip.MustParsePrefix("172.16.0.8/24")}, "ip addr del 172.16.0.8/24 dev eth0"},
		{SetTimeouts{TCP: 7500}, "ipvsadm --set 7500 0 0"},
		{LoadModule{"ip_vs"}, "modprobe ip_vs"},
		{Announce{"eth0", netip.MustParseAddr("172.16.0.8")}, "arping -U -c 3 -I eth0 172.16.0.8"},
		{DelNeighbour{"eth0", netip.MustParseAddr("172.16.0.8")}, "ip neigh del 172.16.0.8 dev eth0"},
		{AddAccept{Family: "inet", Table: "filter", Chain: "a;b", Protocol: "tcp", Address: netip.MustParseAddr("172.16.0.8"), Port: 80},
			`nft insert rule inet filter 'a;b' 'ip daddr 172.16.0.8 tcp dport 80 counter accept comment "lvstui tcp 172.16.0.8:80"'`},
	} {
		if got := c.st.Command(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}
