package collect

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"

	"lvstui/lvs"
)

// confKeys are the IPv4 interface sysctls that decide about LVS-DR, or that a cure would set.
var confKeys = []string{"rp_filter", "arp_ignore", "arp_announce", "arp_filter", "arp_accept", "arp_notify", "accept_local",
	"forwarding", "proxy_arp", "proxy_arp_pvlan", "send_redirects", "accept_redirects", "log_martians", "promote_secondaries",
	"route_localnet", "src_valid_mark", "accept_source_route", "arp_evict_nocarrier"}

// conf6Keys are the IPv6 ones.
var conf6Keys = []string{"forwarding", "disable_ipv6", "proxy_ndp", "accept_ra", "accept_dad", "use_optimistic", "dad_transmits"}

// plainSysctls are single values. What a kernel does not have is left out: absent is not zero.
var plainSysctls = []string{
	"net/ipv4/ip_forward", "net/ipv4/ip_nonlocal_bind", "net/ipv6/ip_nonlocal_bind", "net/ipv4/fwmark_reflect",
	"net/ipv4/tcp_fwmark_accept", "net/ipv4/tcp_tw_recycle", "net/ipv4/tcp_tw_reuse", "net/ipv4/tcp_syncookies", "net/ipv4/tcp_max_syn_backlog",
	"net/ipv4/tcp_abort_on_overflow", "net/ipv4/tcp_synack_retries", "net/ipv4/tcp_timestamps", "net/ipv4/tcp_l3mdev_accept",
	"net/ipv4/udp_l3mdev_accept", "net/ipv4/ip_early_demux", "net/ipv4/fib_multipath_hash_policy", "net/ipv4/fib_multipath_use_neigh",
	"net/ipv4/icmp_ratelimit", "net/ipv4/icmp_ratemask", "net/ipv4/ip_no_pmtu_disc", "net/ipv4/tcp_mtu_probing",
	"net/core/somaxconn", "net/core/netdev_max_backlog",
	"net/ipv4/neigh/default/gc_thresh3", "net/ipv6/neigh/default/gc_thresh3",
	"net/netfilter/nf_conntrack_max", "net/netfilter/nf_conntrack_count", "net/netfilter/nf_conntrack_buckets",
	"net/netfilter/nf_conntrack_tcp_loose", "net/netfilter/nf_conntrack_tcp_be_liberal", "net/netfilter/nf_conntrack_checksum",
	"net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables", "net/bridge/bridge-nf-call-arptables",
}

// manyLinks is from how many interfaces on only those that packets come in on are read one by one.
const manyLinks = 256

// readSysctls reads below /proc/sys/net, which shows the namespace of the thread that looks.
func (c *collector) readSysctls() {
	root, err := os.OpenRoot(c.proc.path("sys"))
	if err != nil {
		c.gapError(lvs.SourceSysctls, "sysctls", err)
		return
	}
	defer root.Close()
	c.s.Sysctls = map[string]string{}
	var failed error
	get := func(dir *os.Root, path, key string) {
		value, err := readSysctl(dir, key)
		switch {
		case err == nil:
			c.s.Sysctls[path+key] = value
		case !errors.Is(err, fs.ErrNotExist):
			failed = err
		}
	}
	for _, path := range plainSysctls {
		get(root, "", path)
	}
	devices := c.sysctlDevices()
	for family, keys := range map[string][]string{"net/ipv4/conf/": confKeys, "net/ipv6/conf/": conf6Keys} {
		for _, dev := range devices {
			dir, err := root.OpenRoot(family + dev)
			if err != nil {
				continue // gone meanwhile, or without this family
			}
			for _, key := range keys {
				get(dir, family+dev+"/", key)
			}
			dir.Close()
		}
	}
	// All of ip_vs's own; the folder is there only when ip_vs is.
	if dir, err := root.OpenRoot("net/ipv4/vs"); err == nil {
		if entries, err := fs.ReadDir(dir.FS(), "."); err == nil {
			for _, e := range entries {
				get(dir, "net/ipv4/vs/", e.Name())
			}
		}
		dir.Close()
	}
	if failed != nil {
		c.gapError(lvs.SourceSysctls, "some sysctls", failed)
	}
}

// sysctlDevices is all, default and the interfaces; on a host with very many, those on a wire and lo.
func (c *collector) sysctlDevices() []string {
	out := []string{"all", "default"}
	for _, l := range c.s.Links {
		if len(c.s.Links) <= manyLinks || l.Loopback() || l.OnWire() && l.Master == "" {
			out = append(out, l.Name)
		}
	}
	if len(out) > manyLinks+2 {
		out = out[:manyLinks+2]
	}
	if n := len(c.s.Links); n > len(out)-2 {
		c.gap(lvs.SourceSysctls, "read the sysctls of %d of %d interfaces, those that packets come in on", len(out)-2, n)
	}
	return out
}

// readSysctl reads one file. os.Root keeps an odd interface name from leading elsewhere.
func readSysctl(dir *os.Root, name string) (string, error) {
	f, err := dir.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	return strings.TrimSpace(string(b)), err
}
