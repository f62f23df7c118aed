package collect

import (
	"cmp"
	"errors"

	"golang.org/x/sys/unix"

	"lvstui/internal/arrange"
	"lvstui/lvs"
)

// readNetfilter reads the packet filter of both back ends into one shape.
func (c *collector) readNetfilter() {
	nf := lvs.Netfilter{Chains: []lvs.Chain{}}
	for _, backend := range []struct {
		name, command string
		read          func(*lvs.Netfilter) error
		done          *bool
	}{
		{"nftables", "nft list ruleset", c.readNFT, &nf.NFTables},
		{"legacy iptables", "iptables-legacy-save, ip6tables-legacy-save", c.readLegacy, &nf.Legacy},
	} {
		err := backend.read(&nf)
		*backend.done = err == nil || errors.Is(err, errStop)
		switch {
		case errors.Is(err, errStop):
			c.gap(lvs.SourceNetfilter, "%s: read the first %d rules only (%s shows all)", backend.name, c.opt.RuleLimit, backend.command)
			*backend.done = false
		case err != nil:
			c.gapError(lvs.SourceNetfilter, backend.name+" rules ("+backend.command+")", err)
		}
	}
	if !nf.NFTables && !nf.Legacy {
		return // nothing is known: no rules would look like a host without a filter
	}
	// Within one hook and priority the kernel's order is kept; the rules of a chain are never sorted.
	arrange.By(nf.Chains, func(a, b lvs.Chain) int {
		return cmp.Or(cmp.Compare(a.Backend, b.Backend), cmp.Compare(a.Family, b.Family), cmp.Compare(a.Table, b.Table), cmp.Compare(a.Name, b.Name))
	})
	arrange.By(nf.Sets, func(a, b lvs.Set) int {
		return cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.Table, b.Table), cmp.Compare(a.Name, b.Name))
	})
	c.s.Netfilter = &nf
}

// protocolText names IP protocols as nft does.
func protocolText(n byte) string {
	switch n {
	case unix.IPPROTO_ICMP:
		return "icmp"
	case unix.IPPROTO_TCP:
		return "tcp"
	case unix.IPPROTO_UDP:
		return "udp"
	case unix.IPPROTO_SCTP:
		return "sctp"
	case unix.IPPROTO_ICMPV6:
		return "icmpv6"
	case unix.IPPROTO_GRE:
		return "gre"
	case unix.IPPROTO_ESP:
		return "esp"
	case unix.IPPROTO_AH:
		return "ah"
	case unix.IPPROTO_UDPLITE:
		return "udplite"
	case unix.IPPROTO_DCCP:
		return "dccp"
	case 112:
		return "vrrp"
	}
	return itoa(n)
}
