package filter

import (
	"net/netip"
	"strings"
	"testing"

	"lvstui/lvs"
)

var syn = Packet{
	Iif: "eth0", Src: netip.MustParseAddr("188.88.88.10"), Dst: netip.MustParseAddr("172.16.0.8"),
	Protocol: lvs.TCP, DstPort: 80, State: "new",
}

// on writes a condition as "field value|value", "field != value" or "field @set".
func on(text string) lvs.Match {
	words := strings.Fields(text)
	m := lvs.Match{Field: strings.Join(words[:2], " ")}
	words = words[2:]
	if words[0] == "!=" {
		m.Negate, words = true, words[1:]
	}
	if set, ok := strings.CutPrefix(words[0], "@"); ok {
		m.Set = set
	} else {
		m.Values = strings.Split(words[0], "|")
	}
	return m
}

// rule is a verdict, a jump's target behind a blank, and conditions.
func rule(verdict string, conditions ...string) lvs.FilterRule {
	verdict, target, _ := strings.Cut(verdict, " ")
	r := lvs.FilterRule{Verdict: verdict, Target: target, Text: strings.Join(conditions, " ") + " " + verdict}
	for _, c := range conditions {
		r.Matches = append(r.Matches, on(c))
	}
	return r
}

// words is a rule with one condition whose field or values have blanks.
func words(verdict, field string, values ...string) lvs.FilterRule {
	return lvs.FilterRule{Verdict: verdict, Matches: []lvs.Match{{Field: field, Values: values}}, Text: verdict}
}

func flags(verdict string, negate bool, values ...string) lvs.FilterRule {
	r := words(verdict, "tcp flags", values...)
	r.Matches[0].Negate = negate
	return r
}

func opaque(verdict string, conditions ...string) lvs.FilterRule {
	r := rule(verdict, conditions...)
	r.Opaque = true
	return r
}

func base(family, hook string, priority int, policy string, rules ...lvs.FilterRule) lvs.Chain {
	return lvs.Chain{Backend: "nftables", Family: family, Table: "filter", Name: hook, Type: "filter", Hook: hook,
		Priority: priority, Policy: policy, Rules: rules}
}

func plain(name string, rules ...lvs.FilterRule) lvs.Chain {
	return lvs.Chain{Backend: "nftables", Family: "inet", Table: "filter", Name: name, Rules: rules}
}

