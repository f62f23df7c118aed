package rules

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lvstui/probes"
)

// naive is what a tool gets wrong that knows LVS from hearsay, each with the cases that would catch it, and with the tests of other packages, as
// "package Test".
var naive = []struct {
	wrong        string
	cases, tests []string
}{
	{wrong: "1 reads conf/IF or conf/all alone instead of combining them", cases: []string{"rs-rp-filter/false-alarm-loose-wins", "rs-rp-filter/all-only", "rs-answers-arp/other-interface-set"}, tests: []string{"lvs TestEffective"}},
	{wrong: "2 looks at conf/lo/arp_ignore", cases: []string{"arp-sysctl-on-lo-only/lo-and-nic"}},
	{wrong: "3 takes arp_announce=1 or arp_ignore=3 for enough, and arp_ignore=2 for good everywhere", cases: []string{"rs-arp-announce-poison/one-same-subnet", "vip-scope-vs-arp-ignore-3/global", "director-arp-ignore-2/foreign-32"}},
	{wrong: "4 demands ARP sysctls on the director", cases: []string{"rs-answers-arp/director", "vip-on-lo-director-arp-ignore/same-subnet"}},
	{wrong: "5 demands ip_forward or send_redirects on the director", cases: []string{"vip-not-on-director/healthy", "director-output-firewall/false-alarm-forward", "director-rp-filter-drops-client/false-alarm-forwarding-off"}},
	{wrong: "6 believes that rp_filter=0 drops no forged packets, or that the counter tells", cases: []string{"rs-gateway-is-director/rp-filter-off"}, tests: []string{"probes/collect/kernel TestLookingMovesNoCounter"}},
	{wrong: "7 reads the kernel's line \"martian source A from B\" backwards", tests: []string{"probes/rules TestMartianSource"}},
	{wrong: "8 trusts the errno of a route question", tests: []string{"probes/collect TestRefusalsOfEveryKernel"}},
	{wrong: "9 says that the VIP has to be on lo", cases: []string{"vip-missing-on-rs/dummy", "vip-missing-on-rs/anyip", "vip-missing-on-rs/redirect", "vip-missing-on-rs/false-alarm-tunl0", "rs-redirect-method/found"}},
	{wrong: "10 takes a test from the director, or from a real server, for one", cases: []string{"client-on-director/curl-on-the-director", "client-on-real-server/found", "rs-input-firewall/false-alarm-client-on-real-server"}},
	{wrong: "11 takes OutPkts=0 for real servers that do not answer", cases: []string{"forward-method-not-dr/false-alarm-nothing-goes-out"}},
	{wrong: "12 takes SYN_RECV for a SYN-ACK that did not come", cases: []string{"router-urpf-or-source-guard/false-alarm-syn-recv"}},
	{wrong: "13 takes a one-armed director's second frame for a retransmission", tests: []string{"capture TestHealthyFromEveryVantage", "capture/file TestOneConnectionOnFourHosts"}},
	{wrong: "14 takes a capture without MACs for one with them", tests: []string{"capture TestWithoutDirections", "capture/file TestFormatsAgree"}},
	{wrong: "15 takes what is captured for accepted", cases: []string{"rs-rp-filter/by-flows", "rs-input-firewall/by-flows", "vip-missing-on-rs/by-flows"}},
	{wrong: "16 counts a jumbo card behind, GRO, or a checksum left to the card, as a fault", cases: []string{"mtu-mismatch/false-alarm-jumbo-behind", "lro-on-director/healthy-gro"}, tests: []string{"capture TestChecksumsAreLeftAlone"}},
	{wrong: "17 takes a refused connection for a service that is down", cases: []string{"no-available-dest/all-drained", "service-not-in-ipvs/wrong-port"}},
	{wrong: "18 reads the destination's port as the one that is used, 0 as a fault, and a local destination as a wrong method", cases: []string{"port-mismatch/false-alarm-fwmark", "port-mismatch/works-nevertheless", "forward-method-not-dr/false-alarm-local", "vip-missing-on-rs/localnode"}},
	{wrong: "19 takes every MAC of a bond for another host", cases: []string{"rs-answers-arp/false-alarm-bond", "bond-alb-rewrites-arp/found", "vrrp-split-brain/virtual_router_mac", "stale-rs-neighbour/healthy-permanent", "duplicate-vip/cloud_fabric"}},
	{wrong: "20 asks for the VIP from a host that has it, or teaches others a wrong MAC by asking", tests: []string{"probes/active TestARPRequestsTeachNobodyTheVIP", "probes/active TestSolicitationIsNotADuplicateCheck"}},
	{wrong: "21 wants arp_ignore for an IPv6 VIP on lo, and overlooks dadfailed", cases: []string{"v6-vip-on-rs-nic/false-alarm-on-lo", "rs-answers-arp/ipv6", "v6-vip-on-rs-nic/dadfailed"}},
	{wrong: "22 takes weight 0 for down", cases: []string{"dest-removed-blackhole/false-alarm-drained", "no-available-dest/false-alarm-one-left", "service-not-listening-on-vip/false-alarm-drained-and-down"}},
	{wrong: "23 takes an empty table for one that was not configured", cases: []string{"wrong-netns/found"}},
	{wrong: "24 believes that backup_only does something without a daemon", cases: []string{"backup-only/false-alarm-no-daemon", "director-loop/two-directors"}},
	{wrong: "25 takes the file for what runs, or what runs for the file", cases: []string{"sysctl-not-persistent/by-hand", "sysctl-not-persistent/later-file"}},
	{wrong: "26 takes a stale neighbour for a dead one", cases: []string{"rs-neigh-failed/false-alarm-stale"}},
	{wrong: "27 looks at one back end, one family, or behind ip_vs", cases: []string{"director-input-firewall/legacy", "director-input-firewall/raw-prerouting", "director-input-firewall/behind-ipvs", "director-input-firewall/half-read", "vrrp-strict-drop/nft-table"}, tests: []string{"probes/filter TestBackendsAreApart"}},
	{wrong: "28 forgets that the first policy rule changes which sources are let in", tests: []string{"fixes/apply TestLookupAgreesWithTheKernel", "probes/rules TestPlansCure"}},
	{wrong: "29 sets ip_forward to try something", tests: []string{"fixes TestSysctlsWithSideEffectsAreRefused"}},
	{wrong: "30 deletes a primary address with its secondaries", tests: []string{"fixes TestRiskForTheOperatorsSession", "fixes/apply TestSimulateAgreesWithTheKernel"}},
	{wrong: "31 takes the accept_local trick for what was meant", cases: []string{"rs-gateway-is-director/director-passes-on"}},
	{wrong: "32 asks conntrack about the VIP", cases: []string{"director-conntrack-invalid/notrack", "director-conntrack-invalid/tracked-notrack"}},
	{wrong: "takes a routed VIP for a lost one", cases: []string{"vip-not-on-director/routed-vip-on-lo", "director-arp-ignore-2/false-alarm-routed", "vip-on-lo-director-arp-ignore/false-alarm-routed"}},
	{wrong: "judges a host that has nothing to do with LVS", cases: []string{"vip-missing-on-rs/false-alarm-plain-host", "vip-missing-on-rs/false-alarm-hardened", "vip-on-rs-nic/false-alarm-alias", "scheduler-or-module-missing/false-alarm-plain-host"}},
	{wrong: "takes the standby for broken", cases: []string{"vip-not-on-director/keepalived-standby", "vrrp-strict-drop/false-alarm-standby", "vip-flushed-by-network-manager/healthy-standby"}},
	{wrong: "takes scanners for clients, and a client kept out on purpose for a fault", cases: []string{"router-urpf-or-source-guard/half-open-scanner", "rs-input-firewall/false-alarm-scan", "rs-input-firewall/false-alarm-kept-out-everywhere", "service-not-in-ipvs/scanner"}},
	{wrong: "wants an answer of a service that has none", cases: []string{"udp-wrong-source/false-alarm-syslog"}},
	{wrong: "wants a socket on a port that the packet filter redirects", cases: []string{"service-not-listening-on-vip/redirect", "service-not-in-ipvs/false-alarm-redirect"}},
}

