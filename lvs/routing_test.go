package lvs_test

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"lvstui/lvs"
)

// The index changes how fast the routing is asked and nothing else.
func TestRoutingAnswersAsTheSnapshot(t *testing.T) {
	files, err := filepath.Glob("../probes/testdata/hosts/*/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded hosts: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var s lvs.Snapshot
		if err := json.Unmarshal(text, &s); err != nil {
			t.Fatal(err)
		}
		routing := lvs.NewRouting(&s)
		for _, q := range questions(&s) {
			if got, want := routing.Lookup(q), s.Lookup(q); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %+v: %+v, want %+v", file, q, got, want)
			}
			gotAnswer, gotOK := routing.Answer(q)
			if want, ok := s.Answer(q); ok != gotOK || !reflect.DeepEqual(gotAnswer, want) {
				t.Errorf("%s: %+v: asked %+v %v, want %+v %v", file, q, gotAnswer, gotOK, want, ok)
			}
			local, known := routing.IsLocal(q.Dst)
			if wantLocal, wantKnown := s.IsLocal(q.Dst); local != wantLocal || known != wantKnown {
				t.Errorf("%s: is %s local: %v %v, want %v %v", file, q.Dst, local, known, wantLocal, wantKnown)
			}
		}
	}
}

// questions are those that were asked, and others about every address and broadcast address, from everywhere.
func questions(s *lvs.Snapshot) []lvs.RouteQuery {
	var out []lvs.RouteQuery
	for _, a := range s.Answers {
		out = append(out, a.RouteQuery)
	}
	ips := []netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("255.255.255.255"), netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("2001:db8::1")}
	for _, a := range s.Addresses {
		ips = append(ips, a.Prefix.Addr(), a.Prefix.Addr().Next(), a.Prefix.Masked().Addr())
		if a.Prefix.Addr().Is4() && a.Prefix.Bits() == 24 {
			b := a.Prefix.Addr().As4()
			b[3] = 255
			ips = append(ips, netip.AddrFrom4(b))
		}
	}
	for _, dst := range ips {
		out = append(out, lvs.RouteQuery{Dst: dst})
		for _, src := range ips {
			if src.Is4() != dst.Is4() {
				continue
			}
			out = append(out, lvs.RouteQuery{Dst: dst, Src: src})
			for _, l := range s.Links {
				out = append(out, lvs.RouteQuery{Dst: dst, Src: src, Iif: l.Name})
			}
		}
	}
	return out
}