func TestBeforeIPVS(t *testing.T) {
	drop80 := rule("drop", "tcp dport 80")
	for _, tt := range []struct {
		name   string
		chains []lvs.Chain
		sets   []lvs.Set
		want   Verdict
		where  string
	}{
		{"no rules", nil, nil, Accept, ""},
		{"policy", []lvs.Chain{base("inet", "input", 0, "drop")}, nil, Drop, "policy drop"},
		{"policy after return", []lvs.Chain{base("inet", "input", 0, "drop", rule("return"))}, nil, Drop, "policy drop"},
		{"accepted before the policy", []lvs.Chain{base("inet", "input", 0, "drop", rule("accept", "tcp dport 22|80"))}, nil, Accept, ""},
		{"another port", []lvs.Chain{base("inet", "input", 0, "drop", rule("accept", "tcp dport 22|8000-9000"))}, nil, Drop, "policy drop"},
		{"port range", []lvs.Chain{base("inet", "input", 0, "drop", rule("accept", "th dport 1-1023"))}, nil, Accept, ""},
		{"udp rule", []lvs.Chain{base("inet", "input", 0, "", rule("drop", "udp dport 80"))}, nil, Accept, ""},
		{"negated port of another protocol", []lvs.Chain{base("inet", "input", 0, "", rule("drop", "udp dport != 53"))}, nil, Accept, ""},
		{"reject", []lvs.Chain{base("ip", "input", 0, "", rule("reject", "ip daddr 172.16.0.0/24"))}, nil, Reject, "reject"},
		{"accept in one chain, drop in a later one", []lvs.Chain{base("inet", "input", 10, "", drop80), base("ip", "input", 0, "", rule("accept"))}, nil, Drop, "tcp dport 80 drop"},
		{"behind ip_vs", []lvs.Chain{base("inet", "input", 99, "drop", drop80)}, nil, Accept, ""},
		{"just before ip_vs", []lvs.Chain{base("inet", "input", 98, "", drop80)}, nil, Drop, ""},
		{"raw prerouting", []lvs.Chain{base("ip", "prerouting", -300, "", drop80)}, nil, Drop, ""},
		{"prerouting after dstnat", []lvs.Chain{base("ip", "prerouting", 200, "", drop80)}, nil, Drop, ""},
		{"output and forward do not count", []lvs.Chain{base("inet", "output", 0, "drop"), base("inet", "forward", 0, "drop")}, nil, Accept, ""},
		{"other families", []lvs.Chain{base("ip6", "input", 0, "drop"), base("arp", "input", 0, "drop"), base("bridge", "input", 0, "drop")}, nil, Accept, ""},
		{"ip6 address in inet, negated", []lvs.Chain{base("inet", "input", 0, "", rule("drop", "ip6 saddr != 2001:db8::/32"))}, nil, Accept, ""},
		{"nfproto", []lvs.Chain{base("inet", "input", 0, "", rule("drop", "meta nfproto ipv6"))}, nil, Accept, ""},
		{"other interface", []lvs.Chain{base("inet", "input", 0, "", rule("drop", "meta iifname eth1"))}, nil, Accept, ""},
		{"not that interface", []lvs.Chain{base("inet", "input", 0, "", rule("drop", "meta iifname != eth1"))}, nil, Drop, ""},
		{"interface wildcard", []lvs.Chain{base("inet", "input", 0, "", rule("drop", "meta iifname eth*"))}, nil, Drop, ""},
		{"iptables' wildcard", []lvs.Chain{base("ip", "input", 0, "", rule("drop", "meta iifname et+"))}, nil, Drop, ""},
		{"no oif on input", []lvs.Chain{base("inet", "input", 0, "", rule("drop", "meta oifname eth0"))}, nil, Accept, ""},
		{"established only", []lvs.Chain{base("inet", "input", 0, "drop", rule("accept", "ct state established|related"))}, nil, Drop, "policy drop"},
		{"invalid", []lvs.Chain{base("inet", "input", 0, "", rule("drop", "ct state invalid"))}, nil, Accept, ""},
		{"new", []lvs.Chain{base("inet", "input", 0, "", rule("drop", "ct state new", "tcp dport 80"))}, nil, Drop, ""},
		{"state before conntrack", []lvs.Chain{base("inet", "prerouting", -300, "", rule("drop", "ct state invalid"))}, nil, Unknown, "ct state invalid drop"},
		{"notrack", []lvs.Chain{base("ip", "prerouting", -300, "", rule("notrack", "tcp dport 80")), base("ip", "input", 0, "", rule("drop", "ct state untracked"))}, nil, Drop, ""},
		{"not a SYN", []lvs.Chain{base("inet", "input", 0, "", flags("drop", true, "syn / fin,syn,rst,ack"))}, nil, Accept, ""},
		{"a SYN", []lvs.Chain{base("inet", "input", 0, "", flags("drop", false, "syn / fin,syn,rst,ack"))}, nil, Drop, ""},
		{"all flags", []lvs.Chain{base("inet", "input", 0, "", flags("drop", false, "fin,syn,rst,psh,ack,urg / fin,syn,rst,psh,ack,urg"))}, nil, Accept, ""},
		{"no flags", []lvs.Chain{base("inet", "input", 0, "", flags("drop", false, "none / fin,syn,rst,psh,ack,urg"))}, nil, Accept, ""},
		{"neither FIN nor ACK", []lvs.Chain{base("inet", "input", 0, "", flags("drop", false, "none / fin,ack"))}, nil, Drop, ""},
		{"any of some flags", []lvs.Chain{base("inet", "input", 0, "", flags("drop", false, "syn", "fin"))}, nil, Drop, ""},
		{"none of some flags", []lvs.Chain{base("inet", "input", 0, "", flags("drop", true, "syn", "fin"))}, nil, Accept, ""},
		{"local destination", []lvs.Chain{base("ip", "input", 0, "drop", rule("accept", "fib daddr type local"))}, nil, Unknown, ""},
		{"local destination, as read", []lvs.Chain{base("ip", "input", 0, "drop", words("accept", "fib daddr type", "local"))}, nil, Accept, ""},
		{"not unicast", []lvs.Chain{base("ip", "input", 0, "", rule("drop", "meta pkttype != 0"))}, nil, Accept, ""},
		{"fragments", []lvs.Chain{base("ip", "input", 0, "", lvs.FilterRule{Verdict: "drop", Matches: []lvs.Match{{Field: "ip frag-off"}}})}, nil, Accept, ""},
		{"a concatenation", []lvs.Chain{base("ip", "input", 0, "", words("drop", "ip daddr . tcp dport", "172.16.0.8 . 443", "172.16.0.0/24 . 80"))}, nil, Drop, ""},
		{"another concatenation", []lvs.Chain{base("ip", "input", 0, "", words("drop", "ip daddr . tcp dport", "172.16.0.8 . 443", "172.16.1.0/24 . 80"))}, nil, Accept, ""},
		{"a concatenation of another protocol", []lvs.Chain{base("ip", "input", 0, "", words("drop", "ip daddr . udp dport", "172.16.0.8 . 80"))}, nil, Accept, ""},
		{"no mark", []lvs.Chain{base("inet", "input", 0, "", rule("drop", "meta mark 0x1"))}, nil, Accept, ""},
		{"mark under a mask", []lvs.Chain{base("inet", "input", 0, "drop", rule("accept", "meta mark 0x0/0xff"))}, nil, Accept, ""},
		{"mark set on the way", []lvs.Chain{base("inet", "prerouting", -150, "", rule("mark")), base("inet", "input", 0, "", rule("drop", "meta mark 0x1"))}, nil, Unknown, ""},
		{"a set", []lvs.Chain{base("inet", "input", 0, "", rule("drop", "ip daddr @vips"))},
			[]lvs.Set{{Family: "inet", Table: "filter", Name: "vips", Elements: []string{"172.16.0.5-172.16.0.9"}}}, Drop, ""},
		{"another table's set", []lvs.Chain{base("inet", "input", 0, "", rule("drop", "ip daddr @vips"))},
			[]lvs.Set{{Family: "ip", Table: "filter", Name: "vips", Elements: []string{"10.0.0.1"}}}, Unknown, ""},
		{"a set read in part", []lvs.Chain{base("inet", "input", 0, "", rule("drop", "ip saddr @bad"))},
			[]lvs.Set{{Family: "inet", Table: "filter", Name: "bad", Elements: []string{"10.0.0.1"}, Truncated: true}}, Unknown, ""},
		{"jump and back", []lvs.Chain{base("inet", "input", 0, "drop", rule("jump web", "tcp dport 80"), rule("accept")), plain("web", rule("return"))}, nil, Accept, ""},
		{"jump to a drop", []lvs.Chain{base("inet", "input", 0, "", rule("jump web"), rule("accept")), plain("web", rule("drop", "tcp dport 80"))}, nil, Drop, "inet filter web: tcp dport 80 drop"},
		{"jump, accepted there", []lvs.Chain{base("inet", "input", 0, "drop", rule("jump web"), rule("drop")), plain("web", rule("accept"))}, nil, Accept, ""},
		{"goto does not come back here", []lvs.Chain{base("inet", "input", 0, "drop", rule("goto web"), rule("accept")), plain("web", rule("return"))}, nil, Drop, "policy drop"},
		{"goto in a jump comes back behind the jump", []lvs.Chain{base("inet", "input", 0, "drop", rule("jump a"), rule("accept")), plain("a", rule("goto b"), rule("drop")), plain("b")}, nil, Accept, ""},
		{"jump to a chain that was not read", []lvs.Chain{base("inet", "input", 0, "", rule("jump gone"))}, nil, Unknown, ""},
		{"chains in a circle", []lvs.Chain{base("inet", "input", 0, "", rule("jump a")), plain("a", rule("jump a"), rule("jump a"))}, nil, Unknown, ""},
		{"opaque drop for another port", []lvs.Chain{base("inet", "input", 0, "", opaque("drop", "tcp dport 25"))}, nil, Accept, ""},
		{"opaque drop", []lvs.Chain{base("inet", "input", 0, "", opaque("drop", "tcp dport 80"))}, nil, Unknown, ""},
		{"opaque accept before accept", []lvs.Chain{base("inet", "input", 0, "drop", opaque("accept"), rule("accept"))}, nil, Accept, ""},
		{"opaque accept before drop", []lvs.Chain{base("inet", "input", 0, "drop", opaque("accept"))}, nil, Unknown, "policy drop"},
		{"opaque return before drop", []lvs.Chain{base("inet", "input", 0, "accept", opaque("return"), rule("drop"))}, nil, Unknown, "drop"},
		{"two opaque ways, both drop", []lvs.Chain{base("inet", "input", 0, "drop", opaque("drop"))}, nil, Drop, "policy drop"},
		{"opaque without verdict", []lvs.Chain{base("inet", "input", 0, "", opaque(""))}, nil, Unknown, ""},
		{"only counts", []lvs.Chain{base("inet", "input", 0, "", rule(""))}, nil, Accept, ""},
		{"drop before anything opaque", []lvs.Chain{base("inet", "input", 0, "", drop80, opaque("accept"))}, nil, Drop, ""},
		{"sent elsewhere", []lvs.Chain{base("ip", "prerouting", -100, "", rule("redirect", "tcp dport 80")), base("ip", "input", 0, "drop")}, nil, Unknown, "redirect"},
		{"ingress of some device", []lvs.Chain{base("netdev", "ingress", 0, "", drop80)}, nil, Unknown, "netdev filter ingress"},
		{"ingress, other port", []lvs.Chain{base("netdev", "ingress", 0, "", rule("drop", "tcp dport 25"))}, nil, Accept, ""},
		{"unknown field", []lvs.Chain{base("inet", "input", 0, "", rule("drop", "fib daddr local"))}, nil, Unknown, ""},
		{"unknown field, negated", []lvs.Chain{base("inet", "input", 0, "", rule("drop", "fib daddr != local"))}, nil, Unknown, ""},
		{"icmp rule", []lvs.Chain{base("inet", "input", 0, "", rule("drop", "icmp type != echo-request"))}, nil, Accept, ""},
		{"a value nobody understands", []lvs.Chain{base("inet", "input", 0, "", rule("drop", "tcp dport http"))}, nil, Unknown, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := Compile(&lvs.Netfilter{Chains: tt.chains, Sets: tt.sets}).BeforeIPVS(syn)
			if got.Verdict != tt.want || !strings.Contains(got.Where(), tt.where) {
				t.Errorf("got %s by %q, want %s by %q", got.Verdict, got.Where(), tt.want, tt.where)
			}
		})
	}
}

