package rules

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lvstui/lvs"
	"lvstui/probes"
)

// manyServices is a director with n virtual services of four destinations each, and a firewall that names every second VIP in
// a set: what a large installation looks like.
func manyServices(t testing.TB, n int) *lvs.Snapshot {
	t.Helper()
	s, err := loadHost("director", []byte(`{"base": "single/director"}`))
	if err != nil {
		t.Fatal(err)
	}
	set := lvs.Set{Family: "inet", Table: "filter", Name: "vips"}
	s.IPVS.Services = nil
	for i := range n {
		vip := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		v := lvs.Service{Protocol: lvs.TCP, Address: vip, Port: uint16(80 + i%3), Scheduler: "rr"}
		for d := range 4 {
			// The first one serves everything, the others a part each.
			v.Destinations = append(v.Destinations, lvs.Destination{Address: netip.AddrFrom4([4]byte{192, 168, 10, byte(16 + d*(1+i%60))}), Port: v.Port, Forward: lvs.Gate, Weight: 1})
		}
		s.IPVS.Services = append(s.IPVS.Services, v)
		s.Addresses = append(s.Addresses, lvs.Address{Device: "eth0", Prefix: netip.PrefixFrom(vip, 32), Scope: "global", Label: "eth0"})
		if i%2 == 0 {
			set.Elements = append(set.Elements, vip.String())
		}
	}
	accept := func(field, set string, values ...string) lvs.FilterRule {
		return lvs.FilterRule{Verdict: "accept", Matches: []lvs.Match{{Field: field, Set: set, Values: values}}, Text: field}
	}
	s.Netfilter = &lvs.Netfilter{NFTables: true, Legacy: true, Sets: []lvs.Set{set}, Chains: []lvs.Chain{
		{Backend: "nftables", Family: "inet", Table: "filter", Name: "input", Type: "filter", Hook: "input", Policy: "drop", Rules: []lvs.FilterRule{
			accept("ct state", "", "established", "related"), accept("ip daddr", "vips"), accept("ip daddr", "", "10.0.0.0/8"), accept("tcp dport", "", "22"),
		}},
		{Backend: "nftables", Family: "inet", Table: "filter", Name: "output", Type: "filter", Hook: "output", Policy: "accept", Rules: []lvs.FilterRule{
			accept("ip daddr", "vips"),
		}},
	}}
	deriveRoutes(s)
	return s
}

// BenchmarkDiagnose is how long the rules take on directors of different sizes: linear, and below two seconds for 10,000 services.
func BenchmarkDiagnose(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		s := manyServices(b, n)
		b.Run(fmt.Sprintf("%d-services", n), func(b *testing.B) {
			for b.Loop() {
				probes.Diagnose(All(), []probes.Observation{{Snapshot: s}}, probes.Options{})
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/service")
		})
	}
}

// manyVIPs is a real server of that director with all its VIPs on lo.
func manyVIPs(t testing.TB, director *lvs.Snapshot) *lvs.Snapshot {
	t.Helper()
	s, err := loadHost("rs1", []byte(`{"base": "single/rs1"}`))
	if err != nil {
		t.Fatal(err)
	}
	s.Addresses = append(s.Addresses, lvs.Address{Device: "eth0", Prefix: netip.MustParsePrefix("192.168.10.16/24"), Scope: "global", Secondary: true})
	for _, v := range director.IPVS.Services {
		s.Addresses = append(s.Addresses, lvs.Address{Device: "lo", Prefix: netip.PrefixFrom(v.Address, 32), Scope: "global"})
		s.Routes = append(s.Routes, lvs.Route{Table: lvs.TableLocal, Type: "local", Dst: netip.PrefixFrom(v.Address, 32), Device: "lo", Scope: "host", Protocol: "kernel"})
	}
	for port := uint16(80); port < 83; port++ {
		s.Sockets = append(s.Sockets, lvs.Socket{Protocol: lvs.TCP, Address: netip.IPv4Unspecified(), Port: port})
	}
	return s
}

// BenchmarkDiagnoseRealServer is the same for a real server, alone and with the director at hand.
func BenchmarkDiagnoseRealServer(b *testing.B) {
	director := manyServices(b, 10000)
	rs := manyVIPs(b, director)
	for name, observed := range map[string][]probes.Observation{"alone": {{Snapshot: rs}}, "with-director": {{Snapshot: rs}, {Snapshot: director}}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				probes.Diagnose(All(), observed, probes.Options{})
			}
		})
	}
}

