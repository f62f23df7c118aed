package fixes

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"lvstui/lvs"
)

func TestPolicyRules(t *testing.T) {
	s := realServer()
	from := netip.MustParsePrefix("172.16.0.8/32")
	s = with(s, AddAddress{Device: "lo", Prefix: from}, AddRoute{Table: 100, Dst: netip.MustParsePrefix("0.0.0.0/0"), Gateway: ip("192.168.10.254"), Device: "eth0"})
	s.Answers = []lvs.RouteAnswer{s.Lookup(lvs.RouteQuery{Dst: ip("188.88.88.10"), Src: ip("172.16.0.8")})}
	add := AddRule{Priority: 100, From: from, Table: 100}
	if got := add.Command(); got != "ip rule add from 172.16.0.8/32 lookup 100 priority 100" {
		t.Error(got)
	}
	there, err := add.Simulate(s)
	if err != nil || !add.Done(there) || add.Done(s) {
		t.Fatal(err)
	}
	if got := there.Answers[0].Gateway; got != ip("192.168.10.254") || s.Answers[0].Gateway != ip("192.168.10.1") {
		t.Errorf("answers go via %s, went via %s", got, s.Answers[0].Gateway)
	}
	for _, c := range []struct {
		st Step
		at *lvs.Snapshot
	}{{add, s}, {DelRule(add), there}} {
		p := Plan{Steps: []Step{c.st}}
		undo, err := p.Undo(c.at)
		if err != nil || len(undo.Steps) != 1 {
			t.Fatal(err)
		}
		course, err := p.Course(c.at, undo)
		if err != nil || len(course.Values) != 1 || Fact(c.st) != "the IPv4 policy rule with priority 100" {
			t.Errorf("%s: %v %v", c.st.Command(), course, err)
		}
		home, err := Plan{Steps: append(p.Steps, undo.Steps...)}.After(c.at)
		if err != nil || same(c.at, home) != "" {
			t.Errorf("%s and back: %v %s", c.st.Command(), err, same(c.at, home))
		}
		b, err := EncodeStep(c.st)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := DecodeStep(b); err != nil || !reflect.DeepEqual(again, c.st) {
			t.Errorf("%s comes back from the journal as %#v, %v", b, again, err)
		}
	}
	for want, st := range map[string]AddRule{
		"another rule with priority 100": {Priority: 100, From: from, Table: 101},
		"no rule with priority 0":        {From: from, Table: 100},
		"no rule with priority 32766":    {Priority: 32766, From: from, Table: 100},
		"for every packet":               {Priority: 5, Table: 100},
		"no prefix":                      {Priority: 5, From: netip.MustParsePrefix("10.0.0.1/8"), Table: 100},
		"no interface name":              {Priority: 5, Iif: "a b", Table: 100},
	} {
		if _, err := st.Simulate(there); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", st.Command(), err, want)
		}
		if _, err := DelRule(st).Simulate(there); err == nil {
			t.Errorf("%s: deleted", st.Command())
		}
	}
}