// What is not known of a packet must not decide.
func TestUnknownPacketFields(t *testing.T) {
	anybody, anywhere, anyState := syn, syn, syn
	anybody.Src = netip.Addr{}
	anywhere.Iif = ""
	anyState.State = ""
	for _, tt := range []struct {
		name   string
		packet Packet
		rule   lvs.FilterRule
		policy string
		want   Verdict
	}{
		{"drop of all, any client", anybody, rule("drop", "tcp dport 80"), "", Drop},
		{"some may come", anybody, rule("accept", "ip saddr 10.0.0.0/8"), "drop", Unknown},
		{"everybody may come", anybody, rule("accept", "ip saddr 0.0.0.0/0"), "drop", Accept},
		{"some must not come", anybody, rule("drop", "ip saddr != 10.0.0.0/8"), "", Unknown},
		{"in by some interface", anywhere, rule("accept", "meta iifname eth0"), "drop", Unknown},
		{"state unknown", anyState, rule("drop", "ct state invalid"), "", Unknown},
		{"flags unknown", anyState, flags("drop", true, "syn / fin,syn,rst,ack"), "", Unknown},
		{"source port of a client", syn, rule("drop", "tcp sport 1-1023"), "", Accept},
		{"any source port of a client", syn, rule("drop", "tcp sport 1024-65535"), "", Drop},
		{"some source ports", syn, rule("drop", "tcp sport 40000-50000"), "", Unknown},
		{"above all privileged ones", syn, rule("drop", "tcp sport 0-1024"), "", Unknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			nf := &lvs.Netfilter{Chains: []lvs.Chain{base("inet", "input", 0, tt.policy, tt.rule)}}
			if got := Compile(nf).BeforeIPVS(tt.packet); got.Verdict != tt.want {
				t.Errorf("got %s by %q, want %s", got.Verdict, got.Where(), tt.want)
			}
		})
	}
}