// The cases behind the list are there, and say what they are to say; TestCases runs them. The tests are there too.
func TestNaiveMistakesAreCases(t *testing.T) {
	all := map[string]testCase{}
	for _, c := range loadCases(t) {
		all[c.rule+"/"+c.name] = c
	}
	for _, n := range naive {
		if len(n.cases)+len(n.tests) == 0 {
			t.Errorf("%s: nothing would catch it", n.wrong)
		}
		for _, name := range n.cases {
			c, ok := all[name]
			if !ok {
				t.Errorf("%s: no case %s", n.wrong, name)
				continue
			}
			if err := checkWants(c.diagnose(), c.want); err != nil {
				t.Errorf("%s: %s: %v", n.wrong, name, err)
			}
		}
		for _, test := range n.tests {
			if !testExists(t, test) {
				t.Errorf("%s: there is no test %s", n.wrong, test)
			}
		}
	}
}

// testExists finds a test that is named "package Test" in the source of its package.
func testExists(t *testing.T, named string) bool {
	dir, name, _ := strings.Cut(named, " ")
	files, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(dir), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(file string) bool {
		text, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(text), "\nfunc "+name+"(t *testing.T)")
	})
}

// The kernel's log names the destination of a martian first (net/ipv4/route.c, ip_handle_martian_source); so must the page that tells of it.
func TestMartianSource(t *testing.T) {
	for _, r := range All() {
		for _, text := range []string{r.Explain.Breaks, r.Explain.ByHand, r.Explain.Cure} {
			if _, after, ok := strings.Cut(text, "martian source "); ok && !strings.HasPrefix(after, "188.88.88.10 from 172.16.0.8") {
				t.Errorf("%s: the client comes first: %.40s", r.ID, after)
			}
		}
	}
}

// A plain host gets "not an LVS host" and exit status 0, also with a second look at its flows.
func TestPlainHost(t *testing.T) {
	for _, c := range loadCases(t) {
		if !slices.Contains([]string{"false-alarm-plain-host", "false-alarm-hardened", "false-alarm-alias"}, c.name) || len(c.options.Roles)+len(c.options.VIPs) > 0 || len(c.observations) != 1 {
			continue
		}
		r := c.diagnose()
		if r.Verdict.ExitStatus() != 0 || len(r.Roles) == 0 && !strings.HasPrefix(r.Summary, "not an LVS host") {
			t.Errorf("%s/%s: %s (%s), roles %v", c.rule, c.name, r.Verdict, r.Summary, r.Roles)
		}
		for _, f := range r.Findings {
			if f.Severity != probes.Note {
				t.Errorf("%s/%s: %s", c.rule, c.name, wantLine(f))
			}
		}
	}
}
