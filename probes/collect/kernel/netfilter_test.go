//go:build guest

package kernel_test

import (
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lvstui/lvs"
	"lvstui/probes/collect"
)

// matches writes conditions in one line: "ip saddr=10.0.0.0/8 tcp dport!=80|443".
func matches(r lvs.FilterRule) string {
	var out []string
	for _, m := range r.Matches {
		op := "="
		if m.Negate {
			op = "!="
		}
		value := strings.Join(m.Values, "|")
		if m.Set != "" {
			value = "@" + m.Set
		}
		out = append(out, m.Field+op+value)
	}
	verdict := r.Verdict
	if r.Target != "" {
		verdict += " " + r.Target
	}
	if r.Opaque {
		verdict += " opaque"
	}
	return strings.TrimSpace(strings.Join(out, ", ") + " -> " + verdict)
}

// rulesOf are the rules of a chain.
func rulesOf(t *testing.T, s *lvs.Snapshot, family, table, chain string) []string {
	t.Helper()
	if s.Netfilter == nil {
		t.Fatalf("no netfilter: %+v", s.Gaps)
	}
	for _, c := range s.Netfilter.Chains {
		if c.Family == family && c.Table == table && c.Name == chain {
			out := []string{}
			for _, r := range c.Rules {
				out = append(out, matches(r))
			}
			return out
		}
	}
	t.Fatalf("no chain %s %s %s", family, table, chain)
	return nil
}