func TestIPv6(t *testing.T) {
	p := Packet{Iif: "eth0", Src: netip.MustParseAddr("2001:db8:1::10"), Dst: netip.MustParseAddr("2001:db8::8"),
		Protocol: lvs.TCP, DstPort: 80, State: "new"}
	nf := &lvs.Netfilter{Chains: []lvs.Chain{
		base("ip", "input", 0, "drop"),
		base("inet", "input", 0, "", rule("drop", "ip daddr != 10.0.0.1")),
		base("ip6", "input", 0, "drop", rule("accept", "ip6 saddr 2001:db8:1::/48", "meta l4proto 6")),
	}}
	if got := Compile(nf).BeforeIPVS(p); got.Verdict != Accept {
		t.Errorf("got %s by %q, want accept", got.Verdict, got.Where())
	}
	p.Src = netip.MustParseAddr("2001:db8:2::10")
	if got := Compile(nf).BeforeIPVS(p); got.Verdict != Drop || got.Chain.Family != "ip6" {
		t.Errorf("got %s by %q, want drop by ip6", got.Verdict, got.Where())
	}
}

func TestReceivedAndSent(t *testing.T) {
	nf := &lvs.Netfilter{Chains: []lvs.Chain{
		base("inet", "input", 200, "drop"),
		base("inet", "output", 0, "drop", rule("accept", "meta oifname eth1")),
		base("ip", "postrouting", 100, "", rule("masquerade", "meta oifname eth9")),
	}}
	if got := Compile(nf).Received(syn); got.Verdict != Drop {
		t.Errorf("a chain behind ip_vs drops what a socket would get; got %s", got.Verdict)
	}
	out := Packet{Oif: "eth1", Src: syn.Dst, Dst: syn.Src, Protocol: lvs.TCP, SrcPort: 80, DstPort: 40000}
	if got := Compile(nf).Sent(out); got.Verdict != Accept {
		t.Errorf("got %s by %q, want accept", got.Verdict, got.Where())
	}
	out.Oif = "eth0"
	if got := Compile(nf).Sent(out); got.Verdict != Drop {
		t.Errorf("got %s, want drop", got.Verdict)
	}
	if got := Compile(nf).Hook("output", 0, out); got.Verdict != Accept {
		t.Errorf("the chain at priority 0 is not below 0; got %s", got.Verdict)
	}
}

