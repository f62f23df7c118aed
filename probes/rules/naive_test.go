package rules

import (
	"slices"
	"strings"
	"testing"

	"lvstui/probes"
)

// naive is what a tool gets wrong that knows LVS from hearsay, each with the cases that would catch it.
var naive = []struct {
	wrong string
	cases []string
}{
	{"reads conf/IF or conf/all alone instead of combining them", []string{"rs-rp-filter/false-alarm-loose-wins", "rs-rp-filter/all-only", "rs-answers-arp/other-interface-set"}},
	{"looks at conf/lo/arp_ignore", []string{"arp-sysctl-on-lo-only/lo-and-nic"}},
	{"takes arp_announce=1 or arp_ignore=3 for enough, and arp_ignore=2 for good everywhere", []string{"rs-arp-announce-poison/one-same-subnet", "vip-scope-vs-arp-ignore-3/global", "director-arp-ignore-2/foreign-32"}},
	{"demands ARP sysctls on the director", []string{"rs-answers-arp/director", "vip-on-lo-director-arp-ignore/same-subnet"}},
	{"demands ip_forward on the director", []string{"vip-not-on-director/healthy", "director-output-firewall/false-alarm-forward"}},
	{"believes that rp_filter=0 drops no forged packets", []string{"rs-gateway-is-director/rp-filter-off"}},
	{"says that the VIP has to be on lo", []string{"vip-missing-on-rs/dummy", "vip-missing-on-rs/anyip", "vip-missing-on-rs/redirect", "vip-missing-on-rs/false-alarm-tunl0", "rs-redirect-method/found"}},
	{"takes a test from the director, or from a real server, for one", []string{"client-on-director/curl-on-the-director", "client-on-real-server/found", "rs-input-firewall/false-alarm-client-on-real-server"}},
	{"takes SYN_RECV for a SYN-ACK that did not come", []string{"router-urpf-or-source-guard/false-alarm-syn-recv"}},
	{"takes a refused connection for a service that is down", []string{"no-available-dest/all-drained", "service-not-in-ipvs/wrong-port"}},
	{"reads the destination's port as the one that is used, and 0 as a fault", []string{"port-mismatch/false-alarm-fwmark", "port-mismatch/works-nevertheless"}},
	{"takes a local destination for a wrong method", []string{"forward-method-not-dr/false-alarm-local", "vip-missing-on-rs/localnode"}},
	{"takes every MAC of a bond for another host", []string{"rs-answers-arp/false-alarm-bond", "bond-alb-rewrites-arp/found", "vrrp-split-brain/virtual_router_mac", "stale-rs-neighbour/healthy-permanent", "duplicate-vip/cloud_fabric"}},
	{"wants arp_ignore for an IPv6 VIP on lo, and overlooks dadfailed", []string{"v6-vip-on-rs-nic/false-alarm-on-lo", "rs-answers-arp/ipv6", "v6-vip-on-rs-nic/dadfailed"}},
	{"takes weight 0 for down", []string{"dest-removed-blackhole/false-alarm-drained", "no-available-dest/false-alarm-one-left", "service-not-listening-on-vip/false-alarm-drained-and-down"}},
	{"takes an empty table for one that was not configured", []string{"wrong-netns/found"}},
	{"believes that backup_only does something without a daemon", []string{"backup-only/false-alarm-no-daemon", "director-loop/two-directors"}},
	{"takes the file for what runs, or what runs for the file", []string{"sysctl-not-persistent/by-hand", "sysctl-not-persistent/later-file"}},
	{"takes a stale neighbour for a dead one", []string{"rs-neigh-failed/false-alarm-stale"}},
	{"looks at one back end, one family, or behind ip_vs", []string{"director-input-firewall/legacy", "director-input-firewall/raw-prerouting", "director-input-firewall/behind-ipvs", "director-input-firewall/half-read", "vrrp-strict-drop/nft-table"}},
	{"takes a routed VIP for a lost one", []string{"vip-not-on-director/routed-vip-on-lo", "director-arp-ignore-2/false-alarm-routed", "vip-on-lo-director-arp-ignore/false-alarm-routed"}},
	{"takes the accept_local trick for what was meant", []string{"rs-gateway-is-director/director-passes-on"}},
	{"asks conntrack about the VIP", []string{"director-conntrack-invalid/notrack", "director-conntrack-invalid/tracked-notrack"}},
	{"counts a jumbo card behind, or GRO, as a fault", []string{"mtu-mismatch/false-alarm-jumbo-behind", "lro-on-director/healthy-gro"}},
	{"judges a host that has nothing to do with LVS", []string{"vip-missing-on-rs/false-alarm-plain-host", "vip-missing-on-rs/false-alarm-hardened", "vip-on-rs-nic/false-alarm-alias", "scheduler-or-module-missing/false-alarm-plain-host"}},
	{"takes the standby for broken", []string{"vip-not-on-director/keepalived-standby", "vrrp-strict-drop/false-alarm-standby", "vip-flushed-by-network-manager/healthy-standby"}},
	{"takes scanners for clients", []string{"router-urpf-or-source-guard/half-open-scanner", "rs-input-firewall/false-alarm-scan", "service-not-in-ipvs/scanner"}},
}

// The cases behind the list are there, and say what they are to say; TestCases runs them.
func TestNaiveMistakesAreCases(t *testing.T) {
	all := map[string]testCase{}
	for _, c := range loadCases(t) {
		all[c.rule+"/"+c.name] = c
	}
	for _, n := range naive {
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