func TestNFTables(t *testing.T) {
	namespace(t)
	wire(t, "eth0", "192.168.10.10/24")
	// Each rule as nft takes it, and what must become of it.
	rules := []struct {
		rule string
		want []string
	}{
		{"ct state vmap { established : accept, related : accept, invalid : drop }",
			[]string{"ct state=invalid -> drop", "ct state=established -> accept", "ct state=related -> accept"}},
		{"ct state established,related accept", []string{"ct state=established|related -> accept"}},
		{"ct state != { new, untracked } drop", []string{"ct state!=new|untracked -> drop"}},
		{`iifname "lo" accept`, []string{"meta iifname=lo -> accept"}},
		{`iif "eth0" accept`, []string{"meta iifname=eth0 -> accept"}},
		{`iifname "eth*" tcp dport { 22, 80, 8000-9000 } ct state new accept`,
			[]string{"meta iifname=eth*, meta l4proto=tcp, tcp dport=22|80|8000-9000, ct state=new -> accept"}},
		{"ip saddr @blocked drop", []string{"meta nfproto=ipv4, ip saddr=@blocked -> drop"}},
		{"ip saddr . tcp dport { 9.9.9.9 . 53 } accept", []string{"meta nfproto=ipv4, meta l4proto=tcp, ip saddr=9.9.9.9, tcp dport=53 -> accept"}},
		{"tcp dport vmap @ports", []string{"meta l4proto=tcp, tcp dport=22 -> accept", "meta l4proto=tcp, tcp dport=23 -> jump other"}},
		{"tcp dport . ip daddr vmap { 80 . 172.16.0.8 : accept }", []string{"meta l4proto=tcp, meta nfproto=ipv4, tcp dport=80, ip daddr=172.16.0.8 -> accept"}},
		{"ip saddr 10.1.0.0/16 ip daddr 172.16.0.8 tcp sport 1024-65535 tcp dport 80 accept",
			[]string{"meta nfproto=ipv4, ip saddr=10.1.0.0/16, ip daddr=172.16.0.8, meta l4proto=tcp, tcp sport=1024-65535, tcp dport=80 -> accept"}},
		{"ip saddr != 10.1.2.0/23 udp dport != 53 drop", []string{"meta nfproto=ipv4, ip saddr!=10.1.2.0/23, meta l4proto=udp, udp dport!=53 -> drop"}},
		{"ip saddr { 1.0.0.0/8, 2.2.2.2 } drop", []string{"meta nfproto=ipv4, ip saddr=1.0.0.0/8|2.2.2.2 -> drop"}},
		{"ip daddr 172.16.0.1-172.16.0.9 drop", []string{"meta nfproto=ipv4, ip daddr=172.16.0.1-172.16.0.9 -> drop"}},
		{"ip6 daddr 2001:db8::/32 drop", []string{"meta nfproto=ipv6, ip6 daddr=2001:db8::/32 -> drop"}},
		{"tcp dport >= 1024 drop", []string{"meta l4proto=tcp, tcp dport=1024-65535 -> drop"}},
		{"tcp dport < 1024 drop", []string{"meta l4proto=tcp, tcp dport=0-1023 -> drop"}},
		{"tcp dport != 100-200 drop", []string{"meta l4proto=tcp, tcp dport!=100-200 -> drop"}},
		{"tcp flags & (fin|syn|rst|ack) == syn limit rate 5/second accept", []string{"meta l4proto=tcp, tcp flags=syn / fin,syn,rst,ack, limit rate=5/second -> accept"}},
		{"meta mark 0x7 jump other", []string{"meta mark=0x7 -> jump other"}},
		{"meta mark & 0xff == 0x3 goto other", []string{"meta mark=0x3/0xff -> goto other"}},
		{"meta l4proto { tcp, udp } th dport 53 accept", []string{"meta l4proto=tcp|udp, th dport=53 -> accept"}},
		{"icmpv6 type { 133, 134 } accept", []string{"meta nfproto=ipv6, meta l4proto=icmpv6, icmpv6 type=133|134 -> accept"}},
		{"meta nfproto ipv6 drop", []string{"meta nfproto=ipv6 -> drop"}},
		{"fib daddr type local accept", []string{"fib daddr type=local -> accept"}},
		{"reject with icmpx type admin-prohibited", []string{"-> reject"}},
		{"tcp dport 81 meta mark set 7 accept", []string{"meta l4proto=tcp, tcp dport=81 -> mark 0x7", "meta l4proto=tcp, tcp dport=81 -> accept"}},
		{"notrack", []string{"-> notrack"}},
		{"counter log prefix \"x\"", []string{"->"}},
		// Without words here: a condition without values, which may or may not hold, and never a bare verdict.
		{"numgen inc mod 2 0 drop", []string{"numgen=0x00000000 -> drop"}},
		{"ct status dnat accept", []string{"ct status!= -> accept"}},
		{"ip dscp cs1 drop", []string{"meta nfproto=ipv4, @1,8,8= -> drop"}},
		{"tcp option maxseg size 500 drop", []string{"exthdr=0x01f4 -> drop"}},
		{"osf name \"Linux\" drop", []string{"osf=, (computed)= -> drop"}},
	}
	run(t, "nft", "add table inet filter")
	run(t, "nft", "add chain inet filter other")
	run(t, "nft", "add set inet filter blocked { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.168.1.5, 172.16.0.1-172.16.0.9 }; }")
	run(t, "nft", "add map inet filter ports { type inet_service : verdict; elements = { 22 : accept, 23 : jump other }; }")
	run(t, "nft", "add chain inet filter input { type filter hook input priority 10; policy drop; }")
	for i, r := range rules {
		if out, err := exec.Command("nft", "add rule inet filter input "+r.rule).CombinedOutput(); err != nil {
			if strings.HasPrefix(r.rule, "osf") || strings.HasPrefix(r.rule, "numgen") { // needs a module, or a list, that not every guest has
				rules[i].want = nil
				continue
			}
			t.Fatalf("nft refuses %q: %v: %s", r.rule, err, out)
		}
	}
	run(t, "nft", "add table ip nat")
	run(t, "nft", "add chain ip nat pre { type nat hook prerouting priority -100; }")
	run(t, "nft", "add rule ip nat pre tcp dport 80 dnat to 10.0.0.1:8080")
	run(t, "nft", "add rule ip nat pre tcp dport 81 redirect to :82")
	run(t, "nft", "add chain ip nat post { type nat hook postrouting priority 100; }")
	run(t, "nft", `add rule ip nat post oifname "eth0" masquerade`)
	run(t, "nft", "add table arp filter")
	run(t, "nft", "add chain arp filter in { type filter hook input priority 0; }")
	run(t, "nft", "add rule arp filter in arp operation request arp daddr ip 172.16.0.8 drop")
	run(t, "nft", "add table ip asleep { flags dormant; }")
	run(t, "nft", "add chain ip asleep in { type filter hook input priority 0; policy drop; }")

	s := look(t, collect.Options{})
	var want []string
	for _, r := range rules {
		want = append(want, r.want...)
	}
	if diff := cmp.Diff(want, rulesOf(t, s, "inet", "filter", "input")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"meta l4proto=tcp, tcp dport=80 -> dnat 10.0.0.1:8080", "meta l4proto=tcp, tcp dport=81 -> redirect :82"},
		rulesOf(t, s, "ip", "nat", "pre")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"meta oifname=eth0 -> masquerade"}, rulesOf(t, s, "ip", "nat", "post")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"arp operation=request, arp daddr ip=172.16.0.8 -> drop"}, rulesOf(t, s, "arp", "filter", "in")); diff != "" {
		t.Error(diff)
	}
	for _, c := range s.Netfilter.Chains {
		switch c.Family + " " + c.Table + " " + c.Name {
		case "inet filter input":
			if c.Hook != "input" || c.Priority != 10 || c.Policy != "drop" || c.Type != "filter" {
				t.Errorf("base chain: %+v", c)
			}
		case "ip asleep in":
			if c.Hook != "" {
				t.Error("a dormant table's chain hangs on a hook")
			}
		case "arp filter in":
			if c.Hook != "input" {
				t.Errorf("arp hook %q", c.Hook)
			}
		}
	}
	if diff := cmp.Diff([]lvs.Set{{Family: "inet", Table: "filter", Name: "blocked", Elements: []string{"10.0.0.0/8", "172.16.0.1-172.16.0.9", "192.168.1.5"}},
		{Family: "inet", Table: "filter", Name: "ports", Elements: []string{"22", "23"}}}, s.Netfilter.Sets); diff != "" {
		t.Error(diff)
	}
	// Bounded: what was not read is not told as if there were nothing more.
	if s := look(t, collect.Options{RuleLimit: 3}); s.Netfilter == nil || s.Netfilter.NFTables || len(s.Gaps) == 0 {
		t.Errorf("bounded: %+v, gaps %+v", s.Netfilter, s.Gaps)
	}
}