// Two tables of one name in both back ends must not be mixed up.
func TestBackendsAreApart(t *testing.T) {
	legacy := func(name, hook string, rules ...lvs.FilterRule) lvs.Chain {
		return lvs.Chain{Backend: "legacy", Family: "ip", Table: "filter", Name: name, Hook: hook, Policy: "accept", Rules: rules}
	}
	other := lvs.Chain{Backend: "nftables", Family: "ip", Table: "filter", Name: "WEB", Rules: []lvs.FilterRule{rule("accept")}}
	nf := &lvs.Netfilter{Chains: []lvs.Chain{other, legacy("INPUT", "input", rule("jump WEB")), legacy("WEB", "", rule("drop"))}}
	got := Compile(nf).BeforeIPVS(syn)
	if got.Verdict != Drop || got.Chain.Backend != "legacy" {
		t.Fatalf("got %s by %q, want drop by the legacy chain", got.Verdict, got.Where())
	}
	if want := "iptables-legacy -t filter -vnL WEB"; got.Command() != want {
		t.Errorf("command %q, want %q", got.Command(), want)
	}
}

// A packet in the middle of a connection is no SYN, whatever connection tracking thinks of it.
func TestFlagsOfThePacket(t *testing.T) {
	nf := &lvs.Netfilter{Chains: []lvs.Chain{base("inet", "input", 0, "accept",
		flags("drop", true, "syn / fin,syn,rst,ack"))}}
	ack := syn
	ack.Flags = "ack"
	for _, c := range []struct {
		packet Packet
		want   Verdict
	}{{syn, Accept}, {ack, Drop}} {
		if got := Compile(nf).BeforeIPVS(c.packet).Verdict; got != c.want {
			t.Errorf("flags %q: %s, want %s", c.packet.Flags, got, c.want)
		}
	}
}

func TestNewSource(t *testing.T) {
	masquerade := func(conditions ...string) lvs.Chain {
		ch := base("ip", "postrouting", 100, "accept", rule("masquerade", conditions...))
		ch.Table, ch.Type = "nat", "nat"
		return ch
	}
	dropping := base("inet", "postrouting", 0, "drop") // no nat chain: it does not count here
	forwarded := Packet{Oif: "eth1", Dst: syn.Dst, Protocol: lvs.TCP, DstPort: 80, State: "new"}
	from := forwarded
	from.Src = netip.MustParseAddr("10.1.1.1")
	for _, c := range []struct {
		name   string
		chain  lvs.Chain
		packet Packet
		want   Verdict
	}{
		{"all on the card", masquerade("meta oifname eth1"), forwarded, Rewrite},
		{"another card", masquerade("meta oifname eth0"), forwarded, Accept},
		{"some sources, nobody in particular", masquerade("ip saddr 10.0.0.0/8"), forwarded, Unknown},
		{"some sources, one of them", masquerade("ip saddr 10.0.0.0/8"), from, Rewrite},
		{"nothing of nat", dropping, forwarded, Accept},
	} {
		if got := Compile(&lvs.Netfilter{Chains: []lvs.Chain{dropping, c.chain}}).NewSource(c.packet).Verdict; got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	nf := &lvs.Netfilter{Chains: []lvs.Chain{masquerade("meta oifname eth1")}}
	if got := Compile(nf).Sent(forwarded).Verdict; got != Accept {
		t.Errorf("a masqueraded packet is sent all the same: %s", got)
	}
}
