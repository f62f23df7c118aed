package collect

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"lvstui/lvs"
)

// same compares Snapshots and their parts.
var same = cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{})

var (
	ip   = netip.MustParseAddr
	ends = netip.MustParseAddrPort
	net4 = netip.MustParsePrefix
)

// message encodes a netlink message.
func message(typ, flags uint16, seq uint32, data []byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(16+len(data)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = binary.NativeEndian.AppendUint16(b, flags)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = append(binary.NativeEndian.AppendUint32(b, 0), data...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func negative(errno unix.Errno) []byte {
	return append(u32(uint32(-int32(errno))), make([]byte, 16)...)
}

func TestDumpOverDatagrams(t *testing.T) {
	entry := func(flags uint16, seq uint32) []byte {
		return message(unix.RTM_NEWADDR, flags|unix.NLM_F_MULTI, seq, make([]byte, 8))
	}
	done := message(unix.NLMSG_DONE, unix.NLM_F_MULTI, 7, u32(0))
	for _, tt := range []struct {
		name      string
		datagrams [][]byte
		entries   int
		want      error
	}{
		{"empty table", [][]byte{done}, 0, nil},
		{"two datagrams", [][]byte{slices.Concat(entry(0, 7), entry(0, 7)), slices.Concat(entry(0, 7), done)}, 3, nil},
		{"interrupted in the middle", [][]byte{entry(0, 7), slices.Concat(entry(unix.NLM_F_DUMP_INTR, 7), done)}, 2, errInterrupted},
		{"interruption told at the end", [][]byte{entry(0, 7), message(unix.NLMSG_DONE, unix.NLM_F_MULTI|unix.NLM_F_DUMP_INTR, 7, u32(0))}, 1, errInterrupted},
		{"refused", [][]byte{message(unix.NLMSG_ERROR, 0, 7, negative(unix.EPERM))}, 0, unix.EPERM},
		{"no such family", [][]byte{message(unix.NLMSG_ERROR, 0, 7, negative(unix.ENOENT))}, 0, unix.ENOENT},
		{"error told at the end", [][]byte{entry(0, 7), message(unix.NLMSG_DONE, unix.NLM_F_MULTI, 7, negative(unix.ENODEV))}, 1, unix.ENODEV},
		{"rest of an earlier question", [][]byte{slices.Concat(entry(0, 6), message(unix.NLMSG_DONE, 0, 6, u32(0)), entry(0, 7), done)}, 1, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var d dumpState
			n, ended := 0, false
			var err error
			for _, b := range tt.datagrams {
				if ended {
					t.Fatal("the dump ended too early")
				}
				ended, err = d.feed(b, 7, func(nlmsg) error { n++; return nil })
			}
			if !ended || n != tt.entries || !errors.Is(err, tt.want) {
				t.Errorf("ended %v, %d entries, %v; want %d, %v", ended, n, err, tt.entries, tt.want)
			}
		})
	}
}

func TestInterruptedDumpsAreReadThreeTimes(t *testing.T) {
	for _, tt := range []struct{ interruptions, reads int }{{0, 1}, {2, 3}, {9, 3}} {
		reads := 0
		err := again(func() error {
			if reads++; reads <= tt.interruptions {
				return errInterrupted
			}
			return nil
		})
		if reads != tt.reads || (err != nil) != (tt.interruptions >= 3) {
			t.Errorf("%d interruptions: %d reads, %v", tt.interruptions, reads, err)
		}
	}
}

// FuzzMessages checks that no answer makes the decoders panic.
func FuzzMessages(f *testing.F) {
	f.Add(message(unix.RTM_NEWADDR, 0, 1, append([]byte{2, 24, 0, 0, 1, 0, 0, 0}, attribute(nil, unix.IFA_LOCAL, []byte{10, 0, 0, 1})...)))
	f.Add(message(unix.RTM_NEWROUTE, 0, 1, rtmsg{family: 2, typ: 1}.encode(attribute(nil, unix.RTA_MULTIPATH, make([]byte, 16)))))
	f.Add([]byte{1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		none := func(uint32) string { return "" }
		for m := range parseMessages(b) {
			for _, typ := range []uint16{m.typ, unix.RTM_NEWADDR, unix.RTM_NEWROUTE, unix.RTM_NEWRULE, unix.SOCK_DIAG_BY_FAMILY} {
				m.typ = typ
				parseAddress(m, none)
				parseRoute(m, none)
				parseRule(m)
				parseDiag(m, lvs.TCP, none)
				readAnswer(m, &lvs.RouteAnswer{}, none)
			}
			parseServiceExtra(m.data)
			parseDestination(m.data, unix.AF_INET)
			parseDaemon(m.data)
			if len(m.data) >= nfgenHeader {
				id, set := parseNFTSet(m.data)
				set.elements = parseNFTElements(m.data[nfgenHeader:])
				set.texts(set.kinds())
				_, rule := parseNFTRule(m.data)
				tr := translator{family: "inet", device: none, set: func(string) *nftSet { return set }}
				tr.rule(rule)
				_ = id
			}
			for _, name := range []string{"tcp", "udp", "multiport", "conntrack", "iprange", "icmp", "mac", "mark", "state"} {
				for rev := range uint32(4) {
					xtMatch(name, rev, m.data)
					xtTarget(strings.ToUpper(name), rev, m.data)
				}
			}
			for _, l := range iptLayouts {
				if len(m.data) > iptSizeInfo {
					parseIPTable(l, "filter", m.data[:iptSizeInfo], m.data[iptSizeInfo:])
				}
			}
		}
	})
}

func TestProcIPVS(t *testing.T) {
	const text = `IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  AC100008:0050 rr  
  -> C0A80A0C:0050      Masq    0      0          12        
  -> C0A80A0B:0050      Route   1      3          4         
UDP  AC100008:0035 wrr ops 
SCTP AC100009:0F1C wlc persistent 75000 FFFFFF00
  -> C0A80A0B:0F1C      Tunnel  1      0          0         
FWM  00000007 sh persistent 75000 FFFFFFFF
  -> C0A80A0B:0000      Local   1      0          0         
TCP  [2001:0db8:0000:0000:0000:0000:0000:0008]:01BB rr 
  -> [2001:0db8:0001:0000:0000:0000:0000:0011]:01BB      Route   1      0          0         
FWM  00000008 rr 
  -> [2001:0db8:0001:0000:0000:0000:0000:0011]:0000      Route   1      0          0         
`
	got, err := parseProcIPVS(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	sortServices(got.Services)
	want := &lvs.IPVS{Loaded: true, Via: "proc", Version: "1.2.1", Services: []lvs.Service{
		{Protocol: lvs.UDP, Address: ip("172.16.0.8"), Port: 53, Scheduler: "wrr", OnePacket: true, Flags: 4, Destinations: []lvs.Destination{}},
		{Protocol: lvs.TCP, Address: ip("172.16.0.8"), Port: 80, Scheduler: "rr", Destinations: []lvs.Destination{
			{Address: ip("192.168.10.11"), Port: 80, Forward: lvs.Gate, Weight: 1, ActiveConns: 3, InactiveConns: 4},
			{Address: ip("192.168.10.12"), Port: 80, Forward: lvs.Masq, InactiveConns: 12}}},
		{Protocol: lvs.SCTP, Address: ip("172.16.0.9"), Port: 3868, Scheduler: "wlc", Persistent: true, Flags: 1, Netmask: "255.255.255.0",
			Destinations: []lvs.Destination{{Address: ip("192.168.10.11"), Port: 3868, Forward: lvs.IPIP, Weight: 1}}},
		{Protocol: lvs.TCP, Address: ip("2001:db8::8"), Port: 443, Scheduler: "rr", Destinations: []lvs.Destination{
			{Address: ip("2001:db8:1::11"), Port: 443, Forward: lvs.Gate, Weight: 1}}},
		{FWMark: 7, Scheduler: "sh", Persistent: true, Flags: 1, Destinations: []lvs.Destination{{Address: ip("192.168.10.11"), Forward: lvs.Local, Weight: 1}}},
		{FWMark: 8, IPv6: true, Scheduler: "rr", Destinations: []lvs.Destination{{Address: ip("2001:db8:1::11"), Forward: lvs.Gate, Weight: 1}}},
	}}
	if diff := cmp.Diff(want, got, same); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"  -> C0A80A0B:0050 Route 1 3 4\n", "TCP nonsense rr\n", "FWM 00000000 rr\n", "TCP\n"} {
		if _, err := parseProcIPVS(strings.NewReader("IP Virtual Server version 1.2.1 (size=4096)\n" + bad)); err == nil {
			t.Errorf("%q was taken for a table", bad)
		}
	}
}

func TestConnections(t *testing.T) {
	const heading = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"
	const text = heading +
		"TCP BC58580A C208 AC100008 0050 C0A80A0B 0050 ESTABLISHED     899\n" +
		"TCP BC58580A C209 AC100008 0050 C0A80A0C 0050 SYN_RECV         58\n" +
		"IP  BC585800 0000 AC100008 0050 C0A80A0C 0050 NONE            300\n" +
		"UDP 2001:0db8:0000:0000:0000:0000:0000:0001 C209 2001:0db8:0000:0000:0000:0000:0000:0008 0035 2001:0db8:0000:0000:0000:0000:0000:0011 0035 UDP             300\n"
	got, all, err := parseConnections(strings.NewReader(text), 100, time.Now().Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	want := &lvs.Connections{Read: 4, ByState: map[string]int{"ESTABLISHED": 1, "SYN_RECV": 1, "UDP": 1, "TEMPLATE": 1}, Sample: []lvs.Connection{
		{Protocol: lvs.TCP, Client: ends("188.88.88.10:49672"), Virtual: ends("172.16.0.8:80"), Destination: ends("192.168.10.11:80"), State: "ESTABLISHED", Expires: 899},
		{Protocol: lvs.TCP, Client: ends("188.88.88.10:49673"), Virtual: ends("172.16.0.8:80"), Destination: ends("192.168.10.12:80"), State: "SYN_RECV", Expires: 58},
		{Protocol: lvs.UDP, Client: ends("[2001:db8::1]:49673"), Virtual: ends("[2001:db8::8]:53"), Destination: ends("[2001:db8::11]:53"), State: "UDP", Expires: 300},
	}}
	if diff := cmp.Diff(want, got, same); diff != "" || len(all) != 3 {
		t.Error(len(all), diff)
	}
	if got, _, _ := parseConnections(strings.NewReader(text), 2, time.Now().Add(time.Minute)); got.Read != 2 || !got.Truncated {
		t.Errorf("bounded by two lines: %+v", got)
	}
	many := heading + strings.Repeat("TCP BC58580A C208 AC100008 0050 C0A80A0B 0050 ESTABLISHED     899\n", 1000)
	if got, _, _ := parseConnections(strings.NewReader(many), 100000, time.Now()); got.Read >= 64 || !got.Truncated {
		t.Errorf("bounded by time: read %d, truncated %v", got.Read, got.Truncated)
	}
	if _, _, err := parseConnections(strings.NewReader(heading+"garbage\n"), 10, time.Now().Add(time.Minute)); err == nil {
		t.Error("garbage was taken for a connection")
	}
}

func TestProcSockets(t *testing.T) {
	const text = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 080010AC:0050 00000000:0000 0A 00000000:00000003 00:00000000 00000000     0        0 12345 1 0000000000000000 100 0 0 10 0
   1: 080010AC:0050 0A5858BC:C208 01 00000000:00000000 00:00000000 00000000     0        0 12346 1 0000000000000000 20 4 30 10 -1
   2: 0000000000000000FFFF0000080010AC:01BB 0000000000000000FFFF00000A5858BC:C209 03 00000000:00000000 00:00000000 00000000     0        0 0 1 0000000000000000 20 4 30 10 -1
   3: B80D0120000000000000000008000000:0035 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 12348 1 0000000000000000 20 4 30 10 -1
`
	for _, tt := range []struct {
		states uint32
		want   []socketEntry
	}{
		{1 << tcpListen, []socketEntry{{Socket: lvs.Socket{Protocol: lvs.TCP, Address: ip("172.16.0.8"), Port: 80, Queue: 3}, peer: ends("0.0.0.0:0"), inode: 12345}}},
		{tcpTalking, []socketEntry{{Socket: lvs.Socket{Protocol: lvs.TCP, Address: ip("172.16.0.8"), Port: 80}, peer: ends("188.88.88.10:49672"), inode: 12346},
			{Socket: lvs.Socket{Protocol: lvs.TCP, Address: ip("172.16.0.8"), Port: 443}, peer: ends("188.88.88.10:49673")}}},
		{1 << tcpClose, []socketEntry{{Socket: lvs.Socket{Protocol: lvs.TCP, Address: ip("2001:db8::8"), Port: 53}, peer: ends("[::]:0"), inode: 12348}}},
	} {
		got, err := parseProcSockets(strings.NewReader(text), lvs.TCP, tt.states)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, got, same, cmp.AllowUnexported(socketEntry{})); diff != "" {
			t.Errorf("states %b: %s", tt.states, diff)
		}
	}
	if _, err := parseProcSockets(strings.NewReader("heading\n 0: x y 0A\n"), lvs.TCP, tcpTalking); err == nil {
		t.Error("garbage was taken for a socket")
	}
}

func TestCounterFiles(t *testing.T) {
	netstat := "TcpExt: SyncookiesSent IPReversePathFilter\nTcpExt: 3 41\nIpExt: InNoRoutes\nIpExt: 5\nMPTcpExt: X\n"
	if diff := cmp.Diff(map[string]uint64{"TcpExt.SyncookiesSent": 3, "TcpExt.IPReversePathFilter": 41, "IpExt.InNoRoutes": 5}, parsePairs(netstat)); diff != "" {
		t.Error(diff)
	}
	if got := parsePairs("Tcp: MaxConn InSegs\nTcp: -1 7\n"); len(got) != 1 || got["Tcp.InSegs"] != 7 {
		t.Error("signed:", got)
	}
	// Two CPUs, hexadecimal; entries is the same number on each line.
	cache := "entries  in_hit in_martian_src\n00000010 00000001 0000000a\n00000010 00000002 00000010\n"
	if got := parsePerCPU("rt_cache", cache); got["rt_cache.in_martian_src"] != 26 || got["rt_cache.in_hit"] != 3 || got["rt_cache.entries"] != 0 {
		t.Error(got)
	}
	if got := parseSNMP6("Ip6InNoRoutes                   \t12\nIcmp6OutDestUnreachs 3\nnonsense\n"); got["Ip6.InNoRoutes"] != 12 || got["Icmp6.OutDestUnreachs"] != 3 {
		t.Error(got)
	}
}

func TestCaps(t *testing.T) {
	for status, want := range map[string][]string{
		"Name:\tx\nCapEff:\t0000000000003000\n": {"CAP_NET_ADMIN", "CAP_NET_RAW"},
		"CapEff:\t0000000000002000\n":           {"CAP_NET_RAW"},
		"CapEff:\t0000000000000000\n":           {},
		"CapPrm:\t0000000000003000\n":           {},
	} {
		if got := parseCaps(status); !slices.Equal(got, want) {
			t.Errorf("%q: %v", status, got)
		}
	}
}

func TestSessionText(t *testing.T) {
	got, ok := parseSession("192.0.2.9 50022 fe80::1%eth0 22")
	if want := (lvs.Session{Client: ends("192.0.2.9:50022"), Server: ends("[fe80::1]:22")}); !ok || got != want {
		t.Errorf("%+v", got)
	}
	for _, bad := range []string{"", "a b c d", "192.0.2.9 50022 192.0.2.2", "192.0.2.9 500220 192.0.2.2 22"} {
		if s, ok := parseSession(bad); ok {
			t.Errorf("%q was taken for a session: %+v", bad, s)
		}
	}
	if got := parentOf("812 (a) S 9) (b) S 77 812 0"); got != 77 {
		t.Errorf("parent %d: a process name may hold anything", got)
	}
}

func TestSpans(t *testing.T) {
	for _, tt := range []struct {
		from, to, want string
		kind           kind
	}{
		{"10.0.0.0", "10.255.255.255", "10.0.0.0/8", kindAddr},
		{"0.0.0.0", "255.255.255.255", "0.0.0.0/0", kindAddr},
		{"10.0.0.1", "10.0.0.1", "10.0.0.1", kindAddr},
		{"10.0.0.1", "10.0.0.2", "10.0.0.1-10.0.0.2", kindAddr},
		{"10.0.0.0", "10.0.1.254", "10.0.0.0-10.0.1.254", kindAddr},
		{"10.0.2.0", "10.0.3.255", "10.0.2.0/23", kindAddr},
		{"10.0.1.0", "10.0.2.255", "10.0.1.0-10.0.2.255", kindAddr},
		{"2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8::/32", kindAddr6},
	} {
		if got := tt.kind.span(ip(tt.from).AsSlice(), ip(tt.to).AsSlice(), nil); got != tt.want {
			t.Errorf("%s to %s: %s, want %s", tt.from, tt.to, got, tt.want)
		}
	}
}

func TestOwnersByFile(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"etc/netplan/50-cloud.yaml":       "network: {version: 2}\n",
		"etc/network/interfaces":          "# nothing\nsource /etc/network/interfaces.d/*\n\nauto lo\niface lo inet loopback\n",
		"etc/nftables.conf":               "table inet filter {}\n", // lies there, but nothing applies it
		"etc/ipvsadm.rules":               "-A -t 172.16.0.8:80 -s rr\n",
		"etc/network/interfaces.d/eth0":   "iface eth0 inet dhcp\n",
		"etc/iptables/rules.v4":           "# empty\n",
		"etc/systemd/system/x.target.txt": "",
	} {
		if err := os.MkdirAll(root+"/"+name[:strings.LastIndex(name, "/")], 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(root+"/"+name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, o := range ownersByFile(root) {
		got = append(got, o.Name+" "+o.File)
	}
	want := []string{"netplan /etc/netplan/50-cloud.yaml", "ifupdown /etc/network/interfaces.d/eth0", "ipvsadm.service /etc/ipvsadm.rules"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestModulesThatAreNotLoadedAreNotAsked(t *testing.T) {
	proc, root := t.TempDir(), t.TempDir()
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(path[:strings.LastIndex(path, "/")], 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if m := readModules(procfs{proc}, root, "6.1"); !m.present("tcp_diag") {
		t.Error("a kernel without modules can load none")
	}
	write(proc+"/modules", "inet_diag 24576 1 tcp_diag, Live 0x0\n")
	write(root+"/lib/modules/6.1/modules.builtin", "kernel/net/ipv4/tcp_diag.ko\nkernel/net/netfilter/nf-tables.ko\n")
	m := readModules(procfs{proc}, root, "6.1")
	for name, want := range map[string]bool{"inet_diag": true, "tcp_diag": true, "nf_tables": true, "udp_diag": false} {
		if m.present(name) != want {
			t.Errorf("%s: present is %v", name, !want)
		}
	}
	write(proc+"/sys/kernel/modules_disabled", "1\n")
	if m := readModules(procfs{proc}, root, "6.1"); !m.present("udp_diag") {
		t.Error("with modules_disabled a question can load none")
	}
}

func TestWithoutProcfs(t *testing.T) {
	_, err := Collect(context.Background(), Options{Proc: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "mount -t proc") {
		t.Errorf("without procfs: %v", err)
	}
}

// TestRefusalsOfEveryKernel: source validation answers a route question with EXDEV up to Linux 6.12 and with EINVAL later; both mean that
// the packet is dropped. A route that is missing is something else, and what is not known is not guessed.
func TestRefusalsOfEveryKernel(t *testing.T) {
	for errno, want := range map[unix.Errno]lvs.Outcome{
		unix.EXDEV: lvs.OutRejected, unix.EINVAL: lvs.OutRejected, unix.EACCES: lvs.OutRejected,
		unix.EHOSTUNREACH: lvs.OutUnreachable, unix.ENETUNREACH: lvs.OutUnreachable,
		unix.EPERM: lvs.OutUnknown, unix.ENOBUFS: lvs.OutUnknown,
	} {
		if got := refusal(errno); got != want {
			t.Errorf("%v: %s, want %s", errno, got, want)
		}
	}
}