// iptablesRules are the same for both back ends.
var iptablesRules = []struct{ rule, want string }{
	{"-p tcp -m multiport --dports 80,443,8000:8010 -m conntrack --ctstate NEW,ESTABLISHED -m comment --comment web -j ACCEPT",
		"meta l4proto=tcp, th dport=80|443|8000-8010, ct state=established|new -> accept"},
	{"! -s 10.0.0.0/8 -i eth+ -p udp --dport 53 -j REJECT", "ip saddr!=10.0.0.0/8, meta iifname=eth*, meta l4proto=udp, udp dport=53 -> reject"},
	{"-i eth0 -j web", "meta iifname=eth0 -> jump web"},
	{"-i eth0 -g web", "meta iifname=eth0 -> goto web"},
	{"-p udp --sport 53", "meta l4proto=udp, udp sport=53 ->"},
	{"-m mark --mark 7/0xff -j DROP", "meta mark=0x7/0xff -> drop"},
	{"-m iprange --src-range 1.1.1.1-1.1.1.9 -j DROP", "ip saddr=1.1.1.1-1.1.1.9 -> drop"},
	{"-d 172.16.0.8 -j LOG", "ip daddr=172.16.0.8 ->"},
	{"-m ttl --ttl-eq 3 -j DROP", "xt ttl= -> drop"},
}

func iptables(t *testing.T, command string) *lvs.Snapshot {
	t.Helper()
	namespace(t)
	wire(t, "eth0", "192.168.10.10/24")
	run(t, command, "-N", "web")
	run(t, command, "-A", "web", "-j", "DROP")
	run(t, command, "-P", "INPUT", "DROP")
	for _, r := range iptablesRules {
		run(t, command, append([]string{"-A", "INPUT"}, strings.Fields(r.rule)...)...)
	}
	run(t, command, "-t", "mangle", "-A", "PREROUTING", "-d", "172.16.0.8", "-p", "tcp", "--dport", "80", "-j", "MARK", "--set-mark", "7")
	run(t, command, "-t", "nat", "-A", "PREROUTING", "-d", "172.16.0.8", "-p", "tcp", "--dport", "80", "-j", "REDIRECT", "--to-ports", "8080")
	return look(t, collect.Options{})
}

func TestLegacyIPTables(t *testing.T) {
	s := iptables(t, "iptables-legacy")
	var want []string
	for _, r := range iptablesRules {
		want = append(want, r.want)
	}
	if diff := cmp.Diff(want, rulesOf(t, s, "ip", "filter", "INPUT")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"-> drop"}, rulesOf(t, s, "ip", "filter", "web")); diff != "" {
		t.Error(diff)
	}
	for _, c := range s.Netfilter.Chains {
		want := map[string]lvs.Chain{
			"filter INPUT":      {Type: "filter", Hook: "input", Policy: "drop"},
			"filter FORWARD":    {Type: "filter", Hook: "forward", Policy: "accept"},
			"mangle PREROUTING": {Type: "filter", Hook: "prerouting", Priority: -150, Policy: "accept"},
			"nat PREROUTING":    {Type: "nat", Hook: "prerouting", Priority: -100, Policy: "accept"},
			"nat POSTROUTING":   {Type: "nat", Hook: "postrouting", Priority: 100, Policy: "accept"},
		}
		w, ok := want[c.Table+" "+c.Name]
		if ok && (c.Backend != "legacy" || c.Type != w.Type || c.Hook != w.Hook || c.Priority != w.Priority || c.Policy != w.Policy) {
			t.Errorf("%s %s: %+v", c.Table, c.Name, c)
		}
	}
	if diff := cmp.Diff([]string{"ip daddr=172.16.0.8, meta l4proto=tcp, tcp dport=80 -> mark 0x7"}, rulesOf(t, s, "ip", "mangle", "PREROUTING")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"ip daddr=172.16.0.8, meta l4proto=tcp, tcp dport=80 -> redirect :8080"}, rulesOf(t, s, "ip", "nat", "PREROUTING")); diff != "" {
		t.Error(diff)
	}
}