func loseVIPs(s *lvs.Snapshot) {
	s.Addresses = slices.DeleteFunc(s.Addresses, func(a lvs.Address) bool { return a.Device == "lo" && a.Prefix.IsSingleIP() })
	s.Routes = slices.DeleteFunc(s.Routes, func(r lvs.Route) bool {
		return r.Type == "local" && r.Device == "lo" && r.Dst.IsSingleIP() && r.Dst.Addr().As4()[0] == 10
	})
}

// Eight times the services may take about eight times as long, and not sixty-four times; measured roughly, because the machine may be busy.
func TestDiagnoseIsLinear(t *testing.T) {
	best := func(n int) time.Duration {
		s := manyServices(t, n)
		shortest := time.Hour
		for range 3 {
			start := worked(t)
			r := probes.Diagnose(All(), []probes.Observation{{Snapshot: s}}, probes.Options{})
			shortest = min(shortest, worked(t)-start)
			if r.Verdict != probes.VerdictOK {
				t.Fatalf("%d services: verdict %s, findings %d, undecided %v", n, r.Verdict, len(r.Findings), r.Undecided)
			}
		}
		return shortest
	}
	// Of a real server with its director at hand, healthy and broken in the same way for every VIP.
	realServer := func(broken bool) func(int) time.Duration {
		return func(n int) time.Duration {
			director := manyServices(t, n)
			rs := manyVIPs(t, director)
			if broken {
				loseVIPs(rs)
			}
			shortest := time.Hour
			for range 3 {
				start := worked(t)
				r := probes.Diagnose(All(), []probes.Observation{{Snapshot: rs}, {Snapshot: director}}, probes.Options{})
				shortest = min(shortest, worked(t)-start)
				if (r.Verdict == probes.VerdictBroken) != broken || len(r.Findings) > 3*probes.Alike {
					t.Fatalf("%d VIPs, broken %v: verdict %s, %d findings", n, broken, r.Verdict, len(r.Findings))
				}
			}
			return shortest
		}
	}
	for what, best := range map[string]func(int) time.Duration{"a director": best, "a real server": realServer(false), "a broken real server": realServer(true)} {
		small, large := best(500), best(4000)
		if large > 32*small+100*time.Millisecond {
			t.Errorf("%s: 8 times as many services take %s, after %s: that is not linear", what, large, small)
		}
	}
}

// worked is the processors' time that this process has had: unlike the clock's it does not grow while others are at work.
func worked(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkDiagnoseBroken is a large real server that is broken in the same way for every VIP: one fault, and not ten thousand.
func BenchmarkDiagnoseBroken(b *testing.B) {
	director := manyServices(b, 10000)
	for name, change := range map[string]func(*lvs.Snapshot){
		"no-vips": loseVIPs,
		"vips-on-card": func(s *lvs.Snapshot) {
			for i := range s.Addresses {
				if s.Addresses[i].Prefix.IsSingleIP() {
					s.Addresses[i].Device = "eth0"
				}
			}
		},
		"gateway-director": func(s *lvs.Snapshot) {
			for i := range s.Routes {
				if s.Routes[i].Dst.Bits() == 0 {
					s.Routes[i].Gateway = netip.MustParseAddr("192.168.10.2")
				}
			}
		},
		"strict-rp-filter": func(s *lvs.Snapshot) {
			s.Routes = slices.DeleteFunc(s.Routes, func(r lvs.Route) bool { return r.Dst.Bits() == 0 })
		},
		"nobody-listens": func(s *lvs.Snapshot) { s.Sockets = []lvs.Socket{} },
		"answers-arp":    func(s *lvs.Snapshot) { s.Sysctls["net/ipv4/conf/all/arp_ignore"] = "0" },
	} {
		rs := manyVIPs(b, director)
		change(rs)
		b.Run(name, func(b *testing.B) {
			n := 0
			for b.Loop() {
				n = len(probes.Diagnose(All(), []probes.Observation{{Snapshot: rs}, {Snapshot: director}}, probes.Options{}).Findings)
			}
			b.ReportMetric(float64(n), "findings")
		})
	}
}