// TestIPTablesNFT checks that the order of the conditions is all that differs when iptables writes to nftables.
func TestIPTablesNFT(t *testing.T) {
	s := iptables(t, "iptables-nft")
	got := rulesOf(t, s, "ip", "filter", "INPUT")
	if len(got) != len(iptablesRules) {
		t.Fatalf("%d rules: %q", len(got), got)
	}
	for i, r := range iptablesRules {
		if sorted(got[i]) != sorted(r.want) {
			t.Errorf("%s:\ngot  %s\nwant %s", r.rule, got[i], r.want)
		}
	}
}

func sorted(rule string) string {
	conditions, verdict, _ := strings.Cut(rule, " ->")
	list := strings.Split(conditions, ", ")
	for i := range list { // a handful: no need for anything better
		for j := range i {
			if list[i] < list[j] {
				list[i], list[j] = list[j], list[i]
			}
		}
	}
	return strings.Join(list, ", ") + " ->" + verdict
}

func TestLookingMovesNoCounter(t *testing.T) {
	namespace(t)
	wire(t, "eth0", "192.168.10.11/24", "172.16.0.8/32")
	wire(t, "eth1", "10.7.0.2/24")
	run(t, "ip", "route", "add", "default", "via", "192.168.10.1")
	if err := os.WriteFile("/proc/sys/net/ipv4/conf/eth1/rp_filter", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	opt := collect.Options{VIPs: []netip.Addr{netip.MustParseAddr("172.16.0.8")}, Clients: []netip.Addr{netip.MustParseAddr("188.88.88.10"), netip.MustParseAddr("88.1.1.1")}}
	first := look(t, opt)
	refused := 0
	for _, a := range first.Answers {
		if a.Outcome == lvs.OutRejected && a.Iif != "" {
			refused++
		}
	}
	if refused == 0 {
		t.Fatal("no question was refused for its source, so this proves nothing")
	}
	// The kernel counts refused questions like packets, for the whole machine.
	const counter = "rt_cache.in_martian_src"
	if second := look(t, opt); first.Counters[counter] != second.Counters[counter] {
		t.Errorf("%s went from %d to %d by %d refused questions of our own", counter, first.Counters[counter], second.Counters[counter], refused)
	}
}

// TestLookingLoadsNoModule takes away what the kernel would load for a question, and looks.
func TestLookingLoadsNoModule(t *testing.T) {
	namespace(t)
	wire(t, "eth0", "192.168.10.11/24", "172.16.0.8/32")
	// The namespaces of earlier tests go away in their own time, and hold modules until then.
	before := loaded(t)
	for end := time.Now().Add(time.Minute); (before["ip_vs"] || before["tcp_diag"] || before["udp_diag"]) && time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		for _, m := range []string{"tcp_diag", "udp_diag", "inet_diag", "nft_compat", "nf_tables", "nfnetlink", "ip_vs_rr", "ip_vs_wrr", "ip_vs_sh", "ip_vs"} {
			exec.Command("rmmod", m).Run() // some are not there, or in use
		}
		before = loaded(t)
	}
	for _, m := range []string{"tcp_diag", "udp_diag", "ip_vs"} {
		if before[m] {
			t.Fatalf("%s cannot be taken away, so this proves nothing", m)
		}
	}
	s := look(t, collect.Options{})
	if diff := cmp.Diff(before, loaded(t)); diff != "" {
		t.Error("looking changed the modules:\n", diff)
	}
	if s.IPVS == nil || s.IPVS.Loaded || s.IPVS.Services == nil {
		t.Errorf("a kernel without ip_vs: %+v", s.IPVS)
	}
	if s.Sockets == nil {
		t.Errorf("sockets were not read from /proc: %+v", s.Gaps)
	}
	if s.Netfilter == nil || !s.Netfilter.NFTables || !s.Netfilter.Legacy {
		t.Errorf("a back end that is absent counts as read: %+v", s.Netfilter)
	}
	for _, g := range s.Gaps {
		t.Log("gap:", g.Source, g.Reason)
	}
	run(t, "modprobe", "-a", "ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_sh", "tcp_diag", "udp_diag")
	// moby/ipvs remembers the number that ip_vs had before.
	s = look(t, collect.Options{})
	if s.IPVS != nil || !slices.ContainsFunc(s.Gaps, func(g lvs.Gap) bool { return strings.Contains(g.Reason, "start lvstui again") }) {
		t.Errorf("ip_vs was loaded again: %+v, %+v", s.IPVS, s.Gaps)
	}
}

func loaded(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile("/proc/modules")
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		name, _, _ := strings.Cut(line, " ")
		m[name] = true
	}
	return m
}
